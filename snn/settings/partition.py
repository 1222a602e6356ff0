"""Partitions: the units of a backbone, divided into blocks.

A partition is written as the number of units in each block, `2+1+1`. It may have fewer
units than the backbone: the network then ends after them, with the last block's exit as
its output. Every prefix of a block-locally trained network is such a network.
"""

from collections.abc import Iterator


def parse_partition(text: str) -> tuple[int, ...]:
    """Return the units per block. Raises ValueError if `text` is not written like `2+1+1`."""
    parts = text.split("+")
    if not all(part.isascii() and part.isdigit() and int(part) > 0 for part in parts):
        raise ValueError(f"must be positive unit counts joined by '+', like 2+1+1, got {text!r}")
    return tuple(int(part) for part in parts)


def format_partition(blocks: tuple[int, ...]) -> str:
    """Return the text of a partition: `2+1+1` for `(2, 1, 1)`."""
    return "+".join(str(units) for units in blocks)


def partitions(units: int, *, max_blocks: int, min_blocks: int = 1) -> Iterator[str]:
    """Yield all partitions of `units` into `min_blocks` to `max_blocks` blocks, coarsest first."""
    for blocks in range(min_blocks, min(max_blocks, units) + 1):
        yield from (format_partition(parts) for parts in _compositions(units, blocks))


def _compositions(units: int, blocks: int) -> Iterator[tuple[int, ...]]:
    if blocks == 1:
        yield (units,)
        return
    for first in range(units - blocks + 1, 0, -1):
        for rest in _compositions(units - first, blocks - 1):
            yield (first, *rest)
