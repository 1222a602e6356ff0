"""Several studies over the same objectives, with one reference point for all hypervolumes."""

import dataclasses
import datetime
import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from dashboard.data.point_filter import visible_points
from dashboard.data.points import PointTable
from dashboard.data.study_view import StudyView
from search.front.attainment import LEVEL, compare_groups, surfaces
from search.front.front import pareto_mask
from search.front.indicators import hypervolume, ideal
from search.store.columns import TrialColumns
from snn.settings.measurement import METRICS, Metrics

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Bools = NDArray[np.bool_]

CHECKPOINTS = 60  # at which the hypervolume is computed
GOAL = 0.95  # share of the best hypervolume of all studies
MOST_PAIRS = 6  # of groups that are tested against each other

_SEED = re.compile(r"(?i)(?:[-_. ]+(?:seed|rep|run|r|s)?[-_. ]*)?\d+$")


@dataclass(frozen=True, kw_only=True)
class HypervolumeHistory:
    """The hypervolume of a study after some of its finished trials, with the cost until then."""

    trials: Floats
    epochs: Floats  # trained
    hours: Floats  # in which at least one trial ran
    values: Floats  # share of the box between ideal and reference point

    def along(self, name: str) -> Floats:
        """Return `trials`, `epochs` or `hours`."""
        spent = {"trials": self.trials, "epochs": self.epochs, "hours": self.hours}
        return spent[name]

    def first_at(self, goal: float, name: str) -> float | None:
        """Return the cost when the hypervolume first reached `goal`; None if it never did."""
        reached = np.flatnonzero(self.values >= goal)
        return float(self.along(name)[reached[0]]) if reached.size else None


@dataclass(frozen=True, kw_only=True)
class Compared:
    """One study of a comparison."""

    name: str
    group: str
    sampler: str  # "" where the study cannot be read
    table: PointTable
    front: Integers  # rows
    history: HypervolumeHistory
    best: Mapping[str, float]  # best value on the front, by shared objective


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Studies side by side."""

    objectives: tuple[str, ...]  # of all studies
    reference: Mapping[str, float]  # reference point of all hypervolumes
    studies: tuple[Compared, ...]
    metrics: Metrics = field(default_factory=lambda: METRICS)  # what the objectives mean
    ceiling: float = 0.0  # hypervolume of the points of all studies together

    @property
    def groups(self) -> tuple[str, ...]:
        """The groups in the order of their first study."""
        return tuple(dict.fromkeys(study.group for study in self.studies))

    def members(self, group: str) -> list[Compared]:
        """Return the studies of a group."""
        return [study for study in self.studies if study.group == group]

    @property
    def best(self) -> float:
        """The largest hypervolume; 0 where there is none."""
        ends = [study.history.values[-1] for study in self.studies if study.history.values.size]
        return float(max(ends, default=0.0))


def group_of(view: StudyView, by: str) -> str:
    """Return the group of a study: its sampler, its name without the last number, or its name."""
    if by == "sampler":
        return sampler_of(view) or "unknown sampler"
    if by == "name":
        return question_of(view.stored.name)
    return view.stored.name


def question_of(name: str) -> str:
    """Return the name that repeats of one question share: `digits` for `digits-seed2`."""
    return _SEED.sub("", name) or name


def sampler_of(view: StudyView) -> str:
    """Return the sampler of a study; "" where its file cannot be read."""
    return view.study.search.sampler if view.study else ""


def compare(views: Sequence[StudyView], by: str = "study") -> Comparison:
    """Compare studies over their common objectives; without any there are no hypervolumes."""
    shared = [
        name
        for name in views[0].stored.objectives
        if all(
            name in view.stored.objectives
            and view.stored.metrics[name].is_counted_as(views[0].stored.metrics[name])
            for view in views
        )
    ]
    reference = {name: _worst(views, name) for name in shared}
    studies = tuple(_compared(view, by, reference) for view in views)
    return Comparison(
        objectives=tuple(shared),
        reference=reference,
        studies=studies,
        metrics=views[0].stored.metrics,
        ceiling=_together(studies, reference),
    )


def _together(studies: Sequence[Compared], reference: Mapping[str, float]) -> float:
    """Return the hypervolume of all studies' points as if one search had found them."""
    if not reference:
        return 0.0
    points = np.concatenate([_usable(study.table, reference) for study in studies])
    kept = points[pareto_mask(points)]
    return min(hypervolume(kept, np.ones(len(reference))), 1.0) if len(kept) else 0.0


def _usable(table: PointTable, reference: Mapping[str, float]) -> Floats:
    """Return the points that can be on the front as `_scaled` rows."""
    return _scaled(table, reference)[_can_be_on_front(table)]


