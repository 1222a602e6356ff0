"""Prior trials: finished trials from elsewhere that a study's sampler is told of.

They are not trials of the study: they use no budget, and are not part of the front or of
any figure, because they may have been measured differently. They only show the
sampler where good configurations are.
"""

import csv
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from search.study.axes import Choice, Fixed, Integer, PartitionAxis, PlainAxis, Real, Value
from search.study.feedback import is_measured, is_penalised
from search.study.study import Study
from search.trial.trial import Trial, TrialState
from snn.settings.config import ConfigError, current_names
from snn.settings.measurement import FRACTIONS, METRICS, Metrics, OperatingPoint

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
LARGEST_NUMBER = 2**31 - 1  # of a trial; stores keep it in 32 bits


class PriorTrialError(ValueError):
    """Earlier results that cannot be read; one line."""


@dataclass(frozen=True, kw_only=True)
class ExternalTrial:
    """A trial from elsewhere, before it is checked against the space."""

    number: int  # in the source
    state: TrialState
    params: Mapping[str, object]
    metrics: Mapping[str, float]
    violation: float = 0.0  # above 0: its configuration is infeasible


@dataclass(frozen=True, kw_only=True)
class PriorTrials:
    """The trials that fit a study, and the reasons for those that do not."""

    trials: tuple[Trial, ...]  # with the numbers of the source
    skipped: Mapping[str, int] = field(default_factory=dict)  # number of trials by reason


def fitting(study: Study, found: Iterable[ExternalTrial]) -> PriorTrials:
    """Return the trials that lie in the study's space and have its objectives and constraints."""
    trials, skipped = [], Counter[str]()
    for earlier in found:
        trial = _trial(study, earlier)
        if isinstance(trial, str):
            skipped[trial] += 1
        else:
            trials.append(trial)
    return PriorTrials(trials=tuple(trials), skipped=dict(skipped))


def _trial(study: Study, earlier: ExternalTrial) -> Trial | str:
    """Return the trial for this study, or the reason why it does not fit."""
    if earlier.state not in (TrialState.COMPLETE, TrialState.PRUNED):
        return f"was {earlier.state}"
    params = _params(study, current_names(earlier.params))
    try:
        study.space.validate(params)
    except ConfigError as error:
        return f"is not in the space: {error.faults[0]}"
    if impossible := _impossible(earlier.metrics):
        return impossible
    trial = Trial(
        number=earlier.number,
        params=params,
        state=earlier.state,
        sampled=sampled(earlier.metrics) if earlier.state is TrialState.COMPLETE else None,
        constraint_violation=earlier.violation,
    )
    if earlier.state is TrialState.PRUNED:
        return trial if is_penalised(trial) else "was stopped early, without a violated constraint"
    if is_measured(study, trial):
        return trial
    names = (*study.objectives, *study.constraints)
    lacking = [name for name in names if not math.isfinite(earlier.metrics.get(name, math.nan))]
    return f"has no finite value of {', '.join(lacking)}"


def _impossible(metrics: Mapping[str, float]) -> str | None:
    """Return the reason why metrics cannot be true: below 0, or fractions above 1."""
    for name, value in metrics.items():
        if name in FRACTIONS and value > 1:
            return f"{name} is above 1: it must be a fraction, not a percentage"
        if value < 0 and name in METRICS:
            return f"{name} is below 0"
    return None


def sampled(metrics: Mapping[str, float]) -> OperatingPoint:
    """Return an operating point with metrics from elsewhere; its settings are unknown."""
    return OperatingPoint(
        timesteps=0,
        exit_thresholds=(),
        detector_threshold=math.nan,
        blocks=0,
        metrics=dict(metrics),
        is_sampled=True,
    )


def _params(study: Study, given: Mapping[str, object]) -> dict[str, Value]:
    """Return values in the types of the axes; fixed ones may be missing."""
    dimensions = study.space.dimensions()
    params: dict[str, Value] = {}
    for name in study.space.param_names():
        axis = study.space.axes.get(name)
        if name in dimensions and given.get(name) is not None:
            params[name] = _value(dimensions[name], given[name])
        elif isinstance(axis, Fixed):
            params[name] = axis.value
    # `Space.validate` refuses the names that it does not have
    strangers = {n: v for n, v in given.items() if n not in params and v is not None}
    return {**params, **{n: v for n, v in strangers.items() if isinstance(v, int | float | str)}}


