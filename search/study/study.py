"""Studies: a question with its space, objectives, constraints and budget.

A study is one TOML file. All its faults are reported at once.
"""

import dataclasses
import hashlib
import json
import re
import tomllib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from search.study import own_training
from search.study.axes import Axis, Choice, Fixed, Integer
from search.study.initial_points import initial_points
from search.study.methods import FAMILIES
from search.study.own_metrics import read_metrics
from search.study.own_space import read_own_space
from search.study.space import Space, config_of_run, conflict, unmeasured, unused
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
from search.study.units import COUNT, PER_BLOCK
from search.trial.function_config import Config
from search.trial.trial import Params
from snn.settings import extensions
from snn.settings.config import SETTINGS, Fault, current_names, first_names, nearest
from snn.settings.measurement import METRICS, Metrics

_DEFAULTS = SearchSettings()
LATER_KEYS = (  # of [search]
    "initial_points",
    "reduction_factor",
    "grace_period",
    "warm_start",
    "repeats",
    "extend_prefixes",
    "share_operating_points",
    "grow_share",
)
Rename = Callable[[Mapping[str, Any]], dict[str, Any]]  # of the values of settings
PREFIX_SHARE = 0.25  # of the trials, where blocks can be taken from others
TABLES = ("metrics", "constraints", "budget", "run", "space", "search")
KEYS = ("name", "objectives", *TABLES)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_POINT = re.compile(r"search\.initial_points\[(\d+)\]")  # key of a fault


class StudyError(ValueError):
    """An invalid study: a line for each of `faults`, each beginning with the source."""

    def __init__(self, source: str, faults: list[Fault]) -> None:
        self.source = source
        self.faults = tuple(faults)
        lines = (f"{source}: {f}" if f.key else f"{source}: {f.message}" for f in faults)
        super().__init__("\n".join(lines))


