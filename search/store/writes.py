"""What the store writes of one trial or front, in a transaction of its caller."""

import datetime
from collections.abc import Collection
from typing import Any

from sqlalchemy import Connection

from search.store.rows import kept, measurement_row, point_row, row_of
from search.store.schema import (
    ExitRow,
    HypervolumeRow,
    LayerRow,
    MeasurementRow,
    OperatingPointRow,
)
from search.store.statements import (
    DELETE_HYPERVOLUME,
    DELETE_MEASUREMENT,
    MARK_POINT,
    UPDATE_TRIAL,
    insert_into,
)
from search.trial.trial import Outcome
from snn.settings.measurement import Evaluation, Measurement


def outcome_row(outcome: Outcome, now: datetime.datetime) -> dict[str, Any]:
    """Return the columns of a trial that its outcome sets."""
    evaluation = outcome.evaluation
    row = {
        "state": outcome.state.value,
        "reason": outcome.reason,
        "error": outcome.error,
        "constraint_violation": kept(outcome.constraint_violation),
        "reused_trial": outcome.reused_trial,
        "stopped_rung": outcome.stopped_rung,
        "training_s": kept(outcome.timings.training_s),
        "evaluation_s": kept(outcome.timings.evaluation_s),
        "finished_at": now,
    }
    if evaluation is not None:
        row["validation_images"] = kept(evaluation.images)
        row["points_evaluated"] = kept(evaluation.points_evaluated)
        row["evaluation_wall_s"] = kept(evaluation.wall_s)
    return row


def insert_measurement(connection: Connection, trial_id: int, measurement: Measurement) -> None:
    """Store a measurement, in the place of an earlier one of its epoch."""
    row = measurement_row(measurement)
    epoch = {"of_trial": trial_id, "of_block": row["block"], "of_epoch": row["epoch"]}
    connection.execute(DELETE_MEASUREMENT, epoch)
    connection.execute(insert_into(MeasurementRow), {"trial_id": trial_id, **row})


def update_progress(connection: Connection, trial_id: int, measurement: Measurement) -> None:
    """Store how far the training of a measurement is."""
    progress = {
        "epochs_done": measurement.epochs_trained,
        "epochs_reused": measurement.epochs_reused,
        "epochs_total": measurement.epochs_total,
    }
    connection.execute(UPDATE_TRIAL, {"of_trial": trial_id, **progress})


def insert_evaluation(
    connection: Connection, study_id: int, trial_id: int, evaluation: Evaluation
) -> None:
    """Store the operating points, layers and exits of an evaluation."""
    ids = {"trial_id": trial_id}
    new = {"study_id": study_id, "on_front": False, **ids}
    points = [{**point_row(point), **new} for point in evaluation.points]
    layers = [
        {**row_of(layer), "position": position, **ids}
        for position, layer in enumerate(evaluation.layers)
    ]
    exits = [{**row_of(report), **ids} for report in evaluation.exits]
    for table, rows in (
        (OperatingPointRow, points),
        (LayerRow, layers),
        (ExitRow, exits),
    ):
        if rows:
            connection.execute(insert_into(table), rows)


def mark(connection: Connection, study_id: int, ids: Collection[int], *, on_front: bool) -> None:
    """Store whether operating points are on the front."""
    if ids:
        point = {"of_study": study_id, "on_front": on_front}
        connection.execute(MARK_POINT, [{**point, "of_point": id_} for id_ in sorted(ids)])


def replace_hypervolume(
    connection: Connection, study_id: int, records: list[dict[str, Any]]
) -> None:
    """Store records of the hypervolume, in the place of those of the same trials."""
    replaced = [{"of_study": study_id, "of_trial": record["trial"]} for record in records]
    connection.execute(DELETE_HYPERVOLUME, replaced)
    rows = [{"study_id": study_id, **record} for record in records]
    connection.execute(insert_into(HypervolumeRow), rows)
