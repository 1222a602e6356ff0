"""Lateral inhibition of dense layers, and the penalty on norms of weights."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from snn.evaluation.evaluate import evaluate
from snn.interchange.wiring import inexpressible
from snn.network.blocks import connections_of, layers_of
from snn.network.connections import Connections
from snn.network.layers import ForwardContext
from snn.network.memory.lateral import LateralLif, undone, with_others
from snn.network.neurons import Lif
from snn.rules.membrane_trace import MembraneTraced
from snn.settings.config import ConfigError, RunConfig
from snn.training.checkpoint import load, save
from snn.training.norm_penalty import START, STEEPNESS, add_norm_penalty
from snn.training.train import Training
from tests.snn.rules.test_rules import batch_of, gradients, network_of
from tests.snn.training.test_conversion import _images
from tests.snn.training.test_train import split_of, trained

INHIBITED: dict[str, Any] = {
    "architecture": "d24",
    "head_hidden": 0,
    "time_rule": "membrane-trace",
    "lateral_inhibition": 0.2,
    "threshold": 0.8,
}


def test_the_identity_of_traces_holds_with_inhibition(draws: torch.Generator) -> None:
    """V = W a_in - threshold * (a + inhibition * the others' a), at the end of any input."""
    lif = LateralLif(leak=0.85, threshold=1.2, inhibition=0.15)
    x = torch.rand(50, 7, 12, dtype=torch.float64, generator=draws) * 1.5
    spikes, v = lif(x, None)
    drive, a = torch.zeros_like(v), torch.zeros_like(v)
    for now, fired in zip(x, spikes, strict=True):
        drive, a = 0.85 * drive + now, 0.85 * a + fired
    others = a.sum(dim=1, keepdim=True) - a
    assert torch.allclose(v, drive - 1.2 * (a + 0.15 * others), atol=1e-12)
    free, _ = Lif(leak=0.85, threshold=1.2)(x, None)
    assert 0 < float(spikes.sum()) < 0.8 * float(free.sum())


@pytest.mark.parametrize("inhibition", [0.05, 0.4, 0.9])
def test_the_closed_form_is_the_inverse_of_the_matrix(
    inhibition: float, draws: torch.Generator
) -> None:
    error = torch.randn(6, 10, dtype=torch.float64, generator=draws)
    is_active = torch.rand(6, 10, generator=draws) < 0.6
    is_active[0], is_active[1] = False, torch.arange(10) == 3
    found = undone(error, is_active, inhibition)
    for image in range(6):
        where = is_active[image]
        count = int(where.sum())
        matrix = torch.eye(count, dtype=torch.float64) * (1 - inhibition) + inhibition
        assert torch.allclose(matrix @ found[image][where], error[image][where], atol=1e-12)
        assert bool((found[image][~where] == 0).all())
    assert torch.allclose(with_others(error, 0.0), error)


@torch.no_grad()
def test_spikes_of_the_rule_are_those_of_the_neurons() -> None:
    network = network_of(INHIBITED)
    batch = batch_of(is_constant=False, loss="mean-readout")
    (layer,) = layers_of(network)
    seen: list[Tensor] = []

    class Watch:
        def layer(self, layer: Any, inputs: Any, spikes: Tensor) -> None:
            seen.append(spikes)

        def readout(self, connections: Any, inputs: Tensor) -> None:
            pass

    network.run(batch.drive, ForwardContext(observer=Watch()), timesteps=batch.timesteps)
    spikes, leak = torch.cat(seen), network.config.leak
    dynamics = MembraneTraced(leak, is_static=False, is_normed=False)
    state, trace = ForwardContext(dynamics=dynamics), torch.zeros_like(spikes[0])
    for x, fired in zip(batch.drive.unsqueeze(1), spikes, strict=True):
        a = layer([dynamics.enter(x).flatten(2)], 1, state)[0]
        trace = leak * trace + fired
        assert torch.allclose(a, trace, atol=1e-12)
    assert float(spikes.mean()) > 0.05


def test_gradients_are_those_of_the_linear_equations() -> None:
    """By autograd through a = (1 + mu (ones - 1))^-1 (W a_in + b L) / threshold, active neurons."""
    network = network_of(INHIBITED)
    batch = batch_of(is_constant=False, loss="mean-readout")
    ours = gradients(network, "membrane-trace", batch)
    (layer,) = layers_of(network)
    readout, leak = network.block(0).head.readout, network.config.leak
    dynamics = MembraneTraced(leak, is_static=False, is_normed=False)
    state = ForwardContext(dynamics=dynamics)
    with torch.no_grad():
        for x in batch.drive.unsqueeze(1):
            entered = [dynamics.enter(x).flatten(2)]
            a = layer(entered, 1, state)[0]
    network.zero_grad()
    potential = dynamics.potential(layer, entered, ForwardContext())
    left = potential - 0.8 * with_others(a, 0.2)
    is_active = ((a > 0) & (left < 0.8)).detach()
    rows = []
    for image in range(len(a)):
        where = is_active[image]
        matrix = torch.eye(int(where.sum()), dtype=torch.float64) * 0.8 + 0.2
        solved = torch.linalg.solve(matrix, potential[image][where] / 0.8)
        rows.append(a[image].index_add(0, where.nonzero().squeeze(1), solved - solved.detach()))
    rate = torch.stack(rows) / dynamics.length
    logits = rate @ readout.connections.weight.T + readout.bias
    torch.nn.functional.cross_entropy(logits, batch.labels).backward()  # type: ignore[no-untyped-call]
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None
        assert torch.allclose(ours[name], parameter.grad, atol=1e-12), name
    assert int(is_active.sum()) > 20


def test_it_learns_with_fewer_spikes_and_is_stored(tmp_path: Path) -> None:
    config = RunConfig(
        **{**INHIBITED, "architecture": "d64", "lateral_inhibition": 0.05},
        leak=0.9,
        timesteps=8,
        epochs=4,
        train_images=512,
    )
    inhibited = trained(config).trained
    plain = trained(config.replace(lateral_inhibition=0.0)).trained
    ours, theirs = (evaluate(net, _images(config)).sampled.metrics for net in (inhibited, plain))
    assert ours["accuracy"] > 0.7
    assert ours["spikes_per_inference"] < theirs["spikes_per_inference"]
    save(inhibited, tmp_path / "w")
    assert evaluate(load(tmp_path / "w"), _images(config)).sampled.metrics == ours
    (layer, *_) = evaluate(inhibited, _images(config)).layers
    assert layer.synaptic_ops == pytest.approx(63 * layer.spikes_per_inference)


def test_the_penalty_is_the_derivative_of_its_formula(draws: torch.Generator) -> None:
    conn = Connections((5, 8)).double()
    with torch.no_grad():
        conn.weight.normal_(0, 0.5, generator=draws)
    loss = conn.weight.square().sum()
    loss.backward()  # type: ignore[no-untyped-call]
    before = conn.weight.grad
    assert before is not None
    expected = before.clone()
    weight = conn.weight.detach().clone().requires_grad_()
    squares = weight.square().sum(dim=1)
    (0.01 / 2 * torch.exp(STEEPNESS * (squares / START - 1))).sum().backward()  # type: ignore[no-untyped-call]
    assert weight.grad is not None
    add_norm_penalty([conn], 0.01)
    assert torch.allclose(before, expected + weight.grad, atol=1e-12)
    assert float(weight.grad.abs().max()) > 1e-6


def test_connections_without_a_gradient_and_huge_norms_are_safe() -> None:
    conn = Connections((2, 3))
    add_norm_penalty([conn], 0.01)
    assert conn.weight.grad is None
    with torch.no_grad():
        conn.weight.fill_(100.0)
    conn.weight.grad = torch.zeros_like(conn.weight)
    add_norm_penalty([conn], 0.01)
    assert bool(conn.weight.grad.isfinite().all())


def test_norms_stay_near_the_start_with_the_penalty() -> None:
    base = RunConfig(
        **{**INHIBITED, "lateral_inhibition": 0.0},
        norm="none",
        leak=0.9,
        timesteps=8,
        epochs=6,
        train_images=512,
        learning_rate=0.03,
    )
    largest = {}
    for penalty in (0.0, 0.01):
        config = base.replace(weight_norm_penalty=penalty)
        training = Training(config, split_of(config))
        for _ in training:
            pass
        hidden = connections_of(training.network)[0].weight
        largest[penalty] = float(hidden.square().sum(dim=1).max())
    assert largest[0.01] < 1.6 * START
    assert largest[0.01] < 0.7 * largest[0.0]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"architecture": "c4 d10"}, r"lateral_inhibition must be 0 with 'c4 d10'.* got 0\.2"),
        ({"lateral_inhibition": 1.0}, "lateral_inhibition must be below 1"),
        ({"weight_norm_penalty": 0.1}, r"norm 'weight-standardised'.* use norm 'none'"),
    ],
)
def test_what_has_no_meaning_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        RunConfig(**{**INHIBITED, **changes})


def test_inhibition_belongs_to_the_rule_and_is_no_nir_node() -> None:
    assert RunConfig(lateral_inhibition=0.3) == RunConfig()
    assert RunConfig(weight_norm_penalty=0.0).fingerprint == RunConfig().fingerprint
    (line,) = inexpressible(RunConfig(**INHIBITED))
    assert line.startswith("lateral_inhibition is not written as NIR")
