"""The metrics that a study can have: those of spikefront, and those of its own `[metrics]`."""

from collections.abc import Mapping
from typing import Any

from snn.settings.config import Fault, Setting, nearest
from snn.settings.measurement import METRICS, Metric, name_fault

_NUMBER = Setting(kind="real", meaning="any number")
_KEYS = ("better", "unit", "meaning", "ideal")


def declared(metric: Metric) -> dict[str, Any]:
    """Return a metric as `[metrics]` and stores have it."""
    return {name: value for name in _KEYS if (value := getattr(metric, name)) not in (None, "")}


def read_metrics(given: object, faults: list[Fault]) -> dict[str, Metric]:
    """Read `[metrics]`: what an own training reports, by name.

    A metric of spikefront may be declared again with the direction and unit that it has.
    """
    if not isinstance(given, Mapping):
        message = f"must be a table like {{ energy_uj = {{ better = 'lower' }} }}, got {given!r}"
        faults.append(Fault(key="metrics", message=message))
        return {}
    found = {}
    for name, table in given.items():
        wrong = [*_faults(name, table)]
        faults.extend(wrong)
        if not wrong and name in METRICS:
            found[name] = METRICS[name]
        elif not wrong:
            found[name] = _metric(name, table)
    return found


def _metric(name: str, values: Mapping[str, Any]) -> Metric:
    ideal = values.get("ideal")
    return Metric(
        name=name,
        unit=values.get("unit", ""),
        better=values["better"],
        meaning=values.get("meaning") or "declared by the study, without a meaning",
        ideal=None if ideal is None else float(ideal),
    )


def stored_metrics(values: Mapping[str, Mapping[str, Any]]) -> dict[str, Metric]:
    """Return metrics that a store has."""
    return {name: _metric(name, table) for name, table in values.items()}


def _faults(name: str, table: object) -> list[Fault]:
    key = f"metrics.{name}"
    if message := name_fault(name):
        return [Fault(key=key, message=message)]
    if not isinstance(table, Mapping):
        message = f"must be like {{ better = 'lower', unit = 'uJ' }}, got {table!r}"
        return [Fault(key=key, message=message)]
    faults = []
    for each in table:
        if each not in _KEYS:
            hint = nearest(each, _KEYS) or f"; known: {', '.join(_KEYS)}"
            faults.append(Fault(key=f"{key}.{each}", message=f"is not a known key{hint}"))
    better = table.get("better")
    if better not in ("higher", "lower"):
        message = f"must be 'higher' or 'lower', got {better!r}"
        faults.append(Fault(key=f"{key}.better", message=message))
    elif name in METRICS and better != METRICS[name].better:
        message = f"must be {METRICS[name].better!r}, as {name} has it everywhere, got {better!r}"
        faults.append(Fault(key=f"{key}.better", message=message))
    for each in ("unit", "meaning"):
        if not isinstance(table.get(each, ""), str):
            message = f"must be text, got {table[each]!r}"
            faults.append(Fault(key=f"{key}.{each}", message=message))
    if "ideal" in table and (message := _NUMBER.fault(table["ideal"])):
        faults.append(Fault(key=f"{key}.ideal", message=message))
    elif "ideal" in table and name in METRICS:
        message = f"must be left out: {name} is a metric of spikefront"
        faults.append(Fault(key=f"{key}.ideal", message=message))
    if name in METRICS and table.get("unit", METRICS[name].unit) != METRICS[name].unit:
        message = f"must be {METRICS[name].unit!r}, as {name} has it everywhere"
        faults.append(Fault(key=f"{key}.unit", message=message))
    return faults


__all__ = ["declared", "read_metrics", "stored_metrics"]
