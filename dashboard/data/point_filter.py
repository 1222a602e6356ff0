"""The points of a study that a figure shows: the front, dominated ones, ones outside a limit."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dashboard.data.points import Bools, PointTable
from dashboard.data.study_table import within
from dashboard.data.targets import Target
from search.front.front import pareto_mask
from search.front.picks import knee_row

Rows = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class VisiblePoints:
    """Rows of a table by their place within the study's constraints and the user's targets."""

    front: Rows
    dominated: Rows
    outside: Rows  # beyond a constraint or a target
    knee: int | None  # row of the front's knee
    best: Mapping[str, int]  # row of the front's best, by objective


@functools.lru_cache(maxsize=16)
def visible_points(
    table: PointTable, targets: tuple[Target, ...] = (), *, per_trial: bool = False
) -> VisiblePoints:
    """Return the rows to show of all operating points, or of the sampled one of each trial.

    Equal operating points of equal trainings are shown once on the front.
    """
    wanted = table.is_sampled if per_trial else np.ones(len(table), dtype=np.bool_)
    inside = wanted & table.is_feasible
    for target in targets:
        inside &= within(table.figures, {target.metric: target.bounds}, len(table))
    if not per_trial and all(_is_kept_by_domination(table, target) for target in targets):
        members = table.on_front & inside
        rows = np.flatnonzero(members & ~table.is_copy)
    else:
        members = _front(table, inside)
        rows = table.once(np.flatnonzero(members))
    return VisiblePoints(
        front=rows,
        dominated=np.flatnonzero(inside & ~members & ~table.is_copy),
        outside=np.flatnonzero(wanted & ~inside & ~table.is_copy),
        knee=_knee(table, rows),
        best=_best(table, rows),
    )


def _front(table: PointTable, inside: Bools) -> Bools:
    """Return which of the points inside the limits are on their front."""
    candidates = np.flatnonzero(inside)
    members = np.zeros(len(table), dtype=np.bool_)
    members[candidates] = pareto_mask(costs(table, candidates))
    return members


def _is_kept_by_domination(table: PointTable, target: Target) -> bool:
    """Return whether a point that dominates another one also meets its target.

    With such targets alone the stored front is still the front.
    """
    wanted = "min" if table.metrics[target.metric].better == "higher" else "max"
    return target.metric in table.objectives and target.side == wanted


def costs(table: PointTable, rows: Rows) -> NDArray[np.float64]:
    """Return the objectives of these rows as columns; lower is better."""
    columns = [table.metrics[name].sign * table.figures[name][rows] for name in table.objectives]
    return np.column_stack(columns)


def _knee(table: PointTable, rows: Rows) -> int | None:
    known = rows[np.isfinite(costs(table, rows)).all(axis=1)]
    return int(known[knee_row(costs(table, known))]) if known.size else None


def _best(table: PointTable, rows: Rows) -> dict[str, int]:
    """Return the best row in each objective; of equal rows the best in the other objectives."""
    found = {}
    for name in table.objectives:
        known = rows[np.isfinite(table.figures[name][rows])]
        if known.size:
            order = [name, *(other for other in table.objectives if other != name)]
            columns = costs(table, known)[:, [table.objectives.index(each) for each in order]]
            found[name] = int(known[np.lexsort(columns.T[::-1])[0]])
    return found


@dataclass(frozen=True, kw_only=True)
class ViewOptions:
    """Axes, scales, colour and shape of a front's figure; names are of `PointTable.axis_names`."""

    x: str
    y: str
    z: str | None = None  # a third axis makes the figure three-dimensional
    colour: str
    shape: str | None = None
    log_x: bool = False
    log_y: bool = False
    log_z: bool = False
    hides_dominated: bool = False

    @property
    def view(self) -> str:
        """Changes when an earlier zoom or rotation no longer applies."""
        return f"{self.x}|{self.y}|{self.z}|{self.log_x}|{self.log_y}|{self.log_z}"
