"""Repeats: a point that is run several times with other seeds, and heard as its mean.

Trials are numbered through; each point has as many as there are repeats, one
after another. The first of them is the one that the sampler knows.
"""

import dataclasses
from collections.abc import Iterable, Sequence

from search.trial.trial import Trial, TrialState

REPEAT_OF = "repeat_of"  # the part of a trial's sampler state that names the first of its point


def first_of(number: int, repeats: int) -> int:
    """The first trial of the point that trial `number` belongs to."""
    return number - number % repeats


def as_points(trials: Iterable[Trial], repeats: int) -> list[Trial]:
    """A trial for each point, with the number of its first; it runs while one of them is open."""
    groups: dict[int, list[Trial]] = {}
    for trial in sorted(trials, key=lambda trial: trial.number):
        groups.setdefault(first_of(trial.number, repeats), []).append(trial)
    return [
        together(group)
        if len(group) == repeats and all(trial.state.is_finished for trial in group)
        else dataclasses.replace(group[0], state=TrialState.RUNNING, sampled=None)
        for group in groups.values()
    ]


def together(trials: Sequence[Trial]) -> Trial:
    """What the repeats of a point say together, as one trial with the first's number.

    A crash says nothing. Where one was ended early, for whatever reason, the point
    was, with the largest violation; otherwise every figure is the mean.
    """
    trials = sorted(trials, key=lambda trial: trial.number)
    pruned = [trial for trial in trials if trial.state is TrialState.PRUNED]
    measured = [trial.sampled for trial in trials if trial.sampled is not None]
    if pruned:
        violation = max(trial.constraint_violation for trial in pruned)
        return dataclasses.replace(
            trials[0], state=TrialState.PRUNED, sampled=None, constraint_violation=violation
        )
    if not measured:
        return dataclasses.replace(trials[0], state=TrialState.FAILED, sampled=None)
    names = measured[0].metrics
    mean = {name: sum(p.metrics[name] for p in measured) / len(measured) for name in names}
    sampled = dataclasses.replace(measured[0], metrics=mean)
    return dataclasses.replace(trials[0], state=TrialState.COMPLETE, sampled=sampled)
