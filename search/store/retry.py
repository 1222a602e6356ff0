"""Retries of store transactions while the database does not respond.

An interrupted transaction is executed again from its beginning. It may have been committed
before the connection was lost; the error that its rows exist then counts as success.
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
PAUSE_S = 1.0  # between two attempts

Kind = TypeVar("Kind", bound=type)


def usual_seconds() -> float:
    """Return the limit in seconds: `SPIKEFRONT_STORE_WAIT_S`, or 300. Raises StoreError."""
    text = os.environ.get(VARIABLE) or str(USUAL_S)
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < math.inf:
        raise StoreError(f"{VARIABLE}: must be a number of seconds from 0, got {text!r}")
    return seconds


class StoreRetry:
    """Retries transactions of the thread that creates this, until a time limit is exceeded.

    `say` receives a message when waiting begins and ends. Setting `interrupted` ends waiting
    with KeyboardInterrupt.
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
        """Return the result of `action`, executed again while the store does not respond."""
        if self._is_over or threading.get_ident() != self._thread:
            return action()
        try:
            return action()
        except StoreGoneError as gone:
            return self._wait(action, gone)

    def _wait(self, action: Callable[[], Any], gone: StoreGoneError) -> Any:
        self._is_over = True  # no nested waiting; stays set if waiting fails
        begun = time.monotonic()
        self._say(f"{gone}; waiting for the store for at most {duration(self._seconds)}")
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
            self._say(f"the store responds again after {duration(time.monotonic() - begun)}")
            return answer
        raise StoreGoneError(
            f"{gone}; waited {duration(time.monotonic() - begun)}. "
            "When the store responds again, continue with the same command"
        ) from gone


@runtime_checkable
class HasStoreRetry(Protocol):
    """A store class decorated with `retrying`."""

    retry_policy: StoreRetry | None


@contextmanager
def waiting_for(
    store: HasStoreRetry, *, say: Callable[[str], None], interrupted: threading.Event
) -> Iterator[None]:
    """Retry transactions of this thread inside the block."""
    store.retry_policy = StoreRetry(seconds=usual_seconds(), say=say, interrupted=interrupted)
    try:
        yield
    finally:
        store.retry_policy = None


def retrying(store: Kind) -> Kind:
    """Decorate a store class: public methods use `retry_policy` if it is set."""
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
