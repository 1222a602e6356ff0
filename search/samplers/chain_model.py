"""What networks are expected to measure, and what the front would gain by their families.

Each measured exit is an example: the chain of the units before it, how much of its last block was
trained, and its metrics. A Gaussian process for each metric predicts the exits of a new network.
The operating points between two exits are interpolated: images that are sure leave early.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from search.front.front import Floats, Mask
from search.front.indicators import in_box
from search.samplers.chain_regression import ChainRegression, Rows, fitted
from search.samplers.chains import Chain, Key, Row
from search.samplers.features import SHARES, Scales, progress
from search.study.study import Study

MOST_EXAMPLES = 250  # the newest: the time of a proposal grows with their square
MOST_FITTED = 80  # of them, for the scales: the time of a fit grows with their cube
FITS = 1.5  # the scales are fitted anew when there are so many times more examples
DRAWS = 16  # of each prediction
HOPE = 0.7  # deviations by which a prediction is better if all goes well
POINTS = 400  # of the box that the front does not dominate, by which gains are measured


@dataclass(frozen=True, kw_only=True)
class Example:
    """A measured exit. Without a metric where it could not be trained."""

    chain: Chain
    depth: int  # blocks before the exit
    part: float  # of the training of the last of them
    metrics: Mapping[str, float]

    @property
    def key(self) -> Key:
        """What it depends on."""
        return (*self.chain.keys[self.depth - 1], self.part)

    @property
    def row(self) -> tuple[Row, Sequence[Row], Sequence[float]]:
        """The example as a row of a regression."""
        return _row(self.chain, self.depth, self.part)


class Volume:
    """The part of the box between the ideal and the reference that a front leaves over."""

    def __init__(self, front: Floats, draws: np.random.Generator) -> None:
        """`front` is as of `in_box`, (points, objectives)."""
        inside = draws.random((10 * POINTS, front.shape[1]))
        part = 1.0
        if front.shape[1] == 1 and len(front):  # near the ideal hardly a point would be left over
            part = min(float(front.min()), 1.0)
            inside *= part
        is_over = np.ones(len(inside), dtype=bool)
        for point in front:
            is_over &= (inside < point).any(axis=1)
        self.share = part * float(is_over.mean())
        self._points = inside[is_over][:POINTS]
        if not len(self._points):  # nothing can be gained; none of these points counts
            self._points = np.full((1, front.shape[1]), -1.0)

    def gained(self, points: Floats) -> Mask:
        """Return which of its points (rows, draws, points) some of `points` dominate.

        These are (rows, draws, some, objectives), as of `in_box`.
        """
        over = np.zeros((*points.shape[:2], len(self._points)), dtype=bool)
        for k in range(points.shape[2]):
            dominates = np.ones_like(over)
            for objective in range(points.shape[3]):
                value = points[:, :, k, objective, None]
                dominates &= value <= self._points[None, None, :, objective]
            over |= dominates
        return over


class ChainModel:
    """Predicts families from examples."""

    def __init__(
        self, study: Study, examples: Sequence[Example], fits: dict[str, tuple[object, Floats]]
    ) -> None:
        """`fits` keeps fitted scales from model to model. At least one example."""
        self._study = study
        self._names = tuple(dict.fromkeys((*study.objectives, *study.constraints)))
        self._whole = {e.key[:-1]: e for e in examples if e.part == 1 and self._is_known(e)}
        self._scales = Scales(
            {n: [e.metrics[n] for e in examples if n in e.metrics] for n in self._names}
        )
        self._models = {name: self._model(name, examples, fits) for name in self._names}

    def gains(
        self,
        chains: Sequence[Chain],
        volume: Volume,
        reference: Mapping[str, float],
        draws: np.random.Generator | None,
    ) -> Floats:
        """Return the hypervolume that each network is expected to add to the front.

        `volume` is what the front leaves over. Without `draws` what a network adds if all goes
        rather well, which takes a tenth of the time.
        """
        starts = np.cumsum([0, *(len(chain.keys) for chain in chains)])[:-1]
        means, deviations = self._exits(chains)
        if draws is None:
            signs = np.array([self._study.metrics[n].sign for n in self._names])
            normal = -HOPE * signs[None]
        else:
            normal = draws.standard_normal((DRAWS, len(self._names)))
        levels = means[:, None] + deviations[:, None] * normal[None]
        values = np.stack(
            [self._scales.backward(n, levels[..., k]) for k, n in enumerate(self._names)], 2
        )
        gained = volume.gained(self._boxed(self._families(values, starts), reference))
        found: Floats = np.logical_or.reduceat(gained, starts, axis=0).mean(axis=(1, 2))
        return volume.share * found

    def expected(self, chains: Sequence[Chain], reference: Mapping[str, float]) -> Floats:
        """Return the operating points that networks are expected to have, as of `in_box`."""
        starts = np.cumsum([0, *(len(chain.keys) for chain in chains)])[:-1]
        means, _ = self._exits(chains)
        columns = [self._scales.backward(n, means[:, k]) for k, n in enumerate(self._names)]
        points = self._boxed(self._families(np.stack(columns, 1)[:, None], starts), reference)
        found: Floats = points.reshape(-1, points.shape[-1])
        return found[(found <= 1).all(axis=1)]

    def _model(
        self, name: str, examples: Sequence[Example], fits: dict[str, tuple[object, Floats]]
    ) -> ChainRegression:
        used = [e for e in examples if name in e.metrics]
        rows = Rows.of([example.row for example in used])
        values = self._scales.forward(name, np.array([e.metrics[name] for e in used]))
        count = int(FITS ** math.floor(math.log(len(used), FITS) + 1e-9) + 1e-9)
        places = sorted({round(k) for k in np.linspace(0, count - 1, min(count, MOST_FITTED))})
        fit = [used[place].key for place in places]
        if name not in fits or fits[name][0] != fit:
            fits[name] = fit, fitted(rows.part(places), values[places])
        return ChainRegression(rows, values, fits[name][1])

    def _exits(self, chains: Sequence[Chain]) -> tuple[Floats, Floats]:
        """Return mean and deviation of each exit's transformed metrics, (exits, metrics)."""
        places = [(c, depth) for c in chains for depth in range(1, len(c.keys) + 1)]
        rows = Rows.of([_row(chain, depth, 1.0) for chain, depth in places])
        predicted = [self._models[name].predict(rows) for name in self._names]
        means, deviations = (np.stack(part, axis=1) for part in zip(*predicted, strict=True))
        for k, (chain, depth) in enumerate(places):
            measured = self._whole.get(chain.keys[depth - 1])
            if measured is not None:
                deviations[k] = 0.0
                for column, name in enumerate(self._names):
                    value = np.array([measured.metrics[name]])
                    means[k, column] = self._scales.forward(name, value)[0]
        return means, deviations

    def _families(self, values: Floats, starts: np.ndarray) -> Floats:
        """Return the operating points from each exit's predecessor to it.

        (exits, draws, metrics) becomes (exits, draws, points, metrics).
        """
        before = np.roll(values, 1, axis=0)
        before[starts] = values[starts]
        found = []
        for share in SHARES:
            point = values.copy()
            for k, name in enumerate(self._names):
                part = progress(name, self._study.metrics[name], share)
                if part < 1:
                    point[..., k] = before[..., k] + part * (values[..., k] - before[..., k])
            found.append(point)
        return np.stack(found, axis=2)

    def _boxed(self, points: Floats, reference: Mapping[str, float]) -> Floats:
        """Return the objectives as of `in_box`; outside of the box if outside of constraints."""
        metrics, objectives = self._study.metrics, self._study.objectives
        columns = [self._names.index(name) for name in objectives]
        signs = np.array([metrics[name].sign for name in objectives], dtype=np.float64)
        rows = (points[..., columns] * signs).reshape(-1, len(objectives))
        boxed = in_box(rows, objectives, reference, metrics)
        for name, bound in self._study.constraints.items():
            column = points[..., self._names.index(name)].reshape(-1)
            is_outside = np.zeros(len(boxed), dtype=bool)
            if bound.max is not None:
                is_outside |= column > bound.max
            if bound.min is not None:
                is_outside |= column < bound.min
            boxed[is_outside] = 2.0
        return boxed.reshape(*points.shape[:3], len(objectives))

    def _is_known(self, example: Example) -> bool:
        return all(name in example.metrics for name in self._names)


def _row(chain: Chain, depth: int, part: float) -> tuple[Row, Sequence[Row], Sequence[float]]:
    """Return the first blocks of a network as a row of a regression.

    A block that is trained in part does most of what it will do early.
    """
    end, start = chain.ends[depth - 1], chain.ends[depth - 2] if depth > 1 else 0
    weights = [1.0] * start + [1 - (1 - part) ** 2] * (end - start)
    return (*chain.shared, part), chain.units[:end], weights
