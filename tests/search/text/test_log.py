"""The log: its levels, each record once, and the records of workers."""

import io
import logging
import os
import pickle
import re
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

from search.commands import cli
from search.runners import run as study_run
from search.runners.display import watch
from search.runners.progress import Lines
from search.text import log
from search.text.terminal import can_redraw
from tests.search.fake_engine import FakeEngine

STUDY = """
name = "logged"
objectives = ["accuracy", "synaptic_ops"]
[budget]
trials = 3
workers = 0
[run]
epochs = 2
[space]
width = [3, 4, 5]
[search]
sampler = "random"
"""
CRASHES_AT = 4

Ran = tuple[int, str, str]
Run = Callable[..., Ran]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs the study, one of whose three trials crashes; exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(log.VARIABLE, raising=False)
    monkeypatch.setattr(study_run, "TrialRun", FakeEngine(crash_at_width=CRASHES_AT))
    (tmp_path / "study.toml").write_text(STUDY)

    def _run(*words: str) -> Ran:
        capsys.readouterr()
        code = cli.main(["run", "study.toml", *words])
        return code, *capsys.readouterr()

    return _run


def test_by_default_only_progress_is_shown(run: Run) -> None:
    code, _, err = run()
    assert code == 0
    assert len(err.splitlines()) == 3
    assert all(re.match(r"trial \d  (complete|failed)  ", line) for line in err.splitlines())


def test_verbose_logs_steps_and_repeats_no_progress(run: Run) -> None:
    _, _, err = run("-v")
    lines = err.splitlines()
    handed = [line for line in lines if "started, width=" in line]
    assert len(handed) == 3
    assert all(re.match(r"\d\d:\d\d:\d\d info    driver   trial \d: ", line) for line in handed)
    assert len([line for line in lines if re.search(r"trial \d  (complete|failed)", line)]) == 3
    assert any(re.search(r"worker   trial 0: starting in process", line) for line in lines)
    assert not any("debug" in line for line in lines)


def test_twice_verbose_logs_every_epoch(run: Run) -> None:
    _, _, err = run("-vv")
    assert re.search(r"debug   driver   trial \d: epoch 1 of 2", err)
    assert re.search(r"debug   sampler  asked for trial 0, took \d", err)


def test_quiet_leaves_the_result_and_what_went_wrong(run: Run) -> None:
    code, out, err = run("--quiet")
    assert code == 0
    assert "this run: 2 complete, 1 failed" in out
    (line,) = err.splitlines()
    assert re.match(r"spikefront: warning: trial \d  failed  .*ZeroDivisionError", line)


def test_a_log_file_is_appended(run: Run, tmp_path: Path) -> None:
    _, _, err = run("--log", "logs/search.log")
    assert len(err.splitlines()) == 3
    kept = (tmp_path / "logs" / "search.log").read_text()
    stamp = rf"^\d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d,\d{{3}} (info|warning) +{os.getpid()} "
    assert all(re.match(stamp, line) for line in kept.splitlines())
    assert len(re.findall(r"driver +trial \d  (?:complete|failed)", kept)) == 3
    run("--log", "logs/search.log", "-vv", "--trials", "3")
    assert (tmp_path / "logs" / "search.log").read_text().startswith(kept)


def test_a_file_gets_warnings_of_libraries_and_no_more_of_them(tmp_path: Path) -> None:
    file = tmp_path / "a.log"
    with log.logging_to(log.LogSettings(file=file)):
        logging.getLogger("alembic").info("chat")
        logging.getLogger("alembic").warning("a warning")
    logging.getLogger("alembic").warning("later")
    assert file.read_text().splitlines()[0].endswith("a warning")
    assert len(file.read_text().splitlines()) == 1


def test_the_environment_asks_for_every_command(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(log.VARIABLE, "Info")
    assert ": started, width=" in run()[2]
    assert ": started, width=" not in run("-q", "--store", "sqlite:///other.db")[2]


def test_a_level_that_is_none_is_refused_before_anything(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(log.VARIABLE, "loud")
    code, _, err = run()
    assert code == 2
    assert err == ("spikefront: SPIKEFRONT_LOG: must be debug, info, warning, error, got 'loud'\n")
    assert not (tmp_path / "runs").exists()


def test_a_log_that_cannot_be_kept_is_refused_before_anything(run: Run, tmp_path: Path) -> None:
    code, _, err = run("--log", ".")
    assert code == 2
    assert err == "spikefront: --log: must be a file that can be written, got .: Is a directory\n"
    assert not (tmp_path / "runs").exists()


def test_quiet_and_verbose_exclude_each_other(run: Run) -> None:
    code, _, err = run("-q", "-v")
    assert code == 2
    assert "not allowed with argument" in err


def test_a_command_leaves_logging_as_it_was(run: Run, tmp_path: Path) -> None:
    before = logging.getLogger().handlers[:], logging.getLogger(log.ROOT).handlers[:]
    run("-vv", "--log", "a.log")
    assert (logging.getLogger().handlers, logging.getLogger(log.ROOT).handlers) == before
    assert logging.getLogger(log.ROOT).level == logging.NOTSET


def test_python_code_without_log_settings_gets_no_log(capsys: pytest.CaptureFixture[str]) -> None:
    program = "from search.text import log; log.logger('driver').warning('a record')"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stderr == ""


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_records_are_printed_above_the_redrawn_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal()
    settings = log.LogSettings(level=logging.INFO)
    with log.logging_to(settings), watch(stream=stream):
        log.logger("driver").info("trial 0: handed out")
    assert "driver   trial 0: handed out" in stream.getvalue()


@pytest.mark.parametrize("name", ["dumb", "unknown"])
def test_a_terminal_that_cannot_redraw_gets_lines(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", name)
    assert not can_redraw(Terminal())
    with watch(stream=Terminal()) as progress:
        assert isinstance(progress, Lines)


def test_records_of_a_worker_can_be_sent_and_replayed(tmp_path: Path) -> None:
    with log.collecting(logging.INFO) as taken:
        with log.about("trial 7"):
            log.logger("trial").info("takes %s", "weights")
        log.logger("trial").debug("too much")
        logging.getLogger("thing").warning("of a library")
        logging.getLogger("thing").info("chat of a library")
        sent = pickle.loads(pickle.dumps(taken()))
        assert taken() == ()
    log.logger("trial").warning("behind it")
    assert [record.getMessage() for record in sent] == ["takes weights", "of a library"]
    file = tmp_path / "a.log"
    with log.logging_to(log.LogSettings(file=file)), log.about("another"):
        log.replay(sent)
    first, second = file.read_text().splitlines()
    assert first.endswith(f"{os.getpid()} trial    trial 7: takes weights")
    assert second.endswith(f"{os.getpid()} thing    of a library")


def test_an_exception_can_be_logged_across_processes() -> None:
    with log.collecting(logging.INFO) as taken:
        try:
            raise ZeroDivisionError("no such width")
        except ZeroDivisionError:
            log.logger("trial").exception("crashed")
        (record,) = pickle.loads(pickle.dumps(taken()))
    assert "ZeroDivisionError: no such width" in record.getMessage()


def test_nothing_that_is_logged_warns(run: Run) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", ResourceWarning)
        run("--log", "a.log")
