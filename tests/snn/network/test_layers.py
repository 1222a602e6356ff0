"""Connections and layers: norm, dropout, pooling."""

import pytest
import torch

from snn.network.connections import SPIKE_SCALE, Connections
from snn.network.layers import ForwardContext, Layer
from snn.network.neurons import Lif
from snn.network.parametrizations import StrengthParametrization
from snn.rewiring.rewirer import parametrization_of


def test_standardised_weights_have_mean_zero_and_unit_current(draws: torch.Generator) -> None:
    conn = Connections((6, 4, 3, 3), norm="weight-standardised", generator=draws)
    rows = conn.effective_weight().flatten(1)
    assert rows.mean(dim=1).abs().max() < 1e-6
    power = rows.var(dim=1) * rows.shape[1]
    assert torch.allclose(power, torch.full((6,), SPIKE_SCALE**2), rtol=1e-3)


def test_standardised_rewired_weights_keep_their_zeros_and_signs(draws: torch.Generator) -> None:
    conn = Connections((6, 40), norm="weight-standardised", generator=draws)
    signs = conn.weight.detach().sign()
    conn.hold_strengths()
    parametrization_of(conn, StrengthParametrization).cut.fill_(0.3)
    weight = conn.effective_weight()
    assert torch.equal(weight != 0, conn.exists())
    assert torch.equal(weight.sign(), signs * conn.exists())


def test_the_gate_gives_every_strength_its_gradient() -> None:
    theta = torch.tensor([0.5, 0.1, -0.2], requires_grad=True)
    gate = StrengthParametrization(torch.tensor([1.0, -1.0, -1.0]))
    gate.cut.fill_(0.2)
    weight = gate(theta)
    assert weight.tolist() == [0.5, 0.0, 0.0]
    weight.backward(torch.tensor([1.0, 2.0, 3.0]))
    assert theta.grad is not None
    assert theta.grad.tolist() == [1.0, -2.0, -3.0]


def _layer(draws: torch.Generator, dropout: float = 0.0) -> Layer:
    return Layer("l", [Connections((50, 20), generator=draws)], lif=Lif(), dropout=dropout)


def test_a_dropout_mask_is_held_for_all_timesteps_and_chunks(draws: torch.Generator) -> None:
    layer = _layer(draws, dropout=0.5).train()
    batch = ForwardContext(generator=draws)
    x = torch.full((2, 8, 20), 3.0) * torch.randn(20, generator=draws)
    seen = torch.cat([layer([x], 2, batch) for _ in range(6)])
    silenced = (batch.masks[layer] == 0).expand_as(seen)
    assert (seen[silenced] == 0).all()
    assert set(seen[~silenced].unique().tolist()) == {0.0, 2.0}  # scaled by 1 / (1 - 0.5)
    assert 0.35 < silenced.float().mean() < 0.65  # 400 draws: 6 sigma


def test_each_image_and_each_batch_draws_its_own_mask(draws: torch.Generator) -> None:
    layer = _layer(draws, dropout=0.5).train()
    x = torch.ones(1, 8, 20)
    masks = []
    for _ in range(2):
        batch = ForwardContext(generator=draws)
        layer([x], 1, batch)
        masks.append(batch.masks[layer])
    assert not torch.equal(masks[0], masks[1])
    assert not torch.equal(masks[0][0], masks[0][1])


def test_nothing_is_dropped_in_evaluation(draws: torch.Generator) -> None:
    layer = _layer(draws, dropout=0.5).eval()
    batch = ForwardContext()
    layer([torch.ones(1, 8, 20)], 1, batch)
    assert batch.masks == {}


@pytest.mark.parametrize("shape", [(5, 3, 3, 3), (5, 12)])
def test_a_baked_layer_gives_the_currents_of_batch_norm(
    shape: tuple[int, ...], draws: torch.Generator
) -> None:
    conn = Connections(shape, norm="batch-over-time", generator=draws).double()
    inputs = (4, 6, 3, 2, 2) if len(shape) == 4 else (4, 6, 12)
    x = torch.randn(*inputs, generator=draws, dtype=torch.float64)
    conn.train()
    for _ in range(5):
        conn(x, conn.weight)
    conn.eval()
    weight, bias = conn.folded()
    assert bias is not None
    plain = conn.apply_weight(x.flatten(0, 1), weight)
    plain = plain + bias.view(-1, *[1] * (plain.dim() - 2))
    assert torch.allclose(plain.unflatten(0, (4, 6)), conn(x, conn.weight), atol=1e-12)


def test_batch_statistics_are_taken_over_time(draws: torch.Generator) -> None:
    conn = Connections((5, 12), norm="batch-over-time", generator=draws).train()
    x = torch.randn(4, 16, 12, generator=draws) + torch.arange(4).view(-1, 1, 1)
    current = conn(x, conn.weight)
    assert current.mean(dim=(0, 1)).abs().max() < 1e-5
    assert current.mean(dim=1).abs().max() > 0.1  # single timesteps are not centred
