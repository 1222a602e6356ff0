"""Membrane potentials as signals, thresholds of neurons, and their balance."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from snn.evaluation.evaluate import evaluate
from snn.lif import surrogate
from snn.network.blocks import fold_for_inference, layers_of
from snn.network.layers import ForwardContext
from snn.network.network import Network
from snn.network.neurons import Lif
from snn.rules import TIME_RULES
from snn.rules.membrane_trace import MembraneTraced
from snn.rules.saf import Accumulated
from snn.settings.config import ConfigError, RunConfig
from snn.settings.first_spikes import FIRST_SPIKES
from snn.training.checkpoint import load, save
from tests.snn.rules.test_rules import (
    NETWORKS,
    STEPS,
    TASK,
    apart,
    batch_of,
    gradients,
    network_of,
)
from tests.snn.training.test_conversion import _images
from tests.snn.training.test_train import trained

CLEAN = {
    name: changes
    for name, changes in NETWORKS.items()
    if not RunConfig(**changes).has_identity_skip
}


def with_thresholds(network: Network) -> Network:
    """Thresholds of the neurons at random."""
    draws = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for layer in layers_of(network):
            assert layer.thresholds is not None
            layer.thresholds.uniform_(0.5, 2.0, generator=draws)
    return network


@pytest.mark.parametrize("changes", CLEAN.values(), ids=CLEAN)
def test_thresholds_learn_step_by_step_from_all_currents_that_are_left(
    changes: dict[str, Any],
) -> None:
    """OTTT of thresholds is SAF's; it had the gradient of the last timestep's current alone."""
    found = {}
    for rule in ("ottt-a", "saf-e"):
        network = with_thresholds(network_of({**changes, "neuron": "thresholds"}))
        found[rule] = gradients(network, rule, batch_of(is_constant=False))
    own = [grad for name, grad in found["saf-e"].items() if "thresholds" in name]
    assert own
    assert all(grad.abs().max() > 0 for grad in own)
    assert apart(found["ottt-a"], found["saf-e"]) < 1e-11


def test_the_trace_of_spikes_is_the_input_less_the_potential(draws: torch.Generator) -> None:
    """V = W a_in - threshold * a at all times; V / threshold is the error of a."""
    leak, threshold = 0.8, 1.3
    x = torch.rand(60, 40, dtype=torch.float64, generator=draws) * 1.2
    spikes, h = Lif(leak=leak, threshold=threshold)(x, None)
    left = h - threshold * spikes[-1]
    input_trace, a = torch.zeros_like(left), torch.zeros_like(left)
    for now, fired in zip(x, spikes, strict=True):
        input_trace, a = leak * input_trace + now, leak * a + fired
    assert torch.allclose(left, input_trace - threshold * a, atol=1e-12)
    below = (left >= 0) & (left < threshold)
    assert float((input_trace / threshold - a)[below].abs().max()) < 1


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("threshold", [0.7, 1.0])
def test_the_rule_is_saf_f_with_another_derivative(
    name: str, threshold: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With 1[fired, and below the threshold since] / threshold in the place of the surrogate."""
    network = network_of({**NETWORKS[name], "threshold": threshold})
    batch = batch_of(is_constant=False, loss="mean-readout")
    ours = gradients(network, "membrane-trace", batch)

    def fired(of: Accumulated, lif: Lif, potential: Tensor, kept: Tensor) -> Tensor:
        del of
        spikes = surrogate.spike(
            potential.detach() - lif.threshold * (kept + lif.firing_share), lif.surrogate, lif.slope
        )
        a = kept + spikes
        is_below = potential.detach() - lif.threshold * a < lif.threshold
        active = ((a > 0) & is_below).to(potential) / lif.threshold
        return spikes + active * (potential - potential.detach())

    monkeypatch.setattr(Accumulated, "fired", fired)
    assert apart(ours, gradients(network, "saf-f", batch)) < 1e-12


