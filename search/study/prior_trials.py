"""Lessons: finished trials from elsewhere, which a study's sampler learns from.

A lesson is no trial of the study. It spends no budget, is on no front and counts in
no figure: what was measured elsewhere was perhaps measured otherwise. It only says where
it was worth looking.
"""

import csv
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from search.study.axes import Choice, Fixed, Integer, PartitionAxis, PlainAxis, Real, Value
from search.study.feedback import is_measured, is_penalised
from search.study.study import Study
from search.trial.trial import Trial, TrialState
from snn.settings.config import ConfigError
from snn.settings.measurement import METRICS, OperatingPoint

_STATES = {
    "": TrialState.COMPLETE,
    "complete": TrialState.COMPLETE,
    "pruned": TrialState.PRUNED,
    "fail": TrialState.FAILED,
    "failed": TrialState.FAILED,
    "running": TrialState.RUNNING,
    "waiting": TrialState.WAITING,
}
_PREFIXES = ("params_", "values_", "user_attrs_")  # of the columns of Optuna's data frames


class PriorTrialError(ValueError):
    """Earlier results that cannot be read; one line."""


@dataclass(frozen=True, kw_only=True)
class ExternalTrial:
    """A trial as somebody else has it, before it is known to fit."""

    number: int  # there
    state: TrialState
    params: Mapping[str, object]
    metrics: Mapping[str, float]
    violation: float = 0.0  # above 0: it ended for something that makes its point infeasible


@dataclass(frozen=True, kw_only=True)
class PriorTrials:
    """What fits a study, and why the rest does not."""

    trials: tuple[Trial, ...]  # numbered as they are there
    skipped: Mapping[str, int] = field(default_factory=dict)  # how many, by reason


def fitting(study: Study, found: Iterable[ExternalTrial]) -> PriorTrials:
    """Those of `found` that lie in the study's space and have what its sampler needs to hear."""
    trials, skipped = [], Counter[str]()
    for earlier in found:
        trial = _trial(study, earlier)
        if isinstance(trial, str):
            skipped[trial] += 1
        else:
            trials.append(trial)
    return PriorTrials(trials=tuple(trials), skipped=dict(skipped))


def _trial(study: Study, earlier: ExternalTrial) -> Trial | str:
    """The trial in the study's words, or why it is none."""
    if earlier.state not in (TrialState.COMPLETE, TrialState.PRUNED):
        return f"was {earlier.state}"
    params = _params(study, earlier.params)
    try:
        study.space.validate(params)
    except ConfigError as error:
        return f"no point of the space: {error.faults[0]}"
    trial = Trial(
        number=earlier.number,
        params=params,
        state=earlier.state,
        sampled=sampled(earlier.metrics) if earlier.state is TrialState.COMPLETE else None,
        constraint_violation=earlier.violation,
    )
    if earlier.state is TrialState.PRUNED:
        return trial if is_penalised(trial) else "was stopped early, which says nothing here"
    if is_measured(study, trial):
        return trial
    names = (*study.objectives, *study.constraints)
    lacking = [name for name in names if not math.isfinite(earlier.metrics.get(name, math.nan))]
    return f"has no figure of {', '.join(lacking)}"


def sampled(metrics: Mapping[str, float]) -> OperatingPoint:
    """Figures that were measured elsewhere; how the network was run there is not known."""
    return OperatingPoint(
        timesteps=0,
        exit_thresholds=(),
        detector_threshold=math.nan,
        blocks=0,
        metrics=dict(metrics),
        is_sampled=True,
    )


def _params(study: Study, given: Mapping[str, object]) -> dict[str, Value]:
    """Values as the axes have them; what is fixed here need not be given."""
    dimensions = study.space.dimensions()
    params: dict[str, Value] = {}
    for name in study.space.param_names():
        axis = study.space.axes.get(name)
        if name in dimensions and given.get(name) is not None:
            params[name] = _value(dimensions[name], given[name])
        elif isinstance(axis, Fixed):
            params[name] = axis.value
    # names that the space does not have are for it to refuse
    strangers = {n: v for n, v in given.items() if n not in params and v is not None}
    return {**params, **{n: v for n, v in strangers.items() if isinstance(v, int | float | str)}}


def _value(axis: PlainAxis, given: object) -> Value:
    """`given`, which a file may have as text, as the axis counts it."""
    if isinstance(axis, Choice | PartitionAxis):
        same = (v for v in axis.values if v == given or str(v) == str(given))
        return next(same, str(given))
    try:
        number = float(str(given))
    except ValueError:
        return str(given)
    if isinstance(axis, Integer) and number.is_integer():
        return int(number)
    if isinstance(axis, Real):
        near = axis.on_grid(number)
        return near if math.isclose(near, number, rel_tol=1e-9, abs_tol=1e-12) else number
    return number


def read_csv(path: Path, study: Study) -> list[ExternalTrial]:
    """Earlier results in a CSV file: a column per parameter and metric, a line per trial.

    Columns may have the prefixes that Optuna's data frames give them; `number` and
    `state` are read where they are there. Raises LessonError.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            rows, columns = list(reader), list(reader.fieldnames or ())
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise PriorTrialError(f"{path}: must be a CSV file, got: {error}") from None
    names = {column: _plain(column) for column in columns}
    wanted = set(study.space.param_names())
    if not wanted & set(names.values()) or not set(study.objectives) & set(names.values()):
        raise PriorTrialError(
            f"{path}: must have a column per parameter ({', '.join(sorted(wanted))}) and per "
            f"objective ({', '.join(study.objectives)}), got columns {', '.join(columns) or 'none'}"
        )
    return [
        _earlier(path, place, {names[k]: v for k, v in row.items() if k in names}, wanted)
        for place, row in enumerate(rows)
    ]


def _plain(column: str) -> str:
    for prefix in _PREFIXES:
        if column.startswith(prefix):
            return column.removeprefix(prefix)
    return column


def _earlier(
    path: Path, place: int, row: Mapping[str, str | None], wanted: set[str]
) -> ExternalTrial:
    line = place + 2  # behind the header, counted from 1
    state = (row.get("state") or "").strip().lower()
    if state not in _STATES:
        raise PriorTrialError(
            f"{path}: line {line}: state must be COMPLETE, PRUNED or FAIL, got {row['state']!r}"
        )
    metrics = {name: _number(path, line, name, row[name]) for name in METRICS if row.get(name)}
    number = row.get("number") or str(place)
    if not number.strip().isdigit():
        raise PriorTrialError(f"{path}: line {line}: number must be a whole number, got {number!r}")
    return ExternalTrial(
        number=int(number),
        state=_STATES[state],
        params={n: v.strip() for n, v in row.items() if n in wanted and v and v.strip()},
        metrics=metrics,
    )


def _number(path: Path, line: int, name: str, text: str | None) -> float:
    try:
        return float(text or "nan")
    except ValueError:
        message = f"{path}: line {line}: {name} must be a number, got {text!r}"
        raise PriorTrialError(message) from None
