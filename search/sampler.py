"""Samplers: which point of the space to try next, from all that was tried before.

The only file that knows Optuna. Its study lives in memory and is rebuilt from
the store's trials. For every ask a new Optuna sampler is made, seeded by the
study's seed and the trial's number: nothing is remembered between asks but
what the trials say, so that a driver that was killed and started again asks
for exactly what an undisturbed one would have.
"""

import dataclasses
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol, runtime_checkable

import numpy as np
import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.samplers import (
    BaseSampler,
    GPSampler,
    NSGAIIISampler,
    NSGAIISampler,
    QMCSampler,
    RandomSampler,
    TPESampler,
)
from optuna.study import StudyDirection

from search.axes import Integer, PlainAxis, Real, Value
from search.dimension import Drawn, decoded, encoded, middle
from search.study import SAMPLERS, Study
from search.trial import Params, Trial, TrialState
from search.verdict import Judge, fixed_penalties, is_penalised, worst_values
from snn.measurement import METRICS

AUTO_SWITCH = 2_000  # trials; from here a TPE ask takes longer than NSGA-II is worse
_STARTUP_TRIALS = 10  # drawn at random before a model is made of them
_POPULATION = {"nsga2": 20, "nsga3": 20, "auto": 50}
# These see every dimension in every trial, also those that do not exist at its
# point: they learn nothing about a dimension that comes and goes.
_JOINT = ("nsga2", "nsga3", "gp", "qmc")
_COMPLETE_ONLY = ("nsga2", "nsga3", "gp")  # these look at no pruned trial
_STATES = {
    TrialState.RUNNING: optuna.trial.TrialState.RUNNING,
    TrialState.COMPLETE: optuna.trial.TrialState.COMPLETE,
    TrialState.PRUNED: optuna.trial.TrialState.PRUNED,
    TrialState.FAILED: optuna.trial.TrialState.FAIL,
}

SamplerState = Mapping[str, object]


@runtime_checkable
class Sampler(Protocol):
    """Proposes points and learns what came of them."""

    def ask(self, number: int, attempt: int = 0) -> tuple[Params, SamplerState]:
        """The point of trial `number`, and what has to be stored on it for a rebuilt sampler.

        With a further `attempt` the point asked before is taken back, and another one drawn.
        """
        ...

    def replace(self, number: int, params: Params, state: SamplerState) -> SamplerState:
        """Trial `number` tries `params` instead of what was asked last, which came with `state`.

        Returns what has to be stored on it.
        """
        ...

    def tell(self, trial: Trial) -> None:
        """Learn from a finished trial, asked here or elsewhere."""
        ...


def make_sampler(study: Study, history: Sequence[Trial] = ()) -> Sampler:
    """The study's sampler as it would be had it seen `history`; unfinished trials are running.

    Raises ValueError for a trial that is no point of the space.
    """
    return OptunaSampler(study, history)


