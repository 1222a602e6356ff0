"""Rewiring: Grad R step by step, the closed loop to its target, and what it is compared with."""

import math
from collections.abc import Sequence

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from snn.network.blocks import build_block, connections_of, layers_of
from snn.network.connections import Connections
from snn.network.network import input_signal
from snn.network.parametrizations import (
    MaskParametrization,
    SoftThresholdParametrization,
    StrengthParametrization,
)
from snn.rewiring import ConnectivityReport, Rewirer, connectivity, make_rewirer
from snn.rewiring.deep_r import DeepR, SoftDeepR, Walk
from snn.rewiring.grad_r import ClosedLoop, OpenLoop, cut_at
from snn.rewiring.rewirer import REVIVED, Ramp, parametrization_of
from snn.settings.config import RunConfig
from tests.snn.network.test_network import DIGITS

FORMS = ("closed-loop", "open-loop", "deep-r", "deep-r-soft", "magnitude", "stds")
EXACT = tuple(form for form in FORMS if form != "open-loop")


def _connections(
    count: int = 2, *, size: int = 30, dtype: torch.dtype = torch.float32
) -> list[Connections]:
    seed = torch.Generator().manual_seed(0)
    return [Connections((size, size), generator=seed).to(dtype) for _ in range(count)]


def _slopes(steps: int, shape: tuple[int, ...] = (30, 30)) -> Tensor:
    """dL/dw of `steps` steps."""
    draws = torch.Generator().manual_seed(1)
    return torch.randn(steps, *shape, generator=draws, dtype=torch.float64)


def _train(
    connections: Sequence[Connections],
    rewirer: Rewirer,
    optimizer: torch.optim.Optimizer,
    slopes: Tensor,
) -> None:
    """A step per slope; dL/dw of every set of connections is that slope."""
    rate = optimizer.param_groups[0]["lr"]
    for step, slope in enumerate(slopes, start=1):
        optimizer.zero_grad()
        for conn in connections:
            (conn.effective_weight() * slope.to(conn.weight.dtype)).sum().backward()
        rewirer.before_step(step, learning_rate=rate)
        optimizer.step()
        rewirer.after_step(step, steps=len(slopes), learning_rate=rate)


# ---- Grad R as published


def test_the_weights_are_unchanged_before_the_first_step() -> None:
    """theta0 = |w0| and s = sign(w0)."""
    (conn,) = _connections(1)
    before = conn.weight.detach().clone()
    conn.hold_strengths()
    assert torch.equal(conn.weight.detach(), before.abs())
    assert torch.equal(parametrization_of(conn, StrengthParametrization).sign, before.sign())
    assert torch.equal(conn.effective_weight(), before)


def test_a_connection_that_is_gone_moves_by_its_gradient_and_returns() -> None:
    """theta < 0 has w = 0 and still moves by -eta * s * dL/dw."""
    (conn,) = _connections(1)
    conn.hold_strengths()
    sign = parametrization_of(conn, StrengthParametrization).sign
    with torch.no_grad():
        conn.weight[0, 0] = -0.01
    assert conn.effective_weight()[0, 0] == 0
    pull = -float(sign[0, 0])  # a loss that falls as this weight grows away from zero
    optimizer = torch.optim.SGD([conn.weight], lr=0.05)
    (conn.effective_weight()[0, 0] * pull).backward()
    optimizer.step()
    assert conn.weight[0, 0].item() == pytest.approx(-0.01 + 0.05)
    assert conn.effective_weight()[0, 0].sign() == sign[0, 0]


@pytest.mark.parametrize("form", ["closed-loop", "open-loop", "deep-r", "deep-r-soft"])
def test_a_weight_never_changes_its_sign(form: str) -> None:
    connections = _connections()
    signs = [conn.weight.detach().sign() for conn in connections]
    config = RunConfig(target_sparsity=0.5, rewiring=form, rewiring_temperature=1e-2)
    rewirer = make_rewirer(connections, config)
    assert rewirer is not None
    optimizer = torch.optim.Adam([conn.weight for conn in connections], lr=0.1)
    _train(connections, rewirer, optimizer, _slopes(20))
    weights = [conn.effective_weight() for conn in connections]
    assert all((weight != 0).any() and (weight == 0).any() for weight in weights)
    for weight, sign in zip(weights, signs, strict=True):
        assert ((weight == 0) | (weight.sign() == sign)).all()


