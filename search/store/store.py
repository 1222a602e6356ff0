"""The store: everything that is kept of studies, in SQLite or PostgreSQL.

One driver writes a study at a time, which the study's lease sees to; anybody
reads. Each method is one transaction, kept as a whole or not at all.
"""

import contextlib
import datetime
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from sqlalchemy import Connection, delete, exc, insert, or_, select, update

from search.store.confirmed import keep_test_runs
from search.store.database import AlreadyError, Database, StoreError, StoreGoneError
from search.store.prior_trials import keep_prior_trials
from search.store.read import StoredPoint, StoredStudy, StoreReader, StudySummary
from search.store.retry import StoreRetry, retrying
from search.store.rows import kept, measurement_row, point_row, row_of, rung_row, trial_row
from search.store.schema import (
    ArtifactRow,
    EventRow,
    ExitRow,
    HypervolumeRow,
    LayerRow,
    MeasurementRow,
    OperatingPointRow,
    RungRow,
    StudyRow,
    TrialRow,
)
from search.store.statements import (
    CHANGE_STUDY,
    DELETE_HYPERVOLUME,
    DELETE_MEASUREMENT,
    DELETE_RUNG,
    FRONT_IDS,
    MARK_POINT,
    UPDATE_STUDY,
    UPDATE_TRIAL,
    insert_into,
)
from search.trial.confirmation import SeedRun
from search.trial.rung import RungReport
from search.trial.trial import HypervolumeRecord, Outcome, Trial, TrialState
from snn.settings.measurement import Evaluation, Measurement

if TYPE_CHECKING:
    from search.study.study import Study

__all__ = [
    "LeaseHeldError",
    "Store",
    "StoreError",
    "StoreGoneError",
    "StoredPoint",
    "StoredStudy",
    "StudySummary",
]


class LeaseHeldError(StoreError):
    """Another driver works on the study."""

    def __init__(self, study: str, holder: str, until: datetime.datetime) -> None:
        self.holder = holder
        self.until = until
        super().__init__(
            f"study {study!r} is being run by {holder}, whose lease lasts until "
            f"{until:%Y-%m-%d %H:%M:%S} UTC; wait, or stop that run first"
        )


