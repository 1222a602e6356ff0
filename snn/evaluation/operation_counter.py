"""Operations of a running network: accumulates, multiply-accumulates, spikes."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from snn.network.blocks import Block, layers_of
from snn.network.connections import Connections
from snn.network.cost import OperationCounter, fan_out, weighted
from snn.network.layers import ForwardContext, Layer
from snn.network.network import Network
from snn.network.readout import Readout
from snn.settings.measurement import LayerReport


@dataclass(frozen=True, kw_only=True)
class OperationsPerImage:
    """Operations of one batch in one block, per timestep and image: (time, batch) each."""

    accumulates: Tensor
    spikes: Tensor
    macs: Tensor


def operations_of(counter: OperationCounter, block: Block) -> OperationsPerImage:
    """Return the operations of a block and its class readout on the last counted batch."""
    layers = layers_of(block)
    owners: list[object] = [*layers]
    owners.extend(layer.recurrence for layer in layers if layer.recurrence is not None)
    if isinstance(block.head.readout, Readout):
        owners.extend(block.head.readout.parts)
    accumulates = [torch.cat(counter.accumulates[owner]) for owner in owners]
    spikes = [torch.cat(counter.spikes[layer]) for layer in layers]
    return OperationsPerImage(
        accumulates=torch.stack(accumulates).sum(dim=0),
        spikes=torch.stack(spikes).sum(dim=0) if spikes else torch.zeros_like(accumulates[0]),
        macs=sum(
            (torch.cat(counter.macs[owner]) for owner in owners if owner in counter.macs),
            torch.zeros_like(accumulates[0]),
        ),
    )


def detector_ops(block: Block, features: Tensor) -> Tensor:
    """Return the accumulates of the detector, (time, batch)."""
    if block.head.detector is None:
        return torch.zeros(features.shape[:2], dtype=torch.float64, device=features.device)
    conn = block.head.detector.connections
    return weighted(features, fan_out(conn, features.shape[2:]).flatten()) * conn.spikes_per_unit


class LayerTotals:
    """Sums of the operations of each layer over all images and timesteps."""

    def __init__(self, network: Network, images: int) -> None:
        self.network, self.images = network, images
        self.spikes: dict[Layer, float] = {}
        self.accumulates: dict[object, float] = {}
        self.neurons: dict[Layer, int] = {}
        self.macs: dict[object, float] = {}

    def add(self, counter: OperationCounter) -> None:
        for layer, chunks in counter.spikes.items():
            self.spikes[layer] = self.spikes.get(layer, 0) + sum(float(c.sum()) for c in chunks)
        for owner, chunks in counter.accumulates.items():
            total = sum(float(c.sum()) for c in chunks)
            self.accumulates[owner] = self.accumulates.get(owner, 0) + total
        for owner, chunks in counter.macs.items():
            self.macs[owner] = self.macs.get(owner, 0) + sum(float(c.sum()) for c in chunks)

    def reports(self) -> tuple[LayerReport, ...]:
        """Return reports of layers and readouts, in forward order."""
        return tuple(
            report
            for index in range(len(self.network.blocks))
            for report in self._block_reports(index, self.network.block(index))
        )

    def _block_reports(self, index: int, block: Block) -> Iterator[LayerReport]:
        count, steps = self.images, self.network.config.timesteps
        sizes = _neurons(block)
        for layer in layers_of(block):
            own = layer.arriving
            spikes = self.spikes[layer] / count
            yield LayerReport(
                block=index + 1,
                name=layer.name,
                neurons=sizes[layer],
                weights=sum(conn.weight.numel() for conn in own),
                connections=sum(int(torch.count_nonzero(conn.weight)) for conn in own),
                spikes_per_inference=spikes,
                spike_rate=spikes / (sizes[layer] * steps),
                synaptic_ops=sum(self.accumulates.get(part, 0.0) for part in (layer, *own)) / count,
                macs=self.macs.get(layer, 0.0) / count,
            )
        if not isinstance(block.head.readout, Readout):
            return  # spiking output neurons are a layer
        parts = block.head.readout.parts
        yield LayerReport(
            block=index + 1,
            name=f"exit{index + 1}.readout",
            neurons=parts[-1].weight.shape[0],
            weights=sum(conn.weight.numel() for conn in parts),
            connections=sum(int(torch.count_nonzero(conn.weight)) for conn in parts),
            spikes_per_inference=0.0,
            spike_rate=0.0,
            synaptic_ops=sum(self.accumulates[conn] for conn in parts) / count,
            macs=sum(self.macs.get(conn, 0.0) for conn in parts) / count,
        )


def _neurons(block: Block) -> dict[Layer, int]:
    """Return the neurons of each layer of a block, from one timestep without input."""
    sizes: dict[Layer, int] = {}

    class Sizes:
        def layer(self, layer: Layer, inputs: Sequence[Tensor], spikes: Tensor) -> None:
            del inputs
            sizes[layer] = math.prod(spikes.shape[2:])

        def readout(self, connections: Connections, inputs: Tensor) -> None:
            del connections, inputs

    device = next(block.parameters()).device
    batch = ForwardContext(observer=Sizes())
    x = block(torch.zeros(1, 1, *block.source.shape, device=device), 1, batch)
    block.head(x, 1, batch)
    return sizes
