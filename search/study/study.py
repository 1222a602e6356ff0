"""Studies: a question, what may vary, what counts, and what it may cost.

A study is written as one TOML file. It is read whole: whoever wrote it hears
of every fault at once.
"""

import dataclasses
import hashlib
import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from search.study.initial_points import initial_points
from search.study.space import Space, conflict
from search.study.space_table import read_space
from search.study.tables import (
    EARLIER_NAMES,
    Bound,
    Budget,
    SearchSettings,
    as_table,
    read_budget,
    read_constraints,
    read_objectives,
    read_run,
    read_search,
    unknown_key,
)
from search.study.toml_text import toml_text
from snn.settings.config import SETTINGS, Fault, nearest

_DEFAULTS = SearchSettings()
LATER_KEYS = (  # of [search]
    "initial_points",
    "reduction_factor",
    "grace_period",
    "warm_start",
    "repeats",
    "extend_prefixes",
    "share_operating_points",
)
PREFIX_SHARE = 0.25  # of the trials, where blocks can be taken from others
TABLES = ("constraints", "budget", "run", "space", "search")
KEYS = ("name", "objectives", *TABLES)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


class StudyError(ValueError):
    """A study that cannot be; a line for each of `faults`, all beginning with its source."""

    def __init__(self, source: str, faults: list[Fault]) -> None:
        self.source = source
        self.faults = tuple(faults)
        lines = (
            f"{source}: {f.key} {f.message}" if f.key else f"{source}: {f.message}" for f in faults
        )
        super().__init__("\n".join(lines))