@retrying
class Store(StoreReader):
    """The store at a URL: `sqlite:///runs/spikefront.db`, `postgresql://user@host/name`.

    Opening it for writing creates and migrates it; `read_only` neither creates
    nor changes anything. Infinite figures are kept as they are and those that
    are not numbers as NULL, read back as NaN. Raises StoreError in one line.
    """

    retry_policy: StoreRetry | None = None  # what waits when the database does not answer

    def __init__(self, url: str, *, read_only: bool = False) -> None:
        super().__init__(Database(url, read_only=read_only))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    # studies

    def create_study(self, study: "Study") -> None:
        """Keep the study. One that is there already takes the new text, and so its budget.

        Raises StoreError where the one that is there asks another question.
        """
        asked = {
            "question": study.question,
            "toml": study.text,
            "trials_asked": study.budget.trials,
        }
        query = select(StudyRow.id, StudyRow.question_fingerprint).where(
            StudyRow.name == study.name
        )
        with self._database.writing() as connection:
            found = connection.execute(query.with_for_update()).one_or_none()
            if found is None:
                self._insert_study(connection, study, asked)
            elif found.question_fingerprint == study.question_fingerprint:
                change = update(StudyRow).where(StudyRow.id == found.id)
                connection.execute(change.values(**asked, **_changed()))
            else:
                raise StoreError(
                    f"study {study.name!r} in {self.url} asks another question; "
                    "give this one another name, or name another store"
                )

    def _insert_study(self, connection: Connection, study: "Study", asked: dict[str, Any]) -> None:
        now = _now()
        row = {
            "name": study.name,
            "question_fingerprint": study.question_fingerprint,
            "objectives": list(study.objectives),
            "created_at": now,
            "changed_at": now,
            "revision": 0,
            "stop_requested": False,
        }
        try:
            connection.execute(insert(StudyRow).values(**row, **asked))
        except exc.IntegrityError as error:
            message = f"study {study.name!r} was just created by another process; try again"
            raise StoreError(message) from error

    def delete_study(self, name: str) -> None:
        """Remove the study and everything of it. Raises LeaseHeldError while a driver runs it."""
        with self._database.writing() as connection:
            self._refuse_held(connection, name, by=None)
            connection.execute(delete(StudyRow).where(StudyRow.name == name))

    # who works on a study

    def acquire_lease(self, name: str, holder: str, seconds: float) -> None:
        """Make `holder` the study's driver for that long, if no other is.

        A request to stop that was meant for an earlier driver is withdrawn.
        Raises LeaseHeldError.
        """
        now = _now()
        is_free = or_(
            StudyRow.lease_holder.is_(None),
            StudyRow.lease_holder == holder,
            StudyRow.lease_until <= now,
        )
        take = (
            update(StudyRow)
            .where(StudyRow.name == name, is_free)
            .values(
                lease_holder=holder,
                lease_until=now + datetime.timedelta(seconds=seconds),
                stop_requested=False,
                **_changed(),
            )
        )
        before = select(StudyRow.lease_holder).where(StudyRow.name == name).with_for_update()
        with self._database.writing() as connection:
            previous = connection.execute(before).scalar()
            if connection.execute(take).rowcount == 0:
                self._refuse_held(connection, name, by=holder)
            if previous not in (None, holder):
                message = f"{holder} took over from {previous}, whose lease had run out"
                self._add_event(connection, self._study_id(connection, name), "lease", message)

    def renew_lease(self, name: str, holder: str, seconds: float) -> None:
        """Let the lease that `holder` has last that long from now. Raises LeaseHeldError."""
        renew = (
            update(StudyRow)
            .where(StudyRow.name == name, StudyRow.lease_holder == holder)
            .values(lease_until=_now() + datetime.timedelta(seconds=seconds))
        )
        with self._database.writing() as connection:
            if connection.execute(renew).rowcount == 0:
                self._refuse_held(connection, name, by=holder)
                raise StoreError(f"study {name!r}: {holder} has no lease to renew")

    def release_lease(self, name: str, holder: str) -> None:
        """Give the lease back, if `holder` has it."""
        with self._changing(name) as (connection, study_id):
            is_held = (StudyRow.id == study_id) & (StudyRow.lease_holder == holder)
            free = {"lease_holder": None, "lease_until": None}
            connection.execute(update(StudyRow).where(is_held).values(free))

    def request_stop(self, name: str) -> None:
        """Ask the study's driver to stop after what it is doing."""
        with self._changing(name) as (connection, study_id):
            connection.execute(UPDATE_STUDY, {"of_study": study_id, "stop_requested": True})

    # trials

    def add_trial(self, study: str, trial: Trial) -> None:
        """Keep a trial that waits or runs. Raises StoreError when its number is taken."""
        assert not trial.state.is_finished, "finish_trial tells what came of a trial"
        now = _now()
        started = now if trial.state is TrialState.RUNNING else None
        row = {
            **trial_row(trial),
            "created_at": trial.created_at or now,
            "started_at": trial.started_at or started,
        }
        with self._changing(study) as (connection, study_id):
            try:
                connection.execute(insert_into(TrialRow), {"study_id": study_id, **row})
            except exc.IntegrityError as error:
                message = f"study {study!r} already has a trial {trial.number}"
                raise AlreadyError(message) from error

    def start_trial(self, study: str, number: int) -> None:
        """A waiting trial runs."""
        running = {"state": TrialState.RUNNING.value, "started_at": _now()}
        with self._changing(study) as (connection, _):
            trial_id = self._trial_in(connection, study, number, TrialState.WAITING)
            connection.execute(UPDATE_TRIAL, {"of_trial": trial_id, **running})

    def requeue_running(self, study: str, reason: str) -> list[int]:
        """Let trials that run wait again, without the epochs they had measured, and keep why.

        What was measured at rungs stays: it is still true of the trial, and other
        trials have been judged by it. Returns their numbers.
        """
        with self._changing(study) as (connection, study_id):
            is_running = (TrialRow.study_id == study_id) & (TrialRow.state == TrialState.RUNNING)
            query = select(TrialRow.id, TrialRow.number).where(is_running).order_by(TrialRow.number)
            stopped = connection.execute(query).all()
            measured = select(TrialRow.id).where(is_running)
            connection.execute(delete(MeasurementRow).where(MeasurementRow.trial_id.in_(measured)))
            waiting = {
                "state": TrialState.WAITING.value,
                "started_at": None,
                "epochs_done": 0,
                "epochs_reused": 0,
            }
            connection.execute(update(TrialRow).where(is_running).values(**waiting))
            for row in stopped:
                self._add_event(connection, study_id, "requeued", reason, row.number)
        return [row.number for row in stopped]

    def record_measurement(self, study: str, number: int, measurement: Measurement) -> None:
        """Keep an epoch of a running trial; the same epoch told again replaces it."""
        row = measurement_row(measurement)
        with self._changing(study) as (connection, _):
            trial_id = self._trial_in(connection, study, number, TrialState.RUNNING)
            told = {"of_trial": trial_id, "of_block": row["block"], "of_epoch": row["epoch"]}
            connection.execute(DELETE_MEASUREMENT, told)
            connection.execute(insert_into(MeasurementRow), {"trial_id": trial_id, **row})
            progress = {
                "epochs_done": measurement.epochs_trained,
                "epochs_reused": measurement.epochs_reused,
                "epochs_total": measurement.epochs_total,
            }
            connection.execute(UPDATE_TRIAL, {"of_trial": trial_id, **progress})

    def record_rung(self, study: str, number: int, report: RungReport) -> None:
        """Keep what was measured of a running trial at a rung; told again it is the newest."""
        with self._changing(study) as (connection, study_id):
            trial_id = self._trial_in(connection, study, number, TrialState.RUNNING)
            connection.execute(DELETE_RUNG, {"of_trial": trial_id, "of_rung": report.rung})
            row = {"study_id": study_id, "trial_id": trial_id, **rung_row(report)}
            connection.execute(insert_into(RungRow), row)

    def finish_trial(self, study: str, number: int, outcome: Outcome) -> None:
        """Keep what came of a trial. Raises StoreError when that is known already."""
        assert outcome.state.is_finished
        unfinished = (TrialState.RUNNING, TrialState.WAITING)
        with self._changing(study) as (connection, study_id):
            trial_id = self._trial_in(connection, study, number, *unfinished)
            connection.execute(UPDATE_TRIAL, {"of_trial": trial_id, **_outcome_row(outcome)})
            if outcome.evaluation is not None:
                _insert_evaluation(connection, study_id, trial_id, outcome.evaluation)
            if outcome.artifact is not None:
                artifact = row_of(outcome.artifact)
                connection.execute(insert_into(ArtifactRow), {"trial_id": trial_id, **artifact})

    def update_front(
        self,
        study: str,
        front_ids: Collection[int],
        *,
        reference: Mapping[str, float] | None = None,
        hypervolume: Iterable[HypervolumeRecord] = (),
    ) -> None:
        """Make those operating points (`StoredPoint.id`) the study's front.

        A hypervolume record replaces the one of its trial and becomes the
        newest. Without a reference point the one that is there stays.
        """
        records = [row_of(record) for record in hypervolume]
        with self._changing(study) as (connection, study_id):
            before = set(connection.execute(FRONT_IDS, {"of_study": study_id}).scalars())
            after = set(front_ids)
            _mark(connection, study_id, before - after, on_front=False)
            _mark(connection, study_id, after - before, on_front=True)
            if reference is not None:
                point = {name: kept(value) for name, value in reference.items()}
                connection.execute(UPDATE_STUDY, {"of_study": study_id, "reference": point})
            if records:
                _replace_hypervolume(connection, study_id, records)

    def change_front(
        self,
        study: str,
        *,
        entered: Collection[int],
        left: Collection[int],
        hypervolume: Iterable[HypervolumeRecord] = (),
    ) -> None:
        """Let operating points (`StoredPoint.id`) enter the front or leave it.

        The others stay as they are and are not looked at. For the hypervolume see `update_front`.
        """
        records = [row_of(record) for record in hypervolume]
        with self._changing(study) as (connection, study_id):
            _mark(connection, study_id, left, on_front=False)
            _mark(connection, study_id, entered, on_front=True)
            if records:
                _replace_hypervolume(connection, study_id, records)

    def record_test_runs(self, study: str, runs: Mapping[int, SeedRun]) -> None:
        """Keep what one training gave at operating points, by their ids (`StoredPoint.id`).

        A run of the same point and seed is replaced; means and spreads follow.
        """
        with self._changing(study) as (connection, study_id):
            keep_test_runs(connection, study_id, runs, _now())

    def add_prior_trials(self, study: str, source: str, trials: Sequence[Trial]) -> int:
        """Keep finished trials from elsewhere for the sampler; returns how many were new."""
        with self._changing(study) as (connection, study_id):
            return keep_prior_trials(connection, study_id, source, trials, _now())

    def add_event(self, study: str, kind: str, message: str, *, trial: int | None = None) -> None:
        """Keep that something happened to the study."""
        with self._changing(study) as (connection, study_id):
            self._add_event(connection, study_id, kind, message, trial)

    @contextlib.contextmanager
    def _changing(self, name: str) -> Iterator[tuple[Connection, int]]:
        """A transaction that changes the study, with its id; other writers of it wait."""
        with self._database.writing() as connection:
            change = {"of_name": name, "of_now": _now()}
            study_id: int | None = connection.execute(CHANGE_STUDY, change).scalar()
            if study_id is None:
                raise self._no_study(connection, name)
            yield connection, study_id

    def _trial_in(
        self, connection: Connection, study: str, number: int, *states: TrialState
    ) -> int:
        """The id of a trial that has to be in one of the states."""
        found = self._find_trial(connection, study, number)
        if found.state not in states:
            message = f"must be {' or '.join(states)}, but is {found.state} already"
            raise AlreadyError(f"study {study!r}: trial {number} {message}")
        trial_id: int = found.id
        return trial_id

    def _refuse_held(self, connection: Connection, name: str, *, by: str | None) -> None:
        """Raise LeaseHeldError when somebody other than `by` has the lease."""
        query = select(StudyRow.lease_holder, StudyRow.lease_until).where(StudyRow.name == name)
        lease = connection.execute(query).one_or_none()
        if lease is None:
            raise self._no_study(connection, name)
        if lease.lease_holder not in (None, by) and lease.lease_until > _now():
            raise LeaseHeldError(name, lease.lease_holder, lease.lease_until)

    def _add_event(
        self,
        connection: Connection,
        study_id: int,
        kind: str,
        message: str,
        trial: int | None = None,
    ) -> None:
        row = {"at": _now(), "kind": kind, "message": message, "trial": trial}
        connection.execute(insert_into(EventRow), {"study_id": study_id, **row})


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