class OptunaSampler:
    """A study's points by one of SAMPLERS."""

    def __init__(self, study: Study, history: Sequence[Trial]) -> None:
        self._study = study
        self._dimensions = study.space.dimensions()
        self._records = {t.number: _slim(t) for t in sorted(history, key=lambda t: t.number)}
        for trial in self._records.values():
            self._check(trial)
        with _quiet():
            self._memory = self._rebuilt(self._method(max(self._records, default=-1) + 1))
        self._forget()

    def ask(self, number: int, attempt: int = 0) -> tuple[Params, SamplerState]:
        """See Sampler. Raises ValueError for a number that was asked before."""
        method = self._method(number)
        if attempt:
            self._take_back(number)
        if number in self._memory.places:
            raise ValueError(f"trial {number} was asked before")
        with _quiet():
            if method == "gp" or method != self._memory.method:
                self._memory = self._rebuilt(method)
            params, state = self._memory.ask(number, self._optuna_sampler(method, number, attempt))
        if self._rebuilds:
            self._records[number] = _running(number, params, state)
        self._forget()
        return params, state

    def replace(self, number: int, params: Params, state: SamplerState) -> SamplerState:
        """See Sampler. Raises KeyError for a trial that is not running."""
        # What was noted on the study stays true, and the generation is one for any point.
        kept = {part: notes for part, notes in state.items() if part != "inactive"}
        trial = _running(number, params, kept)
        self._take_back(number)
        with _quiet():
            self._memory.add(trial)
        if self._rebuilds:
            self._records[number] = trial
        return kept

    def _take_back(self, number: int) -> None:
        with _quiet():
            self._memory.take_back(number)
        self._records.pop(number, None)

    def tell(self, trial: Trial) -> None:
        """See Sampler. Raises ValueError for a trial that is not finished, or told before."""
        if not trial.state.is_finished:
            raise ValueError(f"trial {trial.number} is {trial.state}, it has nothing to tell")
        with _quiet():
            if trial.number in self._memory.places:
                self._memory.finish(trial)
            else:
                self._check(trial)
                self._memory.add(trial)
        if self._rebuilds:
            self._records[trial.number] = _slim(trial)

    @property
    def _rebuilds(self) -> bool:
        """Whether the history is needed once more."""
        sampler = self._study.search.sampler
        return sampler == "gp" or (sampler == "auto" and self._memory.method == "tpe")

    def _forget(self) -> None:
        if not self._rebuilds:
            self._records.clear()

    def _check(self, trial: Trial) -> None:
        try:
            self._study.space.validate(trial.params)
        except ValueError as error:
            reason = str(error).replace("\n", "; ")
            raise ValueError(f"trial {trial.number} is no point of the space: {reason}") from None

    def _method(self, number: int) -> str:
        if self._study.search.sampler != "auto":
            return self._study.search.sampler
        return "tpe" if number < AUTO_SWITCH else "nsga2"

    def _rebuilt(self, method: str) -> "_Memory":
        memory = _Memory(self._study, self._dimensions, method, tuple(self._records.values()))
        for trial in self._records.values():
            memory.add(trial)
        return memory

    def _optuna_sampler(self, method: str, number: int, attempt: int) -> BaseSampler:
        entropy = [self._study.search.seed, number, attempt]
        seed = int(np.random.SeedSequence(entropy).generate_state(1)[0])
        population = _POPULATION.get(self._study.search.sampler, 0)
        if method == "tpe":
            return TPESampler(
                seed=seed,
                n_startup_trials=_STARTUP_TRIALS,
                multivariate=False,
                constant_liar=True,
            )
        if method in _NSGA:
            genetic = _NSGA[method](population_size=population, seed=seed)
            genetic.distributions = self._memory.distributions
            return genetic
        if method == "gp":
            return GPSampler(seed=seed, n_startup_trials=_STARTUP_TRIALS)
        if method == "qmc":
            # One sequence for the whole study: its scrambling must not change between asks.
            return QMCSampler(
                scramble=True,
                seed=self._study.search.seed % 2**32,
                independent_sampler=RandomSampler(seed=seed),
                warn_independent_sampling=False,
            )
        return RandomSampler(seed=seed)


class _Everywhere(BaseSampler):
    """For samplers that see every dimension in every trial: no need to look which they are.

    Looking through 10,000 trials for what they have in common takes fifty times
    as long as the rest of the ask.
    """

    distributions: Mapping[str, BaseDistribution] = {}

    def infer_relative_search_space(
        self, study: optuna.Study, trial: optuna.trial.FrozenTrial
    ) -> dict[str, BaseDistribution]:
        return {name: d for name, d in self.distributions.items() if not d.single()}


class _Nsga2(_Everywhere, NSGAIISampler):
    pass


class _Nsga3(_Everywhere, NSGAIIISampler):
    pass


_NSGA: dict[str, type[_Nsga2] | type[_Nsga3]] = {"nsga2": _Nsga2, "nsga3": _Nsga3}


