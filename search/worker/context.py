"""The settings that all jobs of a study share on a worker, and the run of one job."""

import functools
import os
import socket
import traceback
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from search.pruners.rungs import StoppingRule
from search.study.own_training import FunctionError
from search.study.study import Bound
from search.text import log
from search.text.artifacts import is_remote, local_path
from search.trial.trial import Outcome, TrialState
from search.worker.job import BlockFolder, Job, Message, Report, RunningJob, Trainable
from search.worker.time_limit import OvertimeError, TimeLimit, overtime
from search.worker.uploading import UploadingRun

LOG = log.logger("worker")


@dataclass(frozen=True, kw_only=True)
class WorkerContext:
    """The settings that all jobs of a study share on a worker."""

    data_dir: Path
    device: str = "cpu"  # cpu, cuda or auto
    threads: int = 1
    constraints: Mapping[str, Bound] = field(default_factory=dict)
    blocks: BlockFolder | None = None  # None: no block is reused
    trial_s: float | None = None  # limit on the wall time of a trial
    stopping: StoppingRule | None = None  # None: no early stopping
    trainable: Trainable

    def run(self, job: Job) -> Generator[Message]:
        """Yield the reports of the job, and last its outcome.

        An exception becomes a failed outcome with its traceback, and a trial that exceeds its
        time limit is pruned. Only snn.data.dataset.DataError and FunctionError are raised, because
        all trials share the data set, or the function.
        """
        limit = TimeLimit(seconds=self.trial_s)
        try:
            with limit.enforced(), log.about(job.title):
                LOG.info("starting in process %d of %s", os.getpid(), socket.gethostname())
                running = self._running(job)
                messages = iter(running)
            while (message := _next(messages, limit, job.title)) is not None:
                yield message
                if limit.is_over:
                    raise OvertimeError
            outcome = running.outcome
        except OvertimeError:
            outcome = overtime(self.trial_s or 0.0)
        except Exception as error:
            if _concerns_all(error):
                raise
            outcome = crash(error)
        yield outcome

    def trainable_for(self, job: Job) -> Trainable:
        """Return the trainable of the job."""
        return self.trainable

    def _running(self, job: Job) -> RunningJob:
        files = [uri for uri in (job.weights, job.reuse) if uri is not None]
        if not any(is_remote(uri) for uri in files):
            return self._start(job, _path(job.weights), _path(job.reuse))
        start = functools.partial(self._start, job)
        return UploadingRun(start, weights=job.weights, reuse=job.reuse)

    def _start(self, job: Job, weights_path: Path | None, reuse: Path | None) -> RunningJob:
        return self.trainable_for(job)(
            job.config,
            data_dir=self.data_dir,
            device=self.device,
            threads=self.threads,
            weights_path=weights_path,
            checkpoint=job.checkpoint,
            constraints=self.constraints,
            reuse=reuse,
            blocks=self.blocks,
            stopping=self.stopping,
        )


def _path(uri: str | None) -> Path | None:
    return None if uri is None else local_path(uri)


def _next(messages: Iterator[Report], limit: TimeLimit, title: str) -> Report | None:
    with limit.enforced(), log.about(title):
        return next(messages, None)


def crash(error: BaseException) -> Outcome:
    """Return the outcome of a trial that raised `error`."""
    return Outcome(
        state=TrialState.FAILED,
        reason=_one_line(error),
        error="".join(traceback.format_exception(error)),
    )


def _one_line(error: BaseException) -> str:
    text = str(error).strip()
    return f"{type(error).__name__}: {text.splitlines()[0]}" if text else type(error).__name__


def _concerns_all(error: Exception) -> bool:
    if isinstance(error, FunctionError):
        return True
    from snn.data.image_files import DataError

    return isinstance(error, DataError)
