"""A study's operating points as columns, with what can be an axis of a figure."""

import functools
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from dashboard.data import formats
from snn.settings.measurement import METRICS

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Bools = NDArray[np.bool_]
Objects = NDArray[np.object_]
Thresholds = Sequence[tuple[float, ...]]

MOST_SHAPES = 8
OTHER = "other"

RUN_COLUMNS = {
    "run:timesteps": "Timesteps at inference",
    "run:blocks": "Blocks kept",
    "run:detector_threshold": "Detector threshold",
}
RUN_MEANINGS = {
    "run:timesteps": "Timesteps that the network is run for; it may have been trained with more.",
    "run:blocks": "Blocks that are run at most.",
    "run:detector_threshold": "Above it the detector of hard classes sends an image on.",
}


@dataclass(frozen=True, kw_only=True)
class Axis:
    """One quantity that points can be laid out or coloured by."""

    name: str
    label: str
    unit: str
    better: Literal["higher", "lower"] | None  # None for parameters
    values: Floats | None  # None when the values are names
    names: Objects | None = None  # a string per point, when they are not numbers

    @property
    def is_number(self) -> bool:
        """Whether values lie on a scale."""
        return self.values is not None

    def words(self, rows: Integers) -> list[str]:
        """The values of these points as text, for names of categories."""
        if self.values is None:
            assert self.names is not None
            return [str(name) for name in self.names[rows]]
        return [
            formats.NOTHING if np.isnan(value) else formats.plain_number(value)
            for value in self.values[rows].tolist()
        ]

    @functools.cached_property
    def can_be_log(self) -> bool:
        """Whether every value can be shown on a logarithmic scale."""
        if self.values is None:
            return False
        known = self.values[np.isfinite(self.values)]
        return known.size > 0 and bool((known > 0).all())

    @property
    def is_log_by_default(self) -> bool:
        """Counts and sizes vary over orders of magnitude."""
        return self.unit in formats.WIDE_UNITS and self.can_be_log


