"""Operating points: counted from one pass, and run for real."""

import copy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from snn.evaluation.evaluate import evaluate, infer
from snn.evaluation.operating_points import OperatingPointEvaluator, OperatingSetting, keep
from snn.evaluation.recording import record, record_readings
from snn.network.exits import exit_output
from snn.network.network import Network
from snn.network.trained import Images, Trained
from snn.settings.config import SETTINGS as SETTINGS_OF_A_RUN
from snn.settings.config import RunConfig
from snn.settings.measurement import METRICS, OperatingPoint
from snn.training.checkpoint import prefix
from snn.training.train import Training
from tests.snn.training.test_train import ROUTED, SMALL, trained


def images_of(training: Training, count: int = 120) -> Images:
    """The first validation images of a training: enough for every exit."""
    split = training.split
    return Images(
        images=split.validation_images[:count],
        labels=split.validation_labels[:count],
        mean=split.mean,
        std=split.std,
    )


_ROUTED = {"width": 8, "epochs": 4, "block_classes": "hard", "class_threshold": 0.92}
SETTINGS: dict[str, dict[str, Any]] = {
    "all-classes": {},
    "hard-classes": {**_ROUTED},
    "hard-by-mass": {**_ROUTED, "detector": "mass"},
    "end-to-end": {"space_rule": "end-to-end", "detector": "head", "class_threshold": 0.97},
    "sparse-poisson": {"encoding": "poisson", "target_sparsity": 0.9},
    "identity-skip": {"backbone": "resnet11", "partition": "3+1+1", "width": 2},
    "votes": {**_ROUTED, "votes": 3},
    "class-neurons": {**_ROUTED, "readout": "spiking", "votes": 2, "class_threshold": 0.85},
    "learned-constants": {"neuron": "learned"},
    "own-constants": {"neuron": "individual", "leak_spread": 3.0},
    "maxima": {"backbone": "vgg7", "partition": "2+2+1", "pooling": "max"},
    "feedback": {"feedback": "last-to-first"},
    "synapses": {"synaptic_leak": 0.6},
    "adaptive": {"adaptation": 0.3},
    "recurrence": {"recurrence": "3x3", "learning_rate": 0.03, "target_sparsity": 0.3},
    "delays": {"delays": "connections", "max_delay": 2, "target_sparsity": 0.5},
    "delays-of-axons": {"delays": "axons", "max_delay": 2, "encoding": "poisson"},
    "pools": {"backbone": "vgg7", "partition": "2+2+1", "norm": "batch-over-time"},
}


@pytest.mark.parametrize("changes", SETTINGS.values(), ids=SETTINGS)
def test_every_point_equals_running_the_network_there(changes: dict[str, Any]) -> None:
    """Images really leave, later timesteps are really not run; labels, exits, operations agree.

    A residue can only come from rounding at a threshold; it stays below one in a thousand.
    """
    training = trained(SMALL.replace(timesteps=4, **changes))
    answers_early = assert_counted_is_run(training.trained, images_of(training))
    assert answers_early or changes


def assert_counted_is_run(trained: Trained, images: Images) -> bool:
    """Of some points of the network, every decision, operation and spike is as when it is run.

    Returns whether some images, but not all, answered before the last timestep.
    """
    evaluation = evaluate(trained, images)
    counter = OperatingPointEvaluator(trained, record(trained.network, images))
    chosen = np.random.default_rng(0).permutation(len(evaluation.points))[:5]
    wrong = total = 0
    settings = [
        OperatingSetting(
            timesteps=point.timesteps,
            exit_thresholds=point.exit_thresholds,
            detector_threshold=point.detector_threshold,
        )
        for point in [evaluation.points[index] for index in chosen]
    ]
    *earlier, last = counter.recording.confidence[:, :3]  # blocks time images
    settings += [
        OperatingSetting(
            timesteps=4,
            exit_thresholds=tuple(float(np.quantile(exit_, share)) for exit_ in earlier),
            detector_threshold=0.5,
            time_threshold=float(np.quantile(last, over_time)),
        )
        for over_time, share in ((0.3, 1.0), (0.6, 0.7), (0.9, 0.9))
    ]
    answered_early = []
    for setting in settings:
        point = counter.point(setting)
        if setting.time_threshold < 1:
            answered_early.append(1 < point.metrics["mean_timesteps"] < 4)
        real = infer(trained.network, images, setting)
        counted = counter.decisions(setting)
        differs = (
            (real.labels != counted.labels)
            | (real.exits != counted.exits)
            | (real.accumulates != counted.accumulates)
            | (real.spikes != counted.spikes)
            | (real.timesteps != counted.timesteps)
        )
        wrong += int(differs.sum())
        total += len(differs)
        if not differs.any():
            metrics = point.metrics
            assert metrics["synaptic_ops"] == pytest.approx(real.accumulates.mean(), rel=1e-12)
            right = real.labels == images.labels.numpy()
            assert metrics["accuracy"] == pytest.approx(right.mean(), rel=1e-12)
            assert metrics["mean_timesteps"] == pytest.approx(real.timesteps.mean(), rel=1e-12)
            if setting.time_threshold == 1:
                assert metrics["mean_blocks"] == pytest.approx(real.exits.mean(), rel=1e-12)
    assert wrong <= total / 1000
    return any(answered_early)