class _Memory:
    """Optuna's study in memory, by the numbers of our trials."""

    def __init__(
        self,
        study: Study,
        dimensions: Mapping[str, PlainAxis],
        method: str,
        history: Sequence[Trial],
    ) -> None:
        self._study = study
        self._dimensions = dimensions
        self.distributions = {name: _distribution(axis) for name, axis in dimensions.items()}
        self._middles = {name: encoded(axis, middle(axis)) for name, axis in dimensions.items()}
        self.method = method
        self.places: dict[int, int] = {}  # our number -> Optuna's
        self._trials: dict[int, optuna.trial.Trial] = {}  # the running ones by our number
        self._before: tuple[int, Mapping[str, Any]] = (-1, {})  # trial asked last; notes before it
        is_gp = method == "gp"
        self._judge = Judge(
            study=study,
            hears_pruned=method not in _COMPLETE_ONLY,
            penalties=worst_values(study, history) if is_gp else fixed_penalties(study),
            # A model of a constraint that nothing ever violated would be for nothing.
            has_run_constraint=not is_gp or any(is_penalised(trial) for trial in history),
        )
        self._storage = optuna.storages.InMemoryStorage()
        directions = [
            StudyDirection.MAXIMIZE if METRICS[name].better == "higher" else StudyDirection.MINIMIZE
            for name in study.objectives
        ]
        self._optuna = optuna.create_study(
            storage=self._storage, directions=directions, sampler=RandomSampler(seed=0)
        )
        self._id = self._storage.get_study_id_from_name(self._optuna.study_name)

    def ask(self, number: int, sampler: BaseSampler) -> tuple[Params, SamplerState]:
        """A new running trial, with what a rebuilt memory has to know about it."""
        self._optuna.sampler = sampler
        if self._before[0] != number:  # what the first attempt noted belongs to the last one too
            self._before = (number, dict(self._storage.get_study_system_attrs(self._id)))
        inactive: dict[str, object] = {}
        if self.method in _JOINT:
            trial = self._optuna.ask(self.distributions)
            values = {n: decoded(self._dimensions[n], v) for n, v in trial.params.items()}
            params = self._study.space.sample(Drawn(values))
            inactive = {name: raw for name, raw in trial.params.items() if name not in params}
        else:
            trial = self._optuna.ask()
            params = self._study.space.sample(_Suggested(trial))
        self.places[number] = trial.number
        self._trials[number] = trial
        return params, self._state(trial.number, self._before[1], inactive)

    def take_back(self, number: int) -> None:
        """Forget a running trial: as failed, for Optuna removes none and learns nothing of those.

        Raises KeyError when it is not running.
        """
        self._optuna.tell(self._trials.pop(number), state=optuna.trial.TrialState.FAIL)
        place = self.places.pop(number)
        self.places[-1 - place] = place  # a number that no trial has

    def _state(
        self, place: int, before: Mapping[str, Any], inactive: Mapping[str, object]
    ) -> SamplerState:
        """What Optuna noted on the trial and on the study, by our numbers."""
        after = self._storage.get_study_system_attrs(self._id)
        changed = {key: value for key, value in after.items() if before.get(key) != value}
        for key in filter(_names_trials, changed):
            numbers = {self._trial_id(place): number for number, place in self.places.items()}
            changed[key] = [numbers[trial_id] for trial_id in changed[key]]
        attributes = self._storage.get_trial(self._trial_id(place)).system_attrs
        state = {"trial": attributes, "study": changed, "inactive": inactive}
        return {key: dict(value) for key, value in state.items() if value}

    def _trial_id(self, place: int) -> int:
        return self._storage.get_trial_id_from_study_id_trial_number(self._id, place)

    def add(self, trial: Trial) -> None:
        """A trial that was not asked here; its sampler's notes are taken over."""
        verdict = self._judge.verdict(trial)
        params = self._encoded_params(trial)
        place = len(self.places)
        self._optuna.add_trial(
            optuna.trial.create_trial(
                state=_STATES[verdict.state],
                values=verdict.values,
                params=params,
                distributions={name: self.distributions[name] for name in params},
                system_attrs=self._attributes(trial),
                constraints=dict(verdict.constraints),
            )
        )
        self.places[trial.number] = place
        for key, value in _notes(trial, "study").items():
            if _names_trials(key):
                value = [self._trial_id(self.places[n]) for n in value if n in self.places]
            self._storage.set_study_system_attr(self._id, key, value)
        if verdict.state == TrialState.RUNNING:
            self._trials[trial.number] = optuna.trial.Trial(self._optuna, self._trial_id(place))

    def _encoded_params(self, trial: Trial) -> dict[str, Any]:
        params = {
            name: encoded(self._dimensions[name], value)
            for name, value in trial.params.items()
            if name in self._dimensions
        }
        if self.method in _JOINT:
            params = self._middles | _notes(trial, "inactive") | params
        return {name: params[name] for name in self._dimensions if name in params}

    def _attributes(self, trial: Trial) -> dict[str, Any]:
        attributes = _notes(trial, "trial")
        if self.method in _NSGA:
            # Trials of another sampler are the first generation: the best of them are its parents.
            attributes.setdefault(f"{_NSGA[self.method].__name__}:generation", 0)
        return attributes

    def finish(self, trial: Trial) -> None:
        """Tell a running trial. Raises ValueError when it is not running."""
        running = self._trials.pop(trial.number, None)
        if running is None:
            raise ValueError(f"trial {trial.number} was told before")
        verdict = self._judge.verdict(trial)
        for key, value in verdict.constraints.items():
            running.set_constraint(key, value)
        self._optuna.tell(running, verdict.values, state=_STATES[verdict.state])


