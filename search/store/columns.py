"""The trials and operating points of a study as arrays, for hundreds of thousands of points.

Rows of the database driver become arrays without an object per point; NULL is NaN. `read.py`
returns the same data as values.
"""

import datetime
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import JSON, Connection, Select, Text, cast, select, type_coerce

from search.store.rows import uncollected
from search.store.schema import ArtifactRow, OperatingPointRow, TrialRow
from search.trial.trial import Params, TrialState
from snn.settings.config import current_names

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Bools = NDArray[np.bool_]

_NUMBERS = ("id", "trial_id", "on_front", "is_sampled", "timesteps", "blocks")
_MOST_IDS = 500  # named in one statement


@dataclass(frozen=True, kw_only=True)
class TrialColumns:
    """The trials of a study by number; every column has one entry per trial."""

    numbers: Integers
    states: tuple[TrialState, ...]
    params: tuple[Params, ...]
    partitions: tuple[str, ...]  # of each network into blocks; "" if unknown
    epochs_done: Integers
    epochs_reused: Integers
    training_s: Floats  # NaN before a trial has finished
    evaluation_s: Floats
    started_at: tuple[datetime.datetime | None, ...]  # UTC
    finished_at: tuple[datetime.datetime | None, ...]
    has_weights: Bools

    def __len__(self) -> int:
        return len(self.numbers)


@dataclass(frozen=True, kw_only=True)
class PointColumns:
    """The operating points of a study by trial and id; every column has one entry per point."""

    ids: Integers
    places: Integers  # index of the trial of each point in TrialColumns
    on_front: Bools
    is_sampled: Bools
    timesteps: Integers
    blocks: Integers
    metrics: Mapping[str, Floats]  # the requested ones

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, kw_only=True)
class StudyColumns:
    """Trials and operating points of a study at one moment."""

    trials: TrialColumns
    points: PointColumns


def read_columns(connection: Connection, study_id: int, metrics: Collection[str]) -> StudyColumns:
    """Return trials and points of a study with the given metrics, in two queries."""
    with uncollected():
        ids, trials = _trials(connection, study_id)
        points = _points(connection, study_id, ids, tuple(metrics))
    return StudyColumns(trials=trials, points=points)


def read_figure(connection: Connection, study_id: int, name: str) -> tuple[Integers, Floats]:
    """Return the point ids of a study, and a metric or `detector_threshold` of each."""
    figure = _column(name)
    query = select(OperatingPointRow.id, figure).where(OperatingPointRow.study_id == study_id)
    with uncollected():
        table = _table(connection, query, 2)
    return table[:, 0].astype(np.int64), table[:, 1]


def read_thresholds(connection: Connection, ids: Sequence[int]) -> dict[int, tuple[float, ...]]:
    """Return exit thresholds by point id, without unknown ids."""
    found: dict[int, tuple[float, ...]] = {}
    for begin in range(0, len(ids), _MOST_IDS):
        query = select(OperatingPointRow.id, OperatingPointRow.exit_thresholds).where(
            OperatingPointRow.id.in_(ids[begin : begin + _MOST_IDS])
        )
        found |= {id_: tuple(values) for id_, values in connection.execute(query)}
    return found


def _trials(connection: Connection, study_id: int) -> tuple[Integers, TrialColumns]:
    """Return the ids and the columns of the trials."""
    config = type_coerce(TrialRow.config, JSON)
    query = (
        select(
            TrialRow.id,
            TrialRow.number,
            TrialRow.epochs_done,
            TrialRow.epochs_reused,
            TrialRow.training_s,
            TrialRow.evaluation_s,
            TrialRow.state,
            cast(TrialRow.params, Text),
            config["partition"].as_string(),
            TrialRow.started_at,
            TrialRow.finished_at,
            ArtifactRow.trial_id,
        )
        .outerjoin(ArtifactRow, ArtifactRow.trial_id == TrialRow.id)
        .where(TrialRow.study_id == study_id)
        .order_by(TrialRow.number)
    )
    rows = connection.execute(query).all()
    columns: list[Sequence[Any]] = list(zip(*rows, strict=True)) if rows else [()] * 12
    ids, numbers, done, reused, training, evaluation, states, texts, cuts, began, ended, kept = (
        columns
    )
    params: tuple[Params, ...] = tuple(
        map(current_names, json.loads(f"[{','.join(texts)}]"))  # one call is twice as fast
    )
    return np.asarray(ids, dtype=np.int64), TrialColumns(
        numbers=np.asarray(numbers, dtype=np.int64),
        states=tuple(TrialState(state) for state in states),
        params=params,
        partitions=tuple(
            cut or str(values.get("partition", ""))
            for cut, values in zip(cuts, params, strict=True)
        ),
        epochs_done=np.asarray(done, dtype=np.int64),
        epochs_reused=np.asarray(reused, dtype=np.int64),
        training_s=np.asarray(training, dtype=np.float64),
        evaluation_s=np.asarray(evaluation, dtype=np.float64),
        started_at=tuple(began),
        finished_at=tuple(ended),
        has_weights=np.asarray([each is not None for each in kept], dtype=np.bool_),
    )


def _points(
    connection: Connection, study_id: int, trial_ids: Integers, metrics: tuple[str, ...]
) -> PointColumns:
    names = (*_NUMBERS, *metrics)
    query = select(*map(_column, names))
    table = _table(connection, query.where(OperatingPointRow.study_id == study_id), len(names))
    ids, trials = table[:, 0].astype(np.int64), table[:, 1].astype(np.int64)
    order_of_trials = np.argsort(trial_ids, kind="stable")
    places = order_of_trials[np.searchsorted(trial_ids, trials, sorter=order_of_trials)]
    order = np.lexsort((ids, places))
    columns = dict(zip(names, np.ascontiguousarray(table[order].T), strict=True))
    return PointColumns(
        ids=ids[order],
        places=places[order],
        on_front=columns["on_front"].astype(np.bool_),
        is_sampled=columns["is_sampled"].astype(np.bool_),
        timesteps=columns["timesteps"].astype(np.int64),
        blocks=columns["blocks"].astype(np.int64),
        metrics={name: columns[name] for name in metrics},
    )


def _column(name: str) -> Any:
    """Return a column of points; a metric of users is a number in their JSON."""
    found = getattr(OperatingPointRow, name, None)
    if found is not None:
        return found
    return type_coerce(OperatingPointRow.own_metrics, JSON)[name].as_float()


def _table(connection: Connection, query: Select[Any], width: int) -> Floats:
    """Return numeric rows as an array: NULL is NaN, booleans are 0 and 1, ids below 2 ** 53."""
    return np.array(_plain_rows(connection, query), dtype=np.float64).reshape(-1, width)


def _plain_rows(connection: Connection, query: Select[Any]) -> list[tuple[Any, ...]]:
    """Return rows of the database driver; those of SQLAlchemy take three times as long."""
    cursor = connection.execute(query).cursor
    assert cursor is not None
    return cursor.fetchall()  # type: ignore[return-value]
