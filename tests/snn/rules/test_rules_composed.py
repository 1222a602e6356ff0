"""The theorems of the time rules, alone and with the other settings.

Feedback, skips, pools, standardised weights, frozen blocks, held
dropout masks and connections that come and go, alone and all together; float64.
"""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from snn.evaluation.evaluate import evaluate
from snn.network.blocks import connections_of
from snn.network.layers import ForwardContext
from snn.network.network import Network
from snn.network.neurons import Lif
from snn.rewiring import make_rewirer
from snn.rules import TIME_RULES, Batch
from snn.rules.online import Unrolled
from snn.rules.ottt import Traced
from snn.rules.saf import Accumulated
from snn.settings.config import RunConfig
from snn.settings.first_spikes import FIRST_SPIKES
from snn.training.train import Training
from tests.snn.evaluation.test_evaluate import images_of
from tests.snn.network.test_feedback import fed_back
from tests.snn.rules.test_dsr import clamped
from tests.snn.rules.test_rules import NETWORKS, STEPS, apart, batch_of, network_of
from tests.snn.training.test_train import SMALL, split_of

EVERYTHING: dict[str, Any] = {
    "backbone": "resnet9",
    "width": 4,
    "partition": "2+2",
    "feedback": "last-to-first",
    "norm": "weight-standardised",
    "dropout": 0.2,
    "target_sparsity": 0.6,
    "threshold": 0.8,
    "firing_share": 0.7,
}
COMPOSED: dict[str, dict[str, Any]] = {
    "feedback": {"backbone": "resnet7", "width": 4, "feedback": "last-to-first"},
    "feedback-dense": {"backbone": "mlp2", "width": 30, "feedback": "last-to-first"},
    "feedback-of-an-image": {
        "backbone": "vgg5",
        "width": 4,
        "feedback": "last-to-first",
        "encoding": "direct",
    },
    "pools": {"backbone": "vgg7", "width": 4},
    "standardised": {"backbone": "resnet7", "width": 4, "norm": "weight-standardised"},
    "after-a-block": {
        "backbone": "resnet7",
        "width": 4,
        "partition": "1+2",
        "encoding": "direct",
    },
    "dropout": {"backbone": "resnet7", "width": 4, "dropout": 0.3},
    "sparse": {"backbone": "resnet7", "width": 4, "target_sparsity": 0.6},
    "early": {"backbone": "resnet7", "width": 4, "threshold": 1.5, "firing_share": 0.4},
    "bottleneck-separable": {
        **EVERYTHING,
        "backbone": "",
        "architecture": "s6k5 b12/2 s9p b8n",
    },
    "everything": EVERYTHING,
    "everything-but-feedback": {**EVERYTHING, "feedback": "none"},
}
CASES: dict[str, dict[str, Any]] = {
    **NETWORKS,
    **{f"{name}-constant": {**changes, "constant": True} for name, changes in NETWORKS.items()},
    **COMPOSED,
}
PLAIN = {n: c for n, c in CASES.items() if c.get("feedback", "none") == "none"}
each_case = pytest.mark.parametrize("changes", CASES.values(), ids=CASES)


def composed(changes: dict[str, Any], *, loss: str = "instantaneous") -> tuple[Network, Batch]:
    """A random network of a composition, and a batch for its last block."""
    changes = dict(changes)
    is_constant = changes.pop("constant", changes.get("encoding") == "direct")
    build = fed_back if changes.get("feedback", "none") != "none" else network_of
    network = build(changes)
    frozen = len(network.blocks) - 1
    for index in range(frozen):
        network.block(index).eval().requires_grad_(False)
    live = connections_of(network.block(frozen))
    rewirer = make_rewirer(live, network.config)
    if rewirer is not None:
        rewirer.after_step(1, steps=1, learning_rate=0.0)
    batch = batch_of(is_constant=is_constant, loss=loss, encoding=network.config.encoding)
    return network, replace(batch, frozen=frozen)


def pass_of() -> ForwardContext:
    """With the same dropout masks every time."""
    return ForwardContext(generator=torch.Generator().manual_seed(3))


def gradients(network: Network, rule: str, batch: Batch) -> dict[str, Tensor]:
    """Gradients of a rule in the last block; the blocks before have none."""
    network.zero_grad(set_to_none=True)
    TIME_RULES[rule](network, batch, pass_of(), apply=lambda: None)
    found = {n: p.grad.clone() for n, p in network.named_parameters() if p.grad is not None}
    assert all(name.startswith(f"blocks.{batch.frozen}.") for name in found)
    return found


