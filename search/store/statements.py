"""SQL statements that a driver executes for every epoch and trial, each built once.

SQLAlchemy needs several times longer to build a statement than SQLite needs to execute it, and
finds the compiled form fastest for the same object. Parameters that are not columns are named
`of_...`.
"""

import functools
from typing import Any

from sqlalchemy import Insert, Select, Table, Update, bindparam, delete, insert, select, update

from search.store.rows import POINT
from search.store.schema import (
    ArtifactRow,
    Base,
    HypervolumeRow,
    MeasurementRow,
    OperatingPointRow,
    RungRow,
    StudyRow,
    TrialRow,
)
from search.trial.trial import TrialState


def _table(row: type[Base]) -> Table:
    assert isinstance(row.__table__, Table)
    return row.__table__


STUDIES, TRIALS = _table(StudyRow), _table(TrialRow)
MEASUREMENTS, POINTS = _table(MeasurementRow), _table(OperatingPointRow)
HYPERVOLUME, RUNGS = _table(HypervolumeRow), _table(RungRow)
ARTIFACTS = _table(ArtifactRow)


@functools.cache
def insert_into(row: type[Base]) -> Insert:
    """Return an insert that does not fetch the ids of the new rows."""
    return insert(_table(row)).inline()


# `of_name`, `of_now`: marks a study as changed and returns its id. Other writers of the study wait.
CHANGE_STUDY = (
    update(STUDIES)
    .where(STUDIES.c.name == bindparam("of_name"))
    .values(revision=STUDIES.c.revision + 1, changed_at=bindparam("of_now"))
    .returning(STUDIES.c.id)
)
# `of_study`, and the columns that change
UPDATE_STUDY: Update = update(STUDIES).where(STUDIES.c.id == bindparam("of_study"))
# `of_name`
STUDY_ID: Select[int] = select(STUDIES.c.id).where(STUDIES.c.name == bindparam("of_name"))
# `of_name`, `of_number`
FIND_TRIAL: Select[Any] = (
    select(TRIALS.c.id, TRIALS.c.state)
    .join(STUDIES, STUDIES.c.id == TRIALS.c.study_id)
    .where(STUDIES.c.name == bindparam("of_name"), TRIALS.c.number == bindparam("of_number"))
)
# `of_study` (a name), `of_training` (a fingerprint). The `+ 0` and the absent ORDER BY make SQLite
# use the index of the training, not that of the study.
WEIGHTS_OF: Select[Any] = (
    select(TRIALS.c.number, ARTIFACTS.c.uri)
    .join(ARTIFACTS, ARTIFACTS.c.trial_id == TRIALS.c.id)
    .join(STUDIES, STUDIES.c.id == TRIALS.c.study_id + 0)
    .where(
        STUDIES.c.name == bindparam("of_study"),
        TRIALS.c.training_fingerprint == bindparam("of_training"),
        TRIALS.c.state == TrialState.COMPLETE.value,
    )
)
# `of_trial`, and the columns that change
UPDATE_TRIAL: Update = update(TRIALS).where(TRIALS.c.id == bindparam("of_trial"))


@functools.cache
def select_points(
    *, of_trial: bool, front_only: bool, of_ids: bool
) -> tuple[Select[Any], Select[Any]]:
    """Return queries of operating points (id, trial_id, on_front, POINT) and of their trials.

    The trials have id, number, params and training_fingerprint. The parameters are `of_study` or
    `of_trial`, and the ids `of_ids`.
    """
    if of_trial:
        wanted = [POINTS.c.trial_id == bindparam("of_trial")]
    else:
        wanted = [POINTS.c.study_id == bindparam("of_study")]
    if front_only:
        wanted.append(POINTS.c.on_front.is_(True))
    if of_ids:
        wanted.append(POINTS.c.id.in_(bindparam("of_ids", expanding=True)))
    points = select(POINTS.c.id, POINTS.c.trial_id, POINTS.c.on_front, *POINT).where(*wanted)
    have_points = TRIALS.c.id.in_(select(POINTS.c.trial_id).where(*wanted))
    trial = (TRIALS.c.id, TRIALS.c.number, TRIALS.c.params, TRIALS.c.training_fingerprint)
    return points, select(*trial).where(have_points)


# `of_trial`, `of_block`, `of_epoch`
DELETE_MEASUREMENT = delete(MEASUREMENTS).where(
    MEASUREMENTS.c.trial_id == bindparam("of_trial"),
    MEASUREMENTS.c.block == bindparam("of_block"),
    MEASUREMENTS.c.epoch == bindparam("of_epoch"),
)
# `of_trial`, `of_rung`
DELETE_RUNG = delete(RUNGS).where(
    RUNGS.c.trial_id == bindparam("of_trial"), RUNGS.c.rung == bindparam("of_rung")
)
# `of_study`
FRONT_IDS: Select[int] = select(POINTS.c.id).where(
    POINTS.c.study_id == bindparam("of_study"), POINTS.c.on_front
)
# `of_study`, `of_point`, and on_front
MARK_POINT = update(POINTS).where(
    POINTS.c.study_id == bindparam("of_study"), POINTS.c.id == bindparam("of_point")
)
# `of_study`, `of_trial`
DELETE_HYPERVOLUME = delete(HYPERVOLUME).where(
    HYPERVOLUME.c.study_id == bindparam("of_study"), HYPERVOLUME.c.trial == bindparam("of_trial")
)
