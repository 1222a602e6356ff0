"""The operating points of a study as columns, and the axes that figures can have."""

import functools
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from dashboard.data import formats
from snn.settings.measurement import METRICS, Metrics

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Bools = NDArray[np.bool_]
Objects = NDArray[np.object_]
Thresholds = Sequence[tuple[float, ...]]

MOST_SHAPES = 8
OTHER = "other"

RUN_COLUMNS = {
    "run:timesteps": "Timesteps at inference",
    "run:blocks": "Blocks used",
    "run:detector_threshold": "Detector threshold",
}
RUN_MEANINGS = {
    "run:timesteps": "Timesteps at inference; training may have used more.",
    "run:blocks": "Blocks of the network that are kept; the last one has the last exit.",
    "run:detector_threshold": "An image whose probability of a hard class is higher does not exit.",
}


@dataclass(frozen=True, kw_only=True)
class Axis:
    """One quantity for an axis or the colour of a figure."""

    name: str
    label: str
    unit: str
    better: Literal["higher", "lower"] | None  # None for parameters
    values: Floats | None  # None when the values are names
    names: Objects | None = None  # a string per point, when they are not numbers

    @property
    def is_number(self) -> bool:
        """Return whether the values are numbers."""
        return self.values is not None

    def shown(self, value: object) -> str:
        """Return a value of this quantity with its unit."""
        return formats.in_unit(self.name, value, None if self.better is None else self.unit)

    def words(self, rows: Integers) -> list[str]:
        """Return the values of these points as text, for names of categories."""
        if self.values is None:
            assert self.names is not None
            return [str(name) for name in self.names[rows]]
        return [
            formats.NOTHING if np.isnan(value) else formats.plain_number(value)
            for value in self.values[rows].tolist()
        ]

    @functools.cached_property
    def known(self) -> Floats:
        """The finite values; none where the values are names."""
        return np.empty(0) if self.values is None else self.values[np.isfinite(self.values)]

    @property
    def can_be_log(self) -> bool:
        """Whether a logarithmic scale can show every finite value."""
        return self.known.size > 0 and bool((self.known > 0).all())

    @property
    def is_log_by_default(self) -> bool:
        """Whether the values are counts or sizes, which vary over orders of magnitude."""
        return self.unit in formats.WIDE_UNITS and self.can_be_log

    @property
    def ratio(self) -> float:
        """The largest value above 0 divided by the smallest; 1 where there is none."""
        positive = self.known[self.known > 0]
        return float(positive.max() / positive.min()) if positive.size else 1.0


def metric_axis(name: str, values: Floats, metrics: Metrics = METRICS) -> Axis:
    """Return the values of a metric as an axis; `metrics` are those of the study."""
    metric = metrics[name]
    label = formats.label(name)
    return Axis(name=name, label=label, unit=metric.unit, better=metric.better, values=values)


def parameter_axis(name: str, column: Sequence[object], places: Integers | None = None) -> Axis:
    """Return a parameter as an axis: the values at `places`, or all of them.

    An inactive parameter (None) is NaN among numbers and a dash among names.
    """
    where = slice(None) if places is None else places
    if all(value is None or is_number(value) for value in column):
        numbers = [np.nan if value is None else float(str(value)) for value in column]
        values, names = np.asarray(numbers, dtype=np.float64)[where], None
    else:
        words = [formats.NOTHING if value is None else str(value) for value in column]
        values, names = None, np.asarray(words, dtype=np.object_)[where]
    label = formats.label(name)
    return Axis(name=name, label=label, unit="", better=None, values=values, names=names)


