"""Searches of other libraries on a replay, as their documentation shows them."""

import warnings
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, Literal

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.samplers import (
    BaseSampler,
    GPSampler,
    NSGAIISampler,
    RandomSampler,
    TPESampler,
)

from benchmarks.search.grid import PARTITION
from benchmarks.search.problem import Problem
from benchmarks.search.replay import Ended, Epoch
from search.study.axes import Choice, Integer, PlainAxis, Real, Value
from search.study.dimension import Drawn
from search.study.space import EXIT_THRESHOLD
from search.trial.trial import Params
from snn.settings.measurement import METRICS

REDUCTION, GRACE = 3, 1  # of the peers that stop trials; rungs at 1, 3, 9, ... epochs


class OptunaSearch:
    """A multi-objective study of Optuna by ask and tell; Optuna prunes none of those."""

    reuses_blocks = False

    def __init__(self, record: Problem, seed: int, *, sampler: str) -> None:
        makers: dict[str, type[BaseSampler]] = {
            "random": RandomSampler,
            "tpe": TPESampler,
            "nsga2": NSGAIISampler,
            "gp": GPSampler,
        }
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._space, self._objectives = record.study.space, record.study.objectives
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            self._study = optuna.create_study(
                directions=[_direction(name) for name in self._objectives],
                sampler=makers[sampler](seed=seed),  # type: ignore[call-arg]
            )
        self._running: dict[int, optuna.Trial] = {}

    def ask(self, number: int) -> Params | None:
        """Suggest a configuration; exit thresholds only for exits that exist."""
        trial = self._running[number] = self._study.ask()
        return self._space.sample(_Suggest(trial))

    def stops(self, number: int, epoch: Epoch) -> bool:
        """See Strategy."""
        del number, epoch
        return False

    def tell(self, number: int, ended: Ended) -> None:
        """Tell the result; a diverged trial is a failed one."""
        trial = self._running.pop(number)
        if ended.last is None or not ended.is_complete:
            self._study.tell(trial, state=optuna.trial.TrialState.FAIL)
            return
        metrics = ended.last.sampled.metrics
        self._study.tell(trial, [metrics[name] for name in self._objectives])


class RayAsha:
    """Ray Tune's ASHA on accuracy alone, points at random."""

    reuses_blocks = False

    def __init__(self, record: Problem, seed: int) -> None:
        from ray.tune.schedulers import ASHAScheduler

        self._random = OptunaSearch(record, seed, sampler="random")
        # typed as the controller and trials of Ray, of which it reads the trial's name alone
        self._scheduler: Any = ASHAScheduler(
            time_attr="epoch",
            metric="accuracy",
            mode="max",
            max_t=record.longest,
            grace_period=GRACE,
            reduction_factor=REDUCTION,
        )
        self._trial: Any = None

    def ask(self, number: int) -> Params | None:
        """See Strategy."""
        self._trial = SimpleNamespace(trial_id=str(number))
        self._scheduler.on_trial_add(None, self._trial)
        return self._random.ask(number)

    def stops(self, number: int, epoch: Epoch) -> bool:
        """See Strategy."""
        del number
        result = {"epoch": epoch.done, "accuracy": epoch.accuracy}
        answer = self._scheduler.on_trial_result(None, self._trial, result)
        return bool(answer == self._scheduler.STOP)

    def tell(self, number: int, ended: Ended) -> None:
        """See Strategy."""
        if ended.is_complete and ended.last is not None:
            result = {"epoch": ended.last.done, "accuracy": ended.last.accuracy}
            self._scheduler.on_trial_complete(None, self._trial, result)
        self._random.tell(number, ended)


