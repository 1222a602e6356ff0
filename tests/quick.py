"""Commands as processes that need not load anything first: a server with all of it forks them.

`quick.folder()` holds a command `spikefront` that runs in a fork of a server, which the first
use starts and the end of the test process stops, and `Module` runs one as `python -m` does. What a
process says while it loads, and what it loads, cannot be tested so: such tests start Python.

What was forked ends with the server, and so with the tests, however they end.

There are two servers: with extensions, and in a folder with a copy of our packages, our modules are
loaded by the command itself, since they read that variable when they are loaded, and no other.
"""

import array
import atexit
import contextlib
import ctypes
import functools
import gc
import importlib
import json
import os
import pkgutil
import runpy
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
LOADED = (
    "alembic.command", "jinja2", "moocore", "optuna", "pyarrow.fs", "rich.console", "rich.progress",
    "rich.table", "safetensors.torch", "scipy.optimize", "sqlalchemy.dialects.postgresql",
    "sqlalchemy.dialects.sqlite", "sqlalchemy.orm", "tomli_w", "torch",
)  # fmt: skip
OURS = ("snn", "search")
PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of <linux/prctl.h>
_prctl = ctypes.CDLL(None).prctl
# of Ray, Triton, Alembic and pandas; one of them warns that it has moved
NOT_LOADED = (
    "search.library", "search.results", "search.runners.ray_tune", "search.runners.tune_memory",
    "search.store.migrations", "search.templates", "snn.backbones", "snn.lif.kernels",
)  # fmt: skip
Server = subprocess.Popen[bytes]
CLIENT = f"""\
#!{sys.executable} -SEs
import array, json, os, signal, socket, sys
server = socket.socket(socket.AF_UNIX)
is_copy = os.path.isdir("snn") and os.getcwd() != {str(ROOT)!r}
kind = "extended" if is_copy or os.environ.get("SPIKEFRONT_EXTENSIONS") else "usual"
server.connect(os.path.join(os.path.dirname(os.path.realpath(__file__)), kind))
told = os.environ.pop("QUICK_TELL", None)
given = json.dumps([sys.argv[1:], told, os.getcwd(), dict(os.environ)]).encode()
files = array.array("i", [0, 1, 2])
header = len(given).to_bytes(8, "big")
server.sendmsg([header], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, files)])
server.sendall(given)
answers = server.makefile()
child = int(answers.readline())
def pass_on(number, frame):
    try:
        os.kill(child, number)
    except ProcessLookupError:  # it has ended, and its exit code is on the way
        pass
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, pass_on)
if told is not None:
    os.write(int(told), b"%d" % child)
    os.close(int(told))
code = int(answers.readline() or 70)
if code < 0:
    if code != -signal.SIGKILL:
        signal.signal(-code, signal.SIG_DFL)
    os.kill(os.getpid(), -code)
os._exit(code)
"""


@functools.cache
def folder() -> Path:
    """A folder for the path of a command; starts the server."""
    place = Path(tempfile.mkdtemp(prefix="quick-"))
    server = start(place)
    atexit.register(lambda: (server.kill(), server.wait(), shutil.rmtree(place)))
    return place


def start(place: Path, *, is_loaded: bool = True) -> Server:
    """A server for the command that it puts into a folder, once it is ready."""
    command = place / "spikefront"
    command.write_text(CLIENT)
    command.chmod(command.stat().st_mode | stat.S_IXUSR)
    server = subprocess.Popen(
        [sys.executable, "-m", "tests.quick", str(place), *(["loaded"] if is_loaded else [])],
        cwd=ROOT,
        stdin=subprocess.PIPE,  # its end is the end of this process
        stdout=subprocess.PIPE,
    )
    assert server.stdout is not None
    assert [server.stdout.readline() for _ in range(2)] == [b"ready\n"] * 2
    return server


def end_with(parent: int) -> None:
    """Have this process killed when its parent ends. What it forks has to ask for it again."""
    _prctl(PARENT_DEATH_SIGNAL, signal.SIGKILL)
    if os.getppid() != parent:  # which has ended before
        os._exit(0)


def command() -> str:
    """The command `spikefront`, for a list of words."""
    return str(folder() / "spikefront")


