"""What one more block is expected to bring: a model of blocks, and the hypervolume of its guess.

Each trained block is an example: its own values, those that all blocks share, the block before
it, and the metrics of the exit before it are the features; the change of a metric is the value.
A Gaussian process for each metric predicts the exit of a new block. The operating points between
the exits before and after it are interpolated: images that are sure leave early.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from search.front.front import Floats
from search.front.indicators import box_share, in_box
from search.samplers.block_tree import BlockTree, Node
from search.samplers.features import SHARES, Scales, encoded, progress
from search.samplers.prefixes import is_operating
from search.samplers.regression import Regression
from search.study.study import Study
from search.study.units import COUNT
from search.trial.trial import Params

MOST_EXAMPLES = 250  # the newest: the time of a fit grows with their cube
DRAWS = 12  # of each prediction
FINALISTS = 30  # extensions whose gain is the mean of all draws


@dataclass(frozen=True, kw_only=True)
class Extension:
    """A network of more blocks than the prefix `base`."""

    base: Node
    params: Params
    blocks: int  # that are trained


class ExtensionModel:
    """Predicts the exits of extensions from the blocks that were trained."""

    def __init__(self, study: Study, tree: BlockTree) -> None:
        self._study, self._tree = study, tree
        self._names = tuple(dict.fromkeys((*study.objectives, *study.constraints)))
        trained = {n: axis for n, axis in study.space.dimensions().items() if not is_operating(n)}
        self._axes = {tree.local(name): axis for name, axis in reversed(trained.items())}
        self._axes.pop(COUNT, None)
        self._of_blocks = {tree.local(name) for name in trained if tree.block(name) is not None}
        edges = list(tree.edges())[-MOST_EXAMPLES:]
        measured = [child.metrics for _, child in edges if child.key in tree.nodes]
        self._known = {n: [metrics[n] for metrics in measured] for n in self._names}
        self._scales = Scales(self._known)
        features = np.array(
            [self._features(before, child.params, child.depth) for before, child in edges]
        )
        self._models = {
            name: Regression(
                features,
                np.array(
                    [
                        self._level(name, child) - self._level(name, before)
                        for before, child in edges
                    ]
                ),
            )
            for name in self._names
        }

    def gains(
        self, extensions: Sequence[Extension], front: Floats, reference: Mapping[str, float]
    ) -> Floats:
        """Return the expected gain of hypervolume of each extension per block that it trains.

        `front` are the points so far as in `in_box` (points, objectives).
        """
        draws = np.random.default_rng(len(self._tree.nodes)).standard_normal(DRAWS)
        exits = self._exits(extensions, draws)
        sizes = np.array([extension.blocks for extension in extensions])
        held = box_share(front)

        def gain(k: int, draw: int) -> float:
            levels = {name: values[k, draw] for name, values in exits.items()}
            return self._share(extensions[k], levels, front, reference) - held

        # Few are worth the time of all draws: those that are best if all goes well.
        best = int(draws.argmax())
        hopes = np.array([gain(k, best) for k in range(len(extensions))])
        gains = np.zeros(len(extensions))
        for k in np.argsort(-hopes / sizes, kind="stable")[:FINALISTS]:
            gains[k] = np.mean([gain(k, draw) for draw in range(DRAWS)])
        found: Floats = gains / sizes
        return found

    def _exits(self, extensions: Sequence[Extension], draws: Floats) -> dict[str, Floats]:
        """Return draws of each metric of the last exit, (extensions, draws), transformed.

        One draw for all metrics of an exit: a block that costs more than expected does more.
        """
        features = np.array(
            [self._features(e.base, e.params, e.base.depth + e.blocks) for e in extensions]
        )
        found = {}
        for name in self._names:
            change, deviation = self._models[name].predict(features)
            levels = np.array([self._level(name, e.base) for e in extensions])
            found[name] = (levels + change)[:, None] + deviation[:, None] * draws
        return found

    def _share(
        self,
        extension: Extension,
        levels: Mapping[str, float],
        front: Floats,
        reference: Mapping[str, float],
    ) -> float:
        """Return the hypervolume of the front with an extension of these transformed metrics."""
        after = {n: float(self._scales.backward(n, level)) for n, level in levels.items()}
        points = self._between(extension.base.metrics, after)
        if not len(points):
            return box_share(front)
        boxed = in_box(points, self._study.objectives, reference, self._study.metrics)
        return box_share(np.concatenate([front, boxed]))

    def _between(self, before: Mapping[str, float], after: Mapping[str, float]) -> Floats:
        """Return the operating points from one exit to the next, (points, objectives), minimised.

        Those outside of the constraints are left out.
        """
        rows = []
        for share in SHARES if before else (1.0,):
            point = dict(after)
            for name in self._names:
                part = progress(name, self._study.metrics[name], share)
                if part < 1:
                    point[name] = before[name] + part * (after[name] - before[name])
            bounds = self._study.constraints.items()
            if all(bound.violation(point[name]) == 0 for name, bound in bounds):
                metrics = self._study.metrics
                rows.append([metrics[n].sign * point[n] for n in self._study.objectives])
        return np.array(rows, dtype=np.float64)

    def _level(self, name: str, node: Node) -> float:
        """Return the transformed metric of a node.

        The least known one for the root, and for the accuracy of what could not be trained.
        """
        known = self._known[name]
        if name not in node.metrics or (name == "accuracy" and node.metrics[name] == 0):
            value = min(known) if self._scales.has_least(name) else sum(known) / len(known)
        else:
            value = node.metrics[name]
        return float(self._scales.forward(name, value))

    def _features(self, before: Node, params: Params, depth: int) -> list[float]:
        """Return numbers between about 0 and 1 for block `depth` behind `before`."""
        tree = self._tree
        own = {tree.local(n): v for n, v in params.items() if tree.block(n) in (None, depth)}
        last = {
            tree.local(n): v
            for n, v in params.items()
            if tree.block(n) is not None and tree.block(n) == depth - 1
        }
        row = [min(depth, 10) / 10, float(depth == 1)]
        row += [self._level(n, before) / (4.0 if n == "accuracy" else 12.0) for n in self._names]
        for name, axis in self._axes.items():
            row += encoded(axis, own.get(name))
            if name in self._of_blocks:
                row += encoded(axis, last.get(name))
        return row
