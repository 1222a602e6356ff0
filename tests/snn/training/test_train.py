"""Training: what depends on what, and what comes out twice the same."""

import dataclasses
import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from snn.data import dataset, encoding
from snn.data.dataset import Split
from snn.network.blocks import connections_of, fold_for_inference, layers_of
from snn.network.layers import LEAST_THRESHOLD, ForwardContext
from snn.network.network import Network
from snn.rewiring import connectivity
from snn.rules import Batch
from snn.rules.bptt import bptt
from snn.rules.loss import readout_loss
from snn.settings.config import RunConfig
from snn.training.stage import Stage
from snn.training.train import DivergedError, Training
from tests.snn.network.test_network import DIGITS, fresh

SMALL = RunConfig(
    width=4, epochs=2, train_images=256, partition="1+1+1", head_hidden=16, timesteps=3
)


def split_of(config: RunConfig) -> Split:
    """The digits as this config splits them."""
    return dataset.split(
        dataset.load(config.dataset, Path()),
        validation_fraction=config.validation_fraction,
        train_images=config.train_images,
        seed=config.seed,
        device="cpu",
    )


def trained(config: RunConfig) -> Training:
    """A training run to its end."""
    training = Training(config, split_of(config))
    for _ in training:
        pass
    return training


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Other thread counts may round otherwise."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


ROUTED = SMALL.replace(width=8, epochs=4, block_classes="hard", class_threshold=0.92)
"""Some classes are easy after its first block, and some are not."""


