"""The values of the study form, the file that they make, and its faults by field.

Values become text of a study file; the reader of study files checks them, as for the command line.
"""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from search.study.study import Study, StudyError, study_from_toml
from search.study.toml_text import toml_text
from snn.settings.config import SETTINGS, Fault

# Ranges of the first axes, and of axes that are added.
RANGES: Mapping[str, Mapping[str, str]] = {
    "exit_threshold": {"low": "0.5", "high": "0.99"},
    "width": {"low": "4", "high": "32", "log": "true"},
    "dropout": {"low": "0.0", "high": "0.3", "step": "0.05"},
    "timesteps": {"low": "2", "high": "8"},
    "target_sparsity": {"low": "0.5", "high": "0.98"},
    "learning_rate": {"low": "1e-3", "high": "3e-2", "log": "true"},
    "leak": {"low": "0.5", "high": "1.0"},
    "threshold": {"low": "0.5", "high": "1.5"},
    "partition": {"max_blocks": "3"},
}
FIRST_AXES = ("partition", "exit_threshold", "timesteps", "target_sparsity", "learning_rate")
SHARED = ("dataset", "backbone", "width", "epochs", "batch_size", "loss", "seed")


@dataclass(frozen=True, kw_only=True)
class Draft:
    """The values of the form as typed; empty ones are left out of the file."""

    name: str
    question: str = ""
    objectives: Sequence[str] = ()
    constraints: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    budget: Mapping[str, str] = field(default_factory=dict)
    run: Mapping[str, str | bool] = field(default_factory=dict)
    axes: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    search: Mapping[str, str] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """Return the tables of the study file."""
        found: dict[str, Any] = {"name": self.name, "objectives": list(self.objectives)}
        found["constraints"] = {n: _table(sides) for n, sides in self.constraints.items()}
        found["budget"] = _table(self.budget)
        found["run"] = {
            name: value if _is_word(name) else typed(value)
            for name, value in self.run.items()
            if value != ""
        }
        found["space"] = {name: _axis(name, given) for name, given in self.axes.items()}
        found["search"] = {n: v for n, v in self.search.items() if v != ""}
        return {key: value for key, value in found.items() if value not in ({}, [])}

    def text(self) -> str:
        """Return the study file."""
        return toml_text(self.question, self.document())


def _is_word(name: str) -> bool:
    return SETTINGS[name].kind in ("choice", "text") if name in SETTINGS else False


def _table(values: Mapping[str, str]) -> dict[str, Any]:
    return {name: typed(value) for name, value in values.items() if value != ""}


def _axis(name: str, given: Mapping[str, object]) -> object:
    if "values" in given:
        values = given["values"]
        if isinstance(values, str):
            parts = [part.strip() for part in values.split(",")]
            return [part if _is_word(name) else typed(part) for part in parts if part]
        assert isinstance(values, Sequence)
        return list(values)
    return _table({key: str(value) for key, value in given.items()})


def typed(text: object) -> object:
    """Return a number or truth value of TOML, otherwise the text, which the reader refuses."""
    if not isinstance(text, str):
        return text
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):  # of tomllib: no TOML, thousands of digits or brackets
        return text
    return value if isinstance(value, int | float) else text


@dataclass(frozen=True, kw_only=True)
class Reading:
    """A study file that was read: the study, or its faults."""

    study: Study | None
    faults: tuple[Fault, ...] = ()

    def at(self, *places: str) -> list[str]:
        """Return the faults of these keys and of keys below them, a sentence each."""
        return [
            str(fault)
            for fault in self.faults
            if any(_is_within(fault.key, place) for place in places)
        ]

    def elsewhere(self, *places: str) -> list[str]:
        """Return the faults of all other keys."""
        found = [f for f in self.faults if not any(_is_within(f.key, place) for place in places)]
        return [str(fault).strip() for fault in found]


def _is_within(key: str, place: str) -> bool:
    return key == place or key.startswith(f"{place}.")


def read(text: str, source: str = "study") -> Reading:
    """Read a study file; return the study or all its faults."""
    try:
        return Reading(study=study_from_toml(text, source))
    except StudyError as error:
        return Reading(study=None, faults=error.faults)
