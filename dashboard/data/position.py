"""Timesteps and thresholds of an operating point, as the address has them."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from dashboard.data.inputs import IMAGES, Inputs
from search.store.store import StoredPoint
from snn.settings.config import RunConfig
from snn.settings.measurement import ExitReport, OperatingPoint

_FORM = re.compile(r"(\d{1,4}):([\d.,]*):([\d.]+)(?::([\d.]+))?", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Position:
    """The settings of an operating point."""

    timesteps: int
    thresholds: tuple[float, ...]  # of all exits but the last one used
    detector: float
    time: float = 1.0  # confidence that answers before the last timestep; 1: none

    @property
    def blocks(self) -> int:
        """The number of blocks used."""
        return len(self.thresholds) + 1

    def __str__(self) -> str:
        values = ",".join(f"{value:g}" for value in self.thresholds)
        early = f":{self.time:g}" if self.time < 1 else ""
        return f"{self.timesteps}:{values}:{self.detector:g}{early}"

    @property
    def setting(self) -> tuple[int, tuple[float, ...], float, float]:
        """The arguments of `Replay.point`."""
        return self.timesteps, self.thresholds, self.detector, self.time


def of_point(point: OperatingPoint) -> Position:
    """Return the settings of an operating point."""
    return Position(
        timesteps=point.timesteps,
        thresholds=point.exit_thresholds,
        detector=point.detector_threshold,
        time=point.time_threshold,
    )


def parsed(text: str, config: RunConfig) -> Position | None:
    """Parse a position of the address; None if the network cannot run so.

    It is `4:0.9,0.75:0.5`, timesteps, thresholds and detector, and a time threshold below 1.
    """
    match = _FORM.fullmatch(text[:200])
    if match is None:
        return None
    try:
        thresholds = tuple(float(word) for word in match[2].split(",") if word)
        detector, time = float(match[3]), float(match[4] or 1)
    except ValueError:
        return None
    found = Position(timesteps=int(match[1]), thresholds=thresholds, detector=detector, time=time)
    is_within = 1 <= found.timesteps <= config.timesteps and all(0 <= t <= 1 for t in thresholds)
    is_deep = found.blocks in depths(config)
    return found if is_within and is_deep and 0 <= detector <= 1 and 0 <= time <= 1 else None


def depths(config: RunConfig) -> range:
    """Return how many blocks may be used: any number if blocks were trained one after another."""
    return range(1 if config.space_rule == "block-local" else config.exits, config.exits + 1)


def nearest(points: Sequence[StoredPoint], wanted: Position) -> StoredPoint:
    """Return the nearest stored point, by blocks first, then by timesteps and thresholds."""

    def distance(stored: StoredPoint) -> tuple[int, float]:
        place = of_point(stored.point)
        apart = abs(place.timesteps - wanted.timesteps) / max(wanted.timesteps, 1)
        pairs = zip(place.thresholds, wanted.thresholds, strict=False)
        apart += math.fsum(abs(a - b) for a, b in pairs) + abs(place.time - wanted.time)
        return abs(place.blocks - wanted.blocks), apart

    return min(points, key=distance)


def explained(reports: Sequence[ExitReport], inputs: Inputs = IMAGES) -> list[str]:
    """Return sentences on the exits of the inputs; none for a single exit."""
    exits = sorted({report.exit for report in reports})
    total = sum(report.images for report in reports)
    if len(exits) < 2 or not total:
        return []
    sentences = []
    for number in exits:
        here = [report for report in reports if report.exit == number]
        images, correct = sum(r.images for r in here), sum(r.correct for r in here)
        if images:
            sentences.append(
                f"Exit {number} takes {images / total:.1%} of the {inputs.sample}s; "
                f"{correct / images:.1%} of them are right."
            )
        else:
            sentences.append(f"Exit {number} takes no {inputs.sample}.")
    sentences.extend(_classes(reports, exits[-1], inputs))
    return [sentence.replace("%", "\u202f%") for sentence in sentences]


def _classes(reports: Sequence[ExitReport], last: int, inputs: Inputs) -> list[str]:
    """Return sentences on the classes with the fewest and the most blocks, and on hard classes."""
    labels = sorted({report.label for report in reports})
    mean = {}
    for label in labels:
        own = [report for report in reports if report.label == label]
        images = sum(report.images for report in own)
        if images:
            mean[label] = sum(r.exit * r.images for r in own) / images
    if len(mean) < 3 or max(mean.values()) - min(mean.values()) < 0.05:
        return []
    order = sorted(mean, key=lambda label: mean[label])

    def named(label: int, unit: str = "") -> str:
        return f"{inputs.name(label)} ({mean[label]:.2f}{unit})"

    easy, hard = order[:2], order[2:][:-3:-1]
    found = [
        f"Easiest classes: {named(easy[0], ' blocks on average')} and {named(easy[1])}. "
        f"Hardest: {' and '.join(map(named, hard))}."
    ]
    marked = sorted({r.label for r in reports if r.is_hard and r.exit < last})
    if marked:
        names = ", ".join(map(inputs.name, marked))
        found.append(
            f"Hard classes (validation accuracy below the limit after some block): {names}."
        )
    return found