def test_without_prior_a_network_of_existing_connections_steps_like_adam() -> None:
    (ours,), (plain,) = _connections(1), _connections(1)
    rewirer = OpenLoop([ours], target=0.5, strength=0.0, beta=0.9)
    optimizers = [torch.optim.Adam([c.weight], lr=1e-5) for c in (ours, plain)]
    slope = torch.randn(30, 30, generator=torch.Generator().manual_seed(1))
    for step in range(1, 6):
        for conn, optimizer in zip((ours, plain), optimizers, strict=True):
            optimizer.zero_grad()
            (conn.effective_weight() * slope).sum().backward()
            if conn is ours:
                rewirer.before_step(step, learning_rate=1e-5)
            optimizer.step()
    alive = ours.exists()
    assert torch.allclose(ours.effective_weight()[alive], plain.weight[alive], atol=1e-8)


def _grad_r_sgd(weight: Tensor, slopes: Tensor, *, eta: float, alpha: float, p: float) -> Tensor:
    """Weights after theta <- theta - eta * (s * dL/dw + alpha * sign(theta - mu)); w = s * theta+.

    Written down from the equations, nothing of the package used.
    """
    mu = math.log(2 - 2 * p) / alpha
    s, theta = weight.sign(), weight.abs()
    for g in slopes:
        theta = theta - eta * (s * g + alpha * torch.sign(theta - mu))
    return s * theta.clamp(min=0)


def _grad_r_adam(weight: Tensor, slopes: Tensor, *, eta: float, alpha: float, p: float) -> Tensor:
    """Weights after the Adam form: moments of dL/dw, the prior outside, times eta / (1 - b1^k)."""
    mu = math.log(2 - 2 * p) / alpha
    s, theta = weight.sign(), weight.abs()
    m, v = torch.zeros_like(weight), torch.zeros_like(weight)
    for k, g in enumerate(slopes, start=1):
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        size = eta / (1 - 0.9**k)
        pull = s * m / ((v / (1 - 0.999**k)).sqrt() + 1e-8)
        theta = theta - size * pull - size * alpha * torch.sign(theta - mu)
    return s * theta.clamp(min=0)


@pytest.mark.parametrize("strength", [1e-3, 8.0])
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_the_published_form_is_followed_step_by_step(optimizer: str, strength: float) -> None:
    """With the strong prior thetas cross zero both ways, and mu itself."""
    slopes = _slopes(12)
    for steps in range(1, len(slopes) + 1):
        (conn,) = _connections(1, dtype=torch.float64)
        start = conn.weight.detach().clone()
        rewirer = OpenLoop(
            [conn], target=0.9, strength=strength, beta=0.9 if optimizer == "adam" else 0.0
        )
        kind = torch.optim.Adam if optimizer == "adam" else torch.optim.SGD
        _train([conn], rewirer, kind([conn.weight], lr=0.03), slopes[:steps])
        published = _grad_r_adam if optimizer == "adam" else _grad_r_sgd
        expected = published(start, slopes[:steps], eta=0.03, alpha=strength, p=0.9)
        assert torch.allclose(conn.effective_weight(), expected, rtol=0, atol=1e-12)
    gone = float((conn.effective_weight() == 0).double().mean())
    assert 0.05 < gone < 0.95
    if strength > 1:
        near = (conn.weight - rewirer.location).abs() < 2 * 0.03 * strength
        assert near.any()


