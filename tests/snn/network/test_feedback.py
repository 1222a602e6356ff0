"""Feedback: what leaves a block joins its first layer one timestep later."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from snn.lif.surrogate import SURROGATES, spike
from snn.network.blocks import connections_of, fold_for_inference, layers_of
from snn.network.cost import OperationCounter, fan_out
from snn.network.layers import ForwardContext, Layer
from snn.network.network import Network
from snn.rules.loss import readout_loss
from tests.snn.rules.test_rules import STEPS, TASK, batch_of, gradients, network_of
from tests.snn.training.test_train import SMALL, split_of, trained


def fed_back(changes: dict[str, Any], *, seed: int = 0) -> Network:
    """A random network whose feedback is not zero."""
    network = network_of({"feedback": "last-to-first", **changes}, seed=seed)
    draws = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for block in network.blocks:
            weight = block.first.sources[-1].weight  # type: ignore[union-attr,operator]
            weight.normal_(0, 0.5 / weight[0].numel() ** 0.5, generator=draws)
    return network


def one_layer(rule: str) -> tuple[Network, list[Tensor]]:
    """A layer with feedback to itself; its weights: input, feedback, bias, readout and its bias."""
    changes = {"backbone": "mlp", "width": 30, "head_hidden": 0, "time_rule": rule}
    network = fed_back(changes)
    (layer,), head = layers_of(network), network.block(0).head.readout
    assert layer.bias is not None
    weights = [conn.weight for conn in layer.sources]
    return network, [*weights, layer.bias, head.connections.weight, head.bias]


@pytest.mark.parametrize("rule", ["ottt-a", "ottt-o", "saf-e"])
def test_feedback_learns_from_the_trace_of_a_timestep_ago(rule: str) -> None:
    """OTTT by hand: dW_fb = sum over t of g[t] (x) a[t-1], a the trace of the spikes sent."""
    network, (w, wb, b, wo, bo) = one_layer(rule)
    batch = batch_of(is_constant=False)
    gradients(network, rule, batch)
    lif = layers_of(network)[0].lif
    v, sent, trace = (torch.zeros(5, 30, dtype=torch.float64) for _ in range(3))
    wanted = torch.zeros_like(wb)
    with torch.no_grad():
        for x in batch.drive.flatten(2):
            h = 0.5 * v + x @ w.T + sent @ wb.T + b
            error = torch.softmax((h >= 1).double() @ wo.T + bo, dim=1) / 5 / STEPS
            error[torch.arange(5), batch.labels] -= 1 / 5 / STEPS
            slope = SURROGATES[lif.surrogate].derivative(h - 1, lif.slope)
            wanted += (error @ wo * slope).T @ trace
            sent = (h >= 1).double()
            v, trace = h - sent, 0.5 * trace + sent
    assert wanted.abs().max() > 1e-3
    assert wb.grad is not None
    assert (wb.grad - wanted).abs().max() < 1e-12


def test_through_time_feedback_is_held_constant() -> None:
    """bptt against a plain loop in which what returns has no gradient."""
    network, weights = one_layer("bptt")
    batch = batch_of(is_constant=False, loss="mean-readout")
    ours = list(gradients(network, "bptt", batch).values())
    w, wb, b, wo, bo = weights
    lif = layers_of(network)[0].lif
    v, sent = (torch.zeros(5, 30, dtype=torch.float64) for _ in range(2))
    logits = []
    for x in batch.drive.flatten(2):
        h = 0.5 * v + x @ w.T + sent.detach() @ wb.T + b
        sent = spike(h - 1, lif.surrogate, lif.slope)
        v = h - sent.detach()
        logits.append(sent @ wo.T + bo)
    network.zero_grad(set_to_none=True)
    loss = readout_loss(torch.stack(logits), batch.labels, loss="mean-readout")
    loss.backward()  # type: ignore[no-untyped-call]
    theirs = [p.grad for p in network.parameters()]
    for mine, plain in zip(ours, theirs, strict=True):
        assert plain is not None
        assert (mine - plain).abs().max() < 1e-12


@pytest.mark.parametrize(
    "architecture", ["d1w d1w", "c1wp c2wp c4w", "c1wp r2w r4w/2", "c2wk5/2 s9", "s6/2p b8"]
)
def test_it_begins_at_zero_and_changes_nothing_before_it_has_learned(architecture: str) -> None:
    settings = {"architecture": architecture, "width": 4}
    plain = network_of(settings).eval()
    network = network_of({**settings, "feedback": "last-to-first"}).eval()
    added = [name for name in network.state_dict() if name not in plain.state_dict()]
    assert len(added) == 1
    plain.load_state_dict({n: t for n, t in network.state_dict().items() if n not in added})
    batch = batch_of(is_constant=False)
    with torch.no_grad():
        ours, theirs = (
            n.run(batch.drive, ForwardContext(), timesteps=STEPS) for n in (network, plain)
        )
    assert (ours.logits[0] - theirs.logits[0]).abs().max() < 1e-12
    assert theirs.features[0].sum() > 0


def test_it_is_folded_counted_and_made_sparse_as_any_other_connection() -> None:
    network = fed_back({"backbone": "vgg5", "width": 4}).eval()
    batch = batch_of(is_constant=False)
    plain = Network(network.config, TASK)
    plain.blocks.append(fold_for_inference(network.config, 0, network.block(0)))
    plain.double()
    counter, seen = OperationCounter(), OperationCounter()
    with torch.no_grad():
        ours = network.run(batch.drive, ForwardContext(observer=counter), timesteps=STEPS)
        theirs = plain.run(batch.drive, ForwardContext(observer=seen), timesteps=STEPS)
    assert torch.allclose(ours.logits[0], theirs.logits[0], atol=1e-5)
    # the first layer's additions: of its input, and of what came back one timestep later
    first, last = network.block(0).first, layers_of(network)[2]
    forward, back = first.sources
    spent = torch.cat(counter.accumulates[first])
    into = (batch.drive.flatten(2).abs() @ fan_out(forward, TASK.image_shape).flatten()).double()
    assert (spent[0] - into[0]).abs().max() < 1e-9
    returned = spent - into
    sent = torch.cat(counter.spikes[last])
    assert sent[:-1].sum() > 0
    # a spike is spread over (8 / 2)^2 pixels, each with at most 9 targets a channel
    most = 16 * 9 * back.weight.shape[0]
    assert (returned[1:] <= sent[:-1] * most + 1e-9).all()
    assert ((returned[1:] > 1e-6) == (sent[:-1] > 0)).all()


def test_a_sparse_network_gets_feedback_of_both_signs() -> None:
    """Strengths that begin at zero have to outgrow the weakest that are cut."""
    config = SMALL.replace(
        feedback="last-to-first", target_sparsity=0.3, width=8, epochs=4, learning_rate=0.03
    )
    training = trained(config)
    backs = [block.first.sources[-1].weight for block in training.network.blocks]  # type: ignore[union-attr,operator]
    assert any((weight > 0).any() for weight in backs)
    assert any((weight < 0).any() for weight in backs)
    kept = [conn.weight for conn in connections_of(training.network)]
    alive = sum(int(weight.count_nonzero()) for weight in kept)
    assert alive / sum(weight.numel() for weight in kept) == pytest.approx(0.7, abs=0.001)


@pytest.mark.parametrize("rule", ["bptt", "ottt-a", "ottt-o", "saf-e", "saf-f"])
def test_every_rule_that_has_it_learns_with_it(rule: str) -> None:
    config = SMALL.replace(
        feedback="last-to-first", time_rule=rule, width=8, dropout=0.1, learning_rate=0.005
    )
    training = trained(config)
    for block in training.network.blocks:
        assert isinstance(block.first, Layer)
        assert block.first.sources[-1].weight.abs().max() > 1e-4


def test_it_survives_its_file(tmp_path: Any) -> None:
    from snn.training.checkpoint import load, save

    config = SMALL.replace(feedback="last-to-first", epochs=1)
    training = trained(config)
    save(training.trained, tmp_path / "weights")
    loaded = load(tmp_path / "weights").network
    split = split_of(config)
    drive = replace(batch_of(is_constant=True), drive=split.validation_images[None, :9].float())
    with torch.no_grad():
        ours, theirs = (
            n.run(drive.drive, ForwardContext(), timesteps=3).logits[-1]
            for n in (training.network, loaded)
        )
    assert torch.equal(ours, theirs)
