"""Queries of the store; rows of the database are returned as values."""

import dataclasses
import functools
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Row, case, func, select

from search.store.confirmed import confirmed_points
from search.store.database import Database, StoreError
from search.store.moved_artifacts import MovedArtifacts
from search.store.points import parts, points_of
from search.store.prior_trials import prior_trial_sources_of, prior_trials_of
from search.store.process_identity import holder_name, is_gone
from search.store.records import (
    StoredLease,
    StoredPoint,
    StoredStudy,
    StudyHead,
    StudySummary,
)
from search.store.rows import (
    LIGHT_TRIALS,
    POINT,
    TRIALS,
    figure,
    figures,
    measurement_of,
    point_of,
    rung_of,
    trial_of,
    uncollected,
    values_of,
)
from search.store.schema import (
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
from search.store.statements import FIND_TRIAL, STUDY_ID, WEIGHTS_OF
from search.store.summaries import summaries_of_studies, version_of
from search.trial.confirmation import Confirmed
from search.trial.rung import RungReport
from search.trial.trial import Event, HypervolumeRecord, Trial, TrialState
from snn.settings.config import nearest
from snn.settings.measurement import (
    METRICS,
    Evaluation,
    ExitReport,
    LayerReport,
    Measurement,
)

if TYPE_CHECKING:  # numpy is slow to import, and most commands ask for no columns
    from search.store.columns import Floats, Integers, StudyColumns


class StoreReader:
    """Queries of a store, each one transaction with a fixed number of SQL queries.

    Raises StoreError for an unknown study or trial. Times are UTC.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._moved = MovedArtifacts(database.file)

    @property
    def url(self) -> str:
        """Return the URL of the store with a masked password."""
        return self._database.name

    def close(self) -> None:
        """Close all connections."""
        self._database.close()

    def stored_study(self, name: str) -> StoredStudy:
        """Return the study."""
        names = [f.name for f in dataclasses.fields(StoredStudy) if f.name != "is_running"]
        query = select(*(getattr(StudyRow, each) for each in names)).where(StudyRow.name == name)
        with self._database.reading() as connection:
            row = connection.execute(query).one_or_none()
            if row is None:
                raise self._no_study(connection, name)
            is_running = self._is_held(connection, row)
        holder = row.lease_holder and holder_name(row.lease_holder)
        values = {**row._mapping, "objectives": tuple(row.objectives), "lease_holder": holder}
        return StoredStudy(**values, is_running=is_running)

    def lease_of(self, name: str) -> StoredLease:
        """Return the lease of the study."""
        query = select(StudyRow.lease_holder, StudyRow.lease_until).where(StudyRow.name == name)
        with self._database.reading() as connection:
            row = connection.execute(query).one_or_none()
            if row is None:
                raise self._no_study(connection, name)
            now = self._database.now(connection)
        return StoredLease(
            holder=row.lease_holder,
            until=row.lease_until,
            is_expired=row.lease_until is not None and row.lease_until <= now,
        )

    @property
    def has_clock(self) -> bool:
        """Return whether all users of the store share its clock, even from other machines."""
        return self._database.has_clock

    def is_gone(self, holder: str) -> bool:
        """Return whether a holder of a lease is seen to be dead."""
        return is_gone(holder, self._database.file)

    def _is_held(self, connection: Connection, row: Any) -> bool:
        """Return whether a driver that is not seen to be dead holds an unexpired lease.

        `row` has `lease_holder` and `lease_until`.
        """
        if row.lease_holder is None or row.lease_until is None or self.is_gone(row.lease_holder):
            return False
        return bool(row.lease_until > self._database.now(connection))

    def stop_requested(self, name: str) -> bool:
        """Return whether the driver of the study is requested to stop."""
        with self._database.reading() as connection:
            study_id = self._study_id(connection, name)
            query = select(StudyRow.stop_requested).where(StudyRow.id == study_id)
            return connection.execute(query).scalar_one()

    def version(self, name: str) -> str:
        """Return a text that differs after every change of the study.

        A renewed lease is not a change.
        """
        query = select(StudyRow.created_at, StudyRow.revision).where(StudyRow.name == name)
        with self._database.reading() as connection:
            row = connection.execute(query).one_or_none()
            if row is None:
                raise self._no_study(connection, name)
        return version_of(row)

    def study_heads(self) -> list[StudyHead]:
        """Return all studies, the last changed one first; cheap enough for polling."""
        query = select(
            StudyRow.name,
            StudyRow.created_at,
            StudyRow.revision,
            StudyRow.lease_holder,
            StudyRow.lease_until,
        ).order_by(StudyRow.changed_at.desc(), StudyRow.name)
        with self._database.reading() as connection:
            rows = connection.execute(query).all()
            return [
                StudyHead(
                    name=row.name,
                    version=version_of(row),
                    is_running=self._is_held(connection, row),
                )
                for row in rows
            ]

    def study_summaries(self) -> list[StudySummary]:
        """Return the summaries of all studies by name."""
        with self._database.reading() as connection:
            return summaries_of_studies(connection, functools.partial(self._is_held, connection))

    def trials(self, study: str, *, configs: bool = True) -> list[Trial]:
        """Return the trials of the study by number.

        Without `configs` finished trials have no config, which reads thousands faster.
        """
        chosen = TRIALS if configs else LIGHT_TRIALS
        with self._database.reading() as connection:
            study_id = self._study_id(connection, study)
            query = chosen.where(TrialRow.study_id == study_id).order_by(TrialRow.number)
            with uncollected():
                return [self._trial_of(row) for row in connection.execute(query).all()]

    def trial(self, study: str, number: int) -> Trial:
        """Return one trial of the study."""
        with self._database.reading() as connection:
            trial_id = self._trial_id(connection, study, number)
            return self._trial_of(connection.execute(TRIALS.where(TrialRow.id == trial_id)).one())

    def weights_of(self, study: str, training_fingerprint: str) -> tuple[int, str] | None:
        """Return number and weights of a complete trial with this training, or None.

        The trial with the lowest number.
        """
        wanted = {"of_study": study, "of_training": training_fingerprint}
        with self._database.reading() as connection:
            found = connection.execute(WEIGHTS_OF, wanted).all()
        if not found:
            return None
        number, uri = min((row.number, row.uri) for row in found)
        return number, self._moved.current(uri)

    def find_run(self, study: str, run_fingerprint: str) -> Trial | None:
        """Return a finished trial of that run config, preferably a complete one."""
        finished = [state.value for state in TrialState if state.is_finished]
        with self._database.reading() as connection:
            study_id = self._study_id(connection, study)
            query = (
                TRIALS.where(TrialRow.run_fingerprint == run_fingerprint)
                .where(TrialRow.study_id == study_id, TrialRow.state.in_(finished))
                .order_by(case((TrialRow.state == TrialState.COMPLETE, 0), else_=1))
                .order_by(TrialRow.number)
                .limit(1)
            )
            row = connection.execute(query).one_or_none()
        return None if row is None else self._trial_of(row)

    def find_training(self, training_fingerprint: str) -> tuple[str, Trial] | None:
        """Return a complete trial of any study with this training and weights, or None.

        The oldest one, with the name of its study.
        """
        query = (
            TRIALS.add_columns(StudyRow.name.label("study_name"))
            .join(StudyRow, StudyRow.id == TrialRow.study_id)
            .where(TrialRow.training_fingerprint == training_fingerprint)
            .where(
                TrialRow.state == TrialState.COMPLETE,
                TRIALS.selected_columns.uri.is_not(None),
            )
            .order_by(TrialRow.id)
            .limit(1)
        )
        with self._database.reading() as connection:
            row = connection.execute(query).one_or_none()
        return None if row is None else (row.study_name, self._trial_of(row))

    def measurements(self, study: str, number: int) -> list[Measurement]:
        """Return the measurements of the trial in the order of training."""
        with self._database.reading() as connection:
            trial_id = self._trial_id(connection, study, number)
            query = values_of(MeasurementRow, Measurement).where(
                MeasurementRow.trial_id == trial_id
            )
            query = query.order_by(MeasurementRow.block, MeasurementRow.epoch)
            return [measurement_of(row) for row in connection.execute(query)]

    def rungs(self, study: str, number: int) -> list[RungReport]:
        """Return the rung reports of the trial, the lowest rung first."""
        with self._database.reading() as connection:
            trial_id = self._trial_id(connection, study, number)
            query = select(RungRow.__table__).where(RungRow.trial_id == trial_id)
            return [rung_of(row) for row in connection.execute(query.order_by(RungRow.rung))]

    def newest_rungs(self, study: str, count: int) -> list[tuple[int, RungReport]]:
        """Return the newest `count` reports of each rung with their trial, oldest first."""
        with self._database.reading() as connection:
            study_id = self._study_id(connection, study)
            place = func.row_number().over(partition_by=RungRow.rung, order_by=RungRow.id.desc())
            ranked = select(RungRow.__table__, TrialRow.number, place.label("place"))
            ranked = ranked.join(TrialRow, TrialRow.id == RungRow.trial_id)
            found = ranked.where(RungRow.study_id == study_id).subquery()
            query = select(found).where(found.c.place <= count).order_by(found.c.id)
            return [(row.number, rung_of(row)) for row in connection.execute(query)]

    def rung_until(
        self, study: str, number: int, rung: int, *, count: int
    ) -> list[tuple[int, RungReport]]:
        """Return the reports of a rung until that of the trial, with their trials, oldest first.

        At most the newest `count`, that of the trial last. None if the trial has no report there.
        """
        with self._database.reading() as connection:
            trial_id = self._trial_id(connection, study, number)
            own = select(RungRow.id).where(RungRow.trial_id == trial_id, RungRow.rung == rung)
            query = select(RungRow.__table__, TrialRow.number)
            query = query.join(TrialRow, TrialRow.id == RungRow.trial_id)
            query = query.where(
                RungRow.study_id == self._study_id(connection, study),
                RungRow.rung == rung,
                RungRow.id <= own.scalar_subquery(),
            )
            rows = connection.execute(query.order_by(RungRow.id.desc()).limit(count)).all()
            return [(row.number, rung_of(row)) for row in reversed(rows)]

    def operating_points(
        self,
        study: str,
        number: int | None = None,
        *,
        front_only: bool = False,
        ids: Sequence[int] | None = None,
    ) -> list[StoredPoint]:
        """Return the operating points of the study, of one trial or with these ids, by trial.

        Of all but whole studies, `training` names the training of the blocks that run there.
        """
        with self._database.reading() as connection:
            if number is None:
                wanted = {"of_study": self._study_id(connection, study)}
            else:
                wanted = {"of_trial": self._trial_id(connection, study, number)}
            if ids is None:
                return points_of(connection, wanted, front_only=front_only)
            found = []
            for part in parts(ids):
                found += points_of(connection, {**wanted, "of_ids": part}, front_only=front_only)
        return found

    def trials_of_training(self, study: str, training_fingerprint: str) -> tuple[int, ...]:
        """Return the complete trials of this training, ascending: their networks are equal."""
        with self._database.reading() as connection:
            query = select(TrialRow.number).where(
                TrialRow.study_id == self._study_id(connection, study),
                TrialRow.training_fingerprint == training_fingerprint,
                TrialRow.state == TrialState.COMPLETE.value,
            )
            return tuple(sorted(connection.execute(query).scalars()))

    def evaluation(self, study: str, number: int) -> Evaluation | None:
        """Return the evaluation of the trial; None if it has none."""
        with self._database.reading() as connection:
            trial_id = self._trial_id(connection, study, number)
            trial = connection.execute(
                select(
                    TrialRow.validation_images,
                    TrialRow.points_evaluated,
                    TrialRow.evaluation_wall_s,
                ).where(TrialRow.id == trial_id)
            ).one()
            if trial.validation_images is None:
                return None
            points = select(*POINT).where(OperatingPointRow.trial_id == trial_id)
            layers = values_of(LayerRow, LayerReport).where(LayerRow.trial_id == trial_id)
            exits = values_of(ExitRow, ExitReport).where(ExitRow.trial_id == trial_id)
            return Evaluation(
                points=tuple(
                    point_of(row)
                    for row in connection.execute(points.order_by(OperatingPointRow.id))
                ),
                layers=tuple(
                    LayerReport(**figures(row))
                    for row in connection.execute(layers.order_by(LayerRow.position))
                ),
                exits=tuple(
                    ExitReport(**figures(row))
                    for row in connection.execute(exits.order_by(ExitRow.exit, ExitRow.label))
                ),
                points_evaluated=trial.points_evaluated or 0,
                wall_s=figure(trial.evaluation_wall_s),
                images=trial.validation_images,
            )

    def confirmed(self, study: str) -> dict[int, Confirmed]:
        """Return the test runs of the study by point id (`StoredPoint.id`)."""
        with self._database.reading() as connection:
            return confirmed_points(connection, self._study_id(connection, study))

    def prior_trials(self, study: str) -> list[Trial]:
        """Return the external trials that are reported to the sampler of the study."""
        with self._database.reading() as connection:
            return prior_trials_of(connection, self._study_id(connection, study))

    def prior_trial_sources(self, study: str) -> dict[str, int]:
        """Return the number of prior trials by source, oldest source first."""
        with self._database.reading() as connection:
            return prior_trial_sources_of(connection, self._study_id(connection, study))

    def hypervolume(self, study: str) -> list[HypervolumeRecord]:
        """Return the hypervolume after each finished trial, oldest record first."""
        with self._database.reading() as connection:
            study_id = self._study_id(connection, study)
            query = select(HypervolumeRow.trial, HypervolumeRow.epochs, HypervolumeRow.value)
            query = query.where(HypervolumeRow.study_id == study_id).order_by(HypervolumeRow.id)
            return [
                HypervolumeRecord(trial=trial, epochs=epochs, value=figure(value))
                for trial, epochs, value in connection.execute(query)
            ]

    def hypervolume_courses(self, studies: Sequence[str]) -> dict[str, tuple[float, ...]]:
        """Return the values of `hypervolume` of several studies, without unknown ones."""
        query = (
            select(StudyRow.name, HypervolumeRow.value)
            .join(HypervolumeRow, HypervolumeRow.study_id == StudyRow.id)
            .where(StudyRow.name.in_(studies))
            .order_by(HypervolumeRow.id)
        )
        courses: dict[str, list[float]] = {}
        with self._database.reading() as connection:
            for name, value in connection.execute(query):
                courses.setdefault(name, []).append(figure(value))
        return {name: tuple(values) for name, values in courses.items()}

    def columns(self, study: str, metrics: Collection[str] = tuple(METRICS)) -> "StudyColumns":
        """Return trials and operating points of the study as arrays."""
        from search.store.columns import read_columns

        with self._database.reading() as connection:
            return read_columns(connection, self._study_id(connection, study), metrics)

    def figure_column(self, study: str, name: str) -> "tuple[Integers, Floats]":
        """Return the point ids of the study, and a metric or `detector_threshold` of each."""
        from search.store.columns import read_figure

        with self._database.reading() as connection:
            return read_figure(connection, self._study_id(connection, study), name)

    def exit_thresholds(self, ids: Sequence[int]) -> dict[int, tuple[float, ...]]:
        """Return exit thresholds by point id, without unknown ids."""
        from search.store.columns import read_thresholds

        with self._database.reading() as connection:
            return read_thresholds(connection, ids)

    def events(self, study: str) -> list[Event]:
        """Return the events of the study, oldest first."""
        with self._database.reading() as connection:
            study_id = self._study_id(connection, study)
            query = values_of(EventRow, Event).where(EventRow.study_id == study_id)
            rows = connection.execute(query.order_by(EventRow.id)).all()
        return [Event(**row._mapping) for row in rows]

    def _trial_of(self, row: Row[Any]) -> Trial:
        trial = trial_of(row)
        if trial.artifact is None:
            return trial
        here = dataclasses.replace(trial.artifact, uri=self._moved.current(trial.artifact.uri))
        return dataclasses.replace(trial, artifact=here)

    def _study_id(self, connection: Connection, name: str) -> int:
        found = connection.execute(STUDY_ID, {"of_name": name}).scalar()
        if found is None:
            raise self._no_study(connection, name)
        return found

    def _trial_id(self, connection: Connection, study: str, number: int) -> int:
        trial_id: int = self._find_trial(connection, study, number).id
        return trial_id

    def _find_trial(self, connection: Connection, study: str, number: int) -> Row[Any]:
        """Return `id` and `state` of a trial."""
        wanted = {"of_name": study, "of_number": number}
        found = connection.execute(FIND_TRIAL, wanted).one_or_none()
        if found is not None:
            return found
        of_study = TrialRow.study_id == self._study_id(connection, study)
        bounds = select(func.min(TrialRow.number), func.max(TrialRow.number)).where(of_study)
        first, last = connection.execute(bounds).one()
        there = "it has none yet" if first is None else f"its trials are {first} to {last}"
        raise StoreError(f"study {study!r} has no trial {number}; {there}")

    def _no_study(self, connection: Connection, name: str) -> StoreError:
        known = connection.execute(select(StudyRow.name).order_by(StudyRow.name)).scalars().all()
        if not known:
            return StoreError(f"no study {name!r} in {self.url}; it has none yet")
        hint = nearest(name, known)
        return StoreError(f"no study {name!r} in {self.url}; known: {', '.join(known)}{hint}")
