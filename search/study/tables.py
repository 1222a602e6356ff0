"""The tables of a study file beside `[space]`: constraints, budget, run, search."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from snn.settings.backbones import BACKBONES
from snn.settings.config import (
    SETTINGS,
    ConfigError,
    Fault,
    RunConfig,
    Setting,
    nearest,
    unknown_setting,
)
from snn.settings.measurement import METRICS

MAX_OBJECTIVES = 5
SAMPLERS = ("tpe", "nsga2", "nsga3", "gp", "qmc", "random", "auto")
STOPPINGS = ("none", "moasha")
_ANY = Setting(kind="real", meaning="any number")


@dataclass(frozen=True, kw_only=True)
class Bound:
    """What a metric has to stay within; at least one side is given."""

    min: float | None = None
    max: float | None = None

    def excess(self, value: float) -> float:
        """How far `value` lies outside, in magnitudes of the bound; 0 or less when it is inside."""
        return max(
            -math.inf if self.max is None else (value - self.max) / (abs(self.max) or 1.0),
            -math.inf if self.min is None else (self.min - value) / (abs(self.min) or 1.0),
        )

    def violation(self, value: float) -> float:
        """The excess of a value outside; 0 for every value inside, infinity for NaN."""
        return math.inf if math.isnan(value) else max(self.excess(value), 0.0)

    def to_mapping(self) -> dict[str, float]:
        """The sides that are given, as TOML has them."""
        sides = {"min": self.min, "max": self.max}
        return {side: value for side, value in sides.items() if value is not None}


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What a study may spend; None is no limit. It is no part of the question."""

    trials: int | None = None
    hours: float | None = None  # of wall time
    epochs: int | None = None  # trained by all trials together
    trial_minutes: float | None = None  # that one trial may take; then it is ended
    workers: int = 2  # 0 runs trials in the process of the driver
    cpus_per_trial: float = 1.0
    gpus_per_trial: float = 0.0


@dataclass(frozen=True, kw_only=True)
class SearchSettings:
    """How the next point is found, and what hypervolume is measured from."""

    sampler: str = "tpe"
    stopping: str = "none"
    stopping_reduction: float = 3.0  # one of so many trials goes on at a rung
    stopping_smallest: float = 0.1  # fraction of a trial's training before which nothing is judged
    seed: int = 0
    reuse_blocks: bool = True  # trials take blocks that were trained before, bit for bit
    block_cache_mb: int = 2_000  # the most that is kept of them on the disk
    reference: Mapping[str, float] = field(default_factory=dict)  # by objective
    points: tuple[Mapping[str, Any], ...] = ()  # tried first, as they were given
    warm_start: tuple[str, ...] = ()  # studies of the same store whose trials teach the sampler
    repeats: int = 1  # trials of each point, with one seed after another
    extend_prefixes: float | None = None  # share of trials; None is the default where it can be
    family: bool = False  # the sampler hears the best of a trial's operating points, too


BUDGET_SETTINGS = {
    "trials": Setting(kind="integer", low=1, meaning="trials that may be made"),
    "hours": Setting(kind="real", low=0, open_low=True, meaning="wall time"),
    "epochs": Setting(kind="integer", low=1, meaning="epochs trained by all trials together"),
    "trial_minutes": Setting(
        kind="real", low=0, open_low=True, meaning="time that a trial may take"
    ),
    "workers": Setting(kind="integer", low=0, meaning="trials at a time; 0 is without workers"),
    "cpus_per_trial": Setting(kind="real", low=0, open_low=True, meaning="processor cores"),
    "gpus_per_trial": Setting(kind="real", low=0, meaning="graphics processors; fractions allowed"),
}
SEARCH_SETTINGS = {
    "sampler": Setting(kind="choice", choices=SAMPLERS, meaning="what proposes points"),
    "stopping": Setting(kind="choice", choices=STOPPINGS, meaning="what ends trials early"),
    "stopping_reduction": Setting(
        kind="real", low=1.5, high=100, meaning="one of so many trials goes on at a rung"
    ),
    "stopping_smallest": Setting(
        kind="real", low=0.001, high=0.5, meaning="fraction of a training before the first rung"
    ),
    "seed": Setting(kind="integer", low=0, meaning="seed of the sampler"),
    "reuse_blocks": Setting(kind="flag", meaning="take blocks that were trained before"),
    "block_cache_mb": Setting(kind="integer", low=1, meaning="disk for trained blocks, MB"),
    "repeats": Setting(kind="integer", low=1, meaning="trials of each point, by seed"),
    "extend_prefixes": Setting(
        kind="real", low=0, high=1, meaning="share of trials that keep blocks of the front"
    ),
    "family": Setting(kind="flag", meaning="the sampler hears a trial's other operating points"),
}


