"""Composite features against a compositor that walks through every column cell by cell."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rendernet_jax import composite
from rendernet_jax.composite import CHANNELS, SLAB, analytic_features, composite_weights

draw = jax.jit(analytic_features)
DEPTH = 12
OPACITY, Z, SPREAD, NORMAL, SUM, LARGEST, WIDTH, EDGE = 0, 1, 2, slice(3, 6), 6, 7, 8, 9
CELLS = slice(10, None)


def walk(column):
    """Front-to-back weights of one column, by the definition of compositing."""
    weights, light = [], 1.0
    for cell in column:
        opacity = min(max(cell, 0.0), 0.999)
        weights.append(opacity * light)
        light *= 1.0 - opacity
    return np.array(weights)


def expected_z(weights, depth=DEPTH):
    centres = 1 - (np.arange(depth) + 0.5) * 2 / depth
    return (weights @ centres - 1e-3) / (weights.sum() + 1e-3)


def numpy_features(grid, columns):
    rows, width, depth = grid.shape
    centres = 1 - (np.arange(depth) + 0.5) * 2 / depth
    padded = np.pad(grid, 1)
    z = np.array([[expected_z(walk(c), depth) for c in row] for row in grid])
    beside = np.pad(z, 1, mode="edge")
    result = np.zeros((rows, width, CHANNELS))
    for h, w in np.ndindex(rows, width):
        weights, pixel = walk(grid[h, w]), result[h, w]
        total = weights.sum()
        pixel[OPACITY], pixel[Z] = total, 4 * z[h, w]
        variance = (weights @ centres**2 + 1e-3) / (total + 1e-3) - z[h, w] ** 2
        pixel[SPREAD] = np.sqrt(max(variance, 0) + 1e-4)
        around = padded[h : h + 3, w : w + 3]
        right = weights @ (around[1, 2, 1:-1] - around[1, 0, 1:-1]) * columns / depth
        up = weights @ (around[0, 1, 1:-1] - around[2, 1, 1:-1]) * columns / depth
        near = weights @ (around[1, 1, :-2] - around[1, 1, 2:])
        pixel[NORMAL] = -np.array([right, up, near]) / np.sqrt(right**2 + up**2 + near**2 + 1e-4)
        pixel[SUM], pixel[LARGEST], pixel[WIDTH] = grid[h, w].sum() / 16, grid[h, w].max(), columns / depth - 1
        farthest = min(beside[h, w + 1], beside[h + 2, w + 1], beside[h + 1, w], beside[h + 1, w + 2])
        pixel[EDGE] = total * np.tanh(8 * (z[h, w] - farthest))
        cells = (1 - z[h, w]) * depth / 2 - 0.5 + np.arange(*SLAB)
        pixel[CELLS] = np.interp(cells, np.arange(-1, depth + 1), np.pad(grid[h, w], 1), left=0, right=0)
    return result, z[..., None]


@pytest.mark.parametrize("columns", [7.0, 24.0])
def test_features_equal_the_walk_through_every_column(columns):
    rng = np.random.default_rng(0)
    grid = rng.random((2, 5, 7, DEPTH)) * (rng.random((2, 5, 7, DEPTH)) < 0.4)
    grid[0, :2, :3] = 0
    grid[1, 2:, 2:, 0] = grid[1, 2:, 2:, -1] = 1  # on the cube's near and far side at once
    features, z, normal = draw(jnp.asarray(grid, jnp.float32), jnp.full(2, columns))
    assert features.shape == (2, 5, 7, CHANNELS)
    for b in range(2):
        expected, expected_depth = numpy_features(grid[b], columns)
        np.testing.assert_allclose(features[b], expected, atol=2e-5)
        np.testing.assert_allclose(z[b], expected_depth, atol=1e-5)
        np.testing.assert_allclose(normal[b], expected[..., NORMAL], atol=2e-5)


def test_solid_slab_is_seen_at_its_first_cell_facing_the_viewer():
    grid = jnp.zeros((1, 4, 4, 32)).at[..., 10:20].set(1.0)
    features, z, normal = draw(grid, jnp.full(1, 4.0))
    first = 1 - 10.5 * 2 / 32
    np.testing.assert_allclose(z, first, atol=3e-3)
    np.testing.assert_allclose(normal[0, 1:-1, 1:-1], np.broadcast_to([0, 0, 1], (2, 2, 3)), atol=2e-3)
    np.testing.assert_allclose(features[..., OPACITY], 1, atol=2e-3)
    np.testing.assert_allclose(features[0, 0, 0, CELLS], [0] * 4 + [1] * 10, atol=0.05)


def test_half_filled_first_cell_moves_the_surface_between_cells():
    solid = jnp.zeros((1, 4, 4, 32)).at[..., 10:20].set(1.0)
    z = [float(draw(solid.at[..., 9].set(c), jnp.full(1, 4.0))[1][0, 0, 0, 0]) for c in (0.0, 0.5, 1.0)]
    assert z[1] == pytest.approx((z[0] + z[2]) / 2, abs=1e-3) and z[2] - z[0] == pytest.approx(2 / 32, abs=1e-3)


def test_empty_columns_lie_on_the_far_side():
    features, z, normal = draw(jnp.zeros((1, 4, 4, 32)), jnp.full(1, 4.0))
    np.testing.assert_allclose(z, -1.0, atol=1e-6)
    assert not normal.any() and not features[..., OPACITY].any()


def test_weights_are_what_the_light_leaves_behind():
    occupancy = jnp.asarray([0.5, 0.0, 0.5, 2.0, 1.0])
    np.testing.assert_allclose(composite_weights(occupancy), walk(np.asarray(occupancy)), atol=1e-6)
    assert float(composite_weights(occupancy).sum()) == pytest.approx(1, abs=1e-3)


def test_gradients_by_the_grid_are_finite_where_it_is_empty_or_full():
    gradient = jax.jit(jax.grad(lambda g: sum(x.sum() for x in analytic_features(g, jnp.full(1, 3.0)))))
    for fill in (0.0, 1.0):
        found = gradient(jnp.full((1, 3, 3, 8), fill))
        assert np.isfinite(found).all() and np.abs(found).max() > 0


def test_bands_of_rows_join_without_a_seam(monkeypatch):
    """Values and gradients, for two pictures in turn; 6 rows as one band, as two and as six."""
    grid = jnp.asarray(np.random.default_rng(3).random((2, 6, 5, DEPTH)), jnp.float32)
    columns = jnp.array([5.0, 9.0])
    outcomes = []
    for cells in (2**20, 3 * 5 * DEPTH, 1):
        monkeypatch.setattr(composite, "_BAND", cells)
        features = lambda g: analytic_features(g, columns)  # noqa: E731
        gradient = jax.grad(lambda g: sum(jnp.sum(jnp.sin(x)) for x in analytic_features(g, columns)))
        outcomes.append(jax.jit(lambda g: (*features(g), gradient(g)))(grid))  # noqa: B023
    for found in outcomes[1:]:
        for a, b in zip(found, outcomes[0], strict=True):
            np.testing.assert_allclose(a, b, atol=1e-5)
