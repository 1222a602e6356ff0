"""Thresholds that adapt (ALIF) against their equations."""

import math
from typing import Any, Literal

import pytest
import torch
from torch import Tensor

from snn.lif import native
from snn.lif.surrogate import spike
from snn.network.blocks import layers_of
from snn.network.memory.adaptive import AdaptiveLif
from snn.settings.config import RunConfig
from tests.snn.rules.test_rules import batch_of, gradients, network_of


def plain(lif: AdaptiveLif, current: Tensor) -> Tensor:
    """The recurrence as it stands in the docstring, differentiated by autograd."""
    v, a = (torch.zeros_like(current[0]) for _ in range(2))
    spikes = []
    for x in current:
        h = lif.leak * v + x
        limit = lif.firing_share * lif.threshold + lif.adaptation * a
        s = spike(h - limit, lif.surrogate, lif.slope, lif.height)
        a = lif.adaptation_leak * a + s
        v = h - lif.threshold * s.detach() if lif.reset == "soft" else h * (1 - s.detach())
        spikes.append(s)
    return torch.stack(spikes)


@pytest.fixture(params=["native", "eager"])
def body(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each body of the operator in turn."""
    if request.param == "eager":
        monkeypatch.setattr(native, "load", lambda: None)
    elif native.load() is None:
        pytest.skip(native.why_not())
    return str(request.param)


@pytest.mark.parametrize("chunk", [1, 3, 9])
@pytest.mark.parametrize("reset", ["soft", "hard"])
def test_spikes_and_gradients_are_those_of_the_equations(
    reset: Literal["soft", "hard"], chunk: int, draws: torch.Generator, body: str
) -> None:
    lif = AdaptiveLif(
        leak=0.8,
        threshold=0.7,
        reset=reset,
        firing_share=0.9,
        height=1.3,
        adaptation=0.4,
        adaptation_leak=0.85,
    )
    current = torch.randn(9, 5, 8, dtype=torch.float64, generator=draws).add(0.5).requires_grad_()
    weight = torch.randn(9, 5, 8, dtype=torch.float64, generator=draws)
    state, parts = None, []
    for part in current.split(chunk):
        sent, state = lif(part, state)
        parts.append(sent)
    ours, theirs = torch.cat(parts), plain(lif, current)
    assert torch.equal(ours, theirs)
    assert 20 < float(ours.detach().sum()) < 300
    (found,) = torch.autograd.grad((ours * weight).sum(), current)
    (wanted,) = torch.autograd.grad((theirs * weight).sum(), current)
    assert (found - wanted).abs().max() < 1e-13
    fewer = AdaptiveLif(**{**vars(lif), "adaptation": 2.0})(current, None)[0]
    assert float(fewer.detach().sum()) < float(ours.detach().sum())


@pytest.mark.parametrize("layout", ["plain", "channels last", "constant"])
@pytest.mark.parametrize("surrogate", ["atan", "triangular", "fast-sigmoid"])
@pytest.mark.parametrize("reset", ["soft", "hard"])
def test_both_bodies_give_the_same_bits(
    reset: Literal["soft", "hard"],
    surrogate: str,
    layout: str,
    draws: torch.Generator,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if native.load() is None:
        pytest.skip(native.why_not())
    lif = AdaptiveLif(
        leak=0.8, reset=reset, surrogate=surrogate, height=0.7, adaptation=0.3, adaptation_leak=0.9
    )
    x, weight = torch.randn(2, 7, 3, 40, 8, 8, generator=draws)
    if layout == "channels last":
        x = x.flatten(0, 1).contiguous(memory_format=torch.channels_last).unflatten(0, (7, 3))
    if layout == "constant":
        x = x[:1].expand(7, 3, 40, 8, 8)
    state = torch.rand(3, 2, 40, 8, 8, generator=draws)

    def run() -> list[Tensor]:
        current, before = x.detach().requires_grad_(), state.detach().requires_grad_()
        spikes, after = lif(current, before)
        grads = torch.autograd.grad((spikes * weight).sum() + after.sum(), [current, before])
        return [spikes.detach(), after.detach(), *grads]

    ours = run()
    monkeypatch.setattr(native, "load", lambda: None)
    assert all(torch.equal(one, other) for one, other in zip(ours, run(), strict=True))


@pytest.mark.parametrize("reset", ["soft", "hard"])
def test_without_adaptation_they_are_lif_neurons(reset: str) -> None:
    """Strength 0: the same spikes and the same gradients, bit for bit."""
    network = network_of({"backbone": "vgg5", "width": 4, "time_rule": "bptt", "reset": reset})
    batch = batch_of(is_constant=False, loss="mean-readout")
    usual = gradients(network, "bptt", batch)
    for layer in layers_of(network):
        layer.lif = AdaptiveLif(**vars(layer.lif), adaptation=0.0, adaptation_leak=0.9)
    ours = gradients(network, "bptt", batch)
    assert all(torch.equal(ours[name], grad) for name, grad in usual.items())


def test_neither_class_neurons_nor_pooling_neurons_adapt() -> None:
    changes = {"backbone": "vgg5", "width": 4, "pooling": "spiking", "readout": "spiking"}
    network = network_of({**changes, "time_rule": "bptt", "adaptation": 0.2})
    plainly = [x for x in layers_of(network) if not isinstance(x.lif, AdaptiveLif)]
    assert len(plainly) == 1 + sum(len(layer.sources) == 0 for layer in layers_of(network))
    assert network.block(0).head.readout in plainly


def test_a_run_without_it_has_its_old_name_and_no_decay_of_it() -> None:
    assert RunConfig(adaptation_leak=0.5) == RunConfig(adaptation=0.0)
    assert not {"adaptation", "adaptation_leak"} & RunConfig().to_mapping().keys()
    assert RunConfig(adaptation=0.2, adaptation_leak=0.5).adaptation_leak == 0.5
    settings: dict[str, Any] = {"dataset": "shd", "timesteps": 100, "adaptation": 0.1}
    config = RunConfig(**settings, adaptation_leak_ms=200)
    assert config.adaptation_leak == pytest.approx(math.exp(-config.used_ms / 100 / 200))
    assert RunConfig(**{**settings, "adaptation": 0.0}, adaptation_leak_ms=200) == RunConfig(
        **{**settings, "adaptation": 0.0}
    )
