"""Export of an operating point to a folder that runs without the store."""

import contextlib
import dataclasses
import datetime
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from search.export.content import ExportContent, ExportOrigin
from search.export.folder import (
    CARD,
    CONFIG,
    FORMAT,
    METRICS_FILE,
    WEIGHTS,
    Difference,
    ExportError,
    check_target,
    config_text,
    differences,
    new_folder,
    point_settings,
)
from search.export.model_card import model_card
from search.runners.precision import reason_of
from search.text import artifacts
from search.text.artifacts import sha256_of
from search.text.json_text import json_text
from search.text.provenance import machine, project_commit, project_version
from search.trial.confirmation import Confirmed, confirmed_document
from search.trial.trial import Artifact, Trial
from snn.settings.config import RunConfig
from snn.settings.measurement import Evaluation, ExitReport, LayerReport, OperatingPoint

if TYPE_CHECKING:
    from search.store.store import Store, StoredPoint


@dataclass(frozen=True, kw_only=True)
class Exported:
    """The result of an export."""

    path: Path
    content: ExportContent
    checked: bool  # whether the network was run on the validation images
    differences: tuple[Difference, ...] = ()  # between that run and the store
    notes: tuple[str, ...] = ()  # steps that were not possible, a line each


@dataclass(frozen=True, kw_only=True)
class EvaluationSetup:
    """Data, device and threads of an evaluation."""

    data_dir: Path
    device: str = "cpu"
    threads: int = 1


def export_point(
    store: "Store",
    study: str,
    point: "StoredPoint",
    out: Path,
    *,
    data_dir: Path,
    force: bool = False,
    test: bool = False,
    device: str = "cpu",
    nir_form: str | None = None,
) -> Exported:
    """Write an operating point of a study to the folder `out`.

    The network is run on the validation images for the reports of its exits, and its
    metrics are compared with the store; without the data set this step is left out, with
    a note. With `test` it is also run on the test images, which requires the data set.
    With `nir_form`, NIR graphs are added, see `snn.interchange`. Raises ExportError,
    StoreError, DataError or InterchangeError.
    """
    check_target(out, force=force)
    trial = store.trial(study, point.trial)
    stored = store.stored_study(study)
    asked = stored.study()
    threads = max(1, int(asked.budget.cpus_per_trial))  # sums round as in the trial
    if problem := weights_problem(trial):
        hint = "; choose a trial that has weights" if trial.artifact is None else ""
        raise ExportError(f"{problem}{hint}")
    assert trial.engine_config is not None
    assert trial.artifact is not None
    recorded = store.evaluation(study, trial.number)
    confirmed = store.confirmed(study).get(point.id)
    with checked_weights(trial, trial.artifact) as weights, new_folder(out, force=force) as folder:
        return _write(
            folder,
            out,
            origin=ExportOrigin(
                study=study,
                trial=trial.number,
                question=asked.question,
                precision=reason_of(store, study),
                metrics=stored.metrics,
            ),
            config=trial.engine_config,
            weights=weights,
            point=point.point,
            recorded=recorded,
            setup=EvaluationSetup(data_dir=data_dir, device=device, threads=threads),
            test=test,
            confirmed=confirmed,
            nir_form=nir_form,
        )


def export_run(
    config: RunConfig,
    weights: Path,
    evaluation: Evaluation,
    out: Path,
    *,
    data_dir: Path,
    device: str,
    threads: int,
    force: bool = False,
    precision: str = "",
) -> Exported:
    """Write a network that was trained without a search, at the operating point of its config.

    `evaluation` is that of the network on this machine: it is run again only if the operating
    point leaves out blocks. `precision` says why precision `auto` was the number type of the
    config.
    """
    with new_folder(out, force=force) as folder:
        return _write(
            folder,
            out,
            origin=ExportOrigin(precision=precision),
            config=config,
            weights=weights,
            point=evaluation.sampled,
            recorded=evaluation,
            is_of_here=True,
            setup=EvaluationSetup(data_dir=data_dir, device=device, threads=threads),
            test=False,
        )


