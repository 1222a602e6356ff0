"""`spikefront front`: the Pareto front of a study, or the operating point that is picked."""

import argparse
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from search.commands import InputError, tables
from search.commands.options import JSON, PICKS, STORE, STUDY, command, option
from search.commands.output import Output
from search.front.indicators import constant_objectives
from search.front.merged import MergedPoint, merge_equal
from search.front.picks import knee, pick
from search.store.store import Store, StoredPoint
from search.study.study import Study
from search.text.units import figure
from search.trial.confirmation import Confirmed, confirmed_document
from snn.settings.measurement import METRICS, Metrics

if TYPE_CHECKING:
    from snn.settings.measurement import OperatingPoint

# Widths of the columns that name a point, of one metric, and of the results with other seeds.
POINT_WIDTH, METRIC_WIDTH, CONFIRMED_WIDTH = 46, 14, 24


@command(
    STUDY,
    option(
        "--all-metrics",
        "print every metric, not only objectives and constraints",
        action="store_true",
    ),
    option("--pick", f"print only the point picked by {PICKS}", metavar="SPEC"),
    STORE,
    JSON,
    examples=(
        "spikefront front digits",
        "spikefront front digits --all-metrics",
        'spikefront front digits --pick "accuracy>=0.9 best:synaptic_ops"',
    ),
)
def front(arguments: argparse.Namespace) -> int:
    """Print the Pareto front of a study: the operating points that no other one dominates."""
    output = Output(as_json=arguments.as_json)
    with Store(arguments.store, read_only=True) as store:
        stored = store.stored_study(arguments.study)
        study = stored.study()
        members = front_of_study(store, study)
        hypervolume = store.hypervolume(arguments.study)
        confirmed = store.confirmed(arguments.study)
        best = knee_of(members, study)
        if arguments.pick is not None:
            members = [picked(store, members, arguments.pick, study)]
        if not members:
            output.say(no_front(store, study))
        constant = constants(store, study, members)
    names = metrics_of(study, all_metrics=arguments.all_metrics)
    say_points(output, members, names, knee=best, confirmed=confirmed, metrics=study.metrics)
    for line in constant:
        output.say(line)
    output.document(
        {
            "study": stored.name,
            "objectives": stored.objectives,
            "hypervolume": hypervolume[-1].value if hypervolume else None,
            "pick": arguments.pick,
            "points": [
                point_document(member)
                | {
                    "is_knee": member is best,
                    "confirmed": confirmed_document(confirmed.get(member.point.id)),
                }
                for member in members
            ],
        }
    )
    return 0


Member = MergedPoint[StoredPoint]


def front_of_study(store: Store, study: Study) -> list[Member]:
    """Return the front of a study, equal operating points of equal trainings merged."""
    return in_order(store.operating_points(study.name, front_only=True), study)


def no_front(store: Store, study: Study) -> str:
    """Return why a study has no front: no complete trial, or constraints that no point meets."""
    points = [member.point for member in store.operating_points(study.name)]
    if not points:
        return f"{study.name} has no front yet: no trial is complete"
    missed = []
    for name, bound in study.constraints.items():
        values = [point.metrics.get(name, math.nan) for point in points]
        finite = [value for value in values if math.isfinite(value)]
        if not any(bound.violation(value) == 0 for value in values):
            closest = "not a number"
            if finite:
                closest = figure(name, min(finite, key=bound.violation), study.metrics)
            missed.append(f"{tables.limits(name, bound)} (closest: {closest})")
    if missed:
        return (
            f"{study.name} has no front: none of its {len(points)} operating points meets "
            f"[constraints]: {'; '.join(missed)}. Loosen the constraint, or widen [space]"
        )
    return (
        f"{study.name} has no front: no operating point meets all of [constraints] and has a "
        "finite value of every objective"
    )


