"""Jobs: what a worker is asked to do, and the protocols of those who give, run and train them."""

import os
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from search.pruners.moasha import StoppingRule
from search.study.space import run_values
from search.study.study import Bound, Study
from search.trial.rung import RungReport
from search.trial.trial import Outcome, Params
from snn.settings.config import RunConfig
from snn.settings.measurement import Measurement

Message = Measurement | RungReport | Outcome


def run_config(study: Study, params: Params) -> RunConfig:
    """Return the run config of a trial with `params`. Raises ConfigError."""
    return RunConfig.from_mapping(run_values(study.run, params))


@dataclass(frozen=True, kw_only=True)
class Job:
    """One trial to be run."""

    number: int
    config: RunConfig
    weights: str | None  # path or URI where the trained weights go
    reuse: str | None = None  # weights of an equal training, evaluated instead of trained again
    reused_trial: int | None = None  # the trial of the study that these weights belong to

    @property
    def title(self) -> str:
        """What it is called in a log."""
        return f"trial {self.number}"


@dataclass(frozen=True, kw_only=True)
class BlockFolder:
    """Where trained blocks are kept for other trials, see `snn.training.block_cache`."""

    path: Path | None  # None: in the cache folder of the user, on each machine its own
    limit_bytes: int

    @property
    def here(self) -> Path:
        """The folder on this machine."""
        if self.path is not None:
            return self.path
        cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        return Path(cache) / "spikefront" / "blocks"


@runtime_checkable
class RunningJob(Protocol):
    """A trial at work: a measurement per epoch, reports at rungs, and then what came of it."""

    @property
    def outcome(self) -> Outcome:
        """What came of the trial, once there is nothing more to iterate over."""

    def __iter__(self) -> Iterator[Measurement | RungReport]:
        """Measurements, epoch by epoch; behind one that reaches a rung, the report of it.

        Whoever does not go on iterating behind a report has stopped the trial there.
        """


@runtime_checkable
class JobSource(Protocol):
    """Whoever has jobs to give and hears what comes of them: one study's driver, say."""

    @property
    def interrupted(self) -> threading.Event:
        """Set by Ctrl-C, where that does not raise by itself."""

    def next(self) -> Job | None:
        """The next job; None when there is none any more."""

    def is_ready(self) -> bool:
        """Whether `next` answers at once; if not, others are being carried out meanwhile."""

    def is_running(self, number: int) -> bool:
        """Whether that job was given, and its outcome is not known."""

    def record(self, number: int, measurement: Measurement) -> None:
        """An epoch of an job that is carried out."""

    def judge(self, number: int, report: RungReport) -> bool:
        """Whether an job that has come to a rung is stopped there; then it is over."""

    def retry(self, number: int, message: str) -> None:
        """The worker of an job was lost, and another one begins it anew."""

    def finish(self, number: int, outcome: Outcome) -> None:
        """What came of an job."""

    def should_halt(self) -> bool:
        """Whether to leave at once, because someone asked for it. Cheap, to be called often."""

    def say(self, text: str) -> None:
        """Something that people should know."""


@runtime_checkable
class Trainable(Protocol):
    """Makes trials run; `search.worker.trial_run.TrialRun` is the one that trains networks."""

    def __call__(
        self,
        config: RunConfig,
        *,
        data_dir: Path,
        device: str,
        threads: int,
        weights_path: Path | None,
        constraints: Mapping[str, Bound],
        reuse: Path | None,
        blocks: BlockFolder | None,
        stopping: StoppingRule | None,
    ) -> RunningJob:
        """A trial of `config`, about to start."""