def at_point(config: RunConfig, point: OperatingPoint) -> RunConfig:
    """Return a config whose own operating point is `point`, with all its blocks."""
    beyond = config.exit_threshold[len(point.exit_thresholds) :]  # of exits after the last one used
    return config.replace(
        exit_threshold=(*point.exit_thresholds, *beyond),
        detector_threshold=point.detector_threshold,
        time_threshold=point.time_threshold,
        inference_timesteps=point.timesteps,
    )


def _write(
    folder: Path,
    out: Path,
    *,
    origin: ExportOrigin,
    config: RunConfig,
    weights: Path,
    point: OperatingPoint,
    recorded: Evaluation | None,
    setup: EvaluationSetup,
    test: bool,
    is_of_here: bool = False,
    confirmed: Confirmed | None = None,
    nir_form: str | None = None,
) -> Exported:
    """Write the files; `is_of_here`: `recorded` was measured by this process, on all blocks."""
    from search.worker import engine

    target = folder / WEIGHTS
    kept = cut(config, weights, point, target)
    graphs: list[str] = []
    if nir_form is not None:
        from search.export.graphs import write_graphs

        graphs = write_graphs(kept, target, folder, data_dir=setup.data_dir, form=nir_form)
    evaluated, notes = recorded, list[str]()
    if not is_of_here or kept.exits != config.exits:
        evaluated, notes = _evaluated(kept, target, setup, must=test)
    content = ExportContent(
        origin=origin,
        config=kept,
        trained_as=config if config.exits != kept.exits else None,
        point=dataclasses.replace(point, is_sampled=True),
        images=recorded.images if recorded else None,
        test=_tested(kept, target, setup, point) if test else None,
        layers=_layers(evaluated or recorded, kept),
        exits=_exits(evaluated, recorded, point),
        weights_sha256=sha256_of(target),
        weights_bytes=target.stat().st_size,
        data_fingerprint=(engine.dataset_fingerprint(kept, setup.data_dir) if evaluated else None),
        moments=engine.input_moments(kept, setup.data_dir) if evaluated else None,
        environment={
            **engine.environment(setup.device, setup.threads),
            "spikefront": project_version(),
        },
        confirmed=confirmed,
        graphs=tuple(graphs),
    )
    (folder / CONFIG).write_text(config_text(kept, title=_title(content)), encoding="utf-8")
    (folder / METRICS_FILE).write_text(json_text(document(content)), encoding="utf-8")
    (folder / CARD).write_text(model_card(content), encoding="utf-8")
    found = differences(point.metrics, evaluated.sampled.metrics) if evaluated else ()
    return Exported(
        path=out,
        content=content,
        checked=evaluated is not None,
        differences=found,
        notes=tuple(notes),
    )


def cut(config: RunConfig, weights: Path, point: OperatingPoint, target: Path) -> RunConfig:
    """Write the weights of the blocks that `point` uses to `target`; returns their config.

    Training that config gives the same weights.
    """
    from search.worker import engine

    kept = engine.cut_weights(at_point(config, point), weights, point.blocks, target)
    for other in target.parent.iterdir():  # training times, which metrics.json has
        if other != target:
            other.unlink()
    return kept


def _evaluated(
    config: RunConfig, weights: Path, setup: EvaluationSetup, *, must: bool
) -> tuple[Evaluation | None, list[str]]:
    """Evaluate on the validation images, or return a note why that is not possible."""
    from snn.data.image_files import DataError

    try:
        return _evaluate(config, weights, setup, test=False), []
    except DataError as error:
        if must:
            raise
        return None, [f"not run on data, so there is no report per exit: {error}"]


def _evaluate(
    config: RunConfig, weights: Path, setup: EvaluationSetup, *, test: bool
) -> Evaluation:
    from search.worker import engine

    return engine.evaluate_weights(
        config,
        weights,
        data_dir=setup.data_dir,
        device=setup.device,
        threads=setup.threads,
        test=test,
    )


