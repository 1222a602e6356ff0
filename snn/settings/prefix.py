"""Prefixes: how many blocks two runs train alike, told from their configs alone."""

from snn.settings.config import SETTINGS, RunConfig

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
"""Settings that only decide, behind a trained block, what becomes of its classes."""

CUT = frozenset({"partition", "space_rule"})
"""Settings of which only the units up to a block's own reach it."""


def is_chain(config: RunConfig) -> bool:
    """Whether blocks are trained one after another, a single block included."""
    return config.stages == config.exits


def shared_blocks(first: RunConfig, second: RunConfig) -> int:
    """How many first blocks are trained alike, so that one run can take them from the other.

    Routing is taken to be the same only where all of its settings are: what they
    make of the classes is known only behind the training.
    """
    if not (is_chain(first) and is_chain(second)):
        return 0
    for name, setting in SETTINGS.items():
        if setting.operating or name in CUT:
            continue
        if getattr(first, name) != getattr(second, name):
            return 0
    pairs = zip(first.blocks, second.blocks, strict=False)
    return next((k for k, (a, b) in enumerate(pairs) if a != b), min(first.exits, second.exits))
