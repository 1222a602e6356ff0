"""Start runs as separate processes that continue when the starting process ends.

The process is the command `spikefront run`, started without a shell. Its output goes to a log
file; everything else is in the store.
"""

import datetime
import os
import re
import shlex
import subprocess
import sys
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from search.study.study import Study

TAIL_BYTES = 20_000


@dataclass(frozen=True, kw_only=True)
class Launched:
    """A started run."""

    study: str
    pid: int
    log: Path


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """Options of `spikefront run`; None leaves an option out."""

    data: Path  # folder of data sets
    trials: int | None = None  # total of the study
    hours: float | None = None  # no trial starts after them
    workers: int | None = None
    device: str | None = None

    def words(self) -> list[str]:
        """Return the command-line arguments; a value cannot be mistaken for an option."""
        named = {
            "data": self.data,
            "trials": self.trials,
            "hours": None if self.hours is None else f"{self.hours:g}",
            "workers": self.workers,
            "device": self.device,
        }
        return [f"--{name}={value}" for name, value in named.items() if value is not None]


def command(path: Path, *, artifacts: Path, options: RunOptions) -> list[str]:
    """Return the arguments of `spikefront` that run the study file."""
    return ["run", str(path), f"--artifacts={artifacts}", *options.words()]


def launch(
    study: Study,
    path: Path,
    *,
    store: str,
    artifacts: Path,
    logs: Path,
    options: RunOptions,
) -> Launched:
    """Run the study file `path`, which holds `study`, or continue it. Raises OSError.

    The URL of the store may hold a password, so it is passed in the environment: other users can
    read commands.
    """
    words = command(path.resolve(), artifacts=artifacts, options=options)
    log, file = _new_log(logs, study.name)
    with file:
        file.write(f"$ {shown(words)}\n".encode())
        file.flush()
        process = subprocess.Popen(
            [sys.executable, "-m", "search.commands.cli", *words],
            env={**os.environ, "SPIKEFRONT_STORE": store, "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    threading.Thread(target=_await, args=(process, log), daemon=True).start()
    return Launched(study=study.name, pid=process.pid, log=log)


def shown(words: list[str]) -> str:
    """Return a command as typed into a shell."""
    return f"spikefront {shlex.join(words)}"


def _new_log(logs: Path, study: str) -> tuple[Path, BinaryIO]:
    """Return a new file named after the study and the time."""
    logs.mkdir(parents=True, exist_ok=True)
    stamp = f"{datetime.datetime.now(datetime.UTC):%Y%m%dT%H%M%S}"
    for number in range(1, 1000):
        path = logs / f"{study}-{stamp}-{number}.log"
        try:
            return path, path.open("xb")
        except FileExistsError:
            continue
    raise FileExistsError(f"{logs}: 999 runs of {study} were started in this second")


def _await(process: "subprocess.Popen[bytes]", log: Path) -> None:
    """Wait for the process and append its exit code to the log."""
    code = process.wait()
    with log.open("ab") as file:
        file.write(f"(ended with exit code {code})\n".encode())


def newest_log(logs: Path, study: str) -> Path | None:
    """Return the newest log of the study, or None."""
    name = re.compile(rf"{re.escape(study)}-(\d{{8}}T\d{{6}})-(\d+)\.log", re.ASCII)
    try:
        files = [(match, path) for path in logs.iterdir() if (match := name.fullmatch(path.name))]
    except OSError:
        return None
    return max(files, key=lambda each: (each[0][1], int(each[0][2])))[1] if files else None


def tail(log: Path, most: int = TAIL_BYTES) -> str:
    """Return the last `most` bytes of a log, from the beginning of a line."""
    with log.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - most))
        data = file.read(most)
    text = data.decode(errors="replace")
    return text if size <= most else text.partition("\n")[2]


def ended_with(log: Path) -> int | None:
    """Return the exit code at the end of a log; None while it runs or if it is unknown."""
    match = re.search(r"\(ended with exit code (-?\d+)\)\n\Z", tail(log, 200))
    return int(match[1]) if match else None


def study_files(folders: Iterable[Path]) -> dict[str, Path]:
    """Return the TOML files of folders by `folder/name`, without links out of the folder.

    Of the working folder, `Path()`, only those with objectives: it may hold any TOML files.
    """
    found = {}
    for folder in folders:
        try:
            paths = sorted(folder.glob("*.toml"))
            home = folder.resolve()
        except OSError:
            continue
        for path in paths:
            is_own = path.is_file() and path.resolve().parent == home
            if is_own and (folder != Path() or _has_objectives(path)):
                found[path.as_posix()] = path
    return found


def _has_objectives(path: Path) -> bool:
    """Return whether a file looks like a study, also one with faults."""
    try:
        return re.search(rb"^\s*objectives\s*=", path.read_bytes(), re.MULTILINE) is not None
    except OSError:
        return False


def save_study(text: str, study: Study, folder: Path, *, replace: bool = False) -> Path:
    """Write a study file named after its study. Raises FileExistsError for another text's file.

    The study's name has been checked when it was read: letters, digits, '.', '_' and '-',
    no dot at the beginning.
    """
    path = folder / f"{study.name}.toml"
    folder.mkdir(parents=True, exist_ok=True)
    if path.is_symlink() or (path.exists() and not replace and path.read_text("utf-8") != text):
        raise FileExistsError(
            f"{path} exists with other content; choose another name, or replace it"
        )
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(text, encoding="utf-8")
    os.replace(draft, path)
    return path
