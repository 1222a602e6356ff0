"""Spike representation: against a derivation by hand, and against SAF-F with its derivative."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from snn.network.blocks import layers_of
from snn.network.layers import ForwardContext
from snn.network.network import Network
from snn.network.neurons import Lif
from snn.rules import TIME_RULES
from snn.rules.saf import Accumulated
from tests.snn.rules.test_rules import NETWORKS, STEPS, apart, batch_of, gradients, network_of


@pytest.mark.parametrize("threshold", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("leak", [0.3, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("share", [1.0, 0.4])
@pytest.mark.parametrize("is_constant", [True, False])
def test_two_hidden_layers_have_the_gradient_derived_by_hand(
    threshold: float, leak: float, share: float, is_constant: bool
) -> None:
    """Simulated neuron by neuron in time, then the chain rule over rates in matrices."""
    network = network_of(
        {
            "backbone": "mlp",
            "width": 30,
            "threshold": threshold,
            "leak": leak,
            "firing_share": share,
            "time_rule": "dsr",
        }
    )
    batch = batch_of(is_constant=is_constant, loss="mean-readout")
    ours = gradients(network, "dsr", batch)

    first, second = layers_of(network)
    readout = network.block(0).head.readout
    weights = [first.sources[0].weight, second.sources[0].weight, readout.connections.weight]
    w1, w2, w3 = (w.detach() for w in weights)
    assert first.bias is not None
    assert second.bias is not None
    b1, b2, b3 = (b.detach() for b in (first.bias, second.bias, readout.bias))
    x = batch.drive.expand(STEPS, *batch.drive.shape[1:]).flatten(2)
    u1, u2 = torch.zeros(5, len(b1)).double(), torch.zeros(5, len(b2)).double()
    totals, length = [torch.zeros_like(x[0]), torch.zeros_like(u1), torch.zeros_like(u2)], 0.0
    for now in x:
        u1 = leak * u1 + now @ w1.T + b1
        s1 = (u1 >= share * threshold).double()
        u1 = u1 - threshold * s1
        u2 = leak * u2 + s1 @ w2.T + b2
        s2 = (u2 >= share * threshold).double()
        u2 = u2 - threshold * s2
        totals = [leak * total + of for total, of in zip(totals, (now, s1, s2), strict=True)]
        length = leak * length + 1
    r0, r1, r2 = (total / length for total in totals)
    assert 0 < r2.mean() < 1
    error = (torch.softmax(r2 @ w3.T + b3, dim=1) - F.one_hot(batch.labels, 10)) / 5
    d2, d1 = r1 @ w2.T + b2, r0 @ w1.T + b1
    delta2 = (error @ w3) * ((d2 > 0) & (d2 < threshold)) / threshold
    delta1 = (delta2 @ w2) * ((d1 > 0) & (d1 < threshold)) / threshold
    by_hand = {
        "blocks.0.units.0.layer.bias": delta1.sum(dim=0),
        "blocks.0.units.0.layer.connections.0.weight": delta1.T @ r0,
        "blocks.0.head.hidden.bias": delta2.sum(dim=0),
        "blocks.0.head.hidden.connections.0.weight": delta2.T @ r1,
        "blocks.0.head.readout.connections.weight": error.T @ r2,
        "blocks.0.head.readout.bias": error.sum(dim=0),
    }
    assert apart(ours, by_hand) < 1e-12


class _Clamp(torch.autograd.Function):
    """Spikes of SAF, with (1 / threshold) * 1[0 < U / L < threshold]."""

    @staticmethod
    def forward(ctx: Any, potential: Tensor, fired: Tensor, length: float, top: float) -> Tensor:
        ctx.save_for_backward((potential / length > 0) & (potential / length < top))
        ctx.top = top
        return fired.clone()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        return grad * ctx.saved_tensors[0] / ctx.top, None, None, None


def clamped(fire: Any, of: Accumulated, lif: Lif, potential: Tensor, kept: Tensor) -> Tensor:
    """`Accumulated.fired`, given as `fire`, with the derivative of a clamp."""
    fired = fire(of, lif, potential.detach(), kept)
    spikes: Tensor = _Clamp.apply(potential, fired, of.length, lif.threshold)
    return spikes


@pytest.mark.parametrize("chunk", [1, 2, 4, STEPS])
@pytest.mark.parametrize("is_constant", [True, False])
def test_the_chunk_of_time_changes_nothing(
    chunk: int, is_constant: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = network_of(NETWORKS["skips"])
    batch = batch_of(is_constant=is_constant, loss="mean-readout")
    whole = gradients(network, "dsr", batch)
    monkeypatch.setattr(Network, "chunk_steps", chunk)
    assert apart(gradients(network, "dsr", batch), whole) < 1e-12


def test_no_state_of_a_batch_is_kept() -> None:
    network, state = network_of(NETWORKS["conv"]), ForwardContext()
    batch = batch_of(is_constant=True, loss="mean-readout")
    TIME_RULES["dsr"](network, batch, state, apply=lambda: None)
    assert state.observer is None
    assert state.states == {}