@pytest.fixture(scope="module")
def routed() -> Training:
    """A network whose deeper blocks know only hard classes; some images go to each."""
    return trained(SMALL.replace(timesteps=4, class_rule="worst-fraction", **_ROUTED))


def read_anew(trained: Trained, **operating: Any) -> Trained:
    """The same blocks, their outputs combined or their hard inputs told otherwise."""
    network = Network(trained.config.replace(**operating), trained.network.task)
    network.blocks.extend(trained.network.blocks)
    return replace(trained, network=network.eval())


@pytest.mark.parametrize("combination", SETTINGS_OF_A_RUN["exit_combination"].choices)
@pytest.mark.parametrize("detector", SETTINGS_OF_A_RUN["detector"].choices)
def test_every_combination_and_detector_is_counted_as_it_is_run(
    routed: Training, combination: str, detector: str
) -> None:
    changed = read_anew(routed.trained, exit_combination=combination, detector=detector)
    assert [len(changed.network.block(index).head.classes) for index in range(3)] == [10, 5, 3]
    assert_counted_is_run(changed, images_of(routed))


def test_readings_of_one_run_are_recordings_of_their_own(routed: Training) -> None:
    images = images_of(routed)
    changes: list[dict[str, Any]] = [{}, {"detector": "mass"}, {"exit_combination": "mean"}]
    networks = [read_anew(routed.trained, **change).network for change in changes]
    silent = copy.deepcopy(networks[1])
    silent.block(0).head.detector = None
    networks.append(silent)
    for network, reading in zip(networks, record_readings(networks, images), strict=True):
        own = record(network, images)
        for name in ("labels", "confidence", "p_hard", "label", "accumulates", "spikes"):
            assert np.array_equal(getattr(reading, name), getattr(own, name)), name
        assert np.array_equal(reading.detector, own.detector)
        assert reading.layers == own.layers
    assert own.detector[0].sum() == 0 < reading.accumulates[0].sum()


def test_every_combination_is_another_network_at_depth(routed: Training) -> None:
    """The tests above would also pass if the setting were ignored."""
    images = images_of(routed)
    setting = OperatingSetting(timesteps=4, exit_thresholds=(1.0, 1.0), detector_threshold=0.5)
    said = {
        combination: infer(
            read_anew(routed.trained, exit_combination=combination).network, images, setting
        ).labels.tobytes()
        for combination in SETTINGS_OF_A_RUN["exit_combination"].choices
    }
    assert len(set(said.values())) == len(said)


def test_a_prefix_evaluates_to_the_points_that_keep_no_more_blocks() -> None:
    training = trained(SMALL)
    images = images_of(training)
    points = [p for p in evaluate(training.trained, images).points if p.blocks == 2]
    cut = OperatingPointEvaluator(
        prefix(training.trained, 2), record(prefix(training.trained, 2).network, images)
    )
    assert points
    for point in points:
        setting = OperatingSetting(
            timesteps=point.timesteps,
            exit_thresholds=point.exit_thresholds,
            detector_threshold=point.detector_threshold,
        )
        assert cut.point(setting).metrics == point.metrics


def test_the_sampled_point_is_what_the_config_asks() -> None:
    training = trained(SMALL.replace(exit_threshold=(0.3, 0.6), inference_timesteps=2))
    sampled = evaluate(training.trained, images_of(training)).sampled
    assert (sampled.timesteps, sampled.exit_thresholds) == (2, (0.3, 0.6))
    assert sampled.metrics.keys() == METRICS.keys()
    assert sampled.metrics["mean_timesteps"] == 2


