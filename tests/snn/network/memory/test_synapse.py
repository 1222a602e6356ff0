"""Synaptic currents that decay (CuBa-LIF) against their equation."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from snn.lif import decaying_sum, native
from snn.lif.surrogate import spike
from snn.network.blocks import layers_of
from snn.network.layers import ForwardContext
from snn.network.memory.synapse import Synapse
from snn.network.network import Task
from snn.rules.loss import readout_loss
from snn.settings.config import ConfigError, RunConfig
from snn.training.plan import plan
from tests.snn.rules.test_rules import STEPS, batch_of, gradients, network_of
from tests.snn.training.test_train import SMALL, trained

DECAY = 0.7


@pytest.fixture(params=["native", "eager"])
def body(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each body of the operator in turn."""
    if request.param == "eager":
        monkeypatch.setattr(native, "load", lambda: None)
    elif native.load() is None:
        pytest.skip(native.why_not())
    return str(request.param)


def in_chunks(synapse: Synapse, current: Tensor, chunk: int) -> Tensor:
    state, parts = None, []
    for part in current.split(chunk):
        out, state = synapse(part, state)
        parts.append(out)
    return torch.cat(parts)


@pytest.mark.parametrize("chunk", [1, 3, 7])
def test_the_current_and_its_gradient_are_those_of_the_loop(
    chunk: int, draws: torch.Generator, body: str
) -> None:
    current = torch.randn(7, 5, 3, dtype=torch.float64, generator=draws).requires_grad_()
    weight = torch.randn(7, 5, 3, dtype=torch.float64, generator=draws)
    i, steps = torch.zeros(5, 3, dtype=torch.float64), []
    for x in current:
        i = DECAY * i + x
        steps.append(i)
    theirs, ours = torch.stack(steps), in_chunks(Synapse(DECAY), current, chunk)
    assert torch.allclose(ours, theirs, rtol=0, atol=1e-14)
    (wanted,) = torch.autograd.grad((theirs * weight).sum(), current)
    (found,) = torch.autograd.grad((ours * weight).sum(), current)
    assert torch.allclose(found, wanted, rtol=0, atol=1e-14)


