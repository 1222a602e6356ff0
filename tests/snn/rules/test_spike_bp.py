"""Spike-based backpropagation against its closed form and against a plain restatement of it."""

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from snn.network.blocks import connections_of, layers_of
from snn.network.cost import OperationCounter
from snn.network.layers import ForwardContext, Layer, PoolNeurons
from snn.network.network import Network, Task
from snn.network.readout import integrated, integrated_each_step
from snn.rules import TIME_RULES, Batch
from snn.settings.config import RunConfig
from snn.training.train import Training
from tests.snn.network.test_network import fresh
from tests.snn.training.test_train import split_of

TASK = Task(image_shape=(2, 8, 8), classes=10)


def network_of(**changes: Any) -> Network:
    """A random network in float64 whose neurons fire."""
    settings: dict[str, Any] = {
        "time_rule": "spike-bp",
        "reset": "hard",
        "norm": "none",
        "leak": 0.9,
        "readout_leak": 0.9,
        "encoding": "poisson",
        **changes,
    }
    network = fresh(RunConfig(**settings), TASK).double().train()
    with torch.no_grad():
        for conn in connections_of(network):
            conn.weight.mul_(1.5)
    return network


def batch_of(network: Network) -> Batch:
    """Random inputs, one per timestep."""
    draws = torch.Generator().manual_seed(1)
    steps = network.config.timesteps
    drive = torch.randn(steps, 5, *TASK.image_shape, dtype=torch.float64, generator=draws)
    return Batch(
        drive=drive, labels=torch.arange(5), frozen=0, timesteps=steps, loss=network.config.loss
    )


