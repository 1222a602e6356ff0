"""Training: from a run config to one measurement per epoch, and a network.

Block-local training (BlocTrain, Srinivasan & Roy 2021) is a schedule of stages. Each stage
trains one block and its exit head; the blocks before it are folded and run without a graph.
End-to-end training has one stage with all blocks and averages the losses of their exits.
"""

import copy
import functools
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
from snn.training import block_key, stage_state
from snn.training.block_cache import BlockCache, Entry
from snn.training.environment import environment_of, fingerprint
from snn.training.examples import Examples, examples_after
from snn.training.precision import settled
from snn.training.routing import route
from snn.training.stage import DivergedError, Stage, deterministic
from snn.training.stage_checkpoint import Checkpoint, Checkpoints

__all__ = ["DivergedError", "Training"]


class Training:
    """Iterate to train: one measurement per epoch; stop iterating to stop training.

    After the last epoch, `network` holds the trained blocks, folded for inference. Blocks
    that are trained one after another are stored in `cache`, and taken from it if present,
    which gives the same network bit for bit. With `checkpoints` the state is written after
    epochs; call `resume` first to continue from it, again with the same bits. `config` is the
    given one with the number type that precision `auto` stands for on the device. Raises
    DivergedError if the loss is not finite.
    """

    def __init__(
        self,
        config: RunConfig,
        split: Split,
        *,
        device: str = "cpu",
        cache: BlockCache | None = None,
        checkpoints: Checkpoints | None = None,
    ) -> None:
        config, _ = settled(config, device)
        self.config, self.split, self.device = config, split, device
        self.cache = cache if prefix.is_chain(config) else None
        self.checkpoints = checkpoints
        self.task = Task(
            image_shape=split.image_shape, classes=split.classes, deviation=split.deviation
        )
        self.network = Network(config, self.task)
        self.training_s: list[float] = []  # per stage
        self.memory_bytes: list[int] = []  # per stage
        self.training_ops: list[float] = []  # per stage
        self.parameters: list[int] = []  # per block
        self.epochs_reused = 0  # epochs of blocks from the cache
        self._environment = environment_of(split, device)
        self._present = frozenset(split.train_labels.unique().tolist())
        self._stage: Stage | _CachedStage | None = None  # the stage whose epochs are yielded
        self._finished: list[Entry] = []  # for checkpoints: of a chain, the blocks of `network`
        self._measurements: list[Measurement] = []  # for checkpoints: all so far

    @property
    def trained(self) -> Trained:
        """The network with its history after training."""
        return Trained(network=self.network, history=self._history(None))

    def _history(self, stage: "Stage | _CachedStage | None") -> History:
        """Return the history of the finished stages, and of one in training."""
        more = [] if stage is None else [stage]
        return History(
            memory_bytes=(*self.memory_bytes, *(part.memory_bytes for part in more)),
            training_s=(*self.training_s, *(part.training_s for part in more)),
            parameters=(*self.parameters, *(n for part in more for n in part.parameters)),
            training_ops=(*self.training_ops, *(part.training_ops for part in more)),
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
        blocks = [*self.network.blocks, *(stage.fold_for_inference() if stage else ())]
        if not blocks:
            raise ValueError("there is no trained block yet; iterate first")
        if self._is_complete:
            return self.trained
        network = Network(self.config.prefix(len(blocks)), self.task)
        network.blocks.extend(blocks)
        return Trained(network=network.eval(), history=self._history(stage))

    def resume(self) -> tuple[Measurement, ...]:
        """Continue from the checkpoint; returns the measurements of the epochs until then.

        These are not yielded again. Empty if the training starts anew. If the cache has got the
        block that was in training, it is taken from there, and the epochs end before it. To be
        called before the first epoch.
        """
        found = None if self.checkpoints is None else self.checkpoints.read(self._identity)
        if found is None:
            return ()
        for entry in found.finished:
            self._add(entry, *self._rebuilt(entry))
        stage = None
        if self._cached() is None:
            stage = Stage(
                self.network, self.split, self._classes, device=self.device, is_continued=True
            )
            stage_state.restore(stage, found.tensors, found.values)
        done = self._epochs_before + (stage.epoch if stage else 0)
        self._stage, self._measurements = stage, list(found.measurements[:done])
        if self._measurements:
            self.epochs_reused = self._measurements[-1].epochs_reused
        return tuple(self._measurements)

    def __iter__(self) -> Iterator[Measurement]:
        while not self._is_complete:
            entry = None if isinstance(self._stage, Stage) else self._cached()
            for measurement in self._train() if entry is None else self._reuse(entry):
                self._measurements.append(measurement)
                if entry is None:
                    self._write_checkpoint()
                yield measurement

    @property
    def _is_complete(self) -> bool:
        """Whether no block is left to train, or no class is left to separate from another."""
        done = len(self.network.blocks)
        is_routed = self.config.block_classes == "hard" and done > 0
        return done == self.config.exits or (is_routed and len(self._classes) < 2)

    @property
    def _classes(self) -> Sequence[int]:
        """The classes of the next block."""
        done = len(self.network.blocks)
        if self.config.block_classes == "hard" and done:
            return self.network.block(done - 1).head.hard
        return range(self.task.classes)

    @property
    def _description(self) -> dict[str, Any]:
        return block_key.describe(self.network, self._classes, self._environment)

    def _cached(self) -> Entry | None:
        """Return the next block, if the cache has it."""
        return None if self.cache is None else self.cache.get(self._description)

    def _train(self) -> Iterator[Measurement]:
        """Train the next stage, or the rest of it, and store its block in the cache."""
        stage = self._stage
        if not isinstance(stage, Stage):
            stage = Stage(self.network, self.split, self._classes, device=self.device)
            self._stage = stage
        for measurement in stage.epochs(self._epochs_before):
            yield replace(measurement, epochs_reused=self.epochs_reused)
        confusions = stage.confusions()
        folded = stage.fold_for_inference()
        self.memory_bytes.append(stage.memory_bytes)
        self.training_ops.append(stage.training_ops)
        self.parameters.extend(stage.parameters)
        if prefix.is_chain(self.config):
            of_stage = self._measurements[-stage.epoch :]
            entry = Entry(
                description=self._description,
                tensors=block_key.tensors_of(folded[0], confusions[0]),
                measurements=tuple(replace(m, epochs_reused=0) for m in of_stage),
                training_s=stage.training_s,
                memory_bytes=stage.memory_bytes,
                training_ops=stage.training_ops,
                parameters=stage.parameters[0],
            )
            self._finished.append(entry)
            if self.cache is not None:
                self.cache.put(entry)
        self._close(folded, confusions, lambda: stage.examples, training_s=stage.training_s)

    def _reuse(self, entry: Entry) -> Iterator[Measurement]:
        """Add the next block from the cache; yield the measurements of its training."""
        index, before = len(self.network.blocks), self._epochs_before
        block, confusion = self._rebuilt(entry)
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
        self._add(entry, block, confusion)

    def _rebuilt(self, entry: Entry) -> tuple[Block, Tensor]:
        """Return the next block, finished, with its confusion matrix."""
        block, confusion = block_key.rebuild(self.network, self._classes, entry)
        return block.to(self.device), confusion

    def _add(self, entry: Entry, block: Block, confusion: Tensor) -> None:
        """Add a finished block to the network."""
        classes = self._classes
        self.memory_bytes.append(entry.memory_bytes)
        self.training_ops.append(entry.training_ops)
        self.parameters.append(entry.parameters)
        self._finished.append(entry)
        self._close(
            [block],
            [confusion],
            lambda: examples_after(self.network, self.split, classes)[0],
            training_s=entry.training_s,
        )

    @functools.cached_property
    def _identity(self) -> dict[str, str]:
        """The names of everything that determines the training."""
        return {"config": self.config.training_fingerprint, **self._environment}

    def _write_checkpoint(self) -> None:
        """Write a checkpoint of the stage in training, if one is due."""
        if self.checkpoints is None:
            return
        assert isinstance(self._stage, Stage)
        if not stage_state.can_continue(self._stage):
            self.checkpoints.cannot(f"the rewiring {self.config.rewiring!r} has no method `state`")
            return
        self.checkpoints.write(self._identity, self._checkpoint)

    def _checkpoint(self) -> Checkpoint:
        assert isinstance(self._stage, Stage)
        tensors, values = stage_state.capture(self._stage)
        return Checkpoint(
            finished=self._finished,
            measurements=self._measurements,
            tensors=tensors,
            values=values,
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
        self.training_ops = entry.training_ops
        self.parameters = [entry.parameters]
        self._block = block

    def fold_for_inference(self) -> list[Block]:
        """Return a copy of the block, which was stored folded."""
        return [copy.deepcopy(self._block)]