@dataclass(frozen=True, kw_only=True, init=False)
class Study:
    """One search: the tables of a study file, checked.

    `load_study` reads it from a file. From Python, the arguments are the tables of a file:

        Study(
            name="widths",
            objectives=["accuracy", "synaptic_ops"],
            run={"dataset": "digits", "epochs": 5},
            space={"width": {"low": 8, "high": 32}, "time_rule": ["bptt", "saf-e"]},
            budget={"trials": 20},
        )

    Raises StudyError with all faults.
    """

    name: str
    question: str  # the first comment of the file
    objectives: tuple[str, ...]
    metrics: Metrics  # that its points can have, by name
    declared: tuple[str, ...]  # those that `[metrics]` names
    constraints: Mapping[str, Bound]
    budget: Budget
    run: Mapping[str, Any]  # the given fields of RunConfig, shared by all trials
    space: Space
    search: SearchSettings
    text: str = dataclasses.field(repr=False)  # the TOML of the study
    source: str = dataclasses.field(default="study", compare=False)  # of the text, for messages
    # of an own training: fingerprint of its code, folder of its file, itself if it has no module
    code: str = dataclasses.field(default="", compare=False)
    folder: Path | None = dataclasses.field(default=None, compare=False)
    function: Callable[..., Any] | None = dataclasses.field(default=None, compare=False)

    def __init__(
        self,
        *,
        name: str,
        objectives: Sequence[str],
        space: Mapping[str, object],
        run: Mapping[str, object] | None = None,
        metrics: Mapping[str, object] | None = None,
        constraints: Mapping[str, object] | None = None,
        budget: Mapping[str, object] | None = None,
        search: Mapping[str, object] | None = None,
        question: str = "",
    ) -> None:
        tables = {
            "name": name,
            "objectives": [*objectives] if isinstance(objectives, list | tuple) else objectives,
            "metrics": metrics,
            "constraints": constraints,
            "budget": budget,
            "run": run,
            "space": space,
            "search": search,
        }
        document = {key: _plain(value) for key, value in tables.items() if value is not None}
        source, function = f"study {name!r}", None
        shared = document.get("run")
        if isinstance(shared, dict) and callable(shared.get("train")):
            shared["train"], function = own_training.reference(shared["train"])
        try:
            text = toml_text(question, document)
        except TypeError as error:
            fault = Fault(key="", message=f"has a value that a study file cannot have: {error}")
            raise StudyError(source, [fault]) from None
        study = study_from_toml(text, source)
        study._check_use()
        vars(self).update(vars(study.with_code(Path.cwd(), function) if study.train else study))

    def with_search(self, settings: SearchSettings) -> "Study":
        """Return the study with other settings of the search; its text stays as it is."""
        return _study(**{**vars(self), "search": settings})

    def with_code(self, folder: Path | None, function: Callable[..., Any] | None = None) -> "Study":
        """Return a study of an own training with its code: a module found from `folder`, or
        the function itself. Raises StudyError if there is no such generator.
        """
        assert self.train is not None
        try:
            if function is None:
                code = own_training.checked_code(self.train, folder)
            else:
                own_training.check_function(function, self.train)
                code = own_training.code_of(function)
        except own_training.FunctionError as error:
            message = f"{self.train!r} {error}"
            raise StudyError(self.source, [Fault(key="run.train", message=message)]) from None
        return _study(**{**vars(self), "code": code, "folder": folder, "function": function})

    @property
    def train(self) -> str | None:
        """`module:function` of an own training; None for the engine's."""
        return self.run.get(own_training.TRAIN)

    @property
    def own_metrics(self) -> Metrics:
        """The metrics that are not of spikefront itself."""
        return {name: metric for name, metric in self.metrics.items() if name not in METRICS}

    @property
    def reported(self) -> tuple[str, ...]:
        """The metrics that its points usually have, for tables: objectives, constraints, others."""
        others = self.metrics if self.train is None else self.declared
        return tuple(dict.fromkeys((*self.objectives, *self.constraints, *others)))

    def config(self, params: Params) -> Config:
        """Return all that a training with `params` depends on. Raises ConfigError."""
        return config_of_run(self.run, params, code=self.code)

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
        """Return the study with values from the command line.

        `sets` fixes axes or shared settings; a string is read as TOML unless the setting
        is a string. Initial points that do not go with them are left out. The new text contains
        these values; of its comments only the question remains. Raises StudyError.
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
        changed = self._changed(document)
        changed._check_use(sets or {})
        code = {"code": self.code, "folder": self.folder, "function": self.function}
        return _study(**{**vars(changed), **code})

    def _changed(self, document: dict[str, Any]) -> "Study":
        """Return the study of a changed document, without initial points that contradict it."""

        def read() -> Study:
            text = toml_text(self.question, document)
            return study_from_toml(text, self.source, metrics=self.own_metrics)

        try:
            return read()
        except StudyError as error:
            found = (_POINT.match(fault.key) for fault in error.faults)
            wrong = {int(match[1]) for match in found if match}
            if not wrong:
                raise
        search = document["search"]
        name = "initial_points" if "initial_points" in search else "points"
        search[name] = [point for place, point in enumerate(search[name]) if place not in wrong]
        return read()

    def _check_use(self, names: Collection[str] | None = None) -> None:
        """Raise StudyError for a setting, of `names` only, that no trial of the study would use,
        and for an objective or a constraint that none would measure.

        Not asked of a stored study: earlier versions took such a setting, and dropped it.
        """
        if self.train is not None:
            return
        asked = [("objectives", self.metrics[name]) for name in self.objectives]
        asked += [(f"constraints.{name}", self.metrics[name]) for name in self.constraints]
        faults = [*unused(self.run, self.space, names)]
        faults += unmeasured(self.run, self.space, asked)
        if faults:
            raise StudyError(self.source, faults)

    def _apply_budget(self, document: dict[str, Any], values: Mapping[str, object]) -> None:
        if values:
            document.setdefault("budget", {}).update(values)

    def _apply_sets(self, document: dict[str, Any], sets: Mapping[str, object]) -> None:
        settings = {**self.run, **self.space.axes} if self.train else SETTINGS
        unknown = [name for name in sets if name not in settings]
        if unknown:
            known = (*self.space.axes, *(name for name in settings if name not in self.space.axes))
            faults = [
                Fault(key=name, message=f"is not a setting of a run{nearest(name, known)}")
                for name in unknown
            ]
            raise StudyError("--set", faults)
        for name, value in sets.items():
            for other in {"backbone", "architecture"} - sets.keys():
                if name in ("backbone", "architecture"):  # one replaces the other
                    document.get("run", {}).pop(other, None)
                    document.get("space", {}).pop(other, None)
            table = "space" if name in self.space.axes else "run"
            document.setdefault(table, {})[name] = _override(
                name, value, is_own=self.train is not None
            )

    @property
    def prefix_share(self) -> float:
        """Share of the trials that reuse first blocks of the front; 0 where none can."""
        if self.train is not None or not can_extend(self.space, self.search):
            return 0.0
        share = self.search.extend_prefixes
        if share is None:  # sampler gain knows itself what blocks are worth
            return 0.0 if self.search.sampler in ("gain", "auto") else PREFIX_SHARE
        return share

    @property
    def tells_families(self) -> bool:
        """Whether the sampler is told of the operating points of finished trials."""
        return self.search.share_operating_points or self.search.sampler in FAMILIES

    @property
    def question_fingerprint(self) -> str:
        """Fingerprint of the question: 16 hex digits of all but the budget and the comments."""
        return _digest(self._question())

    def asks(self, fingerprint: str) -> bool:
        """Return whether this is the question of a fingerprint, by first or by current names."""
        found = (_digest(self._question(names)) for names in (first_names, current_names))
        return fingerprint in found

    def differences(self, other: "Study") -> list[str]:
        """Return the keys in which two questions differ, like `space.width`."""
        ours, theirs = self._question(), other._question()
        keys = dict.fromkeys([*ours, *theirs])
        return [key for key in keys if ours.get(key) != theirs.get(key)]

    def _question(self, names: Rename = first_names) -> dict[str, Any]:
        """Return the question as values by key, for JSON; `names` renames values of settings."""
        values: dict[str, Any] = {"name": self.name, "objectives": list(self.objectives)}
        for name, bound in self.constraints.items():
            values[f"constraints.{name}"] = bound.to_mapping()
        for name, value in names(self.run).items():
            values[f"run.{name}"] = list(value) if isinstance(value, tuple) else value
        for name, axis in self.space.axes.items():
            values[f"space.{name}"] = {"kind": type(axis).__name__, **_renamed(name, axis, names)}
        for name in ("sampler", "stopping", "seed"):
            values[f"search.{name}"] = getattr(self.search, name)
        for name in LATER_KEYS:  # absent by default, so that fingerprints of older studies stay
            if getattr(self.search, name) != getattr(_DEFAULTS, name):
                values[f"search.{name}"] = getattr(self.search, name)
        if self.search.initial_points:
            values["search.initial_points"] = list(map(names, self.search.initial_points))
        for name, value in self.search.reference.items():
            values[f"search.reference.{name}"] = value
        for name, metric in self.own_metrics.items() if self.train else ():
            direction = {"better": metric.better, "unit": metric.unit}
            values[f"metrics.{name}"] = direction
        # JSON makes tuples and lists equal.
        normal: dict[str, Any] = json.loads(json.dumps(values))
        return normal


def _renamed(name: str, axis: Axis, names: Rename) -> dict[str, Any]:
    """Return the fields of an axis, with the values of settings by other names."""
    given = {**dataclasses.asdict(axis), "when": names(axis.when)}
    for part in (given, given.get("each", {})):  # fingerprints of older studies stay
        if part.get("prior", "") is None:
            del part["prior"]
    if "prior" in given:
        given |= {"prior": names({name: given["prior"]})[name]}
    key = "value" if "value" in given else "values"
    return given | {key: names({name: given[key]})[name]} if key in given else given


def _digest(question: Mapping[str, Any]) -> str:
    """Return the digest of a question; renamed keys count by their first name, as stored."""
    earlier = {f"search.{new}": f"search.{old}" for old, new in EARLIER_NAMES.items()}
    named = {earlier.get(key, key): value for key, value in question.items()}
    text = json.dumps(named, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def load_study(path: Path | str) -> Study:
    """Read the study file `path`. Raises StudyError with all faults."""
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
    study = study_from_toml(text, str(path))
    study._check_use()
    return study if study.train is None else study.with_code(path.resolve().parent)


def study_from_toml(text: str, source: str = "study", *, metrics: Metrics | None = None) -> Study:
    """Read a study from TOML; `source` begins every line of a StudyError.

    The code of an own training is not looked for. `metrics` are further ones that points of
    the study have: those of extensions, as a store recorded them.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise StudyError(source, [Fault(key="", message=f"is not TOML: {error}")]) from None
    except (ValueError, RecursionError):  # more than 4,300 digits, or lists in lists in lists
        message = "has a number with too many digits, or tables nested too deeply"
        raise StudyError(source, [Fault(key="", message=message)]) from None
    faults = [unknown_key(key, key, KEYS) for key in document if key not in KEYS]
    run_table = document.get("run", {})
    is_own = isinstance(run_table, dict) and own_training.TRAIN in run_table
    declared = read_metrics(document["metrics"], faults) if "metrics" in document else {}
    if declared and not is_own:
        message = "has an effect only with run.train; add a metric to the engine by an extension"
        faults.append(Fault(key="metrics", message=message))
    added = {} if is_own else extensions.ADDED_METRICS
    known: Metrics = {**METRICS, **(metrics or {}), **added, **declared}
    objectives = read_objectives(document.get("objectives"), faults, known)
    name = _name(document.get("name"), faults)
    constraints = read_constraints(document.get("constraints", {}), faults, known)
    budget = read_budget(document.get("budget", {}), faults)
    if is_own:
        run = own_training.read_run(run_table, document.get("space"), faults)
    else:
        run = read_run(run_table, document.get("space"), faults)
    search = read_search(document.get("search", {}), objectives, faults, known)
    given = {**as_table(run_table, "run", []), **run}  # with the faulty settings
    reader = read_own_space if is_own else read_space
    space, space_faults = reader(document.get("space"), given)
    faults.extend(space_faults)
    if space is not None and not faults and not is_own and (wrong := conflict(run, space)):
        faults.append(wrong)
    if space is not None and is_own:
        faults.extend(_own_faults(run, space, search, budget, declared))
    if space is not None and not faults:
        initial_points(run, space, search.initial_points, search.seed, faults)
        faults.extend(_search_faults(str(name), run, space, search))
    if faults or space is None:
        raise StudyError(source, faults)
    return _study(
        name=name,
        question=_question(text),
        objectives=objectives,
        metrics=known,
        declared=tuple(declared),
        constraints=constraints,
        budget=budget,
        run=run,
        space=space,
        search=search,
        text=text,
        source=source,
        code="",
        folder=None,
        function=None,
    )


