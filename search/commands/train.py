"""`spikefront train`: one run without a search."""

import argparse
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.text import Text

from search.commands import InputError, RunError, tables
from search.commands.folder import device_of, exported_document, say_exported, threads_of
from search.commands.front import settings_document
from search.commands.output import Output
from search.export.folder import (
    CONFIG,
    METRICS_FILE,
    Folder,
    check_target,
    read_config,
    read_folder,
    sha256_of,
)
from search.text import log
from search.text.units import duration, figure, percent
from search.trial.trial import Outcome, TrialState
from snn.settings.config import RunConfig
from snn.settings.measurement import METRICS, Evaluation, Measurement

if TYPE_CHECKING:
    from search.export.export import Exported

LOG = log.logger("train")

SHOWN = ("accuracy", "synaptic_ops", "latency_steps", "model_bytes", "training_memory_bytes")


def train(arguments: argparse.Namespace) -> int:
    """Train what a config file or an exported folder says."""
    output = Output(as_json=arguments.as_json)
    folder = _folder_of(arguments.source)
    config = folder.config if folder else read_config(arguments.source)
    if arguments.out is not None:
        check_target(arguments.out, force=arguments.force)
    check_device(arguments.device)
    device, threads = _place(arguments, folder)
    with tempfile.TemporaryDirectory(prefix="spikefront-") as scratch:
        weights = Path(scratch) / "weights.safetensors"
        measurements, outcome = _train(
            output,
            config,
            weights,
            quiet=arguments.quiet,
            data_dir=arguments.data,
            device=device,
            threads=threads,
        )
        evaluation = _completed(outcome)
        _say_points(output, evaluation)
        digest = sha256_of(weights)
        same = None if folder is None else digest == folder.recorded.weights_sha256
        exported = None
        if arguments.out is not None:
            exported = _export(arguments, config, weights, evaluation, device, threads)
            say_exported(output, exported)
    output.say(_compared(digest, same, folder))
    output.document(_document(config, measurements, outcome, evaluation, digest, same, exported))
    return 0


def _folder_of(source: Path) -> Folder | None:
    """The exported folder that `source` is, or whose config file it is."""
    if source.is_dir():
        return read_folder(source)
    if source.name == CONFIG and (source.parent / METRICS_FILE).is_file():
        return read_folder(source.parent)
    return None


def check_device(device: str | None) -> None:
    """Raises InputError when a GPU is asked for and there is none."""
    if device == "cuda":
        from search.worker.engine import pick_device

        if pick_device("auto") != "cuda":
            raise InputError(
                "--device: cuda needs a GPU that torch can use, got none; see `spikefront doctor`"
            )


def _place(arguments: argparse.Namespace, folder: Folder | None) -> tuple[str, int]:
    """Device and threads: those of the folder, so that its weights come out bit for bit."""
    if folder is not None:
        chosen = arguments.device or device_of(folder)
        return chosen, threads_of(folder)
    return arguments.device or "auto", os.cpu_count() or 1


def _train(
    output: Output, config: RunConfig, weights: Path, *, quiet: bool, **place: Any
) -> tuple[list[Measurement], Outcome]:
    from search.worker.trial_run import TrialRun

    running = TrialRun(config, weights_path=weights, **place)
    measurements = []
    for measurement in running:
        assert isinstance(measurement, Measurement), "nothing stops it early"
        measurements.append(measurement)
        LOG.info(epoch_line(measurement), extra=log.SHOWN)
        if not quiet:
            output.say(Text(epoch_line(measurement)))
    return measurements, running.outcome


def epoch_line(m: Measurement) -> str:
    """An epoch in a line."""
    block = f"block {m.block}  " if m.block else ""
    return (
        f"{block}epoch {m.epoch:<3} ({m.epochs_done}/{m.epochs_total})  loss {m.loss:.4f}  "
        f"train {percent(m.train_accuracy)}  validation {percent(m.accuracy)}  "
        f"connected {percent(m.connectivity)}  {duration(m.wall_s)}"
    )


def _completed(outcome: Outcome) -> Evaluation:
    """What a finished training measured. Raises RunError when it did not come to that."""
    if outcome.state is TrialState.COMPLETE and outcome.evaluation is not None:
        return outcome.evaluation
    reason = outcome.reason or outcome.state.value
    traceback = f"\n{outcome.error.rstrip()}" if outcome.error else ""
    raise RunError(f"the training was {outcome.state.value}: {reason}{traceback}")


def _say_points(output: Output, evaluation: Evaluation) -> None:
    """The operating points of the network, the config's own first."""
    table = tables.plain_table("", "T", "exits at", "blocks", left=("", "exits at"))
    for name in SHOWN:
        table.add_column(tables.heading(name), justify="right", vertical="bottom")
    points = sorted(evaluation.points, key=lambda p: (not p.is_sampled, -p.metrics["accuracy"]))
    for point in points:
        table.add_row(
            "config" if point.is_sampled else "",
            str(point.timesteps),
            tables.thresholds(point),
            str(point.blocks),
            *(figure(name, point.metrics[name]) for name in SHOWN),
            style="bold" if point.is_sampled else None,
        )
    output.say()
    output.say(
        f"{len(points)} operating points kept of {evaluation.points_evaluated} evaluated "
        f"on {evaluation.images} validation images"
    )
    output.say(table)


def _export(
    arguments: argparse.Namespace,
    config: RunConfig,
    weights: Path,
    evaluation: Evaluation,
    device: str,
    threads: int,
) -> "Exported":
    from search.export.export import export_run

    return export_run(
        config,
        weights,
        evaluation,
        arguments.out,
        data_dir=arguments.data,
        device=device,
        threads=threads,
        force=arguments.force,
    )


def _compared(digest: str, same: bool | None, folder: Folder | None) -> str:
    if folder is None:
        return f"weights SHA-256 {digest}"
    if same:
        return f"the same weights as {folder.path}, bit for bit (SHA-256 {digest})"
    environment: Mapping[str, Any] = folder.recorded.environment
    made_with = ", ".join(f"{name} {value}" for name, value in environment.items())
    return (
        f"other weights than {folder.path}: SHA-256 {digest}, recorded "
        f"{folder.recorded.weights_sha256}; bits are the same only with the same torch, device "
        f"and threads (recorded: {made_with})"
    )


def _document(
    config: RunConfig,
    measurements: list[Measurement],
    outcome: Outcome,
    evaluation: Evaluation,
    digest: str,
    same: bool | None,
    exported: "Exported | None",
) -> dict[str, object]:
    return {
        "config": config.to_mapping(),
        "measurements": measurements,
        "timings": outcome.timings,
        "metrics": {name: evaluation.sampled.metrics[name] for name in METRICS},
        "points": [settings_document(point) for point in evaluation.points],
        "layers": evaluation.layers,
        "exits": evaluation.exits,
        "images": evaluation.images,
        "weights_sha256": digest,
        "same_weights": same,  # null where there are none to compare with
        "exported": exported_document(exported) if exported else None,
    }