def is_number(value: object) -> bool:
    """Return whether a value is a number; True and False are none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


@dataclass(frozen=True, kw_only=True, eq=False)
class PointTable:
    """Operating points of one study.

    A column has one entry per point; a column `trial_...` has one per trial, at index `places`.
    """

    ids: Integers  # of the stored rows
    places: Integers
    on_front: Bools
    is_sampled: Bools
    is_feasible: Bools  # within the study's constraints
    figures: Mapping[str, Floats]  # every metric, and `detector_threshold`; NaN where missing
    timesteps: Integers
    blocks: Integers
    thresholds_of: Callable[[Sequence[int]], Thresholds]  # exit thresholds of points with these ids
    # metrics of the stored front's points by id: a column is read at first use, for all points
    member_metrics: Mapping[int, Mapping[str, float]] = field(default_factory=dict)
    trial_numbers: Integers
    trial_partitions: tuple[str, ...]  # "" where not known
    trial_params: Mapping[str, tuple[object, ...]]  # None where inactive
    objectives: tuple[str, ...]
    metrics: Metrics = field(default_factory=lambda: METRICS)  # that the points can have
    bounds: Mapping[str, tuple[float | None, float | None]] = field(default_factory=dict)
    # trials with equal points of equal trainings, by the id of the point that is shown
    shared: Mapping[int, tuple[int, ...]] = field(default_factory=dict)
    copies: frozenset[int] = frozenset()  # ids of the equal points that are not shown
    # points of these ids, equal ones of equal trainings merged: (id of the first, its trials)
    merged: Callable[[Sequence[int]], Sequence[tuple[int, tuple[int, ...]]]] | None = None

    def __len__(self) -> int:
        return len(self.ids)

    @functools.cached_property
    def has_settings(self) -> bool:
        """Whether points have timesteps, blocks and exits; those of an own training have none."""
        return not len(self.ids) or bool(self.timesteps.any())

    @functools.cached_property
    def trials(self) -> Integers:
        """Number of each point's trial."""
        return self.trial_numbers[self.places]

    @functools.cached_property
    def is_copy(self) -> Bools:
        """Points of the front that are shown as the equal point of another trial."""
        return np.isin(self.ids, list(self.copies))

    @functools.cached_property
    def _shared(self) -> dict[int, tuple[int, ...]]:
        return dict(self.shared)

    def once(self, rows: Integers) -> Integers:
        """Return these rows, of equal operating points of equal trainings only the first one."""
        if self.merged is None or len(rows) < 2:
            return rows
        kept = self.merged(self.ids[rows].tolist())
        self._shared.update((point, trials) for point, trials in kept if len(trials) > 1)
        return rows[np.isin(self.ids[rows], [point for point, _ in kept])]

    def trial_words(self, row: int) -> str:
        """Return the trial of a point, with the trials of the same training: `Trials 14 and 26`."""
        trials = self._shared.get(int(self.ids[row]), ())
        if len(trials) < 2:
            return f"Trial {self.trials[row]}"
        return f"Trials {', '.join(map(str, trials[:-1]))} and {trials[-1]}"

    @functools.cached_property
    def axis_names(self) -> tuple[str, ...]:
        """Objectives, other metrics, parameters that varied, settings of the operating point."""
        metrics = [name for name in self.metrics if name not in self.objectives]
        varied = [name for name, values in self.trial_params.items() if len(set(values)) > 1]
        has_cuts = any(self.trial_partitions)
        extra = ["partition"] if "partition" not in varied and has_cuts else []
        run = RUN_COLUMNS if self.has_settings else ()
        return (*self.objectives, *metrics, *varied, *extra, *run)

    @functools.cached_property
    def shape_names(self) -> tuple[str, ...]:
        """Names of the columns with several values, for `shape_axis`."""
        own = [name for name, values in self.trial_params.items() if len(set(values)) > 1]
        if "partition" not in own and len(set(self.trial_partitions)) > 1:
            own.append("partition")
        run = {"run:timesteps": self.timesteps, "run:blocks": self.blocks}
        return (*own, *(name for name, values in run.items() if len(np.unique(values)) > 1))

    @functools.cached_property
    def _axes(self) -> dict[str, Axis]:
        return {}

    def axis(self, name: str) -> Axis:
        """Return the column `name` as an axis. Raises KeyError for a name not in `axis_names`."""
        if name not in self._axes:
            self._axes[name] = self._make_axis(name)
        return self._axes[name]

    def shape_axis(self, name: str) -> Axis:
        """Return the column `name` with at most MOST_SHAPES different values, see `few_values`."""
        key = f"shape:{name}"
        if key not in self._axes:
            self._axes[key] = few_values(self.axis(name))
        return self._axes[key]

    def _make_axis(self, name: str) -> Axis:
        if name in self.metrics:
            return metric_axis(name, self.figures[name], self.metrics)
        if name in RUN_COLUMNS:
            return Axis(
                name=name,
                label=RUN_COLUMNS[name],
                unit="",
                better=None,
                values=self._run_column(name).astype(np.float64),
            )
        column = self.trial_partitions if name == "partition" else self.trial_params[name]
        return parameter_axis(name, column, self.places)

    def _run_column(self, name: str) -> NDArray[np.float64] | Integers:
        match name:
            case "run:timesteps":
                return self.timesteps
            case "run:blocks":
                return self.blocks
        return self.figures["detector_threshold"]

    def figure(self, name: str, row: int) -> float:
        """Return one metric of one point."""
        known = self.member_metrics.get(int(self.ids[row]), {})
        return known[name] if name in known else float(self.figures[name][row])

    def partition(self, row: int) -> str:
        """Return the partition of a point's network into blocks; empty if unknown."""
        return self.trial_partitions[int(self.places[row])]

    def exit_thresholds(self, rows: Sequence[int]) -> Thresholds:
        """Return the exit thresholds of the points in these rows."""
        return self.thresholds_of([int(self.ids[row]) for row in rows])

    def rows_of(self, ids: Sequence[int]) -> list[int]:
        """Return the rows of the points with these ids, in this order, without unknown ids."""
        wanted = set(ids)
        rows = np.flatnonzero(np.isin(self.ids, list(wanted)))
        position = {int(self.ids[row]): int(row) for row in rows}
        return [position[point] for point in ids if point in position]

    def params_of(self, row: int) -> dict[str, object]:
        """Return the active parameters of a point's trial."""
        place = self.places[row]
        found = {name: column[place] for name, column in self.trial_params.items()}
        return {name: value for name, value in found.items() if value is not None}