def _value(axis: PlainAxis, given: object) -> Value:
    """Return `given`, which may be text, in the type of the axis."""
    if isinstance(axis, Choice | PartitionAxis):
        same = (v for v in axis.values if v == given or str(v) == str(given))
        number = _float(given)  # pandas writes the choice 32 as 32.0
        equal = (v for v in axis.values if not isinstance(v, str) and v == number)
        return next(same, next(equal, str(given)))
    number = _float(given)
    if number is None or not math.isfinite(number):
        return str(given)
    if isinstance(axis, Integer) and number.is_integer():
        return int(number)
    if isinstance(axis, Real):
        near = axis.on_grid(number)
        return near if math.isclose(near, number, rel_tol=1e-9, abs_tol=1e-12) else number
    return number


def _float(given: object) -> float | None:
    try:
        return float(str(given))
    except ValueError:
        return None


def read_csv(path: Path, study: Study) -> list[ExternalTrial]:
    """Read a CSV file with a column per parameter and metric, and a line per trial.

    Columns may have the prefixes of Optuna's data frames; `number` and `state` are
    optional. Commas, semicolons or tabs separate. Raises PriorTrialError.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            head = file.readline()
            file.seek(0)
            delimiter = max(",;\t", key=head.count)
            reader = csv.DictReader(file, delimiter=delimiter)
            rows, columns = list(reader), [column.strip() for column in reader.fieldnames or ()]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise PriorTrialError(f"{path}: must be a CSV file, got: {error}") from None
    names = [_plain(column) for column in columns]
    for place, column in enumerate(columns):  # Optuna's data frames have a metric in both
        if column.startswith("user_attrs_") and f"values_{names[place]}" in columns:
            names[place] = ""
    repeated = sorted({name for name in names if names.count(name) > 1} - {""})
    if repeated:
        raise PriorTrialError(
            f"{path}: must have each column once, got {', '.join(repeated)} repeatedly"
        )
    wanted = set(study.space.param_names())
    if not wanted & set(names) or not set(study.objectives) & set(names):
        raise PriorTrialError(
            f"{path}: must have a column per parameter ({', '.join(sorted(wanted))}) and per "
            f"objective ({', '.join(study.objectives)}), got columns {', '.join(columns) or 'none'}"
        )
    found: list[ExternalTrial] = []
    lines: dict[int, int] = {}  # by number
    for place, row in enumerate(rows):
        line = place + 2  # after the header, counted from 1
        if None in row:
            raise PriorTrialError(
                f"{path}: line {line}: must have {len(columns)} cells like the header, got more"
            )
        cells = dict(zip(names, row.values(), strict=True))
        trial = _earlier(path, line, cells, wanted, study.metrics)
        if trial.number in lines:
            raise PriorTrialError(
                f"{path}: line {line}: number {trial.number} is that of line "
                f"{lines[trial.number]}; give each trial a number of its own"
            )
        lines[trial.number] = line
        found.append(trial)
    return found


def _plain(column: str) -> str:
    for prefix in _PREFIXES:
        if column.startswith(prefix):
            return column.removeprefix(prefix)
    return column


def _earlier(
    path: Path, line: int, row: Mapping[str, str | None], wanted: set[str], known: Metrics
) -> ExternalTrial:
    state = (row.get("state") or "").strip().lower()
    if state not in _STATES:
        raise PriorTrialError(
            f"{path}: line {line}: state must be COMPLETE, PRUNED or FAIL, got {row['state']!r}"
        )
    metrics = {name: _number(path, line, name, row[name]) for name in known if row.get(name)}
    number = (row.get("number") or str(line - 2)).strip()
    if not re.fullmatch(r"[0-9]{1,10}(\.0)?", number) or float(number) > LARGEST_NUMBER:
        shown = repr(number) if len(number) <= 40 else f"{number[:40]!r}..."
        raise PriorTrialError(
            f"{path}: line {line}: number must be an integer from 0 to {LARGEST_NUMBER}, "
            f"got {shown}"
        )
    return ExternalTrial(
        number=int(float(number)),
        state=_STATES[state],
        params={n: v.strip() for n, v in row.items() if n in wanted and v and v.strip()},
        metrics=metrics,
    )


def _number(path: Path, line: int, name: str, text: str | None) -> float:
    try:
        return float(text or "nan")
    except ValueError:
        message = f"{path}: line {line}: {name} must be a number like 0.93, got {text!r}"
        raise PriorTrialError(message) from None
