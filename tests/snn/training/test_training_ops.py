"""Operations of a whole training: what is counted of it, and how far a sample is from the rest."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from snn.evaluation.evaluate import evaluate
from snn.rules import Batch, count_operations
from snn.settings.config import RunConfig
from snn.training import checkpoint, stage
from snn.training.stage import Stage
from tests.snn.training.test_snapshot import images_of
from tests.snn.training.test_train import SMALL, trained


@pytest.mark.parametrize("changes", [{}, {"time_rule": "ottt-a", "norm": "none"}], ids=str)
def test_a_sample_of_each_epoch_stands_for_all_of_its_images(
    changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = SMALL.replace(partition="3", space_rule="end-to-end", epochs=3, **changes)
    whole = [0.0]
    train_batch: Callable[..., Any] = Stage._train_batch

    def counted(self: Stage, batch: Batch, *, steps: int) -> Any:
        size = len(batch.labels)
        found = count_operations(self.runner, batch, self.draws, images=size)
        whole[0] += found.times(1.0, batches=1)
        return train_batch(self, batch, steps=steps)

    monkeypatch.setattr(Stage, "_train_batch", counted)
    (sampled,) = trained(config).training_ops
    assert sampled == pytest.approx(whole[0], rel=0.05)


def test_counting_does_not_change_the_training(monkeypatch: pytest.MonkeyPatch) -> None:
    config = SMALL.replace(dropout=0.2, norm="batch-over-time", encoding="poisson")
    plain = trained(config)
    monkeypatch.setattr(stage, "COUNTED", 3)
    other = trained(config)
    assert plain.training_ops != other.training_ops
    ours, theirs = plain.network.state_dict(), other.network.state_dict()
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in ours.items())


def test_it_is_the_sum_over_the_blocks_that_a_point_needs() -> None:
    training = trained(SMALL)
    assert len(training.training_ops) == 3
    points = evaluate(training.trained, images_of(SMALL)).points
    for blocks in {point.blocks for point in points}:
        (value,) = {p.metrics["training_ops"] for p in points if p.blocks == blocks}
        assert value == sum(training.training_ops[:blocks])


def test_a_start_without_time_is_part_of_the_training() -> None:
    config = RunConfig(
        width=4,
        epochs=1,
        train_images=128,
        backbone="mlp2",
        head_hidden=0,
        timesteps=2,
        norm="none",
    )
    plain = trained(config)
    begun = trained(config.replace(start="ann", start_epochs=2))
    assert begun.training_ops[0] > 1.5 * plain.training_ops[0]


def test_kept_spikes_of_finished_blocks_are_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    config = SMALL.replace(epochs=4)
    kept = trained(config)
    monkeypatch.setattr("snn.training.examples.BORDER_BYTES", 0)
    again = trained(config)
    assert kept.training_ops[0] == again.training_ops[0]
    for ours, theirs in zip(kept.training_ops[1:], again.training_ops[1:], strict=True):
        assert ours < theirs


def test_weights_of_an_earlier_version_do_not_say_it(tmp_path: Path) -> None:
    training = trained(SMALL.replace(epochs=1))
    checkpoint.save(training.trained, tmp_path / "weights")
    loaded = checkpoint.load(tmp_path / "weights")
    assert loaded.history.training_ops == tuple(training.training_ops)
    with safe_open(tmp_path / "weights", framework="pt") as file:
        header = json.loads(file.metadata()["spikefront"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    del header["training_ops"]
    save_file(tensors, tmp_path / "earlier", metadata={"spikefront": json.dumps(header)})
    earlier = checkpoint.load(tmp_path / "earlier")
    (metrics,) = [p.metrics for p in evaluate(earlier, images_of(SMALL)).points if p.is_sampled]
    assert math.isnan(metrics["training_ops"])