def as_table(value: object, key: str, faults: list[Fault]) -> Mapping[str, Any]:
    """`value` when it is a table, and an empty one with a fault when it is not."""
    if isinstance(value, Mapping):
        return value
    faults.append(Fault(key=key, message=f"must be a table, got {value!r}"))
    return {}


def unknown_key(key: str, name: str, known: Mapping[str, object] | tuple[str, ...]) -> Fault:
    """The fault of a key that nothing reads."""
    hint = nearest(name, known) or f"; known: {', '.join(known)}"
    return Fault(key=key, message=f"is not a known key{hint}")


def _settings(
    table: Mapping[str, Any], where: str, settings: Mapping[str, Setting], faults: list[Fault]
) -> dict[str, Any]:
    """The values of `table` that are as `settings` want them."""
    values = {}
    for name, value in table.items():
        if name not in settings:
            faults.append(unknown_key(f"{where}.{name}", name, settings))
        elif message := settings[name].fault(value):
            faults.append(Fault(key=f"{where}.{name}", message=message))
        else:
            values[name] = float(value) if settings[name].kind == "real" else value
    return values


def _unknown_metric(key: str, name: str) -> Fault:
    hint = nearest(name, METRICS) or f"; known: {', '.join(METRICS)}"
    return Fault(key=key, message=f"must name a metric, got {name!r}{hint}")


def read_objectives(given: object, faults: list[Fault]) -> tuple[str, ...]:
    """The metrics to be optimised."""
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
        faults.append(Fault(key=key, message=f"{message}; known: {', '.join(METRICS)}"))
    faults.extend(_unknown_metric(key, name) for name in given if name not in METRICS)
    for name in dict.fromkeys(name for name in given if given.count(name) > 1):
        faults.append(Fault(key=key, message=f"must name each metric once, got {name!r} again"))
    return tuple(given)


def read_constraints(given: object, faults: list[Fault]) -> dict[str, Bound]:
    """Bounds by metric."""
    bounds = {}
    for name, value in as_table(given, "constraints", faults).items():
        key = f"constraints.{name}"
        if name not in METRICS:
            faults.append(_unknown_metric(key, name))
        elif not isinstance(value, dict):
            message = f"must be like {{ max = 400_000 }}, got {value!r}"
            faults.append(Fault(key=key, message=message))
        else:
            bounds[name] = _bound(key, value, faults)
    return bounds


def _bound(key: str, given: Mapping[str, Any], faults: list[Fault]) -> Bound:
    sides = _settings(given, key, {"min": _ANY, "max": _ANY}, faults)
    if not given.keys() & {"min", "max"}:
        faults.append(Fault(key=key, message="must have min or max, got neither"))
    if len(sides) == 2 and sides["min"] > sides["max"]:
        message = f"must be at most max ({given['max']}), got {given['min']}"
        faults.append(Fault(key=f"{key}.min", message=message))
    return Bound(**sides)


def read_budget(given: object, faults: list[Fault]) -> Budget:
    """What the study may spend."""
    table = as_table(given, "budget", faults)
    return Budget(**_settings(table, "budget", BUDGET_SETTINGS, faults))


def read_search(given: object, objectives: tuple[str, ...], faults: list[Fault]) -> SearchSettings:
    """How points are found."""
    table = dict(as_table(given, "search", faults))
    reference = as_table(table.pop("reference", {}), "search.reference", faults)
    points = _points(table.pop("points", []), faults)
    warm_start = _warm_start(table.pop("warm_start", []), faults)
    for name in table:
        if name not in SEARCH_SETTINGS:
            known = (*SEARCH_SETTINGS, "points", "reference", "warm_start")
            faults.append(unknown_key(f"search.{name}", name, known))
    known_table = {name: value for name, value in table.items() if name in SEARCH_SETTINGS}
    values = _settings(known_table, "search", SEARCH_SETTINGS, faults)
    if values.get("family") and values.get("repeats", 1) > 1:
        message = "must be false with repeats, of which the sampler hears the mean"
        faults.append(Fault(key="search.family", message=message))
    settings = SearchSettings(
        **values,
        points=points,
        warm_start=warm_start,
        reference=_reference(reference, objectives, faults),
    )
    faults.extend(_stopping_faults(table, settings))
    return settings


