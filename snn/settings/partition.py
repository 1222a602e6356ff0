"""Partitions: how the units of a backbone are cut into blocks.

A partition is written as the number of units in each block, `2+1+1`.
It may cover fewer units than the backbone has: the rest is then left away, and
the last block's exit head is the network's output. Every prefix of a
block-locally trained network is such a network.
"""

from collections.abc import Iterator


def parse_partition(text: str) -> tuple[int, ...]:
    """Units per block. Raises ValueError when `text` is not written like `2+1+1`."""
    parts = text.split("+")
    if not all(part.isascii() and part.isdigit() and int(part) > 0 for part in parts):
        raise ValueError(f"must be positive unit counts joined by '+', like 2+1+1, got {text!r}")
    return tuple(int(part) for part in parts)


def format_partition(blocks: tuple[int, ...]) -> str:
    """The text of a partition: `(2, 1, 1)` is `2+1+1`."""
    return "+".join(str(units) for units in blocks)


def partitions(units: int, *, max_blocks: int, min_blocks: int = 1) -> Iterator[str]:
    """All compositions of `units` into `min_blocks` to `max_blocks` blocks, coarsest first."""
    for blocks in range(min_blocks, min(max_blocks, units) + 1):
        yield from (format_partition(parts) for parts in _compositions(units, blocks))


def _compositions(units: int, blocks: int) -> Iterator[tuple[int, ...]]:
    if blocks == 1:
        yield (units,)
        return
    for first in range(units - blocks + 1, 0, -1):
        for rest in _compositions(units - first, blocks - 1):
            yield (first, *rest)
