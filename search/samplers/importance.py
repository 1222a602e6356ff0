"""Importance of each parameter of a study for a metric, computed by Optuna."""

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.importance import (
    BaseImportanceEvaluator,
    FanovaImportanceEvaluator,
    PedAnovaImportanceEvaluator,
)

from search.study.axes import Integer, PlainAxis, Real
from search.study.space import Space
from search.trial.trial import Trial
from snn.settings.measurement import METRICS, Metrics

Method = Literal["ped-anova", "fanova"]
METHODS: tuple[Method, ...] = ("ped-anova", "fanova")
LEAST_TRIALS = 10  # with fewer, importance is mostly chance
MOST_TRIALS: Mapping[Method, int] = {
    "ped-anova": 2_000,
    "fanova": 400,
}  # of more, evenly spaced ones are used
TOP = 0.1  # share of the trials that count as good to PED-ANOVA


@dataclass(frozen=True, kw_only=True)
class Importance:
    """Importance of the parameters for one metric; shares add up to 1, or are all 0."""

    metric: str
    shares: Mapping[str, float]  # by parameter, the most important first
    trials: int  # that were used


def importances(
    trials: Sequence[Trial],
    metrics: Sequence[str],
    space: Space | None = None,
    *,
    method: Method = "ped-anova",
    declared: Metrics = METRICS,
) -> list[Importance]:
    """Return the importance of each parameter for each metric, from the measured trials.

    `ped-anova`: how well a parameter tells the best tenth of the trials from all of them
    (Watanabe et al., IJCAI 2023; for parameters that not every trial has, its conditional form);
    `fanova`: which share of the variance it explains alone (Hutter et al., ICML 2014), only
    of parameters that all trials have. Without a `space`, ranges are those of the values tried.
    Empty for a metric with fewer than LEAST_TRIALS finite values.
    """
    measured = [trial for trial in trials if trial.sampled is not None]
    measured = _thinned(measured, MOST_TRIALS[method])
    names = list(dict.fromkeys(name for trial in measured for name in trial.params))
    distributions = _distributions(names, measured, space)
    found = []
    for metric in metrics:
        known = [trial for trial in measured if math.isfinite(_value(trial, metric))]
        if len(known) >= LEAST_TRIALS:
            shares = _shares(known, metric, distributions, method, declared)
            found.append(Importance(metric=metric, shares=shares, trials=len(known)))
    return found


def _shares(
    trials: Sequence[Trial],
    metric: str,
    distributions: Mapping[str, BaseDistribution],
    method: Method,
    declared: Metrics,
) -> dict[str, float]:
    study = _quiet_study()
    for trial in trials:
        params = {n: v for n, v in trial.params.items() if n in distributions}
        study.add_trial(
            optuna.trial.create_trial(
                value=declared[metric].sign * _value(trial, metric),  # less is better
                params=params,
                distributions={name: distributions[name] for name in params},
            )
        )
    values = [_value(trial, metric) for trial in trials]
    if len(set(values)) < 2 or not distributions:  # nothing varies
        return dict.fromkeys(distributions, 0.0)
    evaluator: BaseImportanceEvaluator = PedAnovaImportanceEvaluator(target_quantile=TOP)
    if method == "fanova":
        evaluator = FanovaImportanceEvaluator(n_trees=32, seed=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = optuna.importance.get_param_importances(
            study, evaluator=evaluator, target=lambda t: float(t.values[0])
        )
    shares = dict.fromkeys(distributions, 0.0) | {n: float(v) for n, v in found.items()}
    if method == "fanova":  # what some trials lack has no share of the variance of all
        shares = {name: share for name, share in shares.items() if name in found}
    return dict(sorted(shares.items(), key=lambda item: -item[1]))


def _quiet_study() -> optuna.Study:
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        return optuna.create_study(direction="minimize")
    finally:
        optuna.logging.set_verbosity(verbosity)


def _distributions(
    names: Sequence[str], trials: Sequence[Trial], space: Space | None
) -> dict[str, BaseDistribution]:
    """Return the distribution of each parameter that varied."""
    axes = space.dimensions() if space is not None else {}
    found = {}
    for name in names:
        values = [trial.params[name] for trial in trials if name in trial.params]
        if len(set(values)) < 2:
            continue
        found[name] = _of_axis(axes[name]) if name in axes else _of_values(values)
        if any(not _fits(found[name], value) for value in values):  # of another space
            found[name] = _of_values(values)
    return found


def _of_axis(axis: PlainAxis) -> BaseDistribution:
    if isinstance(axis, Integer):
        return IntDistribution(axis.low, axis.last, log=axis.log)
    if isinstance(axis, Real):
        return FloatDistribution(axis.low, axis.high, log=axis.log)
    return CategoricalDistribution(list(axis.values))


def _of_values(values: Sequence[int | float | str]) -> BaseDistribution:
    numbers = [v for v in values if isinstance(v, int | float) and not isinstance(v, bool)]
    if len(numbers) < len(values):
        return CategoricalDistribution(list(dict.fromkeys(values)))
    if all(isinstance(number, int) for number in numbers):
        return IntDistribution(int(min(numbers)), int(max(numbers)))
    return FloatDistribution(min(numbers), max(numbers))


def _fits(distribution: BaseDistribution, value: int | float | str) -> bool:
    try:
        return bool(distribution._contains(distribution.to_internal_repr(value)))
    except (TypeError, ValueError):
        return False


def _value(trial: Trial, metric: str) -> float:
    assert trial.sampled is not None
    return float(trial.sampled.metrics[metric])


def _thinned(trials: Sequence[Trial], limit: int) -> list[Trial]:
    """At most `limit`, evenly spread over the study."""
    if len(trials) <= limit:
        return list(trials)
    return [trials[place * len(trials) // limit] for place in range(limit)]


__all__ = ["LEAST_TRIALS", "METHODS", "MOST_TRIALS", "Importance", "Method", "importances"]
