"""The columns of a study in the store as the table that figures are drawn from.

Objectives and constrained metrics are read at once, other metrics and exit thresholds when a page
first shows them.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from dashboard.data.points import Bools, Floats, Integers, PointTable, Thresholds
from search.front.merged import merge_equal
from search.store.columns import StudyColumns
from search.store.store import Store
from search.study.study import Bound
from snn.settings.measurement import METRICS, Metrics

LATER = (*METRICS, "detector_threshold")  # and the metrics of the user


class Figures(Mapping[str, Floats]):
    """Metrics of points by name, read from the store at first use."""

    def __init__(
        self,
        ids: Integers,
        known: Mapping[str, Floats],
        load: Callable[[str], tuple[Integers, Floats]],
        metrics: Metrics = METRICS,
    ) -> None:
        """`load` returns the ids of points, in any order, and a metric of each."""
        self._ids, self._known, self._load = ids, dict(known), load
        self._later = tuple(dict.fromkeys((*LATER, *metrics)))

    def __getitem__(self, name: str) -> Floats:
        if name not in self._known:
            if name not in self._later:
                raise KeyError(name)
            self._known[name] = aligned(self._ids, *self._load(name))
        return self._known[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._later)

    def __len__(self) -> int:
        return len(self._later)


def aligned(wanted: Integers, ids: Integers, values: Floats) -> Floats:
    """Return the value of each wanted id; NaN for an id that is gone."""
    if not len(ids):
        return np.full(len(wanted), np.nan)
    order = np.argsort(ids, kind="stable")
    places = order[np.minimum(np.searchsorted(ids, wanted, sorter=order), len(ids) - 1)]
    found: Floats = np.where(ids[places] == wanted, values[places], np.nan)
    return found


class ExitThresholds:
    """Exit thresholds of points by id, read from the store at first use."""

    def __init__(
        self,
        load: Callable[[Sequence[int]], Mapping[int, tuple[float, ...]]],
        known: Mapping[int, tuple[float, ...]],
    ) -> None:
        self._known = dict(known)
        self._load = load

    def __call__(self, ids: Sequence[int]) -> Thresholds:
        """Return the thresholds of these points; an empty tuple for a point that is gone."""
        missing = [point for point in ids if point not in self._known]
        if missing:
            self._known.update(self._load(missing))
        return [self._known.get(point, ()) for point in ids]


def point_table(
    store: Store,
    study: str,
    columns: StudyColumns,
    objectives: Sequence[str],
    constraints: Mapping[str, Bound],
    metrics: Metrics = METRICS,
) -> PointTable:
    """Return the operating points of a study with their trials and the study's constraints."""
    points, trials = columns.points, columns.trials
    bounds = {name: (bound.min, bound.max) for name, bound in constraints.items()}
    figures = Figures(
        points.ids, points.metrics, lambda name: store.figure_column(study, name), metrics
    )
    names = dict.fromkeys(name for params in trials.params for name in params)
    members = store.operating_points(study, front_only=True)
    merged = merge_equal(members)
    return PointTable(
        ids=points.ids,
        places=points.places,
        on_front=points.on_front,
        is_sampled=points.is_sampled,
        is_feasible=within(figures, bounds, len(points)),
        figures=figures,
        timesteps=points.timesteps,
        blocks=points.blocks,
        thresholds_of=ExitThresholds(
            store.exit_thresholds, {each.id: each.point.exit_thresholds for each in members}
        ),
        member_metrics={each.id: each.point.metrics for each in members},
        trial_numbers=trials.numbers,
        trial_partitions=trials.partitions,
        trial_params={n: tuple(params.get(n) for params in trials.params) for n in names},
        shared={each.point.id: each.trials for each in merged if len(each.trials) > 1},
        copies=frozenset(p.id for p in members) - {each.point.id for each in merged},
        merged=lambda ids: [
            (each.point.id, each.trials)
            for each in merge_equal(store.operating_points(study, ids=ids))
        ],
        objectives=tuple(objectives),
        metrics=metrics,
        bounds=bounds,
    )


def within(
    figures: Mapping[str, Floats],
    bounds: Mapping[str, tuple[float | None, float | None]],
    count: int,
) -> Bools:
    """Return which points are within all bounds; a missing metric is outside."""
    inside = np.ones(count, dtype=np.bool_)
    for name, (low, high) in bounds.items():
        inside &= figures[name] >= (-np.inf if low is None else low)
        inside &= figures[name] <= (np.inf if high is None else high)
    return inside