def _can_be_on_front(table: PointTable) -> Bools:
    """Return which points are within the constraints, with a figure for each objective.

    For those that are not shared too: a front has no point without one.
    """
    usable = table.is_feasible.copy()
    for name in table.objectives:
        usable &= np.isfinite(table.figures[name])
    return usable


def ceiling_line(studies: Sequence[Compared], x: str, y: str) -> Floats:
    """Return the front over two metrics of all studies together, as a line of (x, y).

    Its ends are the best points of each metric, and between them are steps. Empty without a point.
    """
    points = np.concatenate([_minimised(study, x, y) for study in studies])
    kept = np.unique(points[pareto_mask(points)], axis=0)
    if not len(kept):
        return kept
    metrics = studies[0].table.metrics
    across, up = np.repeat(kept[:, 0], 2)[1:], np.repeat(kept[:, 1], 2)[:-1]
    signs = np.asarray([metrics[x].sign, metrics[y].sign])
    line: Floats = signs * np.column_stack([across, up])
    return line


def _worst(views: Sequence[StudyView], name: str) -> float:
    """Return the worst of the studies' reference points, or of all points without a reference."""
    metrics = views[0].stored.metrics
    sign = metrics[name].sign
    found = np.asarray([view.stored.reference[name] for view in views if view.stored.reference])
    if not found.size:
        known = np.concatenate([view.table.figures[name] for view in views])
        found = known[np.isfinite(known)]
    return float(found[(sign * found).argmax()]) if found.size else ideal(name, metrics)


def _compared(view: StudyView, by: str, reference: Mapping[str, float]) -> Compared:
    table = view.table
    if view.study is None:  # its constraints are not known, but its front is
        table = dataclasses.replace(table, is_feasible=table.on_front)
    rows = visible_points(table).front
    best = {}
    for name in reference:
        values = table.figures[name][rows]
        known = values[np.isfinite(values)]
        if known.size:
            best[name] = float(known[(view.stored.metrics[name].sign * known).argmin()])
    return Compared(
        name=view.stored.name,
        group=group_of(view, by),
        sampler=sampler_of(view),
        table=table,
        front=rows,
        history=hypervolume_history(view.trials, table, reference),
        best=best,
    )


def hypervolume_history(
    trials: TrialColumns, table: PointTable, reference: Mapping[str, float]
) -> HypervolumeHistory:
    """Return the hypervolume above `reference` after the study's finished trials."""
    order = _finished(trials)
    count = min(CHECKPOINTS, len(order)) or 1
    stops = np.unique(np.linspace(1, len(order), count).astype(np.int64))
    stops = stops[stops <= len(order)]
    epochs = np.cumsum(trials.epochs_done[order])
    hours = hours_at_work(trials, order)
    return HypervolumeHistory(
        trials=stops.astype(np.float64),
        epochs=epochs[stops - 1].astype(np.float64),
        hours=hours[stops - 1],
        values=_volumes(table, reference, order, stops),
    )


def _finished(trials: TrialColumns) -> Integers:
    """Return the places of the finished trials, in the order of their end."""
    ended = [
        (moment, place)
        for place, moment in enumerate(trials.finished_at)
        if moment is not None and trials.states[place].is_finished
    ]
    return np.asarray([place for _, place in sorted(ended)], dtype=np.int64)


def _volumes(
    table: PointTable, reference: Mapping[str, float], order: Integers, stops: Integers
) -> Floats:
    if not reference or not stops.size:
        return np.full(len(stops), np.nan)
    scaled = _scaled(table, reference)
    rank = np.full(len(table.trial_numbers), len(order) + 1, dtype=np.int64)
    rank[order] = np.arange(1, len(order) + 1)
    finished = rank[table.places]
    usable = _can_be_on_front(table)
    kept = np.empty((0, len(reference)))
    corner = np.ones(len(reference))
    values, before = [], 0
    for stop in stops.tolist():
        new = usable & (finished > before) & (finished <= stop)
        candidates = np.concatenate([kept, scaled[new]])
        kept = candidates[pareto_mask(candidates)]
        values.append(min(hypervolume(kept, corner), 1.0))
        before = stop
    return np.asarray(values)


def _scaled(table: PointTable, reference: Mapping[str, float]) -> Floats:
    """Return the shared objectives as columns: 0 is the ideal, 1 the reference."""
    columns = []
    for name, worst in reference.items():
        sign, best = table.metrics[name].sign, ideal(name, table.metrics)
        span = sign * (worst - best)
        cost = sign * (table.figures[name] - best)
        columns.append(np.maximum(cost / span, 0.0) if span > 0 else np.where(cost > 0, 1.0, 0.0))
    return np.column_stack(columns)