def test_half_the_connections_missing_puts_the_location_at_zero() -> None:
    assert OpenLoop([], target=0.5, strength=0.3, beta=0.9).location == 0


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
    """By alpha * eta / (1 - beta1^k) per step: down above mu, up below it."""
    (conn,) = _connections(1)
    strength, rate = 2.0, 0.01
    rewirer = OpenLoop([conn], target=0.9, strength=strength, beta=0.9)
    with torch.no_grad():
        conn.weight.fill_(0.5)
        conn.weight[0] = rewirer.location - 0.5
    before = conn.weight.detach().clone()
    rewirer.before_step(3, learning_rate=rate)
    size = rate / (1 - 0.9**3) * strength
    moved = conn.weight.detach() - before
    assert torch.allclose(moved[1:], torch.tensor(-size))
    assert torch.allclose(moved[0], torch.tensor(size))


def test_the_connectivity_of_a_hand_made_mask() -> None:
    (conn,) = _connections(1, size=4)
    conn.hold_strengths()
    with torch.no_grad():
        conn.weight.fill_(1.0)
        conn.weight[0] = -1.0
        conn.weight[1, :2] = 0.0
    assert connectivity([conn]) == 10 / 16


def test_the_redefined_gradient_is_never_at_more_than_a_right_angle_to_the_true_one() -> None:
    """Their inner product is the sum of (dL/dw)^2 over the connections that exist."""
    (conn,) = _connections(1, dtype=torch.float64)
    conn.hold_strengths()
    with torch.no_grad():
        conn.weight.sub_(conn.weight.median())
    (slope,) = _slopes(1)
    (conn.effective_weight() * slope).sum().backward()
    assert conn.weight.grad is not None
    true = conn.weight.grad * conn.exists()
    inner = (true * conn.weight.grad).sum()
    assert inner.item() == pytest.approx((slope.square() * conn.exists()).sum().item())
    assert inner > 0


@pytest.mark.parametrize("form", FORMS)
def test_norms_and_biases_are_not_rewired(form: str) -> None:
    """What is not a connection steps as it would without rewiring, whatever is asked."""
    config = RunConfig(backbone="vgg5", width=4, norm="batch-over-time")
    block = build_block(config, 0, input_signal(config, DIGITS), range(10))
    rewirer = make_rewirer(
        connections_of(block), config.replace(rewiring=form, target_sparsity=0.9)
    )
    assert rewirer is not None
    weights = {id(conn.weight) for conn in connections_of(block)}
    others = {n: p.detach().clone() for n, p in block.named_parameters() if id(p) not in weights}
    assert any("batch_norm" in name for name in others)
    rewirer.before_step(1, learning_rate=0.1)
    rewirer.after_step(1, steps=1, learning_rate=0.1)
    after = dict(block.named_parameters())
    assert all(torch.equal(after[name], before) for name, before in others.items())


# ---- the closed loop


def _closed_loop(
    connections: Sequence[Connections], *, target: float, ramp: float = 0.75, every: int = 1
) -> ClosedLoop:
    return ClosedLoop(connections, Ramp(target=target, ramp=ramp, every=every))


@given(
    target=st.floats(min_value=0.0, max_value=0.999),
    shift=st.floats(min_value=-0.5, max_value=0.1),
)
def test_the_closed_loop_meets_any_target_exactly(target: float, shift: float) -> None:
    """Also when the optimizer has driven most strengths below zero."""
    connections = _connections()
    loop = _closed_loop(connections, target=target, every=10)
    for conn in connections:
        with torch.no_grad():
            conn.weight.add_(shift)
    loop.after_step(100, steps=100, learning_rate=0.1)
    possible = sum(conn.weight.numel() for conn in connections)
    assert round(connectivity(connections) * possible) == possible - round(target * possible)
    assert all((conn.effective_weight() != 0).sum() == conn.exists().sum() for conn in connections)


@pytest.mark.parametrize("form", ["closed-loop", "magnitude", "stds"])
def test_sparsity_rises_along_its_schedule_and_stays(form: str) -> None:
    connections = _connections()
    config = RunConfig(target_sparsity=0.9, rewiring=form, rewiring_ramp=0.5, rewiring_every=1)
    loop = make_rewirer(connections, config)
    assert loop is not None
    for step, share in [(25, 0.9 * (1 - 0.5**3)), (50, 0.9), (75, 0.9)]:
        loop.after_step(step, steps=100, learning_rate=0.1)
        assert 1 - connectivity(connections) == pytest.approx(share, abs=1e-3)