def _changed() -> dict[str, Any]:
    """What every change of a study leaves in its row."""
    return {"revision": StudyRow.revision + 1, "changed_at": _now()}


def _outcome_row(outcome: Outcome) -> dict[str, Any]:
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
        "finished_at": _now(),
    }
    if evaluation is not None:
        row["validation_images"] = kept(evaluation.images)
        row["points_evaluated"] = kept(evaluation.points_evaluated)
        row["evaluation_wall_s"] = kept(evaluation.wall_s)
    return row


def _insert_evaluation(
    connection: Connection, study_id: int, trial_id: int, evaluation: Evaluation
) -> None:
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


def _mark(connection: Connection, study_id: int, ids: Collection[int], *, on_front: bool) -> None:
    if ids:
        point = {"of_study": study_id, "on_front": on_front}
        connection.execute(MARK_POINT, [{**point, "of_point": id_} for id_ in sorted(ids)])


def _replace_hypervolume(
    connection: Connection, study_id: int, records: list[dict[str, Any]]
) -> None:
    replaced = [{"of_study": study_id, "of_trial": record["trial"]} for record in records]
    connection.execute(DELETE_HYPERVOLUME, replaced)
    rows = [{"study_id": study_id, **record} for record in records]
    connection.execute(insert_into(HypervolumeRow), rows)
