"""Repeats: trials of one configuration with several seeds; the sampler is told their mean.

The repeats of a configuration have consecutive trial numbers. The sampler knows
them by the first number.
"""

import dataclasses
from collections.abc import Iterable, Sequence

from search.trial.trial import Trial, TrialState

REPEAT_OF = "repeat_of"  # part of a sampler state: the first trial of the configuration


def first_of(number: int, repeats: int) -> int:
    """Return the first trial of the configuration of trial `number`."""
    return number - number % repeats


def as_points(trials: Iterable[Trial], repeats: int) -> list[Trial]:
    """Return one trial for each configuration; it is running until all repeats are finished."""
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
    """Combine the repeats of a configuration into one trial with the first number.

    If one was pruned, the result is pruned, with the largest violation; otherwise each
    metric is the mean. Failed repeats are ignored unless all failed.
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
