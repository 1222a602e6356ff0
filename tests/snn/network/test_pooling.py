"""Pools: every neuron in one window, maxima of spikes are spikes, gradients as torch's."""

import pytest
import torch
import torch.nn.functional as F

from snn.network.cost import OperationCounter, SavedBytes
from snn.network.layers import ForwardContext
from snn.network.network import Task
from snn.network.pooling import Size, SpikePool
from snn.settings.config import ConfigError, RunConfig
from tests.snn.network.test_network import fresh

WINDOWS: list[tuple[Size, Size | int]] = [
    ((8, 8), 2),
    ((7, 7), 2),
    ((14, 14), 4),
    ((9, 9), 4),
    ((5, 5), 3),
    ((9, 4), (4, 2)),
    ((7, 1), (2, 1)),
]


@pytest.mark.parametrize(
    ("size", "kernel", "pooled"),
    [
        ((8, 8), 2, (4, 4)),
        ((7, 7), 2, (4, 4)),
        ((14, 14), 4, (4, 4)),
        ((5, 8), 2, (3, 4)),
        ((78, 42), (20, 11), (4, 4)),
        ((700, 1), (175, 1), (4, 1)),
    ],
)
def test_a_pool_takes_every_spike_into_exactly_one_window(
    size: tuple[int, int], kernel: int, pooled: tuple[int, int]
) -> None:
    pool = SpikePool(size, kernel=kernel)
    out = pool(torch.ones(1, 1, 2, *size))
    assert pool.size == pooled
    assert out.shape[-2:] == pooled
    assert out.sum() * pool.spikes_per_unit == pytest.approx(2 * size[0] * size[1], rel=1e-6)


@pytest.mark.parametrize(("size", "kernel"), WINDOWS)
def test_a_maximum_and_its_gradient_are_those_of_torch(
    size: Size, kernel: Size | int, draws: torch.Generator
) -> None:
    """On spikes, where most windows are tied."""
    pool = SpikePool(size, kernel=kernel, pooling="max")
    spikes = (torch.rand(2, 3, 4, *size, generator=draws) < 0.3).double().requires_grad_()
    theirs = F.max_pool2d(spikes.flatten(0, 1), kernel, padding=pool.padding).unflatten(0, (2, 3))
    weights = torch.randn(theirs.shape, generator=draws, dtype=torch.float64)
    (expected,) = torch.autograd.grad((theirs * weights).sum(), spikes)
    ours = pool(spikes)
    (found,) = torch.autograd.grad((ours * weights).sum(), spikes)
    assert torch.equal(ours, theirs)
    assert torch.equal(found, expected)
    assert tuple(ours.shape[-2:]) == pool.size
    assert pool.spikes_per_unit == 1


@pytest.mark.parametrize(("size", "kernel"), WINDOWS)
def test_a_mean_has_the_gradient_of_torch_also_where_it_is_padded(
    size: Size, kernel: Size | int, draws: torch.Generator
) -> None:
    pool = SpikePool(size, kernel=kernel)
    spikes = (torch.rand(2, 3, 4, *size, generator=draws) < 0.3).double().requires_grad_()
    theirs = F.avg_pool2d(spikes.flatten(0, 1), kernel, padding=pool.padding).unflatten(0, (2, 3))
    weights = torch.randn(theirs.shape, generator=draws, dtype=torch.float64)
    (expected,) = torch.autograd.grad((theirs * weights).sum(), spikes)
    ours = pool(spikes)
    (found,) = torch.autograd.grad((ours * weights).sum(), spikes)
    assert torch.equal(ours, theirs)
    assert torch.allclose(found, expected, rtol=1e-15, atol=0)


def test_a_maximum_keeps_a_byte_per_window() -> None:
    spikes = torch.zeros(3, 2, 5, 8, 8, requires_grad=True)
    with SavedBytes([]) as saved:
        graph = SpikePool((8, 8), kernel=2, pooling="max")(spikes)
    assert graph.requires_grad
    assert saved.peak == 3 * 2 * 5 * 4 * 4


def test_after_a_maximum_every_spike_is_one_operation_per_connection(
    draws: torch.Generator,
) -> None:
    """Counted from the spikes that leave the pool, not from those that enter it."""
    config = RunConfig(
        backbone="vgg5", width=4, timesteps=3, head_hidden=0, head_grid=2, pooling="max"
    )
    network = fresh(config, Task(image_shape=(1, 8, 8), classes=10)).eval()
    first, _, third = network.block(0).units
    seen = []
    third.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    counter = OperationCounter()
    drive = torch.randn(1, 6, 1, 8, 8, generator=draws)
    network.run(drive, ForwardContext(observer=counter), timesteps=3)
    (pooled,) = seen
    assert set(pooled.unique().tolist()) == {0.0, 1.0}
    reached = F.conv2d(
        pooled.flatten(0, 1), torch.ones_like(third.layer.sources[0].weight), padding=1
    )
    counted = counter.accumulates[third.layer][0]
    assert torch.equal(counted.sum(), reached.sum().double())
    assert first.signal.spikes_per_unit == 1


@pytest.mark.parametrize("rule", ["ottt-a", "ottt-o", "saf-e", "saf-f"])
def test_a_maximum_is_refused_where_signals_are_not_spikes(rule: str) -> None:
    with pytest.raises(ConfigError, match=r"pooling 'max' is not possible .* use 'average'"):
        RunConfig(time_rule=rule, pooling="max")
