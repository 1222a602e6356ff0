"""Trials: one configuration from its parameters to its result.

waiting -> running -> complete    trained to the end, finite, measured
                  \\-> pruned     ended early: worse than others at a rung, no spikes, diverged,
                                  out of memory, over a constraint
                  \\-> failed     crashed; the traceback is stored, the study continues
running -> waiting                its driver was lost; the same trial runs again
"""

import datetime
import enum
from collections.abc import Mapping
from dataclasses import dataclass, field

from search.trial.function_config import Config
from snn.settings.config import RunConfig
from snn.settings.measurement import Evaluation, Measurement, OperatingPoint

Params = Mapping[str, int | float | str]  # one point of a space: flat, inactive axes absent


class TrialState(enum.StrEnum):
    """State of a trial; see the drawing above."""

    WAITING = "waiting"
    RUNNING = "running"
    COMPLETE = "complete"
    PRUNED = "pruned"
    FAILED = "failed"

    @property
    def is_finished(self) -> bool:
        """Whether the state is final."""
        return self in (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAILED)


@dataclass(frozen=True, kw_only=True)
class Timings:
    """Wall time of the parts of a trial, seconds."""

    training_s: float = 0.0
    evaluation_s: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Artifact:
    """A file that a trial wrote."""

    uri: str  # path or URI of the file
    sha256: str
    size_bytes: int


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The result of one trial; made by the worker, stored by the driver."""

    state: TrialState  # COMPLETE, PRUNED or FAILED
    evaluation: Evaluation | None = None  # for COMPLETE
    reason: str = ""  # one line: why it was pruned or failed
    error: str = ""  # traceback, for FAILED
    constraint_violation: float = 0.0  # above 0: infeasible for the sampler
    timings: Timings = field(default_factory=Timings)
    artifact: Artifact | None = None  # the trained weights
    reused_trial: int | None = None  # trial of the study whose weights were reused
    stopped_rung: int | None = None  # rung of an early stop, for PRUNED
    notes: tuple[str, ...] = ()  # remarks without effect, a line each


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A trial as the store has it."""

    number: int  # from 0
    params: Params
    state: TrialState
    config: Config | None = None
    sampled: OperatingPoint | None = None  # for COMPLETE
    reason: str = ""
    error: str = ""
    constraint_violation: float = 0.0
    epochs_done: int = 0  # trained in this trial
    epochs_reused: int = 0  # further ones, of reused blocks
    reused_trial: int | None = None
    stopped_rung: int | None = None  # rung of an early stop
    sampler_state: Mapping[str, object] = field(default_factory=dict)  # notes of its sampler
    timings: Timings = field(default_factory=Timings)
    artifact: Artifact | None = None
    created_at: datetime.datetime | None = None  # UTC
    started_at: datetime.datetime | None = None
    finished_at: datetime.datetime | None = None

    @property
    def engine_config(self) -> RunConfig | None:
        """The config of a training by the engine; None for an own training."""
        return self.config if isinstance(self.config, RunConfig) else None


@dataclass(frozen=True, kw_only=True)
class FrontPoint:
    """An operating point with its trial."""

    trial: int
    params: Params
    point: OperatingPoint
    on_front: bool
    training: str | None = None  # fingerprint of the training; trials may share it


@dataclass(frozen=True, kw_only=True)
class HypervolumeRecord:
    """The hypervolume after a trial finished."""

    trial: int
    epochs: int  # trained by the whole study until then
    value: float  # fraction of the box between the ideal and the reference point


RULED_OUT = "ruled out"  # kind of an event: a rejected configuration


@dataclass(frozen=True, kw_only=True)
class Event:
    """An event of a study: a retry, a lost worker, a lease taken over."""

    at: datetime.datetime
    trial: int | None
    kind: str
    message: str


__all__ = [
    "RULED_OUT",
    "Artifact",
    "Event",
    "FrontPoint",
    "HypervolumeRecord",
    "Measurement",
    "Outcome",
    "Params",
    "Timings",
    "Trial",
    "TrialState",
]
