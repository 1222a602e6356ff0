"""Runs of a user's function: one training, driven epoch by epoch, and checked at each report."""

from __future__ import annotations

import contextlib
import math
import shutil
import sys
import tempfile
import time
import traceback
import zipfile
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from search.pruners.rungs import StoppingRule
from search.study.own_training import FunctionError, check_function, load
from search.study.tables import Bound
from search.text import log
from search.text.artifacts import sha256_of
from search.trial.function_config import FunctionConfig
from search.trial.rung import RungPoint, RungReport
from search.trial.trial import Artifact, Outcome, Timings, TrialState
from search.worker.job import BlockFolder
from search.worker.uploading import without_weights
from snn.settings.config import RunConfig, nearest
from snn.settings.measurement import (
    FRACTIONS,
    METRICS,
    Evaluation,
    Measurement,
    Metrics,
    OperatingPoint,
)

LOG = log.logger("trial")
PARTS: tuple[Literal["validation"], Literal["test"]] = ("validation", "test")
EPOCH_FIGURES = ("loss", "train_accuracy", "spike_rate")  # of a `yield`, without a declaration
_SHARES = (*FRACTIONS, "train_accuracy")
POINT, EPOCH = "point", "epoch"  # keys of a report that are no metrics
WORK = ".files"  # suffix of the folder of a running trial, beside its file
_MARK = ".training"  # file in it: which training it belongs to


@dataclass(frozen=True, kw_only=True)
class TrainingContext:
    """What a training function is given beside its parameters."""

    seed: int
    device: str  # cpu or cuda, or auto for whichever there is
    threads: int
    data: Path  # folder of the data sets
    folder: Path  # for files: what is in it at the end is kept with the trial
    part: Literal["validation", "test"]  # on which the reported metrics are measured

    @property
    def checkpoint(self) -> Path | None:
        """The newest file or folder `checkpoint*` in `folder`, of an earlier attempt; or None."""
        found = self.folder.glob("checkpoint*")
        return max(found, key=lambda path: path.stat().st_mtime, default=None)


class ReportError(ValueError):
    """A report of a training function that cannot be used; one line."""


class DivergedError(ValueError):
    """A report with a value that is not finite; one line."""


@dataclass(frozen=True, kw_only=True)
class FunctionTrainable:
    """Makes runs of one function; as `search.worker.job.Trainable`."""

    train: str
    folder: Path | None  # of the study file
    objectives: tuple[str, ...]
    metrics: Metrics
    function: Callable[..., Any] | None = None  # where it has no module
    part: Literal["validation", "test"] = "validation"
    labels: tuple[str, ...] = ()  # of the operating points to return; empty: all

    def __call__(
        self,
        config: RunConfig | FunctionConfig,
        *,
        data_dir: Path,
        device: str,
        threads: int,
        weights_path: Path | None,
        checkpoint: str | None,
        constraints: Mapping[str, Bound],
        reuse: Path | None,
        blocks: BlockFolder | None,
        stopping: StoppingRule | None,
    ) -> FunctionRun:
        """Return the run of `config`, not started. Raises FunctionError, which concerns all."""
        assert isinstance(config, FunctionConfig)
        code = config.code
        if self.function is None:
            function, code = load(self.train, self.folder)
        else:
            function = self.function
            check_function(function, self.train)
        notes = []
        if config.code and code and code != config.code:
            notes.append(f"the code of {self.train} was changed while the study ran")
        return FunctionRun(
            function,
            config,
            made_by=self,
            place=_Place(data=data_dir, device=device, threads=threads),
            needed=tuple(dict.fromkeys((*self.objectives, *constraints))),
            target=weights_path,
            stopping=stopping,
            notes=notes,
        )


@dataclass(frozen=True, kw_only=True)
class _Place:
    data: Path
    device: str
    threads: int


