"""One training stage: blocks that are trained together, after the finished blocks."""

import math
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from snn.data.dataset import Split
from snn.network.blocks import Block, build_block, connections_of, fold_for_inference, layers_of
from snn.network.connections import Connections
from snn.network.cost import SavedBytes, held_bytes, parameter_count
from snn.network.encoder.decoder import Decoder, pixels
from snn.network.layers import ForwardContext, Layer
from snn.network.network import Network, input_signal
from snn.network.readout import integrated
from snn.network.seeding import generator
from snn.rewiring import ConnectivityReport, connectivity, make_rewirer
from snn.rules import ONLINE_RULES, TIMELESS, Batch, BatchResult, count_operations, learn
from snn.settings.config import RunConfig
from snn.settings.measurement import Measurement
from snn.training.conversion import begin, convert
from snn.training.examples import Examples, examples_after
from snn.training.growth import calibrate
from snn.training.norm_penalty import add_norm_penalty
from snn.training.optimizers import adam, sgd
from snn.training.plan import stage_memory, with_real_batch

COUNTED = 32
"""Images in the middle of each epoch whose operations are counted, for all of the epoch."""

JUDGED = 10_000
"""Most training images that the judge of decoded images is fitted to."""


class DivergedError(RuntimeError):
    """The loss is not finite."""


@contextmanager
def deterministic() -> Iterator[None]:
    """Allow only algorithms that give the same bits every time.

    torch also fills new tensors in this mode, for those who read one before they write it. Nothing
    here does, and the fill takes up to a seventh of the time of a training, so it is off.
    """
    # required by cuBLAS; no effect without a GPU
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    settings: Any = torch.utils.deterministic
    mode, is_filled = torch.get_deterministic_debug_mode(), settings.fill_uninitialized_memory
    torch.set_deterministic_debug_mode("error")  # `use_deterministic_algorithms` loads the compiler
    settings.fill_uninitialized_memory = False
    try:
        yield
    finally:
        torch.set_deterministic_debug_mode(mode)
        settings.fill_uninitialized_memory = is_filled


