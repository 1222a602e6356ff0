"""The content of an exported folder."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from search.trial.confirmation import Confirmed
from snn.settings.config import RunConfig
from snn.settings.measurement import (
    METRICS,
    Evaluation,
    ExitReport,
    LayerReport,
    Metrics,
    OperatingPoint,
)


@dataclass(frozen=True, kw_only=True)
class ExportOrigin:
    """The origin of an exported network."""

    study: str | None = None  # None where it was trained without a search
    trial: int | None = None
    question: str = ""
    precision: str = ""  # why precision `auto` was this number type; "" where it was given
    metrics: Metrics = field(default_factory=lambda: METRICS)  # of the study, the user's included


@dataclass(frozen=True, kw_only=True)
class ExportContent:
    """Everything in an exported folder but the weights."""

    origin: ExportOrigin
    config: RunConfig  # at the operating point, of the exported blocks
    trained_as: RunConfig | None  # the whole network, if blocks of it were left out
    point: OperatingPoint  # with validation metrics as recorded
    images: int | None  # validation images
    test: Evaluation | None
    layers: tuple[LayerReport, ...]
    exits: tuple[ExitReport, ...]  # at this operating point; empty if it was not evaluated
    weights_sha256: str
    weights_bytes: int
    data_fingerprint: str | None
    moments: Mapping[str, tuple[float, ...]] | None  # of the input, `mean` and `std` per channel
    environment: Mapping[str, object]
    confirmed: Confirmed | None = None  # the same point with other seeds, on the test images
    graphs: tuple[str, ...] = ()  # NIR files beside the weights
