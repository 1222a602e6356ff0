"""Training: from a run config to one measurement per epoch, and a network.

Block-local training (BlocTrain, Srinivasan & Roy 2021) is a schedule of stages. Each stage
trains one block and its exit head; the blocks before it are folded and run without a graph.
End-to-end training has one stage with all blocks and averages the losses of their exits.
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
from snn.training import block_key
from snn.training.block_cache import BlockCache, Entry
from snn.training.environment import environment_of, fingerprint
from snn.training.examples import Examples, examples_after
from snn.training.precision import settled
from snn.training.routing import route
from snn.training.stage import DivergedError, Stage, deterministic

__all__ = ["DivergedError", "Training"]


class Training:
    """Iterate to train: one measurement per epoch; stop iterating to stop training.

    After the last epoch, `network` holds the trained blocks, folded for inference. Blocks
    that are trained one after another are stored in `cache`, and taken from it if present,
    which gives the same network bit for bit. `config` is the given one with the number type that
    precision `auto` stands for on the device. Raises DivergedError if the loss is not finite.
    """

    def __init__(
        self,
        config: RunConfig,
        split: Split,
        *,
        device: str = "cpu",
        cache: BlockCache | None = None,
    ) -> None:
        config, _ = settled(config, device)
        self.config, self.split, self.device = config, split, device
        self.cache = cache if prefix.is_chain(config) else None
        self.task = Task(image_shape=split.image_shape, classes=split.classes)
        self.network = Network(config, self.task)
        self.training_s: list[float] = []  # per stage
        self.memory_bytes: list[int] = []  # per stage
        self.parameters: list[int] = []  # per block
        self.epochs_reused = 0  # epochs of blocks from the cache
        self._environment = environment_of(split, device)
        self._present = frozenset(split.train_labels.unique().tolist())
        self._stage: Stage | _CachedStage | None = None  # the stage whose epochs are yielded

    @property
    def trained(self) -> Trained:
        """The network with its history after training."""
        history = self._history(self.memory_bytes, self.training_s, self.parameters)
        return Trained(network=self.network, history=history)

    def _history(
        self, memory_bytes: Sequence[int], training_s: Sequence[float], parameters: Sequence[int]
    ) -> History:
        return History(
            memory_bytes=tuple(memory_bytes),
            training_s=tuple(training_s),
            parameters=tuple(parameters),
            environment=fingerprint(self._environment),
        )

    def snapshot(self) -> Trained:
        """Return the network after the last yielded epoch, for `snn.evaluation.evaluate`.

        It has the finished blocks, and folded copies of the blocks in training. If blocks are
        trained one after another, later blocks are missing, and the config is cut to the
        others (`RunConfig.prefix`). A snapshot does not change the training. A block from the
        cache is the finished one at each of its epochs. After training, the same as
        `trained`. Raises ValueError before the first epoch.
        """
        stage = self._stage
        if stage is None:
            if not self.network.blocks:
                raise ValueError("there is no trained block yet; iterate first")
            return self.trained
        blocks = [*self.network.blocks, *stage.fold_for_inference()]
        network = Network(self.config.prefix(len(blocks)), self.task)
        network.blocks.extend(blocks)
        history = self._history(
            [*self.memory_bytes, stage.memory_bytes],
            [*self.training_s, stage.training_s],
            [*self.parameters, *stage.parameters],
        )
        return Trained(network=network.eval(), history=history)

    def __iter__(self) -> Iterator[Measurement]:
        classes: Sequence[int] = range(self.task.classes)
        while len(self.network.blocks) < self.config.exits:
            description = block_key.describe(self.network, classes, self._environment)
            entry = self.cache.get(description) if self.cache is not None else None
            if entry is None:
                yield from self._train(classes, description)
            else:
                yield from self._reuse(classes, entry)
            if self.config.block_classes == "hard":
                classes = self.network.block(len(self.network.blocks) - 1).head.hard
                if len(classes) < 2:  # nothing left to separate
                    return

    def _train(self, classes: Sequence[int], description: dict[str, Any]) -> Iterator[Measurement]:
        """Train the next stage, and store its block in the cache."""
        stage = Stage(self.network, self.split, classes, device=self.device)
        self._stage = stage
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
                tensors=block_key.tensors_of(folded[0], confusions[0]),
                measurements=tuple(measurements),
                training_s=stage.training_s,
                memory_bytes=stage.memory_bytes,
                parameters=stage.parameters[0],
            )
            self.cache.put(entry)
        self._close(folded, confusions, lambda: stage.examples, training_s=stage.training_s)

    def _reuse(self, classes: Sequence[int], entry: Entry) -> Iterator[Measurement]:
        """Add the next block from the cache; yield the measurements of its training."""
        index, before = len(self.network.blocks), self._epochs_before
        block, confusion = block_key.rebuild(self.network, classes, entry)
        block.to(self.device)
        self._stage = _CachedStage(block, entry)
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
            lambda: examples_after(self.network, self.split, classes)[0],
            training_s=entry.training_s,
        )

    @property
    def _epochs_before(self) -> int:
        """Epochs of the finished stages."""
        return self.config.epochs * len(self.training_s)

    def _close(
        self,
        folded: Sequence[Block],
        confusions: Sequence[Tensor],
        examples: Callable[[], Examples],
        *,
        training_s: float,
    ) -> None:
        """Route the classes after the blocks, and add the blocks to the network."""
        started = time.perf_counter()
        with deterministic():
            route(
                self.network,
                folded,
                confusions,
                examples,
                present=self._present,
                device=self.device,
            )
        self.training_s.append(training_s + time.perf_counter() - started)
        self.network.blocks.extend(folded)
        self._stage = None


class _CachedStage:
    """A stage from the cache, with the attributes that `snapshot` reads."""

    def __init__(self, block: Block, entry: Entry) -> None:
        self.memory_bytes, self.training_s = entry.memory_bytes, entry.training_s
        self.parameters = [entry.parameters]
        self._block = block

    def fold_for_inference(self) -> list[Block]:
        """Return a copy of the block, which was stored folded."""
        return [copy.deepcopy(self._block)]
