"""Morphable-model data in the layout of the 2018 code: textured faces with albedo and normal pictures.

For an object ``ply80024`` there are, anywhere below one folder:

- ``ply80024.binvox``: its voxels;
- ``beta80024.mat``: its texture vector, an array ``beta`` (199 numbers of the Basel face model);
- ``ply80024_p294_t105_r3.3_albedo.png`` and ``..._normal.png``: pictures from pose-telling names; or, without the last
  word, ``ply80024_p294_t105_r3.3.png`` in one folder (or tar) of albedo and one of normals.

The 2018 data were published without a description. What this reader takes them to be: albedo without shading, normals
as ``n / 2 + 1/2``, a plain white or black background. Which axes the normals are in is found out: the 2018 fits place
their lights in axes that stand still while the camera goes round, with z up, other parts of that code in camera axes.
Of the 48 orders and signs of the axes, standing still or turning with the camera, those are taken by which normals
point most outward, as those of a ball would; ``description`` tells which.
"""

import dataclasses
import hashlib
import itertools
import pathlib
import re

import numpy as np

from rendernet_jax.camera import Pose
from rendernet_jax.data import shards
from rendernet_jax.data.mat_files import read_mat
from rendernet_jax.data.picture_files import decode_picture, open_pictures
from rendernet_jax.data.picture_poses import Shot, parse_name
from rendernet_jax.data.raycast import camera_axes
from rendernet_jax.data.source import check_patch, hold_back, place_patch, stack, window
from rendernet_jax.data.voxel_files import read_voxels
from rendernet_jax.errors import InputError

VARIABLE = "beta"
_KIND = re.compile(r"_(albedo|normal)(?=\.[a-z]+$)", re.IGNORECASE)
_LEAST_COVER = 0.25  # of a pixel, below which colours are taken as they are


@dataclasses.dataclass(frozen=True, eq=False)
class TexturedView:
    """One view: uint8 ``albedo`` ``[S, S, 3]``, 255ths, ``mask`` ``[S, S, 1]``; int8 ``normal``, 127ths."""

    name: str
    shot: Shot
    albedo: np.ndarray
    normal: np.ndarray
    mask: np.ndarray


