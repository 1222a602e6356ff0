"""What a NIR graph cannot say of itself: how its input is made, and how its output is read."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from snn.settings.measurement import LayerReport

DT_S = 1e-4
"""Seconds of a timestep: what snnTorch and SpikingJelly assume of every graph."""

GRAPH, PLAN = "network.nir", "network.json"
"""Files of an exported network: the deepest exit's graph, and how the exits work together."""

KEY = "spikefront"
"""The description's name among the metadata of a graph."""


class InterchangeError(ValueError):
    """A network that NIR cannot express, or a graph that cannot be run; one line each."""


@dataclass(frozen=True, kw_only=True)
class Description:
    """How the graph of one exit is run; it travels in the graph's metadata."""

    dataset: str
    encoding: str  # direct: the standardised image at every timestep; poisson: signed spikes
    mean: tuple[float, ...] | None  # of the training pixels per channel, from 0 to 1
    std: tuple[float, ...] | None
    timesteps: int  # at inference
    trained_timesteps: int
    readout: str  # integrator: outputs are currents; spiking: outputs are spikes
    readout_leak: float  # of the integrators, see snn.network.readout
    classes: tuple[int, ...]  # label of each output, votes of one class side by side
    votes: int
    exit: int  # from 1
    seed: int  # of poisson encoding and of the split
    validation_fraction: float
    train_images: int
    dt_s: float = DT_S

    def to_json(self) -> str:
        """As it is written into a graph."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> "Description":
        """Read back. Raises InterchangeError."""
        try:
            values: Mapping[str, Any] = json.loads(text)
            known = {name: _tupled(values[name]) for name in cls.__dataclass_fields__}
            return cls(**known)
        except (ValueError, KeyError, TypeError) as error:
            raise InterchangeError(
                f"its metadata {KEY!r} was changed ({type(error).__name__}: {error}); "
                "export the network again"
            ) from None


UNKNOWN = ("training_memory_bytes", "training_s")
"""Metrics of how a network was trained, of which a graph says nothing."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What a graph did on some images."""

    images: int
    metrics: dict[str, float]  # all of METRICS but UNKNOWN
    layers: tuple[LayerReport, ...]


def _tupled(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