def _study(**fields: Any) -> Study:
    """Return a study with these fields, which were checked."""
    study = object.__new__(Study)
    vars(study).update(fields)
    return study


def _plain(value: object) -> object:
    """Return a table of Python with the types of TOML."""
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value.item() if hasattr(value, "item") else value  # of numpy


def _name(given: object, faults: list[Fault]) -> str:
    if given is None:
        faults.append(
            Fault(key="name", message="must be given: the name of the study in the store")
        )
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
    """Whether trials can reuse first blocks of other trials in another partition."""
    return search.reuse_blocks and "partition" in space.dimensions()


def _own_faults(
    run: Mapping[str, Any],
    space: Space,
    search: SearchSettings,
    budget: Budget,
    metrics: Metrics,
) -> Iterator[Fault]:
    """Yield the faults of an own training's study that contradict each other."""
    if search.stopping != "none" and "epochs" not in {**run, **space.axes}:
        message = "needs run.epochs: how many epochs the function reports, for the rungs"
        yield Fault(key="search.stopping", message=message)
    if search.extend_prefixes:
        message = "must be left out: an own training has no blocks"
        yield Fault(key="search.extend_prefixes", message=message)
    for name in metrics:
        if name in space.axes or name in run:
            message = f"has the name of a setting; rename {'it' if name in run else 'the axis'}"
            yield Fault(key=f"metrics.{name}", message=message)


