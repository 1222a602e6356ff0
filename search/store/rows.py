"""Conversion between rows of the store and values."""

import contextlib
import dataclasses
import gc
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import Row, Select, case, select

from search.store.schema import ArtifactRow, Base, OperatingPointRow, TrialRow
from search.trial.function_config import config_of
from search.trial.rung import RungPoint, RungReport
from search.trial.trial import Artifact, Timings, Trial, TrialState
from snn.settings.config import current_names
from snn.settings.measurement import METRICS, LayerConnectivity, Measurement, OperatingPoint

POINT = (  # the columns of `point_of`
    OperatingPointRow.timesteps,
    OperatingPointRow.exit_thresholds,
    OperatingPointRow.detector_threshold,
    OperatingPointRow.blocks,
    OperatingPointRow.is_sampled,
    OperatingPointRow.label,
    OperatingPointRow.own_metrics,
    OperatingPointRow.time_threshold,
    *(getattr(OperatingPointRow, name) for name in METRICS),
)
_OWN = len(TrialRow.__table__.c)

# The columns of `trial_of`: the trial, its artifact, its sampled operating point.
TRIALS: Select[Any] = (
    select(
        *TrialRow.__table__.c,
        ArtifactRow.uri,
        ArtifactRow.sha256,
        ArtifactRow.size_bytes,
        *(column.label(f"point_{column.key}") for column in POINT),
    )
    .outerjoin(ArtifactRow, ArtifactRow.trial_id == TrialRow.id)
    .outerjoin(
        OperatingPointRow,
        (OperatingPointRow.trial_id == TrialRow.id) & OperatingPointRow.is_sampled,
    )
)

