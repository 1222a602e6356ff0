"""`spikefront compare`: studies by cost and front, and groups of repeats by attainment surfaces."""

import argparse
import itertools
import json
import tomllib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from rich.text import Text

from search.commands import InputError, tables
from search.commands.options import JSON, STORE, command, option
from search.commands.output import Output
from search.front.attainment import LEVEL, GroupComparison, compare_groups, surfaces
from search.front.front import Floats, minimised, pareto_mask
from search.front.indicators import box_share, epsilon, igd_plus, in_box, reference_point
from search.front.merged import merge_equal
from search.runners.budget_spent import busy_seconds
from search.store.store import Store, StoredPoint, StoredStudy
from search.text.units import duration, figure
from search.trial.trial import TrialState
from snn.settings.measurement import Metrics

MOST_ROWS = 12  # of an attainment surface on the terminal; --json has all


@dataclass(frozen=True, kw_only=True)
class Side:
    """One study of a comparison."""

    study: str
    trials: int  # finished, failed ones not included
    epochs: int  # trained
    hours: float  # in which at least one trial ran
    front: int  # operating points
    hypervolume: float  # from the shared reference point, 0 to 1
    epsilon: float  # additive, of its front against the front of all studies, scaled; 0 is best
    igd_plus: float  # from the front of all studies, scaled; 0 is best
    on_common_front: int  # points of its front that no point of another study dominates
    best: Mapping[str, float]  # by shared objective, of its front


@dataclass(frozen=True, kw_only=True)
class Group:
    """Studies that ask the same question with other seeds, and what shares of them attain."""

    studies: tuple[str, ...]
    objectives: tuple[str, str]
    surfaces: Mapping[str, list[list[float]]]  # by share of the repeats; corners, in metric units


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Studies side by side, over the objectives that all of them have."""

    objectives: tuple[str, ...]
    metrics: Metrics  # that declare them
    reference: Mapping[str, float]  # of the hypervolume, by objective
    sides: tuple[Side, ...]
    groups: tuple[Group, ...]  # of repeats
    tests: tuple[tuple[tuple[str, ...], tuple[str, ...], GroupComparison], ...]


def compared(store: Store, names: Sequence[str]) -> Comparison:
    """Compare studies of a store. Raises InputError for fewer than two, or no shared objective."""
    if len(names) < 2:
        raise InputError(f"compare: must name two or more studies, got {', '.join(names)}")
    stored = [store.stored_study(name) for name in names]
    objectives = shared_objectives(stored)
    metrics = stored[0].metrics
    fronts = {name: store.operating_points(name, front_only=True) for name in names}
    reference = shared_reference(stored, fronts, objectives)
    sides = _sides(store, fronts, objectives, reference, metrics)
    pair = objectives[:2]
    groups = repeats(stored) if len(pair) == 2 else []
    values = {name: minimised(front, pair, metrics) for name, front in fronts.items()}
    several = [group for group in groups if len(group) > 1]
    tests = [
        (one, other, compare_groups([values[n] for n in one], [values[n] for n in other]))
        for one, other in itertools.combinations(several, 2)
    ]
    return Comparison(
        objectives=objectives,
        metrics=metrics,
        reference=reference,
        sides=tuple(sides),
        groups=tuple(_group(group, values, pair, metrics) for group in several),
        tests=tuple(tests),
    )


@command(
    option("studies", "names of two or more studies in the store", metavar="STUDY", nargs="+"),
    STORE,
    JSON,
    examples=(
        "spikefront compare digits my-study",
        "spikefront compare tpe-1 tpe-2 tpe-3 tpe-4 random-1 random-2 random-3 random-4 --json",
    ),
)
def compare(arguments: argparse.Namespace) -> int:
    """Compare studies: trials, epochs and time, and the quality of their fronts.

    Hypervolume, epsilon and IGD+ are over the objectives that all studies have. Studies that
    differ only in their name and seeds are repeats: a group of them has attainment surfaces,
    and two groups are tested for a difference. The test needs 4 repeats in each group.
    """
    output = Output(as_json=arguments.as_json)
    names = list(dict.fromkeys(arguments.studies))
    with Store(arguments.store, read_only=True) as store:
        found = compared(store, names)
    _say_sides(output, found.sides, found.objectives, found.metrics)
    for group in found.groups:
        _say_group(output, group, found.metrics)
    for one, other, test in found.tests:
        output.say(_test_result(one, other, test))
    output.document(
        {
            "objectives": found.objectives,
            "reference": found.reference,
            "studies": found.sides,
            "repeats": found.groups,
            "tests": [
                {"first": one, "second": other, "is_significant": test.is_significant}
                | {"result": test}
                for one, other, test in found.tests
            ],
        }
    )
    return 0


def shared_objectives(studies: Sequence[StoredStudy]) -> tuple[str, ...]:
    """Return the shared objectives in the order of the first study. Raises InputError for none."""
    first, *others = studies
    shared = tuple(
        name
        for name in first.objectives
        if all(
            name in other.objectives and other.metrics[name].is_counted_as(first.metrics[name])
            for other in others
        )
    )
    if not shared:
        found = "; ".join(f"{study.name}: {', '.join(study.objectives)}" for study in studies)
        raise InputError(f"compare: studies must share an objective, got {found}")
    return shared


def shared_reference(
    studies: Sequence[StoredStudy],
    fronts: Mapping[str, Sequence[StoredPoint]],
    objectives: Sequence[str],
) -> dict[str, float]:
    """Return the worst of the studies' own reference points, or else that of all points."""
    own = [study.reference for study in studies if study.reference]
    if not own:
        points = [point for front in fronts.values() for point in front]
        return reference_point(points, objectives, metrics=studies[0].metrics)
    return {
        name: max((of[name] for of in own), key=lambda v: studies[0].metrics[name].sign * v)
        for name in objectives
    }


