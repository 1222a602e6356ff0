"""`spikefront export`: an operating point as a folder, or a whole study for Optuna."""

import argparse
import shlex
from typing import TYPE_CHECKING

from search.commands import InputError, tables
from search.commands.options import (
    DATA,
    JSON,
    PICKS,
    STORE,
    STUDY,
    command,
    natural,
    option,
    path,
    same_places,
)
from search.commands.output import Output
from search.export.folder import check_target
from search.text.requirements import is_there, needs
from search.text.units import percent
from snn.settings.datasets import sample_of
from snn.settings.setting import counted

if TYPE_CHECKING:
    from search.export.export import Exported
    from search.store.store import Store, StoredPoint
    from search.study.study import Study


@command(
    STUDY,
    option(
        "--trial",
        "export the sampled operating point of this trial, or with --pick the pick among the "
        "trial's points",
        metavar="N",
        type=natural,
    ),
    option("--pick", f"point of the front: {PICKS} (default: knee)", metavar="SPEC"),
    option("--out", "folder to write", metavar="DIR", type=path),
    option(
        "--optuna",
        "write the whole study to an Optuna storage instead: URL#NAME, or URL to keep its name",
        metavar="URL",
    ),
    option(
        "--force",
        "replace --out if it is an exported folder, or the study of --optuna if spikefront wrote "
        "it",
        action="store_true",
    ),
    option(
        "--nir", "also write NIR graphs for other simulators, one per exit", action="store_true"
    ),
    option(
        "--nir-form",
        "with --nir: plain, or norse, which uses neither average pools nor LIF nodes "
        "(default: plain)",
        choices=("plain", "norse"),
    ),
    option("--test", "also run the network on the test images", action="store_true"),
    DATA,
    STORE,
    JSON,
    examples=(
        "spikefront export digits --out runs/digits-best",
        "spikefront export digits --pick best:accuracy --out best --test",
        "spikefront export digits --trial 3 --out runs/trial-3",
        "spikefront export digits --out runs/digits-nir --nir",
        "spikefront export digits --optuna sqlite:///optuna.db",
    ),
)
def export(arguments: argparse.Namespace) -> int:
    """Write an operating point as a folder with config, weights, metrics and a model card.

    The folder runs without the store. With --optuna, write the whole study for Optuna.
    """
    from search.export.export import export_point
    from search.store.store import Store

    if arguments.optuna is not None:
        return _export_study(arguments)
    if arguments.out is None:
        raise InputError("--out: must name the folder to write; or --optuna an Optuna storage")
    output = Output(as_json=arguments.as_json)
    check_target(arguments.out, force=arguments.force)
    if arguments.nir_form is not None and not arguments.nir:
        raise InputError("--nir-form: has an effect only with --nir; add it")
    if arguments.nir and not is_there("nir"):
        raise InputError(f"--nir: {needs('nir')}")
    with Store(arguments.store, read_only=True) as store:
        point = _asked_point(store, arguments)
        study = store.stored_study(arguments.study).study()
        if study.train is not None:
            return _export_files(output, store, study, point, arguments)
        exported = export_point(
            store,
            arguments.study,
            point,
            arguments.out,
            data_dir=arguments.data,
            force=arguments.force,
            test=arguments.test,
            nir_form=(arguments.nir_form or "plain") if arguments.nir else None,
        )
    say_exported(output, exported, arguments)
    output.document(exported_document(exported))
    return 0


def _asked_point(store: "Store", arguments: argparse.Namespace) -> "StoredPoint":
    """Return the point that --trial and --pick name."""
    from search.commands.front import front_of_study, in_order, picked

    name = arguments.study
    study = store.stored_study(name).study()
    if arguments.trial is None:
        members = front_of_study(store, study)
        spec = "knee" if arguments.pick is None else arguments.pick
        return picked(store, members, spec, study).point
    trial = store.trial(name, arguments.trial)
    points = store.operating_points(name, trial.number)
    if not points:
        reason = f" ({trial.reason})" if trial.reason else ""
        raise InputError(
            f"trial {trial.number} of {name} is {trial.state.value}{reason} and has no operating "
            "point; choose a trial that is complete"
        )
    if arguments.pick is not None:
        return picked(store, in_order(points, study), arguments.pick, study).point
    return next(point for point in points if point.point.is_sampled)