def test_the_weakest_go_wherever_they_are() -> None:
    strong, weak = _connections()
    for conn in (strong, weak):
        conn.hold_strengths()
    with torch.no_grad():
        strong.weight.fill_(1.0)
        weak.weight.fill_(0.1)
    cut_at([strong, weak], 0.5)
    assert strong.exists().all()
    assert not weak.exists().any()


def test_the_cut_is_set_without_asking_the_device_for_a_number() -> None:
    """Tensors without data would raise where one is asked for."""
    connections = _connections()
    for conn in connections:
        conn.hold_strengths()
        conn.to("meta")
    for sparsity in (0.0, 0.9):
        cut_at(connections, sparsity)


# ---- every form


@pytest.mark.parametrize("target", [0.3, 0.9, 0.98, 0.993])
@pytest.mark.parametrize("form", EXACT)
def test_every_closed_form_ends_with_the_asked_number_of_connections(
    form: str, target: float
) -> None:
    connections = _connections()
    rewirer = make_rewirer(connections, RunConfig(target_sparsity=target, rewiring=form))
    assert rewirer is not None
    optimizer = torch.optim.Adam([conn.weight for conn in connections], lr=0.01)
    _train(connections, rewirer, optimizer, _slopes(33))
    possible = sum(conn.weight.numel() for conn in connections)
    alive = sum(int(conn.exists().sum()) for conn in connections)
    assert alive == possible - round(target * possible)
    assert sum(int((conn.effective_weight() != 0).sum()) for conn in connections) == alive


@pytest.mark.parametrize("form", FORMS)
def test_the_same_seed_gives_the_same_connections(form: str) -> None:
    def weights(seed: int) -> Tensor:
        connections = _connections()
        rewirer = make_rewirer(
            connections, RunConfig(target_sparsity=0.9, rewiring=form, seed=seed)
        )
        assert rewirer is not None
        optimizer = torch.optim.Adam([conn.weight for conn in connections], lr=0.01)
        _train(connections, rewirer, optimizer, _slopes(12))
        return torch.cat([conn.effective_weight().detach() for conn in connections])

    assert torch.equal(weights(0), weights(0))
    assert torch.equal(weights(0), weights(1)) == (not form.startswith("deep-r"))


def test_a_dense_target_rewires_nothing() -> None:
    connections = _connections()
    assert make_rewirer(connections, RunConfig(target_sparsity=0.0)) is None
    assert not any(conn.is_rewired for conn in connections)


# ---- Deep R


def _walk(
    *, target: float = 0.9, drift: float = 0.0, temperature: float = 0.0, every: int = 1
) -> Walk:
    return Walk(target=target, drift=drift, temperature=temperature, beta=0.0, every=every, seed=0)


def test_deep_r_keeps_its_number_and_changes_which_they_are() -> None:
    connections = _connections()
    rewirer = DeepR(connections, _walk(temperature=0.01))
    first = [conn.exists() for conn in connections]
    optimizer = torch.optim.SGD([conn.weight for conn in connections], lr=0.1)
    for _ in range(5):
        assert connectivity(connections) == pytest.approx(0.1)
        _train(connections, rewirer, optimizer, _slopes(3))
    last = [conn.exists() for conn in connections]
    returned = sum(int((now & ~then).sum()) for now, then in zip(last, first, strict=True))
    assert returned > 20


def test_what_returns_under_deep_r_stays_and_learns() -> None:
    """The published code stores its mask too early: what returned is gone one step later."""
    (conn,) = _connections(1)
    rewirer = DeepR([conn], _walk(every=1))
    with torch.no_grad():  # half of what exists dies
        alive = conn.exists().nonzero()
        for row, column in alive[::2]:
            conn.weight[row, column] = -1.0
    rewirer.after_step(1, steps=9, learning_rate=0.1)
    returned = (conn.weight == REVIVED) & conn.exists()
    assert returned.sum() == len(alive[::2])
    sign = parametrization_of(conn, MaskParametrization).sign
    assert sign is not None
    optimizer = torch.optim.SGD([conn.weight], lr=0.1)
    (conn.effective_weight() * -sign).sum().backward()  # every weight is wanted larger
    optimizer.step()
    rewirer.after_step(2, steps=9, learning_rate=0.1)
    assert conn.exists()[returned].all()
    assert torch.allclose(conn.weight[returned], torch.tensor(0.1))


