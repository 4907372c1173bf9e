"""Processes that train together: who they are, and that two of them do what one does."""

import pytest

from rendernet_jax.errors import InputError
from rendernet_jax.training import hosts

TASK = {"SLURM_JOB_ID": "7", "SLURM_STEP_NODELIST": "n[1-2]", "SLURM_PROCID": "1", "SLURM_LOCALID": "0"}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("10.0.0.1:1234", 2, None), "expected all of them or none"),
        ((None, 2, 0), "expected all of them or none"),
        (("10.0.0.1", 2, 0), "--coordinator: expected HOST:PORT, got '10.0.0.1'"),
        (("host:99999", 2, 0), "--coordinator: expected HOST:PORT"),
        (("host:1234", 2, 2), "--process: expected 0 to 1, got 2"),
    ],
)
def test_flags_that_make_no_sense_are_refused(given, message):
    with pytest.raises(InputError, match=message):
        hosts.join(*given)


def test_tasks_of_srun_join_and_others_do_not(monkeypatch):
    monkeypatch.setattr(hosts.importlib.util, "find_spec", lambda name: None)
    assert hosts.started_together({**TASK, "SLURM_NTASKS": "2"})
    assert not hosts.started_together({**TASK, "SLURM_NTASKS": "1"})
    assert not hosts.started_together({"SLURM_JOB_ID": "7", "SLURM_NTASKS": "2"})  # within salloc, without srun
    assert not hosts.started_together({})


def test_a_process_alone_leads_and_makes_whole_batches():
    assert hosts.leads() and hosts.places(6) == range(6)
    assert hosts.share({"step": 3}) == {"step": 3}


def test_a_batch_that_the_devices_cannot_share_is_refused(monkeypatch):
    monkeypatch.setattr(hosts.jax, "device_count", lambda: 4)
    with pytest.raises(InputError, match="batch: expected a multiple of the 4 devices, got 6; change --batch"):
        hosts.places(6)
    monkeypatch.setattr(hosts.jax, "process_count", lambda: 2)
    monkeypatch.setattr(hosts.jax, "process_index", lambda: 1)
    assert hosts.places(8) == range(4, 8) and not hosts.leads()
