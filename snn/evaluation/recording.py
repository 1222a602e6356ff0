"""One pass over the data that keeps all that any operating point needs to be counted."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from snn.evaluation.operation_counter import LayerTotals, OperationCounter, detector_ops, spent_by
from snn.network.exits import exit_output
from snn.network.layers import ForwardContext
from snn.network.network import Network
from snn.network.readout import integrated
from snn.network.trained import Images
from snn.settings.measurement import LayerReport

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


def record(network: Network, images: Images) -> Recording:
    """Run every block for all trained timesteps on all images, once."""
    return record_readings([network], images)[0]


@torch.no_grad()
def record_readings(networks: Sequence[Network], images: Images) -> list[Recording]:
    """Recordings of networks that differ only in how their exits are read, from one run.

    All have equal blocks but for detectors, and the first one is run; each tells
    by its own config what the exits say together and which inputs are hard.
    """
    network = networks[0]
    config, blocks = network.config, range(len(network.blocks))
    network.eval()
    meter = OperationCounter()
    totals = LayerTotals(network, len(images.labels))
    parts: list[list[dict[str, npt.NDArray[np.generic]]]] = [[] for _ in networks]
    macs = np.zeros(len(network.blocks))
    for drive, labels in images.batches(config):
        meter.clear()
        outputs = network.run(drive, ForwardContext(observer=meter), timesteps=config.timesteps)
        totals.add(meter)
        spent = [spent_by(meter, network.block(index)) for index in blocks]
        macs = np.array([block.macs for block in spent])
        alike = {
            "accumulates": _cumulative([block.accumulates for block in spent]),
            "spikes": _cumulative([block.spikes for block in spent]),
            "labels": labels.cpu().numpy(),
        }
        for reading, own in zip(networks, parts, strict=True):
            features = outputs.features
            detector = [detector_ops(reading.block(index), features[index]) for index in blocks]
            said = _verdicts(reading, outputs.logits, features)
            own.append({**alike, **said, "detector": _cumulative(detector)})
    layers = totals.reports()
    return [
        Recording(
            **{name: np.concatenate([p[name] for p in own], axis=-1) for name in own[0]},
            macs=macs,
            layers=layers,
        )
        for own in parts
    ]


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
            said = exit_output(network, index, output, seen, before)
            before = said.probabilities
            for name, values in found.items():
                values.append(getattr(said, name))
    shape = (steps, len(logits), -1)
    return {
        name: torch.stack(values).view(shape).transpose(0, 1).cpu().numpy()
        for name, values in found.items()
    }
