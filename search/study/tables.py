"""The tables of a study file other than `[space]`: constraints, budget, run, search."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from search.study.methods import PRUNERS, SAMPLERS
from snn.settings.architecture import ArchitectureError, parse_architecture
from snn.settings.backbones import BACKBONES
from snn.settings.config import (
    SETTINGS,
    ConfigError,
    Fault,
    RunConfig,
    Setting,
    current_names,
    nearest,
    unknown_setting,
)
from snn.settings.measurement import METRICS, Metric, Metrics

MAX_OBJECTIVES = 5
_ANY = Setting(kind="real", meaning="any number")


@dataclass(frozen=True, kw_only=True)
class Bound:
    """Limits of a metric; at least one side is given."""

    min: float | None = None
    max: float | None = None

    def excess(self, value: float) -> float:
        """Return how far `value` lies outside, relative to the limit; 0 or less if inside."""
        return max(
            -math.inf if self.max is None else (value - self.max) / (abs(self.max) or 1.0),
            -math.inf if self.min is None else (self.min - value) / (abs(self.min) or 1.0),
        )

    def violation(self, value: float) -> float:
        """Return the excess of a value outside; 0 inside, infinity for NaN."""
        return math.inf if math.isnan(value) else max(self.excess(value), 0.0)

    def to_mapping(self) -> dict[str, float]:
        """Return the given sides as a TOML table."""
        sides = {"min": self.min, "max": self.max}
        return {side: value for side, value in sides.items() if value is not None}


@dataclass(frozen=True, kw_only=True)
class Budget:
    """Limits of what a study may spend; None is no limit. Not part of the question."""

    trials: int | None = None
    hours: float | None = None  # of wall time
    epochs: int | None = None  # trained by all trials together
    trial_minutes: float | None = None  # of one trial, which is pruned then
    workers: int = 2  # 0 runs trials in the driver's process
    cpus_per_trial: float = 1.0
    gpus_per_trial: float = 0.0


@dataclass(frozen=True, kw_only=True)
class SearchSettings:
    """How configurations are chosen, and the reference point of the hypervolume."""

    sampler: str = "tpe"
    stopping: str = "none"
    reduction_factor: float = 3.0  # of ASHA: the best 1/reduction_factor continue at a rung
    grace_period: float = 0.1  # fraction of a trial's training before which no trial is stopped
    seed: int = 0
    reuse_blocks: bool = True  # take equal blocks from the block cache, bit for bit
    block_cache_mb: int = 2_000  # largest size of the block cache on disk
    reference: Mapping[str, float] = field(default_factory=dict)  # by objective
    initial_points: tuple[Mapping[str, Any], ...] = ()  # tried first, as given
    warm_start: tuple[str, ...] = ()  # studies of the same store whose trials the sampler is told
    repeats: int = 1  # trials of each configuration, with successive seeds
    extend_prefixes: float | None = None  # share of trials; None: the default where possible
    share_operating_points: bool = False  # the sampler is told further operating points
    grow_share: float = 0.85  # of the trials of sampler grow that extend a prefix


BUDGET_SETTINGS = {
    "trials": Setting(kind="integer", low=1, meaning="number of trials"),
    "hours": Setting(kind="real", low=0, open_low=True, meaning="wall time, hours"),
    "epochs": Setting(kind="integer", low=1, meaning="epochs trained by all trials together"),
    "trial_minutes": Setting(
        kind="real", low=0, open_low=True, meaning="longest wall time of one trial, minutes"
    ),
    "workers": Setting(
        kind="integer", low=0, meaning="trials at a time; 0 runs them in one process, without Ray"
    ),
    "cpus_per_trial": Setting(kind="real", low=0, open_low=True, meaning="CPU cores of one trial"),
    "gpus_per_trial": Setting(kind="real", low=0, meaning="GPUs of one trial; fractions allowed"),
}
SEARCH_SETTINGS = {
    "sampler": Setting(
        kind="choice", choices=tuple(SAMPLERS), meaning="method that proposes configurations"
    ),
    "stopping": Setting(
        kind="choice", choices=("none", *PRUNERS), meaning="early stopping of trials"
    ),
    "reduction_factor": Setting(
        kind="real", low=1.5, high=100, meaning="at a rung the best 1/reduction_factor continue"
    ),
    "grace_period": Setting(
        kind="real",
        low=0.001,
        high=0.5,
        meaning="fraction of its training before which no trial is stopped",
    ),
    "seed": Setting(kind="integer", low=0, meaning="seed of the sampler"),
    "reuse_blocks": Setting(kind="flag", meaning="take equal blocks from the block cache"),
    "block_cache_mb": Setting(kind="integer", low=1, meaning="size of the block cache, MB"),
    "repeats": Setting(
        kind="integer", low=1, meaning="trials of each configuration, with successive seeds"
    ),
    "extend_prefixes": Setting(
        kind="real",
        low=0,
        high=1,
        meaning="share of trials that keep the first blocks of a network of the front",
    ),
    "grow_share": Setting(
        kind="real",
        low=0,
        high=1,
        meaning="share of the trials of sampler grow that add a block to a trained prefix; "
        "the others are proposed by TPE",
    ),
    "share_operating_points": Setting(
        kind="flag", meaning="tell the sampler up to four further operating points of each trial"
    ),
}
# Names of earlier versions, which are read for ever. Fingerprints of questions use them.
EARLIER_NAMES = {
    "stopping_reduction": "reduction_factor",
    "stopping_smallest": "grace_period",
    "points": "initial_points",
    "family": "share_operating_points",
}


def as_table(value: object, key: str, faults: list[Fault]) -> Mapping[str, Any]:
    """Return `value` if it is a table; otherwise an empty one, and add a fault."""
    if isinstance(value, Mapping):
        return value
    faults.append(Fault(key=key, message=f"must be a table, got {value!r}"))
    return {}


def unknown_key(key: str, name: str, known: Mapping[str, object] | tuple[str, ...]) -> Fault:
    """Return the fault of an unknown key."""
    hint = nearest(name, known) or f"; known: {', '.join(known)}"
    return Fault(key=key, message=f"is not a known key{hint}")


def _settings(
    table: Mapping[str, Any], where: str, settings: Mapping[str, Setting], faults: list[Fault]
) -> dict[str, Any]:
    """Return the valid values of `table`, and add a fault for each other one."""
    values = {}
    for name, value in table.items():
        if name not in settings:
            faults.append(unknown_key(f"{where}.{name}", name, settings))
        elif message := settings[name].fault(value):
            faults.append(Fault(key=f"{where}.{name}", message=message))
        else:
            values[name] = float(value) if settings[name].kind == "real" else value
    return values


def _unknown_metric(key: str, name: str, metrics: Metrics) -> Fault:
    hint = nearest(name, metrics) or f"; known: {', '.join(metrics)}"
    return Fault(key=key, message=f"must name a metric, got {name!r}{hint}")


def read_objectives(
    given: object, faults: list[Fault], metrics: Metrics = METRICS
) -> tuple[str, ...]:
    """Read the metrics to be optimised; `metrics` are those that the study can have."""
    key = "objectives"
    if given is None:
        message = "must be given: a list of metrics, like ['accuracy', 'synaptic_ops']"
        faults.append(Fault(key=key, message=message))
        return ()
    if not isinstance(given, list) or not all(isinstance(name, str) for name in given):
        message = f"must be a list of metrics, like ['accuracy', 'synaptic_ops'], got {given!r}"
        faults.append(Fault(key=key, message=message))
        return ()
    if not 1 <= len(given) <= MAX_OBJECTIVES:
        message = f"must name 1 to {MAX_OBJECTIVES} metrics, got {len(given)}"
        faults.append(Fault(key=key, message=f"{message}; known: {', '.join(metrics)}"))
    faults.extend(_unknown_metric(key, name, metrics) for name in given if name not in metrics)
    for name in dict.fromkeys(name for name in given if given.count(name) > 1):
        faults.append(Fault(key=key, message=f"must name each metric once, got {name!r} again"))
    return tuple(given)


def read_constraints(
    given: object, faults: list[Fault], metrics: Metrics = METRICS
) -> dict[str, Bound]:
    """Read the bounds by metric."""
    bounds = {}
    for name, value in as_table(given, "constraints", faults).items():
        key = f"constraints.{name}"
        if name not in metrics:
            faults.append(_unknown_metric(key, name, metrics))
        elif not isinstance(value, dict):
            message = f"must be like {{ max = 400_000 }}, got {value!r}"
            faults.append(Fault(key=key, message=message))
        else:
            bounds[name] = _bound(key, value, faults)
            faults.extend(_limit_faults(key, metrics[name], bounds[name]))
    return bounds


def _bound(key: str, given: Mapping[str, Any], faults: list[Fault]) -> Bound:
    sides = _settings(given, key, {"min": _ANY, "max": _ANY}, faults)
    if not given.keys() & {"min", "max"}:
        faults.append(Fault(key=key, message="must have min or max, got neither"))
    if len(sides) == 2 and sides["min"] > sides["max"]:
        message = f"must be at most max ({given['max']}), got {given['min']}"
        faults.append(Fault(key=f"{key}.min", message=message))
    return Bound(**sides)


def _limit_faults(key: str, metric: Metric, bound: Bound) -> Iterator[Fault]:
    for side, limit in bound.to_mapping().items():
        if message := metric.limit_fault(limit):
            yield Fault(key=f"{key}.{side}", message=message)


def read_budget(given: object, faults: list[Fault]) -> Budget:
    """Read `[budget]`."""
    table = as_table(given, "budget", faults)
    return Budget(**_settings(table, "budget", BUDGET_SETTINGS, faults))


def read_search(
    given: object,
    objectives: tuple[str, ...],
    faults: list[Fault],
    metrics: Metrics = METRICS,
) -> SearchSettings:
    """Read `[search]`; names of earlier versions are translated."""
    table = _current_names(as_table(given, "search", faults), faults)
    reference = as_table(table.pop("reference", {}), "search.reference", faults)
    points = _initial_points(table.pop("initial_points", []), faults)
    warm_start = _warm_start(table.pop("warm_start", []), faults)
    for name in table:
        if name not in SEARCH_SETTINGS:
            known = (*SEARCH_SETTINGS, "initial_points", "reference", "warm_start")
            faults.append(unknown_key(f"search.{name}", name, known))
    known_table = {name: value for name, value in table.items() if name in SEARCH_SETTINGS}
    values = _settings(known_table, "search", SEARCH_SETTINGS, faults)
    if values.get("share_operating_points") and values.get("repeats", 1) > 1:
        message = "must be false with repeats, of which the sampler is told only the mean"
        faults.append(Fault(key="search.share_operating_points", message=message))
    settings = SearchSettings(
        **values,
        initial_points=points,
        warm_start=warm_start,
        reference=_reference(reference, objectives, faults, metrics),
    )
    faults.extend(_stopping_faults(table, settings))
    return settings


def _current_names(given: Mapping[str, Any], faults: list[Fault]) -> dict[str, Any]:
    """Return the table with the names of this version."""
    for earlier, name in EARLIER_NAMES.items():
        if earlier in given and name in given:
            message = f"is the earlier name of {name}, which is given too; remove one"
            faults.append(Fault(key=f"search.{earlier}", message=message))
    return {EARLIER_NAMES.get(name, name): value for name, value in given.items()}


def _warm_start(given: object, faults: list[Fault]) -> tuple[str, ...]:
    if isinstance(given, list) and all(isinstance(name, str) for name in given):
        return tuple(dict.fromkeys(given))
    message = f"must be a list of study names, like ['digits'], got {given!r}"
    faults.append(Fault(key="search.warm_start", message=message))
    return ()


def _initial_points(given: object, faults: list[Fault]) -> tuple[Mapping[str, Any], ...]:
    if isinstance(given, list) and all(isinstance(point, dict) for point in given):
        return tuple(current_names(point) for point in given)
    message = f"must be a list of tables like {{ width = 16, dropout = 0.1 }}, got {given!r}"
    faults.append(Fault(key="search.initial_points", message=message))
    return ()


def _stopping_faults(given: Mapping[str, Any], settings: SearchSettings) -> Iterator[Fault]:
    """Yield a fault for each setting of early stopping that would have no effect."""
    if given.get("stopping", "none") == "none":
        for name in [name for name in ("reduction_factor", "grace_period") if name in given]:
            message = f"has no effect without search.stopping = {next(iter(PRUNERS))!r}"
            yield Fault(key=f"search.{name}", message=message)
    elif settings.grace_period > (last := 1 / settings.reduction_factor) + 1e-9:
        message = (
            f"must be at most 1/reduction_factor ({last:.3g}), the position of the last rung, "
            f"got {settings.grace_period}"
        )
        yield Fault(key="search.grace_period", message=message)


def _reference(
    given: Mapping[str, Any],
    objectives: tuple[str, ...],
    faults: list[Fault],
    metrics: Metrics,
) -> dict[str, float]:
    reference = {}
    for name, value in given.items():
        key = f"search.reference.{name}"
        if name not in objectives:
            message = f"must be an objective of the study ({', '.join(objectives)})"
            faults.append(Fault(key=key, message=message + nearest(name, objectives)))
        elif name in metrics and (fault := _reference_fault(metrics[name], value)):
            faults.append(Fault(key=key, message=fault))
        elif name in metrics:
            reference[name] = float(value)
    return reference


def _reference_fault(metric: Metric, value: object) -> str | None:
    """Return the fault of a reference that leaves no box to the ideal, usually 1 or 0."""
    ideal = int(metric.best_value) if metric.ideal is None else metric.ideal
    if metric.better == "higher":
        return Setting(kind="real", meaning="", high=ideal, open_high=True).fault(value)
    return Setting(kind="real", meaning="", low=ideal, open_low=True).fault(value)


def read_run(given: object, searched: object, faults: list[Fault]) -> dict[str, Any]:
    """Read the settings that all trials share, and check each of them alone.

    Contradictions between settings are searched later, over the whole space.
    """
    table = as_table(given, "run", faults)
    values: dict[str, Any] = {}
    for name, given_value in table.items():
        value: Any = tuple(given_value) if isinstance(given_value, list) else given_value
        if name not in SETTINGS:
            faults.append(Fault(key=f"run.{name}", message=unknown_setting(name).message))
        elif message := SETTINGS[name].fault(value) or text_fault(name, value):
            faults.append(Fault(key=f"run.{name}", message=message))
        else:
            values[name] = SETTINGS[name].current(value)
    values = current_names(values)
    axes = searched if isinstance(searched, dict) else {}
    faults.extend(_architecture_faults(values, axes))
    return values


def text_fault(name: str, value: Any) -> str | None:
    """Return the fault of a text of [run] or [space] that the setting alone does not see."""
    if name == "architecture" and value:
        try:
            parse_architecture(value)
        except ArchitectureError as error:
            return str(error)
    return None


def _architecture_faults(run: Mapping[str, Any], axes: Mapping[str, Any]) -> list[Fault]:
    """Return the faults of architecture, partition and exits if no axis can change them."""
    cut = ("backbone", "architecture", "partition", "exit_threshold")
    parts = (*cut, "width", "dataset") if "architecture" in run else cut
    if not run.keys() & {"partition", "architecture"} or any(part in axes for part in parts):
        return []
    if run.get("backbone", "resnet7") not in BACKBONES:
        return []
    try:
        RunConfig.from_mapping({part: run[part] for part in parts if part in run})
    except ConfigError as error:
        return [Fault(key=f"run.{fault.key}", message=fault.message) for fault in error.faults]
    return []
