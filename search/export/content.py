"""What an exported folder says of its network."""

from collections.abc import Mapping
from dataclasses import dataclass

from search.trial.confirmation import Confirmed
from snn.settings.config import RunConfig
from snn.settings.measurement import Evaluation, ExitReport, LayerReport, OperatingPoint


@dataclass(frozen=True, kw_only=True)
class ExportOrigin:
    """Where a network comes from."""

    study: str | None = None  # None where it was trained without a search
    trial: int | None = None
    question: str = ""


@dataclass(frozen=True, kw_only=True)
class ExportContent:
    """Everything that a folder says of its network, the weights apart."""

    origin: ExportOrigin
    config: RunConfig  # at the operating point, of the blocks that are kept
    trained_as: RunConfig | None  # the training that the kept blocks were cut from, if others were
    point: OperatingPoint  # with validation metrics as recorded
    images: int | None  # validation images
    test: Evaluation | None
    layers: tuple[LayerReport, ...]
    exits: tuple[ExitReport, ...]  # at this operating point; none where it was not evaluated
    weights_sha256: str
    weights_bytes: int
    data_fingerprint: str | None
    environment: Mapping[str, object]
    confirmed: Confirmed | None = None  # the same point with other seeds, on the test images
    graphs: tuple[str, ...] = ()  # NIR files beside the weights