class Module(subprocess.Popen[str]):
    """`python -m module words`, which loads only what the server has not.

    `child` is its process: `pid` is that of a client, which ends as it does.
    """

    def __init__(
        self,
        *words: object,
        folder: Path = ROOT,
        environment: Mapping[str, str] = {},
        stdout: int = subprocess.PIPE,
        stderr: int = subprocess.PIPE,
    ) -> None:
        told, tell = os.pipe()
        super().__init__(
            [command(), *map(str, words)],
            cwd=folder,
            env={**os.environ, **environment, "QUICK_TELL": str(tell)},
            stdout=stdout,
            stderr=stderr,
            text=True,
            pass_fds=[tell],
            start_new_session=True,
        )
        os.close(tell)
        with os.fdopen(told) as answer:
            self.child = int(answer.read())

    def output(self) -> str:
        """What it wrote to stdout, once it has ended as it should."""
        out, err = self.communicate(timeout=200)
        assert self.returncode == 0, err
        return out

    def send_signal(self, sig: int) -> None:
        """To the process itself, unless it has ended; its client may end later."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.child, sig)


def serve(place: str, is_loaded: bool) -> None:
    """Fork a process for each connection, in both servers, until standard input ends."""
    _load(LOADED if is_loaded else ())
    kind = "extended"
    if os.fork() == 0:
        kind = "usual"
        _load(_ours() if is_loaded else ())
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.path.join(place, kind))
        listener.listen()
        os.write(1, b"ready\n")  # in one piece: both servers do
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        server = os.getpid()
        if os.fork() == 0:  # waits for the end of the tests, without a thread in the server
            listener.close()
            os.read(0, 1)
            with contextlib.suppress(ProcessLookupError):
                os.kill(server, signal.SIGKILL)
            os._exit(0)
        while True:
            connection, _ = listener.accept()
            if os.fork() == 0:
                end_with(server)
                listener.close()
                _watch(connection)
            connection.close()


def _load(names: Iterable[str]) -> None:
    for name in names:
        importlib.import_module(name)
    gc.freeze()  # a fork that looks for garbage would copy all of it


def _ours() -> Iterator[str]:
    for package in OURS:
        for found in pkgutil.walk_packages([str(ROOT / package)], f"{package}."):
            if not found.name.startswith(NOT_LOADED):
                yield found.name


def _watch(connection: socket.socket) -> None:
    """Fork the command, and tell what became of it."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    try:
        words, told, where, environment, files = _received(connection)
        watcher = os.getpid()
        child = os.fork()
        if child == 0:
            end_with(watcher)
            _run(words, told is not None, where, environment, files)
        connection.sendall(b"%d\n" % child)
        _, status = os.waitpid(child, 0)
        connection.sendall(b"%d\n" % os.waitstatus_to_exitcode(status))
    except BaseException:
        traceback.print_exc()
    os._exit(0)


def _received(
    connection: socket.socket,
) -> tuple[list[str], str | None, str, dict[str, str], list[int]]:
    files = array.array("i")
    header, ancillary, *_ = connection.recvmsg(8, socket.CMSG_SPACE(3 * files.itemsize))
    for _level, _kind, data in ancillary:
        files.frombytes(data)
    given = connection.makefile("rb").read(int.from_bytes(header, "big"))
    words, told, where, environment = json.loads(given)
    return words, told, where, environment, list(files)


def _run(
    words: list[str], is_module: bool, where: str, environment: dict[str, str], files: list[int]
) -> None:
    """In the child: be the command."""
    code: Any = 70
    try:
        os.setpgid(0, 0)
        os.chdir(where)
        os.environ.clear()
        os.environ.update(environment)
        for number, file in enumerate(files):
            os.dup2(file, number)
        os.closerange(3, 1 << 12)
        sys.stdin = os.fdopen(0, closefd=False)
        sys.stdout = os.fdopen(1, "w", closefd=False)
        sys.stderr = os.fdopen(2, "w", closefd=False, errors="backslashreplace", buffering=1)
        sys.argv = ["spikefront", *words]
        signal.signal(signal.SIGINT, signal.default_int_handler)
        code = _module(words) if is_module else _command()
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:
        traceback.print_exc()
    try:
        sys.stdout.flush()
    except OSError:
        code = 120  # as of Python
    os._exit(code)


def _command() -> int:
    from search.commands.cli import main

    return main()


def _module(words: list[str]) -> int:
    paths = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    sys.path[:0] = [str(Path.cwd()), *filter(None, paths)]
    sys.argv = words
    sys.modules.pop(words[0], None)  # runpy warns of a module that is loaded
    runpy.run_module(words[0], run_name="__main__", alter_sys=True)
    return 0


if __name__ == "__main__":
    serve(sys.argv[1], "loaded" in sys.argv[2:])
