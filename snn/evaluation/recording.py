"""One pass over the data that records everything the metrics of operating points need."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from snn.evaluation.operation_counter import LayerTotals, detector_ops, operations_of
from snn.network.cost import OperationCounter
from snn.network.encoder.code import CodeLayer
from snn.network.encoder.decoder import Decoder, distortions, pixels
from snn.network.exits import exit_output
from snn.network.layers import ForwardContext
from snn.network.network import Network
from snn.network.readout import integrated
from snn.network.trained import BATCH, Images
from snn.settings.measurement import LayerReport

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Recording:
    """One pass over the data; arrays are (blocks, timesteps, images) unless noted.

    Index t holds the values after t + 1 timesteps; counts are cumulative.
    """

    labels: npt.NDArray[np.int64]  # (images,)
    confidence: npt.NDArray[np.float32]
    p_hard: npt.NDArray[np.float32]
    label: npt.NDArray[np.int64]
    accumulates: Floats  # of the block, without detector
    detector: Floats  # accumulates of the block's detector
    spikes: Floats
    macs: Floats
    bits: Floats  # of the code of the block's exit; NaN without one
    distortion: Floats  # of the block's exit, not cumulative; NaN without a code
    inputs: Floats  # (timesteps, images): spikes of the input
    seen_ms: Floats  # (timesteps, images), see `Images.seen_ms`
    layers: tuple[LayerReport, ...] = field(default=())


def record(network: Network, images: Images) -> Recording:
    """Run every block for all trained timesteps on all images, once."""
    return record_readings([network], images)[0]


@torch.no_grad()
def record_readings(networks: Sequence[Network], images: Images) -> list[Recording]:
    """Return recordings of networks that differ only in exits and detectors, from one run.

    All have equal blocks except for detectors. The first network is run; each network
    combines the exits and detects hard inputs by its own config.
    """
    network = networks[0]
    config, blocks = network.config, range(len(network.blocks))
    network.eval()
    counter = OperationCounter()
    totals = LayerTotals(network, len(images.labels))
    parts: list[list[dict[str, npt.NDArray[np.generic]]]] = [[] for _ in networks]
    is_target = config.decoder_target == "image"
    shown = images.images.split(BATCH) if is_target else itertools.repeat(None)
    for (drive, labels), pictures in zip(images.batches(config), shown, strict=False):
        counter.clear()
        context = ForwardContext(observer=counter)
        outputs = network.run(drive, context, timesteps=config.timesteps)
        totals.add(counter)
        operations = [operations_of(counter, network.block(index)) for index in blocks]
        shared = {
            "accumulates": _cumulative([block.accumulates for block in operations]),
            "spikes": _cumulative([block.spikes for block in operations]),
            "macs": _cumulative([block.macs for block in operations]),
            **_codes(network, context, outputs.features, labels, pictures),
            "inputs": input_spikes(drive, config.timesteps, network.is_constant(drive)),
            "labels": labels.cpu().numpy(),
        }
        for reading, own in zip(networks, parts, strict=True):
            features = outputs.features
            detector = [detector_ops(reading.block(index), features[index]) for index in blocks]
            exits = _exit_outputs(reading, outputs.logits, features)
            own.append({**shared, **exits, "detector": _cumulative(detector)})
    layers = totals.reports()
    return [
        Recording(
            **{name: np.concatenate([p[name] for p in own], axis=-1) for name in own[0]},
            seen_ms=images.seen_ms(config),
            layers=layers,
        )
        for own in parts
    ]


def input_spikes(drive: Tensor, steps: int, is_constant: bool) -> npt.NDArray[np.generic]:
    """Return the spikes of the input, cumulative, (time, images); a constant current has none."""
    if is_constant:
        return np.zeros((steps, drive.shape[1]))
    counts = drive.abs().flatten(2).sum(dim=2, dtype=torch.float64)
    return counts.cumsum(dim=0).cpu().numpy()


def _codes(
    network: Network,
    context: ForwardContext,
    features: Sequence[Tensor],
    labels: Tensor,
    images: Tensor | None,
) -> dict[str, npt.NDArray[np.generic]]:
    """Return cumulative bits and the distortion of every exit after every timestep.

    NaN without codes. `images` are needed if they are the target.
    """
    bits, left = [], []
    for index, read in enumerate(features):
        head = network.block(index).head
        if not isinstance(head.readout, Decoder) or not isinstance(head.hidden, CodeLayer):
            shape = (len(features), *read.shape[:2])
            return dict.fromkeys(("bits", "distortion"), np.broadcast_to(np.nan, shape))
        target = labels if images is None else pixels(images)
        bits.append(head.hidden.bits(context))
        left.append(distortions(head.readout, read, target))
    return {"bits": _cumulative(bits), "distortion": torch.stack(left).cpu().numpy()}


def _cumulative(per_block: Sequence[Tensor]) -> npt.NDArray[np.generic]:
    return torch.stack(list(per_block)).cumsum(dim=1).cpu().numpy()


def _exit_outputs(
    network: Network, logits: Sequence[Tensor], features: Sequence[Tensor]
) -> dict[str, npt.NDArray[np.generic]]:
    """Return confidence, p_hard and label of every exit after every timestep."""
    steps, leak = logits[0].shape[0], network.config.readout_leak
    found: dict[str, list[Tensor]] = {"confidence": [], "p_hard": [], "label": []}
    for step in range(1, steps + 1):
        before = None
        for index, (inputs, read) in enumerate(zip(logits, features, strict=True)):
            readout = integrated(inputs, leak=leak, steps=step)
            features_then = integrated(read, leak=leak, steps=step)
            output = exit_output(network, index, readout, features_then, before)
            before = output.probabilities
            for name, values in found.items():
                values.append(getattr(output, name))
    shape = (steps, len(logits), -1)
    return {
        name: torch.stack(values).view(shape).transpose(0, 1).cpu().numpy()
        for name, values in found.items()
    }
