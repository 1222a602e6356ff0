"""Training: from a run config to measurements, epoch by epoch, and a network.

Block-local training (BlocTrain, Srinivasan & Roy 2021) is a schedule of stages:
each trains one block and its exit head behind the blocks before it, which are
folded and run without a graph. End-to-end training is the same with one stage
that holds all blocks and averages the losses of their exits.
"""

import copy
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor

from snn.data.dataset import Split
from snn.network.blocks import Block
from snn.network.network import Network, Task
from snn.network.trained import History, Trained
from snn.settings import prefix
from snn.settings.config import RunConfig
from snn.settings.measurement import Measurement
from snn.training import block_lineage
from snn.training.block_cache import BlockCache, Entry
from snn.training.environment import fingerprint, origin_of
from snn.training.examples import Examples, examples_behind
from snn.training.routing import route
from snn.training.stage import DivergedError, Stage, deterministic

__all__ = ["DivergedError", "Training", "train"]


class Training:
    """Iterate to train: one measurement per epoch; stop iterating to stop training.

    Once exhausted, `network` holds the trained blocks in the form in which they
    are evaluated and stored. Blocks that are trained one after another are
    taken from `cache` where it has them, which gives the same network bit for
    bit, and kept there. Raises DivergedError when the loss is not finite.
    """

    def __init__(
        self,
        config: RunConfig,
        split: Split,
        *,
        device: str = "cpu",
        cache: BlockCache | None = None,
    ) -> None:
        self.config, self.split, self.device = config, split, device
        self.cache = cache if prefix.is_chain(config) else None
        self.task = Task(image_shape=split.image_shape, classes=split.classes)
        self.network = Network(config, self.task)
        self.training_s: list[float] = []  # per stage
        self.memory_bytes: list[int] = []  # per stage
        self.parameters: list[int] = []  # per block
        self.epochs_reused = 0  # of blocks that came from the cache
        self._origin = origin_of(split, device)
        self._open: Stage | _Taken | None = None  # the stage whose epochs are being yielded

    @property
    def trained(self) -> Trained:
        """The network with its history, once training is over."""
        history = History(
            memory_bytes=tuple(self.memory_bytes),
            training_s=tuple(self.training_s),
            parameters=tuple(self.parameters),
            origin=fingerprint(self._origin),
        )
        return Trained(network=self.network, history=history)

    def snapshot(self) -> Trained:
        """The network as it is after the epoch just yielded, for `snn.evaluation.evaluate`.

        The blocks that are done, and a folded copy of those being trained: of blocks
        trained one after another a network of its own depth, with the config that
        is cut to it (`RunConfig.prefix`). Training goes on as if nothing had been asked.
        A block from the cache is the finished one, whichever of its epochs was
        yielded. Once training is over, the same as `trained`. Raises ValueError
        before the first epoch.
        """
        stage = self._open
        if stage is None:
            if not self.network.blocks:
                raise ValueError("nothing has been trained yet: iterate first")
            return self.trained
        blocks = [*self.network.blocks, *stage.fold_for_inference()]
        network = Network(self.config.prefix(len(blocks)), self.task)
        network.blocks.extend(blocks)
        history = History(
            memory_bytes=(*self.memory_bytes, stage.memory_bytes),
            training_s=(*self.training_s, stage.training_s),
            parameters=(*self.parameters, *stage.parameters),
            origin=fingerprint(self._origin),
        )
        return Trained(network=network.eval(), history=history)

    def __iter__(self) -> Iterator[Measurement]:
        classes: Sequence[int] = range(self.task.classes)
        while len(self.network.blocks) < self.config.exits:
            description = block_lineage.describe(self.network, classes, self._origin)
            entry = self.cache.get(description) if self.cache is not None else None
            if entry is None:
                yield from self._train(classes, description)
            else:
                yield from self._take(classes, entry)
            if self.config.block_classes == "hard":
                classes = self.network.block(len(self.network.blocks) - 1).head.hard
                if len(classes) < 2:  # nothing left to tell apart
                    return

    def _train(self, classes: Sequence[int], description: dict[str, Any]) -> Iterator[Measurement]:
        """Train the next stage, and keep its block."""
        stage = Stage(self.network, self.split, classes, device=self.device)
        self._open = stage
        measurements = []
        for measurement in stage.epochs(self._epochs_before):
            measurements.append(measurement)
            yield replace(measurement, epochs_reused=self.epochs_reused)
        confusions = stage.confusions()
        folded = stage.fold_for_inference()
        self.memory_bytes.append(stage.memory_bytes)
        self.parameters.extend(stage.parameters)
        if self.cache is not None:
            entry = Entry(
                description=description,
                tensors=block_lineage.tensors_of(folded[0], confusions[0]),
                measurements=tuple(measurements),
                training_s=stage.training_s,
                memory_bytes=stage.memory_bytes,
                parameters=stage.parameters[0],
            )
            self.cache.put(entry)
        self._close(folded, confusions, lambda: stage.examples, training_s=stage.training_s)

    def _take(self, classes: Sequence[int], entry: Entry) -> Iterator[Measurement]:
        """The next block as it was trained before, with the history of that training."""
        index, before = len(self.network.blocks), self._epochs_before
        block, confusion = block_lineage.rebuild(self.network, classes, entry)
        block.to(self.device)
        self._open = _Taken(block, entry)
        for measurement in entry.measurements:
            self.epochs_reused += 1
            yield replace(
                measurement,
                block=index + 1 if self.config.stages > 1 else 0,
                epochs_done=before + measurement.epoch,
                epochs_total=self.config.total_epochs,
                is_reused=True,
                epochs_reused=self.epochs_reused,
            )
        self.memory_bytes.append(entry.memory_bytes)
        self.parameters.append(entry.parameters)
        self._close(
            [block],
            [confusion],
            lambda: examples_behind(self.network, self.split, classes)[0],
            training_s=entry.training_s,
        )

    @property
    def _epochs_before(self) -> int:
        """Epochs of the stages that are done."""
        return self.config.epochs * len(self.training_s)

    def _close(
        self,
        folded: Sequence[Block],
        confusions: Sequence[Tensor],
        examples: Callable[[], Examples],
        *,
        training_s: float,
    ) -> None:
        """Decide what follows the blocks, and let them follow those that are done."""
        started = time.perf_counter()
        with deterministic():
            route(self.network, folded, confusions, examples, device=self.device)
        self.training_s.append(training_s + time.perf_counter() - started)
        self.network.blocks.extend(folded)
        self._open = None


class _Taken:
    """A stage that was trained before: what a snapshot asks of any stage."""

    def __init__(self, block: Block, entry: Entry) -> None:
        self.memory_bytes, self.training_s = entry.memory_bytes, entry.training_s
        self.parameters = [entry.parameters]
        self._block = block

    def fold_for_inference(self) -> list[Block]:
        """A copy of the block, which was folded when it was kept."""
        return [copy.deepcopy(self._block)]


def train(config: RunConfig, split: Split, *, device: str = "cpu") -> Training:
    """A training that runs as it is iterated."""
    return Training(config, split, device=device)
