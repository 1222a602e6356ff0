"""`spikefront run`: search the space of a study."""

import argparse
import os
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from search.commands import InputError, RunError, tables
from search.commands.options import (
    ARTIFACTS,
    DATA,
    DEVICE_OF_STUDY,
    JSON,
    LOGS,
    RAY,
    STORE,
    STUDY_FILE,
    WORKERS,
    command,
    option,
    positive_integer,
    positive_real,
    same_places,
)
from search.commands.output import Output
from search.study.study import Study, load_study
from search.text.artifacts import check, is_remote, located
from search.text.requirements import is_there, needs
from search.text.units import duration
from search.trial.trial import TrialState
from snn.settings.setting import all_of, counted

if TYPE_CHECKING:
    from search.runners.run import RunReport
    from search.store.store import Store


def assignment(text: str) -> tuple[str, str]:
    """Read `AXIS=VALUE`; the axis reads the value."""
    name, equals, value = (part.strip() for part in text.partition("="))
    if not equals or not name or not value:
        raise argparse.ArgumentTypeError(f"must be written AXIS=VALUE, like width=8, got {text!r}")
    return name, value


@command(
    STUDY_FILE,
    STORE,
    ARTIFACTS,
    DATA,
    option(
        "--trials",
        "trials of the study in total, instead of the number in its file",
        metavar="N",
        type=positive_integer,
    ),
    option(
        "--hours",
        "hours after which no trial starts, instead of the number in the file",
        metavar="H",
        type=positive_real,
    ),
    WORKERS,
    RAY,
    option(
        "--set",
        "fix an axis or a run setting; may be repeated",
        metavar="AXIS=VALUE",
        dest="sets",
        action="append",
        default=[],
        type=assignment,
    ),
    DEVICE_OF_STUDY,
    LOGS,
    JSON,
    examples=(
        "spikefront run studies/digits.toml",
        "spikefront run studies/digits.toml --workers 0 --trials 4",
        "spikefront run studies/digits.toml --hours 0.5 --set width=8 --set time_rule=bptt",
    ),
)
def run(arguments: argparse.Namespace) -> int:
    """Search the space of a study file and keep every trial in the store.

    A study that is in the store continues where it stopped.
    """
    from search.runners.display import watch
    from search.runners.run import run_study
    from search.store.retry import usual_seconds
    from search.store.store import Store, StoreGoneError

    check_places(arguments)
    output = Output(as_json=arguments.as_json)
    study = read_study(arguments, output)
    check_packages(
        workers=study.budget.workers if arguments.workers is None else arguments.workers,
        is_own=study.train is not None,
    )
    suspicions = check_datasets(study, arguments.data)
    usual_seconds()  # raises for a wrong SPIKEFRONT_STORE_WAIT_S, before anything starts
    for line in suspicions:
        output.note(line)
    with Store(arguments.store) as store:
        try:
            with watch(quiet=arguments.quiet) as progress:
                report = run_study(
                    study,
                    store=store,
                    artifacts=arguments.artifacts,
                    data_dir=arguments.data,
                    workers=arguments.workers,
                    ray_address=arguments.ray,
                    device=arguments.device,
                    progress=progress,
                )
        except KeyboardInterrupt:
            output.note("stopped; the same command continues from here")
            raise
        except StoreGoneError as gone:  # lost during the run
            raise RunError(str(gone)) from gone
        _say_results(output, study, store, report, arguments)
        output.document(_document(study, store, report))
        return _exit_code(report)


def read_study(arguments: argparse.Namespace, output: Output) -> Study:
    """Return the study of the file, changed by --trials, --hours and --set.

    Notes how many initial points are left out, because they have other values.
    """
    names = [name for name, _ in arguments.sets]
    twice = [name for name, times in Counter(names).items() if times > 1]
    if twice:
        raise InputError(
            f"--set: {twice[0]} must be given once, got it {names.count(twice[0])} times"
        )
    asked = load_study(arguments.study_file)
    study = asked.with_overrides(
        trials=arguments.trials, hours=arguments.hours, sets=dict(arguments.sets)
    )
    before, after = (len(one.search.initial_points) for one in (asked, study))
    if after < before:
        output.note(
            f"--set: {before - after} of {before} initial points of the study do not go with "
            f"{', '.join(names)} and are not tried"
        )
    return study


