"""Networks: sizes as published, nothing kept between batches."""

import math
from typing import Any

import pytest
import torch

from snn.network.blocks import (
    build_block,
    builder_of,
    connections_of,
    fold_for_inference,
    layers_of,
)
from snn.network.cost import parameter_count
from snn.network.layers import ForwardContext, Layer
from snn.network.network import Network, Task, input_signal
from snn.network.units import SignalSpec, UnitModule
from snn.settings.architecture import largest_layer, parse_architecture
from snn.settings.backbones import BACKBONES
from snn.settings.config import RunConfig

CIFAR = Task(image_shape=(3, 32, 32), classes=10)
DIGITS = Task(image_shape=(1, 8, 8), classes=10)
MNIST = Task(image_shape=(1, 28, 28), classes=10)


def fresh(config: RunConfig, task: Task) -> Network:
    """An untrained network of all blocks."""
    network, signal = Network(config, task), input_signal(config, task)
    for index in range(config.exits):
        network.blocks.append(build_block(config, index, signal, range(task.classes)))
        signal = network.block(index).signal
    return network


@pytest.mark.parametrize(
    ("backbone", "task", "settings", "weights"),
    [
        ("lenet", MNIST, {"width": 10, "head_hidden": 200, "head_grid": 7}, 517_500),
        ("mlp", MNIST, {"width": 800, "head_hidden": 0}, 635_200),
        ("vgg9", CIFAR, {"width": 64, "head_hidden": 1024}, 5_938_880),
        ("resnet9", CIFAR, {"width": 64, "head_hidden": 1024}, 13_217_472),
        ("resnet11", CIFAR, {"width": 64, "head_hidden": 1024}, 17_936_064),
        ("vgg11", CIFAR, {"width": 64, "head_hidden": 0, "head_grid": 1}, 9_222_848),
        # of torchvision's networks, less biases, gains and 1,000 classes: 11,166,912, 21,267,648
        # and 23,454,912, of which 9,408 in the stem
        ("resnet18", CIFAR, {"width": 64, "head_hidden": 0, "head_grid": 1}, 11_164_352),
        ("resnet34", CIFAR, {"width": 64, "head_hidden": 0, "head_grid": 1}, 21_265_088),
        ("resnet50", CIFAR, {"width": 64, "head_hidden": 0, "head_grid": 1}, 23_467_712),
        (
            "6conv-2fc",
            CIFAR,
            {"width": 256, "head_hidden": 2048, "head_grid": 8, "readout": "spiking", "votes": 10},
            36_715_264,
        ),
    ],
)
def test_backbones_have_their_published_weights(
    backbone: str, task: Task, settings: dict[str, Any], weights: int
) -> None:
    """Of connections, all of them; biases and gains are not counted."""
    network = fresh(RunConfig(backbone=backbone, **settings), task)
    assert sum(conn.weight.numel() for conn in connections_of(network)) == weights


def test_vgg11_has_the_parameters_of_ottt() -> None:
    """9.23 million for 10 classes: the biases and the gains of the standardisation count."""
    config = RunConfig(backbone="vgg11", width=64, head_hidden=0, head_grid=1)
    assert round(parameter_count(fresh(config, CIFAR)) / 1e6, 2) == 9.23


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize(
    ("size", "pooling"),
    [
        ((8, 8), "average"),
        ((28, 28), "max"),
        ((32, 32), "average"),
        ((13, 7), "max"),
        ((40, 1), "average"),
        ((40, 1), "max"),
    ],
)
def test_every_backbone_runs_on_every_image_size(
    backbone: str, size: tuple[int, int], pooling: str
) -> None:
    units = len(BACKBONES[backbone].units)
    config = RunConfig(
        backbone=backbone,
        width=2,
        timesteps=2,
        pooling=pooling,
        head_hidden=4,
        partition="+".join("1" * units),
    )
    network = fresh(config, Task(image_shape=(1, *size), classes=10)).eval()
    outputs = network.run(torch.rand(1, 3, 1, *size), ForwardContext(), timesteps=2)
    assert [tuple(logits.shape) for logits in outputs.logits] == [(2, 3, 10)] * units


