"""The store of all studies, in SQLite or PostgreSQL.

The lease of a study lets one driver write at a time; any process may read. Each method is one
transaction.
"""

import contextlib
import datetime
import secrets
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from sqlalchemy import Connection, delete, exc, insert, or_, select, update

from search.store.confirmed import keep_test_runs
from search.store.database import AlreadyError, Database, StoreError, StoreGoneError
from search.store.prior_trials import PriorTrialChanges, keep_prior_trials
from search.store.process_identity import holder_name
from search.store.read import StoreReader
from search.store.records import StoredPoint, StoredStudy, StudySummary
from search.store.retry import StoreRetry, retrying
from search.store.rows import kept, row_of, rung_row, trial_row
from search.store.schema import (
    ArtifactRow,
    EventRow,
    MeasurementRow,
    RungRow,
    StudyRow,
    TrialRow,
)
from search.store.statements import (
    CHANGE_STUDY,
    DELETE_RUNG,
    FRONT_IDS,
    UPDATE_STUDY,
    UPDATE_TRIAL,
    insert_into,
)
from search.store.writes import (
    insert_evaluation,
    insert_measurement,
    mark,
    outcome_row,
    replace_hypervolume,
    update_progress,
)
from search.study.own_metrics import declared
from search.trial.confirmation import SeedRun
from search.trial.rung import RungReport
from search.trial.trial import Artifact, HypervolumeRecord, Outcome, Trial, TrialState
from snn.settings.measurement import Measurement

if TYPE_CHECKING:
    from search.study.study import Study

__all__ = [
    "LeaseHeldError",
    "LeaseLostError",
    "Store",
    "StoreError",
    "StoreGoneError",
    "StoredPoint",
    "StoredStudy",
    "StudySummary",
]


class LeaseHeldError(StoreError):
    """Another driver runs the study."""

    def __init__(self, study: str, holder: str, until: datetime.datetime) -> None:
        self.holder = holder
        self.until = until
        super().__init__(
            f"study {study!r} is being run by {holder_name(holder)}, whose lease lasts until "
            f"{until:%Y-%m-%d %H:%M:%S} UTC; wait, or stop that run first"
        )


class LeaseLostError(StoreError):
    """Another driver took over the study of this one, whose lease had expired."""

    def __init__(self, study: str, holder: str | None) -> None:
        to = "another run, which has ended" if holder is None else holder_name(holder)
        super().__init__(
            f"this run lost the study {study!r} to {to}: its lease expired, because this process "
            "was suspended or could not reach the store. Trials that were running here run there "
            "again; this run stores nothing more"
        )


