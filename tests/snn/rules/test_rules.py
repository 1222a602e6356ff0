"""Learning rules in time against each other: what theory says is equal is, and what is not, is not.

All in float64 on random networks, so that equal means equal to rounding.
"""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from snn.network.blocks import connections_of
from snn.network.connections import Connections
from snn.network.layers import ForwardContext, Layer
from snn.network.network import Network, Task
from snn.network.neurons import Lif
from snn.rules import TIME_RULES, Batch
from snn.rules.saf import Accumulated, accumulate_
from snn.settings.config import RunConfig
from tests.snn.network.test_network import fresh

STEPS = 6
TASK = Task(image_shape=(2, 8, 8), classes=10)
NETWORKS = {
    "dense": {"backbone": "mlp2", "width": 30},
    "conv": {"backbone": "vgg5", "width": 4},
    "skips": {"backbone": "resnet7", "width": 4},
    "identity-skip": {"backbone": "resnet11", "width": 2},
    "bottleneck": {"architecture": "c4p b12/2 b12i"},
    "separable": {"architecture": "s6p s9k5/2"},
}


def network_of(changes: dict[str, Any], *, seed: int = 0) -> Network:
    """A random network whose neurons fire, with biases that are not zero."""
    settings: dict[str, Any] = {
        "timesteps": STEPS,
        "encoding": "poisson",  # inputs may change from timestep to timestep
        "head_hidden": 12,
        "norm": "none",
        "time_rule": "ottt-a",
        **changes,
    }
    config = RunConfig(seed=seed, **settings)
    network = fresh(config, TASK).double().train()
    draws = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for conn in connections_of(network):
            conn.weight.mul_(2.0)
        for name, parameter in network.named_parameters():
            if name.endswith("bias"):
                parameter.normal_(0.1, 0.2, generator=draws)
    return network


def batch_of(*, is_constant: bool, loss: str = "instantaneous", encoding: str = "poisson") -> Batch:
    """Random inputs, the same at every timestep or not; `encoding` says whether that is known."""
    draws = torch.Generator().manual_seed(1)
    times = 1 if is_constant else STEPS
    drive = torch.randn(times, 5, *TASK.image_shape, dtype=torch.float64, generator=draws)
    if encoding == "poisson":
        drive = drive.expand(STEPS, *drive.shape[1:])
    return Batch(drive=drive, labels=torch.arange(5), frozen=0, timesteps=STEPS, loss=loss)


def gradients(network: Network, rule: str, batch: Batch) -> dict[str, Tensor]:
    """Gradients of a rule without an optimizer step."""
    network.zero_grad(set_to_none=True)
    TIME_RULES[rule](network, batch, ForwardContext(), apply=lambda: None)
    return {n: p.grad.clone() for n, p in network.named_parameters() if p.grad is not None}


