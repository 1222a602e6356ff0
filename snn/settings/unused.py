"""Settings that a run does not use, because others say that they do not apply."""

from collections.abc import Collection, Container, Iterator, Mapping
from typing import Any

from snn.settings.config import SETTINGS, RunConfig
from snn.settings.setting import Fault

# settings whose default depends on others, as far as `only_with` names them
DEPENDS_ON = {"encoding": ("dataset", "time_rule")}


def obstacle(
    only_with: Mapping[str, Container[Any]],
    config: RunConfig,
    varied: Mapping[str, Collection[Any] | None] | None = None,
) -> str | None:
    """Return why no run like this one has the values of `only_with`, or None.

    `only_with` is that of a setting or a metric; the answer is like `with encoding 'direct'`.
    `varied` are the settings in which the runs differ, with their values; None for too many.
    """
    varied = varied or {}
    for other, values in only_with.items():
        if other in varied:
            known = varied[other]
            if known is None or any(value in values for value in known):
                continue
            return f"with {other} {' or '.join(map(repr, known))}"
        if any(root in varied for root in DEPENDS_ON.get(other, ())):
            continue
        if getattr(config, other) not in values:
            return f"with {other} {getattr(config, other)!r}"
    return None


def ignored(given: Mapping[str, Any], config: RunConfig) -> Iterator[Fault]:
    """Yield a fault per given value that the config made from it has dropped."""
    for name, value in given.items():
        if name not in SETTINGS:
            continue
        if (reason := obstacle(SETTINGS[name].only_with, config)) is not None:
            value = tuple(value) if isinstance(value, list) else value
            if SETTINGS[name].current(value) != getattr(config, name):
                yield Fault(key=name, message=f"has no effect {reason}; leave it out")
