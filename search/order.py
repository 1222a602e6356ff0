"""Orders: what a worker is asked to do, the same in this process and on any other."""

import functools
import os
import socket
import threading
import traceback
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

from search import log
from search.artifacts import is_remote, local_path
from search.rung import RungReport
from search.stopping import StoppingRule
from search.study import Bound
from search.time_limit import OvertimeError, TimeLimit, overtime
from search.trial import Outcome, TrialState
from snn.config import RunConfig
from snn.measurement import Measurement

LOG = log.logger("worker")

Message = Measurement | RungReport | Outcome


@dataclass(frozen=True, kw_only=True)
class Order:
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
    """Where trained blocks are kept for other trials, see `snn.block_cache`."""

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
class Running(Protocol):
    """A trial at work: a measurement per epoch, reports at rungs, and then what came of it."""

    @property
    def outcome(self) -> Outcome:
        """What came of the trial, once there is nothing more to iterate over."""

    def __iter__(self) -> Iterator[Measurement | RungReport]:
        """Measurements, epoch by epoch; behind one that reaches a rung, the report of it.

        Whoever does not go on iterating behind a report has stopped the trial there.
        """


@runtime_checkable
class Foreman(Protocol):
    """Whoever has orders to give and hears what comes of them: one study's ledger, say."""

    @property
    def interrupted(self) -> threading.Event:
        """Set by Ctrl-C, where that does not raise by itself."""

    def next(self) -> Order | None:
        """The next order; None when there is none any more."""

    def is_ready(self) -> bool:
        """Whether `next` answers at once; if not, others are being carried out meanwhile."""

    def is_running(self, number: int) -> bool:
        """Whether that order was given, and its outcome is not known."""

    def record(self, number: int, measurement: Measurement) -> None:
        """An epoch of an order that is carried out."""

    def judge(self, number: int, report: RungReport) -> bool:
        """Whether an order that has come to a rung is stopped there; then it is over."""

    def retry(self, number: int, message: str) -> None:
        """The worker of an order was lost, and another one begins it anew."""

    def finish(self, number: int, outcome: Outcome) -> None:
        """What came of an order."""

    def should_halt(self) -> bool:
        """Whether to leave at once, because someone asked for it. Cheap, to be called often."""

    def say(self, text: str) -> None:
        """Something that people should know."""


@runtime_checkable
class Engine(Protocol):
    """Makes trials run; `search.configure.TrialRun` is the one that trains networks."""

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
    ) -> Running:
        """A trial of `config`, about to start."""


@dataclass(frozen=True, kw_only=True)
class Workplace:
    """What all orders of a study have in common where they are carried out."""

    data_dir: Path
    device: str = "cpu"  # cpu, cuda or auto
    threads: int = 1
    constraints: Mapping[str, Bound] = field(default_factory=dict)
    blocks: BlockFolder | None = None  # None: every block is trained
    trial_s: float | None = None  # the time that a trial may take
    stopping: StoppingRule | None = None  # None: every trial is trained to its end
    engine: Engine | None = None  # None is the one that trains networks

    def carry_out(self, order: Order) -> Generator[Message]:
        """The order's measurements and reports at rungs, and last its outcome.

        An exception becomes an outcome with its traceback: a trial that crashes
        does not end its study. One whose time is over is pruned. Only a missing
        data set (snn.data.DataError) is raised, because every other trial would
        miss it too.
        """
        limit = TimeLimit(seconds=self.trial_s)
        try:
            with limit.enforced(), log.about(order.title):
                LOG.info("begins in process %d of %s", os.getpid(), socket.gethostname())
                running = self._running(order)
                messages = iter(running)
            while (message := _next(messages, limit, order.title)) is not None:
                yield message
                if limit.is_over:
                    raise OvertimeError
            outcome = running.outcome
        except OvertimeError:
            outcome = overtime(self.trial_s or 0.0)
        except Exception as error:
            if _is_missing_data(error):
                raise
            outcome = crash(error)
        yield outcome

    def engine_for(self, order: Order) -> Engine:
        """What carries the order out."""
        if self.engine is not None:
            return self.engine
        from search.configure import TrialRun

        return TrialRun

    def _running(self, order: Order) -> Running:
        files = [uri for uri in (order.weights, order.reuse) if uri is not None]
        if not any(is_remote(uri) for uri in files):
            return self._start(order, _path(order.weights), _path(order.reuse))
        from search.remote import RemoteRun

        start = functools.partial(self._start, order)
        return RemoteRun(start, weights=order.weights, reuse=order.reuse)

    def _start(self, order: Order, weights_path: Path | None, reuse: Path | None) -> Running:
        return self.engine_for(order)(
            order.config,
            data_dir=self.data_dir,
            device=self.device,
            threads=self.threads,
            weights_path=weights_path,
            constraints=self.constraints,
            reuse=reuse,
            blocks=self.blocks,
            stopping=self.stopping,
        )


def _path(uri: str | None) -> Path | None:
    return None if uri is None else local_path(uri)


def _next(
    messages: Iterator[Measurement | RungReport], limit: TimeLimit, title: str
) -> Measurement | RungReport | None:
    with limit.enforced(), log.about(title):
        return next(messages, None)


def crash(error: BaseException) -> Outcome:
    """The outcome of a trial that raised `error`."""
    return Outcome(
        state=TrialState.FAILED,
        reason=_one_line(error),
        error="".join(traceback.format_exception(error)),
    )


def _one_line(error: BaseException) -> str:
    text = str(error).strip()
    return f"{type(error).__name__}: {text.splitlines()[0]}" if text else type(error).__name__


def _is_missing_data(error: Exception) -> bool:
    from snn.image_files import DataError

    return isinstance(error, DataError)