def _running(number: int, params: Params, state: SamplerState) -> Trial:
    return Trial(number=number, params=params, state=TrialState.RUNNING, sampler_state=state)


def _slim(trial: Trial) -> Trial:
    """Only what a sampler needs."""
    return dataclasses.replace(trial, config=None, error="", artifact=None)


def _notes(trial: Trial, part: str) -> dict[str, Any]:
    notes = trial.sampler_state.get(part, {})
    assert isinstance(notes, Mapping)
    return dict(notes)


def _names_trials(key: str) -> bool:
    """Whether a study attribute of Optuna holds trials: the parents of an NSGA generation."""
    return ":parent:" in key


class _Suggested:
    """Answers by asking Optuna, value for value."""

    def __init__(self, trial: optuna.trial.Trial) -> None:
        self._trial = trial

    def integer(self, name: str, low: int, high: int, step: int, log: bool) -> int:
        return self._trial.suggest_int(name, low, high, step=step, log=log)

    def real(self, name: str, low: float, high: float, step: float | None, log: bool) -> float:
        if step is None:
            return self._trial.suggest_float(name, low, high, log=log)
        return low + step * self._trial.suggest_int(name, 0, round((high - low) / step))

    def choice(self, name: str, values: Sequence[Value]) -> Value:
        value = self._trial.suggest_categorical(name, list(values))
        assert isinstance(value, int | float | str)
        return value


def _distribution(axis: PlainAxis) -> BaseDistribution:
    if isinstance(axis, Integer):
        return IntDistribution(axis.low, axis.last, log=axis.log, step=axis.step)
    if isinstance(axis, Real):
        if axis.step is not None:
            return IntDistribution(0, axis.steps)
        return FloatDistribution(axis.low, axis.high, log=axis.log)
    return CategoricalDistribution(list(axis.values))


@contextmanager
def _quiet() -> Iterator[None]:
    """Without Optuna's log and its notices of experimental features."""
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(verbosity)


__all__ = ["AUTO_SWITCH", "SAMPLERS", "OptunaSampler", "Sampler", "make_sampler"]
