"""Multi-objective asynchronous successive halving (MOASHA).

At a rung, a trial continues if it is among the best 1/reduction of the trials that
reached this rung before it: in the order of non-dominated sorting (Deb et al. 2002), trials
that violate constraints last, by how much; within a front in the order of an
epsilon-net, so that the continuing trials are spread over the front (Salinas et al. 2021,
Schmucker et al. 2021; asynchronous halving by stopping: Li et al. 2020). Two rules of
our own: a first front that is at most twice as large as the number of places is not
cut, and all operating points of a trial's network count. The front of a trial is then the
first one in which it has a point; with one point each nothing changes.
"""

import itertools
import math
from collections.abc import Mapping

import numpy as np

from search.front.front import Floats, pareto_ranks
from search.pruners.pruner import RECORDS, Decision
from search.pruners.rungs import MeasuredPoints, Numbers, StoppingRule, scaled, spread
from search.trial.rung import RungReport

POINTS = 2_000  # of the newest trials, as many as have no more points together


def make_pruner(rule: StoppingRule) -> "Moasha":
    """Return the pruner of a study without trials."""
    return Moasha(rule)


class Moasha:
    """The trials that reached each rung of a study, the newest RECORDS of each."""

    def __init__(self, rule: StoppingRule) -> None:
        self.rule = rule
        self._measured: dict[int, dict[int, MeasuredPoints]] = {}  # by rung and trial

    def restore(self, trial: int, report: RungReport) -> None:
        self._add(trial, report, self._points(report))

    def judge(self, trial: int, report: RungReport) -> Decision:
        """Compare a trial with those that reached the rung before.

        A trial that runs again because it was lost is compared with those that reached the
        rung before its first report, so that it gets the same answer; if it reaches the rung
        after more epochs than then, it continues as it did then.
        """
        points = self._points(report)
        if not np.isfinite(points.values).all():
            return Decision(stops=True, reason=self._diverged(report), is_recorded=False)
        all_there = self._measured.get(report.rung, {})
        earlier = all_there.get(trial)
        if earlier is None:
            rung = _newest(self._add(trial, report, points))
        elif earlier.epochs_done < report.epochs_done:
            return Decision(stops=False, is_recorded=False)
        else:
            before = itertools.takewhile(lambda number: number != trial, all_there)
            rung = _newest({**{number: all_there[number] for number in before}, trial: points})
        places = max(math.floor(len(rung) / self.rule.reduction + 1e-9), 1)
        if len(rung) < self.rule.reduction or _is_among_the_best(rung, trial, places):
            return Decision(stops=False, is_recorded=earlier is None)
        outside = " and outside its constraints" if points.violation > 0 else ""
        reason = (
            f"stopped early at rung {report.rung} of {len(self.rule.fractions)}, after "
            f"{report.epochs_done} of {report.epochs_total} epochs: not among the best {places} "
            f"of {len(rung)} trials there{outside}"
        )
        return Decision(stops=True, reason=reason, is_recorded=earlier is None)

    def superiors(self, rung: int, trial: int) -> tuple[int, ...]:
        """Return the trials at the rung of which each alone is better than `trial`.

        They violate the constraints less, or, both within them, they dominate all of its
        points. Raises KeyError if `trial` is not among the newest.
        """
        rivals = _newest(self._measured[rung])
        own = rivals[trial]
        found = [number for number, other in rivals.items() if other.violation < own.violation]
        if own.violation == 0:
            inside = [number for number, other in rivals.items() if other.violation == 0]
            values = np.concatenate([rivals[number].best for number in inside])
            owners = np.repeat(inside, [len(rivals[number].best) for number in inside])
            found += _superiors(values, owners, own.best).tolist()
        return tuple(sorted(found))

    def is_on_front(self, rung: int, trial: int) -> bool:
        """Whether `trial` has a point at the rung that no point of another trial dominates.

        Then it was stopped because the front had more trials than places. Raises KeyError
        if `trial` is not among the newest.
        """
        rivals = _newest(self._measured[rung])
        own = rivals[trial]
        if own.violation > 0:
            return False
        values = np.concatenate([other.best for other in rivals.values() if other.violation == 0])
        no_worse = (values[:, None] <= own.best[None]).all(axis=2)
        better = (values[:, None] < own.best[None]).any(axis=2)
        return not bool((no_worse & better).any(axis=0).all())

    def _add(
        self, trial: int, report: RungReport, points: MeasuredPoints
    ) -> dict[int, MeasuredPoints]:
        rung = self._measured.setdefault(report.rung, {})
        rung.pop(trial, None)
        rung[trial] = points
        while len(rung) > RECORDS:
            del rung[next(iter(rung))]
        return rung

    def _points(self, report: RungReport) -> MeasuredPoints:
        points = report.points if self.rule.judged == "family" else (report.sampled,)
        return self.rule.measured(points, epochs_done=report.epochs_done)

    def _diverged(self, report: RungReport) -> str:
        bad = next(
            f"{name} is {point.metrics[name]}"
            for point in report.points
            for name in self.rule.objectives
            if not math.isfinite(point.metrics[name])
        )
        return f"diverged: {bad} at rung {report.rung}"


def _newest(rung: dict[int, MeasuredPoints]) -> dict[int, MeasuredPoints]:
    """Return the newest trials of a rung that have at most POINTS points together."""
    points, newest = 0, {}
    for trial in reversed(rung):
        points += len(rung[trial].violations)
        if points > POINTS:
            break
        newest[trial] = rung[trial]
    return newest


def _is_among_the_best(rung: Mapping[int, MeasuredPoints], trial: int, places: int) -> bool:
    """Whether `trial` has one of the `places` at the rung, or is on a small first front."""
    own = rung[trial]
    before = sum(other.violation < own.violation for other in rung.values())
    rivals = [number for number in sorted(rung) if rung[number].violation == own.violation]
    values = np.concatenate([rung[number].best for number in rivals])
    owners = np.repeat(rivals, [len(rung[number].best) for number in rivals])
    if own.violation == 0:  # those outside their constraints are ranked by how far they are
        if len(_superiors(values, owners, own.best)) >= places:
            return False
        fronts = pareto_ranks(values)
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
    every = np.concatenate([points.values for points in rung.values()])
    order = spread(scaled(values, every), owners, places - before)
    return trial in owners[order]


def _superiors(values: Floats, owners: Numbers, own: Floats) -> Numbers:
    """Return the trials that dominate every row of `own`: they are in better fronts."""
    superiors = np.unique(owners)
    for row in own:
        beats = (values <= row).all(axis=1) & (values < row).any(axis=1)
        superiors = np.intersect1d(superiors, owners[beats])
    return superiors
