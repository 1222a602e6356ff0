"""Limits that a user sets on a front: `accuracy >= 97 %, model size <= 100 kB`."""

import re
from dataclasses import dataclass
from typing import Literal

from dashboard.data import formats
from search.text.units import read_figure
from snn.settings.config import nearest
from snn.settings.measurement import METRICS, Metrics

MOST_TARGETS = 8
_TARGET = re.compile(r"(?P<name>[^<>≤≥=]+)(?P<side><=|>=|≤|≥|<|>)(?P<value>[^<>≤≥=]+)")


class TargetError(ValueError):
    """A target that cannot be read; one line with the allowed form."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """A limit on one metric, in its own unit."""

    metric: str
    side: Literal["min", "max"]
    value: float
    unit: str  # of the metric

    @property
    def shown(self) -> str:
        """`Accuracy ≥ 97.0 %`."""
        return f"{formats.label(self.metric)} {self.limit}"

    @property
    def limit(self) -> str:
        """`≥ 97.0 %`."""
        sign = "≥" if self.side == "min" else "≤"
        return f"{sign} {formats.in_unit(self.metric, self.value, self.unit)}"

    @property
    def text(self) -> str:
        """The target as `parse_targets` and `spikefront export --pick` read it."""
        return f"{self.metric}{'>=' if self.side == 'min' else '<='}{self.value:.12g}"

    @property
    def bounds(self) -> tuple[float | None, float | None]:
        """Smallest and largest allowed value."""
        return (self.value, None) if self.side == "min" else (None, self.value)


def parse_targets(
    text: str, metrics: Metrics = METRICS
) -> tuple[tuple[Target, ...], tuple[str, ...]]:
    """Return the targets of a text, separated by commas, and a line for each fault."""
    targets, faults = [], []
    words = [word.strip() for word in re.split(r"[,;\n]| and ", text) if word.strip()]
    for word in words[:MOST_TARGETS]:
        try:
            targets.append(parse_target(word, metrics))
        except TargetError as error:
            faults.append(str(error))
    if len(words) > MOST_TARGETS:
        faults.append(f"at most {MOST_TARGETS} targets, got {len(words)}")
    return tuple(targets), tuple(faults)


def parse_target(text: str, metrics: Metrics = METRICS) -> Target:
    """Parse one target. Raises TargetError."""
    found = _TARGET.fullmatch(text.strip())
    if found is None:
        raise TargetError(f"{text!r} must be like accuracy >= 97 % or model size <= 100 kB")
    metric = _metric(found["name"].strip(), text, metrics)
    side: Literal["min", "max"] = "min" if found["side"] in (">=", "≥", ">") else "max"
    try:
        value = read_figure(metrics[metric], found["value"])
    except ValueError as error:
        raise TargetError(f"{text!r}: {metric} {error}") from None
    return Target(metric=metric, side=side, value=value, unit=metrics[metric].unit)


def _metric(name: str, text: str, metrics: Metrics) -> str:
    plain = _plain(name)
    names = {_plain(known): metric for metric in metrics for known in _names(metric)}
    if plain in names:
        return names[plain]
    starting = {metric for known, metric in names.items() if known.startswith(plain)}
    if len(starting) == 1:
        return starting.pop()
    hint = nearest(plain, [*names, *metrics]) or f"; known: {', '.join(metrics)}"
    if len(starting) > 1:
        hint = f"; could be {', '.join(sorted(starting))}"
    raise TargetError(f"{text!r}: {name!r} is not a metric{hint}")


def _names(metric: str) -> tuple[str, str]:
    return metric, formats.label(metric)


def _plain(name: str) -> str:
    return " ".join(name.replace("_", " ").casefold().split())