@dataclass(frozen=True, kw_only=True)
class Study:
    """A question that a search can answer. Made by `load_study` or `study_from_toml`."""

    name: str
    question: str  # the comment that the file begins with
    objectives: tuple[str, ...]
    constraints: Mapping[str, Bound]
    budget: Budget
    run: Mapping[str, Any]  # the fields of RunConfig that were given, shared by every trial
    space: Space
    search: SearchSettings
    text: str = dataclasses.field(repr=False)  # TOML that says all of this
    source: str = dataclasses.field(default="study", compare=False)  # where the text is from

    def with_overrides(
        self,
        *,
        trials: int | None = None,
        hours: float | None = None,
        epochs: int | None = None,
        workers: int | None = None,
        cpus_per_trial: float | None = None,
        gpus_per_trial: float | None = None,
        sets: Mapping[str, object] | None = None,
    ) -> "Study":
        """The same study with some of it said anew on the command line.

        `sets` fixes axes, or sets what the trials share; a string is read as
        TOML where the setting is not one of strings. The new text says it all:
        its comments are gone but for the question. Raises StudyError.
        """
        budget = {
            "trials": trials,
            "hours": hours,
            "epochs": epochs,
            "workers": workers,
            "cpus_per_trial": cpus_per_trial,
            "gpus_per_trial": gpus_per_trial,
        }
        budget = {name: value for name, value in budget.items() if value is not None}
        document = tomllib.loads(self.text)
        self._apply_budget(document, budget)
        self._apply_sets(document, sets or {})
        if document == tomllib.loads(self.text):
            return self
        return study_from_toml(toml_text(self.question, document), self.source)

    def _apply_budget(self, document: dict[str, Any], values: Mapping[str, object]) -> None:
        if values:
            document.setdefault("budget", {}).update(values)

    def _apply_sets(self, document: dict[str, Any], sets: Mapping[str, object]) -> None:
        unknown = [name for name in sets if name not in SETTINGS]
        if unknown:
            known = (*self.space.axes, *(name for name in SETTINGS if name not in self.space.axes))
            faults = [
                Fault(key=name, message=f"is not a setting of a run{nearest(name, known)}")
                for name in unknown
            ]
            raise StudyError("--set", faults)
        for name, value in sets.items():
            table = "space" if name in self.space.axes else "run"
            document.setdefault(table, {})[name] = _override(name, value)

    @property
    def prefix_share(self) -> float:
        """Share of the trials that let first blocks of the front stand; 0 where none could."""
        if not can_extend(self.space, self.search):
            return 0.0
        share = self.search.extend_prefixes
        return PREFIX_SHARE if share is None else share

    @property
    def question_fingerprint(self) -> str:
        """Names the question: 16 hex digits over everything but the budget and the comments."""
        earlier = {f"search.{new}": f"search.{old}" for old, new in EARLIER_NAMES.items()}
        question = {earlier.get(key, key): value for key, value in self._question().items()}
        text = json.dumps(question, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def differences(self, other: "Study") -> list[str]:
        """The keys in which two questions differ, like `space.width`; none when they are one."""
        ours, theirs = self._question(), other._question()
        keys = dict.fromkeys([*ours, *theirs])
        return [key for key in keys if ours.get(key) != theirs.get(key)]

    def _question(self) -> dict[str, Any]:
        """What makes the question, by key, as JSON can hold it."""
        values: dict[str, Any] = {"name": self.name, "objectives": list(self.objectives)}
        for name, bound in self.constraints.items():
            values[f"constraints.{name}"] = bound.to_mapping()
        for name, value in self.run.items():
            values[f"run.{name}"] = list(value) if isinstance(value, tuple) else value
        for name, axis in self.space.axes.items():
            values[f"space.{name}"] = {"kind": type(axis).__name__, **dataclasses.asdict(axis)}
        for name in ("sampler", "stopping", "seed"):
            values[f"search.{name}"] = getattr(self.search, name)
        for name in LATER_KEYS:  # absent by default, so that older studies ask what they asked
            if getattr(self.search, name) != getattr(_DEFAULTS, name):
                values[f"search.{name}"] = getattr(self.search, name)
        for name, value in self.search.reference.items():
            values[f"search.reference.{name}"] = value
        # Tuples and lists are one to JSON, and then to whoever compares.
        normal: dict[str, Any] = json.loads(json.dumps(values))
        return normal


def load_study(path: Path | str) -> Study:
    """The study in the file `path`. Raises StudyError with every fault."""
    path = Path(path)
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        near = nearest(path.name, [p.name for p in path.parent.glob("*.toml")])
        raise StudyError(str(path), [Fault(key="", message=f"no such file{near}")]) from None
    except IsADirectoryError:
        message = "must be a study file, got a directory"
        raise StudyError(str(path), [Fault(key="", message=message)]) from None
    except UnicodeDecodeError as error:
        message = f"must be text in UTF-8, got byte {error.object[error.start]:#04x}"
        message += f" at position {error.start}"
        raise StudyError(str(path), [Fault(key="", message=message)]) from None
    except OSError as error:
        message = f"cannot be read: {error.strerror}"
        raise StudyError(str(path), [Fault(key="", message=message)]) from None
    return study_from_toml(text, str(path))


def study_from_toml(text: str, source: str = "study") -> Study:
    """The study that `text` says; `source` begins every line of a StudyError."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise StudyError(source, [Fault(key="", message=f"is not TOML: {error}")]) from None
    except (ValueError, RecursionError):  # more than 4,300 digits, or lists in lists in lists
        message = "has a number with too many digits, or tables nested too deeply"
        raise StudyError(source, [Fault(key="", message=message)]) from None
    faults = [unknown_key(key, key, KEYS) for key in document if key not in KEYS]
    objectives = read_objectives(document.get("objectives"), faults)
    name = _name(document.get("name"), faults)
    constraints = read_constraints(document.get("constraints", {}), faults)
    budget = read_budget(document.get("budget", {}), faults)
    run_table = document.get("run", {})
    run = read_run(run_table, document.get("space"), faults)
    search = read_search(document.get("search", {}), objectives, faults)
    given = {**as_table(run_table, "run", []), **run}  # faulty settings are taken all the same
    space, space_faults = read_space(document.get("space"), given)
    faults.extend(space_faults)
    if space is not None and not faults and (contradiction := conflict(run, space)):
        faults.append(contradiction)
    if space is not None and not faults:
        initial_points(run, space, search.initial_points, search.seed, faults)
        faults.extend(_search_faults(str(name), space, search))
    if faults or space is None:
        raise StudyError(source, faults)
    return Study(
        name=name,
        question=_question(text),
        objectives=objectives,
        constraints=constraints,
        budget=budget,
        run=run,
        space=space,
        search=search,
        text=text,
        source=source,
    )


def _name(given: object, faults: list[Fault]) -> str:
    if given is None:
        faults.append(Fault(key="name", message="must be given: the study's name in the store"))
    elif not isinstance(given, str) or not _NAME.fullmatch(given):
        shown = (
            repr(given) if len(str(given)) <= 60 else f"{str(given)[:40]!r}... ({len(str(given))})"
        )
        message = (
            "must be 1 to 100 letters, digits, '.', '_' or '-', "
            f"the first a letter or digit, got {shown}"
        )
        faults.append(Fault(key="name", message=message))
    return str(given)


def can_extend(space: Space, search: SearchSettings) -> bool:
    """Whether trials may take first blocks of others and go on from them otherwise."""
    return search.reuse_blocks and "partition" in space.dimensions()


def _search_faults(name: str, space: Space, search: SearchSettings) -> Iterator[Fault]:
    """What of [search] the rest of the study does not go with."""
    if search.extend_prefixes and not can_extend(space, search):
        message = "must be 0 where no block can be kept: it needs reuse_blocks, and partition as "
        yield Fault(key="search.extend_prefixes", message=message + "an axis of the space")
    if search.repeats > 1 and "seed" in space.axes:
        message = "must be 1 where seed is an axis of the space"
        yield Fault(key="search.repeats", message=message)
    if name in search.warm_start:
        yield Fault(key="search.warm_start", message=f"must name other studies, got {name!r}")


def _question(text: str) -> str:
    """The comment lines that `text` begins with, without their marks."""
    lines = []
    for line in text.lstrip().splitlines():
        if not line.startswith("#"):
            break
        lines.append(line.lstrip("#").strip())
    return "\n".join(lines).strip()


def _override(name: str, value: object) -> object:
    """What `--set name=value` means: TOML for numbers, the text itself for names."""
    if not isinstance(value, str) or SETTINGS[name].kind in ("choice", "text"):
        return list(value) if isinstance(value, tuple) else value
    try:
        return tomllib.loads(f"value = {value}")["value"]
    except (ValueError, RecursionError):
        return value  # the reader of the table reports it


__all__ = [
    "Bound",
    "Budget",
    "SearchSettings",
    "Study",
    "StudyError",
    "load_study",
    "study_from_toml",
]
