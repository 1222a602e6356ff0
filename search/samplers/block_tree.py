"""The tree of prefixes of a study whose blocks are trained one after another.

A node is a network's first blocks with what its exit after them measured. Its children are the
networks of one more block. Trainings are paths from the root: a network of four blocks adds four
nodes, if its operating points tell of its earlier exits.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from search.samplers.prefixes import is_operating
from search.study.study import Study
from search.study.units import COUNT, KIND, NONE, PER_BLOCK, place_of
from search.trial.trial import Params, Trial
from snn.settings.config import PER_BLOCK as BLOCK_SETTINGS
from snn.settings.measurement import OperatingPoint

Key = tuple[tuple[str, object], ...]
_LISTED = re.compile(r"([a-z_]+)_([0-9]+)")


@dataclass(frozen=True, kw_only=True)
class Node:
    """The first blocks of a trained network."""

    key: Key
    trial: int  # the first one that has it
    params: Params  # of that trial
    depth: int  # blocks; the root has none
    metrics: Mapping[str, float]  # of the exit after them; empty for the root


ROOT = Node(key=(), trial=-1, params={}, depth=0, metrics={})


class BlockTree:
    """Nodes by their key, in the order in which they were trained."""

    def __init__(self, study: Study) -> None:
        axes: Any = study.space.axes
        self.step: int = axes[PER_BLOCK].value  # units in each block
        self.counts = frozenset(axes[COUNT].values)
        self.nodes: dict[Key, Node] = {}
        self.failed: dict[Key, Node] = {}  # with an accuracy of 0
        self.parents: dict[Key, Key] = {}

    def add(self, trial: Trial, points: Sequence[OperatingPoint]) -> None:
        """Add a measured trial: its last exit, and the earlier ones that `points` tell of."""
        assert trial.sampled is not None
        last = self.depth(trial.params)
        known = {last: trial.sampled.metrics}
        if not any(trial.params.get(n) == NONE for n in trial.params if n.endswith(f"_{KIND}")):
            known = _exits([*points, trial.sampled]) if points else known
        parent: Key = ()
        for depth in range(1, last + 1):
            key = self.key(trial.params, depth)
            if depth in known and key not in self.nodes:
                self.nodes[key] = Node(
                    key=key,
                    trial=trial.number,
                    params=trial.params,
                    depth=depth,
                    metrics=known[depth],
                )
                if parent in self.nodes or depth == 1:
                    self.parents[key] = parent
            parent = key

    def fail(self, trial: Trial) -> None:
        """Add a trial that cannot be trained: its last block leaves nothing of the exit before.

        Nothing is added where the exit before is not known.
        """
        last = self.depth(trial.params)
        key, parent = self.key(trial.params, last), self.key(trial.params, last - 1)
        before = self.nodes.get(parent, ROOT)
        if key in self.nodes or (last > 1 and before is ROOT):
            return
        metrics = dict(before.metrics) | {"accuracy": 0.0}
        self.failed[key] = Node(
            key=key, trial=trial.number, params=trial.params, depth=last, metrics=metrics
        )
        self.parents[key] = parent if last > 1 else ()

    def depth(self, params: Params) -> int:
        """Return the number of blocks of a configuration, those that are left out included."""
        return -(-int(params[COUNT]) // self.step)

    def edges(self) -> Iterator[tuple[Node, Node]]:
        """Yield every trained block as the nodes before and after it."""
        for key, parent in self.parents.items():
            yield self.nodes.get(parent, ROOT), self.nodes.get(key) or self.failed[key]

    def key(self, params: Params, depth: int) -> Key:
        """Return what the first `depth` blocks of a configuration depend on."""
        kept = (
            (name, value)
            for name, value in params.items()
            if name != COUNT and not is_operating(name) and (self.block(name) or 0) <= depth
        )
        return tuple(sorted(kept, key=lambda pair: pair[0]))

    def block(self, name: str) -> int | None:
        """Return the block, from 1, that a name of params belongs to; None: to all."""
        found = place_of(name)
        if found is not None:
            return (found[0] - 1) // self.step + 1
        listed = _LISTED.fullmatch(name)
        if listed is not None and listed[1] in BLOCK_SETTINGS:
            return int(listed[2])
        return None

    def local(self, name: str) -> str:
        """Return a name of params as its block sees it: the same for each block."""
        found = place_of(name)
        if found is not None:
            return f"unit {(found[0] - 1) % self.step} {found[1]}"
        listed = _LISTED.fullmatch(name)
        return listed[1] if listed is not None and listed[1] in BLOCK_SETTINGS else name

    def start(self, node: Node, blocks: int) -> dict[str, Any] | None:
        """Return the values that a network of so many more blocks keeps; None if none has."""
        count = (node.depth + blocks) * self.step
        if count not in self.counts:
            return None
        kept = {
            name: value
            for name, value in node.params.items()
            if not is_operating(name) and (self.block(name) or 0) <= node.depth
        }
        return {**kept, COUNT: count}


def _exits(points: Sequence[OperatingPoint]) -> dict[int, Mapping[str, float]]:
    """Return the metrics of the most accurate point of each number of blocks."""
    best: dict[int, OperatingPoint] = {}
    for point in points:
        held = best.get(point.blocks)
        if held is None or point.metrics["accuracy"] > held.metrics["accuracy"]:
            best[point.blocks] = point
    return {depth: point.metrics for depth, point in best.items()}
