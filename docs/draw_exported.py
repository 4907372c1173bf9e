"""Draws a voxel grid with what export wrote; of rendernet_jax nothing is needed, only jax, flatbuffers and pillow.

python draw_exported.py ARTEFACT.jaxexport GRID.npz FOLDER
"""

import sys

import jax
import numpy as np
from PIL import Image

artefact, grid_file, folder = sys.argv[1:]
with open(artefact, "rb") as file:
    draw = jax.export.deserialize(bytearray(file.read())).call
grid = np.load(grid_file)["grid"].astype(np.float32)[None]  # [N, G, G, G, C], occupancy in [0, 1]
names = ("azimuth", "elevation", "roll", "inverse_distance", "light_azimuth", "light_elevation")
view = {name: np.zeros(1, np.float32) for name in names}  # radians
view |= {"scale": np.ones(1, np.float32), "translation": np.zeros((1, 3), np.float32)}
view["azimuth"][0], view["elevation"][0], view["light_azimuth"][0] = 0.5, 0.3, 0.6
pictures = draw(grid, view)  # by name, [N, size, size, channels] in [0, 1]
for name, picture in pictures.items():
    Image.fromarray(np.rint(255 * np.asarray(picture[0])).astype(np.uint8).squeeze()).save(f"{folder}/{name}.png")
