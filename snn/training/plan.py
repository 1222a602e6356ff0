"""Cost estimate of a run, from one training step on meta tensors (shapes without data)."""

import contextlib
import copy
import functools
import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from snn.data.encoding import CONSTANT
from snn.network.blocks import Block, build_block, connections_of, layers_of
from snn.network.connections import Connections
from snn.network.cost import OPTIMIZER_COPIES, SavedBytes, fan_out, held_bytes, parameter_count
from snn.network.layers import ForwardContext, Layer
from snn.network.network import Network, Task, input_signal
from snn.rewiring import make_rewirer
from snn.rules import Batch, learn
from snn.settings.config import RunConfig
from snn.settings.declared.optimization import MEMORY_MODES
from snn.training.precision import settled

COMPILER = "torch._dynamo"


@contextlib.contextmanager
def _without_compiler() -> Iterator[None]:
    """Run operations on meta tensors without torch's compiler, which takes long to load.

    Torch loads it for one function, `disable`, which keeps functions out of compilations.
    """
    if COMPILER in sys.modules:
        yield
        return
    stand_in = ModuleType(COMPILER)
    stand_in.__dict__["disable"] = lambda function, *_, **__: function
    sys.modules[COMPILER] = torch.__dict__["_dynamo"] = stand_in
    try:
        yield
    finally:
        del sys.modules[COMPILER], torch.__dict__["_dynamo"]


