"""`spikefront train`: one network, trained without a search."""

import argparse
import contextlib
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.text import Text

from search.commands import RunError, tables
from search.commands.evaluate import device_of, threads_of
from search.commands.export import exported_document, say_exported
from search.commands.front import settings_document
from search.commands.options import DATA, DEVICES, JSON, LOGS, command, option, path
from search.commands.output import Output
from search.commands.run import check_device
from search.export.folder import (
    CONFIG,
    METRICS_FILE,
    Folder,
    check_target,
    ignored_settings,
    read_config,
    read_folder,
)
from search.text import log
from search.text.artifacts import ArtifactFile, sha256_of
from search.text.units import duration, percent
from search.trial.trial import Outcome, TrialState
from search.worker.engine import settled
from search.worker.job import Continuation
from search.worker.limits import usual_threads
from snn.settings.config import RunConfig
from snn.settings.datasets import sample_of
from snn.settings.measurement import METRICS, Evaluation, Measurement

if TYPE_CHECKING:
    from search.export.export import Exported

LOG = log.logger("train")

SHOWN = ("accuracy", "synaptic_ops", "latency_steps", "model_bytes", "training_memory_bytes")


@command(
    option(
        "source",
        "exported folder, or a TOML file of run settings (the keys of [run])",
        metavar="DIR|CONFIG.toml",
        type=path,
    ),
    option(
        "--out",
        "write the trained network as a folder; the same command continues an interrupted "
        "training from DIR.checkpoint",
        metavar="DIR",
        type=path,
    ),
    option("--force", "replace --out if it is an exported folder", action="store_true"),
    DATA,
    option(
        "--device",
        "device of the training (default: that of the exported folder, otherwise auto: a GPU if "
        "there is one)",
        choices=DEVICES,
    ),
    LOGS,
    JSON,
    examples=(
        "spikefront train runs/digits-best",
        "spikefront train my-config.toml --out runs/mine",
    ),
)
def train(arguments: argparse.Namespace) -> int:
    """Train one network without a search, from an exported folder or a file of run settings."""
    output = Output(as_json=arguments.as_json)
    folder = _folder_of(arguments.source)
    config = folder.config if folder else read_config(arguments.source)
    if folder is None:
        for line in ignored_settings(arguments.source, config):
            output.note(line)
    if arguments.out is not None:
        check_target(arguments.out, force=arguments.force)
    check_device(arguments.device)
    device, threads = _place(arguments, folder)
    config, why = settled(config, device)
    if why:
        output.say(f"precision auto is {config.precision}: {why}")
    checkpoint = None if arguments.out is None else _checkpoint_of(arguments.out)
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
            checkpoint=None if checkpoint is None else checkpoint.uri,
        )
        if checkpoint is not None and outcome.state is not TrialState.COMPLETE:
            _remove(checkpoint)  # it would end like this again
        evaluation = _completed(outcome)
        _say_points(output, evaluation, sample_of(config.dataset))
        digest = sha256_of(weights)
        same = None if folder is None else digest == folder.recorded.weights_sha256
        exported = None
        if arguments.out is not None:
            exported = _export(arguments, config, weights, evaluation, device, threads, why)
            say_exported(output, exported, arguments)
    if checkpoint is not None:
        _remove(checkpoint)
    output.say(_compared(digest, same, folder))
    output.document(_document(config, measurements, outcome, evaluation, digest, same, exported))
    return 0


def _folder_of(source: Path) -> Folder | None:
    """Return the exported folder `source`, or the one whose config file `source` is."""
    if source.is_dir():
        return read_folder(source)
    if source.name == CONFIG and (source.parent / METRICS_FILE).is_file():
        return read_folder(source.parent)
    return None


def _place(arguments: argparse.Namespace, folder: Folder | None) -> tuple[str, int]:
    """Return device and threads: those of the folder, to reproduce its weights bit for bit."""
    if folder is not None:
        return arguments.device or device_of(folder), threads_of(folder)
    return arguments.device or "auto", usual_threads()


def _checkpoint_of(out: Path) -> ArtifactFile:
    """Return the checkpoint of a training, next to the folder that it will be."""
    path = out.absolute()
    return ArtifactFile(uri=str(path.with_name(f"{path.name}.checkpoint")))


def _remove(checkpoint: ArtifactFile) -> None:
    with contextlib.suppress(OSError):
        checkpoint.remove()


def _train(
    output: Output, config: RunConfig, weights: Path, *, quiet: bool, **place: Any
) -> tuple[list[Measurement], Outcome]:
    from search.worker.trial_run import TrialRun

    running = TrialRun(config, weights_path=weights, **place)
    measurements: list[Measurement] = []
    for report in running:
        if isinstance(report, Continuation):
            measurements.extend(report.measurements)
            if report.measurements:
                where = f"{place['checkpoint']}; without that file it starts anew"
                output.say(f"{report.line} ({where})")
            else:
                output.note(report.line)
            continue
        assert isinstance(report, Measurement), "there are no rungs"
        measurements.append(report)
        LOG.info(epoch_line(report), extra=log.SHOWN)
        if not quiet:
            output.say(Text(epoch_line(report)))
    for note in running.outcome.notes:
        output.say(note)
    return measurements, running.outcome


def epoch_line(m: Measurement) -> str:
    """Return the result of an epoch in one line."""
    block = f"block {m.block}  " if m.block else ""
    return (
        f"{block}epoch {m.epoch:<3} ({m.epochs_done}/{m.epochs_total})  loss {m.loss:.4f}  "
        f"train {percent(m.train_accuracy)}  validation {percent(m.accuracy)}  "
        f"connected {percent(m.connectivity)}  {duration(m.wall_s)}"
    )


def _completed(outcome: Outcome) -> Evaluation:
    """Return the evaluation of a complete training. Raises RunError for any other."""
    if outcome.state is TrialState.COMPLETE and outcome.evaluation is not None:
        return outcome.evaluation
    reason = outcome.reason or outcome.state.value
    traceback = f"\n{outcome.error.rstrip()}" if outcome.error else ""
    raise RunError(f"the training was {outcome.state.value}: {reason}{traceback}")


def _say_points(output: Output, evaluation: Evaluation, sample: str) -> None:
    """Print the operating points of the network, that of the config first."""
    points = sorted(evaluation.points, key=lambda p: (not p.is_sampled, -p.metrics["accuracy"]))
    output.say()
    output.say(
        f"{evaluation.points_evaluated} operating points evaluated on {evaluation.images} "
        f"validation {sample}s, {len(points)} kept"
    )
    output.say(tables.points_table(points, SHOWN, marks={0: "config"}))


def _export(
    arguments: argparse.Namespace,
    config: RunConfig,
    weights: Path,
    evaluation: Evaluation,
    device: str,
    threads: int,
    precision: str,
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
        precision=f"auto is {config.precision}: {precision}" if precision else "",
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
        f"{folder.recorded.weights_sha256}. Equal bits need the recorded torch, device and threads "
        f"({made_with})"
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
        "same_weights": same,  # null without recorded weights
        "exported": exported_document(exported) if exported else None,
    }