def test_under_deep_r_what_does_not_exist_neither_learns_nor_drifts() -> None:
    (conn,) = _connections(1)
    rewirer = DeepR([conn], _walk(drift=1.0, temperature=1e-4, every=100))
    dormant = ~conn.exists()
    optimizer = torch.optim.SGD([conn.weight], lr=0.01, momentum=0.9)
    _train([conn], rewirer, optimizer, _slopes(5)[:, :, :].clone())
    assert conn.weight.grad is not None
    assert (conn.weight.grad[dormant & ~conn.exists()] == 0).all()
    # the last step rewires: what came back has the least strength, the rest none
    assert (conn.weight[dormant] <= REVIVED).all()
    assert (conn.effective_weight()[~conn.exists()] == 0).all()


def test_the_noise_has_the_variance_of_its_temperature() -> None:
    """Strengths far from zero: 2 * step * temperature, and the drift."""
    (conn,) = _connections(1, size=400)
    rewirer = DeepR([conn], _walk(target=0.5, drift=0.5, temperature=0.02))
    with torch.no_grad():
        conn.weight.copy_(10.0 * conn.exists())
    alive = conn.exists()
    rewirer.after_step(1, steps=9, learning_rate=0.01)
    moved = (conn.weight.detach()[alive] - 10).double()
    variance = 2 * 0.01 * 0.02
    spread = math.sqrt(variance / moved.numel())
    assert moved.mean().item() == pytest.approx(-0.01 * 0.5, abs=6 * spread)
    assert moved.var().item() == pytest.approx(variance, rel=6 * math.sqrt(2 / moved.numel()))


def test_soft_deep_r_stays_where_it_rests_without_gradients() -> None:
    """Its lower bound balances drift and noise: p below zero before and after a long walk."""
    (conn,) = _connections(1, size=200)
    rewirer = SoftDeepR([conn], _walk(target=0.8, drift=0.1, temperature=0.01, every=10_000))
    assert rewirer.lowest == pytest.approx(-0.01 * 0.8 / (0.1 * 0.2))
    with torch.no_grad():  # at rest existing strengths are exponential with mean T / alpha
        uniform = torch.rand(conn.weight.shape, generator=torch.Generator().manual_seed(2))
        conn.weight.copy_(torch.where(conn.weight > 0, -0.1 * uniform.log(), conn.weight))
    parametrization_of(conn, StrengthParametrization).cut.zero_()
    for step in range(1, 401):
        rewirer.before_step(step, learning_rate=0.05)
        rewirer.after_step(step, steps=10_000, learning_rate=0.05)
    assert (conn.weight >= rewirer.lowest).all()
    assert 1 - connectivity([conn]) == pytest.approx(0.8, abs=0.01)


def test_under_soft_deep_r_dormant_strengths_walk_and_do_not_learn() -> None:
    (conn,) = _connections(1)
    rewirer = SoftDeepR([conn], _walk(target=0.8, drift=1e-3, temperature=1e-9, every=100))
    with torch.no_grad():
        conn.weight.sub_(0.2 * ~conn.exists())
    rewirer.lowest = -1.0
    before, dormant = conn.weight.detach().clone(), ~conn.exists()
    optimizer = torch.optim.SGD([conn.weight], lr=0.1, momentum=0.9)
    for step, slope in enumerate(_slopes(4), start=1):
        optimizer.zero_grad()
        (conn.effective_weight() * slope.float()).sum().backward()
        rewirer.before_step(step, learning_rate=0.1)
        optimizer.step()
        rewirer.after_step(step, steps=1000, learning_rate=0.1)
    moved = (conn.weight.detach() - before)[dormant]
    assert 0 < moved.abs().max() < 6 * math.sqrt(4 * 2 * 0.1 * 1e-9)


