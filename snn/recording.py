"""One pass over the data that keeps all that any operating point needs to be counted."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from snn.exits import verdict
from snn.layers import Pass
from snn.measurement import LayerReport
from snn.meter import LayerTotals, Meter, detector_ops, spent_by
from snn.network import Network
from snn.readout import integrated
from snn.trained import Images

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Recording:
    """One pass over the data; arrays are (blocks, timesteps, images) unless said.

    `timesteps` index t holds what is known and spent after t + 1 of them.
    """

    labels: npt.NDArray[np.int64]  # (images,)
    confidence: npt.NDArray[np.float32]
    hardness: npt.NDArray[np.float32]
    label: npt.NDArray[np.int64]
    accumulates: Floats  # of the block, detector not included
    detector: Floats  # accumulates of the block's detector
    spikes: Floats
    macs: Floats  # (blocks,)
    layers: tuple[LayerReport, ...] = field(default=())


@torch.no_grad()
def record(network: Network, images: Images) -> Recording:
    """Run every block for all trained timesteps on all images, once."""
    config = network.config
    network.eval()
    meter = Meter()
    totals = LayerTotals(network, len(images.labels))
    parts: list[dict[str, npt.NDArray[np.generic]]] = []
    macs = np.zeros(len(network.blocks))
    for drive, labels in images.batches(config):
        meter.clear()
        outputs = network.run(drive, Pass(observer=meter), timesteps=config.timesteps)
        totals.add(meter)
        part = _verdicts(network, outputs.logits, outputs.features)
        spent = [spent_by(meter, network.block(index)) for index in range(len(network.blocks))]
        macs = np.array([block.macs for block in spent])
        detector = [
            detector_ops(network.block(index), outputs.features[index])
            for index in range(len(network.blocks))
        ]
        part["accumulates"] = _cumulative([block.accumulates for block in spent])
        part["spikes"] = _cumulative([block.spikes for block in spent])
        part["detector"] = _cumulative(detector)
        part["labels"] = labels.cpu().numpy()
        parts.append(part)
    joined = {name: np.concatenate([p[name] for p in parts], axis=-1) for name in parts[0]}
    return Recording(**joined, macs=macs, layers=totals.reports())


def _cumulative(per_block: Sequence[Tensor]) -> npt.NDArray[np.generic]:
    return torch.stack(list(per_block)).cumsum(dim=1).cpu().numpy()


def _verdicts(
    network: Network, logits: Sequence[Tensor], features: Sequence[Tensor]
) -> dict[str, npt.NDArray[np.generic]]:
    """Confidence, hardness and label of every block after every timestep."""
    steps, leak = logits[0].shape[0], network.config.readout_leak
    found: dict[str, list[Tensor]] = {"confidence": [], "hardness": [], "label": []}
    for step in range(1, steps + 1):
        before = None
        for index, (inputs, read) in enumerate(zip(logits, features, strict=True)):
            output = integrated(inputs, leak=leak, steps=step)
            seen = integrated(read, leak=leak, steps=step)
            said = verdict(network, index, output, seen, before)
            before = said.probabilities
            for name, values in found.items():
                values.append(getattr(said, name))
    shape = (steps, len(logits), -1)
    return {
        name: torch.stack(values).view(shape).transpose(0, 1).cpu().numpy()
        for name, values in found.items()
    }