class TexturedPictures:
    """Views of textured objects, in memory, seven bytes a pixel, split by object: a source for ``training.loop.train``.

    Attributes:
        size: pixels on a picture's side.
        grid_channels: of the object grids, 1.
        texture_numbers: of a texture vector, T.
        kinds: of voxels to validate on: each object has one grid only.
        training, validation: indices of views; an object's are all on the same side, which its name alone decides.
        identity, description: what must be the same for a run to be continued; what the weights' card says.

    Raises:
        InputError: no views, pictures, grids or vectors of several sizes, or fewer than two objects.
    """

    kinds = ("given",)

    def __init__(
        self,
        views: list[TexturedView],
        grids: dict[str, np.ndarray],
        textures: dict[str, np.ndarray],
        validation: float = 0.04,
        facts: dict | None = None,
    ):
        """Hold ``views`` of the objects ``grids`` ``[G, G, G, 1]`` and ``textures`` ``[T]`` by name."""
        _check_alike("pictures", {view.name: view.mask.shape[:2] for view in views})
        _check_alike("objects", {name: grid.shape for name, grid in grids.items()})
        _check_alike("textures", {name: texture.shape for name, texture in textures.items()})
        if len(grids) < 2:
            raise InputError(f"objects: expected two or more, one of them to validate on, got {', '.join(grids)} alone")
        self.size, self.grid_channels = len(views[0].mask), 1
        self.texture_numbers = len(next(iter(textures.values())))
        self._views, self._textures = views, textures
        self._grids = {name: grid.astype(np.uint8) for name, grid in grids.items()}  # binvox files are binary
        names = sorted(grids)
        held_back = dict(zip(names, hold_back(names, validation), strict=True))
        aside = np.array([held_back[view.shot.object] for view in views])
        self.validation, self.training = np.flatnonzero(aside), np.flatnonzero(~aside)
        self.identity = {"pictures": len(views), "sha256": self._digest()}
        self.description = {
            **self.identity,
            **{"objects": len(grids), "size": self.size, "texture_numbers": self.texture_numbers},
            **(facts or {}),
        }

    def batch(self, rng: np.random.Generator, count: int, patch: int = 192) -> dict:
        """Random patches of training views, each about the object.

        Args:
            rng: the only source of chance.
            count: samples, B.
            patch: pixels on a side, P, a multiple of 8.

        Returns:
            Float32 arrays: ``grid``, ``pose``, ``left``, ``top``, ``extent`` as ``Source.batch`` has them; ``texture``
            ``[B, T]``; ``albedo`` ``[B, P, P, 3]`` in [0, 1], 1 outside; ``normal`` ``[B, P, P, 3]``, camera axes, 0
            outside; ``mask`` ``[B, P, P, 1]``.

        Raises:
            InputError: the patch is larger than a picture, or no multiple of 8.
        """
        check_patch(patch, self.size)
        samples = []
        for index in rng.choice(self.training, count):
            shown = self._views[index].mask[..., 0] > 0
            samples.append(self._cut(index, *place_patch(rng, shown, patch, self.size), patch))
        return stack(samples)

    def views(self, indices, occupancy: str = "given") -> dict:
        """Whole views by index, in the form of :meth:`batch` with P = size. Raises InputError but for "given"."""
        if occupancy not in self.kinds:
            raise InputError(f"occupancy: expected 'given', the only grid an object here has, got {occupancy!r}")
        return stack([self._cut(index, 0, 0, self.size) for index in indices])

    def _cut(self, index: int, top: int, left: int, patch: int) -> dict:
        view = self._views[index]
        box = (slice(top, top + patch), slice(left, left + patch))
        return {
            "grid": self._grids[view.shot.object].astype(np.float32),
            "pose": shards.decode_poses(view.shot.pose),
            **window(top, left, patch, self.size),
            "texture": self._textures[view.shot.object],
            "albedo": view.albedo[box] * np.float32(1 / 255),
            "normal": view.normal[box] * np.float32(1 / 127),
            "mask": view.mask[box] * np.float32(1 / 255),
        }

    def _digest(self) -> str:
        """SHA-256 of everything that training sees."""
        total = hashlib.sha256()
        for name, grid in sorted(self._grids.items()):
            total.update(f"{name}\n{grid.shape}\n".encode() + grid.tobytes() + self._textures[name].tobytes())
        for view in self._views:
            total.update(f"{view.name}\n{view.shot.object}\n".encode() + view.shot.pose.tobytes())
            total.update(view.albedo.tobytes() + view.normal.tobytes() + view.mask.tobytes())
        return total.hexdigest()


def has_faces(folder) -> bool:
    """Whether a folder is laid out so: texture vectors somewhere in it, and no data set of this project."""
    folder = pathlib.Path(folder)
    return not (folder / "manifest.json").exists() and next(folder.rglob("*.mat"), None) is not None


