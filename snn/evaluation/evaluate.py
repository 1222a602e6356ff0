"""Evaluation: the operating points of a trained network, from one pass over the data.

Exit thresholds and inference timesteps do not change the trained network. One pass records,
for every image, block and timestep, the confidence, the predicted class and the operations
so far (`recording`); the metrics of every threshold and every smaller number of timesteps
are computed from this recording (`operating_points`). `infer` runs one operating point:
blocks after an exit process only the images that have not exited, and later timesteps are
not run.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from snn.evaluation.operating_points import (
    Decisions,
    OperatingPointEvaluator,
    OperatingSetting,
    keep,
)
from snn.evaluation.operation_counter import detector_ops, operations_of
from snn.evaluation.recording import record
from snn.network.cost import OperationCounter
from snn.network.exits import ExitOutput, exit_output
from snn.network.layers import ForwardContext
from snn.network.network import Network
from snn.network.readout import integrated
from snn.network.trained import Images, Trained
from snn.settings.config import RunConfig
from snn.settings.extensions import with_added_metrics
from snn.settings.measurement import Evaluation, ExitReport


def sampled_setting(config: RunConfig, blocks: int) -> OperatingSetting:
    """Return the operating point of a config, on a network of `blocks` trained blocks."""
    return OperatingSetting(
        timesteps=config.inference_timesteps,
        exit_thresholds=config.exit_threshold[: blocks - 1],
        detector_threshold=config.detector_threshold,
        time_threshold=config.time_threshold,
    )


def evaluate(trained: Trained, images: Images) -> Evaluation:
    """Return operating points, layers and exits of a trained network on labelled images."""
    started = time.perf_counter()
    recording = record(trained.network, images)
    evaluator = OperatingPointEvaluator(trained, recording)
    setting = sampled_setting(trained.config, len(trained.network.blocks))
    sampled = evaluator.point(setting, is_sampled=True)
    kept = keep([sampled, *evaluator.family()])
    evaluation = Evaluation(
        points=tuple(kept),
        layers=recording.layers,
        exits=tuple(exit_reports(trained.network, evaluator, setting)),
        points_evaluated=evaluator.evaluated,
        wall_s=time.perf_counter() - started,
        images=len(recording.labels),
    )
    return with_added_metrics(trained, evaluation)


def evaluate_at(
    trained: Trained, images: Images, settings: Sequence[OperatingSetting]
) -> Evaluation:
    """Return the given operating points in their order, none marked as sampled.

    If a setting has thresholds for more exits than the network, the first ones are used.
    """
    started = time.perf_counter()
    recording = record(trained.network, images)
    evaluator = OperatingPointEvaluator(trained, recording)
    exits = len(trained.network.blocks) - 1
    points = (
        evaluator.point(replace(setting, exit_thresholds=setting.exit_thresholds[:exits]))
        for setting in settings
    )
    evaluation = Evaluation(
        points=tuple(points),
        layers=recording.layers,
        exits=(),
        points_evaluated=len(settings),
        wall_s=time.perf_counter() - started,
        images=len(recording.labels),
    )
    return with_added_metrics(trained, evaluation)


def exit_reports(
    network: Network, evaluator: OperatingPointEvaluator, setting: OperatingSetting
) -> Iterator[ExitReport]:
    """Yield the images of each class at each exit, at one operating point."""
    rec, decided = evaluator.recording, evaluator.decisions(setting).labels
    for index, exited in enumerate(evaluator.exiting(setting)):
        right = exited & (decided == rec.labels)
        for label in range(network.task.classes):
            of_class = rec.labels == label
            yield ExitReport(
                exit=index + 1,
                label=label,
                images=int((exited & of_class).sum()),
                correct=int((right & of_class).sum()),
                is_hard=label in network.block(index).head.hard,
            )


@dataclass(frozen=True, kw_only=True)
class Inferred:
    """The answers of a network to a batch of images; (images,) unless noted."""

    labels: Tensor
    probabilities: Tensor  # (images, classes), of the exit of each image
    exits: Tensor  # from 1
    accumulates: Tensor
    spikes: Tensor
    timesteps: Tensor  # run until the answer


@torch.no_grad()
def infer(network: Network, images: Images, setting: OperatingSetting) -> Decisions:
    """Run the network at one operating point.

    Blocks after an exit process only the images that have not exited, and only the
    timesteps of the setting are run.
    """
    network.eval()
    parts = [infer_batch(network, drive, setting) for drive, _ in images.batches(network.config)]
    return Decisions(
        labels=np.concatenate([part.labels.cpu().numpy() for part in parts]),
        exits=np.concatenate([part.exits.cpu().numpy() for part in parts]),
        accumulates=np.concatenate([part.accumulates.cpu().numpy() for part in parts]),
        spikes=np.concatenate([part.spikes.cpu().numpy() for part in parts]),
        timesteps=np.concatenate([part.timesteps.cpu().numpy() for part in parts]),
    )


def infer_batch(network: Network, drive: Tensor, setting: OperatingSetting) -> Inferred:
    """Return the answers to a batch that was encoded: (time or 1, batch, ...); as in `infer`."""
    if setting.time_threshold < 1:
        return Stream(network, drive, setting).run()
    images, device = drive.shape[1], drive.device
    labels = torch.zeros(images, dtype=torch.int64, device=device)
    exits = torch.zeros(images, dtype=torch.int64, device=device)
    probabilities = torch.zeros(images, network.task.classes, device=device)
    spent = torch.zeros(2, images, dtype=torch.float64, device=device)
    remaining = torch.arange(images, device=device)
    before: Tensor | None = None
    x = drive[: setting.timesteps]
    for index in range(setting.depth):
        counter = OperationCounter()
        single = Network(network.config, network.task).train(network.training)
        single.blocks.append(network.block(index))
        outputs = single.run(
            x,
            ForwardContext(observer=counter),
            timesteps=setting.timesteps,
            wants=("logits", "features", "border"),
        )
        cost = operations_of(counter, network.block(index))
        spent[0, remaining] += cost.accumulates.sum(dim=0)
        spent[1, remaining] += cost.spikes.sum(dim=0)
        readout, features = (
            integrated(x[0], leak=network.config.readout_leak)
            for x in (outputs.logits, outputs.features)
        )
        output = exit_output(network, index, readout, features, before)
        if index + 1 < setting.depth:
            detector = detector_ops(network.block(index), outputs.features[0])
            spent[0, remaining] += detector.sum(dim=0)
            threshold = setting.exit_thresholds[index]
            exiting = (output.confidence >= threshold) & (
                output.p_hard <= setting.detector_threshold
            )
            if threshold >= 1:
                exiting = torch.zeros_like(exiting)
        else:
            exiting = torch.ones_like(output.confidence, dtype=torch.bool)
        labels[remaining[exiting]] = output.label[exiting]
        exits[remaining[exiting]] = index + 1
        probabilities[remaining[exiting]] = output.probabilities[exiting]
        remaining, before = remaining[~exiting], output.probabilities[~exiting]
        if len(remaining) == 0:
            break
        x = torch.cat(outputs.border)[:, ~exiting]
    return Inferred(
        labels=labels,
        probabilities=probabilities,
        exits=exits,
        accumulates=spent[0],
        spikes=spent[1],
        timesteps=torch.full_like(labels, setting.timesteps),
    )


class Stream:
    """A batch that runs timestep by timestep, see `OperatingSetting.time_threshold`."""

    def __init__(self, network: Network, drive: Tensor, setting: OperatingSetting) -> None:
        images, device = drive.shape[1], drive.device
        self.network, self.drive, self.setting = network, drive, setting
        self.counters = [OperationCounter() for _ in range(setting.depth)]
        self.contexts = [ForwardContext(observer=counter) for counter in self.counters]
        self.history: list[list[Tensor]] = [[] for _ in range(2 * setting.depth)]
        self.remaining = torch.arange(images, device=device)
        self.spent = torch.zeros(2, images, dtype=torch.float64, device=device)
        self.labels, self.exits, self.timesteps = (
            torch.zeros(images, dtype=torch.int64, device=device) for _ in range(3)
        )
        self.probabilities = torch.zeros(images, network.task.classes, device=device)

    def run(self) -> Inferred:
        """Run until every image has answered."""
        is_constant = self.network.is_constant(self.drive)
        for step in range(self.setting.timesteps):
            x = self.drive if is_constant else self.drive[step : step + 1]
            self._step(step, x[:, self.remaining])
            if len(self.remaining) == 0:
                break
        return Inferred(
            labels=self.labels,
            probabilities=self.probabilities,
            exits=self.exits,
            accumulates=self.spent[0],
            spikes=self.spent[1],
            timesteps=self.timesteps,
        )

    def _step(self, step: int, x: Tensor) -> None:
        """Run the blocks for one timestep, each only for images that have not answered."""
        before: Tensor | None = None
        for index in range(self.setting.depth):
            output, x = self._block(index, x, before)
            answers = self._answers(step, index, output)
            chosen = self.remaining[answers]
            self.labels[chosen], self.exits[chosen] = output.label[answers], index + 1
            self.probabilities[chosen] = output.probabilities[answers]
            self.timesteps[chosen] = step + 1
            self._keep(~answers)
            before, x = output.probabilities[~answers], x[:, ~answers]
            if len(self.remaining) == 0:
                return

    def _block(self, index: int, x: Tensor, before: Tensor | None) -> tuple[ExitOutput, Tensor]:
        """Return the exit output of a block after this timestep, and its spikes."""
        single = Network(self.network.config, self.network.task).train(self.network.training)
        single.blocks.append(self.network.block(index))
        wants = ("logits", "features", "border")
        self.counters[index].clear()
        outputs = single.run(x, self.contexts[index], timesteps=1, wants=wants)
        cost = operations_of(self.counters[index], self.network.block(index))
        self.spent[0, self.remaining] += cost.accumulates.sum(dim=0)
        self.spent[1, self.remaining] += cost.spikes.sum(dim=0)
        if index + 1 < self.setting.depth:
            detector = detector_ops(self.network.block(index), outputs.features[0])
            self.spent[0, self.remaining] += detector.sum(dim=0)
        leak, read = self.network.config.readout_leak, []
        for place, values in enumerate((outputs.logits[0], outputs.features[0])):
            own = self.history[2 * index + place]
            own.append(values)
            read.append(integrated(torch.cat(own), leak=leak))
        output = exit_output(self.network, index, read[0], read[1], before)
        return output, torch.cat(outputs.border)

    def _answers(self, step: int, index: int, output: ExitOutput) -> Tensor:
        """Return which of the remaining images answer at this exit now."""
        setting = self.setting
        is_last = index + 1 == setting.depth
        if is_last and step + 1 == setting.timesteps:
            return torch.ones_like(output.confidence, dtype=torch.bool)
        threshold = setting.time_threshold if is_last else setting.exit_thresholds[index]
        if threshold >= 1:
            return torch.zeros_like(output.confidence, dtype=torch.bool)
        limit = 1.0 if is_last else setting.detector_threshold
        return (output.confidence >= threshold) & (output.p_hard <= limit)

    def _keep(self, kept: Tensor) -> None:
        """Forget the images that have answered."""
        if bool(kept.all()):
            return
        self.remaining = self.remaining[kept]
        self.history = [[values[:, kept] for values in own] for own in self.history]
        for context in self.contexts:
            context.states = {owner: s[kept] for owner, s in context.states.items()}
            context.constant = {layer: c[:, kept] for layer, c in context.constant.items()}
            context.returning = {layer: r[:, kept] for layer, r in context.returning.items()}
