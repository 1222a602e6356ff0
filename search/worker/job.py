"""Jobs for workers, and the protocols of job sources, running jobs and trainables."""

import os
import tempfile
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from search.pruners.rungs import StoppingRule
from search.study.study import Bound, Study
from search.trial.function_config import Config
from search.trial.rung import RungReport
from search.trial.trial import Outcome, Params
from snn.settings.config import RunConfig
from snn.settings.measurement import Measurement
from snn.settings.user_folders import cache_folder


@dataclass(frozen=True, kw_only=True)
class Continuation:
    """Says whether a trial continues from the checkpoint that it found: its first message."""

    measurements: tuple[Measurement, ...]  # of the epochs before; empty: it begins anew
    unused: str = ""  # why, if it begins anew

    @property
    def line(self) -> str:
        """Return after which epoch it continues, or why it begins at the first one."""
        if not self.measurements:
            return f"begins at epoch 1: {self.unused}"
        last = self.measurements[-1]
        return f"continues after epoch {last.epochs_done} of {last.epochs_total}"


Report = Continuation | Measurement | RungReport
Message = Report | Outcome


def run_config(study: Study, params: Params) -> RunConfig:
    """Return the run config of a trial of the engine with `params`. Raises ConfigError."""
    config = study.config(params)
    assert isinstance(config, RunConfig), "an own training has no run config"
    return config


@dataclass(frozen=True, kw_only=True)
class Job:
    """One training and evaluation for a worker."""

    number: int
    config: Config
    weights: str | None  # path or URI to save the trained weights at
    checkpoint: str | None = None  # path or URI of its checkpoint; None: it starts anew when lost
    reuse: str | None = None  # weights of an equal training: evaluated, not trained
    reused_trial: int | None = None  # the number of the trial that made these weights

    @property
    def title(self) -> str:
        """Return the name of the job in the log."""
        return f"trial {self.number}"


@dataclass(frozen=True, kw_only=True)
class BlockFolder:
    """The folder of the block cache, see `snn.training.block_cache`."""

    path: Path | None  # None: in the cache folder of the user on each machine
    limit_bytes: int

    @property
    def here(self) -> Path:
        """Return the folder on this machine."""
        if self.path is not None:
            return self.path
        try:
            return cache_folder() / "blocks"
        except OSError:  # a user without a home folder
            return Path(tempfile.gettempdir()) / f"spikefront-{os.getuid()}" / "blocks"


@runtime_checkable
class RunningJob(Protocol):
    """A job at work: yields reports, and then has an outcome."""

    @property
    def outcome(self) -> Outcome:
        """Return the outcome; iteration must have ended."""

    def __iter__(self) -> Iterator[Report]:
        """Yield the measurement of each epoch, and the rung report after it if a rung is reached.

        A job that finds a checkpoint yields the epochs before at once, or why it begins anew.
        The caller stops the trial by ending the iteration.
        """


@runtime_checkable
class JobSource(Protocol):
    """Creates jobs for the workers and receives their results: the driver of a study."""

    @property
    def interrupted(self) -> threading.Event:
        """Return the event that Ctrl-C sets where it does not raise KeyboardInterrupt."""

    def next(self) -> Job | None:
        """Return the next job, or None if there are no more jobs."""

    def is_ready(self) -> bool:
        """Return whether `next` returns at once; if not, other jobs are running."""

    def is_running(self, number: int) -> bool:
        """Return whether the job was started here and has no outcome yet."""

    def resume(self, number: int, continuation: Continuation) -> None:
        """Record that a running job continues from a checkpoint, or why it cannot."""

    def record(self, number: int, measurement: Measurement) -> None:
        """Store the measurement of an epoch of a running job."""

    def judge(self, number: int, report: RungReport) -> bool:
        """Return whether a job is stopped at a rung; if so, it has ended."""

    def retry(self, number: int, message: str) -> None:
        """Record that the worker of a job was lost and that another one starts the job again."""

    def finish(self, number: int, outcome: Outcome) -> None:
        """Record the outcome of a job."""

    def should_halt(self) -> bool:
        """Return whether to stop now, as a user requested. Cheap enough to be called often."""

    def say(self, text: str) -> None:
        """Show a message."""


@runtime_checkable
class Trainable(Protocol):
    """Makes running jobs; `search.worker.trial_run.TrialRun` trains networks."""

    def __call__(
        self,
        config: Any,  # RunConfig of the engine, FunctionConfig of an own training
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
    ) -> RunningJob:
        """Return the running job of `config`, not started."""
