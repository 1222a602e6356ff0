"""Trainables for tests that train nothing; workers of Ray import them too."""

import contextlib
import ctypes
import dataclasses
import hashlib
import math
import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from search.pruners.rungs import StoppingRule
from search.study.study import Bound
from search.trial.rung import RungReport
from search.trial.trial import Artifact, Outcome, Timings, TrialState
from search.worker.job import BlockFolder, Report, RunningJob
from snn.settings.config import RunConfig
from snn.settings.measurement import METRICS, Evaluation, Measurement, OperatingPoint


@dataclass(frozen=True, kw_only=True)
class FakeEngine:
    """Returns metrics that depend on the config only, and fails as requested."""

    crash_at_width: int = 0  # raises at this width
    die_at_width: int = 0  # kills its process at this width
    die_once: Path | None = None  # kills its process once, and creates this file
    stuck_at_width: int = 0  # waits without end at this width, in Python
    stuck_in_native_code: bool = False  # in C, holding the interpreter lock
    hang_at_epoch: int = 0  # waits without end after writing to the FIFO `hung`
    hung: Path | None = None
    epoch_s: float = 0.0  # duration of an epoch
    reused_epochs: int = 0  # of each trial
    notes: tuple[str, ...] = ()  # of each trial
    # Folder: trials write their process there in their second epoch, and wait for a file `open`,
    # or for one of `passes`, which they take.
    gate: Path | None = None

    def __call__(
        self,
        config: RunConfig,
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
    ) -> "FakeRun":
        return FakeRun(self, config, weights_path, reuse, stopping)


class FakeRun:
    def __init__(
        self,
        engine: FakeEngine,
        config: RunConfig,
        weights: Path | None,
        reuse: Path | None,
        stopping: StoppingRule | None,
    ) -> None:
        self._engine = engine
        self._config = config
        self._weights = weights
        self._reuse = reuse
        self._stopping = stopping

    def __iter__(self) -> Iterator[Measurement | RungReport]:
        if self._reuse is not None:
            assert self._reuse.read_text() == self._config.training_fingerprint
            return
        total, reached = self._config.total_epochs, 0
        for epoch in range(1, total + 1):
            self._suffer(epoch)
            yield Measurement(
                block=0,
                epoch=epoch,
                epochs_done=epoch,
                epochs_total=total,
                loss=1 / epoch,
                train_accuracy=0.5,
                accuracy=_accuracy(self._config) * epoch / total,
                connectivity=1.0,
                spike_rate=0.1,
                regrown=0,
                training_memory_bytes=1000,
                wall_s=0.0,
                is_reused=epoch <= self._engine.reused_epochs,
                epochs_reused=min(epoch, self._engine.reused_epochs),
            )
            rung = self._stopping.rung(epoch, total) if self._stopping is not None else 0
            if rung > reached and epoch > self._engine.reused_epochs:
                assert self._stopping is not None
                reached = rung
                yield RungReport(
                    rung=rung,
                    epochs_done=epoch,
                    epochs_total=total,
                    points=self._stopping.points(evaluation(self._config).points),
                    timings=Timings(training_s=0.125, evaluation_s=0.0625),
                )

    def _suffer(self, epoch: int) -> None:
        engine = self._engine
        time.sleep(engine.epoch_s)
        if engine.gate is not None and epoch == 2:
            (engine.gate / f"{os.getpid()} of {os.getppid()}").touch()
            while not (engine.gate / "open").exists() and not _has_pass(engine.gate):
                time.sleep(0.05)
        if self._config.width == engine.crash_at_width:
            raise ZeroDivisionError("no such width")
        if self._config.width == engine.die_at_width:
            os.kill(os.getpid(), signal.SIGKILL)
        if engine.die_once is not None and epoch == 2:
            with contextlib.suppress(FileExistsError):
                engine.die_once.touch(exist_ok=False)  # of two at once one dies
                os.kill(os.getpid(), signal.SIGKILL)
        if self._config.width == engine.stuck_at_width and epoch == 2:
            if engine.stuck_in_native_code:
                ctypes.PyDLL(None).sleep(1000)
            threading.Event().wait()
        if engine.hung is not None and epoch == engine.hang_at_epoch:
            engine.hung.write_text(str(os.getpid()))
            threading.Event().wait()

    @property
    def outcome(self) -> Outcome:
        artifact = None
        if self._weights is not None:
            text = self._config.training_fingerprint
            self._weights.parent.mkdir(parents=True, exist_ok=True)
            self._weights.write_text(text)
            digest = hashlib.sha256(text.encode()).hexdigest()
            artifact = Artifact(uri=str(self._weights), sha256=digest, size_bytes=len(text))
        return Outcome(
            state=TrialState.COMPLETE,
            evaluation=evaluation(self._config),
            timings=Timings(training_s=0.25, evaluation_s=0.125),
            artifact=artifact,
            notes=self._engine.notes,
        )


