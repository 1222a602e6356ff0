"""A study's measured trials as columns: what was tried, and what came of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dashboard.data import formats
from dashboard.data.points import Axis, Floats
from search.trial.trial import Trial
from snn.settings.measurement import METRICS

Rows = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class TrialTable:
    """Trials that were measured, at the operating point that each sampled, by number."""

    numbers: NDArray[np.int64]
    metrics: Mapping[str, Floats]
    params: Mapping[str, tuple[object, ...]]  # None where inactive; only what varied
    partitions: tuple[str, ...]  # "" where not known
    finished: int  # trials that ended, those without a measurement too

    def __len__(self) -> int:
        return len(self.numbers)

    def metric(self, name: str) -> Axis:
        """A metric of the sampled points as an axis."""
        metric = METRICS[name]
        return Axis(
            name=name,
            label=formats.label(name),
            unit=metric.unit,
            better=metric.better,
            values=self.metrics[name],
        )

    def param(self, name: str) -> Axis:
        """A parameter as an axis; NaN or a dash where a trial has it not."""
        column = self.params[name]
        if all(value is None or _is_number(value) for value in column):
            numbers = [np.nan if value is None else float(str(value)) for value in column]
            values = np.asarray(numbers, dtype=np.float64)
            return Axis(name=name, label=formats.label(name), unit="", better=None, values=values)
        words = ["–" if value is None else str(value) for value in column]
        names = np.asarray(words, dtype=np.object_)
        return Axis(
            name=name, label=formats.label(name), unit="", better=None, values=None, names=names
        )

    def share_with(self, name: str) -> float:
        """Share of the trials in which the parameter exists."""
        column = self.params[name]
        return sum(value is not None for value in column) / len(column) if column else 0.0


def trial_table(trials: Sequence[Trial]) -> TrialTable:
    """The measured ones of a study's trials."""
    measured = [(t, t.sampled) for t in trials if t.sampled is not None]
    names = dict.fromkeys(name for trial, _ in measured for name in trial.params)
    columns = {name: tuple(trial.params.get(name) for trial, _ in measured) for name in names}
    return TrialTable(
        numbers=np.asarray([trial.number for trial, _ in measured], dtype=np.int64),
        metrics={
            name: np.asarray([point.metrics[name] for _, point in measured], dtype=np.float64)
            for name in METRICS
        },
        params={name: column for name, column in columns.items() if len(set(column)) > 1},
        partitions=tuple(
            trial.config.partition if trial.config else str(trial.params.get("partition", ""))
            for trial, _ in measured
        ),
        finished=sum(trial.state.is_finished for trial in trials),
    )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_log(axis: Axis) -> bool:
    """Whether values are better told apart by their logarithms: they span more than a decade."""
    if axis.values is None or not axis.can_be_log:
        return False
    known = axis.values[np.isfinite(axis.values)]
    return bool(known.max() / known.min() > 20)


@dataclass(frozen=True, kw_only=True)
class Trend:
    """How a metric runs along a parameter: tenths of the trials, by the parameter's value."""

    at: Floats  # middle of each bin
    low: Floats  # a tenth of the trials of the bin is below
    middle: Floats  # median
    high: Floats  # a tenth is above


def trend(x: Floats, y: Floats, *, bins: int = 12, log: bool = False) -> Trend:
    """Median and spread of `y` along `x`; bins that hold fewer than 3 trials are left out."""
    known = np.isfinite(x) & np.isfinite(y)
    x, y = x[known], y[known]
    if not x.size:
        none = np.empty(0)
        return Trend(at=none, low=none, middle=none, high=none)
    distinct = np.unique(x)
    if distinct.size <= bins:
        groups = np.searchsorted(distinct, x)
        places = distinct
    else:
        scaled = np.log(x) if log else x
        edges = np.linspace(scaled.min(), scaled.max(), bins + 1)
        groups = np.clip(np.searchsorted(edges, scaled, side="right") - 1, 0, bins - 1)
        middles = (edges[:-1] + edges[1:]) / 2
        places = np.exp(middles) if log else middles
    full = [group for group in range(len(places)) if (groups == group).sum() >= 3]
    parts = [np.quantile(y[groups == group], (0.1, 0.5, 0.9)) for group in full]
    low, middle, high = np.asarray(parts).reshape(-1, 3).T
    return Trend(at=places[full], low=low, middle=middle, high=high)


