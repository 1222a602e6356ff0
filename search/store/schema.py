"""The tables of the store, as SQLAlchemy declares them.

A change here needs a migration in `search/store/migrations/versions` and its number
in `REVISION`. Metrics are columns: a new name in METRICS is a new column. A
figure that is not a number is NULL on both databases (SQLite cannot hold NaN);
infinities are themselves. Text that people read loses what a database cannot
hold (NUL, lone surrogates).
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

REVISION = "0006"  # the newest migration, which these tables are the result of
VERSION_TABLE = "spikefront_version"  # Optuna's tables may stand in the same database


class Utc(TypeDecorator[datetime.datetime]):
    """A moment: UTC in the database, aware in Python."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(
        self, value: datetime.datetime | None, dialect: Dialect
    ) -> datetime.datetime | None:
        if value is None:
            return None
        assert value.tzinfo is not None, "a moment without its time zone"
        return value.astimezone(datetime.UTC)

    def process_result_value(
        self, value: datetime.datetime | None, dialect: Dialect
    ) -> datetime.datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:  # SQLite keeps none
            return value.replace(tzinfo=datetime.UTC)
        return value.astimezone(datetime.UTC)


class PlainText(TypeDecorator[str]):
    """Text of any origin; what a database cannot hold becomes a replacement character."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        if value is None:
            return None
        return value.replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode()


class Json(TypeDecorator[Any]):
    """Numbers, text, lists and mappings; an outermost list is read as a tuple.

    Raises ValueError for NaN and infinities, which are no JSON.
    """

    impl = JSON(none_as_null=True)
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:
        json.dumps(value, allow_nan=False)
        return value


class Base(DeclarativeBase):
    """What all tables share."""

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
    """A question, who works on it, and how often anything of it changed."""

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
    lease_holder: Mapped[str | None]
    lease_until: Mapped[datetime.datetime | None]
    stop_requested: Mapped[bool]


class TrialRow(Base):
    """One point tried, and the figures of its evaluation as a whole."""

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
    validation_images: Mapped[int | None]  # NULL: never evaluated
    points_evaluated: Mapped[int | None]
    evaluation_wall_s: Mapped[float | None]
    created_at: Mapped[datetime.datetime | None]
    started_at: Mapped[datetime.datetime | None]
    finished_at: Mapped[datetime.datetime | None]


class MeasurementRow(Base):
    """An epoch of a block."""

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
    layers: Mapped[list[Any] | None]  # NULL: dense, or kept before there was this column
    is_reused: Mapped[bool] = mapped_column(server_default=false())
    epochs_reused: Mapped[int] = mapped_column(server_default=text("0"))


class RungRow(Base):
    """What was measured of a trial at a rung; those of a study in the order of their ids."""

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
    """A trained network at given thresholds and timesteps; its metrics are columns, see below."""

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


for _name in METRICS:
    setattr(OperatingPointRow, _name, mapped_column(Double, nullable=True))


class TestRunRow(Base):
    """A front's member trained again with another seed; its metrics are of the test images.

    Nothing that chooses, judges or stops trials reads this table or `confirmed`.
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


class ConfirmedRow(Base):
    """Mean and spread of an operating point's test runs, made anew whenever one is added."""

    __tablename__ = "confirmed"

    point_id: Mapped[int] = _point(key=True)
    study_id: Mapped[int] = _study(index=True)
    seeds: Mapped[int]  # that the means are over
    seeds_lost: Mapped[int]  # that gave no figures


for _name in METRICS:
    setattr(TestRunRow, _name, mapped_column(Double, nullable=True))
    for _part in ("mean", "std"):
        setattr(ConfirmedRow, f"{_name}_{_part}", mapped_column(Double, nullable=True))


class PriorTrialRow(Base):
    """A finished trial from elsewhere: the sampler learns from it, and nothing else counts it."""

    __tablename__ = "lessons"
    __table_args__ = (UniqueConstraint("study_id", "source", "number"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    study_id: Mapped[int] = _study()
    source: Mapped[str]  # where it came from, without a password
    number: Mapped[int]  # there
    state: Mapped[str]
    params: Mapped[dict[str, Any]]
    metrics: Mapped[dict[str, Any] | None] = mapped_column(Json)
    constraint_violation: Mapped[float | None]
    imported_at: Mapped[datetime.datetime]


class LayerRow(Base):
    """A spiking layer of a trial's network; `position` is its place in the report."""

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
    """A class at an exit of a trial's network."""

    __tablename__ = "exits"

    trial_id: Mapped[int] = _trial(key=True)
    exit: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    label: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    images: Mapped[int]
    correct: Mapped[int]
    is_hard: Mapped[bool]


class HypervolumeRow(Base):
    """The hypervolume after a trial; the newest has the highest id."""

    __tablename__ = "hypervolume"
    __table_args__ = (UniqueConstraint("study_id", "trial"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    study_id: Mapped[int] = _study()
    trial: Mapped[int]
    epochs: Mapped[int] = mapped_column(BigInteger)
    value: Mapped[float | None]


class ArtifactRow(Base):
    """The file that a trial left behind."""

    __tablename__ = "artifacts"

    trial_id: Mapped[int] = _trial(key=True)
    uri: Mapped[str]
    sha256: Mapped[str]
    size_bytes: Mapped[int] = mapped_column(BigInteger)


class EventRow(Base):
    """Something that happened to a study."""

    __tablename__ = "events"

    id: Mapped[int] = mapped_column(primary_key=True)
    study_id: Mapped[int] = _study(index=True)
    trial: Mapped[int | None]
    at: Mapped[datetime.datetime]
    kind: Mapped[str]
    message: Mapped[str] = mapped_column(PlainText)