@dataclass(frozen=True, kw_only=True)
class CountingEngine:
    """Trains networks; each trial notes how often its process has read a data set."""

    def __call__(self, config: RunConfig, **place: Any) -> "CountingRun":
        from search.worker.trial_run import TrialRun

        return CountingRun(TrialRun(config, **place))


class CountingRun:
    def __init__(self, running: RunningJob) -> None:
        self._running = running

    def __iter__(self) -> Iterator[Measurement]:
        return iter(self._running)

    @property
    def outcome(self) -> Outcome:
        from snn.data import dataset

        read = dataset._load.cache_info().misses
        note = f"process {os.getpid()} has read data {read} times"
        return dataclasses.replace(self._running.outcome, notes=(note,))


@dataclass(frozen=True, kw_only=True)
class MortalEngine:
    """Trains networks, with a checkpoint for every epoch; once a worker dies after some epochs."""

    epochs: int
    died: Path  # a file that then is there

    def __call__(self, config: RunConfig, **place: Any) -> "MortalRun":
        from search.worker.trial_run import TrialRun
        from snn.training import stage_checkpoint

        stage_checkpoint.SHARE, stage_checkpoint.FIRST_S = math.inf, 0.0
        return MortalRun(self, TrialRun(config, **place))


class MortalRun:
    def __init__(self, engine: MortalEngine, running: RunningJob) -> None:
        self._engine, self._running = engine, running

    def __iter__(self) -> Iterator[Report]:
        for report in self._running:
            yield report
            is_late = isinstance(report, Measurement) and report.epochs_done == self._engine.epochs
            if is_late and not self._engine.died.exists():
                self._engine.died.touch()
                os.kill(os.getpid(), signal.SIGKILL)

    @property
    def outcome(self) -> Outcome:
        return self._running.outcome


def give_passes(gate: Path, count: int) -> None:
    """Let that many trials through a gate; makes it."""
    gate.mkdir(exist_ok=True)
    for number in range(count):
        (gate / f"pass {number}").touch()


def _has_pass(gate: Path) -> bool:
    for found in gate.glob("pass *"):
        with contextlib.suppress(FileNotFoundError):  # another trial has taken it
            found.unlink()
            return True
    return False


def _accuracy(config: RunConfig) -> float:
    return 0.5 + 0.4 * (config.width % 17) / 17


def evaluation(config: RunConfig) -> Evaluation:
    """Return two points: the sampled one, and a cheaper one with lower accuracy."""

    def point(timesteps: int, is_sampled: bool) -> OperatingPoint:
        metrics = dict.fromkeys(METRICS, 1.0)
        metrics["accuracy"] = _accuracy(config) * (1.0 if is_sampled else 0.9)
        metrics["synaptic_ops"] = 1000.0 * config.width * timesteps
        metrics["parameters"] = 10.0 * config.width
        return OperatingPoint(
            timesteps=timesteps,
            exit_thresholds=(),
            detector_threshold=0.5,
            blocks=1,
            metrics=metrics,
            is_sampled=is_sampled,
        )

    sampled = config.inference_timesteps
    points = [point(sampled, True)] + ([point(1, False)] if sampled > 1 else [])
    return Evaluation(
        points=tuple(points),
        layers=(),
        exits=(),
        points_evaluated=len(points),
        wall_s=0.0,
        images=9,
    )
