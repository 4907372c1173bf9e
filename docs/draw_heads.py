"""Draw docs/heads.png: a head no data set holds, under other lights, from other sides, with other textures, fitted.

    python docs/draw_heads.py

Above: drawn, under a new light, from a new side, and with the textures of two other heads. Below: a ray-traced picture,
what was found in it (shape, texture, pose and light), and that from three new sides.
"""

import math
import pathlib

import numpy as np

from rendernet_jax import inverse, texture_scores, weights
from rendernet_jax.camera import light_from_degrees, pose_from_degrees
from rendernet_jax.data.sheet import picture_sheet, save_png
from rendernet_jax.evaluation import draw_view
from rendernet_jax.inverse import unknowns
from rendernet_jax.rendering import textured

SIZE, HEAD, OTHERS = 256, 1, (3, 7)
params, config = weights.load_weights("compact-texture")
prior = weights.load_prior("head_prior")


def draw(grid, pose, light):
    """Colour picture of one grid."""
    return draw_view(params, config, grid, pose, light, SIZE, ("colour",))[1]["colour"]


head = texture_scores.make_head(HEAD)
pose = pose_from_degrees(azimuth_deg=25, elevation_deg=8, scale=1.4)
side = pose_from_degrees(azimuth_deg=-50, elevation_deg=15, scale=1.4)
light, other = light_from_degrees(30, 30), light_from_degrees(-60, 10)
swapped = [textured(params, config, head.grid[..., :1], texture_scores.make_head(i).texture[None]) for i in OTHERS]
above = [draw(head.grid, pose, light), draw(head.grid, pose, other), draw(head.grid, side, light)]
above += [draw(np.asarray(grid), pose, light) for grid in swapped]

target = texture_scores.make_target(head, HEAD, SIZE, 0)
found = inverse.fit_textured(params, config, prior, target.picture, target.mask).best
grid = inverse.coloured_grids(params, config, prior, unknowns.stacked(found))
views = [found.pose.at[0].add(math.radians(turn)) for turn in (0, 60, 180, 300)]
below = [target.picture, *(draw(grid, unknowns.to_pose(view), unknowns.to_light(found.light)) for view in views)]
print(texture_scores.score_fit(params, config, prior, found, target, head)[0])
sheets = [
    picture_sheet([above], [""], ["drawn", "new light", "new side", "swapped texture", "swapped texture"], SIZE),
    picture_sheet([below], [""], ["picture", "found in it", "new side", "new side", "new side"], SIZE),
]
path = pathlib.Path(__file__).parent / "heads.png"
save_png(path, np.concatenate(sheets))
print(f"wrote {path}")
