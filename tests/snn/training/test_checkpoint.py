"""Networks on disk."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from snn.evaluation.evaluate import evaluate
from snn.rules import TIME_RULES
from snn.settings.first_spikes import FIRST_SPIKES
from snn.training.checkpoint import CheckpointError, load, prefix, save, sha256, times_path
from tests.snn.evaluation.test_evaluate import images_of
from tests.snn.training.test_train import ROUTED, SMALL, trained

OWN = SMALL.replace(neuron="individual", leak_spread=3.0)
VOTING = SMALL.replace(readout="spiking", votes=3, neuron="learned")


@pytest.mark.parametrize(
    "config", [SMALL, ROUTED, VOTING, OWN], ids=["all", "hard", "votes", "own"]
)
def test_a_loaded_network_evaluates_as_the_saved_one(config, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    training = trained(config)
    save(training.trained, tmp_path / "w.safetensors")
    loaded = load(tmp_path / "w.safetensors")
    assert loaded.config == config
    assert loaded.history == training.trained.history
    images = images_of(training)
    ours, theirs = (evaluate(trained, images) for trained in (loaded, training.trained))
    assert ours.points == theirs.points
    assert ours.layers == theirs.layers
    assert ours.exits == theirs.exits


@pytest.mark.parametrize("rule", sorted(set(TIME_RULES) - {"encoder", *FIRST_SPIKES}))
def test_equal_trainings_give_equal_files(rule: str, tmp_path: Path) -> None:
    config = SMALL.replace(time_rule=rule, reset="hard" if rule == "spike-bp" else "soft")
    for name in ("a", "b"):
        save(trained(config).trained, tmp_path / name)
    assert sha256(tmp_path / "a") == sha256(tmp_path / "b")
    assert json.loads(times_path(tmp_path / "a").read_text())["training_s"]


@pytest.mark.parametrize("changes", [{}, {"time_rule": "saf-e"}, {"encoding": "poisson"}])
def test_a_prefix_is_the_file_that_training_it_alone_gives(
    changes: dict[str, Any], tmp_path: Path
) -> None:
    config = SMALL.replace(**changes)
    save(prefix(trained(config).trained, 2), tmp_path / "cut")
    save(trained(config.replace(partition="1+1")).trained, tmp_path / "alone")
    assert sha256(tmp_path / "cut") == sha256(tmp_path / "alone")


def test_cutting_a_prefix_leaves_the_whole_as_it_was() -> None:
    training = trained(ROUTED)
    images = images_of(training)
    before = evaluate(training.trained, images)
    prefix(training.trained, 1)
    assert evaluate(training.trained, images).points == before.points


def test_blocks_that_were_trained_together_are_not_cut() -> None:
    training = trained(SMALL.replace(space_rule="end-to-end", epochs=1))
    with pytest.raises(ValueError, match="trained end-to-end"):
        prefix(training.trained, 1)


def test_another_operating_point_of_the_same_training_loads(tmp_path: Path) -> None:
    save(trained(SMALL.replace(epochs=1)).trained, tmp_path / "w")
    other = SMALL.replace(epochs=1, exit_threshold=(0.2, 0.3), exit_combination="mean")
    assert load(tmp_path / "w", config=other).config == other
    assert prefix(load(tmp_path / "w", config=other), 2).config.exit_combination == "mean"
    with pytest.raises(CheckpointError, match="a different training"):
        load(tmp_path / "w", config=SMALL.replace(epochs=1, seed=3))


@pytest.mark.parametrize("damage", ["missing", "empty", "cut", "foreign"])
def test_a_damaged_file_is_refused_by_name(damage: str, tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    save(trained(SMALL.replace(epochs=1, partition="3")).trained, path)
    if damage == "missing":
        path.unlink()
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:-100])
    else:
        from safetensors.torch import save_file

        save_file({"x": torch.zeros(3)}, path)
    with pytest.raises(CheckpointError, match=r"w\.safetensors"):
        load(path)


def test_nothing_half_written_is_left_when_saving_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object, **kwargs: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr("snn.training.checkpoint.save_file", full)
    with pytest.raises(OSError, match="No space"):
        save(trained(SMALL.replace(epochs=1, partition="3")).trained, tmp_path / "w")
    assert list(tmp_path.iterdir()) == []