def _export_files(
    output: Output,
    store: "Store",
    study: "Study",
    point: "StoredPoint",
    arguments: argparse.Namespace,
) -> int:
    """Write the files of an own training."""
    from search.export.own_files import export_files

    for name in ("nir", "test"):
        if getattr(arguments, name):
            raise InputError(
                f"--{name}: needs a network of the engine, and {study.name} is the own training "
                f"{study.train}; `spikefront confirm` runs it on test data"
            )
    exported = export_files(store, study, point, arguments.out, force=arguments.force)
    output.say(
        f"{exported.path}: trial {point.trial} of {study.name}, "
        f"{counted(len(exported.files), 'file')} of {study.train}"
    )
    output.document({"path": exported.path, "files": exported.files, "metrics": exported.document})
    return 0


def say_exported(output: Output, exported: "Exported", arguments: argparse.Namespace) -> None:
    """Print the content of an exported folder, and the command that runs it."""
    content = exported.content
    source = "a network trained without a search"
    if content.origin.study is not None:
        source = f"trial {content.origin.trial} of {content.origin.study}"
    point = content.point
    exits = tables.thresholds(point)
    output.say(
        f"{exported.path}: {source}; {counted(point.blocks, 'block')}, "
        f"{counted(point.timesteps, 'timestep')}, "
        + ("no early exit" if exits == "-" else f"exit threshold {exits}")
    )
    columns = {"validation": point.metrics}
    if content.test is not None:
        columns["test"] = content.test.sampled.metrics
    output.say(tables.metric_columns(columns, content.origin.metrics))
    if content.test is not None and content.origin.study is not None:
        test = content.test.sampled.metrics["accuracy"]
        sample = sample_of(content.config.dataset)
        output.say(
            f"accuracy: {percent(point.metrics['accuracy'])} of {content.images} validation "
            f"{sample}s, {percent(test)} of {content.test.images} test {sample}s. The point was "
            "chosen by its validation metrics, which are therefore slightly too good."
        )
        if arguments.trial is None:
            output.say(
                f"To measure it on the test {sample}s with other seeds: "
                f"spikefront confirm {content.origin.study} "
                f"--pick {shlex.quote(arguments.pick or 'knee')}"
                + same_places(arguments, "store", "data")
            )
    if content.graphs:
        output.say(f"NIR: {', '.join(content.graphs)}")
    for note in exported.notes:
        output.note(note)
    for difference in exported.differences:
        output.note(f"another value on this machine than in the store: {difference}")
    output.say(f"next: spikefront evaluate {exported.path}{same_places(arguments, 'data')}")


def exported_document(exported: "Exported") -> dict[str, object]:
    """Return what was exported, for JSON."""
    from search.export.export import document

    return {
        "path": exported.path,
        "checked": exported.checked,
        "differences": exported.differences,
        "notes": exported.notes,
        "metrics": document(exported.content),
    }


def _export_study(arguments: argparse.Namespace) -> int:
    """Write a whole study to an Optuna storage."""
    from search.samplers.optuna_files import Address, write_study
    from search.store.database import is_store
    from search.store.store import Store

    of_point = {"out": None, "trial": None, "pick": None, "nir": False, "test": False}
    for name, unset in of_point.items():
        if getattr(arguments, name) != unset:
            raise InputError(
                f"--{name}: has an effect only with --out, and --optuna writes the whole study; "
                "remove one of them"
            )
    output = Output(as_json=arguments.as_json)
    there = Address.of(arguments.optuna)
    if is_store(there.url):
        raise InputError(
            f"--optuna: {there.shown} is a store of spikefront, whose tables have the same names "
            "as Optuna's; name another database"
        )
    with Store(arguments.store, read_only=True) as store:
        study = store.stored_study(arguments.study).study()
        trials = store.trials(study.name)
        curves = {t.number: store.measurements(study.name, t.number) for t in trials}
    written = write_study(study, trials, curves, there, force=arguments.force)
    there = written.address
    output.say(
        f"{there.shown}#{there.study}: {counted(written.trials, 'trial')} of {study.name}, "
        f"objectives {', '.join(study.objectives)}"
    )
    if written.left_out:
        output.note(f"{counted(written.left_out, 'unfinished trial')} left out")
    if len(study.objectives) > 1:
        output.note(
            "Optuna takes no intermediate values of several objectives: the curves are the user "
            "attribute 'curve'"
        )
    output.document(
        {
            "storage": there.shown,
            "study": there.study,
            "trials": written.trials,
            "left_out": written.left_out,
        }
    )
    return 0
