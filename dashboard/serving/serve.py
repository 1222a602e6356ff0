"""The app as a process of its own, for pictures and tests."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from dashboard.parts.store_cache import STORE_VARIABLE

START_S = 60.0


class ServeError(RuntimeError):
    """The app did not come up; one line."""


def command(port: int) -> list[str]:
    """How the app is started, see `dashboard.serving.server`."""
    return [sys.executable, "-m", "dashboard.serving.server", "--port", str(port)]


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def serving(store: str, *, folder: Path | None = None) -> Iterator[str]:
    """The address of the app, showing that store; it ends on leaving. Raises ServeError.

    It works in `folder`, where runs that it starts leave what they make; by default in this one.
    """
    port = free_port()
    process = subprocess.Popen(
        command(port),
        env={**os.environ, STORE_VARIABLE: store},
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait(port, process)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.send_signal(signal.SIGINT)  # how it ends without waiting for open pages
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(port: int, process: "subprocess.Popen[bytes]") -> None:
    until = time.monotonic() + START_S
    while time.monotonic() < until and process.poll() is None:
        with contextlib.suppress(OSError):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health", timeout=2).close()
            return
        time.sleep(0.05)
    raise ServeError(f"the dashboard did not start within {START_S:.0f} s")
