"""`spikefront dashboard`: serve the pages from a process of their own."""

import argparse
import os
import signal
import socket
import subprocess
import sys

from search.commands import InputError, RunError
from search.text.requirements import is_there, needs

HOST = "127.0.0.1"  # where dashboard.serving.server serves: nothing is asked of who looks


def dashboard(arguments: argparse.Namespace) -> int:
    """Serve until Ctrl-C, which is how it ends well."""
    _check_installed()
    _check_store(arguments.store)
    _check_port(arguments.port)
    print(f"dashboard at http://{HOST}:{arguments.port} (Ctrl-C stops it)", flush=True)
    environment = {**os.environ, "SPIKEFRONT_STORE": arguments.store}
    # In a group of its own, so that a Ctrl-C at the terminal reaches it once, from here.
    process = subprocess.Popen(
        [sys.executable, "-m", "dashboard.serving.server", "--port", str(arguments.port)],
        env=environment,
        process_group=0,
        stdin=subprocess.DEVNULL,
    )
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # its pages end with this process
    try:
        code = process.wait()
    except KeyboardInterrupt:
        process.send_signal(signal.SIGINT)
        process.wait()
        return 0
    if code not in (0, -signal.SIGINT, -signal.SIGTERM):
        raise RunError(f"the dashboard ended with exit code {code}; its own words are above")
    return 0


def _check_installed() -> None:
    for name in ("streamlit", "plotly", "pandas"):
        if not is_there(name):
            raise InputError(f"the dashboard {needs(name)}")


def _check_store(url: str) -> None:
    from search.store.store import Store, StoreError

    try:
        Store(url, read_only=True).close()
    except StoreError as error:
        if not str(error).startswith("no store at"):
            raise
        print(
            f"spikefront: {error}; the pages show studies as they begin",
            file=sys.stderr,
        )


def _check_port(port: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except PermissionError as error:
            raise InputError(
                f"--port: must be a port that this user may serve on, got {port}; try 8501"
            ) from error
        except OSError as error:
            raise InputError(
                f"--port: {port} is in use; choose another, like --port {min(port + 1, 65535)}"
            ) from error