def repeats(studies: Sequence[StoredStudy]) -> list[tuple[str, ...]]:
    """Return the names of the studies, grouped by their question: all but name and seeds."""
    groups: dict[str, list[str]] = {}
    for study in studies:
        groups.setdefault(_question(study.toml), []).append(study.name)
    return [tuple(group) for group in groups.values()]


def _question(toml: str) -> str:
    asked: dict[str, Any] = tomllib.loads(toml)
    asked.pop("name", None)
    for table in ("search", "run"):
        asked.get(table, {}).pop("seed", None)
        if not asked.get(table, True):  # a table of the seed alone
            del asked[table]
    return json.dumps(asked, sort_keys=True, default=str)


def _sides(
    store: Store,
    fronts: Mapping[str, Sequence[StoredPoint]],
    objectives: Sequence[str],
    reference: Mapping[str, float],
    metrics: Metrics,
) -> list[Side]:
    owned = [(name, m.point) for name, front in fronts.items() for m in merge_equal(front)]
    values = minimised([point for _, point in owned], objectives, metrics)
    mask = pareto_mask(values)
    on_front = Counter(name for (name, _), is_in in zip(owned, mask.tolist(), strict=True) if is_in)
    common = in_box(values[mask], objectives, reference, metrics)
    sides = []
    for name, front in fronts.items():
        trials = [t for t in store.trials(name) if t.state.is_finished]
        rows = in_box(minimised(front, objectives, metrics), objectives, reference, metrics)
        best = {
            metric: min(
                (point.point.metrics[metric] for point in front),
                key=lambda value: metrics[metric].sign * value,
            )
            for metric in (objectives if front else ())
        }
        side = Side(
            study=name,
            trials=len([t for t in trials if t.state is not TrialState.FAILED]),
            epochs=sum(trial.epochs_done for trial in trials),
            hours=busy_seconds(trials) / 3600,
            front=len(merge_equal(front)),
            hypervolume=box_share(rows),
            epsilon=epsilon(rows, common),
            igd_plus=igd_plus(rows, common),
            on_common_front=on_front[name],
            best=best,
        )
        sides.append(side)
    return sides


def _group(
    names: tuple[str, ...], values: Mapping[str, Floats], pair: tuple[str, ...], metrics: Metrics
) -> Group:
    signs = np.array([metrics[name].sign for name in pair], dtype=np.float64)
    found = surfaces([values[name] for name in names])
    return Group(
        studies=names,
        objectives=(pair[0], pair[1]),
        surfaces={f"{share:g}": (rows * signs).tolist() for share, rows in found.items()},
    )


def _say_sides(
    output: Output, sides: Sequence[Side], objectives: Sequence[str], metrics: Metrics
) -> None:
    table = tables.plain_table(
        "study",
        "trials",
        "epochs",
        "time",
        "front",
        "hypervolume",
        "epsilon",
        "IGD+",
        "on common front",
        *(f"best {name}" for name in objectives),
        left=("study",),
    )
    for side in sides:
        table.add_row(
            Text(side.study),
            str(side.trials),
            str(side.epochs),
            duration(3600 * side.hours),
            str(side.front),
            f"{side.hypervolume:.3f}",
            f"{side.epsilon:.3f}" if side.front else "-",
            f"{side.igd_plus:.4f}" if side.front else "-",
            str(side.on_common_front),
            *(figure(name, side.best[name], metrics) if side.best else "-" for name in objectives),
        )
    output.say(table)
    output.say(
        "hypervolume (larger is better): reference point is the worst of the studies' own; epsilon "
        "and IGD+ (smaller is better): distance from the front of all studies together"
    )


def _say_group(output: Output, group: Group, metrics: Metrics) -> None:
    """Print the median surface and its band: the cost of each level of the first objective."""
    first, second = group.objectives
    sign, cost_sign = metrics[first].sign, metrics[second].sign
    shares = list(group.surfaces)
    table = tables.plain_table(
        first,
        *(f"{second}, {float(share):.0%} of repeats" for share in shares),
        title=f"Attainment of {len(group.studies)} repeats: {', '.join(group.studies)}",
    )
    levels = [corner[0] for corner in group.surfaces["0.5"]]
    step = max(1, -(-len(levels) // MOST_ROWS))
    for level in levels[::step]:
        cells = []
        for share in shares:
            costs = [
                cost_sign * cost for at, cost in group.surfaces[share] if sign * at <= sign * level
            ]
            cells.append(figure(second, cost_sign * min(costs), metrics) if costs else "-")
        table.add_row(figure(first, level, metrics), *cells)
    output.say()
    output.say(table)
    output.say(
        f"row: the {second} with which this share of the repeats reaches this {first} or better"
    )


def _test_result(one: Sequence[str], other: Sequence[str], test: GroupComparison) -> str:
    """Return the result of the permutation test of two groups as a sentence."""
    pair = f"{', '.join(one)} against {', '.join(other)}"
    if test.smallest_p >= LEVEL:
        return (
            f"{pair}: too few repeats for a test ({len(one)} and {len(other)}); a difference can "
            f"be significant from {test.repeats_needed} repeats in each group"
        )
    better = {"first": one, "second": other, None: ()}[test.better]
    if test.is_significant and better:
        result = f"the group of {better[0]} is better"
    elif test.is_significant:
        result = "the groups differ, each is better on a part of the front"
    else:
        result = "no significant difference"
    count = "all" if test.is_exact else "random"
    return (
        f"{pair}: {result} (p = {test.p_value:.3g}, permutation test of the attainment surfaces, "
        f"{count} {test.assignments} assignments)"
    )
