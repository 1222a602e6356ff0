"""Which trials are worth training on: multi-objective asynchronous successive halving.

At rungs, fractions of its own training, a trial is measured and compared with the
trials that came to that rung before it. It goes on if it is among the best 1/reduction
of them: in the order of non-dominated sorting (Deb et al. 2002), trials outside their
constraints last by how far they are outside, and within a front in the order of an
epsilon-net, so that what goes on is spread over the front (Salinas et al. 2021,
Schmucker et al. 2021; asynchronous halving by stopping: Li et al. 2020). Two rules of
our own: a first front that is at most twice as large as the number of places is not
cut, and a trial is judged by all operating points of its network. Its front is then the
first in which it has a point; with one point each nothing changes.

Values in, decisions out: nothing here trains, stores or draws at random.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from search.front.front import pareto_mask
from search.study.tables import Bound
from search.trial.rung import RungPoint, RungReport
from snn.settings.measurement import METRICS, OperatingPoint

if TYPE_CHECKING:
    from search.study.study import Study

RECORDS = 1_000  # newest trials of a rung that one is compared with
POINTS = 2_000  # of these, as many as have no more points together
FAMILY_POINTS = 8  # of a network that are compared

Floats = NDArray[np.float64]
Numbers = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Decision:
    """Whether a trial is stopped at a rung."""

    stops: bool
    reason: str = ""  # of a stop, one line
    is_recorded: bool = True  # whether later trials are compared with the report


@dataclass(frozen=True, kw_only=True)
class StoppingRule:
    """What decides, the same for all trials of a study.

    The last rung is at 1/`reduction` of a trial's training; below it, each is at
    1/`reduction` of the next, down to the fraction `smallest`.
    """

    objectives: tuple[str, ...]
    constraints: Mapping[str, Bound] = field(default_factory=dict)
    reduction: float = 3.0  # above 1: one of so many goes on
    smallest: float = 0.1  # between 0 and 1
    judged: Literal["family", "sampled"] = "family"  # points of a trial that are compared

    @property
    def fractions(self) -> tuple[float, ...]:
        """Where the rungs are; none when the last would already be below `smallest`."""
        # A third must be a third, and 0.1 must not miss 1/10.
        count = math.floor(math.log(1 / self.smallest) / math.log(self.reduction) + 1e-9)
        return tuple(self.reduction**-power for power in range(count, 0, -1))

    def rung(self, epochs_done: int, epochs_total: int) -> int:
        """The highest rung, from 1, that a trial has reached; 0 before the first.

        A trial that is done is at none: there is nothing left to stop.
        """
        if epochs_done >= epochs_total:
            return 0
        fraction = epochs_done / epochs_total + 1e-9
        return sum(rung <= fraction for rung in self.fractions)

    def rung_epochs(self, epochs_total: int) -> dict[int, int]:
        """The epochs at which a training of that length is judged, and the rungs there.

        Rungs that fall into one epoch are one, the highest of them.
        """
        epochs: dict[int, int] = {}
        last = 0
        for epoch in range(1, epochs_total):
            rung = self.rung(epoch, epochs_total)
            if rung > last:
                epochs[epoch] = last = rung
        return epochs

    def points(self, family: Sequence[OperatingPoint]) -> tuple[RungPoint, ...]:
        """The sampled point, and of the others those on the family's front, a few far apart.

        Where none is within the constraints, the one that is least outside.
        """
        named = [name for name in METRICS if name in (*self.objectives, *self.constraints)]
        points = [
            RungPoint(metrics={n: p.metrics[n] for n in named}, is_sampled=p.is_sampled)
            for p in sorted(family, key=lambda point: not point.is_sampled)
        ]
        standing = self.standing(points)
        if not np.isfinite(standing.values).all():
            return tuple(points[:1])
        feasible = np.flatnonzero(standing.violations == 0)
        if len(feasible) == 0:
            best = int(standing.violations.argmin())
            return tuple(points[index] for index in dict.fromkeys((0, best)))
        front = feasible[pareto_mask(standing.values[feasible])]
        order = _spread(_scaled(standing.values[front], standing.values), front, len(front))
        kept = list(dict.fromkeys([0, *(int(front[place]) for place in order)]))
        return tuple(points[index] for index in kept[:FAMILY_POINTS])

    def standing(self, points: Sequence[RungPoint], *, epochs_done: int = 0) -> "Standing":
        """The points as numbers to be compared. Raises KeyError where a metric is missing."""
        values = [[METRICS[n].sign * p.metrics[n] for n in self.objectives] for p in points]
        violations = [
            sum(bound.violation(p.metrics[n]) for n, bound in self.constraints.items())
            for p in points
        ]
        shape = (len(points), len(self.objectives))
        return Standing(
            np.array(values, dtype=np.float64).reshape(shape),
            np.array(violations, dtype=np.float64),
            epochs_done=epochs_done,
        )


def rule_of(study: "Study") -> StoppingRule | None:
    """The rule that the study asks for."""
    if study.search.stopping == "none":
        return None
    return StoppingRule(
        objectives=study.objectives,
        constraints=study.constraints,
        reduction=study.search.reduction_factor,
        smallest=study.search.grace_period,
    )


class Standing:
    """Judged points of a trial as numbers: objectives, lower is better, and what is outside."""

    def __init__(self, values: Floats, violations: Floats, *, epochs_done: int = 0) -> None:
        self.values = values  # (points, objectives)
        self.violations = violations  # (points,); 0 within the constraints
        self.epochs_done = epochs_done
        self.violation = float(violations.min())  # of the point that is least outside
        # the points that count: those within the constraints, or least outside
        self.best: Floats = values[violations == self.violation]


class Rungs:
    """The trials that have come to each rung of a study, the newest RECORDS of each."""

    def __init__(self, rule: StoppingRule) -> None:
        self.rule = rule
        self._standings: dict[int, dict[int, Standing]] = {}  # by rung and trial

    def restore(self, trial: int, report: RungReport) -> None:
        """Take up a report that was recorded before, the oldest first."""
        self._add(trial, report, self._standing(report))

    def judge(self, trial: int, report: RungReport) -> Decision:
        """Compare a trial with those that came to the rung before.

        A trial that runs again, its driver lost, takes the place of its earlier
        report; one that comes to a rung later than it did then goes on as it did.
        """
        standing = self._standing(report)
        if not np.isfinite(standing.values).all():
            return Decision(stops=True, reason=self._diverged(report), is_recorded=False)
        earlier = self._standings.get(report.rung, {}).get(trial)
        if earlier is not None and earlier.epochs_done < report.epochs_done:
            return Decision(stops=False, is_recorded=False)
        rung = _newest(self._add(trial, report, standing))
        places = max(math.floor(len(rung) / self.rule.reduction + 1e-9), 1)
        if len(rung) < self.rule.reduction or _is_among_the_best(rung, trial, places):
            return Decision(stops=False)
        outside = " and outside its constraints" if standing.violation > 0 else ""
        reason = (
            f"stopped early at rung {report.rung} of {len(self.rule.fractions)}, after "
            f"{report.epochs_done} of {report.epochs_total} epochs: not among the best {places} "
            f"of {len(rung)} trials there{outside}"
        )
        return Decision(stops=True, reason=reason)

    def superiors(self, rung: int, trial: int) -> tuple[int, ...]:
        """Trials that have come to the rung and beat `trial` there, each by itself.

        Those less far outside their constraints, and of those as far as it the ones that
        dominate every judged point of it. Raises KeyError for one that is not among the newest.
        """
        rivals = _newest(self._standings[rung])
        own = rivals[trial]
        found = [number for number, other in rivals.items() if other.violation < own.violation]
        if own.violation == 0:
            inside = [number for number, other in rivals.items() if other.violation == 0]
            values = np.concatenate([rivals[number].best for number in inside])
            owners = np.repeat(inside, [len(rivals[number].best) for number in inside])
            found += _superiors(values, owners, own.best).tolist()
        return tuple(sorted(found))

    def is_on_front(self, rung: int, trial: int) -> bool:
        """Whether `trial` has a point there that nobody's point dominates.

        Then it can only be stopped for lack of places on the front, or outside its constraints.
        Raises KeyError for one that is not among the newest.
        """
        rivals = _newest(self._standings[rung])
        own = rivals[trial]
        if own.violation > 0:
            return False
        values = np.concatenate([other.best for other in rivals.values() if other.violation == 0])
        no_worse = (values[:, None] <= own.best[None]).all(axis=2)
        better = (values[:, None] < own.best[None]).any(axis=2)
        return not bool((no_worse & better).any(axis=0).all())

    def _add(self, trial: int, report: RungReport, standing: Standing) -> dict[int, Standing]:
        rung = self._standings.setdefault(report.rung, {})
        rung.pop(trial, None)
        rung[trial] = standing
        while len(rung) > RECORDS:
            del rung[next(iter(rung))]
        return rung

    def _standing(self, report: RungReport) -> Standing:
        points = report.points if self.rule.judged == "family" else (report.sampled,)
        return self.rule.standing(points, epochs_done=report.epochs_done)

    def _diverged(self, report: RungReport) -> str:
        bad = next(
            f"{name} is {point.metrics[name]}"
            for point in report.points
            for name in self.rule.objectives
            if not math.isfinite(point.metrics[name])
        )
        return f"diverged: {bad} at rung {report.rung}"


def _newest(rung: dict[int, Standing]) -> dict[int, Standing]:
    """The last of a rung, as long as they have no more than POINTS together."""
    points, newest = 0, {}
    for trial in reversed(rung):
        points += len(rung[trial].violations)
        if points > POINTS:
            break
        newest[trial] = rung[trial]
    return newest


def _is_among_the_best(rung: Mapping[int, Standing], trial: int, places: int) -> bool:
    """Whether `trial` has one of so many places in the rung, or is on a small first front."""
    own = rung[trial]
    before = sum(other.violation < own.violation for other in rung.values())
    rivals = [number for number in sorted(rung) if rung[number].violation == own.violation]
    values = np.concatenate([rung[number].best for number in rivals])
    owners = np.repeat(rivals, [len(rung[number].best) for number in rivals])
    if own.violation == 0:  # those outside their constraints are ranked by how far they are
        if len(_superiors(values, owners, own.best)) >= places:
            return False
        fronts = _fronts(values, own.best)
        front = fronts[owners == trial].min()
        better = np.unique(owners[fronts < front])
        before = len(better)
        is_member = (fronts == front) & ~np.isin(owners, better)
        values, owners = values[is_member], owners[is_member]
    members = len(np.unique(owners))
    if before + members <= places or (before == 0 and members <= 2 * places):
        return True
    if before >= places:
        return False
    every = np.concatenate([standing.values for standing in rung.values()])
    order = _spread(_scaled(values, every), owners, places - before)
    return trial in owners[order]


def _superiors(values: Floats, owners: Numbers, own: Floats) -> Numbers:
    """Trials that dominate every one of the rows `own`: all of them are in better fronts."""
    superiors = np.unique(owners)
    for row in own:
        beats = (values <= row).all(axis=1) & (values < row).any(axis=1)
        superiors = np.intersect1d(superiors, owners[beats])
    return superiors


def _fronts(values: Floats, own: Floats) -> Numbers:
    """The front of each row, from 0. Rows that one of `own` dominates are put behind all others:

    they are in worse fronts than it, and nothing in its front or a better one depends on them.
    """
    is_behind = np.zeros(len(values), dtype=np.bool_)
    for row in own:
        is_behind |= (row <= values).all(axis=1) & (row < values).any(axis=1)
    rest = np.flatnonzero(~is_behind)
    covers = np.ones((len(rest), len(rest)), dtype=np.bool_)
    for column in values[rest].T:
        ranks = np.unique(column, return_inverse=True)[1].astype(np.int16)
        covers &= ranks[:, None] <= ranks[None, :]
    dominates = covers & ~covers.T
    superiors = dominates.sum(axis=0)
    fronts = np.full(len(values), len(values))
    for front in range(len(rest)):
        on_front = np.flatnonzero(superiors == 0)
        if len(on_front) == 0:
            break
        fronts[rest[on_front]] = front
        superiors -= dominates[on_front].sum(axis=0)
        superiors[on_front] = -1
    return fronts


def _scaled(rows: Floats, every: Floats) -> Floats:
    """Objectives from 0 to 1 over all that was judged at the rung."""
    low, high = every.min(axis=0), every.max(axis=0)
    scaled: Floats = (rows - low) / np.where(high > low, high - low, 1.0)
    return scaled


def _spread(rows: Floats, owners: Numbers, count: int) -> list[int]:
    """Rows in an order in which each is as far as can be from those before it.

    The first is the one with the smallest sum; of equal ones the first owner's.
    Ends when `count` owners have a row in it.
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


__all__ = [
    "Decision",
    "RungPoint",
    "RungReport",
    "Rungs",
    "StoppingRule",
    "rule_of",
]