def check_packages(*, workers: int, is_own: bool = False) -> None:
    """Raise InputError for a missing package that every trial needs; an own one needs no torch."""
    for name in (*(() if is_own else ("torch",)), "optuna", *(("ray",) if workers else ())):
        if not is_there(name):
            raise InputError(f"a search {needs(name)}")


def check_datasets(study: Study, root: Path) -> list[str]:
    """Read every data set of the study's space; return a line per suspicious property.

    Raises DataError for a data set that is missing or damaged.
    """
    from search.study.remarks import remarks

    if study.train is not None:  # which reads its data itself
        return []
    names = datasets_of(study)
    found = [line for name in names for line in check_dataset(name, root)]
    return [*found, *remarks(study, names)]


def check_dataset(name: str, root: Path) -> list[str]:
    """Read a data set; return a line per suspicious property. Raises DataError.

    The store of recordings is built here, once, before any worker maps it.
    """
    from snn.data.events import own, report
    from snn.data.events.store import open_store
    from snn.data.image_files import SOURCES, suspicions

    if name in own.SOURCES:
        return report.suspicions(open_store(own.SOURCES[name].layout(root)), name)
    SOURCES[name].check(root)
    if name == "digits":  # part of scikit-learn
        return []
    return suspicions(name, *SOURCES[name].read(root), SOURCES[name].classes)


def datasets_of(study: Study) -> list[str]:
    """Return the data sets of the study's space."""
    from search.study.axes import ExitAxis
    from snn.settings.config import RunConfig

    axis = study.space.axes.get("dataset")
    if axis is None or isinstance(axis, ExitAxis):
        return [str(study.run.get("dataset", RunConfig().dataset))]
    return [str(value) for value in axis.values]


def check_places(arguments: argparse.Namespace) -> None:
    """Raise InputError, ArtifactError or RayError where no training could run or store weights."""
    if arguments.ray is not None and arguments.workers == 0:
        raise InputError("--ray: must not be given with --workers 0, which runs without Ray")
    _check_artifacts(arguments.artifacts)
    if arguments.ray is None:
        check_device(arguments.device)
    else:  # nodes of a cluster may have a GPU where this machine has none
        from search.runners.ray_tune import check_address

        check_address(arguments.ray)


def _check_artifacts(place: str) -> None:
    if not place:
        raise InputError("--artifacts: must be a folder or a URI, got ''")
    place = located(place)
    if is_remote(place):
        check(place)
        return
    folder = Path(place)
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    fault = ""
    if not there.is_dir():
        fault = "is a file"
    elif not os.access(there, os.W_OK | os.X_OK):
        fault = "cannot be written"
    if fault:
        raise InputError(
            f"--artifacts: must be a folder for trained weights, got {folder}, but {there} {fault}"
        )


def check_device(device: str | None) -> None:
    """Raise InputError for cuda without a GPU."""
    if device == "cuda":
        from search.worker.engine import pick_device

        if pick_device("auto") != "cuda":
            raise InputError(
                "--device: cuda needs a GPU that torch can use, got none; see `spikefront doctor`"
            )


def _say_results(
    output: Output, study: Study, store: "Store", report: "RunReport", arguments: argparse.Namespace
) -> None:
    from search.commands.front import (
        constants,
        evenly,
        front_of_study,
        knee_of,
        metrics_of,
        no_front,
        say_points,
    )

    points = front_of_study(store, study)
    in_store = same_places(arguments, "store")
    output.say()
    knee = knee_of(points, study)
    shown = evenly(points, keeping=knee)
    say_points(output, shown, metrics_of(study), knee=knee, metrics=study.metrics)
    if not points:
        output.say(no_front(store, study))
    for line in constants(store, study, points):
        output.say(line)
    if len(shown) < len(points):
        output.say(
            f"{len(shown)} of {counted(len(points), 'point')}; "
            f"all: spikefront front {study.name}{in_store}"
        )
    output.say()
    output.say(f"{report.stopped or 'done'}; this run: {tables.counts(report.trials)}")
    if report.epochs_reused:
        output.say(f"{counted(report.epochs_reused, 'epoch')} reused from cached blocks")
    output.say(_times(report))
    failed = [t for t in store.trials(study.name) if t.state is TrialState.FAILED]
    if report.trials.get(TrialState.FAILED) and failed:
        output.say(f"failed: trial {failed[-1].number}: {failed[-1].reason}")
        output.say(
            f"  spikefront show {study.name} {failed[-1].number}{in_store}   # with its traceback"
        )
    if not report.trials:
        _say_how_to_continue(output, study, store, arguments)
    if knee is not None:
        from search.export.export import weights_problem

        here = same_places(arguments, "data", "store")
        lost = weights_problem(store.trial(study.name, knee.point.trial))
        output.say()
        if lost is not None:
            output.say(f"the knee cannot be exported: {lost}")
        output.say("next:")
        if lost is None:
            output.say(f"  spikefront export {study.name} --out runs/{study.name}-best{here}")
        output.say(f"  spikefront dashboard{in_store}")


