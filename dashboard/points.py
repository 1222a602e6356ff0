"""A study's operating points as columns, with what can be an axis of a figure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from dashboard import formats
from search.front import pareto_mask
from snn.measurement import METRICS

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Objects = NDArray[np.object_]

RUN_COLUMNS = {
    "run:timesteps": "Timesteps at inference",
    "run:blocks": "Blocks kept",
    "run:detector_threshold": "Detector threshold",
}


@dataclass(frozen=True, kw_only=True)
class Axis:
    """One quantity that points can be laid out or coloured by."""

    name: str
    label: str
    unit: str
    better: Literal["higher", "lower"] | None  # None for parameters
    values: Floats | None  # None when the values are names
    names: tuple[str, ...] | None = None  # per point, when they are not numbers

    @property
    def is_number(self) -> bool:
        """Whether values lie on a scale."""
        return self.values is not None

    @property
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


@dataclass(frozen=True, kw_only=True)
class PointTable:
    """Operating points of one study; every column has one entry per point."""

    ids: NDArray[np.int64]  # of the stored rows
    trials: NDArray[np.int64]
    on_front: Bools
    is_sampled: Bools
    is_feasible: Bools  # within the study's constraints
    metrics: Mapping[str, Floats]
    timesteps: NDArray[np.int64]
    blocks: NDArray[np.int64]
    detector_thresholds: Floats
    exit_thresholds: tuple[tuple[float, ...], ...]
    partitions: tuple[str, ...]  # "" where not known
    params: Mapping[str, tuple[object, ...]]  # None where inactive
    objectives: tuple[str, ...]
    bounds: Mapping[str, tuple[float | None, float | None]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def axis_names(self) -> tuple[str, ...]:
        """Objectives first, then the other metrics, what varied, and how points are run."""
        metrics = [name for name in METRICS if name not in self.objectives]
        varied = [name for name, values in self.params.items() if len(set(values)) > 1]
        extra = ["partition"] if "partition" not in varied and any(self.partitions) else []
        return (*self.objectives, *metrics, *varied, *extra, *RUN_COLUMNS)

    def axis(self, name: str) -> Axis:
        """The column `name` as an axis. Raises KeyError for a name not in `axis_names`."""
        if name in METRICS:
            metric = METRICS[name]
            return Axis(
                name=name,
                label=formats.label(name),
                unit=metric.unit,
                better=metric.better,
                values=self.metrics[name],
            )
        if name in RUN_COLUMNS:
            values = {
                "run:timesteps": self.timesteps,
                "run:blocks": self.blocks,
                "run:detector_threshold": self.detector_thresholds,
            }[name].astype(np.float64)
            return Axis(name=name, label=RUN_COLUMNS[name], unit="", better=None, values=values)
        if name == "partition":
            return _named_axis(name, self.partitions)
        column = self.params[name]
        if all(value is None or _is_number(value) for value in column):
            numbers = [np.nan if value is None else float(str(value)) for value in column]
            return Axis(
                name=name,
                label=formats.label(name),
                unit="",
                better=None,
                values=np.asarray(numbers, dtype=np.float64),
            )
        return _named_axis(name, ["–" if value is None else str(value) for value in column])

    def rows_of(self, ids: Sequence[int]) -> list[int]:
        """Positions of the points with these ids, in the order given; unknown ids are left out."""
        position = {int(point): row for row, point in enumerate(self.ids)}
        return [position[point] for point in ids if point in position]

    def params_of(self, row: int) -> dict[str, object]:
        """The active parameters of one point's trial."""
        return {n: column[row] for n, column in self.params.items() if column[row] is not None}


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _named_axis(name: str, names: Sequence[str]) -> Axis:
    return Axis(
        name=name,
        label=formats.label(name),
        unit="",
        better=None,
        values=None,
        names=tuple(names),
    )


def staircase(x: Axis, y: Axis, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Rows of the two-dimensional front over `x` and `y`, from left to right.

    Empty unless both axes have a better direction.
    """
    if x.better is None or y.better is None or x.values is None or y.values is None:
        return np.empty(0, dtype=np.int64)
    finite = rows[np.isfinite(x.values[rows]) & np.isfinite(y.values[rows])]
    signs = [METRICS[x.name].sign, METRICS[y.name].sign]
    costs = np.column_stack([x.values[finite], y.values[finite]]) * signs
    front = finite[pareto_mask(costs)]
    _, first = np.unique(x.values[front], return_index=True)  # one of those in the same place
    return front[first]
