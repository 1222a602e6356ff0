"""`spikefront dashboard`: serve the web pages from a process of their own."""

import argparse
import os
import re
import signal
import socket
import subprocess
import sys

from search.commands import InputError, RunError
from search.commands.options import STORE, command, option, port_number
from search.text.requirements import is_there, needs

HOST = "127.0.0.1"  # of dashboard.serving.server; only this machine, since there is no login


def base_path(text: str) -> str:
    """Return a path like `/results`, or "" for the root. Raises ArgumentTypeError."""
    path = "/".join(["", *(part for part in text.split("/") if part)])
    if not re.fullmatch(r"(/[A-Za-z0-9._~-]+)*", path) or ".." in path:
        raise argparse.ArgumentTypeError(
            f"must be a path of letters, digits and -._~ like /results, got {text!r}"
        )
    return path


@command(
    STORE,
    option(
        "--port",
        "port to serve on (default: %(default)s)",
        metavar="P",
        type=port_number,
        default=8501,
    ),
    option(
        "--base-path",
        "path of the pages for a proxy that passes it on, like /results",
        metavar="PATH",
        type=base_path,
        default="",
    ),
    examples=("spikefront dashboard", "spikefront dashboard --port 8600"),
)
def dashboard(arguments: argparse.Namespace) -> int:
    """Serve the results of a store as web pages on this machine, until Ctrl-C."""
    _check_installed()
    _check_store(arguments.store)
    _check_port(arguments.port)
    address = f"http://{HOST}:{arguments.port}{arguments.base_path}"
    print(f"dashboard at {address} (Ctrl-C stops it)", flush=True)
    options = ["--port", str(arguments.port), "--base-path", arguments.base_path]
    environment = {**os.environ, "SPIKEFRONT_STORE": arguments.store}
    # In a process group of its own, so that a Ctrl-C at the terminal reaches it once, from here.
    process = subprocess.Popen(
        [sys.executable, "-m", "dashboard.serving.server", *options],
        env=environment,
        process_group=0,
        stdin=subprocess.DEVNULL,
    )
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # the server ends with this process
    try:
        code = process.wait()
    except KeyboardInterrupt:
        process.send_signal(signal.SIGINT)
        process.wait()
        return 0
    if code not in (0, -signal.SIGINT, -signal.SIGTERM):
        raise RunError(f"the dashboard ended with exit code {code}; its messages are above")
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
        print(f"spikefront: {error}; studies appear when they start", file=sys.stderr)


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