def few_values(axis: Axis) -> Axis:
    """Return the axis with at most MOST_SHAPES different values.

    Many numbers become the medians of their quarters; the rarest of many names become `other`.
    """
    if axis.values is not None:
        known = axis.values[np.isfinite(axis.values)]
        if np.unique(known).size <= MOST_SHAPES:
            return axis
        edges = np.unique(np.quantile(known, (0.25, 0.5, 0.75)))
        quarters = np.searchsorted(edges, axis.values, side="right")
        values = np.full(axis.values.shape, np.nan)
        for quarter in range(edges.size + 1):
            members = (quarters == quarter) & np.isfinite(axis.values)
            if members.any():
                values[members] = np.median(axis.values[members])
        return replace(axis, label=f"{axis.label} about", values=values)
    assert axis.names is not None
    counts = Counter(axis.names.tolist())
    if len(counts) <= MOST_SHAPES:
        return axis
    kept = {name for name, _ in counts.most_common(MOST_SHAPES - 1)}
    names = [name if name in kept else OTHER for name in axis.names]
    return replace(axis, names=np.asarray(names, dtype=np.object_))


def staircase(x: Axis, y: Axis, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the rows of the two-dimensional front over `x` and `y`, from left to right.

    Empty unless both axes have a better direction.
    """
    if x.better is None or y.better is None or x.values is None or y.values is None:
        return np.empty(0, dtype=np.int64)
    finite = rows[np.isfinite(x.values[rows]) & np.isfinite(y.values[rows])]
    across = (-1 if x.better == "higher" else 1) * x.values[finite]
    up = (-1 if y.better == "higher" else 1) * y.values[finite]
    order = np.lexsort((up, across))  # of equal values of x the best y comes first
    before = np.minimum.accumulate(np.concatenate([[np.inf], up[order]]))[:-1]
    members = finite[order[up[order] < before]]
    return members if x.better == "lower" else members[::-1]
