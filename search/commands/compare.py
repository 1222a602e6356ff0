"""`spikefront compare`: studies by cost and by front, with one reference point for all."""

import argparse
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from rich.text import Text

from search.commands import InputError, tables
from search.commands.options import JSON, STORE, command, option
from search.commands.output import Output
from search.front.front import minimised, pareto_mask
from search.front.indicators import normalised_hypervolume, reference_point
from search.runners.budget_spent import busy_seconds
from search.store.store import Store, StoredPoint, StoredStudy
from search.text.units import duration, figure
from search.trial.trial import TrialState
from snn.settings.measurement import METRICS


@dataclass(frozen=True, kw_only=True)
class Side:
    """One study of a comparison."""

    study: str
    trials: int  # finished
    epochs: int  # trained
    hours: float  # in which at least one trial ran
    front: int  # operating points
    hypervolume: float  # of its front, from the reference that all share
    on_common_front: int  # points of its front that no point of another study dominates
    best: Mapping[str, float]  # by shared objective, of its front


@command(
    option("studies", "names of two or more studies in the store", metavar="STUDY", nargs="+"),
    STORE,
    JSON,
    examples=("spikefront compare digits my-study", "spikefront compare a b c --json"),
)
def compare(arguments: argparse.Namespace) -> int:
    """Compare studies: trials, epochs and time, and the hypervolume of their fronts.

    The hypervolume is over the objectives that all studies have, from one reference point.
    """
    output = Output(as_json=arguments.as_json)
    names = list(dict.fromkeys(arguments.studies))
    if len(names) < 2:
        raise InputError(f"compare: must name two or more studies, got {', '.join(names)}")
    with Store(arguments.store, read_only=True) as store:
        stored = [store.stored_study(name) for name in names]
        objectives = shared_objectives(stored)
        fronts = {name: store.operating_points(name, front_only=True) for name in names}
        reference = shared_reference(stored, fronts, objectives)
        owners = common_front(fronts, objectives)
        sides = [
            _side(store, name, fronts[name], objectives, reference, owners.get(name, 0))
            for name in names
        ]
    _say(output, sides, objectives)
    output.document({"objectives": objectives, "reference": reference, "studies": sides})
    return 0


def shared_objectives(studies: Sequence[StoredStudy]) -> tuple[str, ...]:
    """Return the shared objectives in the order of the first study. Raises InputError for none."""
    first, *others = studies
    shared = tuple(
        name for name in first.objectives if all(name in other.objectives for other in others)
    )
    if not shared:
        said = "; ".join(f"{study.name}: {', '.join(study.objectives)}" for study in studies)
        raise InputError(f"compare: studies must share an objective, got {said}")
    return shared


def shared_reference(
    studies: Sequence[StoredStudy],
    fronts: Mapping[str, Sequence[StoredPoint]],
    objectives: Sequence[str],
) -> dict[str, float]:
    """Return the worst of the studies' own reference points, or else that of all points."""
    own = [study.reference for study in studies if study.reference]
    if not own:
        return reference_point([point for front in fronts.values() for point in front], objectives)
    return {
        name: max((of[name] for of in own), key=lambda value: METRICS[name].sign * value)
        for name in objectives
    }


def common_front(
    fronts: Mapping[str, Sequence[StoredPoint]], objectives: Sequence[str]
) -> dict[str, int]:
    """Return the number of points that each study has on the front of all studies together."""
    owned = [(name, point) for name, front in fronts.items() for point in front]
    values = minimised([point for _, point in owned], objectives)
    finite = np.flatnonzero(np.isfinite(values).all(axis=1))
    members = finite[pareto_mask(values[finite])]
    return dict(Counter(owned[place][0] for place in members.tolist()))


def _side(
    store: Store,
    name: str,
    front: Sequence[StoredPoint],
    objectives: Sequence[str],
    reference: Mapping[str, float],
    on_common_front: int,
) -> Side:
    trials = [t for t in store.trials(name) if t.state.is_finished]
    best = {
        metric: min(
            (point.point.metrics[metric] for point in front),
            key=lambda value: METRICS[metric].sign * value,
        )
        for metric in (objectives if front else ())
    }
    return Side(
        study=name,
        trials=len([t for t in trials if t.state is not TrialState.FAILED]),
        epochs=sum(trial.epochs_done for trial in trials),
        hours=busy_seconds(trials) / 3600,
        front=len(front),
        hypervolume=normalised_hypervolume(front, objectives, reference) if front else 0.0,
        on_common_front=on_common_front,
        best=best,
    )


def _say(output: Output, sides: Sequence[Side], objectives: Sequence[str]) -> None:
    columns = ("study", "trials", "epochs", "time", "front", "hypervolume", "on common front")
    table = tables.plain_table(*columns, *(f"best {name}" for name in objectives), left=("study",))
    for side in sides:
        table.add_row(
            Text(side.study),
            str(side.trials),
            str(side.epochs),
            duration(3600 * side.hours),
            str(side.front),
            f"{side.hypervolume:.3f}",
            str(side.on_common_front),
            *(figure(name, side.best[name]) if side.best else "-" for name in objectives),
        )
    output.say(table)
    output.say("hypervolume: reference point is the worst of the studies' own")
