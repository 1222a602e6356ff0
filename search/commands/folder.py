"""`spikefront export` and `evaluate`: a folder that runs elsewhere, and whether it does."""

import argparse
from collections.abc import Mapping
from typing import TYPE_CHECKING

from search.commands import InputError, tables
from search.commands.output import Output
from search.export.folder import (
    CONFIG,
    WEIGHTS,
    Difference,
    Folder,
    check_target,
    differences,
    read_folder,
    sha256_of,
)
from search.export.reproduction import elsewhere, tolerable
from search.text.requirements import is_there, needs
from search.text.units import counted, figure
from snn.settings.measurement import METRICS

if TYPE_CHECKING:
    from search.export.export import Exported
    from search.store.store import Store, StoredPoint
    from snn.settings.measurement import Evaluation


def export(arguments: argparse.Namespace) -> int:
    """Write the picked operating point as a folder."""
    from search.export.export import export_point
    from search.store.store import Store

    if arguments.optuna is not None:
        return _export_study(arguments)
    if arguments.out is None:
        raise InputError("--out: must name the folder to write; or --optuna a storage of Optuna's")
    output = Output(as_json=arguments.as_json)
    check_target(arguments.out, force=arguments.force)
    if arguments.nir_form is not None and not arguments.nir:
        raise InputError("--nir-form: is of use only with --nir, which writes graphs; add it")
    if arguments.nir and not is_there("nir"):
        raise InputError(f"--nir: {needs('nir')}")
    with Store(arguments.store, read_only=True) as store:
        point = _wanted(store, arguments)
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
    say_exported(output, exported)
    output.document(exported_document(exported))
    return 0


def _export_study(arguments: argparse.Namespace) -> int:
    """The whole study, not a point of it."""
    from search.commands.interchange import export_to_optuna

    of_point = {"out": None, "trial": None, "pick": None, "nir": False, "test": False}
    for name, unset in of_point.items():
        if getattr(arguments, name) != unset:
            raise InputError(
                f"--{name}: is of use only for a folder, and --optuna writes the whole study; "
                "leave one of them away"
            )
    return export_to_optuna(arguments)


def _wanted(store: "Store", arguments: argparse.Namespace) -> "StoredPoint":
    """The point that --trial and --pick name."""
    from search.commands.front import picked
    from search.study.study import study_from_toml

    name = arguments.study
    study = study_from_toml(store.stored_study(name).toml, name)
    if arguments.trial is None:
        points = store.operating_points(name, front_only=True)
        if not points:
            raise InputError(f"{name} has no front yet, so there is nothing to pick from")
        return picked(points, "knee" if arguments.pick is None else arguments.pick, study)
    trial = store.trial(name, arguments.trial)
    points = store.operating_points(name, trial.number)
    if not points:
        reason = f" ({trial.reason})" if trial.reason else ""
        raise InputError(
            f"trial {trial.number} of {name} is {trial.state.value}{reason} and has no operating "
            "point; pick one that is complete"
        )
    if arguments.pick is not None:
        return picked(points, arguments.pick, study)
    return next(point for point in points if point.point.is_sampled)


def say_exported(output: Output, exported: "Exported") -> None:
    """What was written where, and what to do with it."""
    content = exported.content
    what = "a network trained without a search"
    if content.origin.study is not None:
        what = f"trial {content.origin.trial} of {content.origin.study}"
    point = content.point
    output.say(
        f"{exported.path}: {what}, {counted(point.blocks, 'block')}, "
        f"{counted(point.timesteps, 'timestep')}, "
        f"exits at {tables.thresholds(point)}"
    )
    columns = {"validation": point.metrics}
    if content.test is not None:
        columns["test"] = content.test.sampled.metrics
    _say_figures(output, columns)
    if content.graphs:
        output.say(f"NIR: {', '.join(content.graphs)}")
    for note in exported.notes:
        output.note(note)
    for difference in exported.differences:
        output.note(f"on this machine another figure than in the store: {difference}")
    output.say(f"next: spikefront evaluate {exported.path}")


def _say_figures(output: Output, columns: Mapping[str, Mapping[str, float]]) -> None:
    table = tables.plain_table("metric", *columns, left=("metric",))
    for name in METRICS:
        values = (column.get(name) for column in columns.values())
        table.add_row(name, *("-" if v is None else figure(name, v) for v in values))
    output.say(table)


def exported_document(exported: "Exported") -> dict[str, object]:
    """What was written, as JSON has it."""
    from search.export.export import document

    return {
        "path": exported.path,
        "checked": exported.checked,
        "differences": exported.differences,
        "notes": exported.notes,
        "metrics": document(exported.content),
    }