class Stage:
    """Trains the next block after `done`, or all blocks at once if the config says so.

    `classes` are the labels to separate; only their images are used, and at least one of
    them must have a training image. Iterate `epochs`, then call `confusions` and
    `fold_for_inference`.

    A stage that `is_continued` gets its state from a checkpoint (`stage_state.restore`).

    Raises ValueError if batch norm has only one training image.
    """

    def __init__(
        self,
        done: Network,
        split: Split,
        classes: Sequence[int],
        *,
        device: str,
        is_continued: bool = False,
    ) -> None:
        config = done.config
        self.done, self.device, self.classes = done, device, tuple(classes)
        self.first = len(done.blocks)
        self.live = _build(done, self.classes, config.exits if config.stages == 1 else 1)
        self.training_ops = 0.0  # see `count_operations`
        started = time.perf_counter()
        if config.start == "ann" and not is_continued:
            begin(self.live, self._trained_without_time(split), scale=config.start_scale)
        self.connections = [conn for block in self.live for conn in connections_of(block)]
        self.layers = [layer for block in self.live for layer in layers_of(block)]
        self.rewirer = make_rewirer(self.connections, config.of_block(self.first), index=self.first)
        for block in self.live:
            block.to(device)
        self.examples, self.validation = examples_after(done, split, self.classes)
        if config.decoder_target == "image" and not is_continued:
            fit_judges(self.live, self.examples)
        self.training_s = time.perf_counter() - started  # validation not included
        self.training_ops += self.examples.border_ops
        if config.norm == "batch-over-time" and len(self.examples) < 2:
            raise ValueError(
                "norm 'batch-over-time' needs at least 2 training images, got "
                f"{len(self.examples)}; use norm 'weight-standardised'"
            )
        self.runner = self._runner(self.live)
        self.runner.memory_mode = self._memory_mode()
        parameters = [p for block in self.live for p in block.parameters()]
        self.optimizer = _optimizer(config, parameters)
        if config.gradient_growth > 0 and not is_continued:
            calibrate(self.runner, self.examples, target=config.gradient_growth)
        self.draws = generator(config.seed, "batches", self.first, device)
        self.memory_bytes = 0
        self.epoch = self.step = 0  # that are done
        self._confusions: list[Tensor] | None = None  # of the last validation

    @property
    def config(self) -> RunConfig:
        """The run config."""
        return self.done.config

    def _trained_without_time(self, split: Split) -> list[Block]:
        """Return the blocks that training begins from, trained without time and converted."""
        ann = Network(self.config.start_config, self.done.task)
        stage = Stage(ann, split, self.classes, device=self.device)
        while stage.epoch < stage.config.epochs:  # without `epochs`: nobody sees their accuracy
            stage._epoch()
            stage.epoch += 1
        self.training_ops += stage.training_ops
        return stage.fold_for_inference()

    def _memory_mode(self) -> str:
        """Return the memory mode; `auto` is decided here, where the batch is known."""
        if self.config.memory_mode != "auto":
            return self.config.memory_mode
        blocks = [*(self.done.block(index) for index in range(self.first)), *self.live]
        config = with_real_batch(self.config, len(self.examples))
        return stage_memory(config, self.done.task, blocks, frozen=self.first).mode

    def _runner(self, live: Sequence[Block]) -> Network:
        """Return a network of the frozen blocks to run, and the live ones."""
        runner = Network(self.config.of_block(self.first), self.done.task)
        runner.blocks.extend([*list(self.done.blocks)[: self.examples.frozen], *live])
        return runner

    def epochs(self, epochs_before: int) -> Iterator[Measurement]:
        """Train the epochs that are left; yield a measurement of each. Raises DivergedError."""
        config = self.config
        report = ConnectivityReport(self.live, first=self.first) if self.rewirer else None
        while self.epoch < config.epochs:
            started = time.perf_counter()
            loss, train_accuracy = self._epoch()
            self.epoch += 1
            self.training_s += time.perf_counter() - started
            accuracy, rate = self._validate()
            layers = report.take() if report else ()
            yield Measurement(
                block=self.first + 1 if config.stages > 1 else 0,
                epoch=self.epoch,
                epochs_done=epochs_before + self.epoch,
                epochs_total=config.total_epochs,
                loss=loss,
                train_accuracy=train_accuracy,
                accuracy=accuracy,
                connectivity=connectivity(self.connections),
                spike_rate=rate,
                regrown=sum(layer.regrown for layer in layers),
                training_memory_bytes=self.memory_bytes,
                wall_s=time.perf_counter() - started,
                layers=layers,
            )

    @deterministic()
    def _epoch(self) -> tuple[float, float]:
        """Train one epoch; return mean loss and accuracy on the training examples."""
        config, count, draws = self.config, len(self.examples), self.draws
        order = torch.randperm(count, generator=draws, device=draws.device)
        batches = self._batches(order)
        self.runner.train()
        for index in range(self.examples.frozen):
            self.runner.block(index).eval()
        per_batch = config.timesteps if config.time_rule in ONLINE_RULES else 1
        steps = config.epochs * len(batches) * per_batch
        losses, correct = [], []
        for place, images in enumerate(batches):
            batch = self.examples.batch(images, draws, augmentation=config.augmentation)
            if place == len(batches) // 2:
                counted = count_operations(self.runner, batch, draws, images=COUNTED)
                self.training_ops += counted.times(count / len(images), batches=len(batches))
            result = self._train_batch(batch, steps=steps)
            losses.append(result.loss)
            correct.append(result.correct)
        sizes = torch.tensor([len(images) for images in batches], device=draws.device)
        loss = float((torch.stack(losses) * sizes).sum()) / count
        if not math.isfinite(loss):
            block = self.first + 1
            raise DivergedError(f"the loss of block {block} became {loss}; lower learning_rate")
        return loss, float(torch.stack(correct).sum()) / count

    def _batches(self, order: Tensor) -> Sequence[Tensor]:
        """Return the images of each batch; with batch norm none has a single image."""
        size = self.config.batch_size
        batches = list(order.split(size))
        is_single = len(batches) > 1 and len(batches[-1]) == 1
        if is_single and self.config.norm == "batch-over-time":
            last = torch.cat(batches[-2:])
            batches[-2:] = last.tensor_split(2) if size > 2 else [last]
        return batches

    def _train_batch(self, batch: Batch, *, steps: int) -> BatchResult:
        state = ForwardContext(generator=self.draws)
        if self.step > 0:
            return learn(self.runner, batch, state, apply=lambda: self._apply(steps))
        with SavedBytes(list(self.runner.parameters())) as saved:
            result = learn(self.runner, batch, state, apply=lambda: self._apply(steps))
        held = held_bytes(
            nn.ModuleList(self.live), list(self.done.blocks), optimizer=self.config.optimizer
        )
        self.memory_bytes = saved.peak + saved.unsaved_bytes(result.held) + held
        return result

    def _apply(self, steps: int) -> None:
        """Make an optimizer step and rewire; clear the gradients."""
        rate = self.config.learning_rate
        if self.config.schedule == "cosine":
            rate *= 0.5 * (1 + math.cos(math.pi * self.step / steps))
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        if self.config.weight_decay > 0:
            self._decay(1 - rate * self.config.weight_decay)
        self.step += 1
        if self.config.weight_norm_penalty > 0:
            add_norm_penalty(self.connections, self.config.weight_norm_penalty)
        if self.rewirer is not None:
            self.rewirer.before_step(self.step, learning_rate=rate)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        for layer in self.layers:
            layer.confine()
        for conn in self.connections:
            if conn.delays is not None:
                conn.delays.settle(self.step / steps)
        if self.rewirer is not None:
            self.rewirer.after_step(self.step, steps=steps, learning_rate=rate)

    @torch.no_grad()
    def _decay(self, factor: float) -> None:
        """Multiply existing weights by `factor` (decoupled decay, Loshchilov & Hutter 2019)."""
        for conn in self.connections:
            if conn.is_rewired:
                conn.weight.copy_(torch.where(conn.exists(), conn.weight * factor, conn.weight))
            else:
                conn.weight.mul_(factor)

    def _runs(
        self, examples: Examples, counter: "_SpikeCounter"
    ) -> Iterator[tuple[Batch, list[Tensor]]]:
        """Yield batches of examples with the readouts of the live blocks."""
        self.runner.eval()
        timeless = TIMELESS.get(self.config.time_rule)
        draws = generator(self.config.seed, "validation", 0, self.device)
        for batch in examples.in_order(draws):
            outputs = self.runner.run(
                batch.drive,
                ForwardContext(observer=counter, dynamics=timeless and timeless()),
                timesteps=1 if timeless else batch.timesteps,
                frozen=batch.frozen,
                wants=("logits",),
            )
            yield batch, outputs.logits

    def _output(self, inputs: Tensor) -> Tensor:
        """Return the output of integrators with `inputs` (time, batch, ...)."""
        return integrated(inputs, leak=self.config.readout_leak)

    @deterministic()
    @torch.no_grad()
    def _validate(self) -> tuple[float, float]:
        """Return the accuracy of the deepest exit, and spikes per neuron and timestep.

        Keeps the confusions, which need the same pass. Classes without a validation image are
        measured on their training images: without an image a network would appear to be silent.
        """
        counter, size = _SpikeCounter(self.live), len(self.classes)
        counts = [torch.zeros(size * size, dtype=torch.int64) for _ in self.live]
        examples = self.validation if len(self.validation) else self.examples
        for batch, readouts in self._runs(examples, counter):
            labels = batch.labels.cpu()
            for count, readout in zip(counts, readouts, strict=True):
                decided = self._output(readout).argmax(dim=1).cpu()
                count += (labels * size + decided).bincount(minlength=size * size)
        found = [count.reshape(size, size) for count in counts]
        accuracy = int(found[-1].diagonal().sum()) / len(examples)
        is_validation = examples is self.validation
        self._confusions = found if is_validation else [torch.zeros_like(c) for c in found]
        return accuracy, counter.rate

    @deterministic()
    def fold_for_inference(self) -> list[Block]:
        """Return the trained blocks folded for inference."""
        for block in self.live:
            block.eval()
        folded = [
            fold_for_inference(self.config, self.first + offset, block)
            for offset, block in enumerate(self.live)
        ]
        if self.config.time_rule == "conversion":
            self.runner.eval()
            convert(self.runner, folded, self.examples)
        return folded

    @property
    def parameters(self) -> list[int]:
        """Trainable parameters of each live block."""
        return [parameter_count(block) for block in self.live]

    def confusions(self) -> list[Tensor]:
        """Return validation images by label and decision, a matrix per live block.

        They are those of the last epoch; a stage that continues after it validates again.
        """
        if self._confusions is None:
            self._validate()
        assert self._confusions is not None
        return self._confusions