@retrying
class Store(StoreReader):
    """The store at a URL: `sqlite:///runs/spikefront.db`, `postgresql://user@host/name`.

    Opening it for writing creates and migrates it; `read_only` does neither. Infinities are
    stored as they are, NaN as NULL. Raises StoreError in one line.
    """

    retry_policy: StoreRetry | None = None  # retries while the database does not respond

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
        """Store a study; an existing one gets the new text, and so the new budget.

        Raises StoreError if the existing one has another question.
        """
        asked = {
            "question": study.question,
            "toml": study.text,
            "trials_asked": study.budget.trials,
            "own_metrics": {n: declared(m) for n, m in study.own_metrics.items()} or None,
        }
        if study.folder is not None:
            asked["code_folder"] = str(study.folder)
        query = select(StudyRow.id, StudyRow.question_fingerprint).where(
            StudyRow.name == study.name
        )
        with self._database.writing() as connection:
            found = connection.execute(query.with_for_update()).one_or_none()
            if found is None:
                self._insert_study(connection, study, asked)
            elif study.asks(found.question_fingerprint):
                change = update(StudyRow).where(StudyRow.id == found.id)
                connection.execute(change.values(**asked, **_changed()))
            else:
                raise StoreError(
                    f"study {study.name!r} in {self.url} was created with other settings; "
                    "give this study another `name`, or choose another store"
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
            "artifacts_id": secrets.token_hex(4),
        }
        try:
            connection.execute(insert(StudyRow).values(**row, **asked))
        except exc.IntegrityError as error:
            message = f"study {study.name!r} was just created by another process; try again"
            raise StoreError(message) from error

    def delete_study(self, name: str) -> None:
        """Delete the study with its trials. Raises LeaseHeldError while a driver runs it."""
        with self._database.writing() as connection:
            self._refuse_held(connection, name, by=None)
            connection.execute(delete(StudyRow).where(StudyRow.name == name))

    def delete_own_study(self, name: str, holder: str) -> None:
        """Delete the study, if `holder` has its lease."""
        is_own = (StudyRow.name == name) & (StudyRow.lease_holder == holder)
        with self._database.writing() as connection:
            connection.execute(delete(StudyRow).where(is_own))

    # leases

    def acquire_lease(self, name: str, holder: str, seconds: float) -> None:
        """Give `holder` the lease of the study, if it is free or expired.

        The clock is that of the database. A stop request for an earlier driver is removed.
        Raises LeaseHeldError.
        """
        before = select(StudyRow.lease_holder).where(StudyRow.name == name).with_for_update()
        with self._database.writing() as connection:
            previous = connection.execute(before).scalar()
            now = self._database.now(connection)
            is_free = or_(
                StudyRow.lease_holder.is_(None),
                StudyRow.lease_holder == holder,
                StudyRow.lease_until <= now,
            )
            take = update(StudyRow).where(StudyRow.name == name, is_free)
            values = {
                "lease_holder": holder,
                "lease_until": now + datetime.timedelta(seconds=seconds),
                "stop_requested": False,
            }
            if connection.execute(take.values(**values, **_changed())).rowcount == 0:
                # at the same moment: a later one could find that the lease has just expired, and a
                # driver without a lease would be let in
                self._refuse_held(connection, name, by=holder, now=now)
            if previous not in (None, holder):
                message = (
                    f"{holder_name(holder)} took over from {holder_name(previous)}, "
                    "whose lease had expired"
                )
                self._add_event(connection, self._study_id(connection, name), "lease", message)

    def renew_lease(
        self, name: str, holder: str, seconds: float, *, run_s: float | None = None
    ) -> None:
        """Extend the lease of `holder` to `seconds` from now, and store the seconds of all runs.

        An expired lease is renewed if no other driver took it. Raises LeaseLostError.
        """
        renew = update(StudyRow).where(StudyRow.name == name, StudyRow.lease_holder == holder)
        spent = {} if run_s is None else {"run_s": run_s}
        with self._database.writing() as connection:
            until = self._database.now(connection) + datetime.timedelta(seconds=seconds)
            if connection.execute(renew.values(lease_until=until, **spent)).rowcount == 0:
                self._study_id(connection, name)
                owner = select(StudyRow.lease_holder).where(StudyRow.name == name)
                raise LeaseLostError(name, connection.execute(owner).scalar())

    def release_lease(self, name: str, holder: str) -> None:
        """Release the lease, if `holder` has it."""
        with self._changing(name) as (connection, study_id):
            is_held = (StudyRow.id == study_id) & (StudyRow.lease_holder == holder)
            free = {"lease_holder": None, "lease_until": None}
            connection.execute(update(StudyRow).where(is_held).values(free))

    def request_stop(self, name: str) -> None:
        """Request the driver of the study to stop."""
        with self._changing(name) as (connection, study_id):
            connection.execute(UPDATE_STUDY, {"of_study": study_id, "stop_requested": True})

    # trials

    def add_trial(self, study: str, trial: Trial) -> None:
        """Store a waiting or running trial. Raises AlreadyError if its number exists."""
        assert not trial.state.is_finished, "finish_trial stores outcomes"
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
        """Set a waiting trial to running."""
        running = {"state": TrialState.RUNNING.value, "started_at": _now()}
        with self._changing(study) as (connection, _):
            trial_id = self._trial_in(connection, study, number, TrialState.WAITING)
            connection.execute(UPDATE_TRIAL, {"of_trial": trial_id, **running})

    def requeue_running(
        self,
        study: str,
        reason: str,
        *,
        numbers: Collection[int] | None = None,
        holder: str | None = None,
    ) -> list[int]:
        """Set running trials to waiting, without their measurements; returns their numbers.

        Only those of `numbers`, if given, and only while `holder` has the lease. The epochs that
        they trained are added to the lost epochs of the study. Rung reports stay: they remain
        true of the trial, and other trials were compared with them.
        """
        with self._changing(study) as (connection, study_id):
            owner = select(StudyRow.lease_holder).where(StudyRow.id == study_id)
            if holder is not None and connection.execute(owner).scalar() != holder:
                return []
            is_running = (TrialRow.study_id == study_id) & (TrialRow.state == TrialState.RUNNING)
            if numbers is not None:
                is_running &= TrialRow.number.in_(numbers)
            query = select(TrialRow.id, TrialRow.number, TrialRow.epochs_done).where(is_running)
            stopped = connection.execute(query.order_by(TrialRow.number)).all()
            self._add_lost_epochs(connection, study_id, sum(row.epochs_done for row in stopped))
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
        """Store the measurement of an epoch of a running trial; replaces one of the same epoch."""
        with self._changing(study) as (connection, _):
            trial_id = self._trial_in(connection, study, number, TrialState.RUNNING)
            insert_measurement(connection, trial_id, measurement)
            update_progress(connection, trial_id, measurement)

    def record_continuation(
        self, study: str, number: int, measurements: Sequence[Measurement]
    ) -> None:
        """Store the measurements until the checkpoint from which a running trial continues.

        Their epochs were counted as lost, and count for the trial again.
        """
        with self._changing(study) as (connection, study_id):
            trial_id = self._trial_in(connection, study, number, TrialState.RUNNING)
            query = select(TrialRow.epochs_done).where(TrialRow.id == trial_id)
            counted: int = connection.execute(query).scalar_one()  # above 0 if this is repeated
            for measurement in measurements:
                insert_measurement(connection, trial_id, measurement)
            last = measurements[-1]
            update_progress(connection, trial_id, last)
            # a driver that was lost may not have counted the last epoch
            query = select(StudyRow.lost_epochs).where(StudyRow.id == study_id)
            lost = connection.execute(query).scalar_one()
            regained = min(max(0, last.epochs_trained - counted), lost)
            self._add_lost_epochs(connection, study_id, -regained)

    def record_rung(self, study: str, number: int, report: RungReport) -> None:
        """Store a rung report of a running trial; replaces one of the same rung, as the newest."""
        with self._changing(study) as (connection, study_id):
            trial_id = self._trial_in(connection, study, number, TrialState.RUNNING)
            connection.execute(DELETE_RUNG, {"of_trial": trial_id, "of_rung": report.rung})
            row = {"study_id": study_id, "trial_id": trial_id, **rung_row(report)}
            connection.execute(insert_into(RungRow), row)

    def finish_trial(self, study: str, number: int, outcome: Outcome) -> None:
        """Store the outcome of a trial. Raises AlreadyError if it has one."""
        assert outcome.state.is_finished
        unfinished = (TrialState.RUNNING, TrialState.WAITING)
        with self._changing(study) as (connection, study_id):
            trial_id = self._trial_in(connection, study, number, *unfinished)
            connection.execute(UPDATE_TRIAL, {"of_trial": trial_id, **outcome_row(outcome, _now())})
            if outcome.evaluation is not None:
                insert_evaluation(connection, study_id, trial_id, outcome.evaluation)
            if outcome.artifact is not None:
                artifact = row_of(outcome.artifact)
                connection.execute(insert_into(ArtifactRow), {"trial_id": trial_id, **artifact})

    def add_weights(self, study: str, number: int, artifact: Artifact) -> None:
        """Store weights that a complete trial lacked."""
        with self._changing(study) as (connection, _):
            trial_id = self._trial_in(connection, study, number, TrialState.COMPLETE)
            connection.execute(delete(ArtifactRow).where(ArtifactRow.trial_id == trial_id))
            connection.execute(insert_into(ArtifactRow), {"trial_id": trial_id, **row_of(artifact)})
            connection.execute(UPDATE_TRIAL, {"of_trial": trial_id, "reason": ""})

    def update_front(
        self,
        study: str,
        front_ids: Collection[int],
        *,
        reference: Mapping[str, float] | None = None,
        hypervolume: Iterable[HypervolumeRecord] = (),
    ) -> None:
        """Set the front of the study to operating points (`StoredPoint.id`).

        A hypervolume record replaces the one of its trial and becomes the newest. Without
        `reference` the stored reference point stays.
        """
        records = [row_of(record) for record in hypervolume]
        with self._changing(study) as (connection, study_id):
            before = set(connection.execute(FRONT_IDS, {"of_study": study_id}).scalars())
            after = set(front_ids)
            mark(connection, study_id, before - after, on_front=False)
            mark(connection, study_id, after - before, on_front=True)
            if reference is not None:
                point = {name: kept(value) for name, value in reference.items()}
                connection.execute(UPDATE_STUDY, {"of_study": study_id, "reference": point})
            if records:
                replace_hypervolume(connection, study_id, records)

    def change_front(
        self,
        study: str,
        *,
        entered: Collection[int],
        left: Collection[int],
        hypervolume: Iterable[HypervolumeRecord] = (),
    ) -> None:
        """Add operating points (`StoredPoint.id`) to the front and remove others from it.

        Points not named stay as they are. For `hypervolume` see `update_front`.
        """
        records = [row_of(record) for record in hypervolume]
        with self._changing(study) as (connection, study_id):
            mark(connection, study_id, left, on_front=False)
            mark(connection, study_id, entered, on_front=True)
            if records:
                replace_hypervolume(connection, study_id, records)

    def record_test_runs(self, study: str, runs: Mapping[int, SeedRun]) -> None:
        """Store test runs by the ids of their operating points (`StoredPoint.id`).

        Replaces a run of the same point and seed, and updates mean and standard deviation.
        """
        with self._changing(study) as (connection, study_id):
            keep_test_runs(connection, study_id, runs, _now())

    def add_prior_trials(
        self, study: str, source: str, trials: Sequence[Trial]
    ) -> PriorTrialChanges:
        """Let the external trials of `source` for the sampler be `trials`."""
        with self._changing(study) as (connection, study_id):
            return keep_prior_trials(connection, study_id, source, trials, _now())

    def add_event(self, study: str, kind: str, message: str, *, trial: int | None = None) -> None:
        """Store an event of the study."""
        with self._changing(study) as (connection, study_id):
            self._add_event(connection, study_id, kind, message, trial)

    def lose_attempt(self, study: str, number: int) -> None:
        """Count the epochs of a running trial as lost: its worker is gone, it starts again."""
        with self._changing(study) as (connection, study_id):
            trial_id = self._trial_in(connection, study, number, TrialState.RUNNING)
            query = select(TrialRow.epochs_done).where(TrialRow.id == trial_id)
            self._add_lost_epochs(connection, study_id, connection.execute(query).scalar_one())
            none = {"epochs_done": 0, "epochs_reused": 0}
            connection.execute(UPDATE_TRIAL, {"of_trial": trial_id, **none})

    def _add_lost_epochs(self, connection: Connection, study_id: int, epochs: int) -> None:
        lost = StudyRow.lost_epochs + epochs
        connection.execute(update(StudyRow).where(StudyRow.id == study_id).values(lost_epochs=lost))

    @contextlib.contextmanager
    def _changing(self, name: str) -> Iterator[tuple[Connection, int]]:
        """Open a transaction that changes the study; yields its id. Other writers wait."""
        with self._database.writing() as connection:
            change = {"of_name": name, "of_now": _now()}
            study_id: int | None = connection.execute(CHANGE_STUDY, change).scalar()
            if study_id is None:
                raise self._no_study(connection, name)
            yield connection, study_id

    def _trial_in(
        self, connection: Connection, study: str, number: int, *states: TrialState
    ) -> int:
        """Return the id of a trial. Raises AlreadyError unless it is in one of the states."""
        found = self._find_trial(connection, study, number)
        if found.state not in states:
            message = f"must be {' or '.join(states)}, but is {found.state} already"
            raise AlreadyError(f"study {study!r}: trial {number} {message}")
        trial_id: int = found.id
        return trial_id

    def _refuse_held(
        self,
        connection: Connection,
        name: str,
        *,
        by: str | None,
        now: datetime.datetime | None = None,
    ) -> None:
        """Raise LeaseHeldError if another driver than `by` has the lease, now by default."""
        query = select(StudyRow.lease_holder, StudyRow.lease_until).where(StudyRow.name == name)
        lease = connection.execute(query).one_or_none()
        if lease is None:
            raise self._no_study(connection, name)
        is_other = lease.lease_holder not in (None, by)
        if is_other and lease.lease_until > (now or self._database.now(connection)):
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
    """Return the columns of a study that every change sets."""
    return {"revision": StudyRow.revision + 1, "changed_at": _now()}
