"""Description: the input encoding and the readout of a graph, which NIR has no nodes for."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from snn.settings.measurement import LayerReport

DT_S = 1e-4
"""Timestep in seconds; snnTorch and SpikingJelly assume it for every graph."""

GRAPH, PLAN = "network.nir", "network.json"
"""Files of an exported network: the graph of the last exit, and the plan of all exits."""

KEY = "spikefront"
"""Key of the description in the metadata of a graph."""


class InterchangeError(ValueError):
    """A network that NIR cannot express, or a graph that cannot run; one line per fault."""


@dataclass(frozen=True, kw_only=True)
class Description:
    """Settings of a run of the graph of one exit, stored in the graph's metadata."""

    dataset: str
    encoding: str  # direct: the standardised image at every timestep; poisson: signed spikes
    mean: tuple[float, ...] | None  # of the training pixels per channel, from 0 to 1
    std: tuple[float, ...] | None
    timesteps: int  # at inference
    trained_timesteps: int
    readout: str  # integrator: outputs are currents; spiking: spikes; code: potentials to draw from
    readout_leak: float  # of the integrators, see snn.network.readout
    classes: tuple[int, ...]  # label of each output, votes of one class side by side
    votes: int
    exit: int  # from 1
    seed: int  # of poisson encoding and of the split
    validation_fraction: float
    train_images: int
    dt_s: float = DT_S  # of recordings whose timesteps have a fixed length, that length
    cut: dict[str, Any] = field(default_factory=dict)  # settings of a run that cut recordings
    constant_bytes: int = 0  # stored for learned leaks and thresholds; a graph repeats them

    def to_json(self) -> str:
        """Return the text that is written into a graph."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> "Description":
        """Return the description in a text. Raises InterchangeError."""
        try:
            values: Mapping[str, Any] = json.loads(text)
            # graphs of images, and of versions before
            values = {"cut": {}, "constant_bytes": 0, **values}
            known = {name: _tupled(values[name]) for name in cls.__dataclass_fields__}
            return cls(**known)
        except (ValueError, KeyError, TypeError) as error:
            raise InterchangeError(
                f"its metadata {KEY!r} was changed ({type(error).__name__}: {error}); "
                "export the network again"
            ) from None


CUT = (
    "binning", "clip_ms", "event_value", "polarity", "shrink", "delta_threshold",
)  # fmt: skip
"""Settings of a run that say how a recording becomes frames."""

CODE = "code"
"""The readout of an encoder, whose graph ends before the draws."""

UNKNOWN = ("training_memory_bytes", "training_ops", "training_s")
"""Metrics of the training of a network, which a graph does not contain."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """The result of a graph on images."""

    images: int
    metrics: dict[str, float]  # all of METRICS but UNKNOWN
    layers: tuple[LayerReport, ...]
    notes: tuple[str, ...] = ()  # a line for each sign of a wrong setting


def stated_dt(graph: Any) -> float | None:
    """Return the timestep in seconds in a graph's metadata `dt`, if it has a valid one."""
    try:
        dt = float((graph.metadata or {})["dt"])
    except (KeyError, TypeError, ValueError):
        return None
    return dt if math.isfinite(dt) and dt > 0 else None


def _tupled(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