def _say_how_to_continue(
    output: Output, study: Study, store: "Store", arguments: argparse.Namespace
) -> None:
    """Print how to raise a budget that earlier runs have spent."""
    from search.runners.budget_spent import BudgetSpent
    from search.study.tables import Budget

    trials = store.trials(study.name)
    if not BudgetSpent(study.budget, trials).spent():
        return
    places = same_places(arguments, "store", "artifacts", "data")
    again = f"spikefront run {arguments.study_file}{places}"
    output.say("nothing was trained: earlier runs have spent the budget of this study")
    output.say("to continue the search, raise [budget] in the study file, or for example:")
    # of the parts that are spent: a larger one of the others changes nothing
    budget, finished = study.budget, [trial for trial in trials if trial.state.is_finished]
    if budget.trials is not None and len(finished) >= budget.trials:
        again += f" --trials {2 * len(finished)}"
    if budget.hours is not None and BudgetSpent(Budget(hours=budget.hours), trials).spent():
        again += f" --hours {2 * budget.hours:g}"
    if budget.epochs is not None and BudgetSpent(Budget(epochs=budget.epochs), trials).spent():
        again += f"   # with more epochs in [budget] than {budget.epochs}"
    output.say(f"  {again}")


def _times(report: "RunReport") -> str:
    parts = [f"sampler {duration(report.sampler_s)}", f"store {duration(report.store_s)}"]
    workers = f"training {duration(report.training_s)}, evaluation {duration(report.evaluation_s)}"
    if report.sampler_waited_s < 0.9 * report.sampler_s:
        parts[0] += f" (trials waited for {duration(report.sampler_waited_s)} of it)"
    if report.ray_start_s:
        parts = [f"start of Ray {duration(report.ray_start_s)}", *parts]
        return (
            f"time: {duration(report.total_s)}, including {', '.join(parts)}; "
            f"all workers: {workers}"
        )
    known = report.training_s + report.evaluation_s + report.sampler_s + report.store_s
    rest = duration(max(0.0, report.total_s - known))
    return (
        f"time: {duration(report.total_s)}: {workers}, {', '.join(parts)}, loading and rest {rest}"
    )


def _document(study: Study, store: "Store", report: "RunReport") -> dict[str, object]:
    from search.commands.front import front_of_study, knee_of, point_document

    points = front_of_study(store, study)
    knee = knee_of(points, study)
    hypervolume = store.hypervolume(study.name)
    return {
        "study": study.name,
        "store": store.url,
        "objectives": study.objectives,
        "stopped": report.stopped,
        "trials": report.trials,
        "epochs_reused": report.epochs_reused,
        "seconds": {
            "total": report.total_s,
            "ray_start": report.ray_start_s,
            "training": report.training_s,
            "evaluation": report.evaluation_s,
            "sampler": report.sampler_s,
            "sampler_waited": report.sampler_waited_s,
            "store": report.store_s,
        },
        "hypervolume": hypervolume[-1].value if hypervolume else None,
        "front": [point_document(member) | {"is_knee": member is knee} for member in points],
    }


def _exit_code(report: "RunReport") -> int:
    """Return 1 if the run gave up, or if every trial of this run failed."""
    if report.has_given_up:
        print(f"spikefront: gave up, {report.stopped}", file=sys.stderr)
        return 1
    if report.without_weights:
        print(
            f"spikefront: the weights of {counted(report.without_weights, 'trial')} could not be "
            "saved, so they cannot be exported; free space in --artifacts, then continue with the "
            "same command: it trains them again",
            file=sys.stderr,
        )
        return 1
    failed = report.trials.get(TrialState.FAILED, 0)
    if failed and failed == sum(report.trials.values()):
        print(f"spikefront: {all_of(failed, 'trial')} of this run failed", file=sys.stderr)
        return 1
    return 0
