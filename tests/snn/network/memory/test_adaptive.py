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
from snn.network.network import Task
from snn.settings.config import RunConfig
from snn.settings.rule_conflicts import STEP_RULES
from snn.training.plan import plan
from tests.snn.rules.test_rules import batch_of, gradients, network_of
from tests.snn.training.test_train import SMALL, trained


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


def of_a_rule(rule: str, changes: dict[str, Any]) -> dict[str, Tensor]:
    network = network_of({**changes, "adaptation": 0.4, "adaptation_leak": 0.8, "time_rule": rule})
    draws = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for layer in layers_of(network):
            if layer.recurrence is not None:
                layer.recurrence.weight.normal_(0, 0.2, generator=draws)
            if layer.thresholds is not None:
                layer.thresholds.uniform_(0.8, 1.2, generator=draws)
    return gradients(network, rule, batch_of(is_constant=False))


def apart(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> float:
    assert ours.keys() == theirs.keys()
    scale = max(float(grad.abs().max()) for grad in theirs.values())
    return max(float((ours[name] - grad).abs().max()) for name, grad in theirs.items()) / scale


def test_ottt_of_one_layer_leaves_out_what_flows_through_the_rise_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one = {"backbone": "mlp", "width": 30, "head_hidden": 0}
    online, exact = of_a_rule("ottt-a", one), of_a_rule("bptt", one)
    assert apart(online, exact) > 1e-3

    def without(
        lif: AdaptiveLif, current: Tensor, state: Tensor | None, **learned: Any
    ) -> tuple[Tensor, Tensor]:
        assert state is None
        v, a = (torch.zeros_like(current[0]) for _ in range(2))
        spikes = []
        for x in current:
            h = lif.leak * v + x
            limit = lif.firing_share * lif.threshold + lif.adaptation * a.detach()
            spikes.append(spike(h - limit, lif.surrogate, lif.slope, lif.height))
            a = lif.adaptation_leak * a + spikes[-1]
            v = h - lif.threshold * spikes[-1].detach()
        return torch.stack(spikes), torch.stack([v, a], dim=1)

    monkeypatch.setattr(AdaptiveLif, "__call__", without)
    assert apart(online, of_a_rule("bptt", one)) < 1e-12


@pytest.mark.parametrize(
    "changes",
    [
        {"backbone": "mlp2", "width": 30},
        {"backbone": "vgg5", "width": 4, "neuron": "thresholds"},
        {"backbone": "resnet7", "width": 4, "synaptic_leak": 0.6},
        {"backbone": "mlp2", "width": 30, "recurrence": "1x1"},
    ],
    ids=["dense", "conv", "skips-synapse", "recurrence"],
)
def test_saf_e_is_ottt_with_adapting_thresholds(changes: dict[str, Any]) -> None:
    ours, theirs = (of_a_rule(rule, changes) for rule in ("ottt-a", "saf-e"))
    assert apart(ours, theirs) < 1e-11
    assert any(grad.abs().max() > 0 for grad in theirs.values())


@pytest.mark.parametrize("rule", STEP_RULES)
def test_forward_rules_learn_with_it_in_the_memory_that_is_planned(rule: str) -> None:
    config = SMALL.replace(adaptation=0.3, time_rule=rule, width=8, dropout=0.1)
    training = trained(config)
    planned = plan(config, Task(image_shape=(1, 8, 8), classes=10)).stage_memory_bytes
    assert planned == pytest.approx(training.memory_bytes, rel=0.01)
