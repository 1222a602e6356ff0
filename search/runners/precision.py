"""The number type of a study whose precision is `auto`, the same for all of its trials.

The machine that first runs the study decides, for the device of its trials. The type is written
into the stored study, so that a run that continues elsewhere, a confirmation and an export use it
too, and trials of two types are never mixed.
"""

import itertools
from collections.abc import Iterator
from types import SimpleNamespace

from search.runners.leased_run import LeasedRun
from search.store.store import Store, StoreError
from search.study.axes import Choice, Fixed, Integer, Real
from search.study.study import Study, study_from_toml
from search.worker.engine import fastest_precision, pick_device
from snn.settings.config import FOLLOWING, RunConfig
from snn.settings.conflicts import half_precision

AUTO = "auto"
EVENT = "precision"  # kind of the event that says why


def settled(study: Study, device: str, store: Store | None = None) -> tuple[Study, str]:
    """Return the study with a number type in place of `auto`, and why in one line; "": no auto.

    A study that the store has keeps its type.
    """
    if study.run.get("precision") != AUTO:
        return study, ""
    chosen, reason = _stored(study, store) or _chosen(study, device)
    return study.with_overrides(sets={"precision": chosen}), f"auto is {chosen}: {reason}"


def device_of(study: Study, device: str | None) -> str:
    """Return the device of the study's trials: by default a GPU if it asks for one."""
    return device or (AUTO if study.budget.gpus_per_trial else "cpu")


def reason_of(store: Store, study: str) -> str:
    """Return why the number type of a stored study was chosen; "" if the study names it."""
    events = [event for event in store.events(study) if event.kind == EVENT]
    return events[0].message if events else ""


def record(run: LeasedRun, store: Store, study: str, why: str) -> None:
    """Say why the number type was chosen; the first run of a study also stores it."""
    run.say(f"precision {why}")
    if not reason_of(store, study):
        store.add_event(study, EVENT, why)


def _stored(study: Study, store: Store | None) -> tuple[str, str] | None:
    if store is None:
        return None
    try:
        toml = store.stored_study(study.name).toml
    except StoreError:  # a store that cannot be read fails again at creation
        return None
    kept = study_from_toml(toml, store.url).run.get("precision", RunConfig.precision)
    return None if kept == AUTO else (str(kept), "the study began with it")


def _chosen(study: Study, device: str) -> tuple[str, str]:
    names = ("time_rule", "timesteps", "leak", "synaptic_leak")
    for values in itertools.product(*(list(_extremes(study, name)) for name in names)):
        run = SimpleNamespace(precision="bfloat16", **dict(zip(names, values, strict=True)))
        for _, message in half_precision(run):
            return "float32", message
    if study.budget.gpus_per_trial and pick_device(device) == "cpu":
        return "float32", "the trials ask for a GPU, and this machine has none that torch can use"
    return fastest_precision(device)


def _extremes(study: Study, name: str) -> Iterator[object]:
    """Yield the values of a setting in the study; of a number only the highest.

    A decay factor that follows from a time constant is taken for 1, which it is always below.
    """
    axis = study.space.axes.get(name)
    if _follows_time(study, name):
        yield 1.0
    elif axis is None:
        yield study.run.get(name, getattr(RunConfig, name))
    elif isinstance(axis, Choice | Fixed):
        yield from axis.values
    elif isinstance(axis, Integer | Real):
        yield axis.last


def _follows_time(study: Study, name: str) -> bool:
    """Return whether a decay factor follows from a time constant and the length of a timestep."""
    constant = FOLLOWING.get(name)
    return constant is not None and (constant in study.space.axes or study.run.get(constant, 0) > 0)