@pytest.mark.parametrize("is_backward", [False, True])
@pytest.mark.parametrize("layout", ["plain", "channels last", "constant"])
def test_both_bodies_give_the_same_bits(
    layout: str, is_backward: bool, draws: torch.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    if native.load() is None:
        pytest.skip(native.why_not())
    x = torch.randn(5, 3, 40, 5, 5, generator=draws)
    if layout == "channels last":
        x = x.flatten(0, 1).contiguous(memory_format=torch.channels_last).unflatten(0, (5, 3))
    if layout == "constant":
        x = x[:1].expand(5, 3, 40, 5, 5)
    before = torch.randn(3, 40, 5, 5, generator=draws)
    ours = decaying_sum(x, before, DECAY, is_backward=is_backward)
    monkeypatch.setattr(native, "load", lambda: None)
    assert torch.equal(ours, decaying_sum(x, before, DECAY, is_backward=is_backward))


@pytest.mark.parametrize("reset", ["soft", "hard"])
def test_a_synapse_without_memory_is_none(reset: str) -> None:
    """Decay 0 gives the spikes and the gradients of LIF neurons, bit for bit."""
    network = network_of({"backbone": "vgg5", "width": 4, "time_rule": "bptt", "reset": reset})
    batch = batch_of(is_constant=False, loss="mean-readout")
    plain = gradients(network, "bptt", batch)
    for layer in layers_of(network):
        layer.synapse = Synapse(0.0)
    ours = gradients(network, "bptt", batch)
    assert all(torch.equal(ours[name], grad) for name, grad in plain.items())
    config = {"backbone": "vgg5", "width": 4}
    assert RunConfig(**config, synaptic_leak=0.0).fingerprint == RunConfig(**config).fingerprint
    assert "synaptic_leak" not in RunConfig(**config).to_mapping()


@pytest.mark.parametrize("reset", ["soft", "hard"])
@pytest.mark.parametrize("chunk", [1, 4, STEPS])
def test_a_network_of_them_has_the_gradients_of_a_plain_loop(
    reset: str, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    from snn.network.network import Network

    monkeypatch.setattr(Network, "chunk_steps", chunk)
    changes: dict[str, Any] = {"backbone": "mlp", "width": 30, "head_hidden": 0, "reset": reset}
    network = network_of({**changes, "time_rule": "bptt", "synaptic_leak": DECAY})
    batch = batch_of(is_constant=False, loss="mean-readout")
    ours = gradients(network, "bptt", batch)
    (layer,), head = layers_of(network), network.block(0).head.readout
    assert layer.bias is not None
    i, v = (torch.zeros(5, 30, dtype=torch.float64) for _ in range(2))
    logits, fired = [], 0.0
    for x in batch.drive.flatten(2):
        i = DECAY * i + x @ layer.sources[0].weight.T + layer.bias
        h = layer.lif.leak * v + i
        s = spike(h - 1, layer.lif.surrogate, layer.lif.slope)
        v = h - s.detach() if reset == "soft" else h * (1 - s.detach())
        logits.append(s @ head.connections.weight.T + head.bias)
        fired += float(s.detach().sum())
    network.zero_grad(set_to_none=True)
    readout_loss(torch.stack(logits), batch.labels, loss="mean-readout").backward()  # type: ignore[no-untyped-call]
    assert 0 < fired < 5 * 30 * STEPS
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None
        assert (ours[name] - parameter.grad).abs().max() < 1e-12, name


def test_every_spiking_layer_has_one_and_pooling_neurons_have_none() -> None:
    network = network_of(
        {
            "backbone": "vgg5",
            "width": 4,
            "pooling": "spiking",
            "readout": "spiking",
            "time_rule": "bptt",
            "synaptic_leak": DECAY,
        }
    )
    state = ForwardContext()
    network.eval().run(batch_of(is_constant=False).drive, state, timesteps=STEPS)
    layers = layers_of(network)
    with_one = [layer for layer in layers if layer.synapse is not None]
    assert len(with_one) == sum(len(layer.sources) > 0 for layer in layers) < len(layers)
    assert all(layer.synapse in state.states for layer in with_one)


def test_a_time_constant_in_milliseconds_is_a_leak_of_the_bin() -> None:
    settings: dict[str, Any] = {"dataset": "n-mnist", "clip_ms": 300, "timesteps": 10}
    config = RunConfig(**settings, synaptic_leak_ms=20)
    assert config.synaptic_leak == pytest.approx(math.exp(-30 / 20))
    assert config.replace(timesteps=30).synaptic_leak == pytest.approx(math.exp(-10 / 20))
    with pytest.raises(ConfigError, match="synaptic_leak must be left out with synaptic_leak_ms"):
        RunConfig(**settings, synaptic_leak_ms=20, synaptic_leak=0.3)
    with pytest.raises(ConfigError, match="synaptic_leak_ms needs bins of a fixed length"):
        RunConfig(**settings, synaptic_leak_ms=20, binning="count")
    assert RunConfig(synaptic_leak_ms=20) == RunConfig()


DEEP: dict[str, dict[str, Any]] = {
    "dense": {"backbone": "mlp2", "width": 30},
    "conv": {"backbone": "vgg5", "width": 4, "neuron": "thresholds"},
    "skips": {"backbone": "resnet7", "width": 4},
    "identity-skip": {"backbone": "resnet11", "width": 2},
    "recurrence": {"backbone": "mlp2", "width": 30, "recurrence": "1x1"},
}


def gradients_of(rule: str, changes: dict[str, Any], **batch: Any) -> dict[str, Tensor]:
    network = network_of({**changes, "synaptic_leak": DECAY, "time_rule": rule})
    draws = torch.Generator().manual_seed(3)
    for layer in layers_of(network):
        with torch.no_grad():
            if layer.recurrence is not None:
                layer.recurrence.weight.normal_(0, 0.2, generator=draws)
            if layer.thresholds is not None:
                layer.thresholds.uniform_(0.8, 1.2, generator=draws)
    return gradients(network, rule, batch_of(**{"is_constant": False, **batch}))


def relative(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> float:
    assert ours.keys() == theirs.keys()
    scale = max(float(grad.abs().max()) for grad in theirs.values())
    return max(float((ours[name] - grad).abs().max()) for name, grad in theirs.items()) / scale


@pytest.mark.parametrize("neuron", ["fixed", "thresholds"])
def test_ottt_of_one_layer_is_backpropagation_through_time(neuron: str) -> None:
    """Traces that decay twice hold all of the past: with the reset detached nothing is left out."""
    changes = {"backbone": "mlp", "width": 30, "head_hidden": 0, "neuron": neuron}
    online, exact = (gradients_of(rule, changes) for rule in ("ottt-a", "bptt"))
    assert all(grad.abs().max() > 1e-4 for grad in exact.values())
    assert relative(online, exact) < 1e-12


@pytest.mark.parametrize("changes", DEEP.values(), ids=DEEP)
def test_saf_e_is_ottt_with_it(changes: dict[str, Any]) -> None:
    ours, theirs = (gradients_of(rule, changes) for rule in ("ottt-a", "saf-e"))
    assert relative(ours, theirs) < 1e-11
    assert all(grad.abs().max() > 0 for grad in theirs.values())


def test_the_current_of_a_constant_image_has_the_trace_of_a_repeated_one() -> None:
    changes: dict[str, Any] = {"backbone": "vgg5", "width": 4, "encoding": "direct"}
    once = gradients_of("ottt-a", changes, is_constant=True, encoding="direct")
    again = gradients_of("ottt-o", changes, is_constant=True, encoding="direct")
    assert relative(once, again) < 1e-12


@pytest.mark.parametrize("rule", ["ottt-a", "ottt-o", "saf-e"])
def test_forward_rules_learn_with_it_in_the_memory_that_is_planned(rule: str) -> None:
    config = SMALL.replace(synaptic_leak=0.6, time_rule=rule, width=8, dropout=0.1)
    training = trained(config)
    planned = plan(config, Task(image_shape=(1, 8, 8), classes=10)).stage_memory_bytes
    assert planned == pytest.approx(training.memory_bytes, rel=0.01)
