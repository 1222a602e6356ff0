"""A batch taken in parts has the gradient of the whole."""

from typing import Any

import pytest
import torch

from snn.network.blocks import connections_of
from snn.network.layers import ForwardContext
from snn.network.network import Network, Task
from snn.rules import Batch, learn
from snn.settings.config import RunConfig
from tests.snn.network.test_network import fresh
from tests.snn.rules.test_rules import TASK

RULES: dict[str, dict[str, Any]] = {
    "bptt": {},
    "bptt-each-step": {"loss": "each-step"},
    "bptt-squared-error": {"loss": "squared-error"},
    "bptt-leaky-readout": {"readout_leak": 0.9},
    "bptt-class-neurons": {"readout": "spiking", "votes": 2},
    "bptt-checkpointed": {"memory_mode": "checkpointed"},
    "bptt-packed": {"memory_mode": "packed"},
    "spike-bp": {"time_rule": "spike-bp", "reset": "hard"},
    "ottt-a": {"time_rule": "ottt-a"},
    "saf-f": {"time_rule": "saf-f"},
    "dsr": {"time_rule": "dsr"},
}


def network_of(changes: dict[str, Any]) -> Network:
    values = {"backbone": "vgg5", "width": 4, "timesteps": 5, "head_hidden": 12, **changes}
    return fresh(RunConfig(**values), TASK).double().train()


def step(network: Network, size: int) -> tuple[list[torch.Tensor], float, int, int]:
    """Gradients, loss and right answers of one batch of 7, and the optimizer steps made."""
    network.config = network.config.replace(micro_batch=size)
    draws = torch.Generator().manual_seed(1)
    drive = torch.randn(1, 7, *TASK.image_shape, dtype=torch.float64, generator=draws)
    batch = Batch(
        drive=drive, labels=torch.arange(7), frozen=0, timesteps=5, loss=network.config.loss
    )
    network.zero_grad(set_to_none=True)
    steps: list[int] = []
    result = learn(network, batch, ForwardContext(), apply=lambda: steps.append(1))
    grads = [p.grad.clone() for p in network.parameters() if p.grad is not None]
    return grads, float(result.loss), int(result.correct), len(steps)


@pytest.mark.parametrize("changes", RULES.values(), ids=RULES)
@pytest.mark.parametrize("size", [1, 3])
def test_parts_add_up_to_the_whole(changes: dict[str, Any], size: int) -> None:
    network = network_of(changes)
    whole, loss, correct, _ = step(network, 7)
    parts, loss_of_parts, correct_of_parts, steps = step(network, size)
    assert steps == 1
    assert correct_of_parts == correct
    assert loss_of_parts == pytest.approx(loss, rel=1e-12)
    assert len(parts) == len(whole)
    scale = max(float(grad.abs().max()) for grad in whole)
    for ours, theirs in zip(parts, whole, strict=True):
        assert float((ours - theirs).abs().max()) / scale < 1e-12


@pytest.mark.parametrize("rule", ["ottt-o", "saf-e"])
def test_rules_that_learn_on_the_way_get_the_batch_undivided(rule: str) -> None:
    network = network_of({"time_rule": rule})
    assert step(network, 0)[3] == 5  # one step per timestep, not per part


def test_batch_statistics_are_of_the_whole_batch() -> None:
    config = RunConfig(norm="batch-over-time", width=400, batch_size=256)
    assert fresh(config, TASK).micro_batch == 256


def test_large_layers_are_taken_in_small_parts() -> None:
    tasks = (TASK, Task(image_shape=(2, 32, 32), classes=10))
    small, large = (fresh(RunConfig(width=160), task) for task in tasks)
    assert small.micro_batch == RunConfig().batch_size
    assert large.micro_batch < RunConfig().batch_size


def test_what_is_kept_is_that_of_a_part() -> None:
    from snn.training.plan import stage_memory

    config = RunConfig(backbone="vgg5", width=16, timesteps=6, batch_size=64, micro_batch=64)
    network = fresh(config, TASK)
    blocks = [network.block(0)]
    whole = stage_memory(config, TASK, blocks, frozen=0)
    part = stage_memory(config.replace(micro_batch=8), TASK, blocks, frozen=0)
    weights = sum(conn.weight.numel() * 4 for conn in connections_of(network))
    assert part.kept - 2 * weights < (whole.kept - weights) / 6
    assert part.peak < whole.peak
