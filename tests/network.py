"""Chromium drops what it requests when an interface of the network appears, changes or goes.

Tests of pages, and tests that change interfaces, wait for each other, in whatever processes they
are.
"""

import contextlib
import fcntl
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

SETTLE_S = 2.0  # the kernel tells of a link a second late


@contextlib.contextmanager
def still() -> Iterator[None]:
    """No interface changes inside the block."""
    with contextlib.ExitStack() as stack:
        with _locked("next", fcntl.LOCK_EX):  # those that wait to change one come first
            stack.enter_context(_locked("now", fcntl.LOCK_SH))
        yield


@contextlib.contextmanager
def changing() -> Iterator[None]:
    """Change interfaces inside the block, while no page is open."""
    with _locked("next", fcntl.LOCK_EX), _locked("now", fcntl.LOCK_EX):
        yield
        time.sleep(SETTLE_S)


@contextlib.contextmanager
def _locked(name: str, kind: int) -> Iterator[None]:
    path = Path(tempfile.gettempdir()) / f"spikefront-tests-{os.getuid()}-{name}"
    with path.open("a") as file:
        fcntl.flock(file, kind)
        yield
