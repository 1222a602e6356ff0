"""What the commands say of early stopping: before a study runs, and after."""

import json
from pathlib import Path
from typing import Any

import pytest

from search.commands import cli
from search.runners import run as study_run
from tests.search.fake_engine import FakeEngine

STUDY = """
name = "stopping"
objectives = ["accuracy", "synaptic_ops"]
[constraints]
parameters = { max = 1_000_000 }
[budget]
trials = 15
workers = 0
[run]
epochs = 9
backbone = "resnet5"
[space]
width = { low = 1, high = 40 }
partition = ["2", "1+1"]
[search]
sampler = "random"
stopping = "moasha"
"""


@pytest.fixture
def words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Says which store; the engine is a fake one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(study_run, "TrialRun", FakeEngine())
    (tmp_path / "study.toml").write_text(STUDY)
    return ["--store", f"sqlite:///{tmp_path}/store.db"]


def document(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    assert cli.main([*words, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert isinstance(found, dict)
    return found


def text(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert cli.main(list(words)) == 0
    return " ".join(capsys.readouterr().out.split())


def test_validate_says_after_which_epochs_trials_are_judged(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    said = text(capsys, "validate", "study.toml")
    assert "moasha: the best 1 of 3 trials continues after 11.1 % and 33.3 % of the epochs" in said
    assert "a training of 9 epochs may be stopped after epoch 1 (rung 1), 3 (rung 2)" in said
    assert "a training of 18 epochs may be stopped after epoch 2 (rung 1), 6 (rung 2)" in said
    found = document(capsys, "validate", "study.toml")
    assert found["stopping"] == "moasha"
    assert found["rungs"] == [
        {"epochs_total": 9, "epochs": [1, 3], "rungs": [1, 2]},
        {"epochs_total": 18, "epochs": [2, 6], "rungs": [1, 2]},
    ]


def test_status_counts_who_was_stopped_where_and_show_has_what_was_measured_there(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    ran = document(capsys, "run", "study.toml", "--artifacts", "artifacts", *words)
    status = document(capsys, "status", "stopping", *words)
    stopped = [trial for trial in status["ended_early"] if trial["stopped_rung"]]
    assert len(stopped) == ran["trials"]["pruned"] == sum(status["stopped_at"].values()) > 0
    for rung, count in status["stopped_at"].items():
        assert count == sum(trial["stopped_rung"] == int(rung) for trial in stopped)
    [(rung, count), *_] = status["stopped_at"].items()
    said = text(capsys, "status", "stopping", *words)
    assert f"stopped early {len(stopped)} ({count} at rung {rung}" in said
    number = str(stopped[0]["trial"])
    shown = document(capsys, "show", "stopping", number, *words)
    assert shown["stopped_rung"] == stopped[0]["stopped_rung"]
    last = shown["rungs"][-1]
    assert last["rung"] == shown["stopped_rung"]
    assert last["epochs_done"] == shown["epochs_done"]
    assert last["points"][0]["is_sampled"]
    metrics = {"accuracy", "synaptic_ops", "parameters"}
    assert last["points"][0]["metrics"].keys() == metrics
    said = text(capsys, "show", "stopping", number, *words)
    assert f"pruned: stopped early at rung {shown['stopped_rung']} of 2" in said
    row = f"{last['rung']} {last['epochs_done']}/{last['epochs_total']} sampled"
    assert row in said
    assert "stopped" in said.partition(row)[2]


def test_a_study_that_stops_nothing_has_no_rungs(
    words: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "study.toml").write_text(STUDY.replace('stopping = "moasha"', ""))
    assert document(capsys, "validate", "study.toml")["rungs"] == []
    assert "early stopping none" in text(capsys, "validate", "study.toml")
    ran = document(capsys, "run", "study.toml", "--artifacts", "artifacts", *words)
    assert ran["trials"] == {"complete": 15}
    assert document(capsys, "status", "stopping", *words)["stopped_at"] == {}
    assert document(capsys, "show", "stopping", "0", *words)["rungs"] == []
