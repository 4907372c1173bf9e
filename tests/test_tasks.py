"""Which procedural shapes a data set gets (mesh folders: test_dataset.py)."""

import pytest

from rendernet_jax.data.families import FAMILIES
from rendernet_jax.data.tasks import FAMILY_WEIGHTS, procedural_tasks
from rendernet_jax.errors import InputError


def test_families_come_as_often_as_their_weights():
    turn = sum(FAMILY_WEIGHTS.get(family, 1) for family in FAMILIES)
    tasks = procedural_tasks(2 * turn)
    for family in FAMILIES:
        assert sum(task.family == family for task in tasks[:turn]) == FAMILY_WEIGHTS.get(family, 1)
    assert {task.family for task in tasks[: len(FAMILIES)]} == set(FAMILIES), "a small set has one of each"
    assert len({task.name for task in tasks}) == len({task.seed for task in tasks}) == 2 * turn
    assert tasks[:5] == procedural_tasks(5), "a larger set begins with the smaller one"
    assert not {task.seed for task in tasks} & {task.seed for task in procedural_tasks(2 * turn, seed=1)}


@pytest.mark.parametrize("arguments", [(0,), (1, ("chair", "spoon")), (1, ()), (1, ("chair",), -1)])
def test_bad_tasks_are_refused(arguments):
    with pytest.raises(InputError, match="expected"):
        procedural_tasks(*arguments)
