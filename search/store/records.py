"""What the store returns of a study: values, without the database."""

import datetime
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from search.study.own_metrics import stored_metrics
from search.study.study import Study, study_from_toml
from search.trial.trial import FrontPoint, TrialState
from snn.settings.measurement import METRICS, Metrics


@dataclass(frozen=True, kw_only=True)
class StoredStudy:
    """A study in the store, and its lease."""

    name: str
    toml: str  # the study file as given
    question_fingerprint: str
    objectives: tuple[str, ...]
    reference: Mapping[str, float] | None  # point of the hypervolume; None before the first
    created_at: datetime.datetime
    lease_holder: str | None  # `host:pid`
    lease_until: datetime.datetime | None
    stop_requested: bool
    artifacts_id: str | None
    run_s: float | None  # seconds of all runs; None if no run of this version stored any
    lost_epochs: int  # of interrupted attempts
    own_metrics: Mapping[str, Mapping[str, Any]] | None  # declarations, by name
    code_folder: str | None  # of the code of an own training
    is_running: bool  # whether a driver holds an unexpired lease

    def study(self, source: str | None = None) -> Study:
        """Return the study; `source` begins the lines of a StudyError. Its code is not read."""
        own = stored_metrics(self.own_metrics or {})
        return study_from_toml(self.toml, source or self.name, metrics=own)

    @property
    def metrics(self) -> Metrics:
        """Every metric that its points can have, by name."""
        return {**METRICS, **stored_metrics(self.own_metrics or {})}

    @property
    def folder(self) -> str:
        """Return the name of its folder of artifacts, which no other study of any store has.

        The id in it also keeps apart names that differ by case only, and a study named like
        the folder of the block cache.
        """
        return f"{self.name}-{self.artifacts_id}" if self.artifacts_id else self.name


@dataclass(frozen=True, kw_only=True)
class StoredLease:
    """The lease of a study."""

    holder: str | None  # with its identity, see `process_identity`
    until: datetime.datetime | None
    is_expired: bool  # by the clock of the database


@dataclass(frozen=True, kw_only=True)
class StudySummary:
    """The summary of a study for a list."""

    name: str
    version: str  # see `StoreReader.version`
    question: str
    objectives: tuple[str, ...]
    counts: Mapping[TrialState, int]  # trials by state, for all states
    trials_asked: int | None  # by the budget
    epochs_trained: int  # those of interrupted attempts included
    epochs_reused: int  # of reused blocks
    operating_points: int
    front_size: int  # equal points of equal trainings count once
    hypervolume: float | None  # the newest
    created_at: datetime.datetime
    last_change_at: datetime.datetime
    lease_holder: str | None
    is_running: bool
    stopped_at: Mapping[int, int] = field(default_factory=dict)  # trials stopped early, by rung
    epochs_asked: int | None = None  # by the budget


@dataclass(frozen=True, kw_only=True)
class StudyHead:
    """The name, version and state of a study."""

    name: str
    version: str  # see `StoreReader.version`
    is_running: bool  # whether a driver holds the study now


@dataclass(frozen=True, kw_only=True)
class StoredPoint(FrontPoint):
    """An operating point with its id in the store."""

    id: int
