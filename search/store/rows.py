"""Rows of the store as values, and values as rows."""

import contextlib
import dataclasses
import gc
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import Row, Select, case, select

from search.store.schema import ArtifactRow, Base, OperatingPointRow, TrialRow
from search.trial.rung import RungPoint, RungReport
from search.trial.trial import Artifact, Timings, Trial, TrialState
from snn.settings.config import RunConfig
from snn.settings.measurement import METRICS, LayerConnectivity, Measurement, OperatingPoint

POINT = (  # what `point_of` reads, in its order
    OperatingPointRow.timesteps,
    OperatingPointRow.exit_thresholds,
    OperatingPointRow.detector_threshold,
    OperatingPointRow.blocks,
    OperatingPointRow.is_sampled,
    *(getattr(OperatingPointRow, name) for name in METRICS),
)
_OWN = len(TrialRow.__table__.c)

# What `trial_of` reads: the trial, its artifact, its sampled operating point.
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
# The same without the configs of trials that have finished: to read them takes longer than all else
LIGHT_TRIALS: Select[Any] = TRIALS.with_only_columns(
    *(
        case((_FINISHED, None), else_=column).label("config") if column.key == "config" else column
        for column in TRIALS.selected_columns
    )
)


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """No garbage collection: between thousands of objects that all stay it finds nothing.

    It would take more time than to make them.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def values_of(table: type[Base], value: type[Any]) -> Select[Any]:
    """The columns of a table that have the names of the value's fields."""
    return select(*(getattr(table, field.name) for field in dataclasses.fields(value)))


def row_of(value: Any) -> dict[str, Any]:
    """The value's fields, for columns of the same names."""
    return {field.name: kept(getattr(value, field.name)) for field in dataclasses.fields(value)}


def measurement_row(measurement: Measurement) -> dict[str, Any]:
    """A measurement, for its columns."""
    layers = [dataclasses.asdict(layer) for layer in measurement.layers]
    return {**row_of(dataclasses.replace(measurement, layers=())), "layers": layers or None}


def measurement_of(row: Row[Any]) -> Measurement:
    """A measurement from its columns."""
    layers = tuple(
        # `removed` was `pruned` in rows of earlier versions
        LayerConnectivity(**{"removed" if k == "pruned" else k: v for k, v in layer.items()})
        for layer in row.layers or ()
    )
    return Measurement(**{**figures(row), "layers": layers})


def rung_row(report: RungReport) -> dict[str, Any]:
    """What was measured at a rung, for its columns."""
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
    """What was measured at a rung, from its columns; the first point is the sampled one."""
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
    """A figure as a column can hold it: NULL for what is not a number, no scalars of numpy.

    SQLite would make NULL of a NaN by itself, and a blob of numpy's integers.
    """
    plain = value.item() if hasattr(value, "item") else value
    return None if isinstance(plain, float) and math.isnan(plain) else plain


def figure(value: float | None) -> float:
    """A figure that was kept."""
    return math.nan if value is None else value


def figures(row: Row[Any]) -> dict[str, Any]:
    """A row whose NULLs are all figures that are not numbers, by column."""
    return {name: math.nan if value is None else value for name, value in row._mapping.items()}


def point_row(point: OperatingPoint) -> dict[str, Any]:
    """An operating point, for its columns."""
    return {
        "timesteps": kept(point.timesteps),
        "exit_thresholds": [kept(threshold) for threshold in point.exit_thresholds],
        "detector_threshold": kept(point.detector_threshold),
        "blocks": kept(point.blocks),
        "is_sampled": point.is_sampled,
        **{name: kept(point.metrics[name]) for name in METRICS},
    }


def point_of(row: Sequence[Any]) -> OperatingPoint:
    """An operating point from the columns POINT."""
    timesteps, exit_thresholds, detector_threshold, blocks, is_sampled, *values = row
    if None in values:
        values = [figure(value) for value in values]
    return OperatingPoint(
        timesteps=timesteps,
        exit_thresholds=exit_thresholds,
        detector_threshold=detector_threshold,
        blocks=blocks,
        is_sampled=is_sampled,
        metrics=dict(zip(METRICS, values, strict=True)),
    )


def trial_row(trial: Trial) -> dict[str, Any]:
    """A trial that has not finished, for its columns."""
    config: RunConfig | None = trial.config
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
    """A trial from a row of TRIALS."""
    has_point = row.point_timesteps is not None
    artifact = None
    if row.uri is not None:
        artifact = Artifact(uri=row.uri, sha256=row.sha256, size_bytes=row.size_bytes)
    return Trial(
        number=row.number,
        params=row.params,
        state=TrialState(row.state),
        config=None if row.config is None else RunConfig.from_mapping(row.config),
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
    """A mapping as JSON can hold it: no scalars of numpy."""
    return {
        name: value.item() if hasattr(value, "item") else value for name, value in values.items()
    }
