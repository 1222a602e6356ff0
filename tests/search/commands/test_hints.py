"""Suggested commands work as they are printed: with the store and folders of this command."""

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from search.commands import cli, front
from search.runners import run as study_run
from tests import quick
from tests.search.doctor.test_doctor import as_nobody
from tests.search.fake_engine import FakeEngine
from tests.search.runners.test_artifacts_of_studies import FullDisk

STUDY = """name = "tiny"
objectives = ["accuracy", "synaptic_ops"]
[budget]
trials = 25
workers = 0
[run]
epochs = 1
[space]
width = { low = 2, high = 400 }
[search]
sampler = "random"
"""
SUGGESTED = re.compile(r"spikefront (?:run|front|show|export|status|confirm|dashboard)\b.*")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SPIKEFRONT_STORE", raising=False)
    monkeypatch.setattr(study_run, "TrialRun", FakeEngine(crash_at_width=7))
    (tmp_path / "tiny.toml").write_text(STUDY)
    return tmp_path


def suggested(words: list[str], capsys: pytest.CaptureFixture[str]) -> list[str]:
    capsys.readouterr()
    cli.main(words)
    return SUGGESTED.findall("".join(capsys.readouterr()))


def test_every_suggested_command_has_the_store_of_this_command(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`all: spikefront front tiny` led into another store."""
    monkeypatch.setitem(front.evenly.__kwdefaults__, "rows", 3)
    store = ["--store", "sqlite:///other.db"]
    run = ["run", "tiny.toml", *store, "--artifacts", "weights"]
    (folder / "earlier.csv").write_text("width,accuracy,synaptic_ops\n4,0.5,100\n")
    commands = [
        run,
        [*run, "--trials", "26"],
        run,  # the budget is spent
        ["status", "tiny", *store],
        ["import", "tiny.toml", "earlier.csv", *store],
    ]
    found = [line for words in commands for line in suggested(words, capsys)]
    assert {line.split()[1] for line in found} >= {"run", "front", "export", "dashboard"}
    for line in found:
        assert "--store sqlite:///other.db" in line, line


def test_a_usual_store_is_not_repeated(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = suggested(["run", "tiny.toml"], capsys)
    assert "spikefront dashboard" in found
    assert not [line for line in found if "--store" in line]


@pytest.mark.parametrize("fault", ["full", "deleted"])
def test_no_export_is_suggested_where_the_weights_of_the_knee_are_missing(
    fault: str,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(study_run, "TrialRun", FullDisk())
    (folder / "data").mkdir()
    if fault == "full":
        (folder / "data" / "full").touch()
    code = cli.main(["run", "tiny.toml"])
    assert code == (1 if fault == "full" else 0)
    if fault == "deleted":
        assert "  spikefront export tiny --out runs/tiny-best" in capsys.readouterr().out
        shutil.rmtree("runs/artifacts")
        assert cli.main(["run", "tiny.toml"]) == 0
    said = capsys.readouterr().out
    why = {"full": "kept no weights", "deleted": "the weights of trial"}
    assert "the knee cannot be exported: " in said
    assert why[fault] in said
    assert "spikefront export" not in said
    assert cli.main(["export", "tiny", "--out", "best"]) == 2  # as said


def test_a_study_whose_budget_is_spent_says_how_to_continue(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["run", "tiny.toml"]) == 0
    capsys.readouterr()
    assert cli.main(["run", "tiny.toml"]) == 0
    said = capsys.readouterr().out
    assert "nothing was trained: earlier runs have spent the budget of this study" in said
    assert "  spikefront run tiny.toml --trials 50" in said
    # fewer than there are: twice as many as asked for would still be spent
    assert cli.main(["run", "tiny.toml", "--trials", "3"]) == 0
    assert "  spikefront run tiny.toml --trials 50" in capsys.readouterr().out


def test_spent_epochs_are_not_answered_by_more_trials(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As those of studies/digits.toml, of whose 80 trials a third use up the epochs."""
    text = Path("tiny.toml").read_text()
    Path("tiny.toml").write_text(text.replace("[budget]\n", "[budget]\nepochs = 3\n"))
    for _ in range(2):
        assert cli.main(["run", "tiny.toml"]) == 0
    said = capsys.readouterr().out
    assert "  spikefront run tiny.toml   # with more epochs in [budget] than 3" in said
    assert "--trials" not in said


def test_a_space_in_which_nothing_can_run_is_said_to_be_one(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("search.commands.study_file.sampled_costs", lambda study: iter(()))
    assert cli.main(["validate", "tiny.toml", "--json"]) == 0
    assert "none of 200 random configurations can run" in capsys.readouterr().err


def test_a_study_file_in_a_folder_that_cannot_be_written_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        monkeypatch.chdir(name)
        Path(name).chmod(0o555)
        with as_nobody():
            code = cli.main(["init", "mine"])
        Path(name).chmod(0o755)
        monkeypatch.undo()
    assert code == 2
    assert "mine.toml cannot be written: Permission denied" in capsys.readouterr().err


EXTENSION = """
import numpy as np
from snn.settings.extensions import add_dataset

def read(root):
    images = np.zeros((60, 1, 8, 8), np.uint8)
    return (images, np.arange(60) % 4), (images, np.arange(60) % 4)

add_dataset("{name}", image_shape=(1, 8, 8), classes=4, read={read})
"""


def test_a_data_set_of_an_extension_that_is_not_set_is_hinted_at(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "tiny.toml").write_text(STUDY.replace("[run]", '[run]\ndataset = "four"'))
    assert cli.main(["run", "tiny.toml"]) == 2
    assert "if an extension has this dataset, set SPIKEFRONT_EXTENSIONS" in capsys.readouterr().err


READERS = {
    "none": "lambda root: None",
    "fault": "lambda root: 1 / 0",
    "memory": "lambda root: (_ for _ in ()).throw(MemoryError())",
    "exit": "lambda root: __import__('sys').exit(3)",
}


def test_doctor_names_data_sets_whose_extension_fails_and_goes_on(tmp_path: Path) -> None:
    texts = (EXTENSION.replace("{name}", n).replace("{read}", r) for n, r in READERS.items())
    (tmp_path / "own.py").write_text("".join(texts))
    environment = {
        **{k: v for k, v in os.environ.items() if k != "HOME"},
        "SPIKEFRONT_EXTENSIONS": "own.py",
    }
    done = subprocess.run(
        [quick.command(), "doctor"],
        cwd=tmp_path,
        env=environment,  # HOME is not set, as in some containers
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert "Traceback" not in done.stderr
    for name in READERS:
        assert f"data: {name}" in done.stdout
    assert "disk " in done.stdout
