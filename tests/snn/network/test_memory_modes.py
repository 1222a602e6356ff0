"""What bptt keeps for its way back changes the memory, never the gradient."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from snn.data import dataset
from snn.network.blocks import connections_of, fold_for_inference
from snn.network.cost import SavedBytes
from snn.network.layers import ForwardContext
from snn.network.network import Network, Task
from snn.network.packing import Levels, pack, unpack
from snn.network.seeding import generator
from snn.rules import TIME_RULES, Batch
from snn.settings.config import RunConfig
from snn.training.plan import plan
from snn.training.stage import Stage
from tests.snn.network.test_network import fresh

TASK = Task(image_shape=(2, 8, 8), classes=10)
NETWORKS: dict[str, dict[str, Any]] = {
    "dense": {"backbone": "mlp2", "width": 30},
    "pools": {"backbone": "vgg5", "width": 4},
    "skips": {"backbone": "resnet7", "width": 4},
    "bottleneck-separable": {"architecture": "s6p b12/2 s9", "partition": "1+2", "dropout": 0.3},
    "dropout": {"backbone": "vgg5", "width": 4, "dropout": 0.3},
    "no-norm": {"backbone": "resnet5", "width": 4, "norm": "none"},
    "pooling-neurons": {"backbone": "vgg5", "width": 4, "dropout": 0.3, "pooling": "spiking"},
    "blocks": {"backbone": "vgg5", "width": 4, "dropout": 0.3, "partition": "1+2"},
    "class-neurons": {"backbone": "vgg5", "width": 4, "readout": "spiking", "votes": 2},
    "feedback": {"backbone": "vgg5", "width": 4, "feedback": "last-to-first"},
    "learned": {"backbone": "vgg5", "width": 4, "neuron": "learned"},
    "individual": {"backbone": "vgg5", "width": 4, "neuron": "individual", "leak_spread": 3.0},
    "images": {"backbone": "vgg5", "width": 4, "encoding": "direct"},
    "each-step": {"backbone": "vgg5", "width": 4, "loss": "each-step"},
    "hard-reset": {"backbone": "vgg5", "width": 4, "reset": "hard"},
    "adaptive": {"backbone": "vgg5", "width": 4, "adaptation": 0.3, "dropout": 0.3},
    "adaptive-synapses": {
        "backbone": "vgg5",
        "width": 4,
        "adaptation": 0.3,
        "synaptic_leak": 0.5,
        "reset": "hard",
        "readout": "spiking",
        "timesteps": 20,  # of fewer the three states of a neuron are more than is recomputed
    },
    "delays": {"backbone": "vgg5", "width": 4, "delays": "connections", "dropout": 0.3},
    "delays-of-axons": {"backbone": "resnet7", "width": 4, "delays": "axons", "timesteps": 20},
    "recurrence": {"backbone": "vgg5", "width": 4, "recurrence": "3x3", "dropout": 0.3},
    "all-together": {
        "architecture": "s6p d12 d9",
        "recurrence": "1x1",
        "delays": "connections",
        "synaptic_leak": 0.4,
        "adaptation": 0.2,
        "timesteps": 20,
    },
    "synapses": {"backbone": "resnet7", "width": 4, "synaptic_leak": 0.6},
}
LAYERS: dict[str, Any] = {
    "backbone": "mlp2",
    "width": 500,
    "head_hidden": 500,
    "norm": "none",
    "encoding": "direct",
}


def network_of(changes: dict[str, Any], *, steps: int) -> Network:
    values = {"timesteps": steps, "encoding": "poisson", "head_hidden": 12, **changes}
    network = fresh(RunConfig(**values), TASK).double().train()
    with torch.no_grad():  # feedback and recurrence begin at zero
        for conn in connections_of(network):
            if conn.norm == "weight-standardised" and not conn.gain.any():
                conn.gain.fill_(0.5)
            if not conn.weight.any():
                conn.weight.normal_(0, 0.3, generator=torch.Generator().manual_seed(2))
    return network


def batch_of(network: Network, *, frozen: int = 0) -> Batch:
    draws = torch.Generator().manual_seed(1)
    config = network.config
    times = 1 if config.encoding == "direct" else config.timesteps
    drive = torch.randn(times, 5, *TASK.image_shape, dtype=torch.float64, generator=draws)
    return Batch(
        drive=drive,
        labels=torch.arange(5),
        frozen=frozen,
        timesteps=config.timesteps,
        loss=config.loss,
    )


def gradients(network: Network, mode: str, batch: Batch) -> tuple[dict[str, Tensor], int]:
    """Of one step of bptt, and the bytes that it kept."""
    network.memory_mode = mode
    network.zero_grad(set_to_none=True)
    state = ForwardContext(generator=generator(0, "masks"))
    with SavedBytes(list(network.parameters())) as saved:
        TIME_RULES["bptt"](network, batch, state, apply=lambda: None)
    grads = {n: p.grad.clone() for n, p in network.named_parameters() if p.grad is not None}
    return grads, saved.peak


@pytest.mark.parametrize("mode", ["packed", "checkpointed"])
@pytest.mark.parametrize("changes", NETWORKS.values(), ids=NETWORKS)
@pytest.mark.parametrize("chunk", [1, 3])
def test_every_memory_mode_has_the_gradient_of_the_full_one(
    mode: str, changes: dict[str, Any], chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "feedback" not in changes:  # which runs one timestep at a time
        monkeypatch.setattr(Network, "chunk_steps", chunk)
    network = network_of(changes, steps=7)
    batch = batch_of(network)
    full, most = gradients(network, "full", batch)
    ours, kept = gradients(network, mode, batch)
    assert ours.keys() == full.keys()
    assert any(float(grad.abs().max()) > 0 for grad in full.values())
    for name, grad in full.items():
        scale = max(float(grad.abs().max()), 1e-3)
        assert float((ours[name] - grad).abs().max()) / scale < 1e-12, name
    assert kept < most


@pytest.mark.parametrize("mode", ["packed", "checkpointed"])
@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_after_frozen_blocks_too(mode: str, dropout: float) -> None:
    config = RunConfig(
        backbone="resnet7",
        width=4,
        partition="1+2",
        timesteps=5,
        encoding="poisson",
        dropout=dropout,
    )
    network = fresh(config, TASK).double().train()
    network.blocks[0] = fold_for_inference(config, 0, network.block(0)).double().eval()
    full, _ = gradients(network, "full", batch_of(network, frozen=1))
    ours, _ = gradients(network, mode, batch_of(network, frozen=1))
    assert full
    assert all(name.startswith("blocks.1.") for name in ours)
    for name, grad in full.items():
        assert (ours[name] - grad).abs().max() < 1e-12


@pytest.mark.parametrize("backbone", ["resnet7", "vgg5"])  # the second pools at the border
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_spikes_of_finished_blocks_are_kept_as_bits(
    backbone: str, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = RunConfig(
        backbone=backbone, width=4, partition="1+2", timesteps=5, precision=precision
    )
    network = fresh(config, TASK).train()
    network.blocks[0] = fold_for_inference(config, 0, network.block(0)).eval()
    batch = batch_of(network, frozen=1)
    batch = Batch(**{**batch.__dict__, "drive": batch.drive.float()})
    plain, most = gradients(network, "full", batch)
    monkeypatch.setattr("snn.network.layers.LEAST_PACKED_BYTES", 0)
    ours, kept = gradients(network, "full", batch)
    assert ours.keys() == plain.keys()
    assert all(torch.equal(ours[name], grad) for name, grad in plain.items())
    values = 5 * 5 * math.prod(network.block(0).signal.shape)
    codes = 1 if network.block(0).signal.spikes_per_unit > 1 else 1 / 8
    readers = sum(conn.kind == "border" for conn in connections_of(network.block(1)))
    size = 4 if precision == "float32" else 2 * readers  # each casts its own
    assert most - kept == pytest.approx(values * (size - readers * codes), rel=0.02)


def test_checkpointed_memory_grows_with_the_root_of_the_timesteps() -> None:
    """States 4 N T / K and one segment 8 N K, K = sqrt(T / 2): 4 times T costs twice."""
    kept = {}
    for steps in (8, 32):
        network = network_of(LAYERS, steps=steps)
        _, kept[steps] = gradients(network, "checkpointed", batch_of(network))
        _, full = gradients(network, "full", batch_of(network))
    assert kept[32] / kept[8] < 2.5, kept
    assert full / kept[32] > 3.8, full  # a segment keeps as much as the full step


@pytest.mark.parametrize(
    "levels", [Levels(), Levels(spikes_per_unit=4), Levels(spikes_per_unit=4, spike=1 / 0.7)]
)
@pytest.mark.parametrize("layout", ["rows", "channels-last"])
def test_unpacking_gives_the_bits_that_were_packed(
    levels: Levels, layout: str, draws: torch.Generator
) -> None:
    x = (torch.rand(3, 5, 6, 6, generator=draws) < 0.3).float() * levels.spike
    if layout == "channels-last":
        x = x.contiguous(memory_format=torch.channels_last)
    if levels.spikes_per_unit == 4:
        x = torch.nn.functional.avg_pool2d(x, 2)
    codes = pack(x, levels)
    assert codes.numel() <= x.numel() / (1 if levels.spikes_per_unit > 1 else 8) + 1
    assert torch.equal(unpack(codes, levels, torch.empty_like(x)), x)


def test_a_packed_step_keeps_potentials_and_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of three layers the potentials; what two of them send, as bits; the third is averaged."""
    monkeypatch.setattr(Network, "chunk_steps", 1)
    network = network_of(LAYERS, steps=16).float()
    batch = batch_of(network)
    batch = Batch(**{**batch.__dict__, "drive": batch.drive.float()})
    _, full = gradients(network, "full", batch)
    _, packed = gradients(network, "packed", batch)
    assert packed / full == pytest.approx((3 * 4 + 2 / 8) / (3 * 4 + 2 * 4), rel=0.05)


