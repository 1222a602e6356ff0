"""The measured trials of a study as columns: parameters and metrics."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from dashboard.data.points import Axis, Floats, metric_axis, parameter_axis
from search.trial.trial import Trial
from snn.settings.measurement import METRICS, Metrics

Rows = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class TrialTable:
    """Measured trials by number, each at the operating point that the sampler proposed."""

    numbers: NDArray[np.int64]
    metrics: Mapping[str, Floats]
    params: Mapping[str, tuple[object, ...]]  # None where inactive; only what varied
    partitions: tuple[str, ...]  # "" where not known
    finished: int  # trials that ended, with or without a measurement
    declared: Metrics = field(default_factory=lambda: METRICS)
    has_settings: bool = True  # parameters are settings of ours; not of an own training

    def __len__(self) -> int:
        return len(self.numbers)

    def metric(self, name: str) -> Axis:
        """Return a metric of the sampled points as an axis."""
        return metric_axis(name, self.metrics[name], self.declared)

    def param(self, name: str) -> Axis:
        """Return a parameter as an axis; NaN or a dash where it is inactive."""
        return parameter_axis(name, self.params[name])

    def share_with(self, name: str) -> float:
        """Return the share of the trials in which the parameter is active."""
        column = self.params[name]
        return sum(value is not None for value in column) / len(column) if column else 0.0


def trial_table(
    trials: Sequence[Trial],
    metrics: Metrics = METRICS,
    *,
    partitions: Mapping[int, str] | None = None,
    has_settings: bool = True,
) -> TrialTable:
    """Return the table of the measured trials, whose configs are not read.

    `partitions`: by number; without it those that are a parameter are known.
    """
    cuts = partitions or {}
    measured = [(t, t.sampled) for t in trials if t.sampled is not None]
    names = dict.fromkeys(name for trial, _ in measured for name in trial.params)
    columns = {name: tuple(trial.params.get(name) for trial, _ in measured) for name in names}
    return TrialTable(
        numbers=np.asarray([trial.number for trial, _ in measured], dtype=np.int64),
        metrics={
            name: np.asarray(
                [point.metrics.get(name, np.nan) for _, point in measured], dtype=np.float64
            )
            for name in metrics
        },
        params={name: column for name, column in columns.items() if len(set(column)) > 1},
        partitions=tuple(
            cuts.get(trial.number) or str(trial.params.get("partition", ""))
            for trial, _ in measured
        ),
        declared=metrics,
        has_settings=has_settings,
        finished=sum(trial.state.is_finished for trial in trials),
    )


def is_log(axis: Axis) -> bool:
    """Return whether a scale is logarithmic: the largest value is over 20 times the smallest."""
    return axis.can_be_log and axis.ratio > 20


@dataclass(frozen=True, kw_only=True)
class Trend:
    """A metric against a parameter: quantiles of the trials in bins of the parameter."""

    at: Floats  # middle of each bin
    low: Floats  # 10 % quantile of each bin
    middle: Floats  # median
    high: Floats  # 90 % quantile


def trend(x: Floats, y: Floats, *, bins: int = 12, log: bool = False) -> Trend:
    """Return median and spread of `y` along `x`, without bins of fewer than 3 trials."""
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
    """A metric over two parameters, smoothed on a grid; NaN far from every trial."""

    x: Floats
    y: Floats
    z: Floats  # (y, x)


def surface(x: Floats, y: Floats, z: Floats, *, log: tuple[bool, bool], side: int = 36) -> Surface:
    """Return Gaussian-weighted means of the trials; the standard deviation is 1/12 of the range."""
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
    """Networks with the same first blocks, or a whole partition that longer ones continue."""

    id: str  # "all" for the root
    parent: str  # "" for the root
    path: str  # like `2+1`; "" for the root
    is_whole: bool  # a partition, not the common first blocks of several
    trials: int
    best: float
    mean: float


def branches(partitions: Sequence[str], values: Floats, *, higher: bool) -> list[Branch]:
    """Return the tree of partitions by their first blocks, root first, with a metric per branch."""
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
    """Return at most `limit` of `count` rows, evenly spread; a quarter may be rows of `keep`."""
    if count <= limit:
        return np.arange(count)
    rows = np.linspace(0, count - 1, limit).astype(np.int64)
    if keep is None or not keep.size:
        return rows
    kept = keep[np.linspace(0, keep.size - 1, min(keep.size, limit // 4)).astype(np.int64)]
    return np.unique(np.concatenate([rows[: limit - kept.size], kept]))


def best_rows(axis: Axis, share: float = 0.05) -> Rows:
    """Return the rows with the best values of a metric, best first."""
    assert axis.values is not None
    known = np.flatnonzero(np.isfinite(axis.values))
    sign = -1 if axis.better == "higher" else 1
    order = known[np.argsort(sign * axis.values[known], kind="stable")]
    return order[: max(1, round(share * known.size))] if known.size else order
