"""Prefixes: the number of first blocks that two runs train identically, by their configs."""

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
"""Settings that only decide, after a block is trained, which classes are hard."""

CUT = frozenset({"partition", "space_rule"})
"""Settings that affect a block only by the units up to its own."""


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
        if setting.operating or name in CUT:
            continue
        if getattr(first, name) != getattr(second, name):
            return 0
    pairs = zip(first.blocks, second.blocks, strict=False)
    return next((k for k, (a, b) in enumerate(pairs) if a != b), min(first.exits, second.exits))
