"""PostgreSQL for tests: a running server, or a new one from installed binaries."""

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tools.ports import free_port

NAMED = os.environ.get("SPIKEFRONT_TEST_POSTGRES")
USUAL = (
    "postgresql://root@localhost:5432/postgres",
    "postgresql://postgres@localhost:5432/postgres",
)
ACCOUNT = "postgres"  # the server refuses to run as root
NONE = "no PostgreSQL: none answers, and no binaries are installed (SPIKEFRONT_TEST_POSTGRES)"


class Server:
    """A server in a temporary folder on a free port."""

    def __init__(self, binaries: Path, folder: Path, listen: str = "127.0.0.1") -> None:
        self._binaries, self._folder, self._listen = binaries, folder, listen
        self._port = free_port()
        self.url = f"postgresql://{ACCOUNT}@{listen}:{self._port}/postgres"
        if os.getuid() == 0:
            shutil.chown(folder, ACCOUNT, ACCOUNT)
        words = ["-A", "trust", "-U", ACCOUNT, "--no-sync", "--no-locale", "-E", "UTF8"]
        self._run("initdb", "-D", f"{folder}/data", *words)
        with (folder / "data" / "pg_hba.conf").open("a") as file:
            file.write(f"host all all {listen}/24 trust\n")

    def start(self) -> None:
        """Start the server and wait until it responds."""
        where = f"-c listen_addresses={self._listen} -k {self._folder}"
        options = f"-p {self._port} {where} -c fsync=off"
        log = f"{self._folder}/log"
        self._run("pg_ctl", "-D", f"{self._folder}/data", "-w", "-l", log, "-o", options, "start")

    def stop(self, how: str = "immediate") -> None:
        """Stop the server; `immediate` is like a crash."""
        self._run("pg_ctl", "-D", f"{self._folder}/data", "-w", "-m", how, "stop")

    def _run(self, program: str, *words: str) -> None:
        command = [str(self._binaries / program), *words]
        if os.getuid() == 0:
            command = ["runuser", "-u", ACCOUNT, "--", *command]
        done = subprocess.run(
            command, cwd=self._folder, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE, text=True, timeout=120,
        )  # fmt: skip
        assert done.returncode == 0, f"{program}: {done.stderr}"


def binaries() -> Path | None:
    """Return the folder of the newest installed server."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: path.parts[-2])
    found = shutil.which("pg_ctl")
    folders += [Path(found).resolve().parent] if found else []
    return next((folder for folder in reversed(folders) if (folder / "initdb").exists()), None)


@contextlib.contextmanager
def own_server(listen: str = "127.0.0.1") -> Iterator[Server]:
    """Start a server that a test may stop and start; another host may reach it at `listen`."""
    found = binaries()
    if found is None:
        pytest.skip(NONE)
    with tempfile.TemporaryDirectory(prefix="spikefront-postgres-") as folder:
        server = Server(found, Path(folder), listen)
        server.start()
        try:
            yield server
        finally:
            with contextlib.suppress(AssertionError):  # a test may have stopped it
                server.stop()


@contextlib.contextmanager
def any_server() -> Iterator[str]:
    """Yield the URL of a server: the named one, the usual one, or a new one."""
    pytest.importorskip("psycopg", reason="no PostgreSQL: psycopg is not installed")
    if NAMED:
        yield NAMED
        return
    for url in USUAL:
        if answers(url):
            yield url
            return
    with own_server() as server:
        yield server.url


def answers(url: str) -> bool:
    import psycopg

    try:
        psycopg.connect(url, connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True
