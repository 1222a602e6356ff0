"""A study's columns in the store as the table that figures are drawn from.

What a page needs at once is read at once; a metric that nobody has chosen as an
axis yet is read when somebody does, and exit thresholds for the points that are shown.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from dashboard.data.points import Bools, Floats, Integers, PointTable, Thresholds
from search.store.columns import StudyColumns
from search.store.store import Store
from search.study.study import Bound
from snn.settings.measurement import METRICS

LATER = (*METRICS, "detector_threshold")


class Figures(Mapping[str, Floats]):
    """Figures of points by name, read when they are first asked for."""

    def __init__(
        self,
        ids: Integers,
        known: Mapping[str, Floats],
        load: Callable[[str], tuple[Integers, Floats]],
    ) -> None:
        """`load` gives the ids of points, in any order, and a figure of each."""
        self._ids, self._known, self._load = ids, dict(known), load

    def __getitem__(self, name: str) -> Floats:
        if name not in self._known:
            if name not in LATER:
                raise KeyError(name)
            self._known[name] = aligned(self._ids, *self._load(name))
        return self._known[name]

    def __iter__(self) -> Iterator[str]:
        return iter(LATER)

    def __len__(self) -> int:
        return len(LATER)


def aligned(wanted: Integers, ids: Integers, values: Floats) -> Floats:
    """The value of each wanted id; NaN for those that are gone."""
    if not len(ids):
        return np.full(len(wanted), np.nan)
    order = np.argsort(ids, kind="stable")
    places = order[np.minimum(np.searchsorted(ids, wanted, sorter=order), len(ids) - 1)]
    found: Floats = np.where(ids[places] == wanted, values[places], np.nan)
    return found


class ExitThresholds:
    """Exit thresholds of points by id, read when they are first asked for."""

    def __init__(self, load: Callable[[Sequence[int]], Mapping[int, tuple[float, ...]]]) -> None:
        self._known: dict[int, tuple[float, ...]] = {}
        self._load = load

    def __call__(self, ids: Sequence[int]) -> Thresholds:
        """Those of these points; none for a point that is gone."""
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
) -> PointTable:
    """Operating points as columns, with what their trials were and the study's limits."""
    points, trials = columns.points, columns.trials
    bounds = {name: (bound.min, bound.max) for name, bound in constraints.items()}
    figures = Figures(points.ids, points.metrics, lambda name: store.figure_column(study, name))
    names = dict.fromkeys(name for params in trials.params for name in params)
    return PointTable(
        ids=points.ids,
        places=points.places,
        on_front=points.on_front,
        is_sampled=points.is_sampled,
        is_feasible=within(figures, bounds, len(points)),
        figures=figures,
        timesteps=points.timesteps,
        blocks=points.blocks,
        thresholds_of=ExitThresholds(store.exit_thresholds),
        trial_numbers=trials.numbers,
        trial_partitions=trials.partitions,
        trial_params={n: tuple(params.get(n) for params in trials.params) for n in names},
        objectives=tuple(objectives),
        bounds=bounds,
    )


def within(
    figures: Mapping[str, Floats],
    bounds: Mapping[str, tuple[float | None, float | None]],
    count: int,
) -> Bools:
    """Which points keep to all of the bounds; one without the figure does not."""
    inside = np.ones(count, dtype=np.bool_)
    for name, (low, high) in bounds.items():
        inside &= figures[name] >= (-np.inf if low is None else low)
        inside &= figures[name] <= (np.inf if high is None else high)
    return inside
