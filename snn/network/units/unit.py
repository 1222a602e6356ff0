"""The contract of a unit, and the builder that makes its layers."""

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar

import torch
from torch import nn

from snn.network.layers import (
    Connections,
    InputKind,
    Layer,
    Norm,
    PoolNeurons,
    SubSample,
)
from snn.network.neurons import Lif
from snn.network.pooling import Size, SpikePool
from snn.network.rate_maps import RateMap

POOL_THRESHOLD = 0.75
"""Threshold of pooling neurons (Lee et al. 2020, as released)."""


@dataclass(frozen=True, kw_only=True)
class SignalSpec:
    """The signal between two units: shape without time and batch, and its kind.

    `spikes_per_unit` is the number of spikes that make a value of 1. `is_analog`: values are
    real numbers, not spikes; `is_constant`: they are also the same at every timestep.
    `deviation` is the standard deviation of the values, None for spikes of neurons.
    """

    shape: tuple[int, ...]
    spikes_per_unit: int = 1
    is_analog: bool = False
    is_constant: bool = False
    deviation: float | None = None
    kind: InputKind = "neurons"

    @property
    def size(self) -> Size:
        """Height and width of the map."""
        height, width = self.shape[1:]
        return height, width


@dataclass(frozen=True, kw_only=True)
class BlockBuilder:
    """Constants, norm and random generator shared by all layers of one block."""

    lif: Lif
    norm: Norm
    dropout: float
    generator: torch.Generator
    pooling: str = "average"  # as in RunConfig
    own: Collection[str] = ()  # of leak and threshold, what every layer has for itself
    rate_map: Callable[[], RateMap] | None = None  # of layers that can run without time
    is_folded: bool = False

    def layer(
        self,
        name: str,
        shapes: Sequence[tuple[int, ...]],
        sources: Sequence[SignalSpec],
        *,
        strides: Sequence[int] = (1, 1),
        skip: SubSample | None = None,
    ) -> Layer:
        """Return a layer with one set of connections per shape; the sum has unit variance."""
        summed = len(shapes) + (skip is not None)
        connections = [
            Connections(
                shape,
                stride=stride,
                spikes_per_unit=source.spikes_per_unit,
                is_analog=source.is_analog,
                is_constant=source.is_constant,
                deviation=source.deviation,
                kind=source.kind,
                norm=self.norm,
                gain=1 / math.sqrt(summed),
                generator=self.generator,
            )
            for shape, source, stride in zip(shapes, sources, strides, strict=False)
        ]
        return Layer(
            name,
            connections,
            lif=self.lif,
            skip=skip,
            dropout=self.dropout,
            has_bias=self.is_folded or self.norm != "batch-over-time",
            own=self.own,
            rate_map=None if self.rate_map is None else self.rate_map(),
        )

    def pool_neurons(self, name: str, pool: SpikePool) -> PoolNeurons | None:
        """Return the neurons that follow a unit's pool, or None where pools do not spike."""
        if self.pooling != "spiking" or not pool.is_pooling:
            return None
        lif = replace(
            self.lif,
            leak=1.0,
            threshold=POOL_THRESHOLD,
            reset="hard",
            firing_share=1.0,
            strict=True,
        )
        return PoolNeurons(name, lif=lif, spikes_per_unit=pool.spikes_per_unit)


class UnitModule(Protocol):
    """A unit of a block, built as `Module(spec, width, source, builder, name)`.

    Called with spikes (time, batch, ...), timesteps and context, it returns the spikes that
    leave it, whose form is `signal`.
    """

    signal: SignalSpec

    @staticmethod
    def extent(spec: Any, width: int, size: Size) -> tuple[int, Size]:
        """Return neurons of the largest layer for maps of `size`, and the size that leaves."""


M = TypeVar("M", bound=type[nn.Module])

UNIT_MODULES: dict[type, Any] = {}
"""Modules by the type of their spec."""


def unit_module(spec: type) -> Callable[[M], M]:
    """Register a module for units described by `spec`, a class of `snn.settings.backbones`."""

    def register(module: M) -> M:
        UNIT_MODULES[spec] = module
        return module

    return register
