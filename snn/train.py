"""Training: from a run config to measurements, epoch by epoch, and a network.

Block-local training (BlocTrain, Srinivasan & Roy 2021) is a schedule of stages:
each trains one block and its exit head behind the blocks before it, which are
baked and run without a graph. End-to-end training is the same with one stage
that holds all blocks and averages the losses of their exits.
"""

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from snn import encoding
from snn.config import RunConfig
from snn.cost import SavedBytes, held_bytes
from snn.data import Split, augment
from snn.detector import fit_detector
from snn.layers import Connections, Pass
from snn.measurement import Measurement
from snn.network import Block, Network, Signal, Task, bake, build_block, connections_of, generator
from snn.network import input_signal as signal_of_images
from snn.rewiring import Rewirer, connectivity, make_rewirer
from snn.rules import TIME_RULES, Batch
from snn.trained import History, Trained

EVALUATION_BATCH = 256
BORDER_BYTES = 256 * 2**20  # spikes of the frozen blocks are kept up to this size


class DivergedError(RuntimeError):
    """The loss is no longer a number."""


class Training:
    """Iterate to train: one measurement per epoch; stop iterating to stop training.

    Once exhausted, `network` holds the trained blocks in the form in which they
    are evaluated and stored. Raises DivergedError when the loss is not finite.
    """

    def __init__(self, config: RunConfig, split: Split, *, device: str = "cpu") -> None:
        self.config, self.split, self.device = config, split, device
        self.task = Task(image_shape=split.image_shape, classes=split.classes)
        self.network = Network(config, self.task)
        self.training_s: list[float] = []  # per stage
        self.memory_bytes: list[int] = []  # per stage
        self.parameters: list[int] = []  # per block
        self._epochs_done = 0

    @property
    def trained(self) -> Trained:
        """The network with its history, once training is over."""
        history = History(
            memory_bytes=tuple(self.memory_bytes),
            training_s=tuple(self.training_s),
            parameters=tuple(self.parameters),
        )
        return Trained(network=self.network, history=history)

    def __iter__(self) -> Iterator[Measurement]:
        with deterministic():
            classes: Sequence[int] = range(self.task.classes)
            while len(self.network.blocks) < self.config.exits:
                stage = Stage(self, classes)
                yield from stage.epochs()
                stage.finish()
                if self.config.block_classes == "hard":
                    classes = self.network.block(len(self.network.blocks) - 1).head.hard
                    if len(classes) < 2:  # nothing left to tell apart
                        return


def train(config: RunConfig, split: Split, *, device: str = "cpu") -> Training:
    """A training that runs as it is iterated."""
    return Training(config, split, device=device)


@contextmanager
def deterministic() -> Iterator[None]:
    """Only algorithms that give the same bits every time."""
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)


@dataclass(frozen=True, kw_only=True)
class Examples:
    """What a stage trains or validates on: images, or the spikes that earlier blocks make of them.

    `border` holds, for every image, the counts of spikes that enter the stage:
    uint8 (time, images, ...), to be divided by the grain of the border.
    """

    images: Tensor
    labels: Tensor  # positions in the stage's classes
    border: Tensor | None