class LiveBytes(TorchDispatchMode):
    """Context that measures the peak of the bytes of all live tensors.

    `existing` are the tensors created before. Storages count once. Only outputs of operations
    are visible, not memory that an operation uses internally.
    """

    def __init__(self, existing: Sequence[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.peak = self._now = 0
        self._alive: dict[int, tuple[StorageWeakRef, int]] = {}
        for tensor in existing:
            self._add(tensor)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the operation, and count its outputs."""
        out = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(out):
            if isinstance(leaf, Tensor):
                self._add(leaf)
        return out

    def _add(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key = int(storage._cdata)
        if key in self._alive and not self._alive[key][0].expired():
            return
        if key in self._alive:
            self._now -= self._alive.pop(key)[1]
        self._alive[key] = (StorageWeakRef(storage), storage.nbytes())
        self._now += storage.nbytes()
        if self._now > self.peak:  # only then do freed storages have to be subtracted
            freed = [key for key, (ref, _) in self._alive.items() if ref.expired()]
            for other in freed:
                self._now -= self._alive.pop(other)[1]
            self.peak = max(self.peak, self._now)


@dataclass(frozen=True, kw_only=True)
class StageMemory:
    """Memory estimate of one training stage, in bytes."""

    mode: str  # memory mode as in RunConfig, but never "auto"
    kept: int  # saved for the backward pass
    held: int  # weights, gradients, optimizer state
    measure_peak: Callable[[], int] = field(repr=False, compare=False)

    @functools.cached_property
    def peak(self) -> int:
        """Everything alive in a step: kept, held and temporary tensors. Takes another step."""
        return self.measure_peak()

    @property
    def training_memory_bytes(self) -> int:
        """The metric `training_memory_bytes` of the stage."""
        return self.kept + self.held


@dataclass(frozen=True, kw_only=True)
class CostEstimate:
    """Cost estimate of a run before training."""

    parameters: int
    model_bytes: int  # with all connections
    stages: tuple[StageMemory, ...]  # in the order of training
    macs_per_image: float  # as if every input were non-zero: all timesteps, all blocks
    layers: int  # spiking layers
    seconds: float  # time the estimate took

    @property
    def stage_memory_bytes(self) -> tuple[int, ...]:
        """Training memory of each stage."""
        return tuple(need.training_memory_bytes for need in self.stages)

    @property
    def training_memory_bytes(self) -> int:
        """Training memory of the stage that needs most."""
        return max(self.stage_memory_bytes)

    @property
    def peak_bytes(self) -> int:
        """Peak memory of the stage that needs most."""
        return max(need.peak for need in self.stages)


@dataclass(frozen=True, kw_only=True)
class LowerBound:
    """Lower bounds of the smallest network of a run, before training."""

    parameters: int
    model_bytes: int | None  # None if connections are removed
    training_memory_bytes: int | None  # None if not asked for


def lower_bound(config: RunConfig, task: Task, *, images: int, memory: bool = True) -> LowerBound:
    """Return the bounds of the first block if blocks are trained one after another, else of all.

    `images`: number of training images, at least.
    """
    config = with_real_batch(settled(config, "cpu")[0], images)
    blocks = _fresh_blocks(config, task)
    first = blocks if config.stages == 1 else blocks[:1]
    weights = [conn.weight.numel() for block in first for conn in connections_of(block)]
    need = stage_memory(config, task, first, frozen=0) if memory else None
    return LowerBound(
        parameters=sum(parameter_count(block) for block in first),
        model_bytes=4 * sum(weights) if config.of_block(0).target_sparsity == 0 else None,
        training_memory_bytes=None if need is None else need.training_memory_bytes,
    )


@_without_compiler()
def plan(config: RunConfig, task: Task, *, images: int | None = None) -> CostEstimate:
    """Return the cost estimate of a run, from one training step per stage on meta tensors.

    `images`: number of training images, if known; a batch holds no more. Precision `auto` is
    that of the processor.
    """
    config = with_real_batch(settled(config, "cpu")[0], images)
    started = time.perf_counter()
    blocks = _fresh_blocks(config, task)
    stages = [blocks] if config.stages == 1 else [[block] for block in blocks]
    needs, done = [], 0
    for live in stages:
        needs.append(stage_memory(config, task, blocks[: done + len(live)], frozen=done))
        done += len(live)
    return CostEstimate(
        parameters=sum(parameter_count(block) for block in blocks),
        model_bytes=sum(4 * parameter_count(block) for block in blocks),
        stages=tuple(needs),
        macs_per_image=config.timesteps * _dense_macs(config, task, blocks),
        layers=sum(len(layers_of(block)) for block in blocks),
        seconds=time.perf_counter() - started,
    )


def with_real_batch(config: RunConfig, images: int | None) -> RunConfig:
    """Return the config with the batch size that the number of training images allows."""
    limits = [n for n in (images, config.train_images) if n]
    least = 2 if config.norm == "batch-over-time" else 1
    return config.replace(batch_size=max(min([config.batch_size, *limits]), least))


def _fresh_blocks(config: RunConfig, task: Task) -> list[Block]:
    blocks: list[Block] = []
    signal = input_signal(config, task)
    for index in range(config.exits):
        blocks.append(build_block(config, index, signal, range(task.classes)))
        signal = blocks[-1].signal
    # together as in training, unless blocks have targets of their own
    own = isinstance(config.target_sparsity, tuple)
    for index, live in enumerate([[block] for block in blocks] if own else [blocks]):
        connections = [conn for block in live for conn in connections_of(block)]
        make_rewirer(connections, config.of_block(index))
    return blocks


def _drive(config: RunConfig, task: Task, images: int, device: str) -> Tensor:
    steps = 1 if config.encoding in CONSTANT else config.timesteps
    return torch.zeros(steps, images, *input_signal(config, task).shape, device=device)


def _pixels(config: RunConfig, task: Task) -> Tensor:
    return torch.zeros(config.batch_size, math.prod(task.image_shape), device="meta")


@_without_compiler()
def stage_memory(
    config: RunConfig, task: Task, blocks: Sequence[Block], *, frozen: int
) -> StageMemory:
    """Return the memory to train the blocks after the first `frozen`, in the config's mode.

    `auto` is the first mode whose peak is within the limit, or else the mode with the lowest
    peak.
    """
    if config.memory_mode != "auto":
        return _memory(config, task, blocks, frozen, config.memory_mode)
    estimates = []
    for mode in _modes(config):
        memory = _memory(config, task, blocks, frozen, mode)
        if config.memory_limit_mb == 0 or memory.peak <= config.memory_limit_mb * 10**6:
            return memory
        estimates.append(memory)
    return min(estimates, key=lambda memory: memory.peak)


def _modes(config: RunConfig) -> list[str]:
    modes = [mode for mode in MEMORY_MODES if mode != "auto"]
    if config.time_rule != "bptt":
        return modes[:1]
    if config.norm == "batch-over-time":
        modes.remove("checkpointed")
    return modes


def _memory(
    config: RunConfig, task: Task, blocks: Sequence[Block], frozen: int, mode: str
) -> StageMemory:
    network = Network(config.of_block(frozen), task)
    network.memory_mode = mode
    network.blocks.extend(copy.deepcopy(list(blocks)))
    network.to("meta").train()
    still, live = list(network.blocks)[:frozen], nn.ModuleList(list(network.blocks)[frozen:])
    for block in still:
        block.requires_grad_(False)
    batch = Batch(
        drive=_drive(config, task, config.batch_size, "meta"),
        labels=torch.zeros(config.batch_size, dtype=torch.int64, device="meta"),
        frozen=frozen,
        timesteps=config.timesteps,
        loss=config.loss,
        pixels=_pixels(config, task) if config.decoder_target == "image" else None,
    )
    existing = [*network.parameters(), *network.buffers(), batch.drive, batch.labels]
    with SavedBytes(list(network.parameters())) as saved:
        result = learn(network, batch, ForwardContext(), apply=lambda: None)
    kept = saved.peak + saved.unsaved_bytes(result.held)
    del result
    network.zero_grad(set_to_none=True)
    held = held_bytes(live, still, optimizer=config.optimizer)

    @_without_compiler()
    def measure_peak() -> int:
        with LiveBytes(existing) as alive:  # a second step: SavedBytes delays their release
            learn(network, batch, ForwardContext(), apply=lambda: None)
        # the step created gradients, but no optimizer state
        trained = sum(p.numel() * p.element_size() for p in live.parameters())
        peak: int = alive.peak + OPTIMIZER_COPIES[config.optimizer] * trained
        return peak

    return StageMemory(mode=mode, kept=kept, held=held, measure_peak=measure_peak)


class _MacCounter:
    """Observer that counts multiply-accumulates of one timestep as if every input were real."""

    def __init__(self) -> None:
        self.total = 0.0

    def layer(self, layer: Layer, inputs: Sequence[Tensor], spikes: Tensor) -> None:
        del spikes
        for conn, x in zip(layer.sources, inputs, strict=False):
            self.readout(conn, x)

    def readout(self, connections: Connections, inputs: Tensor) -> None:
        self.total += float(fan_out(connections, inputs.shape[2:]).sum()) / connections.steps


def _dense_macs(config: RunConfig, task: Task, blocks: Sequence[Block]) -> float:
    counter = _MacCounter()
    network = Network(config, task)
    network.blocks.extend(blocks)
    network.eval()
    with torch.no_grad():
        network.run(
            _drive(config, task, 1, "cpu")[:1], ForwardContext(observer=counter), timesteps=1
        )
    return counter.total
