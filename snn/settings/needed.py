"""Values that a learning rule over time needs other settings to have."""

from collections.abc import Iterator, Mapping
from typing import Any

Conflicts = Iterator[tuple[str, str]]  # the key of a setting, and a message
Needed = Mapping[str, tuple[float | str, str]]  # the value of a setting, and why


def unmet(config: Any, needed: Needed, *, instead: str = "") -> Conflicts:
    """Yield each setting that has another value than the config's `time_rule` needs.

    `instead` as in `other_than`.
    """
    for name, (value, why) in needed.items():
        yield from other_than(config, name, value, why, instead=instead)


def other_than(
    config: Any, name: str, value: float | str, why: str, *, instead: str = ""
) -> Conflicts:
    """Yield a setting that has another value; `why` is a clause about the config's `time_rule`.

    `instead` is a rule with which every value is possible.
    """
    given, rule = getattr(config, name), f"time_rule {config.time_rule!r}"
    if given == value:
        return
    if isinstance(value, str):
        other = f", or time_rule {instead!r}" if instead else ""
        yield name, f"{given!r} is not possible with {rule}, {why}; use {value!r}{other}"
    else:
        other = f"; use time_rule {instead!r}" if instead else ""
        yield name, f"must be {value:g} with {rule}, {why}, got {given:g}{other}"