@pytest.mark.parametrize("name", CLEAN)
@pytest.mark.parametrize(
    "rule", sorted(set(TIME_RULES) - {"spike-bp", "conversion", "encoder", *FIRST_SPIKES})
)
def test_thresholds_of_neurons_divide_their_currents(name: str, rule: str) -> None:
    """For every rule: the loss is that of rows of weights over thresholds."""
    loss = "mean-readout" if rule in ("bptt", "saf-f", "dsr", "membrane-trace") else "instantaneous"
    batch = batch_of(is_constant=False, loss=loss)
    changes = {**CLEAN[name], "neuron": "thresholds", "time_rule": rule}
    network = with_thresholds(network_of(changes))

    def measured() -> Tensor:
        return TIME_RULES[rule](network, batch, ForwardContext(), apply=lambda: None).loss

    before = measured()
    with torch.no_grad():
        for layer in layers_of(network):
            assert layer.thresholds is not None
            assert layer.bias is not None
            for conn in layer.sources:
                conn.weight.div_(layer.thresholds.view(-1, *[1] * (conn.weight.dim() - 1)))
            layer.bias.div_(layer.thresholds)
            layer.thresholds.fill_(1)
    assert float(measured()) == pytest.approx(float(before), rel=1e-12)


def test_gradients_of_thresholds_are_those_of_the_paper() -> None:
    """-a / threshold for neurons that fired, times the error; by matrices."""
    settings = {"backbone": "mlp", "width": 20, "head_hidden": 0, "neuron": "thresholds"}
    network = with_thresholds(network_of({**settings, "threshold": 0.8}))
    batch = batch_of(is_constant=False, loss="mean-readout")
    ours = gradients(network, "membrane-trace", batch)
    (layer,) = layers_of(network)
    leak, readout = network.config.leak, network.block(0).head.readout
    dynamics = MembraneTraced(leak, is_static=False, is_normed=False)
    state = ForwardContext(dynamics=dynamics)
    with torch.no_grad():
        for x in batch.drive.unsqueeze(1):
            entered = [dynamics.enter(x).flatten(2)]
            a = layer(entered, 1, state)[0]
        left = layer.scaled(dynamics.potential(layer, entered, state)) - 0.8 * a
        is_active = (a > 0) & (left < 0.8)
    assert 0 < int(((a > 0) & ~is_active).sum()) < int(is_active.sum())
    rate, weight = a / dynamics.length, readout.connections.weight.detach()
    error = torch.softmax(rate @ weight.T + readout.bias.detach(), dim=1)
    error = (error - F.one_hot(batch.labels, 10)) / len(batch.labels) @ weight / dynamics.length
    assert layer.thresholds is not None
    expected = -(error * a * is_active).sum(dim=0) / layer.thresholds.detach()
    assert torch.allclose(ours["blocks.0.units.0.layer.thresholds"], expected, atol=1e-12)


@pytest.mark.parametrize("rule", ["bptt", "saf-f"])
def test_thresholds_are_trained_by_other_rules(rule: str) -> None:
    network = with_thresholds(network_of({**CLEAN["conv"], "neuron": "thresholds"}))
    found = gradients(network, rule, batch_of(is_constant=False, loss="mean-readout"))
    of_thresholds = [grad for name, grad in found.items() if name.endswith("thresholds")]
    assert len(of_thresholds) == len(layers_of(network))
    assert all(float(grad.abs().max()) > 0 for grad in of_thresholds)


def test_normalised_errors_do_not_depend_on_the_scale_of_thresholds() -> None:
    """w -> c w, V -> c V: the same spikes; the error of the layer below changes by c of w only."""
    settings = {"head_hidden": 0, "error_norm": "layer", "neuron": "thresholds"}
    network = network_of({**CLEAN["dense"], "time_rule": "membrane-trace", **settings})
    batch, scale = batch_of(is_constant=False, loss="mean-readout"), 4.0
    before = gradients(network, "membrane-trace", batch)
    second = layers_of(network)[1]
    with torch.no_grad():
        assert second.bias is not None
        assert second.thresholds is not None
        second.sources[0].weight.mul_(scale)
        second.bias.mul_(scale)
        second.thresholds.mul_(scale)
    after = gradients(network, "membrane-trace", batch)
    first = "blocks.0.units.0.layer.connections.0.weight"
    assert torch.allclose(after[first], scale * before[first], rtol=1e-12)
    above = "blocks.0.units.1.layer.connections.0.weight"
    assert torch.allclose(after[above], before[above], rtol=1e-12)


def test_a_silent_layer_has_no_error() -> None:
    for norm in ("none", "layer"):
        settings = {"time_rule": "membrane-trace", "threshold": 1e6, "error_norm": norm}
        network = network_of({**CLEAN["dense"], **settings})
        found = gradients(
            network, "membrane-trace", batch_of(is_constant=True, loss="mean-readout")
        )
        hidden = {n: g for n, g in found.items() if "readout" not in n}
        assert all(bool((grad == 0).all()) for grad in hidden.values())


