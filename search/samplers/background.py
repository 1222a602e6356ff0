"""Proposals computed in a background thread while trials run.

With several workers a thread computes the proposal for one trial ahead. The proposal does not
use trials that end meanwhile, as if there were one more worker. With one worker each proposal
is computed when it is needed and uses all earlier trials, so that an interrupted study
continues with exactly the trials of an uninterrupted one.
"""

import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TypeVar

from search.samplers.proposals import Proposal, Proposals
from search.text import log
from search.trial.rung import RungReport
from search.trial.trial import Trial
from snn.settings.measurement import OperatingPoint

LOG = log.logger("sampler")

POLL_S = 0.02  # how long `is_ready` may wait for a proposal
ENDING_S = 5.0  # how long `close` waits for a proposal that nobody needs any more

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Suggestion:
    """The proposal for the next trial."""

    proposal: Proposal | None  # None: the space has nothing new
    rejected: tuple[str, ...]  # reasons and configurations that were infeasible
    exhausted: str  # a sentence that says why there is no proposal


class BackgroundSampler:
    """Computes proposals in a background thread. `waited_s`: seconds that the driver waited."""

    def __init__(self, proposals: Proposals, *, ahead: bool) -> None:
        self.waited_s = 0.0
        self._proposals = proposals
        self._asked: tuple[int, Future[Suggestion]] | None = None
        self._told: list[Future[None]] = []
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread = None
        if ahead:
            self._thread = threading.Thread(target=self._work, name="sampler", daemon=True)
            self._thread.start()

    @property
    def is_ahead(self) -> bool:
        """Whether proposals are computed in a thread."""
        return self._thread is not None

    def begin(self, number: int) -> None:
        """Begin to compute the proposal for trial `number`, if that was not begun before."""
        if self._asked is None:
            self._asked = number, self._do(lambda: self._answer(number))

    def is_ready(self, number: int) -> bool:
        """Whether the next `take` answers at once; otherwise its proposal is being computed."""
        if not self.is_ahead:
            return True
        self.begin(number)
        assert self._asked is not None
        if not self._asked[1].done():
            begun = time.perf_counter()
            wait_for(self._asked[1], POLL_S)
            self.waited_s += time.perf_counter() - begun
        return self._asked[1].done()

    def take(self, number: int) -> Suggestion:
        """Return the proposal for trial `number`; wait for it."""
        begun = time.perf_counter()
        self.begin(number)
        assert self._asked is not None
        asked, future = self._asked
        assert asked == number, f"asked for trial {asked}, not {number}"
        self._asked = None
        answer = future.result()
        self._check_told()
        self.waited_s += time.perf_counter() - begun
        return answer

    def tell(self, trial: Trial, points: Sequence[OperatingPoint] = ()) -> None:
        """Tell the sampler the result of a trial before its next proposal."""
        begun = time.perf_counter()
        self._told.append(self._do(lambda: self._proposals.tell(trial, points)))
        self._check_told()
        self.waited_s += time.perf_counter() - begun

    def hear(self, number: int, report: RungReport) -> None:
        """Tell the sampler what a running trial measured at a rung."""
        begun = time.perf_counter()
        self._told.append(self._do(lambda: self._proposals.hear(number, report)))
        self._check_told()
        self.waited_s += time.perf_counter() - begun

    def close(self) -> None:
        """End the thread."""
        if self._thread is not None:
            self._jobs.put(None)
            self._thread.join(ENDING_S)

    def _answer(self, number: int) -> Suggestion:
        begun = time.perf_counter()
        proposal = self._proposals.propose(number)
        LOG.debug("asked for trial %d, took %.3f s", number, time.perf_counter() - begun)
        return Suggestion(
            proposal=proposal,
            rejected=self._proposals.rejected,
            exhausted="" if proposal else self._proposals.exhausted(),
        )

    def _check_told(self) -> None:
        """Raise the error of an earlier `tell`, if there was one."""
        while self._told and self._told[0].done():
            self._told.pop(0).result()

    def _do(self, what: Callable[[], T]) -> Future[T]:
        future: Future[T] = Future()

        def job() -> None:
            try:
                future.set_result(what())
            except BaseException as error:  # raised where the result is read
                future.set_exception(error)

        if self._thread is None:
            job()
        else:
            self._jobs.put(job)
        return future

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()


def wait_for(future: Future[T], seconds: float) -> None:
    """Wait until the future is done, at most `seconds`."""
    done = threading.Event()
    future.add_done_callback(lambda _: done.set())
    done.wait(seconds)
