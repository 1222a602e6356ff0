"""Parts of a batch that a CPU runs together, so that they fit its memory and its cache.

They follow from the config and the largest layer alone, so that results do not depend on the
machine, or on which part of a network runs.
"""

import math
from typing import Any

Settings = Any  # a RunConfig, whose module other files here import

MICRO_BATCH_BYTES = 32 * 2**20
"""Upper bound of the spikes of the largest layer for one timestep of a micro-batch."""

CHUNK_BYTES = 16 * 2**20
"""Upper bound of the same spikes for all timesteps of a chunk: more do not fit the cache, with
fewer the start of each operation costs more than its work."""


def micro_batch(config: Settings, largest: int) -> int:
    """Return the images that run together in training; `largest`: neurons of a layer."""
    if config.is_whole:
        return int(config.batch_size)
    if config.micro_batch:
        return int(config.micro_batch)
    images = max(1, MICRO_BATCH_BYTES // (4 * largest))
    size = int(config.batch_size)
    return math.ceil(size / math.ceil(size / images))


def chunk_steps(config: Settings, largest: int, *, images: int) -> int:
    """Return the timesteps of `images` that run through all layers together."""
    fitting = CHUNK_BYTES // (4 * min(int(config.batch_size), images) * largest)
    return max(1, min(int(config.timesteps), fitting))
