"""Labels, units and number formats of metrics and parameters."""

import datetime
import math
import re
from collections.abc import Sequence

from search.text import units
from search.trial.confirmation import Confirmed
from snn.settings import measurement
from snn.settings.config import SETTINGS
from snn.settings.measurement import METRICS, Metrics
from snn.settings.setting import counted

LABELS = {
    "accuracy": "Accuracy",
    "synaptic_ops": "Synaptic operations",
    "macs": "Multiply-accumulates",
    "est_energy_nj": "Energy (estimate)",
    "spikes_per_inference": "Spikes",
    "latency_steps": "Latency",
    "mean_timesteps": "Timesteps run",
    "mean_blocks": "Blocks executed",
    "training_memory_bytes": "Training memory",
    "training_ops": "Training operations",
    "model_bytes": "Model size",
    "connectivity": "Connectivity",
    "parameters": "Parameters",
    "training_s": "Training time",
    "latency_ms": "Time seen",
    "input_events": "Input events",
    "code_bits": "Bits of the code",
    "distortion": "Distortion",
}
FRACTIONS = frozenset({*measurement.FRACTIONS, "dropout", "target_sparsity"})
WIDE_UNITS = frozenset({"ops", "B", "nJ", "spikes"})  # vary over orders of magnitude
NOTHING = "–"
EXIT_RULE = (
    "After all timesteps of a block, its exit compares the highest class probability with the exit "
    "threshold. If it is at least as high, that class is the answer and the later blocks are "
    "skipped. Timesteps are never skipped."
)


def label(name: str) -> str:
    """Return the label of a metric or a parameter."""
    if name in LABELS:
        return LABELS[name]
    words = name.replace("_", " ")
    return words[:1].upper() + words[1:]


def label_with_unit(name: str, metrics: Metrics = METRICS) -> str:
    """Return a metric's label with its unit: `Model size (B)`."""
    unit = metrics[name].unit if name in metrics else ""
    return f"{label(name)} ({unit})" if unit else label(name)


def meaning(name: str, metrics: Metrics = METRICS) -> str:
    """Return a sentence on a metric or a setting; "" for other names."""
    if name in metrics:
        metric = metrics[name]
        return f"{metric.meaning[0].upper()}{metric.meaning[1:]}. {_direction(metric.better)}."
    setting = SETTINGS.get(re.sub(r"_\d+$", "", name))
    return f"{setting.meaning[0].upper()}{setting.meaning[1:]}." if setting else ""


def _direction(better: str) -> str:
    return "Higher is better" if better == "higher" else "Lower is better"


def quantity(name: str, value: object, metrics: Metrics = METRICS) -> str:
    """Return the value of a metric or parameter with its unit: `97.2 %`, `12.4 k ops`, `38 kB`."""
    return in_unit(name, value, metrics[name].unit if name in metrics else None)


def in_unit(name: str, value: object, unit: str | None) -> str:
    """Return the value of a metric that is counted in this unit, or of a parameter (None)."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return NOTHING if value is None else str(value)
    if math.isnan(value):
        return NOTHING
    if unit is not None:
        return _tied(units.in_unit(name, value, unit))
    if name in FRACTIONS:
        return _tied(units.percent(value))
    return plain_number(value)


def count(value: float) -> str:
    """Return a number without a unit: `12.4 k`."""
    return _tied(units.scaled(value))


def duration(seconds: float) -> str:
    """Return a wall time: `8.4 s`, `4 min 10 s`, `3 h 5 min`."""
    return _tied(units.duration(seconds))


def _tied(text: str) -> str:
    """Return the text with spaces that do not break, so that a number stays with its unit."""
    return text.replace(" ", "\u202f")


def plain_number(value: float) -> str:
    """Return a parameter's value with at most three digits, whole numbers with all."""
    if isinstance(value, int) or (float(value).is_integer() and abs(value) < 1e6):
        return f"{int(value)}"
    return f"{value:.3g}"


def thresholds(values: Sequence[float]) -> str:
    """Return exit thresholds as `0.9 · 0.75`; a dash where there is no early exit."""
    return " · ".join(f"{value:.3g}" for value in values) or NOTHING


def question(comment: str) -> str:
    """Return the question at the begin of a study's comment, or all of it without a question mark.

    What follows are remarks and results, often as tables, for readers of the file.
    """
    words = " ".join(comment.split())
    asked = re.match(r".*?\?(?=\s|$)", words)
    return asked.group() if asked else words


def verbatim(text: str) -> str:
    """Return text that Markdown shows as it is written, on one line.

    Names and questions come from files of unknown authors. Markdown turns an address into a link
    by itself; a character without width inside the address prevents that.
    """
    words = re.sub(r"(?i)(:(?=//)|@|www(?=\.))", "\\1\u2060", " ".join(text.split()))
    return re.sub(r"[!-/:-@\[-`{-~]", lambda mark: f"&#{ord(mark.group())};", words)


def confirmed(found: Confirmed | None, metric: str, metrics: Metrics = METRICS) -> str:
    """Return mean and spread over new seeds on the test images: `96.1 ± 0.3 % (3 seeds)`."""
    if found is None or not found.seeds:
        return NOTHING
    spread = found.spread(metric)
    seeds = counted(found.seeds, "seed")
    if math.isnan(spread.std):
        return f"{quantity(metric, spread.mean, metrics)} ({seeds})"
    if metric in FRACTIONS:
        return _tied(f"{100 * spread.mean:.1f} ± {100 * spread.std:.1f} %") + f" ({seeds})"
    mean, std = (quantity(metric, value, metrics) for value in (spread.mean, spread.std))
    return f"{mean} ± {std} ({seeds})"


def ago(moment: datetime.datetime, now: datetime.datetime | None = None) -> str:
    """Return the time since `moment`: `just now`, `4 min ago`, `2 d ago`."""
    now = now or datetime.datetime.now(datetime.UTC)
    moment = moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)
    seconds = (now - moment).total_seconds()
    if seconds < 60:
        return "just now"
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{int(seconds // size)} {unit} ago"
    raise AssertionError("a minute is the smallest unit")