_FINISHED = TrialRow.state.in_([state.value for state in TrialState if state.is_finished])
# Without the configs of finished trials, which take most of the reading time.
LIGHT_TRIALS: Select[Any] = TRIALS.with_only_columns(
    *(
        case((_FINISHED, None), else_=column).label("config") if column.key == "config" else column
        for column in TRIALS.selected_columns
    )
)


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """Disable garbage collection while thousands of rows are read.

    All of the objects stay alive, and the collector would take longer than the reading.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def values_of(table: type[Base], value: type[Any]) -> Select[Any]:
    """Return a query of the columns named like the fields of the value class."""
    return select(*(getattr(table, field.name) for field in dataclasses.fields(value)))


def row_of(value: Any) -> dict[str, Any]:
    """Return the fields of a value as columns of the same names."""
    return {field.name: kept(getattr(value, field.name)) for field in dataclasses.fields(value)}


def measurement_row(measurement: Measurement) -> dict[str, Any]:
    """Return the columns of a measurement."""
    layers = [dataclasses.asdict(layer) for layer in measurement.layers]
    own = {"layers": layers or None, "metrics": own_values(measurement.metrics, skip=()) or None}
    return {**row_of(dataclasses.replace(measurement, layers=(), metrics={})), **own}


def measurement_of(row: Row[Any]) -> Measurement:
    """Return the measurement of a row."""
    layers = tuple(
        # `removed` was `pruned` in rows of earlier versions
        LayerConnectivity(**{"removed" if k == "pruned" else k: v for k, v in layer.items()})
        for layer in row.layers or ()
    )
    return Measurement(**{**figures(row), "layers": layers, "metrics": row.metrics or {}})


def rung_row(report: RungReport) -> dict[str, Any]:
    """Return the columns of a rung report; the sampled point comes first."""
    first, *others = sorted(report.points, key=lambda point: not point.is_sampled)
    return {
        "rung": report.rung,
        "epochs_done": report.epochs_done,
        "epochs_total": report.epochs_total,
        "points": [
            {name: float(value) if math.isfinite(value) else None for name, value in items}
            for items in (point.metrics.items() for point in (first, *others))
        ],
    }


def rung_of(row: Row[Any]) -> RungReport:
    """Return the rung report of a row."""
    return RungReport(
        rung=row.rung,
        epochs_done=row.epochs_done,
        epochs_total=row.epochs_total,
        points=tuple(
            RungPoint(
                metrics={name: figure(value) for name, value in metrics.items()},
                is_sampled=place == 0,
            )
            for place, metrics in enumerate(row.points)
        ),
    )


def kept(value: Any) -> Any:
    """Return a value for a column: None for NaN, Python scalars for those of numpy.

    SQLite stores NaN as NULL, and would store an integer of numpy as a blob.
    """
    plain = value.item() if hasattr(value, "item") else value
    return None if isinstance(plain, float) and math.isnan(plain) else plain


def own_values(metrics: Mapping[str, float], *, skip: Collection[str] = METRICS) -> dict[str, Any]:
    """Return the metrics that are no columns, for JSON; what is not finite becomes null."""
    return {
        name: float(value) if math.isfinite(value) else None
        for name, value in metrics.items()
        if name not in skip
    }


def figure(value: float | None) -> float:
    """Return a number of a column; NULL is NaN."""
    return math.nan if value is None else value


def figures(row: Row[Any]) -> dict[str, Any]:
    """Return a row by column, with NULL as NaN."""
    return {name: math.nan if value is None else value for name, value in row._mapping.items()}


def point_row(point: OperatingPoint) -> dict[str, Any]:
    """Return the columns of an operating point."""
    return {
        "timesteps": kept(point.timesteps),
        "exit_thresholds": [kept(threshold) for threshold in point.exit_thresholds],
        "detector_threshold": kept(point.detector_threshold),
        "blocks": kept(point.blocks),
        "is_sampled": point.is_sampled,
        "label": point.label or None,
        "own_metrics": own_values(point.metrics) or None,
        "time_threshold": kept(point.time_threshold),
        **{name: kept(point.metrics.get(name, math.nan)) for name in METRICS},
    }


def point_of(row: Sequence[Any]) -> OperatingPoint:
    """Return the operating point of the columns POINT."""
    timesteps, exit_thresholds, detector_threshold, blocks, is_sampled, *others = row
    label, own, over_time, *values = others
    if None in values:
        values = [figure(value) for value in values]
    metrics = dict(zip(METRICS, values, strict=True))
    if own is not None:
        metrics |= {name: figure(value) for name, value in own.items()}
    return OperatingPoint(
        timesteps=timesteps,
        exit_thresholds=exit_thresholds,
        detector_threshold=detector_threshold,
        blocks=blocks,
        is_sampled=is_sampled,
        metrics=metrics,
        label=label or "",
        time_threshold=1.0 if over_time is None else over_time,
    )


def trial_row(trial: Trial) -> dict[str, Any]:
    """Return the columns of an unfinished trial."""
    config = trial.config
    return {
        "number": trial.number,
        "state": trial.state.value,
        "params": _plain(trial.params),
        "config": None if config is None else config.to_mapping(),
        "run_fingerprint": None if config is None else config.fingerprint,
        "training_fingerprint": None if config is None else config.training_fingerprint,
        "reason": trial.reason,
        "error": trial.error,
        "constraint_violation": kept(trial.constraint_violation),
        "epochs_done": trial.epochs_done,
        "epochs_reused": trial.epochs_reused,
        "epochs_total": 0 if config is None else config.total_epochs,
        "reused_trial": trial.reused_trial,
        "stopped_rung": trial.stopped_rung,
        "sampler_state": _plain(trial.sampler_state),
        "training_s": kept(trial.timings.training_s),
        "evaluation_s": kept(trial.timings.evaluation_s),
    }


def trial_of(row: Row[Any]) -> Trial:
    """Return the trial of a row of TRIALS."""
    has_point = row.point_timesteps is not None
    artifact = None
    if row.uri is not None:
        artifact = Artifact(uri=row.uri, sha256=row.sha256, size_bytes=row.size_bytes)
    return Trial(
        number=row.number,
        params=current_names(row.params),
        state=TrialState(row.state),
        config=None if row.config is None else config_of(row.config),
        sampled=point_of(row[_OWN + 3 : _OWN + 3 + len(POINT)]) if has_point else None,
        reason=row.reason,
        error=row.error,
        constraint_violation=figure(row.constraint_violation),
        epochs_done=row.epochs_done,
        epochs_reused=row.epochs_reused,
        reused_trial=row.reused_trial,
        stopped_rung=row.stopped_rung,
        sampler_state=row.sampler_state,
        timings=Timings(training_s=figure(row.training_s), evaluation_s=figure(row.evaluation_s)),
        artifact=artifact,
        created_at=row.created_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
    )


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a mapping with Python scalars for those of numpy."""
    return {
        name: value.item() if hasattr(value, "item") else value for name, value in values.items()
    }