def _search_faults(
    name: str, run: Mapping[str, Any], space: Space, search: SearchSettings
) -> Iterator[Fault]:
    """Yield the faults of [search] that contradict the rest of the study."""
    if search.extend_prefixes and not can_extend(space, search):
        message = "must be 0 without reuse_blocks = true and partition in [space]"
        yield Fault(key="search.extend_prefixes", message=message)
    precision = space.axes.get("precision")
    if isinstance(precision, Choice | Fixed) and "auto" in precision.values:
        message = "must not have 'auto', which is one of the others on each machine; name those"
        yield Fault(key="space.precision", message=message)
    if search.sampler == "grow":
        message = ""
        count = space.axes.get(COUNT)
        if PER_BLOCK not in space.axes or not isinstance(count, Integer | Choice):
            message = "'grow' needs [space.units] with per_block and a count that varies"
        elif "space_rule" in space.axes:
            message = "'grow' needs blocks trained one after another: remove space.space_rule"
        elif run.get("space_rule") == "end-to-end" or not search.reuse_blocks:
            message = (
                "'grow' needs blocks that are trained one after another and reused: space_rule "
                "'block-local', reuse_blocks = true"
            )
        if message:
            yield Fault(key="search.sampler", message=message)
    elif search.grow_share != SearchSettings.grow_share:
        message = "has no effect without search.sampler = 'grow'"
        yield Fault(key="search.grow_share", message=message)
    if search.repeats > 1 and "seed" in space.axes:
        message = "must be 1 if seed is in [space]"
        yield Fault(key="search.repeats", message=message)
    if name in search.warm_start:
        yield Fault(key="search.warm_start", message=f"must name other studies, got {name!r}")


def _question(text: str) -> str:
    """Return the comment lines at the beginning of `text`, without their marks."""
    lines = []
    for line in text.lstrip().splitlines():
        if not line.startswith("#"):
            break
        lines.append(line.lstrip("#").strip())
    return "\n".join(lines).strip()


def _override(name: str, value: object, *, is_own: bool) -> object:
    """Return the value of `--set name=value`: TOML for numbers, the text itself for names."""
    is_text = not is_own and SETTINGS[name].kind in ("choice", "text")
    if not isinstance(value, str) or is_text:
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
