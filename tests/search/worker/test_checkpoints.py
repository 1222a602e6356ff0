"""Trials that were lost continue from their checkpoint, wherever that is."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from search.commands import cli
from search.pruners.rungs import StoppingRule
from search.store.store import Store
from search.text.artifacts import ArtifactFile, names_in
from search.trial.rung import RungReport
from search.trial.trial import TrialState
from search.worker.job import Continuation
from search.worker.trial_run import TrialRun
from snn.settings.config import RunConfig
from snn.settings.measurement import Measurement
from tests.snn.training.test_stage_checkpoint import Lost, lose_at, timeless

TINY = RunConfig(
    width=4, epochs=3, train_images=96, batch_size=32, partition="1+1", head_hidden=16, timesteps=2
)
"""Three batches an epoch."""


@pytest.fixture(autouse=True)
def every_epoch(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A checkpoint after every epoch; other thread counts would ignore it."""
    monkeypatch.setattr("snn.training.stage_checkpoint.SHARE", math.inf)
    monkeypatch.setattr("snn.training.stage_checkpoint.FIRST_S", 0.0)
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(params=["folder", "uri"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A folder, and one that pyarrow sees through another library, and so as no local one."""
    scheme = "fsspec+file://" if request.param == "uri" else ""
    return f"{scheme}{tmp_path}/shelf"


def lose(batch: int, **options: Any) -> None:
    """Run a trial that is lost before a batch."""
    with pytest.MonkeyPatch.context() as patch:
        lose_at(batch, patch)
        with pytest.raises(Lost):
            list(TrialRun(TINY, data_dir=Path(), **options))


def test_a_lost_trial_continues_from_its_checkpoint(place: str, tmp_path: Path) -> None:
    checkpoint = f"{place}/00003.checkpoint"
    plain = TrialRun(TINY, data_dir=tmp_path, weights_path=tmp_path / "plain")
    measured = [m for m in plain if isinstance(m, Measurement)]
    lose(13, checkpoint=checkpoint)
    assert names_in(place) == ["00003.checkpoint"]
    again = TrialRun(TINY, data_dir=tmp_path, weights_path=tmp_path / "w", checkpoint=checkpoint)
    continuation, *rest = again
    assert isinstance(continuation, Continuation)
    assert continuation.line == "continues after epoch 4 of 6"
    fresh = [m for m in rest if isinstance(m, Measurement)]
    assert timeless([*continuation.measurements, *fresh]) == timeless(measured)
    assert (tmp_path / "w").read_bytes() == (tmp_path / "plain").read_bytes()
    assert again.outcome.notes == ()


def test_a_rung_is_asked_about_if_nobody_can_have_judged_it_and_no_other(tmp_path: Path) -> None:
    rule = StoppingRule(objectives=("accuracy", "synaptic_ops"))
    options: dict[str, Any] = {"data_dir": tmp_path, "stopping": rule}
    wanted = [r for r in TrialRun(TINY, **options) if isinstance(r, RungReport)]
    assert [report.epochs_done for report in wanted] == [1, 2]
    options["checkpoint"] = str(tmp_path / "checkpoint")
    running = iter(TrialRun(TINY, **options))
    while not (isinstance(seen := next(running), Measurement) and seen.epochs_done == 2):
        pass
    del running  # lost after the second epoch, and before its report
    again = [r for r in TrialRun(TINY, **options) if isinstance(r, RungReport)]
    assert [(r.rung, r.epochs_done, r.points) for r in again] == [
        (r.rung, r.epochs_done, r.points) for r in wanted[1:]
    ]


def test_a_place_that_takes_no_checkpoint_costs_a_note(place: str, tmp_path: Path) -> None:
    (tmp_path / "shelf").write_text("a file where the folder should be")
    running = TrialRun(TINY, data_dir=tmp_path, checkpoint=f"{place}/checkpoint")
    assert sum(isinstance(report, Measurement) for report in running) == 6
    assert running.outcome.state is TrialState.COMPLETE
    assert [note.split(": ")[0] for note in running.outcome.notes if "written" in note] == [
        f"no checkpoint is written to {place}".split(": ")[0]
    ]


def test_a_file_is_replaced_as_a_whole_and_removed(place: str, tmp_path: Path) -> None:
    file = ArtifactFile(uri=f"{place}/sub/file")
    assert (file.folder, file.name) == (f"{place}/sub", "file")
    assert names_in(f"{place}/sub") == []
    assert file.read() is None
    file.remove()
    file.write(b"one")
    file.write(b"two")
    assert file.read() == b"two"
    assert names_in(f"{place}/sub") == ["file"]
    file.remove()
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


CONFIG = 'backbone = "mlp"\nwidth = 4\nepochs = 3\ntrain_images = 96\nbatch_size = 32\n'


def test_the_same_train_command_continues(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.toml").write_text(CONFIG)
    words = ["train", "mine.toml", "--device", "cpu", "--out"]
    assert cli.main([*words, "plain"]) == 0
    with monkeypatch.context() as patch:
        lose_at(7, patch)
        with pytest.raises(Lost):
            cli.main([*words, "mine"])
    assert {path.name for path in tmp_path.iterdir()} == {"mine.toml", "plain", "mine.checkpoint"}
    capsys.readouterr()
    assert cli.main([*words, "mine"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("continues after epoch 2 of 3")
    assert sum(line.startswith("epoch ") for line in said) == 1
    weights = [(tmp_path / name / "weights.safetensors").read_bytes() for name in ("plain", "mine")]
    assert weights[0] == weights[1]
    assert not (tmp_path / "mine.checkpoint").exists()


def lose_and_change_version(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Lose the training of a command, and let the engine be another one from then on."""
    with monkeypatch.context() as patch:
        lose_at(7, patch)
        with pytest.raises(Lost):
            cli.main(words)
    monkeypatch.setattr("snn.training.environment.engine", lambda: "of another version")


def test_train_says_before_its_first_epoch_that_a_checkpoint_is_of_another_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The line came behind the last epoch, and to who interrupted that one too not at all."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.toml").write_text(CONFIG)
    words = ["train", "mine.toml", "--device", "cpu", "--quiet", "--out", "mine"]
    lose_and_change_version(words, monkeypatch)
    capsys.readouterr()
    with monkeypatch.context() as patch:
        lose_at(0, patch)
        with pytest.raises(Lost):
            cli.main(words)
    assert capsys.readouterr().err.splitlines() == [
        "spikefront: begins at epoch 1: checkpoint mine.checkpoint was made with another version "
        "of the engine"
    ]


def test_each_trial_of_a_study_says_once_that_its_checkpoint_is_of_another_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    head = (
        'name = "s"\nobjectives = ["accuracy", "synaptic_ops"]\n[budget]\ntrials = 1\nworkers = 0'
    )
    space = "[space]\nlearning_rate = [0.001, 0.01]\n"
    (tmp_path / "s.toml").write_text(f"{head}\n[run]\n{CONFIG}{space}")
    words = ["run", "s.toml", "--device", "cpu", "--artifacts", "w", "--store", "sqlite:///s.db"]
    lose_and_change_version(words, monkeypatch)
    capsys.readouterr()
    assert cli.main(words) == 0
    (name,) = [line for line in capsys.readouterr().err.splitlines() if "begins at" in line]
    assert name.startswith("trial 0  begins at epoch 1: checkpoint 00000-")
    assert name.endswith(".checkpoint was made with another version of the engine")
    with Store("sqlite:///s.db") as store:
        assert [e.trial for e in store.events("s") if e.kind == "anew"] == [0]
        assert store.trial("s", 0).epochs_done == 3
        assert store.stored_study("s").lost_epochs == 2


def test_a_training_that_diverges_leaves_no_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    rest = 'learning_rate = 1000\noptimizer = "sgd"\nloss = "squared-error"\n'
    (tmp_path / "mine.toml").write_text(CONFIG + rest)
    (tmp_path / "mine.checkpoint").write_text("of an earlier one")
    assert cli.main(["train", "mine.toml", "--device", "cpu", "--out", "mine"]) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["mine.toml"]