class SyneMoasha:
    """Syne Tune's MOASHA; points at random, as it draws them itself.

    `is_patched` gives it priorities that are ranks. As it is (0.16.0) it takes the
    order of a sort for priorities, so that a trial which dominates all others is
    as likely to be stopped as any.
    """

    reuses_blocks = False

    def __init__(self, record: Problem, seed: int, *, is_patched: bool = False) -> None:
        from syne_tune.optimizer.schedulers.multiobjective.moasha import MOASHA

        self._space, self._objectives = record.study.space, record.study.objectives
        axes = sorted(self._space.dimensions().items(), key=_place_of)
        self._draws = np.random.RandomState(seed)
        self._scheduler = MOASHA(
            config_space={name: _domain(axis) for name, axis in axes},
            metrics=list(self._objectives),
            time_attr="epoch",
            max_t=record.longest,
            grace_period=GRACE,
            reduction_factor=REDUCTION,
            multiobjective_priority=_ranks if is_patched else None,
            random_seed=seed,
        )
        self._trial: Any = None

    def ask(self, number: int) -> Params | None:
        """Return the configuration without the values of what does not exist."""
        state = np.random.get_state()
        np.random.set_state(self._draws.get_state())  # it draws from the global generator
        suggestion = self._scheduler.suggest()
        self._trial = SimpleNamespace(trial_id=number, config=suggestion.config)
        self._scheduler.on_trial_add(self._trial)
        self._draws.set_state(np.random.get_state())
        np.random.set_state(state)
        return self._space.sample(Drawn(suggestion.config))

    def stops(self, number: int, epoch: Epoch) -> bool:
        """See Strategy."""
        del number
        return bool(self._scheduler.on_trial_result(self._trial, self._result(epoch)) == "STOP")

    def tell(self, number: int, ended: Ended) -> None:
        """See Strategy."""
        del number
        if ended.is_complete and ended.last is not None:
            self._scheduler.on_trial_complete(self._trial, self._result(ended.last))

    def _result(self, epoch: Epoch) -> dict[str, float]:
        metrics = epoch.sampled.metrics
        values = {name: METRICS[name].sign * metrics[name] for name in self._objectives}
        return {"epoch": epoch.done, **values}


def _place_of(named: tuple[str, PlainAxis]) -> tuple[bool, bool, bool]:
    """Return the place of an axis in the order in which values are drawn."""
    name, axis = named
    return name.startswith(EXIT_THRESHOLD), name == PARTITION, not isinstance(axis, Choice)


def _domain(axis: PlainAxis) -> Any:
    from syne_tune.config_space import choice, lograndint, loguniform, randint, uniform

    if isinstance(axis, Real) and axis.step is None:
        return (loguniform if axis.log else uniform)(axis.low, axis.high)
    if isinstance(axis, Integer) and (axis.log or axis.size > 20):
        return (lograndint if axis.log else randint)(axis.low, axis.high)
    return choice(list(axis.values))


def _ranks(objectives: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the rank of each row: by front, then by an epsilon-net over scaled objectives."""
    from syne_tune.optimizer.schedulers.multiobjective import non_dominated_priority as theirs

    span = np.ptp(objectives, axis=0)
    scaled = (objectives - objectives.min(axis=0)) / np.where(span > 0, span, 1)
    ranks = np.empty(len(objectives), dtype=np.int64)
    remaining, placed = np.arange(len(objectives)), 0
    while len(remaining) > 0:
        is_front = theirs.pareto_efficient(objectives[remaining])
        front = remaining[is_front]
        ranks[front] = placed + theirs.compute_epsilon_net(scaled[front], dim=0)
        placed += len(front)
        remaining = remaining[~is_front]
    return ranks


def _direction(name: str) -> Literal["maximize", "minimize"]:
    return "maximize" if METRICS[name].better == "higher" else "minimize"


class _Suggest:
    """Suggests values by one call of Optuna per parameter."""

    def __init__(self, trial: optuna.Trial) -> None:
        self._trial = trial

    def integer(self, name: str, low: int, high: int, step: int, log: bool) -> int:
        return self._trial.suggest_int(name, low, high, step=step, log=log)

    def real(self, name: str, low: float, high: float, step: float | None, log: bool) -> float:
        return self._trial.suggest_float(name, low, high, step=step, log=log)

    def choice(self, name: str, values: Sequence[Value]) -> Value:
        value = self._trial.suggest_categorical(name, list(values))
        assert isinstance(value, int | float | str)
        return value
