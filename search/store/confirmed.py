"""Test runs in the store: front members retrained with other seeds, and their means."""

import datetime
import math
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Row, Select, delete, select

from search.store.rows import figure, kept, own_values
from search.store.schema import ConfirmedRow, TestRunRow
from search.store.statements import insert_into
from search.trial.confirmation import Confirmed, SeedRun
from search.trial.trial import TrialState
from snn.settings.measurement import METRICS

_RUNS: Select[Any] = select(TestRunRow.__table__)


def confirmed_points(connection: Connection, study_id: int) -> dict[int, Confirmed]:
    """Return the test runs of a study by the id of the operating point."""
    return _by_point(connection.execute(_RUNS.where(TestRunRow.study_id == study_id)).all())


def keep_test_runs(
    connection: Connection, study_id: int, runs: Mapping[int, SeedRun], now: datetime.datetime
) -> None:
    """Store runs by point id, replacing runs of the same seed, and update the means."""
    points = sorted(runs)
    for point in points:
        same = (TestRunRow.point_id == point) & (TestRunRow.seed == runs[point].seed)
        connection.execute(delete(TestRunRow).where(same))
    own = {"study_id": study_id, "finished_at": now}
    rows = [{**_row_of(runs[point]), **own, "point_id": point} for point in points]
    connection.execute(insert_into(TestRunRow), rows)
    found = _by_point(connection.execute(_RUNS.where(TestRunRow.point_id.in_(points))).all())
    connection.execute(delete(ConfirmedRow).where(ConfirmedRow.point_id.in_(points)))
    means = [
        {**_means_of(confirmed), "study_id": study_id, "point_id": point}
        for point, confirmed in found.items()
    ]
    connection.execute(insert_into(ConfirmedRow), means)


def _by_point(rows: Sequence[Row[Any]]) -> dict[int, Confirmed]:
    runs: dict[int, list[SeedRun]] = {}
    for row in sorted(rows, key=lambda row: (row.point_id, row.seed)):
        runs.setdefault(row.point_id, []).append(_run_of(row))
    return {point: Confirmed(runs=tuple(of_point)) for point, of_point in runs.items()}


def _row_of(run: SeedRun) -> dict[str, Any]:
    return {
        "seed": run.seed,
        "state": run.state.value,
        "training_fingerprint": run.training_fingerprint,
        "images": kept(run.images),
        "reason": run.reason,
        "error": run.error,
        "own_metrics": own_values(run.metrics) or None,
        **{name: kept(run.metrics.get(name, math.nan)) for name in METRICS},
    }


def _run_of(row: Row[Any]) -> SeedRun:
    values = row._mapping
    is_complete = row.state == TrialState.COMPLETE
    return SeedRun(
        seed=row.seed,
        state=TrialState(row.state),
        training_fingerprint=row.training_fingerprint,
        metrics=_metrics_of(values) if is_complete else {},
        images=row.images,
        reason=row.reason,
        error=row.error,
    )


def _metrics_of(values: Mapping[Any, Any]) -> dict[str, float]:
    own = values["own_metrics"] or {}
    return {
        **{name: figure(values[name]) for name in METRICS},
        **{name: figure(value) for name, value in own.items()},
    }


def _means_of(confirmed: Confirmed) -> dict[str, Any]:
    row: dict[str, Any] = {"seeds": confirmed.seeds, "seeds_lost": confirmed.seeds_lost}
    own: dict[str, float] = {}
    for name, spread in confirmed.spreads().items():
        parts = {f"{name}_mean": spread.mean, f"{name}_std": spread.std}
        if name in METRICS:
            row |= {part: kept(value) for part, value in parts.items()}
        else:
            own |= parts
    return {**row, "own_metrics": own_values(own) or None}