class Stage:
    """The blocks that are trained together now, behind those that are done."""

    def __init__(self, training: Training, classes: Sequence[int]) -> None:
        self.training, self.classes = training, tuple(classes)
        config, task = training.config, training.task
        self.first = len(training.network.blocks)
        count = config.exits if config.stages == 1 else 1
        frozen = [training.network.block(index) for index in range(self.first)]
        signal = frozen[-1].signal if frozen else signal_of_images(config, task)
        self.live = _build(config, self.first, count, signal, self.classes)
        connections = [conn for block in self.live for conn in connections_of(block)]
        self.rewirer: Rewirer | None = make_rewirer(connections, config)
        self.connections: list[Connections] = connections
        for block in self.live:
            block.to(training.device)
        self.parameters = [p for block in self.live for p in block.parameters()]
        self.optimizer = _optimizer(config, self.parameters)
        self.examples = self._examples(
            training.split.train_images, training.split.train_labels, config.augmentation
        )
        self.validation = self._examples(
            training.split.validation_images, training.split.validation_labels, "none"
        )
        uses_border = self.examples.border is not None
        self.runner = Network(config, task)
        self.runner.blocks.extend(self.live if uses_border else [*frozen, *self.live])
        self.frozen = 0 if uses_border else len(frozen)
        self.border_grain = signal.grain
        self.memory_bytes = 0
        self._step = 0

    # -- data -------------------------------------------------------------

    def _examples(self, images: Tensor, labels: Tensor, augmentation: str) -> Examples:
        """The images whose labels the stage tells apart, with border spikes where they fit."""
        table = torch.full((self.training.task.classes,), -1, device=labels.device)
        table[list(self.classes)] = torch.arange(len(self.classes), device=labels.device)
        positions = table[labels]
        chosen = (positions >= 0).nonzero().squeeze(1)
        images, positions = images[chosen], positions[chosen]
        border = None
        if self.first > 0 and self._fits(len(images)):
            border = self._border(images)
        return Examples(images=images, labels=positions, border=border)

    def _fits(self, images: int) -> bool:
        """Whether the border spikes of all images are the same in every epoch, and small enough.

        Judged by the training set, so that training and validation go one way.
        """
        config, split = self.training.config, self.training.split
        if config.augmentation != "none" or config.encoding != "direct":
            return False
        del images
        signal = self.training.network.block(self.first - 1).signal
        per_image = config.timesteps * math.prod(signal.shape)
        return per_image * len(split.train_images) <= BORDER_BYTES

    @torch.no_grad()
    def _border(self, images: Tensor) -> Tensor:
        network, config = self.training.network, self.training.config
        network.eval()
        grain = network.block(self.first - 1).signal.grain
        parts = []
        for start in range(0, len(images), EVALUATION_BATCH):
            drive = self._drive(images[start : start + EVALUATION_BATCH], None)
            run = network.run(
                drive, Pass(), timesteps=config.timesteps, frozen=self.first, heads=False
            )
            parts.append((torch.cat(run.border) * grain).round().to(torch.uint8))
        return torch.cat(parts, dim=1)

    def _drive(self, images: Tensor, draws: torch.Generator | None) -> Tensor:
        split, config = self.training.split, self.training.config
        if config.encoding == "direct":
            return encoding.direct(images, split.mean, split.std)
        assert draws is not None
        return encoding.poisson(images, split.mean, timesteps=config.timesteps, generator=draws)

    def _batch(
        self, examples: Examples, index: Tensor, draws: torch.Generator, augmentation: str
    ) -> Batch:
        if examples.border is not None:
            drive = examples.border[:, index].to(torch.float32) / self.border_grain
        else:
            images = augment(examples.images[index], augmentation, draws)
            drive = self._drive(images, draws)
        return Batch(
            drive=drive,
            labels=examples.labels[index],
            frozen=self.frozen,
            timesteps=self.training.config.timesteps,
            loss=self.training.config.loss,
        )

    # -- training ---------------------------------------------------------

    def epochs(self) -> Iterator[Measurement]:
        """Train, one measurement per epoch."""
        training, config = self.training, self.training.config
        training.training_s.append(0.0)
        draws = generator(config.seed, "batches", self.first, training.device)
        masks = [conn.exists() for conn in self.connections]
        for epoch in range(1, config.epochs + 1):
            started = time.perf_counter()
            loss, train_accuracy = self._epoch(draws)
            training.training_s[-1] += time.perf_counter() - started
            accuracy, rate = self._validate()
            alive = [conn.exists() for conn in self.connections]
            pairs = zip(alive, masks, strict=True)
            regrown = sum(int((now & ~before).sum()) for now, before in pairs)
            masks = alive
            training._epochs_done += 1
            yield Measurement(
                block=self.first + 1 if config.stages > 1 else 0,
                epoch=epoch,
                epochs_done=training._epochs_done,
                epochs_total=config.total_epochs,
                loss=loss,
                train_accuracy=train_accuracy,
                accuracy=accuracy,
                connectivity=connectivity(self.connections),
                spike_rate=rate,
                regrown=regrown,
                training_memory_bytes=self.memory_bytes,
                wall_s=time.perf_counter() - started,
            )

    def _epoch(self, draws: torch.Generator) -> tuple[float, float]:
        """Mean loss and accuracy of one pass over the stage's examples."""
        config, count = self.training.config, len(self.examples.labels)
        device = self.examples.labels.device
        order = torch.randperm(count, generator=draws, device=draws.device).to(device)
        self.runner.train()
        for index in range(self.frozen):
            self.runner.block(index).eval()
        batches = order.split(config.batch_size)
        steps = config.epochs * len(batches)
        rule = TIME_RULES[config.time_rule]
        losses, correct = [], []
        for index in batches:
            batch = self._batch(self.examples, index, draws, config.augmentation)
            state = Pass(generator=draws)
            if self._step == 0:
                with SavedBytes(list(self.runner.parameters())) as saved:
                    result = rule(self.runner, batch, state, apply=lambda: self._apply(steps))
                self.memory_bytes = saved.total + self._held_bytes()
            else:
                result = rule(self.runner, batch, state, apply=lambda: self._apply(steps))
            losses.append(result.loss * len(index))
            correct.append(result.correct)
        loss = float(torch.stack(losses).sum()) / count
        if not math.isfinite(loss):
            block = self.first + 1
            raise DivergedError(f"the loss of block {block} became {loss}; lower learning_rate")
        return loss, float(torch.stack(correct).sum()) / count

    def _apply(self, steps: int) -> None:
        config = self.training.config
        rate = config.learning_rate
        if config.schedule == "cosine":
            rate *= 0.5 * (1 + math.cos(math.pi * self._step / steps))
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self._step += 1
        if self.rewirer is not None:
            self.rewirer.after_step(self._step, steps=steps, learning_rate=rate)

    def _held_bytes(self) -> int:
        frozen = [self.training.network.block(index) for index in range(self.first)]
        live = nn.ModuleList(self.live)
        return held_bytes(live, frozen, optimizer=self.training.config.optimizer)

    # -- after training ---------------------------------------------------

    @torch.no_grad()
    def _validate(self) -> tuple[float, float]:
        """Accuracy of the deepest exit, and spikes per neuron and timestep."""
        self.runner.eval()
        counter = _SpikeCounter()
        correct = 0
        for batch, outputs in self._runs(self.validation, counter):
            decided = outputs[-1].mean(dim=0).argmax(dim=1)
            correct += int((decided == batch.labels).sum())
        return correct / max(len(self.validation.labels), 1), counter.rate

    def _runs(
        self, examples: Examples, counter: "_SpikeCounter | None" = None
    ) -> Iterator[tuple[Batch, list[Tensor]]]:
        draws = generator(self.training.config.seed, "validation", 0, self.training.device)
        everything = torch.arange(len(examples.labels), device=examples.labels.device)
        for index in everything.split(EVALUATION_BATCH):
            batch = self._batch(examples, index, draws, "none")
            state = Pass(observer=counter)
            outputs = self.runner.run(
                batch.drive, state, timesteps=batch.timesteps, frozen=self.frozen
            )
            yield batch, outputs.logits

    def finish(self) -> None:
        """Split classes into easy and hard, fit detectors, and join the network as baked blocks."""
        training, config = self.training, self.training.config
        training.memory_bytes.append(self.memory_bytes)
        hard = self._hard_classes()
        for offset, block in enumerate(self.live):
            index = self.first + offset
            block.eval()
            training.parameters.append(sum(p.numel() for p in block.parameters()))
            block.head.hard = hard[offset] if index + 1 < config.exits else ()
        baked = [bake(config, self.first + offset, block) for offset, block in enumerate(self.live)]
        shown = len(self.runner.blocks) - len(self.live)
        self.runner.blocks = nn.ModuleList([*self.runner.blocks[:shown], *baked])
        if config.detector == "head":
            self._fit_detectors(baked)
        training.network.blocks.extend(baked)

    @torch.no_grad()
    def _hard_classes(self) -> list[tuple[int, ...]]:
        """Per live block, the classes whose validation accuracy is below the class threshold."""
        self.runner.eval()
        size = len(self.classes)
        seen = torch.zeros(size, dtype=torch.int64)
        right = [torch.zeros(size, dtype=torch.int64) for _ in self.live]
        for batch, logits in self._runs(self.validation):
            labels = batch.labels.cpu()
            seen += labels.bincount(minlength=size)
            for counts, output in zip(right, logits, strict=True):
                decided = output.mean(dim=0).argmax(dim=1).cpu()
                counts += labels[decided == labels].bincount(minlength=size)
        accuracies = [counts / seen.clamp(min=1) for counts in right]
        return [
            tuple(
                label
                for label, accuracy in zip(self.classes, values.tolist(), strict=True)
                if accuracy < self.training.config.class_threshold
            )
            for values in accuracies
        ]

    def _fit_detectors(self, baked: list[Block]) -> None:
        """A detector for every block behind which only some of its classes are hard."""
        config = self.training.config
        self.runner.eval()
        for offset, block in enumerate(baked):
            hard, index = block.head.hard, self.first + offset
            if not hard or len(hard) == len(block.head.classes):
                continue
            rates, labels = self._features(offset)
            is_hard = torch.tensor(
                [label in hard for label in block.head.classes], device=labels.device
            )[labels]
            fit_detector(config, index, block, rates, is_hard)

    @torch.no_grad()
    def _features(self, offset: int) -> tuple[Tensor, Tensor]:
        """Mean spikes over time that the head of a live block reads, and the labels."""
        draws = generator(self.training.config.seed, "detector", self.first, self.training.device)
        everything = torch.arange(len(self.examples.labels), device=self.examples.labels.device)
        rates, labels = [], []
        for index in everything.split(EVALUATION_BATCH):
            batch = self._batch(self.examples, index, draws, "none")
            outputs = self.runner.run(
                batch.drive, Pass(), timesteps=batch.timesteps, frozen=self.frozen
            )
            rates.append(outputs.features[offset].mean(dim=0))
            labels.append(batch.labels)
        return torch.cat(rates), torch.cat(labels)


def _build(
    config: RunConfig, first: int, count: int, signal: Signal, classes: Sequence[int]
) -> list[Block]:
    blocks: list[Block] = []
    for index in range(first, first + count):
        blocks.append(build_block(config, index, signal, classes))
        signal = blocks[-1].signal
    return blocks


def _optimizer(config: RunConfig, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    if config.optimizer == "adam":
        return torch.optim.AdamW(
            parameters, lr=config.learning_rate, weight_decay=config.weight_decay
        )
    return torch.optim.SGD(
        parameters, lr=config.learning_rate, momentum=0.9, weight_decay=config.weight_decay
    )


class _SpikeCounter:
    """Spikes and the chances to spike."""

    def __init__(self) -> None:
        self._spikes: list[Tensor] = []
        self._chances = 0

    def layer(self, layer: object, inputs: Sequence[Tensor], spikes: Tensor) -> None:
        del layer, inputs
        self._spikes.append(spikes.sum())
        self._chances += spikes.numel()

    def readout(self, connections: Connections, inputs: Tensor) -> None:
        del connections, inputs

    @property
    def rate(self) -> float:
        return float(torch.stack(self._spikes).sum()) / self._chances if self._chances else 0.0
