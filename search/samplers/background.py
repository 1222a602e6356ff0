"""Asks: proposals made while trials run, so that nobody who has a result waits for the sampler.

With several workers the sampler thinks in a thread of its own, always about one
trial ahead: what it proposes does not know of the trials that end meanwhile, no
more than it would with one more worker. With one worker there is nobody else to
wait: each proposal is made when it is needed and knows of all trials before it,
so that an interrupted study is continued by the very trials that were to come.
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
from search.trial.trial import Trial
from snn.settings.measurement import OperatingPoint

LOG = log.logger("sampler")

PATIENCE_S = 0.02  # how long the question whether an answer is there may wait for it
ENDING_S = 5.0  # for a thought that nobody needs any more

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Suggestion:
    """What there is to try next."""

    proposal: Proposal | None  # None: the space has nothing new
    passed: tuple[str, ...]  # points that were ruled out on the way, and why
    exhausted: str  # that there is nothing new, as a sentence


class BackgroundSampler:
    """The sampler's side of a driver. `waited_s` is how long somebody stood still for it."""

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
        """Whether the sampler thinks beside everything else."""
        return self._thread is not None

    def begin(self, number: int) -> None:
        """Think about trial `number`, if that was not begun before."""
        if self._asked is None:
            self._asked = number, self._do(lambda: self._answer(number))

    def is_ready(self, number: int) -> bool:
        """Whether the next `take` answers at once; otherwise it is being thought about."""
        if not self.is_ahead:
            return True
        self.begin(number)
        assert self._asked is not None
        if not self._asked[1].done():
            begun = time.perf_counter()
            wait_for(self._asked[1], PATIENCE_S)
            self.waited_s += time.perf_counter() - begun
        return self._asked[1].done()

    def take(self, number: int) -> Suggestion:
        """What trial `number` should try."""
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
        """What came of a trial; the sampler hears it before it thinks about another one."""
        begun = time.perf_counter()
        self._told.append(self._do(lambda: self._proposals.tell(trial, points)))
        self._check_told()
        self.waited_s += time.perf_counter() - begun

    def close(self) -> None:
        """There will be no more questions."""
        if self._thread is not None:
            self._jobs.put(None)
            self._thread.join(ENDING_S)

    def _answer(self, number: int) -> Suggestion:
        begun = time.perf_counter()
        proposal = self._proposals.propose(number)
        LOG.debug("asked for trial %d, took %.3f s", number, time.perf_counter() - begun)
        return Suggestion(
            proposal=proposal,
            passed=self._proposals.passed,
            exhausted="" if proposal else self._proposals.exhausted(),
        )

    def _check_told(self) -> None:
        """Raise what went wrong with something that was told."""
        while self._told and self._told[0].done():
            self._told.pop(0).result()

    def _do(self, what: Callable[[], T]) -> Future[T]:
        future: Future[T] = Future()

        def job() -> None:
            try:
                future.set_result(what())
            except BaseException as error:  # whoever asks for the result gets it
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
    """Wait until the future is done, but no longer than that."""
    done = threading.Event()
    future.add_done_callback(lambda _: done.set())
    done.wait(seconds)
