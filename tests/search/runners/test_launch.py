"""Runs as processes of their own: the command of the command line, no shell, no path astray."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from search.commands.cli import build_parser
from search.runners.launch import (
    RunOptions,
    command,
    ended_with,
    launch,
    newest_log,
    save_study,
    study_files,
    tail,
)
from search.store.store import Store
from search.study.study import Study, study_from_toml
from search.study.toml_text import toml_text

TOML = """# {question}
name = "{name}"
objectives = ["accuracy"]
[budget]
trials = {trials}
workers = 0
[run]
dataset = "digits"
backbone = "mlp"
width = 8
epochs = 1
[space]
timesteps = {{ low = 1, high = 2 }}
"""


def study(name: str = "little", *, trials: int = 1, question: str = "?") -> Study:
    return study_from_toml(TOML.format(name=name, trials=trials, question=question))


def wait_for(log: Path, seconds: float = 120.0) -> int:
    until = time.monotonic() + seconds
    while (code := ended_with(log)) is None:
        assert time.monotonic() < until, tail(log)
        time.sleep(0.05)
    return code


def test_a_run_is_a_process_of_its_own_that_writes_a_log(tmp_path: Path) -> None:
    asked = study(question="$(touch here) `touch here` ; touch here")
    path = save_study(asked.text, asked, tmp_path / "a folder; with $(signs)")
    url = f"sqlite:///{tmp_path / 'store.db'}"
    begun = launch(
        asked,
        path,
        store=url,
        artifacts=tmp_path / "artifacts",
        logs=tmp_path / "logs",
        options=RunOptions(data=tmp_path, workers=0),
    )
    assert os.getsid(begun.pid) == begun.pid  # it outlives the session that started it
    assert wait_for(begun.log) == 0
    assert newest_log(tmp_path / "logs", "little") == begun.log
    text = tail(begun.log)
    assert text.startswith("$ spikefront run ")
    assert "the only trial of the budget was run" in text
    with Store(url, read_only=True) as store:
        assert len(store.trials("little")) == 1
    assert not list(Path().glob("here"))
    # a second run of the same study continues it, into a log of its own
    more = launch(
        asked,
        path,
        store="nosuch://store",
        artifacts=tmp_path,
        logs=tmp_path / "logs",
        options=RunOptions(data=tmp_path),
    )
    assert more.log != begun.log
    assert wait_for(more.log) == 2
    assert "spikefront: " in tail(more.log)


def test_the_store_is_not_in_the_command_that_everybody_can_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[str]] = []

    class Process:
        pid = 1

        def __init__(self, words: list[str], **settings: object) -> None:
            seen.append(words)
            assert "secret" in str(settings["env"])
            assert not settings.get("shell")

        def wait(self) -> int:
            return 0

    monkeypatch.setattr(subprocess, "Popen", Process)
    launch(
        study(),
        tmp_path / "x.toml",
        store="postgresql://me:secret@host/db",
        artifacts=tmp_path,
        logs=tmp_path / "logs",
        options=RunOptions(data=Path("-x"), trials=7, hours=0.25, device="cpu"),
    )
    assert seen[0][:3] == [sys.executable, "-m", "search.commands.cli"]
    assert "secret" not in " ".join(seen[0])
    assert seen[0][-4:] == ["--data=-x", "--trials=7", "--hours=0.25", "--device=cpu"]


def test_the_command_is_read_by_the_command_line_as_it_was_meant(tmp_path: Path) -> None:
    options = RunOptions(data=Path("--all my data"), trials=3, hours=0.5, workers=0, device="cpu")
    words = command(tmp_path / "x.toml", artifacts=Path("-a"), options=options)
    given = build_parser().parse_args(words)
    assert (given.trials, given.hours, given.workers, given.device) == (3, 0.5, 0, "cpu")
    assert (given.data, given.artifacts) == (Path("--all my data"), "-a")
    plain = build_parser().parse_args(
        command(tmp_path / "x.toml", artifacts=Path("a"), options=RunOptions(data=Path("d")))
    )
    assert (plain.trials, plain.hours, plain.workers, plain.device) == (None,) * 4


def test_a_log_is_found_by_the_whole_name_of_its_study(tmp_path: Path) -> None:
    for name in ("a-20260101T000000-1.log", "a-20260101T000000-2.log", "a-b-20270101T000000-1.log"):
        (tmp_path / name).touch()
    (tmp_path / "a-20260101T000000-1.txt").touch()
    assert newest_log(tmp_path, "a") == tmp_path / "a-20260101T000000-2.log"
    for name in ("../a", ".*", "", "a-b-20270101T000000-1.log", "/etc/passwd"):
        assert newest_log(tmp_path, name) is None
    assert newest_log(tmp_path / "none", "a") is None


def test_only_the_end_of_a_long_log_is_read(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("".join(f"line {number}\n" for number in range(10_000)))
    assert tail(log, 100).endswith("line 9999\n")
    assert tail(log, 100).startswith("line ")
    assert len(tail(log, 100)) <= 100
    assert ended_with(log) is None


def test_study_files_are_those_of_their_folders_and_lead_nowhere_else(tmp_path: Path) -> None:
    folder, elsewhere = tmp_path / "studies", tmp_path / "secret.toml"
    folder.mkdir()
    elsewhere.touch()
    (folder / "a.toml").touch()
    (folder / "link.toml").symlink_to(elsewhere)
    (folder / "folder.toml").mkdir()
    (folder / "a.txt").touch()
    assert list(study_files([folder, tmp_path / "none"])) == [f"{folder.as_posix()}/a.toml"]


def test_a_study_is_never_saved_over_another_text_unasked(tmp_path: Path) -> None:
    first, second = study(trials=1), study(trials=2)
    path = save_study(first.text, first, tmp_path)
    assert save_study(first.text, first, tmp_path) == path
    with pytest.raises(FileExistsError, match="exists with other content"):
        save_study(second.text, second, tmp_path)
    assert path.read_text() == first.text
    save_study(second.text, second, tmp_path, replace=True)
    assert path.read_text() == second.text
    assert [each.name for each in tmp_path.iterdir()] == ["little.toml"]


def test_a_link_in_the_place_of_a_study_is_not_followed(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("mine")
    (tmp_path / "little.toml").symlink_to(target)
    with pytest.raises(FileExistsError):
        save_study(study().text, study(), tmp_path, replace=True)
    assert target.read_text() == "mine"


def test_a_question_of_many_lines_stays_a_comment() -> None:
    text = toml_text('a\n]name = "evil"\r\nb\u2028c', {"name": "x"})
    assert text.splitlines()[:4] == ["# a", '# ]name = "evil"', "# b", "# c"]


def test_a_run_that_is_interrupted_says_so(tmp_path: Path) -> None:
    text = TOML.format(name="little", trials=500, question="?")
    text = text.replace(
        "timesteps = { low = 1, high = 2 }", "learning_rate = { low = 1e-3, high = 1 }"
    )
    asked = study_from_toml(text)  # of more runs than it will do
    begun = launch(
        asked,
        save_study(asked.text, asked, tmp_path),
        store=f"sqlite:///{tmp_path / 'store.db'}",
        artifacts=tmp_path / "artifacts",
        logs=tmp_path / "logs",
        options=RunOptions(data=tmp_path, workers=0),
    )
    until = time.monotonic() + 120
    while "trial 0" not in tail(begun.log):
        assert time.monotonic() < until
        time.sleep(0.05)
    os.kill(begun.pid, signal.SIGINT)
    assert wait_for(begun.log) == 130
