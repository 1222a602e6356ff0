"""Recurrent connections within a layer against a plain loop."""

from typing import Any

import pytest
import torch
from torch import Tensor

from snn.lif.surrogate import SURROGATES, spike
from snn.network.blocks import connections_of, fold_for_inference, layers_of
from snn.network.cost import OperationCounter, fan_out
from snn.network.layers import ForwardContext
from snn.network.network import Network, Task
from snn.network.seeding import generator
from snn.rules.bptt import bptt
from snn.rules.loss import readout_loss
from snn.settings.config import RunConfig
from snn.training.plan import plan
from tests.snn.rules.test_rules import STEPS, TASK, batch_of, gradients, network_of
from tests.snn.training.test_train import SMALL, trained


def returning(changes: dict[str, Any]) -> Network:
    """A random network whose recurrent connections are not zero."""
    network = network_of({"time_rule": "bptt", "recurrence": "1x1", **changes})
    draws = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for layer in layers_of(network):
            if layer.recurrence is not None:
                weight = layer.recurrence.weight
                weight.normal_(0, 1 / weight[0].numel() ** 0.5, generator=draws)
    return network


@pytest.mark.parametrize("chunk", [1, 4, STEPS])
@pytest.mark.parametrize(
    "changes",
    [{}, {"reset": "hard"}, {"synaptic_leak": 0.6}, {"neuron": "thresholds"}, {"dropout": 0.4}],
    ids=str,
)
def test_a_network_with_it_has_the_gradients_of_a_plain_loop(
    changes: dict[str, Any], chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through time and through what returns, silenced neurons silent for their own layer too."""
    monkeypatch.setattr(Network, "chunk_steps", chunk)
    network = returning({"backbone": "mlp", "width": 20, "head_hidden": 0, **changes})
    batch, state = (
        batch_of(is_constant=False, loss="mean-readout"),
        ForwardContext(generator=generator(0, "masks")),
    )
    (layer,), head = layers_of(network), network.block(0).head.readout
    assert layer.recurrence is not None
    with torch.no_grad():
        if layer.thresholds is not None:
            layer.thresholds.uniform_(0.5, 1.5, generator=torch.Generator().manual_seed(0))
    bptt(network, batch, state, apply=lambda: None)
    ours = {n: p.grad.clone() for n, p in network.named_parameters() if p.grad is not None}
    kept = state.masks.get(layer, torch.ones(()))
    assert layer.bias is not None
    own = torch.ones(()) if layer.thresholds is None else layer.thresholds
    i, v, sent = (torch.zeros(5, 20, dtype=torch.float64) for _ in range(3))
    logits = []
    for x in batch.drive.flatten(2):
        arriving = x @ layer.sources[0].weight.T + layer.bias + sent @ layer.recurrence.weight.T
        i = network.config.synaptic_leak * i + arriving / own
        h = 0.5 * v + i
        s = spike(h - 1, layer.lif.surrogate, layer.lif.slope)
        v = h - s.detach() if layer.lif.reset == "soft" else h * (1 - s.detach())
        sent = s * kept
        logits.append(sent @ head.connections.weight.T + head.bias)
    network.zero_grad(set_to_none=True)
    readout_loss(torch.stack(logits), batch.labels, loss="mean-readout").backward()  # type: ignore[no-untyped-call]
    assert ours.keys() == dict(network.named_parameters()).keys()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None
        assert parameter.grad.abs().max() > 0, name
        assert (ours[name] - parameter.grad).abs().max() < 1e-12, name


@pytest.mark.parametrize("norm", ["none", "weight-standardised", "batch-over-time"])
@pytest.mark.parametrize("recurrence", ["1x1", "3x3"])
@pytest.mark.parametrize("architecture", ["d1w d1w", "c1wp r2w r4w/2", "s6/2p b8"])
def test_it_begins_at_zero_which_is_none(architecture: str, recurrence: str, norm: str) -> None:
    """With equal other weights; and it has a gradient from the start."""
    settings = {"architecture": architecture, "width": 4, "time_rule": "bptt", "norm": norm}
    plain, network = network_of(settings), network_of({**settings, "recurrence": recurrence})
    batch = batch_of(is_constant=False, loss="mean-readout")
    usual, ours = gradients(plain, "bptt", batch), gradients(network, "bptt", batch)
    added = [name for name in ours if name not in usual]
    gains = 2 if norm == "weight-standardised" else 1
    assert len(added) == gains * len(layers_of(network))
    scale = max(float(grad.abs().max()) for grad in usual.values())
    assert all((ours[name] - grad).abs().max() / scale < 1e-12 for name, grad in usual.items())
    assert any(ours[name].abs().max() > 0 for name in added)


def test_it_reaches_all_neurons_of_a_layer_or_the_neighbours_of_a_pixel() -> None:
    for recurrence, side in (("1x1", 1), ("3x3", 3)):
        network = network_of(
            {"backbone": "vgg5", "width": 4, "time_rule": "bptt", "recurrence": recurrence}
        )
        for layer in layers_of(network):
            assert layer.recurrence is not None
            neurons, window = len(layer.sources[0].weight), layer.sources[0].weight.shape[2:]
            assert layer.recurrence.weight.shape == (neurons, neurons, *[side] * len(window))


def test_class_neurons_have_none() -> None:
    network = returning({"backbone": "mlp", "width": 6, "readout": "spiking"})
    assert [layer.recurrence is None for layer in layers_of(network)] == [False, False, True]


@pytest.mark.parametrize("chunk", [1, 4])
def test_it_is_folded_and_counted_like_other_connections(
    chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A spike costs its recurrent connections that exist, a timestep later."""
    monkeypatch.setattr(Network, "chunk_steps", chunk)
    network = returning(
        {"backbone": "vgg5", "width": 4, "recurrence": "3x3", "neuron": "thresholds"}
    ).eval()
    with torch.no_grad():
        for layer in layers_of(network):
            assert layer.thresholds is not None
            assert layer.recurrence is not None
            layer.thresholds.uniform_(0.8, 1.2, generator=torch.Generator().manual_seed(0))
            layer.recurrence.weight[::2] = 0
    plain = Network(network.config, TASK)
    plain.blocks.append(fold_for_inference(network.config, 0, network.block(0)))
    plain.double()
    counter, sent = OperationCounter(), dict[Any, list[Tensor]]()

    class Both(OperationCounter):
        def layer(self, layer: Any, inputs: Any, spikes: Tensor) -> None:
            counter.layer(layer, inputs, spikes)
            sent.setdefault(layer, []).append(spikes)

        def readout(self, connections: Any, inputs: Tensor) -> None:
            counter.readout(connections, inputs)

    batch = batch_of(is_constant=False)
    with torch.no_grad():
        ours = network.run(batch.drive, ForwardContext(), timesteps=STEPS)
        theirs = plain.run(batch.drive, ForwardContext(observer=Both()), timesteps=STEPS)
    assert torch.allclose(ours.logits[0], theirs.logits[0], atol=1e-5)
    for layer in layers_of(plain):
        conn, spikes = layer.recurrence, torch.cat(sent[layer])
        assert conn is not None
        fan = fan_out(conn, spikes.shape[2:]).flatten()
        later = spikes.flatten(2) @ fan
        counted = torch.cat(counter.accumulates[conn])
        assert torch.equal(counted[1:], later[:-1])
        assert counted[0].count_nonzero() == 0
        assert later.sum() > 0


def test_it_grows_and_is_made_sparse_in_training() -> None:
    config = SMALL.replace(
        recurrence="1x1", target_sparsity=0.3, width=8, epochs=4, learning_rate=0.03
    )
    training = trained(config)
    backs = [
        x.recurrence.weight for b in training.network.blocks for x in layers_of(b) if x.recurrence
    ]
    assert any((weight > 0).any() for weight in backs)
    assert any((weight < 0).any() for weight in backs)
    kept = [conn.weight for conn in connections_of(training.network)]
    alive = sum(int(weight.count_nonzero()) for weight in kept)
    assert alive / sum(weight.numel() for weight in kept) == pytest.approx(0.7, abs=0.001)


def test_a_run_without_it_keeps_its_name() -> None:
    assert RunConfig(recurrence="none").fingerprint == RunConfig().fingerprint
    assert "recurrence" not in RunConfig().to_mapping()


@pytest.mark.parametrize("rule", ["ottt-a", "ottt-o", "saf-e"])
def test_forward_rules_learn_it_from_the_trace_of_a_timestep_ago(rule: str) -> None:
    """OTTT by hand: dR = sum over t of g[t] (x) a[t-1], a the trace of the spikes sent."""
    network = returning({"backbone": "mlp", "width": 30, "head_hidden": 0, "time_rule": rule})
    (layer,), head = layers_of(network), network.block(0).head.readout
    assert layer.recurrence is not None
    assert layer.bias is not None
    batch = batch_of(is_constant=False)
    ours = gradients(network, rule, batch)
    w, r, wo = layer.sources[0].weight, layer.recurrence.weight, head.connections.weight
    v, sent, trace = (torch.zeros(5, 30, dtype=torch.float64) for _ in range(3))
    wanted = torch.zeros_like(r)
    with torch.no_grad():
        for x in batch.drive.flatten(2):
            h = 0.5 * v + x @ w.T + sent @ r.T + layer.bias
            error = torch.softmax((h >= 1).double() @ wo.T + head.bias, dim=1) / 5 / STEPS
            error[torch.arange(5), batch.labels] -= 1 / 5 / STEPS
            slope = SURROGATES[layer.lif.surrogate].derivative(h - 1, layer.lif.slope)
            wanted += (error @ wo * slope).T @ trace
            sent = (h >= 1).double()
            v, trace = h - sent, 0.5 * trace + sent
    (name,) = (n for n, p in network.named_parameters() if p is r)
    assert wanted.abs().max() > 1e-3
    assert (ours[name] - wanted).abs().max() < 1e-12


@pytest.mark.parametrize("changes", [{"backbone": "resnet7", "width": 4}, {"backbone": "mlp2"}])
def test_forward_rules_agree_on_it(changes: dict[str, Any]) -> None:
    """SAF-E is OTTT by accumulated spikes, of deep networks with skips too."""
    network = returning({**changes, "time_rule": "ottt-a", "recurrence": "3x3"})
    batch = batch_of(is_constant=False)
    ours, theirs = (gradients(network, rule, batch) for rule in ("ottt-a", "saf-e"))
    scale = max(float(grad.abs().max()) for grad in theirs.values())
    assert ours.keys() == theirs.keys()
    assert all((ours[name] - grad).abs().max() / scale < 1e-11 for name, grad in theirs.items())
    assert all(theirs[name].abs().max() > 0 for name in theirs if "recurrence" in name)


@pytest.mark.parametrize("rule", ["ottt-a", "ottt-o", "saf-e", "saf-f"])
def test_every_rule_that_has_it_learns_with_it_in_the_memory_that_is_planned(rule: str) -> None:
    config = SMALL.replace(recurrence="1x1", time_rule=rule, width=8, dropout=0.1)
    training = trained(config)
    backs = [x.recurrence for b in training.network.blocks for x in layers_of(b) if x.recurrence]
    assert all(conn.weight.abs().max() > 1e-4 for conn in backs)
    planned = plan(config, Task(image_shape=(1, 8, 8), classes=10)).stage_memory_bytes
    assert planned == pytest.approx(training.memory_bytes, rel=0.01)
