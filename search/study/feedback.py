"""What a trial says to a sampler: objective values, constraints, or that it is no evidence."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from search.study.study import Study
from search.trial.trial import Trial, TrialState
from snn.settings.measurement import METRICS

RUN = "run"  # the constraint of what ended a trial early, beside those of the study
_PENALTY = 1e15  # a value that no metric is worse than
_LARGEST_VIOLATION = 1e6


@dataclass(frozen=True, kw_only=True)
class TrialFeedback:
    """One trial as a sampler hears of it."""

    state: TrialState  # RUNNING, COMPLETE, PRUNED or FAILED
    values: tuple[float, ...] | None = None  # by objective, for COMPLETE
    constraints: Mapping[str, float] = field(default_factory=dict)  # above 0 is violated


@dataclass(frozen=True, kw_only=True)
class FeedbackBuilder:
    """Passes verdicts on the trials of one study."""

    study: Study
    hears_pruned: bool  # whether the sampler looks at trials that are not complete
    penalties: tuple[float, ...]  # values for those it would not look at
    has_run_constraint: bool = True

    def verdict(self, trial: Trial) -> TrialFeedback:
        """Every constraint is set on every complete trial, also the satisfied ones."""
        if not trial.state.is_finished:
            return TrialFeedback(state=TrialState.RUNNING)
        if trial.state == TrialState.FAILED:
            return TrialFeedback(state=TrialState.FAILED)
        if is_measured(self.study, trial):
            return self._measured(trial)
        if not is_penalised(trial):
            return TrialFeedback(state=TrialState.PRUNED)
        violation = {RUN: min(trial.constraint_violation, _LARGEST_VIOLATION)}
        if self.hears_pruned:
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
    """Whether the trial is complete, and every figure that a sampler hears is finite."""
    metrics = trial.sampled.metrics if trial.sampled else {}
    names = (*study.objectives, *study.constraints)
    is_finite = all(math.isfinite(metrics.get(name, math.nan)) for name in names)
    return trial.state == TrialState.COMPLETE and is_finite


def is_penalised(trial: Trial) -> bool:
    """Whether the trial was ended for something that makes its point infeasible."""
    return trial.state == TrialState.PRUNED and trial.constraint_violation > 0


def fixed_penalties(study: Study) -> tuple[float, ...]:
    """Worse than anything measured: for samplers that only compare."""
    worst = (0.0 if METRICS[n].better == "higher" else _PENALTY for n in study.objectives)
    return tuple(worst)


def worst_values(study: Study, history: Sequence[Trial]) -> tuple[float, ...]:
    """The worst of each objective so far: for models, which anything larger would tear."""
    measured = [t.sampled.metrics for t in history if t.sampled and is_measured(study, t)]
    if not measured:
        return tuple(0.0 for _ in study.objectives)
    return tuple(
        max((m[name] for m in measured), key=lambda value: METRICS[name].sign * value)
        for name in study.objectives
    )