@pytest.mark.parametrize("architecture", ["b2wi s3k5p b8/2 d9", "s4k2 c3k4/2p r5k1n", "s2/3"])
@pytest.mark.parametrize("image", [(2, 8, 8), (2, 28, 13)])
def test_the_declared_shapes_are_those_that_run(
    architecture: str, image: tuple[int, int, int]
) -> None:
    """Of every layer, for any size of image, kernel and stride."""
    units = parse_architecture(architecture)
    shape: tuple[int, ...] = image
    builder = builder_of(RunConfig(norm="none"), block=0)
    x, declared = torch.rand(1, 3, *image), []
    for number, unit in enumerate(units):
        module = UnitModule(unit, 1, SignalSpec(shape=shape), builder, f"unit{number}")
        seen: dict[str, tuple[int, ...]] = {}
        for layer, name, _ in module.parts():
            layer.register_forward_hook(
                lambda _, __, spikes, name=name, seen=seen: seen.update(
                    {name: tuple(spikes.shape[2:])}
                )
            )
        x = module(x, 1, ForwardContext())
        shapes = unit.shapes(shape, unit.count(1))
        assert seen == {name: of for name, of in shapes.items() if name != "input"}
        declared += list(seen.values())
        shape = unit.output(shape, unit.count(1))
        assert module.signal.shape == shape == tuple(x.shape[2:])
    assert largest_layer(units, image, 1) == max(map(math.prod, declared))


