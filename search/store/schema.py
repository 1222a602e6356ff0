"""The tables of the store, declared with SQLAlchemy.

A change here needs a migration in `search/store/migrations/versions` and its number in
`REVISION`. Metrics of spikefront are columns: a new name in METRICS is a new column. Those of
users are JSON (`own_metrics`), so that none needs a migration; the view `own_metrics` lists them.
NaN is stored as NULL on both databases (SQLite has no NaN), infinities as they are. Characters
that a database cannot store (NUL, lone surrogates) are replaced.
"""

import datetime
import json
from typing import Any, ClassVar

from sqlalchemy import (
    JSON,
    BigInteger,
    DateTime,
    Dialect,
    Double,
    ForeignKey,
    Index,
    MetaData,
    Text,
    UniqueConstraint,
    false,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import TypeDecorator

from snn.settings.measurement import METRICS

REVISION = "0011"  # the newest migration
VERSION_TABLE = "spikefront_version"  # Optuna may use the same database


class Utc(TypeDecorator[datetime.datetime]):
    """A time: UTC in the database, timezone-aware in Python."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(
        self, value: datetime.datetime | None, dialect: Dialect
    ) -> datetime.datetime | None:
        if value is None:
            return None
        assert value.tzinfo is not None, "a time without time zone"
        return value.astimezone(datetime.UTC)

    def process_result_value(
        self, value: datetime.datetime | None, dialect: Dialect
    ) -> datetime.datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:  # SQLite stores no time zone
            return value.replace(tzinfo=datetime.UTC)
        return value.astimezone(datetime.UTC)


class PlainText(TypeDecorator[str]):
    """Text of any origin; unsupported characters become the replacement character."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        if value is None:
            return None
        return value.replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode()


class Json(TypeDecorator[Any]):
    """A JSON value; an outermost list is read as a tuple. Raises ValueError for NaN, infinity."""

    impl = JSON(none_as_null=True)
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:
        json.dumps(value, allow_nan=False)
        return value


class Base(DeclarativeBase):
    """The base of all tables."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        datetime.datetime: Utc,
        dict[str, Any]: Json,
        list[Any]: Json,
        float: Double,
        str: Text,
    }


def _study(*, index: bool = False, key: bool = False) -> Any:
    reference = ForeignKey("studies.id", ondelete="CASCADE")
    return mapped_column(reference, index=index or None, primary_key=key)


def _trial(*, index: bool = False, key: bool = False) -> Any:
    reference = ForeignKey("trials.id", ondelete="CASCADE")
    return mapped_column(reference, index=index or None, primary_key=key)


def _point(*, key: bool = False) -> Any:
    reference = ForeignKey("operating_points.id", ondelete="CASCADE")
    return mapped_column(reference, primary_key=key)


class StudyRow(Base):
    """A study, its lease, and the number of its changes (`revision`)."""

    __tablename__ = "studies"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    question: Mapped[str] = mapped_column(PlainText)
    toml: Mapped[str] = mapped_column(PlainText)
    question_fingerprint: Mapped[str]
    objectives: Mapped[list[Any]]
    trials_asked: Mapped[int | None]
    reference: Mapped[dict[str, Any] | None]
    created_at: Mapped[datetime.datetime]
    changed_at: Mapped[datetime.datetime]
    revision: Mapped[int]
    lease_holder: Mapped[str | None]  # see `process_identity`
    lease_until: Mapped[datetime.datetime | None]
    stop_requested: Mapped[bool]
    artifacts_id: Mapped[str | None]  # in the name of the folder of artifacts
    run_s: Mapped[float | None]  # seconds of all runs; NULL before the first run of this version
    # epochs of interrupted attempts, which no trial has
    lost_epochs: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    own_metrics: Mapped[dict[str, Any] | None]  # declarations of metrics of users, by name
    code_folder: Mapped[str | None] = mapped_column(PlainText)  # of the code of an own training


class TrialRow(Base):
    """A trial and the totals of its evaluation."""

    __tablename__ = "trials"
    __table_args__ = (UniqueConstraint("study_id", "number"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    study_id: Mapped[int] = _study()
    number: Mapped[int]
    state: Mapped[str]
    params: Mapped[dict[str, Any]]
    config: Mapped[dict[str, Any] | None]
    run_fingerprint: Mapped[str | None] = mapped_column(index=True)
    training_fingerprint: Mapped[str | None] = mapped_column(index=True)
    reason: Mapped[str] = mapped_column(PlainText)
    error: Mapped[str] = mapped_column(PlainText)
    constraint_violation: Mapped[float | None]
    epochs_done: Mapped[int]
    epochs_reused: Mapped[int] = mapped_column(server_default=text("0"))
    epochs_total: Mapped[int]
    reused_trial: Mapped[int | None]
    stopped_rung: Mapped[int | None]
    sampler_state: Mapped[dict[str, Any]]
    training_s: Mapped[float | None]
    evaluation_s: Mapped[float | None]
    validation_images: Mapped[int | None]  # NULL: not evaluated
    points_evaluated: Mapped[int | None]
    evaluation_wall_s: Mapped[float | None]
    created_at: Mapped[datetime.datetime | None]
    started_at: Mapped[datetime.datetime | None]
    finished_at: Mapped[datetime.datetime | None]


class MeasurementRow(Base):
    """The measurement of one epoch of a block."""

    __tablename__ = "measurements"

    trial_id: Mapped[int] = _trial(key=True)
    block: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    epoch: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    epochs_done: Mapped[int]
    epochs_total: Mapped[int]
    loss: Mapped[float | None]
    train_accuracy: Mapped[float | None]
    accuracy: Mapped[float | None]
    connectivity: Mapped[float | None]
    spike_rate: Mapped[float | None]
    regrown: Mapped[int] = mapped_column(BigInteger)
    training_memory_bytes: Mapped[int] = mapped_column(BigInteger)
    wall_s: Mapped[float | None]
    layers: Mapped[list[Any] | None]  # NULL: dense, or older than this column
    is_reused: Mapped[bool] = mapped_column(server_default=false())
    epochs_reused: Mapped[int] = mapped_column(server_default=text("0"))
    metrics: Mapped[dict[str, Any] | None]  # reported by an own training


class RungRow(Base):
    """The metrics of a trial at a rung; ids give the order within a study."""

    __tablename__ = "rungs"
    __table_args__ = (
        UniqueConstraint("trial_id", "rung"),
        Index("ix_rungs_study_id_rung", "study_id", "rung"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    study_id: Mapped[int] = _study()
    trial_id: Mapped[int] = _trial()
    rung: Mapped[int]
    epochs_done: Mapped[int]
    epochs_total: Mapped[int]
    points: Mapped[list[Any]]  # metrics by name, the sampled point first


class OperatingPointRow(Base):
    """A trained network at given thresholds and timesteps; metrics are columns."""

    __tablename__ = "operating_points"
    __table_args__ = (
        Index("ix_operating_points_front", "study_id", "on_front"),
        Index(
            "uq_operating_points_sampled",
            "trial_id",
            unique=True,
            sqlite_where=text("is_sampled = 1"),
            postgresql_where=text("is_sampled"),
        ),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    study_id: Mapped[int] = _study()
    trial_id: Mapped[int] = _trial(index=True)
    timesteps: Mapped[int]
    exit_thresholds: Mapped[list[Any]]
    detector_threshold: Mapped[float]
    blocks: Mapped[int]
    is_sampled: Mapped[bool]
    on_front: Mapped[bool]
    label: Mapped[str | None] = mapped_column(PlainText)  # among the points of an own training
    own_metrics: Mapped[dict[str, Any] | None]  # values by name; null for NaN
    time_threshold: Mapped[float | None]  # NULL: of a version before, never


for _name in METRICS:
    setattr(OperatingPointRow, _name, mapped_column(Double, nullable=True))


class TestRunRow(Base):
    """A front member retrained with another seed, with metrics of the test images.

    Samplers, pruners and the front do not read this table or `confirmed`.
    """

    __tablename__ = "test_runs"

    point_id: Mapped[int] = _point(key=True)
    seed: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    study_id: Mapped[int] = _study(index=True)
    state: Mapped[str]
    reason: Mapped[str] = mapped_column(PlainText)
    error: Mapped[str] = mapped_column(PlainText)
    training_fingerprint: Mapped[str]
    images: Mapped[int | None]
    finished_at: Mapped[datetime.datetime]
    own_metrics: Mapped[dict[str, Any] | None]


class ConfirmedRow(Base):
    """Mean and standard deviation of the test runs of an operating point."""

    __tablename__ = "confirmed"

    point_id: Mapped[int] = _point(key=True)
    study_id: Mapped[int] = _study(index=True)
    seeds: Mapped[int]  # with metrics
    seeds_lost: Mapped[int]  # without metrics
    own_metrics: Mapped[dict[str, Any] | None]  # NAME_mean and NAME_std


for _name in METRICS:
    setattr(TestRunRow, _name, mapped_column(Double, nullable=True))
    for _part in ("mean", "std"):
        setattr(ConfirmedRow, f"{_name}_{_part}", mapped_column(Double, nullable=True))


class PriorTrialRow(Base):
    """A finished external trial: reported to the sampler, not counted as a trial."""

    __tablename__ = "lessons"
    __table_args__ = (UniqueConstraint("study_id", "source", "number"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    study_id: Mapped[int] = _study()
    source: Mapped[str]  # study, file or address, without a password
    number: Mapped[int]  # in the source
    state: Mapped[str]
    params: Mapped[dict[str, Any]]
    metrics: Mapped[dict[str, Any] | None] = mapped_column(Json)
    constraint_violation: Mapped[float | None]
    imported_at: Mapped[datetime.datetime]


class LayerRow(Base):
    """A spiking layer of the network of a trial; `position` orders the report."""

    __tablename__ = "layers"

    trial_id: Mapped[int] = _trial(key=True)
    position: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    block: Mapped[int]
    name: Mapped[str]
    neurons: Mapped[int] = mapped_column(BigInteger)
    weights: Mapped[int] = mapped_column(BigInteger)
    connections: Mapped[int] = mapped_column(BigInteger)
    spikes_per_inference: Mapped[float | None]
    spike_rate: Mapped[float | None]
    synaptic_ops: Mapped[float | None]
    macs: Mapped[float | None]


class ExitRow(Base):
    """The results of one class at one exit of a network."""

    __tablename__ = "exits"

    trial_id: Mapped[int] = _trial(key=True)
    exit: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    label: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    images: Mapped[int]
    correct: Mapped[int]
    is_hard: Mapped[bool]


class HypervolumeRow(Base):
    """The hypervolume after a trial; the newest row has the highest id."""

    __tablename__ = "hypervolume"
    __table_args__ = (UniqueConstraint("study_id", "trial"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    study_id: Mapped[int] = _study()
    trial: Mapped[int]
    epochs: Mapped[int] = mapped_column(BigInteger)
    value: Mapped[float | None]


class ArtifactRow(Base):
    """The weights file of a trial."""

    __tablename__ = "artifacts"

    trial_id: Mapped[int] = _trial(key=True)
    uri: Mapped[str]
    sha256: Mapped[str]
    size_bytes: Mapped[int] = mapped_column(BigInteger)


class EventRow(Base):
    """An event of a study."""

    __tablename__ = "events"

    id: Mapped[int] = mapped_column(primary_key=True)
    study_id: Mapped[int] = _study(index=True)
    trial: Mapped[int | None]
    at: Mapped[datetime.datetime]
    kind: Mapped[str]
    message: Mapped[str] = mapped_column(PlainText)