def apart(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> float:
    """Largest difference, relative to the largest gradient."""
    assert ours.keys() == theirs.keys()
    scale = max(float(grad.abs().max()) for grad in theirs.values())
    return max(float((ours[name] - theirs[name]).abs().max()) for name in ours) / scale


@pytest.mark.parametrize("changes", NETWORKS.values(), ids=NETWORKS)
def test_class_neurons_that_spike_are_the_last_spiking_layer(changes: dict[str, Any]) -> None:
    """Their gradient is that of backpropagation through time; the hidden layer's is not."""
    network, batch = (
        network_of({**changes, "readout": "spiking", "votes": 2}),
        batch_of(is_constant=False),
    )
    online, exact = gradients(network, "ottt-a", batch), gradients(network, "bptt", batch)
    for name in exact:
        difference = float((online[name] - exact[name]).abs().max() / exact[name].abs().max())
        if "head.readout" in name:
            assert difference < 1e-12, name
        elif "head.hidden" in name:
            assert difference > 1e-3, name


@pytest.mark.parametrize("changes", NETWORKS.values(), ids=NETWORKS)
def test_saf_f_is_spike_representation(changes: dict[str, Any]) -> None:
    """Theorem 2 of SAF, with threshold 1.

    The firing map of a layer is rate = f(W rate_in + b) with the rates
    a / L and f' the surrogate where the neuron stands at the end. Differentiated
    by the chain rule over rates alone it gives SAF-F's gradient.
    """
    network, batch = network_of(changes), batch_of(is_constant=False, loss="mean-readout")
    ours = gradients(network, "saf-f", batch)
    network.zero_grad(set_to_none=True)
    _spike_representation(network, batch)
    theirs = {n: p.grad.clone() for n, p in network.named_parameters() if p.grad is not None}
    assert apart(ours, theirs) < 1e-12


def _spike_representation(network: Network, batch: Batch) -> None:
    """Backward over weighted rates: values as simulated, slopes from the surrogate."""
    leak = network.config.leak
    rates, distances, length = _simulated(network, batch, leak)

    class Rates:
        """Dynamics of one pass over rates instead of time."""

        def enter(self, x: Tensor) -> Tensor:
            return x

        def layer(self, layer: Layer, inputs: list[Tensor], state: ForwardContext) -> Tensor:
            drive = sum(c(x, state.weight(c)) for c, x in zip(layer.sources, inputs, strict=False))
            assert isinstance(drive, Tensor)
            if layer.skip is not None:
                drive = drive + layer.skip(inputs[-1])
            if layer.bias is not None:
                drive = drive + layer.bias.view(-1, *[1] * (drive.dim() - 3))
            from snn.lif.surrogate import SURROGATES

            slope = SURROGATES[layer.lif.surrogate].derivative(distances[layer], layer.lif.slope)
            # rate(drive): the simulated value, with slope d(a)/d(U) as d(rate)/d(drive)
            return rates[layer] + slope * (drive - drive.detach())

        def readout(self, readout: Any, x: Tensor, state: ForwardContext) -> Tensor:
            conn = readout.connections
            return conn(x, state.weight(conn)) + readout.bias

        def held(self) -> list[Tensor]:
            return []

    mean_input = torch.zeros_like(batch.drive[:1])
    for x in batch.drive:
        mean_input = leak * mean_input + x
    state = ForwardContext(dynamics=Rates())
    x = network.block(0)(mean_input / length, 1, state)
    logits, _ = network.block(0).head(x, 1, state)
    torch.nn.functional.cross_entropy(logits[0], batch.labels).backward()  # type: ignore[no-untyped-call]


@torch.no_grad()
def _simulated(
    network: Network, batch: Batch, leak: float
) -> tuple[dict[Layer, Tensor], dict[Layer, Tensor], float]:
    """Weighted rates and distances to the threshold at the end, from ordinary neurons."""
    accumulated: dict[Layer, Tensor] = {}
    potentials: dict[Layer, Tensor] = {}

    class Watch:
        def layer(self, layer: Layer, inputs: Any, spikes: Tensor) -> None:
            before = accumulated.get(layer, torch.zeros_like(spikes))
            accumulated[layer] = leak * before + spikes
            potentials[layer] = state.states[layer]

        def readout(self, connections: Any, inputs: Tensor) -> None:
            pass

    state, length = ForwardContext(observer=Watch()), 0.0
    for index in range(STEPS):
        network.run(batch.drive[index : index + 1], state, timesteps=1)
        length = leak * length + 1
    rates = {layer: total / length for layer, total in accumulated.items()}
    return rates, {layer: (h - 1).unsqueeze(0) for layer, h in potentials.items()}, length


@pytest.mark.parametrize("changes", NETWORKS.values(), ids=NETWORKS)
@pytest.mark.parametrize("rule", ["ottt-a", "saf-f"])
def test_the_current_of_a_constant_image_is_made_once(
    changes: dict[str, Any], rule: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the gradient of making it at every timestep, as a drive that is repeated does."""
    loss = "mean-readout" if rule == "saf-f" else "instantaneous"
    network = network_of({**changes, "encoding": "direct"})
    constant = batch_of(is_constant=True, loss=loss, encoding="direct")
    repeated = replace(constant, drive=constant.drive.expand(STEPS, *constant.drive.shape[1:]))
    made: list[Connections] = []
    apply_weight = Connections.apply_weight

    def counted(self: Connections, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        made.extend([self] * self.is_analog)
        return apply_weight(self, x, weight, bias)

    monkeypatch.setattr(Connections, "apply_weight", counted)
    once = gradients(network, rule, constant)
    assert len(made) == (2 if rule == "saf-f" else 1)  # the last time with a graph
    assert apart(once, gradients(network, rule, repeated)) < 1e-12
    assert len(made) > STEPS


@pytest.mark.parametrize("rule", ["ottt-a", "ottt-o", "saf-e", "saf-f", "dsr"])
def test_memory_of_forward_rules_does_not_grow_with_time(rule: str) -> None:
    from search.worker.engine import plan

    needs = [
        plan(RunConfig(time_rule=rule, timesteps=steps, width=8)).training_memory_bytes
        for steps in (3, 12)
    ]
    assert needs[0] == needs[1]


@pytest.mark.parametrize("threshold", [1.0, 0.7])
def test_a_step_without_a_graph_has_the_bits_of_one_with_a_graph(threshold: float) -> None:
    lif = Lif(leak=0.5, threshold=threshold, firing_share=0.9)
    draws = torch.Generator().manual_seed(0)
    potential, kept = (torch.randn(4, 50, generator=draws) for _ in range(2))
    with_graph = kept + Accumulated(0.5).fired(lif, potential, kept)
    assert 0 < int((with_graph != kept).sum()) < 200
    assert torch.equal(accumulate_(lif, potential, kept.clone()), with_graph)