# ---- evaluate


def evaluate(arguments: argparse.Namespace) -> int:
    """Run a folder on data; 1 when it is not what was recorded. Or run a NIR file."""
    from search.worker import engine

    if arguments.folder.suffix == ".nir":
        from search.commands.graph import evaluate_graph

        return evaluate_graph(arguments)
    _refuse_graph_options(arguments)
    output = Output(as_json=arguments.as_json)
    folder = read_folder(arguments.folder)
    evaluation = engine.evaluate_weights(
        folder.config,
        folder.weights,
        data_dir=arguments.data,
        device=device_of(folder),
        threads=threads_of(folder),
        test=arguments.test,
    )
    recorded = folder.recorded.test if arguments.test else folder.recorded.validation
    found = _findings(folder, engine.dataset_fingerprint(folder.config, arguments.data))
    unlike = () if recorded is None else differences(recorded, evaluation.sampled.metrics)
    here = engine.environment(device_of(folder), threads_of(folder))
    other = elsewhere(folder.recorded.environment, here)
    within = bool(unlike) and bool(other) and tolerable(unlike)
    _say_evaluation(output, evaluation, recorded, is_test=arguments.test)
    for finding in found:
        output.say(finding)
    output.say(_verdict(recorded, unlike, other, within=within))
    output.document(
        {
            "folder": folder.path,
            "on": "test" if arguments.test else "validation",
            "images": evaluation.images,
            "metrics": _with_carried(evaluation, recorded),
            "recorded": recorded,
            "is_equal": None if recorded is None else not unlike and not found,
            "differences": unlike,
            "elsewhere": other,
            "is_within_tolerance": None if recorded is None else not unlike or within,
            "findings": found,
        }
    )
    return 1 if found or (unlike and not within) else 0


def _refuse_graph_options(arguments: argparse.Namespace) -> None:
    for name in ("dataset", "timesteps", "encoding", "dt"):
        if getattr(arguments, name) is not None:
            raise InputError(
                f"--{name}: is of use only for a NIR file; what an exported folder is run with "
                f"stands in its {CONFIG}"
            )


def device_of(folder: Folder) -> str:
    """The kind of device that the figures were recorded on, where there is one."""
    return "cpu" if folder.recorded.environment.get("device", "cpu") == "cpu" else "auto"


def threads_of(folder: Folder) -> int:
    """As many threads as when the figures were recorded, so that sums round alike."""
    threads = folder.recorded.environment.get("threads")
    return threads if isinstance(threads, int) and threads > 0 else 1


def _findings(folder: Folder, data_fingerprint: str) -> list[str]:
    """What is not as it was when the folder was written, figures apart."""
    recorded, found = folder.recorded, []
    weights = sha256_of(folder.weights)
    if weights != recorded.weights_sha256:
        found.append(
            f"changed weights: {WEIGHTS} has SHA-256 {weights}, recorded {recorded.weights_sha256}"
        )
    if recorded.data_fingerprint is not None and data_fingerprint != recorded.data_fingerprint:
        found.append(
            f"other data: {folder.config.dataset} has fingerprint {data_fingerprint}, "
            f"recorded {recorded.data_fingerprint}"
        )
    return found


def _with_carried(
    evaluation: "Evaluation", recorded: Mapping[str, float] | None
) -> dict[str, float]:
    """The figures of a run, with the time of the training that they did not repeat."""
    carried = {} if recorded is None else {"training_s": recorded["training_s"]}
    return {**evaluation.sampled.metrics, **carried}


def _say_evaluation(
    output: Output, evaluation: "Evaluation", recorded: Mapping[str, float] | None, *, is_test: bool
) -> None:
    kind = "test" if is_test else "validation"
    output.say(f"on {evaluation.images} {kind} images")
    columns = {"now": _with_carried(evaluation, recorded)}
    if recorded is not None:
        columns["recorded"] = dict(recorded)
    _say_figures(output, columns)


def _verdict(
    recorded: Mapping[str, float] | None,
    unlike: tuple[Difference, ...],
    other: list[str],
    *,
    within: bool,
) -> str:
    if recorded is None:
        return "no test figures are recorded here; `spikefront export --test` records them"
    if not unlike:
        return "exactly equal to what was recorded (training_s is carried over, not measured)"
    lines = [f"  {difference}" for difference in unlike]
    if within:
        return "\n".join(
            [
                "differs as another machine may, from what was recorded:",
                *lines,
                f"here: {'; '.join(other)}",
            ]
        )
    if other:
        lines.append(f"here: {'; '.join(other)}; but that explains no difference of this size")
    return "\n".join(["differs from what was recorded:", *lines])
