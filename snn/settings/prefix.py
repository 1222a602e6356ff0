"""Prefixes: the number of first blocks that two runs train identically, by their configs."""

from collections.abc import Hashable

from snn.settings import chunks
from snn.settings.architecture import format_architecture, largest_layer, resolved
from snn.settings.config import PER_BLOCK, SETTINGS, RunConfig
from snn.settings.units import Shape

ROUTING = frozenset(
    {
        "block_classes",
        "class_rule",
        "class_score",
        "class_threshold",
        "hard_fraction",
        "detector",
    }
)
"""Settings that only decide, after a block is trained, which classes are hard."""

CUT = frozenset({"partition", "space_rule"})
"""Settings that affect a block only by the units up to its own."""


ARCHITECTURE = frozenset({"backbone", "architecture", "width"})
"""Settings that affect a block by its units, those before it, and the largest layer of all."""


def block_units(config: RunConfig) -> tuple[str, ...]:
    """Return the units of each block as a text, with sizes in channels and neurons."""
    units, first, texts = resolved(config.units, config.width), 0, []
    for count in config.blocks:
        texts.append(format_architecture(units[first : first + count]))
        first += count
    return tuple(texts)


def chunking(config: RunConfig, image: Shape) -> tuple[int, int]:
    """Return images and timesteps that run together on a CPU: how sums are grouped.

    They follow from the largest layer, which may be one of a later block.
    """
    largest = largest_layer(config.units, image, config.width)
    images = chunks.micro_batch(config, largest)
    return images, chunks.chunk_steps(config, largest, images=images)


def is_chain(config: RunConfig) -> bool:
    """Return whether blocks are trained one after another; True for a single block."""
    return config.stages == config.exits


def prefix_keys(config: RunConfig) -> tuple[Hashable, ...]:
    """Return what the first block depends on, what the first two do, and so on to all blocks.

    Runs with an equal key train these blocks identically. Routing counts as equal only if all of
    its settings are equal: which classes are hard is known only after the training. Empty where
    blocks are not trained one after another.
    """
    if not is_chain(config):
        return ()
    common = tuple(getattr(config, name) for name in _COMMON)
    own = _own(config)
    start = (common, chunking(config, config.input_shape))
    return tuple((*start, *own[:blocks]) for blocks in range(1, len(own) + 1))


_COMMON = tuple(
    name
    for name, setting in SETTINGS.items()
    if not (setting.operating or name in CUT | ARCHITECTURE or name in PER_BLOCK)
)
"""Settings that affect every block alike."""


def _own(config: RunConfig) -> list[Hashable]:
    """Return what each block has for itself: its units, and its values of settings."""
    columns = [
        value if isinstance(value := getattr(config, name), tuple) else (value,) * config.exits
        for name in PER_BLOCK
    ]
    return list(zip(block_units(config), *columns, strict=True))


def shared_blocks(first: RunConfig, second: RunConfig) -> int:
    """Return how many first blocks one run can reuse from the other."""
    pairs = zip(prefix_keys(first), prefix_keys(second), strict=False)
    return sum(one == other for one, other in pairs)