def _build(done: Network, classes: Sequence[int], count: int) -> list[Block]:
    config, first = done.config, len(done.blocks)
    signal = done.block(first - 1).signal if first else input_signal(config, done.task)
    blocks: list[Block] = []
    for index in range(first, first + count):
        blocks.append(build_block(config, index, signal, classes))
        signal = blocks[-1].signal
    return blocks


def fit_judges(blocks: Sequence[Block], examples: Examples) -> None:
    """Let the judges of the decoders learn the classes of the first `JUDGED` training images."""
    for block in blocks:
        if isinstance(block.head.readout, Decoder) and block.head.readout.judge is not None:
            images = examples.images[torch.arange(min(len(examples), JUDGED))]
            block.head.readout.judge.fit(pixels(images), examples.labels[:JUDGED])


def _optimizer(config: RunConfig, parameters: Sequence[nn.Parameter]) -> torch.optim.Optimizer:
    make = adam if config.optimizer == "adam" else sgd
    return make(parameters, learning_rate=config.learning_rate)


class _SpikeCounter:
    """Observer that computes the spike rate of blocks."""

    def __init__(self, blocks: Sequence[Block]) -> None:
        self._layers = {layer for block in blocks for layer in layers_of(block)}
        self._spikes: list[Tensor] = []
        self._possible = 0

    def layer(self, layer: Layer, inputs: Sequence[Tensor], spikes: Tensor) -> None:
        """See Observer."""
        del inputs
        if layer in self._layers:
            self._spikes.append(spikes.sum())
            self._possible += spikes.numel()

    def readout(self, connections: Connections, inputs: Tensor) -> None:
        """See Observer."""
        del connections, inputs

    @property
    def rate(self) -> float:
        """Spikes per neuron and timestep."""
        return float(torch.stack(self._spikes).sum()) / self._possible if self._possible else 0.0
