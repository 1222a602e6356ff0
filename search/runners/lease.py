"""The lease: one driver per study, seen to be alive by renewing a row of the store."""

import contextlib
import threading
import time
from types import TracebackType
from typing import Self

from search.store.lease_owner import is_gone, this_process
from search.store.store import LeaseHeldError, Store, StoreError, StoreGoneError
from search.text import log

LOG = log.logger("lease")

SECONDS = 60.0
RENEW_EVERY_S = 10.0
TRY_AGAIN_S = 1.0  # when the store did not answer


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
        self._renewed = 0.0  # when, by the clock that goes on while a machine sleeps
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
            LOG.info(message)
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
            with contextlib.suppress(StoreGoneError):  # then it is free when it has run out
                self._store.release_lease(self._study, self.holder)

    @property
    def is_held(self) -> bool:
        """Whether no other driver has taken the study over, as far as is known."""
        return self._lost is None

    def check(self) -> None:
        """Raise LeaseHeldError when another driver has taken the study over.

        A process that was stopped, or had no store, for so long that this could have
        happened asks the store.
        """
        if time.time() - self._renewed > SECONDS / 2:
            self.renew()
        if self._lost is not None:
            raise self._lost

    def _acquire(self) -> None:
        self._store.acquire_lease(self._study, self.holder, SECONDS)
        self._renewed = time.time()

    def _keep(self) -> None:
        pause_s = RENEW_EVERY_S
        while not self._ended.wait(pause_s):
            pause_s = RENEW_EVERY_S if self.renew() else TRY_AGAIN_S

    def renew(self) -> bool:
        """Let the lease last from now, what the thread does every few seconds; whether it does.

        A lease that has run out lives again if nobody has taken the study meanwhile.
        """
        try:
            self._store.renew_lease(self._study, self.holder, SECONDS)
        except LeaseHeldError as taken:
            self._lost = taken
            self._ended.set()
        except StoreError as error:
            LOG.info("the lease of %s is not renewed: %s", self._study, error)
            return False  # it may answer soon
        else:
            self._renewed = time.time()
        return self._lost is None


__all__ = ["RENEW_EVERY_S", "SECONDS", "Lease", "LeaseHeldError", "is_gone", "this_process"]