def test_the_balance_conserves_the_sum_and_raises_the_busiest(draws: torch.Generator) -> None:
    network = network_of({**CLEAN["conv"], "threshold_balance": 0.05})
    batch = batch_of(is_constant=False, loss="mean-readout")
    TIME_RULES["bptt"](network, batch, ForwardContext(), apply=lambda: None)
    for layer in layers_of(network):
        assert layer.thresholds is not None
        activity, count = layer._activity, len(layer.thresholds)
        assert activity is not None
        assert activity.shape == (count,)
        layer.confine()
        assert float(layer.thresholds.sum()) == pytest.approx(count, rel=1e-12)
        assert int(layer.thresholds.argmax()) == int(activity.argmax())
        still = layer.thresholds.clone()
        layer.confine()  # nothing was seen since
        assert torch.equal(layer.thresholds, still)
    silent = network_of({**CLEAN["dense"], "threshold": 1e6, "threshold_balance": 0.05})
    TIME_RULES["bptt"](silent, batch, ForwardContext(), apply=lambda: None)
    for layer in layers_of(silent):
        layer.confine()
        assert layer.thresholds is not None
        assert torch.equal(layer.thresholds, torch.ones_like(layer.thresholds))


@pytest.mark.parametrize("norm", ["none", "batch-over-time", "weight-standardised"])
def test_folded_layers_have_thresholds_in_their_weights(norm: str) -> None:
    network = with_thresholds(
        network_of({**CLEAN["skips"], "neuron": "thresholds", "norm": norm, "time_rule": "bptt"})
    ).eval()
    torch.set_default_dtype(torch.float64)
    block = fold_for_inference(network.config, 0, network.block(0))
    torch.set_default_dtype(torch.float32)
    folded = Network(network.config, TASK)
    folded.blocks.append(block)
    assert all(layer.thresholds is None for layer in layers_of(folded))
    drive = batch_of(is_constant=False).drive
    ours, plain = (
        net.run(drive, ForwardContext(), timesteps=STEPS, wants=("logits",)).logits[0].detach()
        for net in (network, folded.eval())
    )
    assert torch.allclose(ours, plain, atol=1e-10)
    assert float(ours.abs().max()) > 0


@pytest.mark.parametrize("rule", ["membrane-trace", "bptt", "saf-e", "conversion"])
def test_a_training_with_balance_learns_and_is_stored(tmp_path: Any, rule: str) -> None:
    config = RunConfig(
        backbone="mlp",
        width=48,
        head_hidden=0,
        time_rule=rule,
        epochs=3,
        train_images=512,
        timesteps=8,
        threshold_balance=0.01,
        neuron="thresholds" if rule != "conversion" else "fixed",
    )
    network = trained(config).trained
    save(network, tmp_path / "w")
    ours = evaluate(network, _images(config)).sampled.metrics
    assert ours["accuracy"] > 0.7
    assert evaluate(load(tmp_path / "w"), _images(config)).sampled.metrics == ours


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"time_rule": "membrane-trace", "reset": "hard"}, "reset 'hard' .* use 'soft'"),
        ({"time_rule": "membrane-trace", "norm": "batch-over-time"}, "norm 'batch-over-time'"),
        ({"time_rule": "membrane-trace", "loss": "squared-error"}, "must be 'mean-readout'"),
        ({"time_rule": "membrane-trace", "readout_leak": 0.9}, "readout_leak must be 1"),
        ({"time_rule": "membrane-trace", "neuron": "learned"}, "neuron 'learned' .* use 'fixed'"),
        ({"time_rule": "membrane-trace", "readout": "spiking"}, "readout 'spiking'"),
        (
            {"time_rule": "spike-bp", "reset": "hard", "leak": 0.9, "neuron": "thresholds"},
            "neuron 'thresholds' .* no gradient",
        ),
        ({"backbone": "resnet11", "neuron": "thresholds"}, "skips without weights.*use 'learned'"),
        ({"backbone": "resnet11", "threshold_balance": 0.1}, "threshold_balance 0.1 .* use 0"),
    ],
)
def test_what_is_not_possible_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        RunConfig(**changes)


def test_error_norm_applies_to_the_rule_only() -> None:
    assert RunConfig(error_norm="layer") == RunConfig()