def load_morphable(folder, textures=None, albedo=None, normals=None, validation: float = 0.04) -> TexturedPictures:
    """Read a folder of the layout above; every picture must have its partner, its object and its texture vector.

    Args:
        folder: holds the binvox files and whatever is not named below, in sub-folders too.
        textures: folder of ``beta{number}.mat``, or one ``.mat`` file with an array ``[N, T]``, a row for each of the N
            objects in the order of their numbers.
        albedo, normals: folders or tars of pictures ``{object}_p{azimuth}_t{polar}_r{radius}.png`` of one kind.
        validation: share of the objects held back.

    Raises:
        InputError: a file that is missing, damaged, too large or of another size than the others; names the file.
    """
    folder = pathlib.Path(folder)
    if not folder.is_dir():
        raise InputError(f"folder {folder}: expected a folder of morphable-model data, got none; check the path")
    colors, normal_pictures = _read_kind(folder, albedo, "albedo"), _read_kind(folder, normals, "normal")
    for one, other, kind in ((colors, normal_pictures, "normal"), (normal_pictures, colors, "albedo")):
        if lost := sorted(one.keys() - other.keys()):
            raise InputError(f"{lost[0]}: expected its {kind} picture too, got none; add it, or take the other out")
    shots = {name: parse_name(name) for name in sorted(colors)}
    objects = sorted({shot.object for shot in shots.values()}, key=_number)
    grids = _read_grids(folder, objects)
    vectors = _read_textures(folder if textures is None else pathlib.Path(textures), objects)
    kinds = {"albedo": colors, "normal": normal_pictures}
    _check_alike(
        "pictures", {f"{kind} {name}": p.shape[:2] for kind, found in kinds.items() for name, p in found.items()}
    )
    views, moments = [], []
    for name, shot in shots.items():  # bytes at once: as floats the pictures would take four times the memory
        color, normal, mask = _unmix(colors.pop(name), normal_pictures.pop(name))
        moments.append(_outward_moment(normal, mask))
        views.append(TexturedView(name, shot, _bytes(color), np.rint(127 * normal).astype(np.int8), _bytes(mask)))
    turns = [camera_axes(Pose(**shards.decode_poses(view.shot.pose))) for view in views]
    axes, turning = _find_axes(np.stack(moments), np.stack(turns))
    for view, turn in zip(views, turns, strict=True):
        turned = view.normal @ (axes if turning else turn @ axes).T
        view.normal[:] = np.clip(np.rint(turned), -127, 127)
    facts = {"normal_axes": axes.astype(int).tolist(), "normals_turn_with_the_camera": turning}
    return TexturedPictures(views, grids, vectors, validation, facts)


def _read_kind(folder: pathlib.Path, place, kind: str) -> dict[str, np.ndarray]:
    """Pictures of a kind, uint8 ``[S, S, 3]``, by their names without the kind."""
    found = {}
    with open_pictures(folder if place is None else place) as (readers, _):
        for path, read in readers.items():
            name = pathlib.PurePosixPath(path).name
            told = _KIND.search(name)
            if place is None and (told is None or told[1].lower() != kind):
                continue
            name = _KIND.sub("", name)
            if parse_name(name) is None:
                raise InputError(f"{path}: expected a name ending in _p.._t.._r.., got another; rename or remove it")
            if name in found:
                raise InputError(f"{path}: expected one {kind} picture {name}, got two; remove one")
            try:
                picture = decode_picture(read())
            except InputError as error:
                raise InputError(f"{path}: {error}") from error
            found[name] = np.broadcast_to(picture, (*picture.shape[:2], 3))
    if not found:
        raise InputError(f"{folder}: expected {kind} pictures ..._r3.3_{kind}.png, found none; name their folder")
    return found


def _read_grids(folder: pathlib.Path, objects: list[str]) -> dict[str, np.ndarray]:
    paths = {path.stem: path for path in sorted(folder.rglob("*.binvox"))}
    grids = {}
    for name in objects:
        if name not in paths:
            raise InputError(f"{folder}: expected {name}.binvox, found none; add it, or take its pictures out")
        grids[name] = read_voxels(paths[name])
    return grids


def _read_textures(place: pathlib.Path, objects: list[str]) -> dict[str, np.ndarray]:
    if place.suffix.lower() == ".mat":
        rows = np.atleast_2d(read_mat(place, VARIABLE))
        if len(rows) != len(objects):
            raise InputError(f"{place}: expected a row for each of {len(objects)} objects, got {rows.shape}")
        return dict(zip(objects, rows, strict=True))
    paths = {path.stem: path for path in sorted(place.rglob("*.mat"))}
    vectors = {}
    for name in objects:
        stem = next((s for s in (f"beta{_number(name)[0]}", f"beta{name}", name) if s in paths), None)
        if stem is None:
            raise InputError(f"{place}: expected beta{_number(name)[0]}.mat of {name}, found none; add it")
        vectors[name] = read_mat(paths[stem], VARIABLE).reshape(-1)
    return vectors


