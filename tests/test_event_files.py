"""TensorBoard's files say what the log says."""

import json

import pytest

from rendernet_jax.errors import InputError
from rendernet_jax.training.event_files import write_events


def test_every_figure_of_the_log_is_there_by_step(tmp_path):
    board = pytest.importorskip("tensorboardX")
    records = [{"step": 0, "psnr": 10.5}, {"step": 50, "loss": 0.25, "gradient_norm": 1.5}]
    records.append({"step": 60, "not_finite": ["a"]})
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(r) + "\n" for r in records) + '{"step": 70, "lo')
    assert write_events(tmp_path, tmp_path / "board") == 3 == write_events(tmp_path, tmp_path / "board")
    (path,) = (tmp_path / "board").iterdir()
    found, content = [], path.read_bytes()
    while content:
        size = int.from_bytes(content[:8], "little")
        event = board.proto.event_pb2.Event.FromString(content[12 : 12 + size])
        found += [(event.step, value.tag, value.simple_value) for value in event.summary.value]
        content = content[16 + size :]
    assert found == [(0, "psnr", 10.5), (50, "loss", 0.25), (50, "gradient_norm", 1.5)]


def test_a_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(InputError, match="expected a training run's folder with log.jsonl, got none"):
        write_events(tmp_path, tmp_path)
