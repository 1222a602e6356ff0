"""Patience: a driver waits for a store that does not answer, for a while, and says so.

A transaction that was cut off is carried out again from its beginning. Whether it
had been kept before the connection was lost cannot be known; where it is found to
be there already, that is what was wanted.
"""

import functools
import inspect
import math
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar, runtime_checkable

from search.store.database import AlreadyError, StoreError, StoreGoneError
from search.text.units import duration

VARIABLE = "SPIKEFRONT_STORE_WAIT_S"
USUAL_S = 300.0
PAUSE_S = 1.0  # between two tries

Kind = TypeVar("Kind", bound=type)


def usual_seconds() -> float:
    """How long a driver waits: `SPIKEFRONT_STORE_WAIT_S`, or five minutes. Raises StoreError."""
    text = os.environ.get(VARIABLE) or str(USUAL_S)
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < math.inf:
        raise StoreError(f"{VARIABLE}: must be a number of seconds from 0, got {text!r}")
    return seconds


class StoreRetry:
    """Waits for a store on behalf of the thread that made this; ends for good when it runs out.

    `say` hears when the waiting begins and when it is over. Setting `interrupted`
    ends the waiting with a KeyboardInterrupt.
    """

    def __init__(
        self,
        *,
        seconds: float,
        say: Callable[[str], None],
        interrupted: threading.Event,
    ) -> None:
        self._seconds, self._say, self._interrupted = seconds, say, interrupted
        self._thread = threading.get_ident()
        self._is_over = False

    def run(self, action: Callable[[], Any]) -> Any:
        """What `action` answers, as soon as the store does."""
        if self._is_over or threading.get_ident() != self._thread:
            return action()
        try:
            return action()
        except StoreGoneError as gone:
            return self._wait(action, gone)

    def _wait(self, action: Callable[[], Any], gone: StoreGoneError) -> Any:
        self._is_over = True  # also for what is called from here, and whatever ends the waiting
        begun = time.monotonic()
        self._say(f"{gone}; waiting for the store, for at most {duration(self._seconds)}")
        while time.monotonic() - begun < self._seconds:
            if self._interrupted.wait(PAUSE_S):
                raise KeyboardInterrupt
            try:
                answer = action()
            except StoreGoneError as again:
                gone = again
                continue
            except AlreadyError:
                answer = None
            self._is_over = False
            self._say(f"the store is back after {duration(time.monotonic() - begun)}")
            return answer
        raise StoreGoneError(
            f"{gone}; waited {duration(time.monotonic() - begun)}. "
            "The same command goes on from here when the store is back"
        ) from gone


@runtime_checkable
class HasStoreRetry(Protocol):
    """A store that is `patient`."""

    retry_policy: StoreRetry | None


@contextmanager
def waiting_for(
    store: HasStoreRetry, *, say: Callable[[str], None], interrupted: threading.Event
) -> Iterator[None]:
    """Meanwhile this thread waits for the store where it does not answer."""
    store.retry_policy = StoreRetry(seconds=usual_seconds(), say=say, interrupted=interrupted)
    try:
        yield
    finally:
        store.retry_policy = None


def retrying(store: Kind) -> Kind:
    """Lets every method of a store class be carried out with its `patience`, where it has one."""
    for name, method in inspect.getmembers(store, inspect.isfunction):
        if not name.startswith("_") and name != "close":
            setattr(store, name, _retried(method))
    return store


def _retried(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def call(self: Any, *args: Any, **named: Any) -> Any:
        if self.retry_policy is None:
            return method(self, *args, **named)
        return self.retry_policy.run(lambda: method(self, *args, **named))

    return call
