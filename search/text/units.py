"""Numbers for people, written and read: three significant digits, an SI prefix, the unit."""

import datetime
import math
import re

from snn.settings.measurement import FRACTIONS, METRICS, Metric, Metrics
from snn.settings.setting import counted

PREFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
_NUMBER = re.compile(r"(?P<number>[-+]?[\d_.]+(?:[eE][-+]?\d+)?)\s*(?P<unit>.*)")
_TWO = re.compile(r"(\d+\s*(?:h|min))\s*(\d+\s*(?:min|s))")  # of a duration
_NOUNS = ("ops", "spikes", "steps", "blocks", "events", "bits")  # units that count
_OTHER_UNITS = {
    "s": {"min": 60.0, "h": 3600.0},
    "nJ": {"µJ": 1e3, "μJ": 1e3, "uJ": 1e3, "mJ": 1e6},  # µ as a sign and as a letter
}


def figure(name: str, value: float, metrics: Metrics = METRICS) -> str:
    """Return the value of a metric with its unit: 97.2 %, 12.3 kB, 4.56 k ops, 1.20 µJ.

    `metrics` are those of the study; a name that is not among them has no unit.
    """
    if math.isnan(value):
        return "-"
    metric = metrics.get(name)
    return scaled(value) if metric is None else in_unit(name, value, metric.unit)


def in_unit(name: str, value: float, unit: str) -> str:
    """Return the value of a metric that is counted in this unit."""
    if name in FRACTIONS:
        return percent(value)
    if unit == "s":
        return duration(value)
    if unit == "B":
        return scaled(value, joined="B")
    if unit == "nJ":
        return energy(value)
    shown = scaled(value)
    if shown == "1" and unit in _NOUNS:
        unit = unit.removesuffix("s")
    return f"{shown} {unit}".rstrip()


def read_figure(metric: Metric, text: str) -> float:
    """Return the number that `figure` shows as `text`: 97.2 %, 12.3 kB, 2 h 5 min; or 0.972.

    Raises ValueError with what is allowed.
    """
    text = text.strip()
    parts = _TWO.fullmatch(text) if metric.unit == "s" else None
    words = (parts[1], parts[2]) if parts else (text,)
    value = sum(_read(metric, word) for word in words)
    if not math.isfinite(value):
        own = metric.unit
        usual = (own, f"k{own} or M{own}") if own else ("k or M",)
        units = "%" if metric.is_fraction else ", ".join({"s": ("s", "min or h")}.get(own, usual))
        raise ValueError(f"must be a number, optionally with {units}, got {text!r}")
    if fault := metric.limit_fault(value):
        raise ValueError(fault)
    return value


def _read(metric: Metric, text: str) -> float:
    """Return a number with its unit in the metric's own unit, NaN where it is none."""
    found = _NUMBER.fullmatch(text)
    try:
        return float(found["number"]) * _factor(metric, found["unit"]) if found else math.nan
    except ValueError:
        return math.nan


def _factor(metric: Metric, unit: str) -> float:
    own = metric.unit
    if unit == "%":
        return 0.01 if metric.is_fraction else math.nan
    if unit in _OTHER_UNITS.get(own, {}):
        return _OTHER_UNITS[own][unit]
    if own.startswith(unit):  # no unit, `steps` for `steps/image`, and the unit itself
        return 1.0
    prefix = unit.removesuffix(own).strip()
    return next((factor for factor, known in PREFIXES if known == prefix), math.nan)


def energy(nanojoules: float) -> str:
    """Return an energy in nJ, µJ or mJ."""
    for factor, unit in ((1e6, "mJ"), (1e3, "µJ")):
        if abs(nanojoules) >= 0.9995 * factor:
            return f"{three_digits(nanojoules / factor)} {unit}"
    return f"{three_digits(nanojoules)} nJ"


def percent(fraction: float) -> str:
    """Return a fraction as a percentage with one decimal."""
    return "-" if math.isnan(fraction) else f"{100 * fraction:.1f} %"


def three_digits(value: float) -> str:
    """Return three significant digits; an exponent only below 0.001 and from 1000."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    if 1e-3 <= abs(value) < 1e3:
        text = f"{value:.{max(0, 2 - math.floor(math.log10(abs(value))))}f}"
        return text.rstrip("0").rstrip(".") if "." in text and float(text).is_integer() else text
    return f"{value:.3g}"


def scaled(value: float, *, joined: str = "") -> str:
    """Return a number with an SI prefix: 12.3 k; with the unit `joined`: 12.3 kB."""
    for factor, prefix in PREFIXES:
        if abs(value) >= 0.9995 * factor:
            return f"{three_digits(value / factor)} {prefix}{joined}"
    return f"{three_digits(value)} {joined}".rstrip()


def duration(seconds: float) -> str:
    """Return seconds as 4.21 s, 3 min 20 s or 2 h 5 min."""
    if not math.isfinite(seconds) or seconds < 120:
        return f"{three_digits(seconds)} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 120:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def moment(at: datetime.datetime | None) -> str:
    """Return a time in UTC, to the second."""
    if at is None:
        return "-"
    aware = at if at.tzinfo else at.replace(tzinfo=datetime.UTC)
    return aware.astimezone(datetime.UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def done_of(done: int, asked: int | None, noun: str, *, sign: str = " of ") -> str:
    """Return progress towards a budget: 3 of 5 trials; 3 trials without one.

    A study may be run again with a budget below what it has done: then it says nothing of it.
    """
    if asked is None or asked < done:
        return counted(done, noun)
    return f"{done:,}{sign}{counted(asked, noun)}"
