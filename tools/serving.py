"""The dashboard as a process of its own, for tests, pictures and benchmarks."""

import contextlib
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from dashboard.parts.store_cache import STORE_VARIABLE
from tools.ports import free_port

START_S = 200.0


class ServeError(RuntimeError):
    """The dashboard did not start; one line."""


@contextlib.contextmanager
def serving(store: str, *, folder: Path | None = None) -> Iterator[str]:
    """Serve the store at the URL `store`; yield the address. Raises ServeError.

    `folder` is the working folder of the process, in which runs that it starts leave their files;
    by default the current one.
    """
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "dashboard.serving.server", "--port", str(port)],
        env={**os.environ, STORE_VARIABLE: store},
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait_until_ready(port, process)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.send_signal(signal.SIGINT)  # ends it without a wait for open pages
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_ready(port: int, process: "subprocess.Popen[bytes]") -> None:
    until = time.monotonic() + START_S
    while time.monotonic() < until and process.poll() is None:
        with contextlib.suppress(OSError):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health", timeout=2).close()
            return
        time.sleep(0.05)
    raise ServeError(f"the dashboard did not start within {START_S:.0f} s")