@pytest.mark.parametrize("mode", ["packed", "checkpointed"])
@pytest.mark.parametrize("keeps_border", [True, False])
def test_a_second_stage_has_the_same_gradients(
    mode: str, keeps_border: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behind a trained block, with dropout: its spikes have no dropout on them."""
    if not keeps_border:
        monkeypatch.setattr("snn.training.examples.BORDER_BYTES", 0)
    config = RunConfig(
        backbone="vgg5", width=4, partition="1+2", dropout=0.3, epochs=1, train_images=64
    )
    split = dataset.split(
        dataset.load("digits", Path()),
        validation_fraction=0.2,
        train_images=64,
        seed=0,
        device="cpu",
    )
    done = Network(config, Task(image_shape=split.image_shape, classes=10))
    first = Stage(done, split, range(10), device="cpu")
    list(first.epochs(0))
    done.blocks.extend(first.fold_for_inference())
    stage = Stage(done, split, range(10), device="cpu")
    batch = stage.examples.batch(torch.arange(16), torch.Generator().manual_seed(0))
    stage.runner.train()
    for index in range(batch.frozen):
        stage.runner.block(index).eval()
    full, _ = gradients(stage.runner, "full", batch)
    ours, _ = gradients(stage.runner, mode, batch)
    for name, grad in full.items():
        scale = max(float(grad.abs().max()), 1e-3)
        assert float((ours[name] - grad).abs().max()) / scale < 1e-5, name


def test_the_mode_that_fits_is_chosen_for_the_images_that_there_are() -> None:
    config = RunConfig(
        backbone="vgg5", width=4, timesteps=8, train_images=64, batch_size=256, epochs=1,
        memory_mode="auto", memory_limit_mb=5,
    )  # fmt: skip
    split = dataset.split(
        dataset.load("digits", Path()),
        validation_fraction=0.2,
        train_images=64,
        seed=0,
        device="cpu",
    )
    task = Task(image_shape=split.image_shape, classes=10)
    stage = Stage(Network(config, task), split, range(10), device="cpu")
    planned = plan(config, task, images=len(split.train_labels)).stages[0]
    assert stage.runner.memory_mode == planned.mode == "full"
    tight = config.replace(memory_limit_mb=1)
    assert Stage(Network(tight, task), split, range(10), device="cpu").runner.memory_mode != "full"


def test_connections_train_alike_in_every_mode() -> None:
    """Rewired and standardised weights get their gradient through leaves too."""
    for changes in ({}, {"target_sparsity": 0.8}):
        network = network_of({"backbone": "vgg5", "width": 4, **changes}, steps=5)
        if changes:
            for conn in connections_of(network):
                conn.hold_strengths()
        full, _ = gradients(network, "full", batch_of(network))
        ours, _ = gradients(network, "checkpointed", batch_of(network))
        for name, grad in full.items():
            assert (ours[name] - grad).abs().max() < 1e-12, name