@dataclass(frozen=True, kw_only=True)
class Surface:
    """A metric over two parameters, smoothed on a grid; NaN where no trial is near."""

    x: Floats
    y: Floats
    z: Floats  # (y, x)


def surface(x: Floats, y: Floats, z: Floats, *, log: tuple[bool, bool], side: int = 36) -> Surface:
    """A Gaussian-weighted mean of the trials around each place, a twelfth of the range wide."""
    known = np.isfinite(x) & np.isfinite(y) & np.isfinite(z)
    x, y, z = x[known], y[known], z[known]
    scaled = [np.log(v) if is_log_ else v for v, is_log_ in zip((x, y), log, strict=True)]
    grids = [np.linspace(v.min(), v.max(), side) for v in scaled]
    weights = []
    for values, grid in zip(scaled, grids, strict=True):
        width = max(float(np.ptp(values)) / 12, 1e-12)
        weights.append(np.exp(-0.5 * ((grid[:, None] - values[None]) / width) ** 2))
    across, up = weights
    mass = up @ across.T
    mean = (up * z) @ across.T / np.maximum(mass, 1e-300)
    mean[mass < 0.15] = np.nan
    shown = [np.exp(grid) if is_log_ else grid for grid, is_log_ in zip(grids, log, strict=True)]
    return Surface(x=shown[0], y=shown[1], z=mean)


@dataclass(frozen=True, kw_only=True)
class Branch:
    """Networks that begin with the same blocks, or a partition that others continue, by itself."""

    id: str  # "all" for the root
    parent: str  # "" for the root
    path: str  # like `2+1`; "" for the root
    is_whole: bool  # a partition, not what several have in common
    trials: int
    best: float
    mean: float


def branches(partitions: Sequence[str], values: Floats, *, higher: bool) -> list[Branch]:
    """The tree of partitions by their first blocks, the root first; a metric over each branch."""
    begins: dict[str, list[int]] = {}
    whole: dict[str, list[int]] = {}
    for place, partition in enumerate(partitions):
        if not partition or not np.isfinite(values[place]):
            continue
        blocks = partition.split("+")
        for depth in range(len(blocks) + 1):
            begins.setdefault("+".join(blocks[:depth]), []).append(place)
        whole.setdefault(partition, []).append(place)

    def branch(id_: str, parent: str, path: str, is_whole: bool, places: list[int]) -> Branch:
        known = values[places]
        best = known.max() if higher else known.min()
        return Branch(
            id=id_,
            parent=parent,
            path=path,
            is_whole=is_whole,
            trials=len(places),
            best=float(best),
            mean=float(known.mean()),
        )

    found = []
    for path, places in begins.items():
        parent = (path.rpartition("+")[0] or "all") if path else ""
        is_leaf = len(whole.get(path, ())) == len(places)
        found.append(branch(path or "all", parent, path, is_leaf, places))
        if path in whole and not is_leaf:
            found.append(branch(f"{path} itself", path, path, True, whole[path]))
    return found


def spread_rows(count: int, limit: int, keep: Rows | None = None) -> Rows:
    """At most `limit` of `count` rows, evenly spread, with those of `keep` first to stay."""
    if count <= limit:
        return np.arange(count)
    rows = np.linspace(0, count - 1, limit).astype(np.int64)
    if keep is None or not keep.size:
        return rows
    kept = keep[np.linspace(0, keep.size - 1, min(keep.size, limit // 4)).astype(np.int64)]
    return np.unique(np.concatenate([rows[: limit - kept.size], kept]))


def best_rows(axis: Axis, share: float = 0.05) -> Rows:
    """The rows with the best values of a metric, the best first."""
    assert axis.values is not None
    known = np.flatnonzero(np.isfinite(axis.values))
    sign = -1 if axis.better == "higher" else 1
    order = known[np.argsort(sign * axis.values[known], kind="stable")]
    return order[: max(1, round(share * known.size))] if known.size else order