@pytest.mark.parametrize("norm", ["weight-standardised", "batch-over-time", "none"])
@pytest.mark.parametrize("moves", [False, True])
def test_the_chunk_of_time_changes_nothing(
    norm: str, moves: bool, draws: torch.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also of real numbers that move: one timestep of them was taken for a constant current."""
    if moves:
        monkeypatch.setattr("snn.network.network.CONSTANT", ())
    config = RunConfig(width=4, timesteps=5, partition="1+2", norm=norm)
    network = fresh(config, Task(image_shape=(1, 8, 8), classes=10)).double().eval()
    drive = torch.randn(5 if moves else 1, 6, 1, 8, 8, generator=draws, dtype=torch.float64)
    seen = []
    for chunk in (1, 2, 5):
        monkeypatch.setattr(Network, "chunk_steps", chunk)
        seen.append(network.run(drive, ForwardContext(), timesteps=5).logits)
    for other in seen[1:]:
        for ours, theirs in zip(seen[0], other, strict=True):
            assert (ours - theirs).abs().max() < 1e-12


def test_nothing_is_kept_between_batches(draws: torch.Generator) -> None:
    config = RunConfig(width=4, timesteps=3)
    network = fresh(config, Task(image_shape=(1, 8, 8), classes=10)).eval()
    drive = torch.randn(1, 6, 1, 8, 8, generator=draws)
    first = network.run(drive, ForwardContext(), timesteps=3).logits[0]
    network.run(torch.ones(1, 4, 1, 8, 8), ForwardContext(), timesteps=3)
    assert torch.equal(first, network.run(drive, ForwardContext(), timesteps=3).logits[0])


@pytest.mark.parametrize("readout", ["integrator", "spiking"])
def test_a_class_is_the_mean_of_its_votes(readout: str, draws: torch.Generator) -> None:
    """The same weights read as 30 classes of one target are 10 classes of three."""
    settings = {"width": 4, "timesteps": 4, "head_hidden": 16, "readout": readout}
    voting = fresh(RunConfig(**settings, votes=3), MNIST).eval()  # type: ignore[arg-type]
    single = fresh(RunConfig(**settings), Task(image_shape=(1, 28, 28), classes=30)).eval()  # type: ignore[arg-type]
    for layer in layers_of(voting):
        torch.nn.init.constant_(layer.bias, 0.3)  # type: ignore[arg-type]
    single.load_state_dict(voting.state_dict())
    drive = torch.randn(1, 6, 1, 28, 28, generator=draws)
    outputs = voting.run(drive, ForwardContext(), timesteps=4).logits[0]
    targets = single.run(drive, ForwardContext(), timesteps=4).logits[0]
    assert targets.std() > 0
    for label in range(10):
        mean = targets[..., 3 * label : 3 * label + 3].mean(dim=2)
        assert torch.equal(outputs[..., label], mean)


def test_class_neurons_spike_as_any_other_layer(draws: torch.Generator) -> None:
    """They are seen by an observer, reset softly, are never dropped, and have no integrator."""
    config = RunConfig(width=4, timesteps=5, readout="spiking", dropout=0.5)
    network = fresh(config, MNIST).train()
    seen: dict[str, torch.Tensor] = {}

    class Watch:
        def layer(self, layer: Layer, inputs: Any, spikes: torch.Tensor) -> None:
            seen[layer.name] = spikes

        def readout(self, connections: Any, inputs: torch.Tensor) -> None:
            raise AssertionError("nothing integrates")

    state = ForwardContext(observer=Watch(), generator=draws)
    drive = torch.randn(1, 6, 1, 28, 28, generator=draws)
    logits = network.run(drive, state, timesteps=5).logits[0]
    assert set(logits.unique().tolist()) == {0.0, 1.0}
    assert torch.equal(logits, seen["exit1.readout"])


def test_learned_constants_are_two_numbers_per_layer_and_start_as_set(
    draws: torch.Generator,
) -> None:
    """At threshold 1 a fresh network spikes and learns its weights as one with fixed constants."""
    fixed = RunConfig(width=4, timesteps=5, leak=0.7, readout="spiking")
    labels = torch.arange(6)
    drive = torch.randn(1, 6, 1, 28, 28, generator=draws)
    networks = [fresh(c, MNIST).train() for c in (fixed, fixed.replace(neuron="learned"))]
    logits = [network.run(drive, ForwardContext(), timesteps=5).logits[0] for network in networks]
    for of in logits:
        torch.nn.functional.cross_entropy(of.mean(dim=0), labels).backward()  # type: ignore[no-untyped-call]
    plain, learned = (dict(network.named_parameters()) for network in networks)
    assert torch.equal(*logits)
    added = learned.keys() - plain.keys()
    assert len(added) == 2 * len(layers_of(networks[0]))
    assert {round(learned[name].item(), 6) for name in added} == {0.7, 1.0}
    assert all(learned[name].grad is not None for name in added)
    for name, parameter in plain.items():
        assert torch.equal(parameter.grad, learned[name].grad), name  # type: ignore[arg-type]


def test_a_baked_block_holds_the_constants_that_its_layers_learned(draws: torch.Generator) -> None:
    config = RunConfig(width=4, timesteps=4, neuron="learned", readout="spiking")
    network = fresh(config, MNIST).eval()
    drive = torch.randn(1, 16, 1, 28, 28, generator=draws)
    start = network.run(drive, ForwardContext(), timesteps=4).features[0]
    with torch.no_grad():
        for layer in layers_of(network):
            assert layer.leak is not None
            assert layer.threshold is not None
            layer.leak.uniform_(0.6, 0.9, generator=draws)
            layer.threshold.uniform_(0.5, 0.8, generator=draws)
    plain = Network(config, MNIST)
    plain.blocks.append(fold_for_inference(config, 0, network.block(0)))
    ours, theirs = (n.run(drive, ForwardContext(), timesteps=4) for n in (plain, network))
    assert torch.equal(ours.features[0], theirs.features[0])
    assert torch.equal(ours.logits[0], theirs.logits[0])
    assert not torch.equal(theirs.features[0], start)


@pytest.mark.parametrize("readout", ["integrator", "spiking"])
@pytest.mark.parametrize("norm", ["weight-standardised", "batch-over-time", "none"])
def test_a_baked_block_fires_as_the_trained_one(
    norm: str, readout: str, draws: torch.Generator
) -> None:
    config = RunConfig(width=4, timesteps=4, norm=norm, readout=readout, votes=2)
    network = fresh(config, Task(image_shape=(1, 8, 8), classes=10))
    drive = torch.randn(1, 16, 1, 8, 8, generator=draws)
    network.train()
    for _ in range(30):  # batch norm needs to have seen something
        network.run(drive, ForwardContext(), timesteps=4)
    network.eval()
    plain = Network(config, network.task)
    plain.blocks.append(fold_for_inference(config, 0, network.block(0)))
    ours, theirs = (n.run(drive, ForwardContext(), timesteps=4) for n in (plain, network))
    assert theirs.features[0].sum() > 0
    if norm == "batch-over-time":  # folding rounds, and a rare spike at the threshold may flip
        assert (ours.features[0] != theirs.features[0]).float().mean() < 1e-3
    else:
        assert torch.equal(ours.logits[0], theirs.logits[0])