def _weights(network: Network) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"space_rule": "end-to-end"},
        {"target_sparsity": 0.9, "dropout": 0.2},
        {"encoding": "poisson"},
        {"augmentation": "shift", "optimizer": "sgd", "learning_rate": 0.1},
        {"norm": "batch-over-time", "reset": "hard"},
        {"norm": "none", "block_classes": "hard", "class_threshold": 0.95},
        {"time_rule": "ottt-a"},
        {"time_rule": "saf-f", "backbone": "vgg5"},
        {"time_rule": "dsr", "backbone": "vgg5", "precision": "float32"},
        {"synaptic_leak": 0.5, "delays": "axons"},
    ],
    ids=lambda changes: "-".join(changes) or "plain",
)
def test_the_same_config_gives_the_same_weights_bit_for_bit(
    changes: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever new tensors hold: NaN the second time, which torch fills them with if we let it."""
    config = SMALL.replace(**changes)
    first = _weights(trained(config).network)
    monkeypatch.setattr(torch._C, "_set_deterministic_fill_uninitialized_memory", lambda on: None)
    second = _weights(trained(config).network)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    other = _weights(trained(config.replace(seed=1)).network)
    assert any(not torch.equal(first[n], other[n]) for n in first if n in other)


@pytest.mark.parametrize("changes", [{}, {"block_classes": "hard", "class_threshold": 0.99}])
def test_a_prefix_trained_alone_is_the_prefix_of_the_whole(changes: dict[str, object]) -> None:
    whole = _weights(trained(SMALL.replace(**changes)).network)
    part = _weights(trained(SMALL.replace(partition="1+1", **changes)).network)
    shared = [name for name in part if "detector" not in name]
    assert any(name.startswith("blocks.1") for name in shared)
    assert all(torch.equal(whole[name], part[name]) for name in shared)


def test_no_gradient_crosses_a_block_border() -> None:
    """Trained after frozen blocks whose weights could receive gradient: they get none."""
    config = SMALL.replace(timesteps=4)
    network = fresh(config, DIGITS).train()
    batch = Batch(
        drive=torch.randn(1, 8, 1, 8, 8),
        labels=torch.arange(8),
        frozen=1,
        timesteps=4,
        loss="mean-readout",
    )
    bptt(network, batch, ForwardContext(), apply=lambda: None)
    assert all(p.grad is None for p in network.block(0).parameters())
    for index in (1, 2):
        convs = connections_of(network.block(index))
        assert all(conn.weight.grad is not None for conn in convs)
        assert any(float(conn.weight.grad.abs().sum()) > 0 for conn in convs)


def test_end_to_end_with_one_block_is_plain_training_bit_for_bit() -> None:
    """Against a loop written here: forward, mean readout, cross-entropy, Adam, cosine."""
    import math

    config = SMALL.replace(partition="3", space_rule="end-to-end", learning_rate=0.01)
    split = split_of(config)
    stage = Stage(Network(config, DIGITS), split, range(10), device="cpu")
    network = Network(config, DIGITS)
    network.blocks.append(fresh(config, DIGITS).block(0))
    from snn.data import encoding
    from snn.network.seeding import generator

    draws = generator(config.seed, "batches", 0)
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.01, weight_decay=0.0)
    count = len(split.train_labels)
    steps, done = 2 * math.ceil(count / config.batch_size), 0
    network.train()
    for _ in range(2):
        for index in torch.randperm(count, generator=draws).split(config.batch_size):
            drive = encoding.direct(split.train_images[index], split.mean, split.std)
            (logits,) = network.run(drive, ForwardContext(), timesteps=3, wants=("means",)).means
            loss = torch.nn.functional.cross_entropy(logits, split.train_labels[index])
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.param_groups[0]["lr"] = 0.01 * 0.5 * (1 + math.cos(math.pi * done / steps))
            optimizer.step()
            optimizer.zero_grad()
            done += 1
    for _ in stage.epochs(0):
        pass
    plain = fold_for_inference(config, 0, network.block(0).eval()).state_dict()
    ours = fold_for_inference(config, 0, stage.live[0].eval()).state_dict()
    assert all(torch.equal(plain[name], ours[name]) for name in plain)


def test_kept_border_spikes_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Running the frozen blocks anew for every batch gives the same training.

    But for the order in which sums are taken, which some processors choose by the place in memory.
    """
    kept, anew = Training(SMALL, split_of(SMALL)), Training(SMALL, split_of(SMALL))
    seen = [dataclasses.replace(m, wall_s=0) for m in kept]
    monkeypatch.setattr("snn.training.examples.BORDER_BYTES", 0)
    assert [dataclasses.replace(m, wall_s=0) for m in anew] == seen
    ours, theirs = _weights(kept.network), _weights(anew.network)
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("target", [0.5, 0.9, 0.98])
@pytest.mark.parametrize("partition", ["3", "1+2"])
def test_the_asked_sparsity_is_reached_exactly(target: float, partition: str) -> None:
    config = SMALL.replace(target_sparsity=target, partition=partition, epochs=1)
    network = trained(config).network
    for index in range(len(network.blocks)):
        possible = sum(conn.weight.numel() for conn in connections_of(network.block(index)))
        reached = 1 - connectivity(connections_of(network.block(index)))
        assert abs(reached - target) <= 0.5 / possible + 1e-9


def test_every_epoch_tells_what_came_and_went_layer_by_layer() -> None:
    config = SMALL.replace(
        backbone="resnet5", partition="1+1", target_sparsity=0.6, learning_rate=0.05, epochs=4
    )
    training = Training(config, split_of(config))
    measured = list(training)
    for m in measured:
        possible = sum(layer.weights for layer in m.layers)
        assert sum(layer.connections for layer in m.layers) / possible == m.connectivity
        assert sum(layer.regrown for layer in m.layers) == m.regrown
        assert {layer.name for layer in m.layers} > {f"exit{m.block}.readout"}
    for before, m in itertools.pairwise(measured):
        for was, layer in zip(before.layers, m.layers, strict=False):
            if before.block == m.block:
                assert layer.connections == was.connections + layer.regrown - layer.removed
    assert sum(m.regrown for m in measured) > 0
    assert all(m.layers == () for m in Training(SMALL, split_of(SMALL)))


@pytest.mark.parametrize("rewiring", ["deep-r", "deep-r-soft", "magnitude", "stds"])
def test_every_form_trains_to_the_asked_sparsity(rewiring: str) -> None:
    """Two blocks and a detector between them, each rewired by itself."""
    config = ROUTED.replace(target_sparsity=0.8, rewiring=rewiring, epochs=2, class_threshold=0.3)
    network = trained(config).network
    assert network.block(0).head.detector is not None
    for index in range(len(network.blocks)):
        head = network.block(index).head
        detector = head.detector.connections if head.detector is not None else None
        parts = [c for c in connections_of(network.block(index)) if c is not detector]
        possible = sum(conn.weight.numel() for conn in parts)
        assert 1 - connectivity(parts) == pytest.approx(0.8, abs=0.5 / possible + 1e-9)
        if detector is not None:
            count = detector.weight.numel()
            assert 1 - connectivity([detector]) == pytest.approx(0.8, abs=0.5 / count + 1e-9)


@pytest.mark.parametrize("backbone", ["resnet5", "vgg5"])
def test_convolutions_stay_trainable_at_five_percent_of_their_connections(backbone: str) -> None:
    """Ten classes: chance is 0.1; the same networks dense come to 0.98."""
    config = RunConfig(
        backbone=backbone, width=16, epochs=6, timesteps=3, head_hidden=16, target_sparsity=0.95
    )
    *_, last = Training(config, split_of(config))
    assert last.connectivity == pytest.approx(0.05, abs=1e-4)
    assert last.accuracy > 0.6
    assert min(layer.connections for layer in last.layers) > 0  # no layer is cut off


def test_the_open_loop_reaches_what_its_strength_gives_and_not_what_is_asked() -> None:
    reached = []
    for target in (0.6, 0.95):
        config = SMALL.replace(target_sparsity=target, rewiring="open-loop", partition="3")
        reached.append(connectivity(connections_of(trained(config).network)))
    assert reached[0] == reached[1]
    assert reached[0] > 0.5


def test_deeper_blocks_train_on_the_classes_that_are_still_hard() -> None:
    network = trained(ROUTED).network
    first = network.block(0).head
    assert 2 <= len(first.hard) < 10
    assert network.block(1).head.classes == first.hard
    assert set(network.block(1).head.hard) <= set(first.hard)
    assert first.detector is not None


@pytest.mark.parametrize("score", ["recall", "precision"])
def test_the_worst_classes_of_each_block_go_on(score: str) -> None:
    """Counted anew from what the blocks decide: folded, on the validation images."""
    training = trained(ROUTED.replace(class_rule="worst-fraction", class_score=score))
    split, network = training.split, training.network
    drive = encoding.direct(split.validation_images, split.mean, split.std)
    classes = list(range(10))
    readouts = network.run(drive, ForwardContext(), timesteps=ROUTED.timesteps).logits
    for index, readout in enumerate(readouts[:2]):
        head = network.block(index).head
        assert list(head.classes) == classes
        decided = torch.tensor(classes)[readout.mean(dim=0).argmax(dim=1)]
        known = torch.isin(split.validation_labels, torch.tensor(classes))
        decided, labels = decided[known], split.validation_labels[known]
        of = labels if score == "recall" else decided
        scores = {
            c: int(((decided == c) & (labels == c)).sum()) / max(int((of == c).sum()), 1)
            for c in classes
        }
        worst = sorted(classes, key=lambda c: (scores[c], c))[: (len(classes) + 1) // 2]
        assert head.hard == tuple(sorted(worst))
        classes = list(head.hard)


def test_training_ends_where_no_class_is_hard() -> None:
    config = SMALL.replace(block_classes="hard", class_threshold=0.0)
    training = trained(config)
    assert len(training.network.blocks) == 1
    assert training.network.block(0).head.hard == ()


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize("sparsity", [0.0, 0.5])
def test_weight_decay_shrinks_connections_and_nothing_else(optimizer: str, sparsity: float) -> None:
    config = SMALL.replace(
        optimizer=optimizer, weight_decay=0.1, learning_rate=0.5, target_sparsity=sparsity
    )
    stage = Stage(Network(config, DIGITS), split_of(config), range(10), device="cpu")
    before = {name: p.detach().clone() for name, p in stage.live[0].named_parameters()}
    stage._decay(1 - 0.5 * 0.1)
    for name, parameter in stage.live[0].named_parameters():
        factor = 0.95 if name.endswith("connections.0.weight") or "readout" in name else 1.0
        factor = 1.0 if name.endswith("bias") else factor
        assert torch.allclose(parameter, before[name] * factor), name


def test_a_measurement_per_epoch_and_block() -> None:
    seen = [(m.block, m.epoch, m.epochs_done) for m in Training(SMALL, split_of(SMALL))]
    assert seen == [(1, 1, 1), (1, 2, 2), (2, 1, 3), (2, 2, 4), (3, 1, 5), (3, 2, 6)]
    whole = SMALL.replace(space_rule="end-to-end")
    assert [m.block for m in Training(whole, split_of(whole))] == [0, 0]


@pytest.mark.parametrize("start_epochs", [0, 3])
def test_validation_images_run_once_an_epoch(
    start_epochs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not again for the confusions, and not while a start without time is trained."""
    config = SMALL.replace(space_rule="end-to-end", epochs=3)
    if start_epochs:
        config = config.replace(norm="none", leak=1.0, start="ann", start_epochs=start_epochs)
    validated, validate = list[Stage](), Stage._validate

    def counted(stage: Stage) -> tuple[float, float]:
        validated.append(stage)
        return validate(stage)

    monkeypatch.setattr(Stage, "_validate", counted)
    assert len(list(Training(config, split_of(config)))) == len(validated) == 3


@pytest.mark.parametrize("changes", [{}, {"encoding": "poisson", "norm": "batch-over-time"}])
def test_the_confusions_are_those_of_the_trained_blocks(changes: dict[str, object]) -> None:
    config = SMALL.replace(space_rule="end-to-end", **changes)
    stage = Stage(Network(config, DIGITS), split_of(config), range(10), device="cpu")
    measured = list(stage.epochs(0))
    kept = stage.confusions()
    stage._confusions = None
    again = stage.confusions()
    assert len(kept) == config.exits
    assert all(torch.equal(a, b) for a, b in zip(kept, again, strict=True))
    assert [int(count.sum()) for count in kept] == [len(stage.validation)] * config.exits
    assert int(kept[-1].diagonal().sum()) / len(stage.validation) == measured[-1].accuracy
    assert any(not torch.equal(kept[0], other) for other in kept[1:])


def test_every_layer_learns_its_own_leak_and_threshold() -> None:
    training = trained(SMALL.replace(neuron="learned", partition="1+2"))
    for name in ("leak", "threshold"):
        start = getattr(training.config, name)
        learned = [float(getattr(layer, name)) for layer in layers_of(training.network)]
        assert len(set(learned)) == len(learned) > 3
        assert start not in learned


def test_learned_constants_stay_where_they_have_a_meaning() -> None:
    config = SMALL.replace(neuron="learned", leak=1.0, learning_rate=5.0, schedule="constant")
    stage = Stage(Network(config, DIGITS), split_of(config), range(10), device="cpu")
    next(stage.epochs(0))
    leaks = [layer.leak.item() for layer in stage.layers if layer.leak is not None]
    lows = [layer.threshold.item() for layer in stage.layers if layer.threshold is not None]
    assert len(leaks) == len(lows) == len(stage.layers)
    assert all(0 <= leak <= 1 for leak in leaks)
    assert all(low >= LEAST_THRESHOLD for low in lows)
    assert {0.0, 1.0} & set(leaks)  # a step of 5 leaves the range
    assert LEAST_THRESHOLD in lows


def test_training_learns_the_digits() -> None:
    """Chance is 0.1; 2 epochs of width 8 reach about 0.9, so 0.7 is 15 sigmas of 288 images off."""
    config = RunConfig(width=8, epochs=2, partition="1+2")
    *_, last = Training(config, split_of(config))
    assert last.accuracy > 0.7


def test_a_loss_that_is_not_finite_is_a_divergence() -> None:
    config = SMALL.replace(norm="none", optimizer="sgd", learning_rate=1000.0, weight_decay=1000.0)
    with pytest.raises(DivergedError, match="lower learning_rate"):
        list(Training(config, split_of(config)))


def test_each_step_loss_is_the_mean_over_running_readouts(draws: torch.Generator) -> None:
    logits = torch.randn(3, 4, 5, generator=draws)
    labels = torch.tensor([0, 1, 2, 3])
    by_hand = sum(
        torch.nn.functional.cross_entropy(logits[:t].mean(dim=0), labels) for t in (1, 2, 3)
    )
    assert isinstance(by_hand, torch.Tensor)
    assert readout_loss(logits, labels, loss="each-step").item() == pytest.approx(
        by_hand.item() / 3, rel=1e-6
    )


def test_block_local_training_keeps_less_for_backward() -> None:
    local = trained(SMALL)
    whole = trained(SMALL.replace(space_rule="end-to-end"))
    assert max(local.memory_bytes) < max(whole.memory_bytes)
