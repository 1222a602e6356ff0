"""Operations of learning: equal to what is counted by hand, by rule and by connection."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from snn.network.blocks import connections_of
from snn.network.cost import OperationCounter
from snn.network.layers import ForwardContext
from snn.network.network import Network, Task
from snn.rules import TIME_RULES, Batch, count_operations
from snn.rules.operations import LearningOps
from snn.rules.spike_time import causes, first_times
from snn.settings.config import RunConfig
from tests.snn.network.test_network import fresh

STEPS, IMAGES, INPUTS = 5, 4, 128
TASK = Task(image_shape=(2, 8, 8), classes=10)
WEIGHTS = INPUTS * 6 + 6 * 4 + 4 * 10
PLAIN = {"architecture": "d6 d4", "head_hidden": 0, "norm": "none", "surrogate": "fast-sigmoid"}
NEEDS: dict[str, dict[str, Any]] = {
    "spike-bp": {"leak": 0.9, "reset": "hard", "loss": "mean-readout"},
    "spike-time": {"readout": "spiking", "encoding": "latency"},
    "stdp": {"architecture": "c6k3p", "encoding": "rank", "pooling": "spiking", "threshold": 2.0},
    "encoder": {"head_hidden": 5},
    "ottt-a": {"loss": "instantaneous"},
    "ottt-o": {"loss": "instantaneous"},
    "saf-e": {"loss": "instantaneous"},
}


def network_of(rule: str, **changes: Any) -> Network:
    """A random network whose neurons fire."""
    made = {**PLAIN, "timesteps": STEPS, "time_rule": rule, **NEEDS.get(rule, {}), **changes}
    network = fresh(RunConfig(**made), TASK).train()
    with torch.no_grad():
        for conn in connections_of(network):
            if conn.plasticity is None and rule != "spike-time":
                conn.weight.mul_(2.0)
    return network


def batch_of(network: Network, images: int = IMAGES) -> Batch:
    """Random images without a zero; spikes for rules that begin with them."""
    draws, config = torch.Generator().manual_seed(1), network.config
    drive = torch.randn(1, images, *TASK.image_shape, generator=draws)
    if config.encoding in ("latency", "rank"):
        drive = torch.zeros(STEPS, images, 2 * config.encoded_channels, 8, 8)
        when = torch.randint(STEPS + 1, drive.shape[1:], generator=draws)
        for step in range(STEPS):
            drive[step] = when == step
    labels = torch.arange(images) % 10
    return Batch(drive=drive, labels=labels, frozen=0, timesteps=STEPS, loss=config.loss)


def counted(network: Network, batch: Batch, images: int = IMAGES) -> LearningOps:
    """The operations of a batch."""
    return count_operations(network, batch, torch.Generator().manual_seed(0), images=images)


def spikes_of(network: Network, batch: Batch) -> list[float]:
    """All spikes of each layer."""
    counter = OperationCounter()
    with torch.no_grad():
        network.run(batch.drive, ForwardContext(observer=counter), timesteps=STEPS)
    return [sum(float(part.sum()) for part in parts) for parts in counter.spikes.values()]


def test_backpropagation_through_time_by_hand() -> None:
    """A constant image costs once; of spikes each costs its fan-out, forward and backward."""
    network = network_of("bptt", loss="each-step")
    batch = batch_of(network)
    first, second = spikes_of(network, batch)
    image = IMAGES * INPUTS * 6
    assert min(first, second) > 0
    assert counted(network, batch) == LearningOps(
        forward=image + first * 4 + second * 10,
        gradient=image + first * 4 + second * 10,
        error=IMAGES * STEPS * (4 * 6 + 10 * 4),  # to the image none
        updates=WEIGHTS,
    )


@pytest.mark.parametrize(
    ("rule", "errors", "steps"),
    [("ottt-a", STEPS, 1), ("ottt-o", STEPS, STEPS), ("saf-e", STEPS, STEPS), ("saf-f", 1, 1)],
)
def test_a_rule_pays_errors_as_often_as_it_makes_them(rule: str, errors: int, steps: int) -> None:
    """At every timestep or once; and the weights as often as it changes them."""
    network = network_of(rule)
    found = counted(network, batch_of(network))
    assert found.error == IMAGES * errors * (4 * 6 + 10 * 4)
    assert found.updates == steps * WEIGHTS


def test_rules_with_the_same_spikes_have_the_same_forward_pass() -> None:
    """In whatever form a rule computes it; a pass over rates comes on top."""
    plain = network_of("bptt")
    batch = batch_of(plain)
    forward = counted(plain, batch).forward
    for rule in ("ottt-a", "ottt-o", "saf-e", "saf-f", "membrane-trace"):
        assert counted(network_of(rule), batch).forward == forward, rule
    assert counted(network_of("dsr"), batch).forward > forward


def test_traces_are_not_sparser_than_spikes() -> None:
    """A trace stays from the first spike on, so that OTTT's gradient costs more than BPTT's."""
    online = network_of("ottt-a", threshold=2.0)
    exact = network_of("bptt", loss="instantaneous", threshold=2.0)
    batch = batch_of(online)
    assert counted(online, batch).gradient > counted(exact, batch).gradient


def test_conversion_costs_what_its_network_without_time_does() -> None:
    """Each value that is not zero, over all its connections, once."""
    network = network_of("conversion")
    batch = batch_of(network)
    values: list[float] = []

    class Values:
        def layer(self, layer: Any, inputs: Any, spikes: Tensor) -> None:
            del layer, inputs
            values.append(float((spikes != 0).sum()))

        def readout(self, connections: Any, inputs: Tensor) -> None:
            """See Observer."""

    context = ForwardContext(observer=Values())
    TIME_RULES["conversion"](network, batch, context, apply=lambda: None)
    first, second = values
    found = counted(network, batch)
    assert found.forward == IMAGES * INPUTS * 6 + first * 4 + second * 10
    # no error passes a neuron at rest, and no gradient comes to its inputs
    assert found.error == second * 6 + IMAGES * 10 * 4


def test_spike_times_cost_the_inputs_that_caused_them() -> None:
    network = network_of("spike-time", architecture="d6", silence_penalty=0.0)
    batch = batch_of(network)
    found = counted(network, batch)
    first, output = connections_of(network)
    with torch.no_grad():
        hidden = network.block(0).first.lif
        times = first_times(batch.drive).flatten(1)
        out = torch.full((IMAGES, 6), torch.inf)
        from snn.rules.spike_time import crossing

        out = crossing(times, first.weight, hidden, steps=STEPS)  # type: ignore[arg-type]
        pairs = causes(times, first.weight, out, steps=STEPS)
        brute = (times.unsqueeze(1) < out.unsqueeze(2)) & out.isfinite().unsqueeze(2)
    assert torch.equal(pairs, brute.sum(dim=2).to(pairs))
    assert 0 < found.gradient <= float(pairs.sum()) + IMAGES * output.weight.numel()
    assert 0 < found.error <= IMAGES * output.weight.numel()  # to the image none


def test_plasticity_writes_and_has_no_error() -> None:
    network = network_of("stdp", stdp_winners=2, stdp_radius=0)
    found = counted(network, batch_of(network))
    plastic, readout = connections_of(network)
    fan_in = plastic.weight[0].numel()
    assert found.error == 0
    assert found.writes % fan_in == 0
    assert 0 < found.writes <= 2 * IMAGES * fan_in
    assert found.updates == readout.weight.numel()


def test_what_does_not_exist_costs_nothing() -> None:
    network = network_of("bptt", loss="each-step")
    batch, (_, middle, _) = batch_of(network), connections_of(network)
    with torch.no_grad():
        middle.weight[:, 3:] = 0.0
    found = counted(network, batch)
    assert found.error == IMAGES * STEPS * (4 * 3 + 10 * 4)
    assert found.updates == WEIGHTS - 4 * 3


def test_connections_that_may_regrow_are_trained_while_they_are_away() -> None:
    """Grad R moves the strength of removed connections by their gradient; Deep R does not."""
    found = {}
    for form in (True, False):
        network = network_of("bptt", loss="each-step")
        batch, (_, middle, _) = batch_of(network), connections_of(network)
        middle.hold_strengths(is_regrowing=form)
        with torch.no_grad():
            middle.weight[:, 3:] = -1.0
        found[form] = counted(network, batch)
    assert found[True].error == found[False].error == IMAGES * STEPS * (4 * 3 + 10 * 4)
    assert found[True].updates == WEIGHTS
    assert found[False].updates == WEIGHTS - 4 * 3
    assert found[True].gradient > found[False].gradient


@pytest.mark.parametrize("rule", TIME_RULES)
def test_counting_changes_nothing(rule: str) -> None:
    network = network_of(rule)
    batch, draws = batch_of(network), torch.Generator().manual_seed(3)
    before = {name: t.clone() for name, t in network.state_dict().items()}
    state = draws.get_state()
    found = count_operations(network, batch, draws, images=2)
    assert torch.equal(draws.get_state(), state)
    assert all(torch.equal(t, before[name]) for name, t in network.state_dict().items())
    assert all(p.grad is None for p in network.parameters())
    assert found.forward > 0
    assert found.gradient > 0


def test_spikes_count_once_under_dropout() -> None:
    """Dropout makes the spikes that are left larger, not more."""
    network = network_of("bptt", dropout=0.5, loss="each-step")
    batch = batch_of(network, images=256)
    plain = network_of("bptt", loss="each-step")
    image = 256 * INPUTS * 6
    dropped = counted(network, batch, 256).forward - image
    whole = counted(plain, batch, 256).forward - image
    assert dropped < 0.7 * whole  # half of the spikes, and fewer of the next layer


def test_a_part_stands_for_the_batch() -> None:
    network = network_of("bptt", loss="each-step")
    batch = batch_of(network, images=8)
    same = replace(batch, drive=batch.drive[:, :1].expand(-1, 8, -1, -1, -1))
    labels = torch.zeros(8, dtype=torch.int64)
    same = replace(same, labels=labels)
    assert counted(network, same, 2) == counted(network, same, 8)