# ---- magnitude pruning and the soft threshold


def test_what_magnitude_pruning_took_never_returns() -> None:
    connections = _connections()
    config = RunConfig(target_sparsity=0.9, rewiring="magnitude", rewiring_every=1)
    rewirer = make_rewirer(connections, config)
    assert rewirer is not None
    optimizer = torch.optim.Adam([conn.weight for conn in connections], lr=0.05)
    before = [conn.exists() for conn in connections]
    for _ in range(4):
        _train(connections, rewirer, optimizer, _slopes(5))
        now = [conn.exists() for conn in connections]
        assert not any((a & ~b).any() for a, b in zip(now, before, strict=True))
        before = now


def test_magnitude_pruning_takes_the_smallest_whatever_their_sign() -> None:
    connections = _connections()
    weights = torch.cat([conn.weight.detach().flatten() for conn in connections])
    rewirer = make_rewirer(connections, RunConfig(target_sparsity=0.6, rewiring="magnitude"))
    assert rewirer is not None
    rewirer.after_step(10, steps=10, learning_rate=0.1)
    alive = torch.cat([conn.exists().flatten() for conn in connections])
    assert weights[alive].abs().min() > weights[~alive].abs().max()
    left = torch.cat([conn.effective_weight().flatten() for conn in connections])
    assert torch.equal(left, weights * alive)


def test_the_soft_threshold_shrinks_and_passes_every_gradient() -> None:
    (conn,) = _connections(1)
    theta = conn.weight.detach().clone()
    rewirer = make_rewirer([conn], RunConfig(target_sparsity=0.6, rewiring="stds"))
    assert rewirer is not None
    rewirer.after_step(10, steps=10, learning_rate=0.1)
    threshold = parametrization_of(conn, SoftThresholdParametrization).cut
    assert threshold > 0
    weight = conn.effective_weight()
    gone = theta.abs() <= threshold
    assert (weight[gone] == 0).all()
    assert torch.allclose(weight[~gone], theta[~gone] - threshold * theta[~gone].sign())
    slope = _slopes(1)[0].float()
    (weight * slope).sum().backward()
    assert conn.weight.grad is not None
    assert torch.equal(conn.weight.grad, slope)


def test_under_the_soft_threshold_a_weight_returns_with_either_sign() -> None:
    (conn,) = _connections(1)
    rewirer = make_rewirer([conn], RunConfig(target_sparsity=0.5, rewiring="stds"))
    assert rewirer is not None
    rewirer.after_step(10, steps=10, learning_rate=0.1)
    gone = ~conn.exists()
    sign = conn.weight.detach().sign()
    optimizer = torch.optim.SGD([conn.weight], lr=5.0)
    (conn.effective_weight() * sign).sum().backward()  # every weight is wanted on the other side
    optimizer.step()
    assert (conn.effective_weight()[gone].sign() == -sign[gone]).all()


# ---- the report


def test_the_report_tells_what_came_and_went_in_every_layer() -> None:
    config = RunConfig(backbone="mlp", width=20, head_hidden=5, norm="none")
    block = build_block(config, 0, input_signal(config, DIGITS), range(10))
    for conn in connections_of(block):
        conn.hold_strengths()
    report = ConnectivityReport([block], first=2)
    unit = layers_of(block)[0].sources[0]
    with torch.no_grad():
        unit.weight[0, :3] = -1.0
    first = {layer.name: layer for layer in report.take()}
    assert list(first) == [*(layer.name for layer in layers_of(block)), "exit3.readout"]
    name = layers_of(block)[0].name
    assert (first[name].weights, first[name].connections) == (1280, 1277)
    assert (first[name].regrown, first[name].removed) == (0, 3)
    assert first["exit3.readout"].connections == first["exit3.readout"].weights == 50
    with torch.no_grad():
        unit.weight[0, :2] = 1.0
        unit.weight[1, 0] = -1.0
    second = {layer.name: layer for layer in report.take()}
    assert (second[name].connections, second[name].regrown, second[name].removed) == (1278, 2, 1)
