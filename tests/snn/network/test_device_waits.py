"""A training step never waits for its device: nothing is read back, nothing copied over.

Held on the meta device, whose tensors have no values: code that reads one, or
copies one to the host, fails. A copy to it would not fail, so copies are
watched for as well.
"""

import dataclasses
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import snn.rewiring.deep_r
import snn.training.stage
from snn.network.network import Network, Task
from snn.network.neurons import Lif
from snn.network.seeding import generator
from snn.settings.config import RunConfig
from snn.training.examples import Examples
from snn.training.stage import Stage
from tests.snn.training.test_train import split_of

IMAGES = 8
SMALL = RunConfig(
    width=2,
    partition="1+1+1",
    head_hidden=8,
    timesteps=3,
    train_images=64,
    batch_size=IMAGES,
    epochs=1,
    dropout=0.1,
    augmentation="crop-flip",
)
STEPS = {
    "bptt": SMALL,
    "packed": SMALL.replace(memory_mode="packed"),
    "checkpointed": SMALL.replace(memory_mode="checkpointed"),
    "parts": SMALL.replace(micro_batch=4),
    "half": SMALL.replace(precision="bfloat16"),
    "learned": SMALL.replace(neuron="learned"),
    "individual": SMALL.replace(neuron="individual"),
    "max": SMALL.replace(pooling="max", readout="spiking", votes=2),
    "each-step": SMALL.replace(loss="each-step", readout_leak=0.9),
    "batch-norm": SMALL.replace(norm="batch-over-time"),
    "feedback": SMALL.replace(feedback="last-to-first"),
    "poisson": SMALL.replace(encoding="poisson"),
    "spike-bp": SMALL.replace(time_rule="spike-bp", reset="hard", leak=0.9, pooling="spiking"),
    "ottt-a": SMALL.replace(time_rule="ottt-a"),
    "ottt-o": SMALL.replace(time_rule="ottt-o"),
    "saf-e": SMALL.replace(time_rule="saf-e"),
    "saf-f": SMALL.replace(time_rule="saf-f"),
    "dsr": SMALL.replace(time_rule="dsr"),
    "closed-loop": SMALL.replace(target_sparsity=0.9, weight_decay=1e-3),
    "open-loop": SMALL.replace(target_sparsity=0.9, rewiring="open-loop"),
    "deep-r": SMALL.replace(target_sparsity=0.9, rewiring="deep-r"),
    "deep-r-soft": SMALL.replace(target_sparsity=0.9, rewiring="deep-r-soft"),
    "magnitude": SMALL.replace(target_sparsity=0.9, rewiring="magnitude"),
    "stds": SMALL.replace(target_sparsity=0.9, rewiring="stds", optimizer="sgd"),
}


class Copies(TorchDispatchMode):
    """Fails at a copy from the host to the device, for which the host would wait."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if func in (torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default):
            given = [x for x in tree_leaves((args, out)) if isinstance(x, torch.Tensor)]
            assert len({x.is_meta for x in given}) == 1, "copied between host and device"
        return out

    def __enter__(self) -> "Copies":
        self._tensor = torch.tensor
        torch.tensor = self._made  # copies what it is given, unseen by dispatch
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)  # type: ignore[no-untyped-call]
        torch.tensor = self._tensor

    def _made(self, values: Any, **kinds: Any) -> torch.Tensor:
        assert str(kinds.get("device", "cpu")) != "meta", "copied between host and device"
        return self._tensor(values, **kinds)


def without_values(stage: Stage) -> Examples:
    """Moves a stage to the meta device; the examples to take batches of there."""
    for block in stage.live:
        block.to("meta")
    parameters = [p for block in stage.live for p in block.parameters()]
    stage.optimizer = snn.training.stage._optimizer(stage.config, parameters)
    ours = stage.examples
    split = dataclasses.replace(
        ours.split, mean=ours.split.mean.to("meta"), std=ours.split.std.to("meta")
    )
    return dataclasses.replace(
        ours, split=split, images=ours.images.to("meta"), labels=ours.labels.to("meta")
    )


@pytest.mark.parametrize("name", STEPS)
def test_a_training_step_reads_nothing_back(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    config = STEPS[name].replace(rewiring_every=1, partition="3")
    split = split_of(config)
    stage = Stage(
        Network(config, Task(image_shape=split.image_shape, classes=split.classes)),
        split,
        range(10),
        device="cpu",
    )
    examples = without_values(stage)
    draws = torch.Generator()  # there is none for meta tensors, which draw nothing
    monkeypatch.setattr(snn.rewiring.deep_r, "generator", lambda *args: generator(*args[:3], "cpu"))
    stage.runner.train()
    stage.draws = draws
    before = stage.step
    with snn.training.stage.deterministic(), Copies():
        for _ in range(2):
            index = torch.empty(IMAGES, dtype=torch.int64, device="meta")
            batch = examples.batch(index, draws, augmentation=config.augmentation)
            result = stage._train_batch(batch, steps=6)
    assert stage.step >= before + 2
    assert result.loss.is_meta
    assert result.correct.is_meta


@pytest.mark.parametrize("strict", [False, True])
def test_one_learned_constant_beside_one_that_is_set(strict: bool) -> None:
    current = torch.empty(3, 4, 5, device="meta", requires_grad=True)
    leak = torch.empty((), device="meta", requires_grad=True)
    with Copies():
        spikes, left = Lif(strict=strict)(current, None, leak=leak)
        grads = torch.autograd.grad(spikes.sum(), (current, leak))
    assert left.shape == current.shape[1:]
    assert [grad.shape for grad in grads] == [current.shape, leak.shape]


def test_reading_a_value_back_is_noticed() -> None:
    with pytest.raises((RuntimeError, NotImplementedError)):
        torch.empty((), device="meta").item()
    with pytest.raises(AssertionError, match="copied"), Copies():
        torch.zeros(()).to("meta")
    with pytest.raises(AssertionError, match="copied"), Copies():
        torch.tensor([1.0, 2.0], device="meta")
    assert torch.tensor([1.0]).item() == 1
