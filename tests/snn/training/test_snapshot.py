"""Snapshots: the network in the middle of its training, which does not notice."""

from pathlib import Path

import pytest
import torch

from snn.evaluation.evaluate import evaluate, sampled_setting
from snn.network.network import Network
from snn.network.trained import Images, Trained
from snn.settings.config import RunConfig
from snn.settings.measurement import Evaluation
from snn.training import checkpoint
from snn.training.block_cache import BlockCache
from snn.training.train import Training
from tests.snn.training.test_train import SMALL, split_of


def images_of(config: RunConfig) -> Images:
    """The validation images."""
    split = split_of(config)
    return Images(
        images=split.validation_images,
        labels=split.validation_labels,
        mean=split.mean,
        std=split.std,
    )


def figures(evaluation: Evaluation) -> list[object]:
    """What was found, without what depends on the clock."""
    return [
        (
            point.timesteps,
            point.exit_thresholds,
            point.blocks,
            point.is_sampled,
            {name: value for name, value in point.metrics.items() if name != "training_s"},
        )
        for point in evaluation.points
    ]


def weights_of(network: Network) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def are_equal(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[n], second[n]) for n in first)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"space_rule": "end-to-end", "dropout": 0.2},
        {"time_rule": "ottt-a"},
        {"time_rule": "saf-e", "space_rule": "end-to-end"},
        {"target_sparsity": 0.9, "dropout": 0.2},
        {"target_sparsity": 0.8, "rewiring": "deep-r"},
        {"norm": "batch-over-time", "optimizer": "sgd"},
        {"block_classes": "hard", "class_threshold": 0.92},
        {"encoding": "poisson", "augmentation": "shift"},
    ],
    ids=lambda changes: "-".join(changes) or "plain",
)
def test_training_does_not_notice_that_snapshots_are_taken_and_evaluated(
    changes: dict[str, object],
) -> None:
    config = SMALL.replace(partition="1+2", **changes)
    plain, watched = Training(config, split_of(config)), Training(config, split_of(config))
    undisturbed = [(m.loss, m.accuracy, m.layers) for m in plain]
    measured = []
    for m in watched:
        measured.append((m.loss, m.accuracy, m.layers))
        evaluate(watched.snapshot(), images_of(config))
    assert measured == undisturbed
    assert are_equal(weights_of(watched.network), weights_of(plain.network))


@pytest.mark.parametrize("changes", [{}, {"block_classes": "hard", "class_threshold": 0.99}])
def test_after_the_last_epoch_of_a_block_it_is_the_prefix_of_the_trained_network(
    changes: dict[str, object],
) -> None:
    config = SMALL.replace(exit_threshold=(0.7, 0.8), **changes)
    training = Training(config, split_of(config))
    snapshots = {m.block: training.snapshot() for m in training if m.epoch == config.epochs}
    assert list(snapshots) == [1, 2, 3]
    for blocks, snapshot in snapshots.items():
        whole = checkpoint.prefix(training.trained, blocks)
        assert snapshot.config == whole.config
        assert are_equal(weights_of(snapshot.network), weights_of(whole.network))
        assert snapshot.history.memory_bytes == whole.history.memory_bytes
        assert snapshot.history.parameters == whole.history.parameters
        images = images_of(config)
        assert figures(evaluate(snapshot, images)) == figures(evaluate(whole, images))
    assert training.snapshot().network is training.network


def test_its_operating_points_are_of_its_own_depth() -> None:
    config = SMALL.replace(exit_threshold=(0.7, 0.8), inference_timesteps=2)
    training = Training(config, split_of(config))
    for m in training:
        evaluation = evaluate(training.snapshot(), images_of(config))
        assert max(point.blocks for point in evaluation.points) <= m.block
        sampled = evaluation.sampled
        assert (sampled.blocks, sampled.timesteps) == (m.block, 2)
        assert sampled.exit_thresholds == (0.7, 0.8)[: m.block - 1]
        assert sampled.metrics["training_memory_bytes"] >= m.training_memory_bytes


def test_its_accuracy_is_the_one_that_the_epoch_measured() -> None:
    """At thresholds that nothing passes, the last exit decides, as while training."""
    config = SMALL.replace(exit_threshold=1.0)
    training = Training(config, split_of(config))
    for m in training:
        sampled = evaluate(training.snapshot(), images_of(config)).sampled
        assert sampled.metrics["accuracy"] == pytest.approx(m.accuracy)


def test_a_snapshot_stays_as_it_was_when_training_goes_on() -> None:
    config = SMALL.replace(block_classes="hard", class_threshold=0.92)
    training = Training(config, split_of(config))
    taken: list[tuple[Trained, dict[str, torch.Tensor]]] = []
    for _ in training:
        snapshot = training.snapshot()
        taken.append((snapshot, weights_of(snapshot.network)))
    assert all(are_equal(weights_of(snapshot.network), before) for snapshot, before in taken)
    assert not are_equal(taken[0][1], taken[1][1])


def test_a_block_from_the_cache_is_the_finished_one(tmp_path: Path) -> None:
    config = SMALL.replace(block_classes="hard", class_threshold=0.92)
    cache = BlockCache(tmp_path, limit_bytes=10_000_000)
    first = Training(config, split_of(config), cache=cache)
    finished = [weights_of(first.snapshot().network) for m in first if m.epoch == config.epochs]
    again = Training(config, split_of(config), cache=cache)
    for m in again:
        assert m.is_reused
        snapshot = again.snapshot()
        assert are_equal(weights_of(snapshot.network), finished[m.block - 1])
        setting = sampled_setting(snapshot.config, m.block)
        assert evaluate(snapshot, images_of(config)).sampled.blocks == setting.depth
    assert are_equal(weights_of(again.network), weights_of(first.network))


def test_before_the_first_epoch_there_is_nothing_to_take() -> None:
    training = Training(SMALL, split_of(SMALL))
    with pytest.raises(ValueError, match="there is no trained block yet"):
        training.snapshot()
