"""Trials: one point of a space tried, from its parameters to what came of it.

waiting -> running -> complete    trained to the end, finite, measured
                  \\-> pruned     stopped on the way: behind others at a rung, silent, diverged,
                                  out of memory, over a constraint
                  \\-> failed     crashed; the traceback is kept, the study goes on
running -> waiting                its driver was lost; the same trial runs again
"""

import datetime
import enum
from collections.abc import Mapping
from dataclasses import dataclass, field

from snn.settings.config import RunConfig
from snn.settings.measurement import Evaluation, Measurement, OperatingPoint

Params = Mapping[str, int | float | str]  # one point of a space: flat, inactive axes absent


class TrialState(enum.StrEnum):
    """Where a trial is in its life; see the drawing above."""

    WAITING = "waiting"
    RUNNING = "running"
    COMPLETE = "complete"
    PRUNED = "pruned"
    FAILED = "failed"

    @property
    def is_finished(self) -> bool:
        """Whether nothing more will happen to the trial."""
        return self in (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAILED)


@dataclass(frozen=True, kw_only=True)
class Timings:
    """Where the wall time of a trial went, seconds."""

    training_s: float = 0.0
    evaluation_s: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Artifact:
    """A file that a trial left behind."""

    uri: str  # path or URI of the file
    sha256: str
    size_bytes: int


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of running one trial; made by the worker, kept by the driver."""

    state: TrialState  # COMPLETE, PRUNED or FAILED
    evaluation: Evaluation | None = None  # for COMPLETE
    reason: str = ""  # one line: why it was pruned or failed
    error: str = ""  # traceback, for FAILED
    constraint_violation: float = 0.0  # above 0: told to the sampler as infeasible
    timings: Timings = field(default_factory=Timings)
    artifact: Artifact | None = None  # the trained weights
    reused_trial: int | None = None  # the trial of the same study whose training was taken
    stopped_rung: int | None = None  # where it was stopped early, for PRUNED
    notes: tuple[str, ...] = ()  # what somebody should know and changed nothing, a line each


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One row of a study's history."""

    number: int  # from 0
    params: Params
    state: TrialState
    config: RunConfig | None = None
    sampled: OperatingPoint | None = None  # for COMPLETE
    reason: str = ""
    error: str = ""
    constraint_violation: float = 0.0
    epochs_done: int = 0  # that it trained
    epochs_reused: int = 0  # beside them, of blocks that were trained before
    reused_trial: int | None = None
    stopped_rung: int | None = None  # where it was stopped early
    sampler_state: Mapping[str, object] = field(default_factory=dict)  # what its sampler noted
    timings: Timings = field(default_factory=Timings)
    artifact: Artifact | None = None
    created_at: datetime.datetime | None = None  # UTC
    started_at: datetime.datetime | None = None
    finished_at: datetime.datetime | None = None


@dataclass(frozen=True, kw_only=True)
class FrontPoint:
    """An operating point with the trial that it belongs to."""

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


RULED_OUT = "ruled out"  # the kind of an event: a point that was not tried


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something that happened to a study: a retry, a lost worker, a lease taken over."""

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
