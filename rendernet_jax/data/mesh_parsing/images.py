"""Pictures of materials, read with limits, and what a reader says of those it cannot use."""

import io
import os
import warnings
from pathlib import Path

import numpy as np
from PIL import Image

MAX_PIXELS = 1 << 26  # of one picture, 192 MiB decoded
MAX_TOTAL_PIXELS = 1 << 28  # of all pictures of a file
MAX_FILE_BYTES = 1 << 28
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TGA", "TIFF", "GIF")


class Materials:
    """The materials of a file, numbered in the order they are first asked for; equal ones are kept once.

    A picture that cannot be read is left out: the shape is worth having without. ``notes`` says what was left out.
    """

    def __init__(self, path: Path):
        """Materials of the mesh file ``path``, whose pictures lie in its folder, the folder beside it, or below."""
        self.notes: list[str] = []
        self._home = path.parent
        self._colors: list[tuple] = []
        self._image_of: list[int] = []
        self._images: list[np.ndarray] = []
        self._known: dict = {}
        self._pixels = 0

    def add(self, color, image: int = -1) -> int:
        """Number of the material of a colour, three numbers cut to [0, 1], and of a picture's number, -1 for none."""
        color = tuple(min(max(float(value), 0.0), 1.0) for value in color)
        if len(color) != 3 or not all(value == value for value in color):
            color = (1.0, 1.0, 1.0)
        return self._number((color, image), lambda: (self._colors.append(color), self._image_of.append(image)))

    def read_image(self, name: str) -> int:
        """Number of the picture that a material file names; -1 where it cannot be used, which is noted.

        ShapeNet keeps the pictures beside the mesh's folder, so that one step up is allowed. No other place is: a
        mesh from anywhere must not have a user's other pictures opened. A path that leads to nothing (many hold
        their author's drive) is tried as a name in the mesh's folder.
        """
        name = name.replace("\\", "/")
        if ("file", name) not in self._known:
            self._known["file", name] = self._decode(f"picture {name}", lambda: self._find(name).read_bytes())
        return self._known["file", name]

    def decode_image(self, key, label: str, content) -> int:
        """Number of a picture from ``content()``, its file's bytes, made once for each ``key``; -1 if of no use."""
        if ("inside", key) not in self._known:
            self._known["inside", key] = self._decode(label, content)
        return self._known["inside", key]

    def leave_out(self, label: str, reason: str) -> None:
        """Note what is left out, and why; control characters of a file's names do not reach a terminal."""
        text = f"{label} is left out: {reason}"
        self.notes.append("".join(c if c.isprintable() else "?" for c in text)[:300])

    def arrays(self) -> dict:
        """``material_colors`` [M, 3], ``material_images`` [M] and ``image_0`` ..; empty if all materials are white."""
        plain = all(color == (1.0, 1.0, 1.0) for color in self._colors) and max(self._image_of, default=-1) < 0
        if plain:
            return {}
        found = {
            "material_colors": np.array(self._colors, np.float32),
            "material_images": np.array(self._image_of, np.int32),
        }
        return found | {f"image_{number}": image for number, image in enumerate(self._images)}

    def _number(self, key, append) -> int:
        if key not in self._known:
            self._known[key] = len(self._colors)
            append()
        return self._known[key]

    def _find(self, name: str) -> Path:
        home = Path(os.path.realpath(self._home))
        for place in (home / name, home / name.rsplit("/", 1)[-1]):
            found = Path(os.path.realpath(place))  # what links point to
            if found.is_relative_to(home.parent) and found.is_file():
                if found.stat().st_size > MAX_FILE_BYTES:
                    raise ValueError(f"it has more than {MAX_FILE_BYTES} bytes")
                return found
        raise ValueError("no such file by the mesh")

    def _decode(self, label: str, content) -> int:
        try:
            image = _read(content())
            if self._pixels + image.shape[0] * image.shape[1] > MAX_TOTAL_PIXELS:
                raise ValueError(f"all pictures of the file have more than {MAX_TOTAL_PIXELS} pixels")
        except Exception as error:  # Pillow raises what its decoders raise
            reason = "it needs too much memory" if isinstance(error, MemoryError) else str(error) or "it is broken"
            self.leave_out(label, reason)
            return -1
        self._pixels += image.shape[0] * image.shape[1]
        self._images.append(image)
        return len(self._images) - 1


def _read(content: bytes) -> np.ndarray:
    """The uint8 ``[H, W, 3]`` of a picture's file; transparency is dropped."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            image = Image.open(io.BytesIO(content), formats=FORMATS)
        except Image.UnidentifiedImageError:
            raise ValueError(f"it is none of {', '.join(FORMATS)}, or broken") from None
        if image.width * image.height > MAX_PIXELS:
            raise ValueError(f"it has {image.width} x {image.height} pixels, more than {MAX_PIXELS}; make it smaller")
        if image.mode.startswith("I"):  # 16 bits
            grey = np.asarray(image).astype(np.int64) // 257
            return np.repeat(grey.clip(0, 255).astype(np.uint8)[..., None], 3, axis=2)
        return np.asarray(image.convert("RGB"))
