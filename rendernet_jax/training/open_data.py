"""A folder of training data, whatever made it, and the network fitted to it."""

from rendernet_jax.config import Config, fit_size, with_vectors
from rendernet_jax.data import morphable_files
from rendernet_jax.data.source import Source


def open_data(folder, config: Config) -> tuple[Config, object]:
    """Network and source of a folder: a data set, packed or not, or textured faces in the layout of 2018.

    Raises:
        InputError: no such folder, damaged data, or data that the network can't learn from.
    """
    if morphable_files.has_faces(folder):
        source = morphable_files.load_morphable(folder)
        return with_vectors(config, source.texture_numbers), source
    vector = config.paint.texture.vector if config.paint else None
    source = Source(folder, 1 if config.encoder else config.upsample, vector=vector)
    return fit_size(config, source.size), source