def _warm_start(given: object, faults: list[Fault]) -> tuple[str, ...]:
    if isinstance(given, list) and all(isinstance(name, str) for name in given):
        return tuple(dict.fromkeys(given))
    message = f"must be a list of studies' names, like ['digits'], got {given!r}"
    faults.append(Fault(key="search.warm_start", message=message))
    return ()


def _points(given: object, faults: list[Fault]) -> tuple[Mapping[str, Any], ...]:
    if isinstance(given, list) and all(isinstance(point, dict) for point in given):
        return tuple(given)
    message = f"must be a list of tables like {{ width = 16, dropout = 0.1 }}, got {given!r}"
    faults.append(Fault(key="search.points", message=message))
    return ()


def _stopping_faults(given: Mapping[str, Any], settings: SearchSettings) -> Iterator[Fault]:
    """Settings of early stopping that would do nothing."""
    if given.get("stopping", "none") == "none":
        for name in [name for name in given if name.startswith("stopping_")]:
            message = "has no effect without search.stopping = 'moasha'"
            yield Fault(key=f"search.{name}", message=message)
    elif settings.stopping_smallest > (last := 1 / settings.stopping_reduction) + 1e-9:
        message = (
            f"must be at most 1/stopping_reduction ({last:.3g}), where the last rung is, "
            f"got {settings.stopping_smallest}"
        )
        yield Fault(key="search.stopping_smallest", message=message)


def _reference(
    given: Mapping[str, Any], objectives: tuple[str, ...], faults: list[Fault]
) -> dict[str, float]:
    reference = {}
    for name, value in given.items():
        key = f"search.reference.{name}"
        if name not in objectives:
            message = f"must be an objective of the study ({', '.join(objectives)})"
            faults.append(Fault(key=key, message=message + nearest(name, objectives)))
        elif fault := _reference_fault(name, value):
            faults.append(Fault(key=key, message=fault))
        else:
            reference[name] = float(value)
    return reference


def _reference_fault(metric: str, value: object) -> str | None:
    """The reference must leave a box between itself and the ideal, which is 1 or 0."""
    if METRICS[metric].better == "higher":
        return Setting(kind="real", meaning="", high=1, open_high=True).fault(value)
    return Setting(kind="real", meaning="", low=0, open_low=True).fault(value)


def read_run(given: object, searched: object, faults: list[Fault]) -> dict[str, Any]:
    """The settings that every trial shares, each checked for itself.

    What contradicts what is asked later, of points of the whole space.
    """
    table = as_table(given, "run", faults)
    values: dict[str, Any] = {}
    for name, given_value in table.items():
        value: Any = tuple(given_value) if isinstance(given_value, list) else given_value
        if name not in SETTINGS:
            faults.append(Fault(key=f"run.{name}", message=unknown_setting(name).message))
        elif message := SETTINGS[name].fault(value):
            faults.append(Fault(key=f"run.{name}", message=message))
        else:
            values[name] = float(value) if SETTINGS[name].kind == "real" else value
    axes = searched if isinstance(searched, dict) else {}
    faults.extend(_architecture_faults(values, axes))
    return values


def _architecture_faults(run: Mapping[str, Any], axes: Mapping[str, Any]) -> list[Fault]:
    """Faults of a partition and its exits that no axis can still mend."""
    parts = ("backbone", "partition", "exit_threshold")
    if "partition" not in run or any(part in axes for part in parts):
        return []
    if run.get("backbone", "resnet7") not in BACKBONES:
        return []
    try:
        RunConfig.from_mapping({part: run[part] for part in parts if part in run})
    except ConfigError as error:
        return [Fault(key=f"run.{fault.key}", message=fault.message) for fault in error.faults]
    return []
