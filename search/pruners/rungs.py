"""Rungs: the points of a training at which a trial is measured, and how points compare there."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from search.front.front import Floats, pareto_mask
from search.study.study import Study
from search.study.tables import Bound
from search.trial.rung import RungPoint
from snn.settings.measurement import METRICS, Metrics, OperatingPoint

FAMILY_POINTS = 8  # most points of a network that are compared

Numbers = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class StoppingRule:
    """The rungs of a study and the points that are measured there, the same for all trials.

    The last rung is at 1/`reduction` of a trial's training; each earlier one is at
    1/`reduction` of the next, down to the fraction `smallest`.
    """

    objectives: tuple[str, ...]
    constraints: Mapping[str, Bound] = field(default_factory=dict)
    reduction: float = 3.0  # above 1: the best 1/reduction continue
    smallest: float = 0.1  # between 0 and 1
    metrics: Metrics = field(default_factory=lambda: METRICS)
    judged: Literal["family", "sampled"] = "family"  # points of a trial that are compared

    @property
    def fractions(self) -> tuple[float, ...]:
        """The rungs as fractions of a training; none if the last would be below `smallest`."""
        # A third must be a third, and 0.1 must not miss 1/10.
        count = math.floor(math.log(1 / self.smallest) / math.log(self.reduction) + 1e-9)
        return tuple(self.reduction**-power for power in range(count, 0, -1))

    def rung(self, epochs_done: int, epochs_total: int) -> int:
        """Return the highest rung, from 1, that a trial has reached.

        0 before the first one, and for a trial that is done: nothing is left to stop.
        """
        if epochs_done >= epochs_total:
            return 0
        fraction = epochs_done / epochs_total + 1e-9
        return sum(rung <= fraction for rung in self.fractions)

    def rung_epochs(self, epochs_total: int) -> dict[int, int]:
        """Return the epochs after which a training of that length is measured, with their rungs.

        Of several rungs in one epoch only the highest counts.
        """
        epochs: dict[int, int] = {}
        last = 0
        for epoch in range(1, epochs_total):
            rung = self.rung(epoch, epochs_total)
            if rung > last:
                epochs[epoch] = last = rung
        return epochs

    def points(self, family: Sequence[OperatingPoint]) -> tuple[RungPoint, ...]:
        """Return the sampled point and up to 7 widely spread points of the family's front.

        If no point is within the constraints: the sampled one and the one least outside.
        """
        named = [name for name in self.metrics if name in (*self.objectives, *self.constraints)]
        points = [
            RungPoint(metrics={n: p.metrics[n] for n in named}, is_sampled=p.is_sampled)
            for p in sorted(family, key=lambda point: not point.is_sampled)
        ]
        measured = self.measured(points)
        if not np.isfinite(measured.values).all():
            return tuple(points[:1])
        feasible = np.flatnonzero(measured.violations == 0)
        if len(feasible) == 0:
            best = int(measured.violations.argmin())
            return tuple(points[index] for index in dict.fromkeys((0, best)))
        front = feasible[pareto_mask(measured.values[feasible])]
        order = spread(scaled(measured.values[front], measured.values), front, len(front))
        kept = list(dict.fromkeys([0, *(int(front[place]) for place in order)]))
        return tuple(points[index] for index in kept[:FAMILY_POINTS])

    def measured(self, points: Sequence[RungPoint], *, epochs_done: int = 0) -> "MeasuredPoints":
        """Return the points as arrays. Raises KeyError if a metric is missing."""
        values = [[self.metrics[n].sign * p.metrics[n] for n in self.objectives] for p in points]
        violations = [
            sum(bound.violation(p.metrics[n]) for n, bound in self.constraints.items())
            for p in points
        ]
        shape = (len(points), len(self.objectives))
        return MeasuredPoints(
            np.array(values, dtype=np.float64).reshape(shape),
            np.array(violations, dtype=np.float64),
            epochs_done=epochs_done,
        )


class MeasuredPoints:
    """The points of one trial at one rung as arrays; objectives are minimised."""

    def __init__(self, values: Floats, violations: Floats, *, epochs_done: int = 0) -> None:
        self.values = values  # (points, objectives)
        self.violations = violations  # (points,); 0 within the constraints
        self.epochs_done = epochs_done
        self.violation = float(violations.min())  # of the point that is least outside
        # the points that count: those within the constraints, or least outside
        self.best: Floats = values[violations == self.violation]


def rule_of(study: Study) -> StoppingRule | None:
    """Return the rungs of a study; None without early stopping."""
    if study.search.stopping == "none":
        return None
    return StoppingRule(
        objectives=study.objectives,
        constraints=study.constraints,
        reduction=study.search.reduction_factor,
        smallest=study.search.grace_period,
        metrics=study.metrics,
    )


def scaled(rows: Floats, every: Floats) -> Floats:
    """Return `rows` with each objective scaled to 0..1 over the rows `every`."""
    low, high = every.min(axis=0), every.max(axis=0)
    result: Floats = (rows - low) / np.where(high > low, high - low, 1.0)
    return result


def spread(rows: Floats, owners: Numbers, count: int) -> list[int]:
    """Return rows in an order in which each is farthest from those before it (epsilon-net).

    The first is the one with the smallest sum; of equal ones that of the first owner.
    Ends as soon as `count` owners have a row in it.
    """
    tie_breaks = np.lexsort((*rows.T[::-1], owners))
    rows, names = rows[tie_breaks], owners[tie_breaks].tolist()
    place = int(rows.sum(axis=1).argmin())
    distance = np.full(len(rows), np.inf)
    order: list[int] = []
    chosen: set[int] = set()
    while True:
        order.append(int(tie_breaks[place]))
        chosen.add(names[place])
        if len(chosen) >= count:
            return order
        np.minimum(distance, np.square(rows - rows[place]).sum(axis=1), out=distance)
        distance[place] = -1.0  # and stays: no square is less
        place = int(distance.argmax())