def _tested(
    config: RunConfig, weights: Path, setup: EvaluationSetup, point: OperatingPoint
) -> Evaluation:
    """Evaluate on the test images; the training time is that of the validation metrics."""
    evaluation = _evaluate(config, weights, setup, test=True)
    times = {"training_s": point.metrics["training_s"]}
    points = [dataclasses.replace(p, metrics={**p.metrics, **times}) for p in evaluation.points]
    return dataclasses.replace(evaluation, points=tuple(points))


def _layers(evaluation: Evaluation | None, config: RunConfig) -> tuple[LayerReport, ...]:
    layers = evaluation.layers if evaluation else ()
    return tuple(layer for layer in layers if layer.block <= config.exits)


def _exits(
    evaluated: Evaluation | None, recorded: Evaluation | None, point: OperatingPoint
) -> tuple[ExitReport, ...]:
    if evaluated is not None:
        return evaluated.exits
    return recorded.exits if recorded is not None and point.is_sampled else ()


@contextlib.contextmanager
def checked_weights(trial: Trial, artifact: Artifact) -> Iterator[Path]:
    """Yield the weights of a trial as a local file with the recorded SHA-256."""
    if not artifacts.is_remote(artifact.uri):
        yield _checked(trial, artifact, artifacts.local_path(artifact.uri))
        return
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / WEIGHTS
        try:
            artifacts.download(artifact.uri, copy)
        except (OSError, artifacts.ArtifactError) as error:
            raise ExportError(
                f"{artifact.uri}: the weights of trial {trial.number} cannot be downloaded: "
                f"{artifacts.one_line(error)}"
            ) from error
        yield _checked(trial, artifact, copy)


def weights_problem(trial: Trial) -> str | None:
    """Return why the weights of a trial are missing; None if they exist, or may exist remotely."""
    artifact = trial.artifact
    if artifact is None:
        reason = f": {trial.reason}" if trial.reason else ""
        kept = "weights" if trial.engine_config is not None else "files"
        return f"trial {trial.number} kept no {kept} ({trial.state.value}{reason})"
    if artifacts.is_remote(artifact.uri) or artifacts.local_path(artifact.uri).is_file():
        return None
    return (
        f"{artifacts.local_path(artifact.uri)}: the weights of trial {trial.number} are missing; "
        "restore that file, or run this command on a machine that has it"
    )


def _checked(trial: Trial, artifact: Artifact, file: Path) -> Path:
    found = sha256_of(file)
    if found != artifact.sha256:
        raise ExportError(
            f"{artifact.uri}: the weights of trial {trial.number} must have SHA-256 "
            f"{artifact.sha256}, got {found}: the file has changed since the trial"
        )
    return file


def _title(content: ExportContent) -> str:
    origin = content.origin
    source = "trained without a search"
    if origin.study is not None:
        source = f"trial {origin.trial} of study {origin.study}"
    return (
        f"Run config of an operating point: {source}.\n"
        "`spikefront train` trains it again; a study may use these settings in its [run] table."
    )


def document(content: ExportContent) -> dict[str, object]:
    """Return the content of metrics.json."""
    test = content.test
    config = content.config
    return {
        "spikefront_export": FORMAT,
        "study": content.origin.study,
        "trial": content.origin.trial,
        "operating_point": point_settings(content.point),
        "validation": {"images": content.images, "metrics": content.point.metrics},
        "test": {"images": test.images, "metrics": test.sampled.metrics} if test else None,
        "confirmed": confirmed_document(content.confirmed),
        "exits": content.exits,
        "layers": content.layers,
        "weights": {
            "file": WEIGHTS,
            "sha256": content.weights_sha256,
            "size_bytes": content.weights_bytes,
        },
        "data": {"dataset": config.dataset, "fingerprint": content.data_fingerprint},
        "input": content.moments,
        "nir": content.graphs,
        "seed": config.seed,
        "run_fingerprint": config.fingerprint,
        "training_fingerprint": config.training_fingerprint,
        "trained_as": content.trained_as.to_mapping() if content.trained_as else None,
        "environment": content.environment,
        "machine": machine(),
        "git_commit": project_commit(),
        "exported_at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }
