"""Evaluation: the operating points of a trained network, from one pass over the data.

Exit thresholds and inference timesteps change nothing that was trained. The
pass keeps, for every image, block and timestep, how sure the exit is, what it
says, and what has been spent until then (`recording`); every threshold and
every shorter run is then counted, not run (`operating`). `infer` runs one point
for real: the blocks behind an exit see only the images that stayed, and later
timesteps are not run.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from snn.evaluation.operating_points import (
    Decisions,
    OperatingPointEvaluator,
    OperatingSetting,
    keep,
)
from snn.evaluation.operation_counter import OperationCounter, detector_ops, spent_by
from snn.evaluation.recording import record
from snn.network.exits import exit_output
from snn.network.layers import ForwardContext
from snn.network.network import Network
from snn.network.readout import integrated
from snn.network.trained import Images, Trained
from snn.settings.config import RunConfig
from snn.settings.measurement import Evaluation, ExitReport


def sampled_setting(config: RunConfig, blocks: int) -> OperatingSetting:
    """The operating point that a config asks for, on a network of `blocks` trained blocks."""
    return OperatingSetting(
        timesteps=config.inference_timesteps,
        exit_thresholds=config.exit_threshold[: blocks - 1],
        detector_threshold=config.detector_threshold,
    )


def evaluate(trained: Trained, images: Images) -> Evaluation:
    """Operating points, layers and exits of a trained network on labelled images."""
    started = time.perf_counter()
    recording = record(trained.network, images)
    counter = OperatingPointEvaluator(trained, recording)
    setting = sampled_setting(trained.config, len(trained.network.blocks))
    sampled = counter.point(setting, is_sampled=True)
    kept = keep([sampled, *counter.family()])
    return Evaluation(
        points=tuple(kept),
        layers=recording.layers,
        exits=tuple(exit_reports(trained.network, counter, setting)),
        points_evaluated=counter.evaluated,
        wall_s=time.perf_counter() - started,
        images=len(recording.labels),
    )


def evaluate_at(
    trained: Trained, images: Images, settings: Sequence[OperatingSetting]
) -> Evaluation:
    """Just those operating points, in their order; none of them counts as sampled.

    Of a setting that names more exits than the network has, the first ones count.
    """
    started = time.perf_counter()
    recording = record(trained.network, images)
    counter = OperatingPointEvaluator(trained, recording)
    exits = len(trained.network.blocks) - 1
    points = (
        counter.point(replace(setting, exit_thresholds=setting.exit_thresholds[:exits]))
        for setting in settings
    )
    return Evaluation(
        points=tuple(points),
        layers=recording.layers,
        exits=(),
        points_evaluated=len(settings),
        wall_s=time.perf_counter() - started,
        images=len(recording.labels),
    )


def exit_reports(
    network: Network, counter: OperatingPointEvaluator, setting: OperatingSetting
) -> Iterator[ExitReport]:
    """What each class did at each exit, at one operating point."""
    rec, step = counter.recording, setting.timesteps - 1
    for index, gone in enumerate(counter.leaving(setting)):
        right = gone & (rec.label[index, step] == rec.labels)
        for label in range(network.task.classes):
            of_class = rec.labels == label
            yield ExitReport(
                exit=index + 1,
                label=label,
                images=int((gone & of_class).sum()),
                correct=int((right & of_class).sum()),
                is_hard=label in network.block(index).head.hard,
            )


@torch.no_grad()
def infer(network: Network, images: Images, setting: OperatingSetting) -> Decisions:
    """Run the network at one operating point, with images leaving as they become sure.

    Blocks behind an exit get only the images that stayed, and timesteps beyond
    the setting's are not run.
    """
    network.eval()
    parts = [_infer_batch(network, drive, setting) for drive, _ in images.batches(network.config)]
    return Decisions(
        labels=np.concatenate([part.labels for part in parts]),
        exits=np.concatenate([part.exits for part in parts]),
        accumulates=np.concatenate([part.accumulates for part in parts]),
        spikes=np.concatenate([part.spikes for part in parts]),
    )


def _infer_batch(network: Network, drive: Tensor, setting: OperatingSetting) -> Decisions:
    images, device = drive.shape[1], drive.device
    labels = torch.zeros(images, dtype=torch.int64, device=device)
    exits = torch.zeros(images, dtype=torch.int64, device=device)
    spent = torch.zeros(2, images, dtype=torch.float64, device=device)
    staying = torch.arange(images, device=device)
    before: Tensor | None = None
    x = drive[: setting.timesteps]
    for index in range(setting.depth):
        meter = OperationCounter()
        single = Network(network.config, network.task)
        single.blocks.append(network.block(index))
        outputs = single.run(
            x,
            ForwardContext(observer=meter),
            timesteps=setting.timesteps,
            wants=("logits", "features", "border"),
        )
        cost = spent_by(meter, network.block(index))
        spent[0, staying] += cost.accumulates.sum(dim=0)
        spent[1, staying] += cost.spikes.sum(dim=0)
        readout, features = (
            integrated(x[0], leak=network.config.readout_leak)
            for x in (outputs.logits, outputs.features)
        )
        said = exit_output(network, index, readout, features, before)
        if index + 1 < setting.depth:
            spent[0, staying] += detector_ops(network.block(index), outputs.features[0]).sum(dim=0)
            threshold = setting.exit_thresholds[index]
            sure = (said.confidence >= threshold) & (said.hardness <= setting.detector_threshold)
            if threshold >= 1:
                sure = torch.zeros_like(sure)
        else:
            sure = torch.ones_like(said.confidence, dtype=torch.bool)
        labels[staying[sure]] = said.label[sure]
        exits[staying[sure]] = index + 1
        staying, before = staying[~sure], said.probabilities[~sure]
        if len(staying) == 0:
            break
        x = torch.cat(outputs.border)[:, ~sure]
    return Decisions(
        labels=labels.cpu().numpy(),
        exits=exits.cpu().numpy(),
        accumulates=spent[0].cpu().numpy(),
        spikes=spent[1].cpu().numpy(),
    )