def constants(store: Store, study: Study, members: Sequence[Member]) -> list[str]:
    """Return a line for each objective that is the same in all trials, and so decides nothing."""
    front = [member.point for member in members]
    if len(front) > 1 and not constant_objectives(front, study.objectives):
        return []  # without a look at all points
    found = constant_objectives(store.operating_points(study.name), study.objectives)
    return [
        f"objective {name} is {figure(name, value, study.metrics)} in every trial, so that it "
        "decides nothing: "
        "remove it from objectives, or vary an axis that changes it"
        for name, value in found.items()
    ]


def in_order(points: Sequence[StoredPoint], study: Study) -> list[Member]:
    """Merge equal operating points, and sort them with the best in the first objective first."""
    first = study.objectives[0]
    sign = study.metrics[first].sign
    return sorted(merge_equal(points), key=lambda member: sign * member.point.point.metrics[first])


def evenly(members: Sequence[Member], *, keeping: Member | None, rows: int = 20) -> list[Member]:
    """Return at most `rows` of a sorted front, evenly spaced, with both ends and `keeping`."""
    if len(members) <= rows:
        return list(members)
    last = len(members) - 1
    places = {round(step * last / (rows - 2)) for step in range(rows - 1)}
    return [m for place, m in enumerate(members) if place in places or m is keeping]


def knee_of(members: Sequence[Member], study: Study) -> Member | None:
    """Return the knee of a front; None while there is no front."""
    if not members:
        return None
    best = knee([member.point for member in members], study.objectives, study.metrics)
    return next(member for member in members if member.point is best)


def picked(store: Store, members: Sequence[Member], spec: str, study: Study) -> Member:
    """Return the member that `spec` picks. Raises InputError or PickError."""
    if not spec.strip():
        raise InputError(f"--pick: must be {PICKS}, got {spec!r}")
    if not members:
        raise InputError(no_front(store, study))
    best = pick([member.point for member in members], spec, study.objectives, study.metrics)
    return next(member for member in members if member.point is best)


def say_points(
    output: Output,
    members: Sequence[Member],
    names: Sequence[str],
    *,
    knee: Member | None = None,
    confirmed: Mapping[int, Confirmed] | None = None,
    metrics: Metrics = METRICS,
) -> None:
    """Print operating points with the metrics `names`, in several tables on a narrow terminal.

    The row of `knee` is marked; `confirmed` has results with other seeds by the ids of points.
    """
    if not members:
        return
    known = [(confirmed or {}).get(member.point.id) for member in members]
    shown = known if any(known) else []
    width = output.console.width - POINT_WIDTH - (CONFIRMED_WIDTH if shown else 0)
    fit = max(1, width // METRIC_WIDTH)
    for start in range(0, len(names), fit):
        table = tables.points_table(
            [member.point.point for member in members],
            names[start : start + fit],
            marks={index: "knee" for index, m in enumerate(members) if m is knee},
            trials=[", ".join(map(str, member.trials)) for member in members],
            confirmed=shown,
            metrics=metrics,
        )
        output.say(table)


def metrics_of(study: Study, *, all_metrics: bool = False) -> tuple[str, ...]:
    """Return the objectives and the constrained metrics of a study, on request all metrics."""
    asked = (*study.objectives, *study.constraints)
    return study.reported if all_metrics else tuple(dict.fromkeys(asked))


def point_document(member: Member) -> dict[str, object]:
    """Return an operating point for JSON, with the trials that have it."""
    point = member.point
    return {
        "trial": point.trial,
        "trials": member.trials,
        "params": point.params,
        **settings_document(point.point),
    }


def settings_document(point: "OperatingPoint") -> dict[str, object]:
    """Return an operating point, for JSON."""
    return {
        "timesteps": point.timesteps,
        "exit_thresholds": point.exit_thresholds,
        "detector_threshold": point.detector_threshold,
        "time_threshold": point.time_threshold,
        "blocks": point.blocks,
        "is_sampled": point.is_sampled,
        **({"label": point.label} if point.label else {}),
        "metrics": point.metrics,
    }