def test_thresholds_of_zero_and_above_one_are_the_first_and_the_last_exit() -> None:
    training = trained(SMALL)
    images = images_of(training)
    counter = OperatingPointEvaluator(training.trained, record(training.network, images))
    for threshold, blocks in [(0.0, 1.0), (1.1, 3.0)]:
        setting = OperatingSetting(
            timesteps=3, exit_thresholds=(threshold, threshold), detector_threshold=0.5
        )
        assert counter.point(setting).metrics["mean_blocks"] == blocks


def test_a_block_of_hard_classes_shares_only_their_probability() -> None:
    network = trained(ROUTED).network
    head = network.block(1).head
    assert 2 <= len(head.classes) < 10
    before = torch.softmax(torch.randn(6, 10), dim=1)
    features = torch.zeros(6, 16)
    said = exit_output(network, 1, torch.randn(6, len(head.classes)), features, before)
    easy = [label for label in range(10) if label not in head.classes]
    assert torch.equal(said.probabilities[:, easy], before[:, easy])
    assert torch.allclose(said.probabilities.sum(dim=1), torch.ones(6))


def test_exits_account_for_every_image() -> None:
    training = trained(SMALL)
    images = images_of(training)
    evaluation = evaluate(training.trained, images)
    assert sum(report.images for report in evaluation.exits) == evaluation.images
    correct = sum(report.correct for report in evaluation.exits) / evaluation.images
    assert correct == pytest.approx(evaluation.sampled.metrics["accuracy"])


def test_layers_add_up_to_the_full_run() -> None:
    training = trained(SMALL)
    images = images_of(training)
    evaluation = evaluate(training.trained, images)
    setting = OperatingSetting(timesteps=3, exit_thresholds=(1.1, 1.1), detector_threshold=0.5)
    full = (
        OperatingPointEvaluator(training.trained, record(training.network, images))
        .point(setting)
        .metrics
    )
    layers = evaluation.layers
    assert sum(layer.synaptic_ops for layer in layers) == pytest.approx(full["synaptic_ops"])
    assert sum(layer.macs for layer in layers) == pytest.approx(full["macs"])
    spikes = sum(layer.spikes_per_inference for layer in layers)
    assert spikes == pytest.approx(full["spikes_per_inference"])


def _point(**metrics: float) -> OperatingPoint:
    return OperatingPoint(
        timesteps=1,
        exit_thresholds=(),
        detector_threshold=0.5,
        blocks=1,
        metrics={**dict.fromkeys(METRICS, 1.0), **metrics},
    )


def test_dominated_points_are_not_kept_but_the_first_always_is() -> None:
    sampled = _point(accuracy=0.1)
    good, cheap = _point(accuracy=0.9), _point(accuracy=0.8, synaptic_ops=0.5)
    worse = _point(accuracy=0.8, synaptic_ops=0.7)
    assert keep([sampled, good, worse, cheap, cheap]) == [sampled, good, cheap]


def test_of_many_points_the_extremes_stay() -> None:
    points = [_point(accuracy=i / 500, synaptic_ops=float(i * i)) for i in range(1, 400)]
    kept = keep(points, bound=20)
    assert len(kept) == 20
    assert points[0] in kept
    assert points[-1] in kept


def test_points_that_look_alike_are_not_kept_twice() -> None:
    """Nondominated in spikes against operations of another kind, and equal in all that spreads."""
    points = [_point(spikes_per_inference=float(i), macs=float(100 - i)) for i in range(100)]
    kept = keep(points, bound=20)
    assert len(kept) == len({(p.metrics["spikes_per_inference"]) for p in kept}) <= 20


def test_evaluating_twice_gives_the_same() -> None:
    training = trained(SMALL.replace(encoding="poisson"))
    images = images_of(training)
    first, second = (evaluate(training.trained, images) for _ in range(2))
    assert first.points == second.points
    assert first.layers == second.layers


def test_a_config_without_exits_has_points_over_timesteps_only() -> None:
    training = trained(RunConfig(width=4, epochs=1, train_images=128, timesteps=3, partition="3"))
    evaluation = evaluate(training.trained, images_of(training))
    assert evaluation.points_evaluated == 1 + 3