def hours_at_work(trials: TrialColumns, order: Integers) -> Floats:
    """Return the hours until the end of each of these trials in which at least one trial ran.

    Pauses between two runs of the study do not count.
    """
    spans = sorted(
        (began.timestamp(), ended.timestamp())
        for began, ended in zip(trials.started_at, trials.finished_at, strict=True)
        if began is not None and ended is not None
    )
    merged: list[list[float]] = []
    for began_s, ended_s in spans:
        if merged and began_s <= merged[-1][1]:
            merged[-1][1] = max(merged[-1][1], ended_s)
        else:
            merged.append([began_s, ended_s])
    if not merged:
        return np.zeros(len(order))
    begins, ends = np.asarray(merged).T
    moments = np.asarray([_seconds(trials.finished_at[place]) for place in order.tolist()])
    last = np.searchsorted(begins, moments, side="right") - 1  # the span begun last; -1 before all
    until = np.concatenate([np.cumsum(ends - begins), [0.0]])[last]
    ahead = np.where(last >= 0, np.maximum(ends[last] - moments, 0.0), 0.0)
    return np.asarray((until - ahead) / 3600.0)


def _seconds(moment: datetime.datetime | None) -> float:
    return moment.timestamp() if moment else float("nan")


@dataclass(frozen=True, kw_only=True)
class Band:
    """The hypervolumes of a group along the cost, up to the end of its shortest study."""

    at: Floats
    low: Floats
    mean: Floats
    high: Floats


def band(histories: Sequence[HypervolumeHistory], name: str) -> Band | None:
    """Return mean and range of the hypervolumes of at least two studies."""
    usable = [each for each in histories if each.values.size]
    if len(usable) < 2:
        return None
    begin = max(float(each.along(name)[0]) for each in usable)
    end = min(float(each.along(name)[-1]) for each in usable)
    every = np.unique(np.concatenate([each.along(name) for each in usable]))
    at = every[(every >= begin) & (every <= end)]
    if not at.size:
        return None
    lines = np.stack(
        [c.values[np.searchsorted(c.along(name), at, side="right") - 1] for c in usable]
    )
    return Band(at=at, low=lines.min(axis=0), mean=lines.mean(axis=0), high=lines.max(axis=0))


# --- repeats of one question -------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Attainment:
    """Attainment surfaces of repeats over two metrics, as lines of (x, y) in the metrics' units."""

    median: Floats  # of what half of the repeats attain
    band: Floats  # outline of the area between the 25 % and the 75 % surface; may be empty
    repeats: int


def attainment(members: Sequence[Compared], x: str, y: str) -> Attainment | None:
    """Return the surfaces of at least two repeats; None for fewer or without any point."""
    fronts = [_minimised(study, x, y) for study in members]
    points = np.concatenate(fronts) if fronts else np.empty((0, 2))
    points = points[np.isfinite(points).all(axis=1)]
    if len(members) < 2 or not len(points):
        return None
    worst = points.max(axis=0)
    low, middle, high = (_steps(rows, worst) for rows in surfaces(fronts).values())
    metrics = members[0].table.metrics
    signs = np.asarray([metrics[x].sign, metrics[y].sign])
    outline = np.concatenate([low, high[::-1]]) if len(low) and len(high) else np.empty((0, 2))
    return Attainment(median=signs * middle, band=signs * outline, repeats=len(members))


def _minimised(study: Compared, x: str, y: str) -> Floats:
    table = study.table
    columns = [table.metrics[name].sign * table.figures[name][study.front] for name in (x, y)]
    return np.column_stack(columns)


def _steps(corners: Floats, worst: Floats) -> Floats:
    """Return the line along the corners of a surface, from the worst y to the worst x."""
    if not len(corners):
        return corners
    across = np.append(np.repeat(corners[:, 0], 2), worst[0])
    up = np.concatenate([worst[1:], np.repeat(corners[:, 1], 2)])
    return np.column_stack([across, up])


def group_tests(comparison: Comparison, x: str, y: str) -> list[str]:
    """Return a sentence for each pair of groups of repeats: which one attains more, and how surely.

    The test permutes repeats between the two groups, see `compare_groups`.
    """
    repeated = [group for group in comparison.groups if len(comparison.members(group)) > 1]
    pairs = list(itertools.combinations(repeated, 2))[:MOST_PAIRS]
    return [_tested(comparison, pair, x, y) for pair in pairs]


def _tested(comparison: Comparison, pair: tuple[str, str], x: str, y: str) -> str:
    first, second = ([_minimised(s, x, y) for s in comparison.members(name)] for name in pair)
    found = compare_groups(first, second)
    facts = f"p = {found.p_value:.2g}, {len(first)} and {len(second)} repeats"
    if found.is_significant and found.better is not None:
        better, other = pair if found.better == "first" else pair[::-1]
        return f"{better} is better than {other} ({facts})."
    words = f"No significant difference between {pair[0]} and {pair[1]} ({facts})."
    if found.smallest_p >= LEVEL:
        words += f" A significant one takes {found.repeats_needed} repeats of each."
    return words
