"""Prefixes: the number of first blocks that two runs train identically, by their configs."""

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


def _own(config: RunConfig) -> list[object]:
    """Return what each block has for itself: its units, and its values of settings."""
    values = [
        [getattr(config.of_block(block), name) for name in PER_BLOCK]
        for block in range(config.exits)
    ]
    return list(zip(block_units(config), values, strict=True))


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


def shared_blocks(first: RunConfig, second: RunConfig) -> int:
    """Return how many first blocks one run can reuse from the other.

    Routing counts as equal only if all of its settings are equal: which classes are hard is
    known only after the training.
    """
    if not (is_chain(first) and is_chain(second)):
        return 0
    for name, setting in SETTINGS.items():
        if setting.operating or name in CUT | ARCHITECTURE:
            continue
        if name not in PER_BLOCK and getattr(first, name) != getattr(second, name):
            return 0
    image = first.input_shape
    if chunking(first, image) != chunking(second, image):
        return 0
    pairs = zip(_own(first), _own(second), strict=False)
    return next((k for k, (a, b) in enumerate(pairs) if a != b), min(first.exits, second.exits))
