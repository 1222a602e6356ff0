"""The lease of a study: one driver at a time, which renews it while it lives."""

import contextlib
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from search.store.process_identity import holder_name, new_holder
from search.store.store import LeaseHeldError, LeaseLostError, Store, StoreError
from search.text import log

LOG = log.logger("lease")

SECONDS = 60.0
RENEW_EVERY_S = 10.0
TRY_AGAIN_S = 1.0  # after the store did not respond


class Lease:
    """Holds a study for this process as a context manager; a thread renews the lease.

    A lease of a process that is seen to be dead is taken over at once, any other one when it has
    expired by the clock of the database. SQLite has no clock of its own, and that of this machine
    may be wrong: an expired lease is then watched for a renewal first. Raises LeaseHeldError.
    `run_s` returns the seconds of all runs, to be stored with each renewal.
    """

    def __init__(
        self,
        store: Store,
        study: str,
        *,
        holder: str | None = None,
        run_s: Callable[[], float | None] = lambda: None,
    ) -> None:
        self._store = store
        self._study = study
        self._run_s = run_s
        self.holder = holder or new_holder()
        self._ended = threading.Event()
        self._lost: LeaseLostError | None = None
        self._renewed = 0.0
        self._thread = threading.Thread(target=self._renew_regularly, name="lease", daemon=True)

    def __enter__(self) -> Self:
        self._refuse_renewed()
        try:
            self._acquire()
        except LeaseHeldError as held:
            if not self._store.is_gone(held.holder):
                raise
            self._store.release_lease(self._study, held.holder)
            self._acquire()
            message = (
                f"{holder_name(held.holder)} has died; its lease was taken over by "
                f"{holder_name(self.holder)}"
            )
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
            with contextlib.suppress(StoreError):  # a lease that is not released expires
                self._renew_once()
                self._store.release_lease(self._study, self.holder)

    @property
    def is_held(self) -> bool:
        """Return whether no other driver is known to have taken the study."""
        return self._lost is None

    def check(self) -> None:
        """Raise LeaseLostError if another driver has taken the study.

        Asks the store if half of the lease has passed without a renewal: the process was
        suspended, or the store did not respond.
        """
        if _seconds() - self._renewed > SECONDS / 2:
            self.renew()
        if self._lost is not None:
            raise self._lost

    def renew(self) -> bool:
        """Renew the lease; returns whether it is held."""
        try:
            self._renew_once()
        except LeaseLostError as lost:
            self._lost = lost
            self._ended.set()
        except StoreError as error:
            LOG.info("the lease of %s is not renewed: %s", self._study, error)
            return False
        return self._lost is None

    def _acquire(self) -> None:
        self._store.acquire_lease(self._study, self.holder, SECONDS)
        self._renewed = _seconds()

    def _renew_once(self) -> None:
        begun = _seconds()
        self._store.renew_lease(self._study, self.holder, SECONDS, run_s=self._run_s())
        self._renewed = begun

    def _renew_regularly(self) -> None:
        pause_s = RENEW_EVERY_S
        while not self._ended.wait(pause_s):
            pause_s = RENEW_EVERY_S if self.renew() else TRY_AGAIN_S

    def _refuse_renewed(self) -> None:
        """Raise LeaseHeldError if a lease that seems to be expired is renewed meanwhile."""
        found = self._store.lease_of(self._study)
        if self._store.has_clock or found.holder is None or not found.is_expired:
            return
        if self._store.is_gone(found.holder):
            return
        seconds = 1.5 * RENEW_EVERY_S
        LOG.warning(
            "the lease of %s on %s has expired; waiting %g s in case it is renewed",
            holder_name(found.holder),
            self._study,
            seconds,
        )
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            time.sleep(min(0.5, RENEW_EVERY_S / 10))
            now = self._store.lease_of(self._study)
            if now.holder is None:
                return
            if (now.holder, now.until) != (found.holder, found.until):
                assert now.until is not None
                raise LeaseHeldError(self._study, now.holder, now.until)


def _seconds() -> float:
    """Return the time of a clock that runs while the machine sleeps and is never set."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))
