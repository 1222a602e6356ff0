"""What a sampler is told of a trial: objective values, constraint violations, or nothing."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from search.study.study import Study
from search.trial.trial import Trial, TrialState
from snn.settings.measurement import METRICS, Metric

RUN = "run"  # the constraint that a trial violates which was ended early
_PENALTY = 1e15  # a value that no metric is worse than
_LARGEST_VIOLATION = 1e6


@dataclass(frozen=True, kw_only=True)
class TrialFeedback:
    """The result of one trial for a sampler."""

    state: TrialState  # RUNNING, COMPLETE, PRUNED or FAILED
    values: tuple[float, ...] | None = None  # by objective, for COMPLETE
    constraints: Mapping[str, float] = field(default_factory=dict)  # above 0 is violated


@dataclass(frozen=True, kw_only=True)
class FeedbackBuilder:
    """Builds the feedback for the sampler of one study."""

    study: Study
    reads_pruned: bool  # whether the sampler uses pruned trials
    penalties: tuple[float, ...]  # objective values of pruned trials for the other samplers
    has_run_constraint: bool = True

    def feedback(self, trial: Trial) -> TrialFeedback:
        """Return the feedback of a trial; for a complete one, all constraints are set."""
        if not trial.state.is_finished:
            return TrialFeedback(state=TrialState.RUNNING)
        if trial.state == TrialState.FAILED:
            return TrialFeedback(state=TrialState.FAILED)
        if is_measured(self.study, trial):
            return self._measured(trial)
        if not is_penalised(trial):
            return TrialFeedback(state=TrialState.PRUNED)
        violation = {RUN: min(trial.constraint_violation, _LARGEST_VIOLATION)}
        if self.reads_pruned:
            return TrialFeedback(state=TrialState.PRUNED, constraints=violation)
        constraints = dict.fromkeys(self.study.constraints, 0.0) | violation
        return TrialFeedback(
            state=TrialState.COMPLETE, values=self.penalties, constraints=constraints
        )

    def _measured(self, trial: Trial) -> TrialFeedback:
        assert trial.sampled is not None
        metrics = trial.sampled.metrics
        excess = {n: bound.excess(metrics[n]) for n, bound in self.study.constraints.items()}
        # Far inside is no better than well inside.
        constraints = {n: max(min(e, _LARGEST_VIOLATION), -1.0) for n, e in excess.items()}
        if self.has_run_constraint:
            constraints[RUN] = 0.0
        values = tuple(float(metrics[name]) for name in self.study.objectives)
        return TrialFeedback(state=TrialState.COMPLETE, values=values, constraints=constraints)


def is_measured(study: Study, trial: Trial) -> bool:
    """Whether the trial is complete with finite objectives and constrained metrics."""
    metrics = trial.sampled.metrics if trial.sampled else {}
    names = (*study.objectives, *study.constraints)
    is_finite = all(math.isfinite(metrics.get(name, math.nan)) for name in names)
    return trial.state == TrialState.COMPLETE and is_finite


def is_penalised(trial: Trial) -> bool:
    """Whether the trial was pruned for a reason that makes its configuration infeasible."""
    return trial.state == TrialState.PRUNED and trial.constraint_violation > 0


def fixed_penalties(study: Study) -> tuple[float, ...]:
    """Return values worse than any measured one, for samplers that only compare."""
    return tuple(_penalty(study.metrics[name]) for name in study.objectives)


def _penalty(metric: Metric) -> float:
    if metric.better == "lower":
        return _PENALTY
    return 0.0 if metric.name in METRICS else -_PENALTY


def worst_values(study: Study, history: Sequence[Trial]) -> tuple[float, ...]:
    """Return the worst value of each objective so far, for models, which larger ones distort."""
    measured = [t.sampled.metrics for t in history if t.sampled and is_measured(study, t)]
    if not measured:
        return tuple(0.0 for _ in study.objectives)
    return tuple(
        max((m[name] for m in measured), key=lambda value: study.metrics[name].sign * value)
        for name in study.objectives
    )
