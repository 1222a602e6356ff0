"""The lease: one driver per study, seen to be alive by renewing a row of the store."""

import os
import re
import socket
import threading
from types import TracebackType
from typing import Self

from search.store import LeaseHeldError, Store, StoreError

SECONDS = 60.0
RENEW_EVERY_S = 10.0


def this_process() -> str:
    """How this process signs a lease: `host:pid`."""
    return f"{socket.gethostname()}:{os.getpid()}"


def is_gone(holder: str) -> bool:
    """Whether `holder` was a process of this host that is no more; never for other hosts."""
    match = re.fullmatch(rf"{re.escape(socket.gethostname())}:(\d+)", holder)
    if match is None:
        return False
    try:
        os.kill(int(match[1]), 0)
    except ProcessLookupError:
        return True
    except PermissionError:  # it is there, and belongs to somebody else
        return False
    return False


class Lease:
    """Holds a study for this process as a context manager, renewing from a thread.

    The lease of a process of this host that has died is taken over at once, with
    an event; any other is respected until it runs out. Raises LeaseHeldError.
    """

    def __init__(self, store: Store, study: str, *, holder: str | None = None) -> None:
        self._store = store
        self._study = study
        self.holder = holder or this_process()
        self._ended = threading.Event()
        self._lost: LeaseHeldError | None = None
        self._thread = threading.Thread(target=self._keep, name="lease", daemon=True)

    def __enter__(self) -> Self:
        try:
            self._acquire()
        except LeaseHeldError as held:
            if not is_gone(held.holder):
                raise
            self._store.release_lease(self._study, held.holder)
            self._acquire()
            message = f"{held.holder} has died; its lease was taken over by {self.holder}"
            self._store.add_event(self._study, "lease", message)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._thread.join()
        if self._lost is None:
            self._store.release_lease(self._study, self.holder)

    @property
    def is_held(self) -> bool:
        """Whether no other driver has taken the study over, as far as is known."""
        return self._lost is None

    def check(self) -> None:
        """Raise LeaseHeldError when another driver has taken the study over."""
        if self._lost is not None:
            raise self._lost

    def _acquire(self) -> None:
        self._store.acquire_lease(self._study, self.holder, SECONDS)

    def _keep(self) -> None:
        while not self._ended.wait(RENEW_EVERY_S):
            self.renew()

    def renew(self) -> None:
        """Let the lease last from now; what the thread does every few seconds."""
        try:
            self._store.renew_lease(self._study, self.holder, SECONDS)
        except LeaseHeldError as taken:
            self._lost = taken
            self._ended.set()
        except StoreError:
            pass  # a store that is busy may answer in ten seconds; the lease lasts for six tries


__all__ = ["RENEW_EVERY_S", "SECONDS", "Lease", "LeaseHeldError", "is_gone", "this_process"]
