"""`spikefront front`: the best trade-offs of a study, or the one that is picked."""

import argparse
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from search.commands import InputError, tables
from search.commands.options import PICKS
from search.commands.output import Output
from search.store.store import Store, StoredPoint
from search.study.study import Study, study_from_toml
from search.trial.confirmation import Confirmed, confirmed_document
from snn.settings.measurement import METRICS

if TYPE_CHECKING:
    from snn.settings.measurement import OperatingPoint

# Columns of a table of points: what names a point, one metric, what other seeds gave.
POINT_WIDTH, METRIC_WIDTH, CONFIRMED_WIDTH = 40, 14, 24


def front(arguments: argparse.Namespace) -> int:
    """The front of a study, or the point of it that is picked."""
    output = Output(as_json=arguments.as_json)
    with Store(arguments.store, read_only=True) as store:
        stored = store.stored_study(arguments.study)
        points = store.operating_points(arguments.study, front_only=True)
        hypervolume = store.hypervolume(arguments.study)
        confirmed = store.confirmed(arguments.study)
    study = study_from_toml(stored.toml, stored.name)
    knee = knee_of(points, study)
    members = in_order(points, study)
    if arguments.pick is not None:
        members = [picked(points, arguments.pick, study)]
    say_front(
        output,
        study,
        members,
        knee=knee,
        all_metrics=arguments.all_metrics,
        confirmed=confirmed,
    )
    output.document(
        {
            "study": stored.name,
            "objectives": stored.objectives,
            "hypervolume": hypervolume[-1].value if hypervolume else None,
            "pick": arguments.pick,
            "points": [
                point_document(member)
                | {
                    "is_knee": member is knee,
                    "confirmed": confirmed_document(confirmed.get(member.id)),
                }
                for member in members
            ],
        }
    )
    return 0


def in_order(points: Sequence[StoredPoint], study: Study) -> list[StoredPoint]:
    """The points of a front, the best of its first objective first."""
    first = study.objectives[0]
    sign = METRICS[first].sign
    return sorted(points, key=lambda member: sign * member.point.metrics[first])


def spread(
    members: Sequence[StoredPoint], *, keeping: StoredPoint | None, rows: int = 20
) -> list[StoredPoint]:
    """At most `rows` of a sorted front, evenly over it, with both ends and `keeping`."""
    if len(members) <= rows:
        return list(members)
    last = len(members) - 1
    places = {round(step * last / (rows - 2)) for step in range(rows - 1)}
    return [m for place, m in enumerate(members) if place in places or m is keeping]


def knee_of(points: Sequence[StoredPoint], study: Study) -> StoredPoint | None:
    """The front's knee; None while there is no front."""
    return picked(points, "knee", study) if points else None


def picked(points: Sequence[StoredPoint], spec: str, study: Study) -> StoredPoint:
    """The point that `spec` picks. Raises PickError."""
    from search.front.picks import pick

    if not spec.strip():
        raise InputError(f"--pick: must be {PICKS}, got {spec!r}")
    return pick(points, spec, study.objectives)


def say_front(
    output: Output,
    study: Study,
    members: Sequence[StoredPoint],
    *,
    knee: StoredPoint | None,
    all_metrics: bool = False,
    confirmed: Mapping[int, Confirmed] | None = None,
) -> None:
    """The front as a table, its knee marked; `confirmed` by the ids of points."""
    if not members:
        output.say(f"{study.name} has no front yet: no trial is complete")
        return
    place = next((i for i, member in enumerate(members) if member is knee), None)
    names = metrics_of(study, all_metrics=all_metrics)
    say_points(output, members, names, knee=place, confirmed=confirmed)


def say_points(
    output: Output,
    members: Sequence[StoredPoint],
    names: Sequence[str],
    *,
    knee: int | None = None,
    confirmed: Mapping[int, Confirmed] | None = None,
) -> None:
    """Operating points as a table, or as several below each other where it would be too wide."""
    known = [(confirmed or {}).get(member.id) for member in members]
    shown = known if any(known) else []
    width = output.console.width - POINT_WIDTH - (CONFIRMED_WIDTH if shown else 0)
    fit = max(1, width // METRIC_WIDTH)
    for start in range(0, len(names), fit):
        part = names[start : start + fit]
        output.say(tables.front_table(members, part, knee=knee, confirmed=shown))


def metrics_of(study: Study, *, all_metrics: bool = False) -> tuple[str, ...]:
    """Objectives, and what is constrained; on request everything else behind them."""
    asked = (*study.objectives, *study.constraints)
    return tuple(dict.fromkeys((*asked, *METRICS) if all_metrics else asked))


def point_document(member: StoredPoint) -> dict[str, object]:
    """A point of a study as JSON has it."""
    return {"trial": member.trial, "params": member.params, **settings_document(member.point)}


def settings_document(point: "OperatingPoint") -> dict[str, object]:
    """An operating point as JSON has it."""
    return {
        "timesteps": point.timesteps,
        "exit_thresholds": point.exit_thresholds,
        "detector_threshold": point.detector_threshold,
        "blocks": point.blocks,
        "is_sampled": point.is_sampled,
        "metrics": point.metrics,
    }
