"""`spikefront run`: search, and say what came of it."""

import argparse
import os
import shlex
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from search.commands import InputError, RunError
from search.commands.output import Output
from search.commands.train import check_device
from search.study.study import Study, load_study
from search.text.artifacts import check, is_remote, located
from search.text.requirements import is_there, needs
from search.trial.trial import TrialState

if TYPE_CHECKING:
    from search.runners.run import RunReport
    from search.store.store import Store


def run(arguments: argparse.Namespace) -> int:
    """Run a study to the end of its budget, or until Ctrl-C."""
    from search.runners.display import watch
    from search.runners.run import run_study
    from search.store.retry import usual_seconds
    from search.store.store import Store, StoreGoneError

    study = read_study(arguments)
    workers = study.budget.workers if arguments.workers is None else arguments.workers
    check_packages(workers=workers)
    check_datasets(study, arguments.data)
    check_artifacts(arguments.artifacts)
    if arguments.ray is None:
        check_device(arguments.device)
    else:  # a cluster may have what this machine has not
        from search.runners.ray_tune import check_address

        check_address(arguments.ray)
    usual_seconds()  # of waiting for the store: what is wrong with it is said before anything
    output = Output(as_json=arguments.as_json)
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
            output.note("stopped; the same command goes on from here")
            raise
        except StoreGoneError as gone:  # in the middle of it
            raise RunError(str(gone)) from gone
        _say_results(output, study, store, report, arguments)
        output.document(_document(study, store, report))
        return _exit_code(study, store, report)


def read_study(arguments: argparse.Namespace) -> Study:
    """The study of the command line: its file, with what was said anew."""
    names = [name for name, _ in arguments.sets]
    twice = [name for name, times in Counter(names).items() if times > 1]
    if twice:
        raise InputError(
            f"--set: {twice[0]} must be given once, got it {names.count(twice[0])} times"
        )
    if arguments.ray is not None and arguments.workers == 0:
        raise InputError("--ray: must not be given with --workers 0, which runs without Ray")
    study = load_study(arguments.study_file)
    return study.with_overrides(
        trials=arguments.trials, hours=arguments.hours, sets=dict(arguments.sets)
    )


def check_packages(*, workers: int) -> None:
    """Raises InputError for a package that no trial could do without."""
    for name in ("torch", "optuna", *(("ray",) if workers else ())):
        if not is_there(name):
            raise InputError(f"a search {needs(name)}")


def check_datasets(study: Study, root: Path) -> None:
    """Raises DataError unless every data set that a trial may ask for is there and whole."""
    from snn.data.image_files import SOURCES

    for name in datasets(study):
        SOURCES[name].check(root)
        if name != "digits":  # those come with a package, which has been checked
            SOURCES[name].read(root)


def check_artifacts(place: str) -> None:
    """Raises InputError or ArtifactError when no trial could leave its weights in `place`."""
    if not place:
        raise InputError("--artifacts: must be a folder or a URI, got ''")
    place = located(place)
    if is_remote(place):
        check(place)
        return
    folder = Path(place)
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    what = ""
    if not there.is_dir():
        what = "is a file"
    elif not os.access(there, os.W_OK | os.X_OK):
        what = "cannot be written"
    if what:
        raise InputError(
            f"--artifacts: must be a folder for trained weights, got {folder}, but {there} {what}"
        )


def datasets(study: Study) -> list[str]:
    """The data sets that trials of a study may ask for."""
    from search.study.axes import ExitAxis
    from snn.settings.config import RunConfig

    axis = study.space.axes.get("dataset")
    if axis is None or isinstance(axis, ExitAxis):
        return [str(study.run.get("dataset", RunConfig().dataset))]
    return [str(value) for value in axis.values]


def _say_results(
    output: Output, study: Study, store: "Store", report: "RunReport", arguments: argparse.Namespace
) -> None:
    from search.commands import tables
    from search.commands.front import in_order, knee_of, say_front, spread

    points = store.operating_points(study.name, front_only=True)
    output.say()
    knee = knee_of(points, study)
    shown = spread(in_order(points, study), keeping=knee)
    say_front(output, study, shown, knee=knee)
    if len(shown) < len(points):
        output.say(f"{len(shown)} of {len(points)} points; all: spikefront front {study.name}")
    output.say()
    output.say(f"{report.stopped or 'done'}; this run: {tables.counts(report.trials)}")
    if report.epochs_reused:
        output.say(f"epochs saved by blocks that were trained before: {report.epochs_reused}")
    output.say(_times(report))
    _say_failures(output, study, store, report)
    if points:
        store_option = _store_option(arguments.store, shown=store.url)
        output.say()
        output.say("next:")
        output.say(f"  spikefront export {study.name} --out runs/{study.name}-best{store_option}")
        output.say(f"  spikefront dashboard{store_option}")


def _times(report: "RunReport") -> str:
    from search.text.units import duration

    parts = [f"sampler {duration(report.sampler_s)}", f"store {duration(report.store_s)}"]
    workers = f"training {duration(report.training_s)}, evaluation {duration(report.evaluation_s)}"
    if report.sampler_waited_s < 0.9 * report.sampler_s:
        parts[0] += f" (waited for: {duration(report.sampler_waited_s)})"
    if report.ray_start_s:
        parts = [f"Ray's start {duration(report.ray_start_s)}", *parts]
        return f"time: {duration(report.total_s)}, of it {', '.join(parts)}; all workers: {workers}"
    known = report.training_s + report.evaluation_s + report.sampler_s + report.store_s
    rest = duration(max(0.0, report.total_s - known))
    return (
        f"time: {duration(report.total_s)}: {workers}, {', '.join(parts)}, loading and rest {rest}"
    )


def _say_failures(output: Output, study: Study, store: "Store", report: "RunReport") -> None:
    if not report.trials.get(TrialState.FAILED):
        return
    failed = [t for t in store.trials(study.name) if t.state is TrialState.FAILED]
    output.say(f"failed: trial {failed[-1].number}: {failed[-1].reason}")
    output.say(f"  spikefront show {study.name} {failed[-1].number}   # with its traceback")


def _store_option(url: str, *, shown: str) -> str:
    """How to name the store again, when it is not the one that commands look into by themselves."""
    from search.commands.options import DEFAULT_STORE, from_environment

    usual = from_environment("SPIKEFRONT_STORE", DEFAULT_STORE)
    return "" if url == usual else f" --store {shlex.quote(shown)}"  # its password masked


def _document(study: Study, store: "Store", report: "RunReport") -> dict[str, object]:
    from search.commands.front import in_order, knee_of, point_document

    points = store.operating_points(study.name, front_only=True)
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
        "front": [
            point_document(member) | {"is_knee": member is knee}
            for member in in_order(points, study)
        ],
    }


def _exit_code(study: Study, store: "Store", report: "RunReport") -> int:
    """1 when trials of this run failed until it gave up, or none came to more than that."""
    if report.has_given_up:
        print(f"spikefront: gave up, {report.stopped}", file=sys.stderr)
        return 1
    failed = report.trials.get(TrialState.FAILED, 0)
    if failed and failed == sum(report.trials.values()):
        print(f"spikefront: all {failed} trials of this run failed", file=sys.stderr)
        return 1
    return 0