def gradients(
    network: Network, batch: Batch, state: ForwardContext | None = None
) -> dict[str, Tensor]:
    network.zero_grad(set_to_none=True)
    TIME_RULES[network.config.time_rule](
        network, batch, state or ForwardContext(), apply=lambda: None
    )
    return {n: p.grad.clone() for n, p in network.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("threshold", [0.7, 1.0, 1.3])
@pytest.mark.parametrize("steps", [1, 6, 40])
def test_one_hidden_layer_has_the_closed_form(threshold: float, steps: int) -> None:
    """The released rule solved by hand for one hidden layer.

    delta[t] = kappa / threshold * back if the neuron fires at t or later, else 0.
    """
    network = network_of(
        backbone="mlp", width=40, head_hidden=0, threshold=threshold, timesteps=steps, leak=0.95
    )
    batch = batch_of(network)
    ours = gradients(network, batch)

    layer = layers_of(network)[0]
    weight, out = layer.sources[0].weight.detach(), connections_of(network)[1].weight.detach()
    x, v, fired = batch.drive.flatten(2), torch.zeros(5, 40, dtype=torch.float64), []
    held = torch.zeros(5, 10, dtype=torch.float64)
    for now in x:
        v = v + now @ weight.T
        fired.append((v > threshold).double())
        v = 0.95 * torch.where(v > threshold, 0.0, v)
        held = 0.9 * (held + fired[-1] @ out.T)
    assert 0 < torch.stack(fired).mean() < 0.9
    trace = sum(0.95 ** (steps - 1 - t) * s for t, s in enumerate(fired))
    assert isinstance(trace, Tensor)
    count = torch.stack(fired).sum(dim=0)
    kappa = (trace > 1e-3) + math.log(0.95) * trace / count.clamp(min=1)
    error = 2 * (held / steps - F.one_hot(batch.labels, 10)) / steps
    delta = [
        kappa / threshold * (error @ out) * (torch.stack(fired[t:]).sum(dim=0) > 0)
        for t in range(steps)
    ]
    by_hand = {
        "blocks.0.units.0.layer.connections.0.weight": sum(
            d.T @ now for d, now in zip(delta, x, strict=True)
        ),
        "blocks.0.units.0.layer.bias": torch.stack(delta).sum(dim=(0, 1)),
        "blocks.0.head.readout.connections.weight": error.T @ count,
        "blocks.0.head.readout.bias": steps * error.sum(dim=0),
    }
    assert ours.keys() == by_hand.keys()
    for name, grad in by_hand.items():
        assert isinstance(grad, Tensor)
        assert (ours[name] - grad).abs().max() < 1e-12 * max(1, float(grad.abs().max())), name


class _Passed(torch.autograd.Function):
    """A spike above 0; the error passes where there was one."""

    @staticmethod
    def forward(ctx: Any, excess: Tensor) -> Tensor:
        ctx.save_for_backward(excess)
        return (excess > 0).to(excess)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (excess,) = ctx.saved_tensors
        return grad * (excess > 0)


class Restated:
    """The released semantics with autograd alone: stop-gradients and hooks, step by step."""

    def __init__(self) -> None:
        self.hooks: list[tuple[Tensor, list[Tensor], float]] = []

    def __call__(self, layer: Layer, current: Tensor, v: Tensor | None) -> tuple[Tensor, Tensor]:
        threshold, leak = layer.lif.threshold, layer.lif.leak
        v, fired, trace = torch.zeros_like(current[0]), [], torch.zeros_like(current[0])
        for x in current:
            v = v + x
            excess = F.threshold(v, threshold, 0.0)
            v = v - excess
            spikes = _Passed.apply(excess)
            if not isinstance(layer, PoolNeurons):
                v = leak * v.detach() + v - v.detach()
                spikes = spikes.detach() + spikes / threshold - (spikes / threshold).detach()
            trace = leak * trace + spikes.detach()
            fired.append(spikes)
        if not isinstance(layer, PoolNeurons) and current.requires_grad:
            count = torch.stack(fired).detach().sum(dim=0)
            count = count + (count < 1e-3)
            kappa = (trace > 1e-3).to(trace) + math.log(leak) * trace / count
            for spikes in fired:
                spikes.register_hook(lambda grad, kappa=kappa: grad * kappa)
        return torch.stack(fired), v


@pytest.mark.parametrize(
    "architecture",
    [
        "c1wp c2wp c4w",
        "c1wp r2w r4w/2",
        "c1wp r2w r4w/2 r8w r8w/2i",
        "c2w b2w/2i s9p b8",
        "d1w d1w",
    ],
)
@pytest.mark.parametrize("pooling", ["average", "spiking"])
@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_networks_have_the_gradient_of_the_released_semantics(
    architecture: str, pooling: str, dropout: float
) -> None:
    network = network_of(
        architecture=architecture,
        width=6,
        head_hidden=12,
        timesteps=8,
        threshold=0.8,
        pooling=pooling,
        dropout=dropout,
    )
    batch = batch_of(network)
    ours = gradients(network, batch, ForwardContext(generator=torch.Generator().manual_seed(2)))

    network.zero_grad(set_to_none=True)
    state = ForwardContext(generator=torch.Generator().manual_seed(2), fire=Restated())
    outputs = network.run(batch.drive, state, timesteps=8)
    held = torch.zeros(5, 10, dtype=torch.float64)
    for x in outputs.logits[0]:
        held = held + x
        held = 0.9 * held.detach() + held - held.detach()
    loss = F.mse_loss(held / 8, F.one_hot(batch.labels, 10).double(), reduction="sum")
    loss.backward()  # type: ignore[no-untyped-call]
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None
        scale = max(1.0, float(parameter.grad.abs().max()))
        assert (ours[name] - parameter.grad).abs().max() < 1e-12 * scale, name
    assert ours["blocks.0.units.0.layer.connections.0.weight"].abs().max() > 1e-3


def test_neurons_of_the_rule_fire_above_the_threshold_and_not_at_it() -> None:
    current = torch.ones(3, 1, 1)
    strict = network_of(backbone="mlp", width=1, leak=0.99).block(0)
    plain = network_of(backbone="mlp", width=1, time_rule="bptt").block(0)
    assert layers_of(strict)[0].lif(current, None)[0].flatten().tolist() == [0, 1, 0]
    assert layers_of(plain)[0].lif(current, None)[0].flatten().tolist() == [1, 1, 1]


def test_pooling_neurons_keep_their_charge_and_fire_above_three_quarters() -> None:
    network = network_of(backbone="vgg5", width=1, pooling="spiking", time_rule="bptt")
    (pool, *_) = [layer for layer in layers_of(network) if isinstance(layer, PoolNeurons)]
    spikes, left = pool.lif(torch.tensor([0.25, 0.5, 0.25, 1.0, 0.0]).view(5, 1, 1), None)
    assert spikes.flatten().tolist() == [0, 0, 1, 1, 0]
    assert left.item() == 0


def test_pooling_neurons_cost_an_accumulate_per_spike_that_arrives() -> None:
    network = network_of(backbone="vgg5", width=4, pooling="spiking").eval()
    counter, batch = OperationCounter(), batch_of(network)
    with torch.no_grad():
        network.run(batch.drive, ForwardContext(observer=counter), timesteps=4)
    layers = layers_of(network)
    names = [layer.name for layer in layers]
    first, pool, second = (layers[names.index(n)] for n in ("unit1", "unit1.pool", "unit2"))
    fired = torch.cat(counter.spikes[first])
    assert fired.sum() > 0
    assert torch.allclose(torch.cat(counter.accumulates[pool]), fired)
    # what comes out are spikes, each worth as many additions as the next layer has for it
    into = torch.cat(counter.accumulates[second])
    assert (into <= torch.cat(counter.spikes[pool]) * second.sources[0].weight[:, 0].numel()).all()
    assert network.block(0).source.spikes_per_unit == 1


@pytest.mark.parametrize("leak", [1.0, 0.9])
def test_readouts_leak_after_their_input(leak: float, draws: torch.Generator) -> None:
    inputs = torch.randn(7, 3, 4, dtype=torch.float64, generator=draws)
    held, states = torch.zeros(3, 4, dtype=torch.float64), integrated_each_step(inputs, leak=leak)
    for step, x in enumerate(inputs, start=1):
        held = leak * (held + x)
        assert (integrated(inputs, leak=leak, steps=step) - held / step).abs().max() < 1e-14
        assert (states[step - 1] - held / step).abs().max() < 1e-14


@pytest.mark.parametrize("rule", ["bptt", "spike-bp"])
def test_squared_errors_and_pooling_neurons_train(rule: str) -> None:
    config = RunConfig(
        backbone="vgg5",
        partition="1+1",
        width=8,
        head_hidden=16,
        timesteps=6,
        time_rule=rule,
        reset="hard",
        leak=0.95,
        readout_leak=0.95,
        pooling="spiking",
        loss="squared-error",
        epochs=4,
    )
    measured = list(Training(config, split_of(config)))
    for block in (1, 2):
        losses = [m.loss for m in measured if m.block == block]
        assert losses[-1] < 0.9 * losses[0]
        assert measured[4 * block - 1].accuracy > 0.4
