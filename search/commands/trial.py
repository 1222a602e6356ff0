"""`spikefront show`: everything that the store has about one trial."""

import argparse
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rich.text import Text

from search.commands import tables
from search.commands.front import in_order, metrics_of, say_points, settings_document
from search.commands.options import JSON, STORE, STUDY, command, natural, option
from search.commands.output import Output
from search.store.store import Store, StoredPoint
from search.study.study import Study
from search.text.units import duration, moment
from search.trial.confirmation import Confirmed, confirmed_document
from search.trial.function_config import FunctionConfig
from search.trial.rung import RungReport
from search.trial.trial import Trial
from snn.settings.setting import counted

if TYPE_CHECKING:
    from snn.settings.measurement import Evaluation, Measurement, OperatingPoint


@command(
    STUDY,
    option("trial", "number of a trial, from 0", metavar="TRIAL", type=natural),
    STORE,
    JSON,
    examples=("spikefront show digits 3", "spikefront show digits 3 --json"),
)
def show(arguments: argparse.Namespace) -> int:
    """Show one trial: parameters, curves, operating points, layers and exits, or its error."""
    output = Output(as_json=arguments.as_json)
    with Store(arguments.store, read_only=True) as store:
        stored = store.stored_study(arguments.study)
        trial = store.trial(arguments.study, arguments.trial)
        measurements = store.measurements(arguments.study, arguments.trial)
        points = store.operating_points(arguments.study, arguments.trial)
        evaluation = store.evaluation(arguments.study, arguments.trial)
        confirmed = store.confirmed(arguments.study)
        rungs = store.rungs(arguments.study, arguments.trial)
        equal = _equal_trials(store, stored.name, trial)
    study = stored.study()
    _say_trial(output, study, trial, equal)
    if measurements:
        is_own = study.train is not None
        output.say(
            tables.reported_table(measurements, study.metrics)
            if is_own
            else tables.curves_table(measurements)
        )
    if rungs:
        output.say(tables.rungs_table(rungs, stopped_at=trial.stopped_rung, metrics=study.metrics))
    if trial.sampled is not None:
        _say_points(output, study, trial.sampled, points, confirmed)
    if evaluation is not None and study.train is None:
        output.say(tables.layers_table(evaluation.layers))
        output.say(tables.exits_table(evaluation.exits))
    if trial.error:
        output.say(Text(trial.error.rstrip(), style="red"))
    document = _trial_document(study, trial, measurements, points, evaluation, confirmed)
    document["rungs"] = [_rung_document(report) for report in rungs]
    output.document(document | {"same_training": equal})
    return 0


def _equal_trials(store: Store, study: str, trial: Trial) -> tuple[int, ...]:
    """Return the other complete trials of the same training."""
    if trial.config is None or trial.sampled is None:
        return ()
    found = store.trials_of_training(study, trial.config.training_fingerprint)
    return tuple(number for number in found if number != trial.number)


def _say_trial(output: Output, study: Study, trial: Trial, equal: Sequence[int]) -> None:
    pairs: dict[str, object] = {
        "state": trial.state.value + (f": {trial.reason}" if trial.reason else ""),
        "epochs trained": trial.epochs_done,
        "epochs reused": trial.epochs_reused,
        "training": duration(trial.timings.training_s),
        "evaluation": duration(trial.timings.evaluation_s),
        "started": moment(trial.started_at),
        "finished": moment(trial.finished_at),
    }
    if trial.reused_trial is not None:
        pairs["weights"] = f"copied from trial {trial.reused_trial}, which is the same training"
    if equal:
        trials = ", ".join(map(str, equal))
        pairs["same training"] = f"{'trials' if len(equal) > 1 else 'trial'} {trials}"
    if trial.constraint_violation > 0:
        pairs["constraint violation"] = f"{trial.constraint_violation:.4g} (0: all constraints met)"
    if trial.artifact is not None:
        pairs["weights file" if study.train is None else "files"] = trial.artifact.uri
    output.say(tables.pairs_table(pairs, title=f"{study.name}, trial {trial.number}"))
    output.say()
    output.say(tables.pairs_table(trial.params, title="Parameters"))
    if trial.config is not None:
        values = trial.config.to_mapping()
        if isinstance(trial.config, FunctionConfig):
            values = {**{n: v for n, v in values.items() if n != "params"}, **trial.config.params}
        rest = _shared(values, trial.params)
        output.say()
        output.say(tables.pairs_table(rest, title="All other settings"))


def _shared(values: Mapping[str, object], params: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in values.items() if name not in params}


def _say_points(
    output: Output,
    study: Study,
    sampled: "OperatingPoint",
    points: Sequence[StoredPoint],
    confirmed: Mapping[int, Confirmed],
) -> None:
    title = (
        f"Sampled operating point: {counted(sampled.timesteps, 'timestep')}, "
        f"exit threshold {tables.thresholds(sampled)}"
    )
    metrics: Mapping[str, float] = sampled.metrics
    if study.train is not None:
        title = "Reported"
        metrics = {name: value for name, value in metrics.items() if value == value}
    output.say(tables.metrics_table(metrics, title=title, declared=study.metrics))
    if len(points) > 1 or confirmed.keys() & {member.id for member in points}:
        output.say(Text("Operating points of this network", style="bold"))
        say_points(
            output,
            in_order(points, study),
            metrics_of(study),
            confirmed=confirmed,
            metrics=study.metrics,
        )


def _trial_document(
    study: Study,
    trial: Trial,
    measurements: "Sequence[Measurement]",
    points: Sequence[StoredPoint],
    evaluation: "Evaluation | None",
    confirmed: Mapping[int, Confirmed],
) -> dict[str, object]:
    return {
        "study": study.name,
        "trial": trial.number,
        "state": trial.state,
        "reason": trial.reason,
        "error": trial.error,
        "params": trial.params,
        "config": trial.config.to_mapping() if trial.config else None,
        "constraint_violation": trial.constraint_violation,
        "epochs_done": trial.epochs_done,
        "epochs_reused": trial.epochs_reused,
        "reused_trial": trial.reused_trial,
        "timings": trial.timings,
        "artifact": trial.artifact,
        "created_at": trial.created_at,
        "started_at": trial.started_at,
        "finished_at": trial.finished_at,
        "stopped_rung": trial.stopped_rung,
        "measurements": measurements,
        "points": [
            settings_document(m.point)
            | {"on_front": m.on_front, "confirmed": confirmed_document(confirmed.get(m.id))}
            for m in points
        ],
        "layers": evaluation.layers if evaluation else [],
        "exits": evaluation.exits if evaluation else [],
        "images": evaluation.images if evaluation else None,
    }


def _rung_document(report: RungReport) -> dict[str, object]:
    return {
        "rung": report.rung,
        "epochs_done": report.epochs_done,
        "epochs_total": report.epochs_total,
        "points": report.points,
    }
