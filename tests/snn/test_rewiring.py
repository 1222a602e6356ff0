"""Grad R: the published form step by step, and the closed loop to its target."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from snn.config import RunConfig
from snn.layers import Connections
from snn.rewiring import ClosedLoop, OpenLoop, connectivity, make_rewirer


def _connections(count: int = 2, *, size: int = 30) -> list[Connections]:
    seed = torch.Generator().manual_seed(0)
    return [Connections((size, size), generator=seed) for _ in range(count)]


def test_rewiring_leaves_the_weights_as_they_were() -> None:
    (conn,) = _connections(1)
    before = conn.weight.detach().clone()
    conn.rewire()
    assert torch.equal(conn.weight.detach(), before.abs())
    assert torch.equal(conn.effective_weight(), before)


def test_a_connection_that_is_gone_moves_by_its_gradient_and_returns() -> None:
    (conn,) = _connections(1)
    conn.rewire()
    assert conn.sign is not None
    with torch.no_grad():
        conn.weight[0, 0] = -0.01
    assert conn.effective_weight()[0, 0] == 0
    pull = -float(conn.sign[0, 0])  # a loss that falls as this weight grows away from zero
    optimizer = torch.optim.SGD([conn.weight], lr=0.05)
    (conn.effective_weight()[0, 0] * pull).backward()
    optimizer.step()
    assert conn.weight[0, 0].item() == pytest.approx(-0.01 + 0.05)
    assert conn.effective_weight()[0, 0].sign() == conn.sign[0, 0]


def test_a_weight_never_changes_its_sign() -> None:
    (conn,) = _connections(1)
    signs = conn.weight.detach().sign()
    conn.rewire()
    optimizer = torch.optim.Adam([conn.weight], lr=0.1)
    for _ in range(20):
        optimizer.zero_grad()
        conn.effective_weight().sum().backward()
        optimizer.step()
    weight = conn.effective_weight()
    assert (weight != 0).any()
    assert (weight == 0).any()
    assert ((weight == 0) | (weight.sign() == signs)).all()


def test_without_prior_a_network_of_existing_connections_steps_like_adam() -> None:
    (ours,), (plain,) = _connections(1), _connections(1)
    ours.rewire()
    rewirer = OpenLoop([ours], target=0.5, strength=0.0, beta=0.9)
    optimizers = [torch.optim.Adam([c.weight], lr=1e-5) for c in (ours, plain)]
    slope = torch.randn(30, 30, generator=torch.Generator().manual_seed(1))
    for step in range(1, 6):
        for conn, optimizer in zip((ours, plain), optimizers, strict=True):
            optimizer.zero_grad()
            (conn.effective_weight() * slope).sum().backward()
            optimizer.step()
        rewirer.after_step(step, steps=5, learning_rate=1e-5)
    alive = ours.exists()
    assert torch.allclose(ours.effective_weight()[alive], plain.weight[alive], atol=1e-8)


@pytest.mark.parametrize("target", [0.5, 0.8, 0.95])
def test_the_prior_puts_the_target_share_below_zero(target: float) -> None:
    """P(theta < 0) = p when theta is drawn from the Laplace prior around mu."""
    strength, draws = 0.3, 200_000
    rewirer = OpenLoop([], target=target, strength=strength, beta=0.9)
    uniform = torch.rand(draws, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    spread = -(uniform - 0.5).sign() * torch.log(1 - 2 * (uniform - 0.5).abs()) / strength
    share = ((rewirer.location + spread) < 0).double().mean().item()
    assert abs(share - target) < 6 * math.sqrt(target * (1 - target) / draws)


def test_the_prior_alone_pulls_every_strength_towards_its_location() -> None:
    (conn,) = _connections(1)
    conn.rewire()
    strength, rate = 2.0, 0.01
    rewirer = OpenLoop([conn], target=0.9, strength=strength, beta=0.9)
    with torch.no_grad():
        conn.weight.fill_(0.5)
        conn.weight[0] = rewirer.location - 0.5
    before = conn.weight.detach().clone()
    rewirer.after_step(3, steps=10, learning_rate=rate)
    size = rate / (1 - 0.9**3) * strength
    moved = conn.weight.detach() - before
    assert torch.allclose(moved[1:], torch.tensor(-size))
    assert torch.allclose(moved[0], torch.tensor(size))


@given(
    target=st.floats(min_value=0.0, max_value=0.999),
    shift=st.floats(min_value=-0.5, max_value=0.1),
)
def test_the_closed_loop_meets_any_target_exactly(target: float, shift: float) -> None:
    """Also when the optimizer has driven most strengths below zero."""
    connections = _connections()
    for conn in connections:
        conn.rewire()
        with torch.no_grad():
            conn.weight.add_(shift)
    ClosedLoop(connections, target=target, ramp=0.75, every=10).after_step(
        100, steps=100, learning_rate=0.1
    )
    possible = sum(conn.weight.numel() for conn in connections)
    assert round(connectivity(connections) * possible) == possible - round(target * possible)
    assert all((conn.effective_weight() != 0).sum() == conn.exists().sum() for conn in connections)


def test_sparsity_rises_along_its_schedule_and_stays() -> None:
    connections = _connections()
    for conn in connections:
        conn.rewire()
    loop = ClosedLoop(connections, target=0.9, ramp=0.5, every=1)
    for step, share in [(25, 0.9 * (1 - 0.5**3)), (50, 0.9), (75, 0.9)]:
        loop.after_step(step, steps=100, learning_rate=0.1)
        assert 1 - connectivity(connections) == pytest.approx(share, abs=1e-3)


def test_the_weakest_go_wherever_they_are() -> None:
    strong, weak = _connections()
    for conn in (strong, weak):
        conn.rewire()
    with torch.no_grad():
        strong.weight.fill_(1.0)
        weak.weight.fill_(0.1)
    ClosedLoop([strong, weak], target=0.5, ramp=1.0, every=1).cut(0.5)
    assert strong.exists().all()
    assert not weak.exists().any()


def test_a_dense_target_rewires_nothing() -> None:
    connections = _connections()
    assert make_rewirer(connections, RunConfig(target_sparsity=0.0)) is None
    assert not any(conn.is_rewired for conn in connections)
