"""`spikefront confirm`: what members of a front are worth with other seeds, on the test images."""

import argparse
import sys
from typing import TYPE_CHECKING

from search.commands import InputError, tables
from search.commands.front import in_order, knee_of, point_document, say_front
from search.commands.options import PICKS
from search.commands.output import Output
from search.commands.run import check_artifacts, check_datasets, check_packages
from search.commands.train import check_device
from search.study.study import Study, study_from_toml
from search.text.units import duration
from search.trial.confirmation import confirmed_document
from search.trial.trial import TrialState

if TYPE_CHECKING:
    from search.runners.confirm import ConfirmReport
    from search.store.store import Store, StoredPoint


def confirm(arguments: argparse.Namespace) -> int:
    """Confirm a front, or until Ctrl-C."""
    from search.runners.confirm import confirm_study
    from search.runners.display import watch
    from search.store.retry import usual_seconds
    from search.store.store import Store

    output = Output(as_json=arguments.as_json)
    _check(arguments)
    usual_seconds()  # of waiting for the store: what is wrong with it is said before anything
    with Store(arguments.store) as store:
        stored = store.stored_study(arguments.study)
        study = study_from_toml(stored.toml, stored.name)
        check_packages(
            workers=study.budget.workers if arguments.workers is None else arguments.workers
        )
        check_datasets(study, arguments.data)
        try:
            with watch(quiet=arguments.quiet) as progress:
                report = confirm_study(
                    stored.name,
                    store=store,
                    artifacts=arguments.artifacts,
                    data_dir=arguments.data,
                    seeds=arguments.seeds,
                    picks=arguments.picks,
                    workers=arguments.workers,
                    ray_address=arguments.ray,
                    device=arguments.device,
                    progress=progress,
                )
        except KeyboardInterrupt:
            output.note("stopped; the same command goes on from here")
            raise
        front = store.operating_points(stored.name, front_only=True)
    _say(output, study, report, front)
    output.document(_document(store, study, report))
    return _exit_code(report)


def _check(arguments: argparse.Namespace) -> None:
    """Raises for what can be seen to be wrong before anything is opened."""
    for spec in arguments.picks:
        if not spec.strip():
            raise InputError(f"--pick: must be {PICKS}, got {spec!r}")
    if arguments.ray is not None and arguments.workers == 0:
        raise InputError("--ray: must not be given with --workers 0, which runs without Ray")
    check_artifacts(arguments.artifacts)
    if arguments.ray is None:
        check_device(arguments.device)
    else:  # a cluster may have what this machine has not
        from search.runners.ray_tune import check_address

        check_address(arguments.ray)


def _say(output: Output, study: Study, report: "ConfirmReport", front: "list[StoredPoint]") -> None:
    members = in_order(report.points, study)
    ids = {member.id for member in members}
    knee = next((m for m in members if m.id == _id(knee_of(front, study))), None)
    known = {point: confirmed for point, confirmed in report.confirmed.items() if point in ids}
    output.say()
    say_front(output, study, members, knee=knee, confirmed=known)
    output.say(
        "metrics are of the validation images and the seed that was found; test accuracy is the "
        "mean of networks trained anew, ± the standard deviation between their seeds"
    )
    done = tables.counts(report.trainings)
    output.say(f"{report.stopped or 'done'}; trainings of this run: {done}")
    output.say(
        f"time: {duration(report.total_s)}; all workers: training {duration(report.training_s)}, "
        f"evaluation {duration(report.evaluation_s)}"
    )
    for reason in _reasons(report):
        output.say(f"lost: {reason}")


def _id(member: "StoredPoint | None") -> int | None:
    return None if member is None else member.id


def _reasons(report: "ConfirmReport") -> list[str]:
    """Why seeds of the points gave no figures, each once."""
    lines = []
    for member in report.points:
        runs = report.confirmed[member.id].runs if member.id in report.confirmed else ()
        lines += [
            f"trial {member.trial} with seed {run.seed}: {run.reason}"
            for run in runs
            if run.state is not TrialState.COMPLETE
        ]
    return list(dict.fromkeys(lines))


def _document(store: "Store", study: Study, report: "ConfirmReport") -> dict[str, object]:
    return {
        "study": study.name,
        "store": store.url,
        "seeds": report.seeds,
        "stopped": report.stopped,
        "trainings": report.trainings,
        "seconds": {
            "total": report.total_s,
            "training": report.training_s,
            "evaluation": report.evaluation_s,
        },
        "points": [
            point_document(member)
            | {"confirmed": confirmed_document(report.confirmed.get(member.id))}
            for member in in_order(report.points, study)
        ],
    }


def _exit_code(report: "ConfirmReport") -> int:
    """1 when trainings of this run crashed and none came to more than that."""
    failed = report.trainings.get(TrialState.FAILED, 0)
    if failed and failed == sum(report.trainings.values()):
        print(f"spikefront: all {failed} trainings of this run failed", file=sys.stderr)
        return 1
    return 0