@each_case
@pytest.mark.parametrize("dynamics", [Traced, Accumulated])
@torch.no_grad()
def test_spikes_are_those_of_leaky_neurons(changes: dict[str, Any], dynamics: type) -> None:
    network, batch = composed(changes)
    plain = network.run(batch.drive, pass_of(), timesteps=STEPS, frozen=batch.frozen)
    run, way = Unrolled(network, batch, pass_of()), dynamics(network.config.leak)
    for index in range(STEPS):
        (readout,) = run.step(index, way)
        assert (readout - plain.logits[0][index]).abs().max() < 1e-12
    assert 0 < plain.features[0].mean() < 1


@each_case
@pytest.mark.parametrize("loss", ["instantaneous", "each-step"])
def test_saf_e_is_ottt(changes: dict[str, Any], loss: str) -> None:
    network, batch = composed(changes, loss=loss)
    summed = gradients(network, "ottt-a", batch)
    accumulated = gradients(network, "saf-e", batch)
    assert apart(accumulated, gradients(network, "ottt-o", batch)) < 1e-12
    assert apart(accumulated, summed) < 1e-12


@each_case
def test_ottt_a_is_bptt_in_the_last_spiking_layer_and_nowhere_below(
    changes: dict[str, Any],
) -> None:
    network, batch = composed(changes)
    online, exact = gradients(network, "ottt-a", batch), gradients(network, "bptt", batch)
    assert online.keys() == exact.keys()
    for name in exact:
        difference = float((online[name] - exact[name]).abs().max() / exact[name].abs().max())
        if "head" in name:
            assert difference < 1e-12, name
        else:
            assert difference > 1e-3, name


@pytest.mark.parametrize("changes", PLAIN.values(), ids=PLAIN)
@pytest.mark.parametrize(("threshold", "share"), [(0.5, 1.0), (1.0, 0.5), (2.0, 1.0), (None, None)])
def test_saf_f_with_the_derivative_of_a_clamp_is_spike_representation(
    changes: dict[str, Any],
    threshold: float | None,
    share: float | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    own = {} if threshold is None else {"threshold": threshold, "firing_share": share}
    network, batch = composed({**changes, **own}, loss="mean-readout")
    ours = gradients(network, "dsr", batch)
    fire = Accumulated.fired

    def fired(self: Accumulated, lif: Lif, potential: Tensor, kept: Tensor) -> Tensor:
        return clamped(fire, self, lif, potential, kept)

    monkeypatch.setattr(Accumulated, "fired", fired)
    assert apart(ours, gradients(network, "saf-f", batch)) < 1e-12


@pytest.mark.parametrize("rule", sorted(set(TIME_RULES) - {"encoder", *FIRST_SPIKES}))
def test_every_rule_learns_block_by_block_sparse_and_with_dropout(rule: str) -> None:
    """With the target sparsity; its exits can be evaluated at every threshold and timestep."""
    own: dict[str, Any] = {}
    if rule == "spike-bp":  # slower at first, and made for long runs with little leak
        own = {"reset": "hard", "leak": 0.95, "timesteps": 8, "train_images": 0}
    if rule == "membrane-trace":  # neurons that have not fired learn nothing
        own = {"leak": 0.9, "timesteps": 8}
    config = RunConfig(
        time_rule=rule,
        backbone="vgg5",
        partition="1+2",
        width=8,
        head_hidden=16,
        epochs=5,
        dropout=0.1,
        target_sparsity=0.5,
        **{"train_images": 600, **own},
    )
    training = Training(config, split_of(config))
    measured = list(training)
    for block in (1, 2):
        losses = [m.loss for m in measured if m.block == block]
        assert losses[-1] < (0.97 if rule == "membrane-trace" else 0.95) * losses[0]
    assert max(m.accuracy for m in measured) > 0.3
    weights = [conn.weight for conn in connections_of(training.network)]
    alive = sum(int(weight.count_nonzero()) for weight in weights)
    assert alive / sum(weight.numel() for weight in weights) == pytest.approx(0.5, abs=0.001)
    found = evaluate(training.trained, images_of(training))
    assert {point.blocks for point in found.points} <= {1, 2}
    assert max(point.metrics["accuracy"] for point in found.points) >= measured[-1].accuracy - 1e-9
    assert all(point.metrics["connectivity"] < 0.6 for point in found.points)


@pytest.mark.parametrize("rule", sorted(set(TIME_RULES) - {"spike-bp", "encoder", *FIRST_SPIKES}))
def test_every_rule_trains_all_blocks_at_once(rule: str) -> None:
    config = SMALL.replace(time_rule=rule, width=8, epochs=1, space_rule="end-to-end")
    if rule == "membrane-trace":  # neurons that have not fired learn nothing
        config = config.replace(leak=0.9, timesteps=8)
    training = Training(config, split_of(config))
    (measured,) = training
    assert measured.block == 0
    assert measured.accuracy > 0.15  # chance is 0.1
    assert len(training.network.blocks) == 3
