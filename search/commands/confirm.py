"""`spikefront confirm`: members of a front trained with other seeds, on the test images."""

import argparse
import sys
from typing import TYPE_CHECKING

from search.commands import InputError, tables
from search.commands.front import (
    front_of_study,
    in_order,
    knee_of,
    metrics_of,
    point_document,
    say_points,
)
from search.commands.options import (
    ARTIFACTS,
    DATA,
    DEVICE_OF_STUDY,
    JSON,
    LOGS,
    PICKS,
    RAY,
    STORE,
    STUDY,
    WORKERS,
    command,
    option,
    positive_integer,
)
from search.commands.output import Output
from search.commands.run import check_datasets, check_packages, check_places
from search.study.study import Study
from search.text.units import duration
from search.trial.confirmation import confirmed_document
from search.trial.trial import TrialState
from snn.settings.setting import all_of

if TYPE_CHECKING:
    from search.runners.confirm import ConfirmReport
    from search.store.store import Store, StoredPoint


@command(
    STUDY,
    option(
        "--seeds",
        "seeds of each point in total, those of earlier confirmations included "
        "(default: %(default)s)",
        metavar="N",
        type=positive_integer,
        default=3,
    ),
    option(
        "--pick",
        f"only the point picked by {PICKS}; may be repeated (default: the whole front)",
        metavar="SPEC",
        dest="picks",
        action="append",
        default=[],
    ),
    STORE,
    ARTIFACTS,
    DATA,
    WORKERS,
    RAY,
    DEVICE_OF_STUDY,
    LOGS,
    JSON,
    examples=(
        "spikefront confirm digits",
        "spikefront confirm digits --pick knee --pick best:accuracy --seeds 5",
        "spikefront confirm digits --workers 0",
    ),
)
def confirm(arguments: argparse.Namespace) -> int:
    """Train members of a front again with new seeds and run them on the test images.

    Stores mean and standard deviation of every metric. Seeds that were trained before are
    not trained again.
    """
    from search.runners.confirm import confirm_study
    from search.runners.display import watch
    from search.store.retry import usual_seconds
    from search.store.store import Store

    output = Output(as_json=arguments.as_json)
    for spec in arguments.picks:
        if not spec.strip():
            raise InputError(f"--pick: must be {PICKS}, got {spec!r}")
    check_places(arguments)
    usual_seconds()  # raises for a wrong SPIKEFRONT_STORE_WAIT_S, before anything starts
    with Store(arguments.store) as store:
        stored = store.stored_study(arguments.study)
        study = stored.study()
        check_packages(
            workers=study.budget.workers if arguments.workers is None else arguments.workers,
            is_own=study.train is not None,
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
            output.note("stopped; the same command continues from here")
            raise
        knee = knee_of(front_of_study(store, study), study)
    _say(output, study, report, None if knee is None else knee.point)
    output.document(_document(store, study, report))
    return _exit_code(report)


def _say(output: Output, study: Study, report: "ConfirmReport", knee: "StoredPoint | None") -> None:
    members = in_order(report.points, study)
    marked = next((m for m in members if knee is not None and m.point.id == knee.id), None)
    output.say()
    say_points(
        output,
        members,
        metrics_of(study),
        knee=marked,
        confirmed=report.confirmed,
        metrics=study.metrics,
    )
    output.say(
        "metrics: validation images, seed of the search; test accuracy: mean of the networks "
        "trained again, ± standard deviation over their seeds"
    )
    done = tables.counts(report.trainings)
    output.say(f"{report.stopped or 'done'}; trainings of this run: {done}")
    output.say(
        f"time: {duration(report.total_s)}; all workers: training {duration(report.training_s)}, "
        f"evaluation {duration(report.evaluation_s)}"
    )
    for reason in _reasons(report):
        output.say(f"lost: {reason}")


def _reasons(report: "ConfirmReport") -> list[str]:
    """Return why seeds of the points have no metrics, each reason once."""
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
            | {"confirmed": confirmed_document(report.confirmed.get(member.point.id))}
            for member in in_order(report.points, study)
        ],
    }


def _exit_code(report: "ConfirmReport") -> int:
    """Return 1 if every training of this run failed."""
    failed = report.trainings.get(TrialState.FAILED, 0)
    if failed and failed == sum(report.trainings.values()):
        print(f"spikefront: {all_of(failed, 'training')} of this run failed", file=sys.stderr)
        return 1
    return 0