class FunctionRun:
    """Drive a function through one training. Iterate, then read `outcome`.

    Whatever the function does wrong becomes the outcome, which says what it was.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        config: FunctionConfig,
        *,
        made_by: FunctionTrainable,
        place: _Place,
        needed: tuple[str, ...],
        target: Path | None,
        stopping: StoppingRule | None,
        notes: Sequence[str] = (),
    ) -> None:
        self._function, self._config, self._made_by = function, config, made_by
        self._place, self._needed, self._target = place, needed, target
        self._stopping = stopping
        self._notes = list(notes)
        self._outcome: Outcome | None = None
        self._training_s = 0.0

    @property
    def outcome(self) -> Outcome:
        """Return the outcome; iteration must have ended."""
        assert self._outcome is not None, "the trial is still running"
        return self._outcome

    def __iter__(self) -> Iterator[Measurement | RungReport]:
        with _working_folder(self._target, self._config.fingerprint) as folder:
            try:
                yield from self._run(folder)
            except ReportError as error:
                self._outcome = Outcome(state=TrialState.FAILED, reason=str(error))
            except DivergedError as error:
                self._outcome = Outcome(state=TrialState.PRUNED, reason=f"diverged: {error}")
            except (Exception, SystemExit) as error:
                self._outcome = _crash(error)
            timings = Timings(training_s=self._training_s)
            notes = (*self.outcome.notes, *self._notes)
            self._outcome = replace(self.outcome, timings=timings, notes=notes)

    def _run(self, folder: Path) -> Iterator[Measurement | RungReport]:
        last: dict[str, float] | None = None
        done = reached = 0
        with _closing(self._started(folder)) as training:
            while True:
                begun = time.perf_counter()
                try:
                    report = next(training)
                except StopIteration as end:
                    result = end.value
                    break
                finally:
                    wall_s = time.perf_counter() - begun
                    self._training_s += wall_s
                done = self._epoch(report, done)
                last = self._figures(report, f"epoch {done}", of_epoch=True)
                measurement = self._measurement(last, done, wall_s)
                yield measurement
                rung = self._rung(measurement)
                if rung > reached:
                    reached = rung
                    yield self._rung_report(last, measurement, rung)
        if last is None:
            message = "yielded nothing: it must `yield` its metrics after each epoch"
            raise ReportError(f"{self._made_by.train} {message}")
        points = self._points(last if result is None else result)
        artifact, save_error = self._kept(folder)
        self._outcome = Outcome(
            state=TrialState.COMPLETE,
            evaluation=Evaluation(
                points=self._chosen(points),
                layers=(),
                exits=(),
                points_evaluated=len(points),
                wall_s=0.0,
                images=0,
            ),
            artifact=artifact,
        )
        if save_error is not None:
            self._outcome = without_weights(self._outcome, save_error)

    def _started(self, folder: Path) -> Generator[Any, None, Any]:
        if torch := sys.modules.get("torch"):
            torch.set_num_threads(self._place.threads)
        context = TrainingContext(
            seed=self._config.seed,
            device=self._place.device,
            threads=self._place.threads,
            data=self._place.data,
            folder=folder,
            part=self._made_by.part,
        )
        started = self._function(dict(self._config.params), context)
        if not isinstance(started, Generator):
            raise FunctionError(f"{self._made_by.train} must be a generator function")
        return started

    def _epoch(self, report: object, done: int) -> int:
        """Return the number of the epoch of a report: the next one, or the one that it names."""
        if not isinstance(report, Mapping) or EPOCH not in report:
            return done + 1
        epoch = report[EPOCH]
        if not isinstance(epoch, int) or epoch <= done:
            raise ReportError(f"epoch must be an integer above {done}, got {epoch!r}")
        return epoch

    def _figures(self, report: object, where: str, *, of_epoch: bool = False) -> dict[str, float]:
        """Return the numbers of a report. Raises ReportError or DivergedError."""
        if not isinstance(report, Mapping):
            shown = f"got {type(report).__name__}"
            raise ReportError(f"{where}: must report metrics like {{'accuracy': 0.9}}, {shown}")
        figures = {}
        known = {**dict.fromkeys(EPOCH_FIGURES if of_epoch else ()), **self._made_by.metrics}
        for name, value in report.items():
            if name == (EPOCH if of_epoch else POINT):
                continue
            if name not in known:
                hint = nearest(str(name), known)
                raise ReportError(
                    f"{where}: reports {name!r}, which [metrics] does not declare{hint}"
                )
            figures[name] = _number(name, value, where)
        return figures

    def _measurement(self, figures: Mapping[str, float], epoch: int, wall_s: float) -> Measurement:
        asked = self._config.total_epochs
        if asked and epoch > asked:
            self._notes = [*self._notes, f"reports more epochs than its {asked} of `epochs`"]
        memory = figures.get("training_memory_bytes", 0)
        return Measurement(
            block=0,
            epoch=epoch,
            epochs_done=epoch,
            epochs_total=max(asked, epoch),
            loss=figures.get("loss", math.nan),
            train_accuracy=figures.get("train_accuracy", math.nan),
            accuracy=figures.get("accuracy", math.nan),
            connectivity=figures.get("connectivity", math.nan),
            spike_rate=figures.get("spike_rate", math.nan),
            regrown=0,
            training_memory_bytes=int(memory),
            wall_s=wall_s,
            metrics={n: v for n, v in figures.items() if n not in EPOCH_FIGURES},
        )

    def _rung(self, measurement: Measurement) -> int:
        if self._stopping is None or not self._config.total_epochs:
            return 0
        return self._stopping.rung(measurement.epochs_done, measurement.epochs_total)

    def _rung_report(
        self, figures: Mapping[str, float], measurement: Measurement, rung: int
    ) -> RungReport:
        where = f"epoch {measurement.epoch}"
        named = self._needed_of({"training_s": self._training_s, **figures}, where)
        return RungReport(
            rung=rung,
            epochs_done=measurement.epochs_done,
            epochs_total=measurement.epochs_total,
            points=(RungPoint(metrics=named),),
            timings=Timings(training_s=self._training_s),
            notes=tuple(self._notes),
        )

    def _needed_of(self, figures: Mapping[str, float], where: str) -> dict[str, float]:
        """Return objectives and constrained metrics. Raises ReportError for a missing one."""
        for name in self._needed:
            if name not in figures:
                is_objective = name in self._made_by.objectives
                role = "an objective" if is_objective else "a constrained metric"
                raise ReportError(f"{where}: reports no {name}, which is {role} of the study")
        return {name: figures[name] for name in self._needed}

    def _points(self, result: object) -> list[OperatingPoint]:
        """Return the operating points of the last report: one, or one for each of a list."""
        reports = result if isinstance(result, list | tuple) else [result]
        if not reports:
            raise ReportError("result: must have at least one operating point, got an empty list")
        points: list[OperatingPoint] = []
        for place, report in enumerate(reports, 1):
            where = "result" if len(reports) == 1 else f"result, point {place}"
            is_yield = result is not None and len(reports) == 1
            kept = report
            if is_yield and isinstance(report, Mapping):
                kept = {n: v for n, v in report.items() if n not in EPOCH_FIGURES}
            figures = {"training_s": self._training_s, **self._figures(kept, where)}
            needed = self._needed_of(figures, where)
            given = report.get(POINT) if isinstance(report, Mapping) else None
            label = str(place if given is None else given) if len(reports) > 1 else str(given or "")
            if label in [point.label for point in points]:
                raise ReportError(f"{where}: must have a name of its own, got {label!r} again")
            self._check_ideals(figures)
            points.append(
                OperatingPoint(
                    timesteps=0,
                    exit_thresholds=(),
                    detector_threshold=0.0,
                    blocks=0,
                    metrics={**needed, **figures},
                    is_sampled=place == 1,
                    label=label,
                )
            )
        return points

    def _check_ideals(self, figures: Mapping[str, float]) -> None:
        """Note an objective that is better than its ideal: hypervolumes count it as ideal."""
        for name in self._made_by.objectives:
            metric = self._made_by.metrics[name]
            if name not in METRICS and metric.sign * (figures[name] - metric.best_value) < 0:
                self._notes.append(
                    f"{name} is better than its ideal ({metric.best_value:g}), which hypervolumes "
                    f"count as the best: give metrics.{name}.ideal"
                )

    def _chosen(self, points: Sequence[OperatingPoint]) -> tuple[OperatingPoint, ...]:
        """Return the points that were asked for. Raises ReportError if one is missing."""
        if not self._made_by.labels:
            return tuple(points)
        by_label = {point.label: point for point in points}
        for label in self._made_by.labels:
            if label not in by_label:
                what = f"no operating point {label!r}" if label else "several operating points"
                raise ReportError(f"result: has {what} on the {self._made_by.part} data")
        return tuple(replace(by_label[label], is_sampled=False) for label in self._made_by.labels)

    def _kept(self, folder: Path) -> tuple[Artifact | None, OSError | None]:
        """Pack the files of the training; returns the artifact, or the error of a full disk."""
        files = sorted(p for p in folder.rglob("*") if p.is_file() and p.name != _MARK)
        if not files or self._target is None:
            return None, None
        draft = self._target.with_name(f".{self._target.name}.part")
        try:
            with zipfile.ZipFile(draft, "w", zipfile.ZIP_STORED) as archive:
                for path in files:
                    # without times, so that equal files are an equal archive
                    entry = zipfile.ZipInfo(path.relative_to(folder).as_posix())
                    entry.external_attr = 0o644 << 16
                    with path.open("rb") as source, archive.open(entry, "w") as sink:
                        shutil.copyfileobj(source, sink)
            draft.replace(self._target)
        except OSError as error:
            draft.unlink(missing_ok=True)
            return None, error
        size, digest = self._target.stat().st_size, sha256_of(self._target)
        return Artifact(uri=str(self._target), sha256=digest, size_bytes=size), None


@contextlib.contextmanager
def _closing(training: Generator[Any, None, Any]) -> Iterator[Generator[Any, None, Any]]:
    """Close a generator at the end, whatever its `finally` does."""
    try:
        yield training
    finally:
        try:
            training.close()
        except Exception as error:
            LOG.warning("the training raised when it was stopped: %r", error)


def _number(name: str, value: object, where: str) -> float:
    """Return a reported value; scalars of numpy and tensors with one element are numbers."""
    plain = value.item() if hasattr(value, "item") and getattr(value, "ndim", 0) == 0 else value
    if isinstance(plain, bool) or not isinstance(plain, int | float):
        raise ReportError(f"{where}: {name} must be a number, got {type(value).__name__}")
    number = float(plain)
    if not math.isfinite(number):
        raise DivergedError(f"{where}: {name} is {number}")
    if name in _SHARES and not 0 <= number <= 1:
        raise ReportError(f"{where}: {name} must be a fraction from 0 to 1, got {number:g}")
    if name in METRICS and number < 0:
        raise ReportError(f"{where}: {name} must be at least 0, got {number:g}")
    return number


def _crash(error: BaseException) -> Outcome:
    """Return the outcome of a function that raised: pruned for lack of memory, else failed."""
    if isinstance(error, FunctionError):
        raise error
    name = type(error).__name__
    if isinstance(error, MemoryError) or name == "OutOfMemoryError":
        reason = "out of memory: use a smaller batch or network"
        return Outcome(state=TrialState.PRUNED, reason=reason, constraint_violation=1.0)
    lines = str(error).strip().splitlines()
    return Outcome(
        state=TrialState.FAILED,
        reason=f"{name}: {lines[0]}" if lines else name,
        error="".join(traceback.format_exception(error)),
    )


@contextlib.contextmanager
def _working_folder(target: Path | None, training: str) -> Iterator[Path]:
    """Yield the folder for the files of a training.

    It stays if the process dies or is stopped, so that another attempt of the same training
    finds its checkpoint; and without a checkpoint it is removed.
    """
    if target is None:
        with tempfile.TemporaryDirectory(prefix="spikefront-") as name:
            yield Path(name)
        return
    folder = target.with_name(target.name + WORK)
    mark = folder / _MARK
    if folder.exists() and (not mark.is_file() or mark.read_text() != training):
        shutil.rmtree(folder)  # of another training
    folder.mkdir(parents=True, exist_ok=True)
    mark.write_text(training)
    has_ended = False
    try:
        yield folder
        has_ended = True
    finally:
        if has_ended or not any(folder.glob("checkpoint*")):
            shutil.rmtree(folder, ignore_errors=True)


__all__ = ["FunctionRun", "FunctionTrainable", "TrainingContext"]
