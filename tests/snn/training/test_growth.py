"""Growth of gradients from layer to layer, and surrogates that are calibrated to it."""

import dataclasses
import itertools
import math
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from snn.lif.surrogate import peak
from snn.network.blocks import builder_of, connections_of, layers_of
from snn.network.layers import ForwardContext
from snn.network.network import Network, Task
from snn.rules import Batch
from snn.settings import backbones, config
from snn.settings.backbones import Backbone, DenseUnit
from snn.settings.config import ConfigError, RunConfig
from snn.training.growth import gradient_sizes, growth
from snn.training.stage import Stage
from tests.snn.network.test_network import DIGITS, fresh
from tests.snn.rules.test_rules import batch_of, gradients, network_of
from tests.snn.training.test_train import split_of, trained

SLOPES = (0.5, 1, 2, 5, 10, 20, 50, 100)


@pytest.fixture
def deep(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A backbone of 20 layers, in double precision."""
    units = (DenseUnit(neurons=1),) * 20
    monkeypatch.setitem(
        backbones.BACKBONES, "deep", Backbone(name="deep", units=units, meaning="20 layers")
    )
    known = config.SETTINGS["backbone"]
    monkeypatch.setitem(
        config.SETTINGS, "backbone", dataclasses.replace(known, choices=(*known.choices, "deep"))
    )
    torch.set_default_dtype(torch.float64)
    yield "deep"
    torch.set_default_dtype(torch.float32)


def sizes_of(changes: dict[str, Any]) -> dict[str, float]:
    """Gradient sizes of 20 random layers of 128 neurons with batch norm."""
    settings = {"timesteps": 10, "leak": 0.9, "surrogate": "fast-sigmoid", **changes}
    run = RunConfig(backbone="deep", width=128, head_hidden=0, norm="batch-over-time", **settings)
    drive = torch.randn(1, 32, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    return gradient_sizes(
        fresh(run, Task(image_shape=(1, 8, 8), classes=10)),
        Batch(
            drive=drive,
            labels=torch.arange(32) % 10,
            frozen=0,
            timesteps=run.timesteps,
            loss="mean-readout",
        ),
    )


@pytest.mark.parametrize(
    ("leak", "reset", "expected"),
    [
        (0.9, "soft", (2.30, 1.66, 1.13, 0.66, 0.44, 0.29, 0.17, 0.11)),
        (0.5, "soft", (1.95, 1.37, 0.94, 0.56, 0.38, 0.25, 0.15, 0.10)),
        (0.9, "hard", (2.24, 1.55, 1.04, 0.61, 0.41, 0.29, 0.17, 0.12)),
    ],
)
def test_growth_by_slope(deep: str, leak: float, reset: str, expected: tuple[float, ...]) -> None:
    """Against an independent simulation, within 15 %; growth falls with the slope."""
    del deep
    chosen = [0, 2, 4, 7]
    found = [
        growth(sizes_of({"leak": leak, "reset": reset, "surrogate_slope": float(SLOPES[k])}))
        for k in chosen
    ]
    for k, value in zip(chosen, found, strict=True):
        assert value == pytest.approx(expected[k], rel=0.15)
    assert found == sorted(found, reverse=True)


def test_growth_is_proportional_to_the_height(deep: str) -> None:
    """Exactly: no gradient passes a reset, so each layer contributes one factor."""
    del deep
    base = growth(sizes_of({"surrogate_height": 1.0}))
    for height in (0.25, 3.0):
        other = growth(sizes_of({"surrogate_height": height}))
        assert other == pytest.approx(height * base, rel=1e-12)


@pytest.mark.parametrize("slope", [2.0, 10.0])
def test_height_and_width_trade_by_a_square_root(deep: str, slope: float) -> None:
    """A height of sqrt(slope / 2.4) keeps gradients at about equal size."""
    del deep
    found = growth(sizes_of({"surrogate_slope": slope, "surrogate_height": math.sqrt(slope / 2.4)}))
    assert abs(math.log(found)) < 0.15


def test_wide_surrogates_explode_with_time(deep: str) -> None:
    del deep
    wide, narrow = (
        [growth(sizes_of({"surrogate_slope": slope, "timesteps": t})) for t in (1, 5, 20)]
        for slope in (1.0, 10.0)
    )
    assert all(a < b for a, b in itertools.pairwise(wide))
    assert wide[-1] > 2 * wide[0]
    assert narrow[-1] < 1.6 * narrow[0]


@pytest.mark.parametrize("rule", ["bptt", "ottt-a", "saf-e", "saf-f"])
def test_the_height_scales_the_gradient_of_a_last_layer(rule: str) -> None:
    loss = "mean-readout" if rule == "saf-f" else "instantaneous"
    networks = [
        network_of({"backbone": "mlp", "width": 9, "time_rule": rule, "surrogate_height": height})
        for height in (0.0, 3.0)
    ]
    batch = batch_of(is_constant=False, loss=loss)
    usual, high = (gradients(network, rule, batch) for network in networks)
    name = "blocks.0.head.hidden.connections.0.weight"
    assert torch.allclose(high[name], 3 * usual[name], rtol=1e-12)
    readout = "blocks.0.head.readout.connections.weight"
    assert torch.equal(high[readout], usual[readout])


@pytest.mark.parametrize("surrogate", ["atan", "triangular", "sigmoid", "fast-sigmoid"])
def test_the_usual_height_is_the_peak(surrogate: str) -> None:
    usual = RunConfig(surrogate=surrogate)
    height = peak(surrogate, usual.surrogate_slope)
    same = usual.replace(surrogate_height=height)
    assert builder_of(same, block=0).lif == builder_of(usual, block=0).lif
    assert usual.replace(surrogate_height=3 * height).fingerprint != usual.fingerprint


@pytest.mark.parametrize("partition", ["3", "1+2"])
def test_a_stage_is_calibrated_from_one_batch(partition: str) -> None:
    """Skips too; weights and statistics stay as they were."""
    run = RunConfig(
        backbone="resnet7",
        width=4,
        norm="batch-over-time",
        train_images=128,
        gradient_growth=1.0,
        partition=partition,
        timesteps=3,
    )
    made = [
        Stage(Network(other, DIGITS), split_of(run), range(10), device="cpu")
        for other in (run.replace(gradient_growth=0.0), run)
    ]
    plain, calibrated = (stage.live[0].state_dict() for stage in made)
    assert all(torch.equal(plain[name], calibrated[name]) for name in plain)
    batch = made[1].examples.batch(torch.arange(64), torch.Generator())
    found = [growth(gradient_sizes(stage.runner, batch)) for stage in made]
    assert abs(math.log(found[1])) < min(0.1, abs(math.log(found[0])))
    heights = {layer.lif.height for layer in layers_of(made[1].live[0])}
    assert len(heights) == 1
    assert heights != {1.0}


def test_a_calibrated_training_repeats() -> None:
    run = RunConfig(
        backbone="mlp2", width=8, epochs=1, train_images=64, gradient_growth=0.8, timesteps=2
    )
    first, second = (trained(run).network.state_dict() for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    with pytest.raises(ConfigError, match="gradient_growth must be at most 10"):
        run.replace(gradient_growth=11.0)
    assert RunConfig(time_rule="dsr", gradient_growth=1.0) == RunConfig(time_rule="dsr")


@pytest.mark.parametrize(("share", "is_kept"), [(0.0, False), (0.95, True)])
@pytest.mark.parametrize("text", [" ".join(["d64"] * 20), "c16 " + " ".join(["r16i"] * 12)])
@torch.no_grad()
def test_identity_keeps_what_a_deep_random_network_would_lose(
    text: str, share: float, is_kept: bool
) -> None:
    """Images that are alike in the first of many layers are alike in the last one, or anywhere."""
    run = RunConfig(
        architecture=text,
        head_hidden=0,
        norm="batch-over-time",
        leak=0.9,
        timesteps=10,
        identity_share=share,
    )
    network = fresh(run, Task(image_shape=(1, 8, 8), classes=10)).train()
    drive = torch.randn(1, 48, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    spikes: list[Tensor] = []

    class Watch:
        def layer(self, layer: Any, inputs: Any, fired: Tensor) -> None:
            spikes.append(fired.sum(dim=0).flatten(1))

        def readout(self, connections: Any, inputs: Tensor) -> None:
            """See Observer."""

    network.run(drive, ForwardContext(observer=Watch()), timesteps=10, wants=("logits",))
    distances = [torch.pdist(spikes[layer]) for layer in (0, -1)]
    alike = float(torch.corrcoef(torch.stack(distances))[0, 1])
    assert (alike > 0.5) if is_kept else (alike < 0.2)


@pytest.mark.parametrize("norm", ["batch-over-time", "weight-standardised"])
def test_a_skip_has_its_share_of_the_current(norm: str) -> None:
    run = RunConfig(architecture="c4 r8 r8i", head_hidden=0, norm=norm)
    task = Task(image_shape=(1, 8, 8), classes=10)
    found = {}
    for share in (0.0, 0.9):
        network = fresh(run.replace(identity_share=share), task)
        found[share] = [
            float((conn.gain if norm == "weight-standardised" else conn.batch_norm.weight)[0])
            for conn in connections_of(network)[:6]
        ]
    # stem; two convolutions and the weights of the skip; two convolutions whose skip has none
    half, small, large = math.sqrt(0.5), math.sqrt(0.1), math.sqrt(0.9)
    assert found[0.0] == pytest.approx([1, 1, half, half, 1, half])
    assert found[0.9] == pytest.approx([1, 1, small, large, 1, small])


def test_identity_moves_variance_and_adds_none() -> None:
    """Between layers of equal width; the image and other layers are as they were."""
    for text, width in (("d64 d64 d32", 64), ("c8k3 c8k3 c16k3", 8)):
        run = RunConfig(architecture=text, head_hidden=0, norm="none")
        task = Task(image_shape=(1, 8, 8), classes=10)
        plain, own = (
            connections_of(fresh(run.replace(identity_share=share), task)) for share in (0.0, 0.6)
        )
        for index, (before, after) in enumerate(zip(plain, own, strict=True)):
            if index != 1:
                assert torch.equal(before.weight, after.weight)
                continue
            moved = after.weight - math.sqrt(0.4) * before.weight
            centre = moved if moved.dim() == 2 else moved[:, :, 1, 1]
            assert torch.allclose(centre, math.sqrt(1.2) * torch.eye(width), atol=1e-6)
            assert float(moved.detach().square().sum()) == pytest.approx(1.2 * width, rel=1e-5)