def _number(name: str) -> tuple[int, str]:
    """The number in an object's name, by which its texture is found and objects are sorted, and the name."""
    digits = re.findall(r"[0-9]+", name)
    return int(digits[-1]) if digits else 0, name


# --- pictures ---------------------------------------------------------------------------------------------------------


def _unmix(color: np.ndarray, normal: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Albedo and normal of the covered part of each pixel, and the covered share: float32 [S, S, 3], 3 and 1.

    A normal picture's background is the one colour there is that no normal has: its length is sqrt(3), not 1.
    """
    color, normal = color * np.float32(1 / 255), normal * np.float32(2 / 255) - 1
    length = np.linalg.norm(normal, axis=2, keepdims=True)
    mask = np.clip((np.sqrt(3) - length) / (np.sqrt(3) - 1), 0, 1).astype(np.float32)
    mask[mask < 1 / 64] = 0
    share = np.maximum(mask, _LEAST_COVER)
    normal = (normal - (1 - mask) * _background(normal)) / share
    normal = normal / np.maximum(np.linalg.norm(normal, axis=2, keepdims=True), 1)
    color = np.clip((color - (1 - mask) * _background(color)) / share, 0, 1)
    return np.where(mask > 0, color, 1).astype(np.float32), np.where(mask > 0, normal, 0).astype(np.float32), mask


def _background(picture: np.ndarray) -> np.ndarray:
    """White or black (the ends of the picture's range): the nearer to the median of its corners."""
    corner = np.median(picture[[0, 0, -1, -1], [0, -1, 0, -1]])
    low = -1.0 if picture.min() < 0 else 0.0
    return np.float32(1.0 if corner > (1.0 + low) / 2 else low)


def _outward_moment(normal: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Mean [3, 3] of the normals of a ball of the object's area and place (rows) times those of the picture."""
    rows, columns = np.nonzero(mask[..., 0] > 0.5)
    if not len(rows):
        return np.zeros((3, 3))
    ball = np.stack([columns - columns.mean(), rows.mean() - rows], -1) / np.sqrt(len(rows) / np.pi)
    ball = np.concatenate([ball, np.sqrt(np.maximum(1 - (ball**2).sum(1, keepdims=True), 0))], 1)
    return np.einsum("ni,nj->ij", ball, normal[rows, columns]) / len(rows)


def _find_axes(moments: np.ndarray, turns: np.ndarray) -> tuple[np.ndarray, bool]:
    """Which signed permutation [3, 3] takes stored normals to right, up and back, and whether of the camera's axes.

    ``moments`` [N, 3, 3] are those of :func:`_outward_moment`, ``turns`` [N, 3, 3] go from world to camera axes.
    """
    still = np.einsum("nki,nkj->ij", turns, moments)
    best = (-np.inf, np.eye(3), True)
    for turning, moment in ((True, moments.sum(0)), (False, still)):
        for order in itertools.permutations(range(3)):  # the identity comes first, and stays if others do no better
            for signs in itertools.product((1.0, -1.0), repeat=3):
                axes = np.eye(3)[list(order)] * np.array(signs)[:, None]
                score = (axes * moment).sum()
                if score > best[0] + 1e-3 * len(moments):
                    best = (score, axes, turning)
    return best[1], best[2]


def _bytes(picture: np.ndarray) -> np.ndarray:
    return np.rint(255 * picture).astype(np.uint8)


def _check_alike(what: str, shapes: dict[str, tuple]) -> None:
    """Raise InputError unless there are some, all of one shape."""
    if not shapes:
        raise InputError(f"{what}: expected one or more, got none")
    first = next(iter(shapes))
    for name, shape in shapes.items():
        if shape != shapes[first]:
            raise InputError(f"{what}: expected all of one size, got {shapes[first]} ({first}) and {shape} ({name})")
