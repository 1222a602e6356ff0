"""Operations of a running network: accumulates, multiply-accumulates, spikes."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from snn.network.blocks import Block, layers_of
from snn.network.cost import fan_out, fan_out_by_lag, skip_fan_out
from snn.network.heads import Readout
from snn.network.layers import Connections, ForwardContext, Layer, PoolNeurons
from snn.network.memory.lateral import LateralLif
from snn.network.network import Network
from snn.settings.measurement import LayerReport


class OperationCounter:
    """Observer that counts operations and spikes per image, layer and timestep."""

    def __init__(self) -> None:
        self._fans: dict[object, Tensor] = {}
        self.clear()

    def clear(self) -> None:
        """Delete the counts of the last batch."""
        self.accumulates: dict[object, list[Tensor]] = {}  # by layer or readout: (time, batch)
        self.spikes: dict[Layer, list[Tensor]] = {}
        self.macs: dict[object, list[Tensor]] = {}  # like accumulates, of analog inputs

    def layer(self, layer: Layer, inputs: Sequence[Tensor], spikes: Tensor) -> None:
        """See Observer."""
        steps = spikes.shape[0]
        counts = []
        for conn, x in zip(layer.sources, inputs, strict=False):
            counts.append(self._counts(layer, conn, x, steps))
        if layer.skip is not None:
            source = inputs[-1]
            if layer.skip not in self._fans:
                self._fans[layer.skip] = skip_fan_out(layer, source.shape[2:]).flatten()
            counts.append(weighted(source, self._fans[layer.skip]) * layer.skip.spikes_per_unit)
        if isinstance(layer, PoolNeurons):
            arrived = inputs[0].flatten(2).sum(dim=2, dtype=torch.float64) * layer.spikes_per_unit
            counts.append(arrived)
        if isinstance(layer.lif, LateralLif):  # each spike reaches all other neurons
            fired = spikes.flatten(2).sum(dim=2, dtype=torch.float64)
            counts.append(fired * (spikes[0, 0].numel() - 1))
        self.accumulates.setdefault(layer, []).append(torch.stack(counts).sum(dim=0))
        self.spikes.setdefault(layer, []).append(spikes.flatten(2).sum(dim=2, dtype=torch.float64))

    def readout(self, connections: Connections, inputs: Tensor) -> None:
        """See Observer."""
        counts = self._counts(connections, connections, inputs, inputs.shape[0])
        self.accumulates.setdefault(connections, []).append(counts)

    def _counts(self, owner: object, conn: Connections, x: Tensor, steps: int) -> Tensor:
        """Return accumulates per timestep and image; analog inputs add to `macs` instead.

        The current of a constant input is computed once, in the first timestep, with all its
        values. Of an input that moves, a value of zero costs nothing.
        """
        if conn.delays is not None:
            return self._late(owner, conn, x, steps)
        if conn not in self._fans:
            self._fans[conn] = fan_out(conn, x.shape[2:]).flatten()
        fan = self._fans[conn]
        if conn.is_analog:
            none = x.new_zeros((steps, x.shape[1]), dtype=torch.float64)
            counted = none.clone()
            if not conn.is_constant:
                counted = weighted((x != 0).to(x.dtype), fan)
            elif owner not in self.macs:
                counted[0] = fan.sum()
            self.macs.setdefault(owner, []).append(counted)
            return none
        return weighted(x, fan) * conn.spikes_per_unit

    def _late(self, owner: object, conn: Connections, x: Tensor, steps: int) -> Tensor:
        """Return the same of delayed connections: operations count when a spike arrives.

        What would arrive after the last timestep is never added.
        """
        if conn not in self._fans:
            self._fans[conn] = fan_out_by_lag(conn, x.shape[2:]).flatten(1)
        used = (x != 0).to(x.dtype) if conn.is_analog else x
        longest = len(self._fans[conn]) - 1
        spent = x.new_zeros((steps, x.shape[1]), dtype=torch.float64)
        for lag, fan in enumerate(self._fans[conn]):
            first = longest - lag
            spent += weighted(used[first : first + steps], fan)
        if not conn.is_analog:
            return spent * conn.spikes_per_unit
        self.macs.setdefault(owner, []).append(spent)
        return torch.zeros_like(spent)


def weighted(x: Tensor, fan: Tensor) -> Tensor:
    """Return the sum over inputs of |input| * fan-out, (time, batch)."""
    return x.flatten(2).abs().to(torch.float64) @ fan


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
        owners.append(block.head.readout.connections)
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
        readout = block.head.readout.connections
        yield LayerReport(
            block=index + 1,
            name=f"exit{index + 1}.readout",
            neurons=readout.weight.shape[0],
            weights=readout.weight.numel(),
            connections=int(torch.count_nonzero(readout.weight)),
            spikes_per_inference=0.0,
            spike_rate=0.0,
            synaptic_ops=self.accumulates[readout] / count,
            macs=self.macs.get(readout, 0.0) / count,
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
