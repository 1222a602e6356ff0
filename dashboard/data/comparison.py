"""Several studies over the same objectives: one reference, so that volumes can be compared."""

import datetime
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dashboard.data.point_filter import visible_points
from dashboard.data.points import PointTable
from dashboard.data.study_view import StudyView
from search.front.front import pareto_mask
from search.front.indicators import hypervolume, ideal
from search.store.columns import TrialColumns
from snn.settings.measurement import METRICS

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

CHECKPOINTS = 60  # at which the volume is worked out, of up to three objectives
FEW_CHECKPOINTS = 12  # of more: each takes much longer
GOAL = 0.95  # of the best volume of all

_SEED = re.compile(r"(?i)(?:[-_. ]+(?:seed|rep|run|r|s)?[-_. ]*)?\d+$")


@dataclass(frozen=True, kw_only=True)
class HypervolumeHistory:
    """The hypervolume of a study after some of its finished trials, and what was spent by then."""

    trials: Floats
    epochs: Floats  # trained
    hours: Floats  # in which at least one trial was at work
    values: Floats  # fraction of the box that all studies share

    def along(self, name: str) -> Floats:
        """`trials`, `epochs` or `hours`."""
        spent = {"trials": self.trials, "epochs": self.epochs, "hours": self.hours}
        return spent[name]

    def first_at(self, goal: float, name: str) -> float | None:
        """What was spent when the volume first reached `goal`; None if it never did."""
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
    course: HypervolumeHistory
    best: Mapping[str, float]  # by shared objective, of the front


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Studies side by side."""

    objectives: tuple[str, ...]  # that all of them have
    reference: Mapping[str, float]  # where volumes are measured from
    studies: tuple[Compared, ...]

    @property
    def groups(self) -> tuple[str, ...]:
        """In the order in which they first appear."""
        return tuple(dict.fromkeys(study.group for study in self.studies))

    def members(self, group: str) -> list[Compared]:
        """The studies of a group."""
        return [study for study in self.studies if study.group == group]

    @property
    def best(self) -> float:
        """The largest volume of all; 0 where there is none."""
        ends = [study.course.values[-1] for study in self.studies if study.course.values.size]
        return float(max(ends, default=0.0))


def group_of(view: StudyView, by: str) -> str:
    """The group of a study: its `sampler`, its `name` without a seed's number, or itself."""
    if by == "sampler":
        return sampler_of(view) or "unknown sampler"
    if by == "name":
        return _SEED.sub("", view.stored.name) or view.stored.name
    return view.stored.name


def sampler_of(view: StudyView) -> str:
    """The sampler that a study names."""
    return view.study.search.sampler if view.study else ""


def compare(views: Sequence[StudyView], by: str = "study") -> Comparison:
    """The studies over the objectives that they share; without one there are no volumes."""
    shared = [
        name
        for name in views[0].stored.objectives
        if all(name in view.stored.objectives for view in views)
    ]
    reference = {name: _worst(views, name) for name in shared}
    return Comparison(
        objectives=tuple(shared),
        reference=reference,
        studies=tuple(_compared(view, by, reference) for view in views),
    )


def _worst(views: Sequence[StudyView], name: str) -> float:
    """The worst of the studies' own references, or of their points where there is none."""
    sign = METRICS[name].sign
    found = [view.stored.reference[name] for view in views if view.stored.reference]
    if not found:
        columns = [view.table.figures[name] for view in views]
        known = np.concatenate(columns)
        found = known[np.isfinite(known)].tolist()
    return max(found, key=lambda value: sign * value, default=ideal(name))


def _compared(view: StudyView, by: str, reference: Mapping[str, float]) -> Compared:
    rows = visible_points(view.table).front
    best = {}
    for name in reference:
        values = view.table.figures[name][rows]
        known = values[np.isfinite(values)]
        if known.size:
            best[name] = float(known[(METRICS[name].sign * known).argmin()])
    return Compared(
        name=view.stored.name,
        group=group_of(view, by),
        sampler=sampler_of(view),
        table=view.table,
        front=rows,
        course=course_of(view, reference),
        best=best,
    )


def course_of(view: StudyView, reference: Mapping[str, float]) -> HypervolumeHistory:
    """The volume above `reference` as the study's trials finished."""
    order = _finished(view.trials)
    few = FEW_CHECKPOINTS if len(reference) > 3 else CHECKPOINTS
    stops = np.unique(np.linspace(1, len(order), min(few, len(order)) or 1).astype(np.int64))
    stops = stops[stops <= len(order)]
    epochs = np.cumsum(view.trials.epochs_done[order])
    hours = hours_at_work(view.trials, order)
    return HypervolumeHistory(
        trials=stops.astype(np.float64),
        epochs=epochs[stops - 1].astype(np.float64),
        hours=hours[stops - 1],
        values=_volumes(view.table, reference, order, stops),
    )


def _finished(trials: TrialColumns) -> Integers:
    """Places of the finished trials, in the order in which they did."""
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
    usable = table.is_feasible & np.isfinite(scaled).all(axis=1)
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
    """Shared objectives as columns: 0 is the ideal, 1 the reference."""
    columns = []
    for name, worst in reference.items():
        sign, best = METRICS[name].sign, ideal(name)
        span = sign * (worst - best)
        cost = sign * (table.figures[name] - best)
        columns.append(np.maximum(cost / span, 0.0) if span > 0 else np.where(cost > 0, 1.0, 0.0))
    return np.column_stack(columns)


def hours_at_work(trials: TrialColumns, order: Integers) -> Floats:
    """Hours until each of these trials finished, in which at least one trial was at work.

    Pauses between two runs of the same study do not count.
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
    worked = np.clip(moments[:, None] - begins[None], 0.0, (ends - begins)[None]).sum(axis=1)
    return np.asarray(worked / 3600.0)


def _seconds(moment: datetime.datetime | None) -> float:
    return moment.timestamp() if moment else float("nan")


@dataclass(frozen=True, kw_only=True)
class Band:
    """The runs of a group together, along what was spent, until the shortest of them ends."""

    at: Floats
    low: Floats
    mean: Floats
    high: Floats


def band(courses: Sequence[HypervolumeHistory], name: str) -> Band | None:
    """Mean and range of the volumes of at least two courses."""
    usable = [course for course in courses if course.values.size]
    if len(usable) < 2:
        return None
    begin = max(float(course.along(name)[0]) for course in usable)
    end = min(float(course.along(name)[-1]) for course in usable)
    every = np.unique(np.concatenate([course.along(name) for course in usable]))
    at = every[(every >= begin) & (every <= end)]
    if not at.size:
        return None
    lines = np.stack(
        [c.values[np.searchsorted(c.along(name), at, side="right") - 1] for c in usable]
    )
    return Band(at=at, low=lines.min(axis=0), mean=lines.mean(axis=0), high=lines.max(axis=0))
