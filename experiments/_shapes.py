"""The flags by which launchers choose the shapes, without pictures, that they train on."""

import dataclasses
import os
import pathlib

from absl import flags

_FURNITURE = "chair,stool,bench,sofa,table,shelf,cabinet,lamp"
_SHAPES = flags.DEFINE_integer("shapes", 8000, "Number of procedural shapes; 0 for --data alone.", lower_bound=0)
_FAMILIES = flags.DEFINE_list("families", _FURNITURE, "Procedural families; 'all' is without rocker.")
_DATA = flags.DEFINE_list("data", [], "Folders of data sets made by build_dataset, which are used too.")
_WORKERS = flags.DEFINE_integer(
    "workers", None, "Processes that make shapes, by default one a core; 0 works in this one.", lower_bound=0
)


@dataclasses.dataclass(frozen=True)
class Shapes:
    """What the flags ask for: procedural shapes that are yet to be made, and those of data sets."""

    asked: list
    read: list
    inputs: dict  # what identifies both, JSON values

    def collect(self, output: pathlib.Path, grid: int, occupancy: str):
        """All of them as a ``data.shape_grids.GridSet``; procedural ones are made in OUTPUT/grids, or read there."""
        from rendernet_jax.data import shape_grids

        return shape_grids.GridSet(self._collect(output, grid, occupancy), grid)

    def collect_seen(self, output: pathlib.Path, grid: int, occupancy: str, count: int) -> tuple:
        """Those that have views: a ``GridSet``, and of each its ``data.single_views.Views``; kept in OUTPUT/views.

        ``count`` is how many views are made of each procedural shape.
        """
        from rendernet_jax.data import shape_grids, single_views

        views = single_views.read_data_sets(_DATA.value)
        if self.asked:
            views = single_views.make_procedural(self.asked, output / "views", _count_workers(), count) + views
        shapes = self._collect(output, grid, occupancy)
        seen = [pair for pair in zip(shapes, views, strict=True) if len(pair[1])]
        return shape_grids.GridSet([shape for shape, _ in seen], grid), [views for _, views in seen]

    def _collect(self, output: pathlib.Path, grid: int, occupancy: str) -> list:
        from rendernet_jax.data import shape_grids

        if not self.asked:
            return self.read
        return shape_grids.make_procedural(self.asked, output / "grids", grid, _count_workers(), occupancy) + self.read


def find_shapes(grid: int, occupancy: str, seed: int) -> Shapes:
    """What the flags ask for, data sets read.

    Raises:
        InputError: an unknown family, a data set that can't be used, nothing asked for, or shapes without Numba, which
            makes their grids.
    """
    from rendernet_jax.data import optional, shape_grids, tasks
    from rendernet_jax.errors import InputError

    asked = []
    if _SHAPES.value:
        optional.import_numba()
        asked = tasks.procedural_tasks(_SHAPES.value, _FAMILIES.value, seed)
    read, digests = shape_grids.read_data_sets(_DATA.value, grid, occupancy)
    if not asked and not read:
        raise InputError("--shapes: expected 1 or more, or --data, got neither; add one of both")
    chosen = sorted({task.family for task in asked})
    return Shapes(asked, read, {"shapes": len(asked), "families": chosen, "data_sha256": digests})


def _count_workers() -> int:
    """The flag's number of processes, else one for each core that this process may use."""
    if _WORKERS.value is not None:
        return _WORKERS.value
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