@dataclass(frozen=True, kw_only=True, eq=False)
class PointTable:
    """Operating points of one study.

    Columns have an entry per point; those called `trial_...` one per trial, `places` says which.
    """

    ids: Integers  # of the stored rows
    places: Integers
    on_front: Bools
    is_sampled: Bools
    is_feasible: Bools  # within the study's constraints
    figures: Mapping[str, Floats]  # every metric, and `detector_threshold`
    timesteps: Integers
    blocks: Integers
    thresholds_of: Callable[[Sequence[int]], Thresholds]  # exit thresholds of points with these ids
    trial_numbers: Integers
    trial_partitions: tuple[str, ...]  # "" where not known
    trial_params: Mapping[str, tuple[object, ...]]  # None where inactive
    objectives: tuple[str, ...]
    bounds: Mapping[str, tuple[float | None, float | None]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.ids)

    @functools.cached_property
    def trials(self) -> Integers:
        """Number of each point's trial."""
        return self.trial_numbers[self.places]

    @functools.cached_property
    def axis_names(self) -> tuple[str, ...]:
        """Objectives first, then the other metrics, what varied, and how points are run."""
        metrics = [name for name in METRICS if name not in self.objectives]
        varied = [name for name, values in self.trial_params.items() if len(set(values)) > 1]
        has_cuts = any(self.trial_partitions)
        extra = ["partition"] if "partition" not in varied and has_cuts else []
        return (*self.objectives, *metrics, *varied, *extra, *RUN_COLUMNS)

    @functools.cached_property
    def shape_names(self) -> tuple[str, ...]:
        """What the shape of a mark can tell: whatever varied, see `shape_axis`."""
        own = [name for name, values in self.trial_params.items() if len(set(values)) > 1]
        if "partition" not in own and len(set(self.trial_partitions)) > 1:
            own.append("partition")
        run = {"run:timesteps": self.timesteps, "run:blocks": self.blocks}
        return (*own, *(name for name, values in run.items() if len(np.unique(values)) > 1))

    @functools.cached_property
    def _axes(self) -> dict[str, Axis]:
        return {}

    def axis(self, name: str) -> Axis:
        """The column `name` as an axis. Raises KeyError for a name not in `axis_names`."""
        if name not in self._axes:
            self._axes[name] = self._make_axis(name)
        return self._axes[name]

    def shape_axis(self, name: str) -> Axis:
        """The column `name` with at most MOST_SHAPES different values, see `few_values`."""
        key = f"shape:{name}"
        if key not in self._axes:
            self._axes[key] = few_values(self.axis(name))
        return self._axes[key]

    def _make_axis(self, name: str) -> Axis:
        if name in METRICS:
            metric = METRICS[name]
            return Axis(
                name=name,
                label=formats.label(name),
                unit=metric.unit,
                better=metric.better,
                values=self.figures[name],
            )
        if name in RUN_COLUMNS:
            return Axis(
                name=name,
                label=RUN_COLUMNS[name],
                unit="",
                better=None,
                values=self._run_column(name).astype(np.float64),
            )
        label = formats.label(name)
        if name == "partition":
            column: Sequence[object] = self.trial_partitions
        else:
            column = self.trial_params[name]
        if all(value is None or _is_number(value) for value in column):
            numbers = [np.nan if value is None else float(str(value)) for value in column]
            values = np.asarray(numbers, dtype=np.float64)[self.places]
            return Axis(name=name, label=label, unit="", better=None, values=values)
        words = [formats.NOTHING if value is None else str(value) for value in column]
        names = np.asarray(words, dtype=np.object_)[self.places]
        return Axis(name=name, label=label, unit="", better=None, values=None, names=names)

    def _run_column(self, name: str) -> NDArray[np.float64] | Integers:
        match name:
            case "run:timesteps":
                return self.timesteps
            case "run:blocks":
                return self.blocks
        return self.figures["detector_threshold"]

    def figure(self, name: str, row: int) -> float:
        """One metric of one point."""
        return float(self.figures[name][row])

    def partition(self, row: int) -> str:
        """How the network of one point is cut into blocks; empty when not known."""
        return self.trial_partitions[int(self.places[row])]

    def exit_thresholds(self, rows: Sequence[int]) -> Thresholds:
        """Exit thresholds of the points in these rows."""
        return self.thresholds_of([int(self.ids[row]) for row in rows])

    def rows_of(self, ids: Sequence[int]) -> list[int]:
        """Positions of the points with these ids, in the order given; unknown ids are left out."""
        wanted = set(ids)
        rows = np.flatnonzero(np.isin(self.ids, list(wanted)))
        position = {int(self.ids[row]): int(row) for row in rows}
        return [position[point] for point in ids if point in position]

    def params_of(self, row: int) -> dict[str, object]:
        """The active parameters of one point's trial."""
        place = self.places[row]
        found = {name: column[place] for name, column in self.trial_params.items()}
        return {name: value for name, value in found.items() if value is not None}


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def few_values(axis: Axis) -> Axis:
    """The axis, with few enough values to tell them by shape.

    Of many numbers a quarter each is put at its median; of many words the rarest are `other`.
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
    """Rows of the two-dimensional front over `x` and `y`, from left to right.

    Empty unless both axes have a better direction.
    """
    if x.better is None or y.better is None or x.values is None or y.values is None:
        return np.empty(0, dtype=np.int64)
    finite = rows[np.isfinite(x.values[rows]) & np.isfinite(y.values[rows])]
    across = METRICS[x.name].sign * x.values[finite]
    up = METRICS[y.name].sign * y.values[finite]
    order = np.lexsort((up, across))  # of those in the same place across, the best comes first
    before = np.minimum.accumulate(np.concatenate([[np.inf], up[order]]))[:-1]
    members = finite[order[up[order] < before]]
    return members if x.better == "lower" else members[::-1]
