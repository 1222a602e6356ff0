"""Counts of existing, regrown and removed connections by layer."""

from collections.abc import Sequence

from torch import Tensor

from snn.network.blocks import Block, connections_of, layers_of
from snn.network.connections import Connections
from snn.settings.measurement import LayerConnectivity


def connectivity(connections: Sequence[Connections]) -> float:
    """Return the share of connections that exist."""
    possible = sum(conn.weight.numel() for conn in connections)
    return sum(int(conn.exists().sum()) for conn in connections) / possible


class ConnectivityReport:
    """Counts connections of blocks and their changes; `first` is the index of the first block."""

    def __init__(self, blocks: Sequence[Block], *, first: int) -> None:
        self._parts: list[tuple[str, list[Connections]]] = []
        for offset, block in enumerate(blocks):
            layers = layers_of(block)
            self._parts += [(layer.name, layer.arriving) for layer in layers if layer.arriving]
            placed = {conn for layer in layers for conn in layer.arriving}
            rest = [conn for conn in connections_of(block) if conn not in placed]
            if rest:  # spiking output neurons are a layer
                self._parts.append((f"exit{first + offset + 1}.readout", rest))
        self._before = self._masks()

    def _masks(self) -> list[list[Tensor]]:
        return [[conn.exists() for conn in part] for _, part in self._parts]

    def take(self) -> tuple[LayerConnectivity, ...]:
        """Return counts per layer and exit readout, with the changes since the last call."""
        before, self._before = self._before, self._masks()
        return tuple(
            LayerConnectivity(
                name=name,
                weights=sum(conn.weight.numel() for conn in part),
                connections=_count(now),
                regrown=_count([a & ~b for a, b in zip(now, was, strict=True)]),
                removed=_count([b & ~a for a, b in zip(now, was, strict=True)]),
            )
            for (name, part), now, was in zip(self._parts, self._before, before, strict=True)
        )


def _count(masks: Sequence[Tensor]) -> int:
    return sum(int(mask.sum()) for mask in masks)
