"""Output into terminals, pipes and files of every kind: no traceback, and nothing that crashes."""

import io
import os
import pty
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from search.commands import cli
from search.runners import run as study_run
from search.store.store import Store
from search.text import terminal
from search.trial.trial import TrialState
from tests import quick
from tests.search import command
from tests.search.fake_engine import FakeEngine
from tests.search.text.test_log import STUDY

ROOT = Path(__file__).parents[3]
COMMAND = (sys.executable, "-m", "search.commands.cli")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With a store of a study that was run."""
    folder = tmp_path_factory.mktemp("terminal")
    (folder / "study.toml").write_text(STUDY)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(study_run, "TrialRun", FakeEngine())
        assert cli.main(["run", "study.toml", "--quiet"]) == 0
    return folder


def ran(
    *words: str,
    folder: Path,
    environment: Mapping[str, str] | None = None,
    command: Sequence[str] = COMMAND,
    **how: Any,
) -> "subprocess.CompletedProcess[bytes]":
    """A command in a process of its own."""
    clean = {
        k: v for k, v in os.environ.items() if not k.startswith(("PYTHONIOENC", "LC_", "LANG"))
    }
    where = {"PYTHONPATH": str(ROOT), **(environment or {})}
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **how}
    return subprocess.run(
        [*command, *words], cwd=folder, env={**clean, **where}, timeout=120, **streams
    )


@pytest.mark.parametrize(
    "environment",
    [
        {"PYTHONIOENCODING": "ascii"},
        {"PYTHONIOENCODING": "latin-1"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    ],
    ids=["ascii", "latin-1", "C"],
)
def test_characters_that_an_encoding_lacks_are_replaced(
    environment: dict[str, str], folder: Path
) -> None:
    program = (
        "from search.commands.cli import main; main(['front', 'logged']); "
        "main(['status', 'logged']); main(['--help'])"
    )
    done = ran(program, folder=folder, environment=environment, command=(sys.executable, "-c"))
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.isascii()
    for word in (b"knee", b"hypervolume", b"usage: "):
        assert word in done.stdout


def test_replacements_are_readable(folder: Path) -> None:
    program = (
        "from search.text import terminal; terminal.write_anything(); print('97.3 ± 0.3 → é…')"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        check=True,
    )
    assert done.stdout == b"97.3 +/- 0.3 -> ?...\n"


def test_a_name_that_is_no_text_is_refused_without_a_crash(folder: Path) -> None:
    done = ran("run", os.fsdecode(b"caf\xe9.toml"), folder=folder)
    assert done.returncode == 2
    assert done.stderr.startswith(
        b"spikefront: an argument must be UTF-8 text, got 'caf\\xe9.toml'"
    )
    assert done.stderr.count(b"\n") == 1


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["completion", "bash"]])
def test_a_reader_that_leaves_is_no_error_to_speak_of(words: list[str], folder: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = ran(*words, folder=folder, stdout=writer)
    os.close(writer)
    assert done.stderr == b""
    # Python's own parser does not tell whether its help was read
    assert done.returncode == (0 if words == ["--help"] else 1)


def test_a_reader_of_both_streams_may_leave_in_the_middle_of_a_run(folder: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    process = command.start(
        "run", folder / "study.toml", "--store", f"sqlite:///{folder}/head.db",
        engine={}, stdout=writer, stderr=writer,
    )  # fmt: skip
    os.close(writer)
    assert process.wait(timeout=120) == 1
    with Store(f"sqlite:///{folder}/head.db") as store:
        assert TrialState.RUNNING not in {trial.state for trial in store.trials("logged")}


def test_a_full_disk_is_reported_once(folder: Path) -> None:
    with Path("/dev/full").open("wb") as full:
        done = ran("front", "logged", folder=folder, stdout=full)
    assert done.returncode == 1
    assert done.stderr == b"spikefront: [Errno 28] No space left on device\n"


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_streams_may_be_closed(closed: str, folder: Path) -> None:
    done = subprocess.run(
        ["bash", "-c", f'exec "$@" {closed}', "bash", *COMMAND, "front", "logged"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        timeout=120,
    )
    assert (done.returncode, done.stderr) == (0, b"")


ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def on_a_terminal(folder: Path, *words: str, **environment: str) -> str:
    """What a command shows on a terminal of 60 columns."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [quick.command(), *words],
        cwd=folder,
        env={
            **os.environ,
            "COLUMNS": "60",
            "TERM": "xterm",
            **environment,
        },
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    said = b""
    try:
        while data := os.read(ours, 4096):
            said += data
    except OSError:  # the other side is closed
        pass
    os.close(ours)
    assert process.wait(timeout=120) == 0, said
    return said.decode()


def test_colour_is_for_terminals_that_want_it(folder: Path) -> None:
    assert "\x1b[" in on_a_terminal(folder, "status", "logged")
    for wish in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
        plain = on_a_terminal(folder, "status", "logged", **wish)
        assert "\x1b[3" not in plain, wish
    assert b"\x1b[" not in ran("status", "logged", folder=folder).stdout


def test_tables_keep_within_a_narrow_terminal_and_are_whole_in_a_pipe(folder: Path) -> None:
    lines = ESCAPES.sub("", on_a_terminal(folder, "front", "logged", "--all-metrics")).splitlines()
    assert max(map(len, lines)) <= 60
    piped = ran("front", "logged", "--all-metrics", folder=folder).stdout.decode()
    assert len(piped.splitlines()) < len(lines)


def test_the_characters_of_an_encoding_are_known() -> None:
    assert terminal.shows_all(io.TextIOWrapper(io.BytesIO(), encoding="utf-8"))
    assert not terminal.shows_all(io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
    assert terminal.shows_all(None)
