"""Samplers of Optuna.

Optuna's study lives in memory and is rebuilt from the stored trials. For every ask a new
Optuna sampler is made, seeded by the study's seed and the trial's number. Nothing else is
remembered between asks, so that a driver that was killed and started again proposes
exactly what an undisturbed one would have.
"""

import dataclasses
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
import optuna
from optuna.samplers import BaseSampler, GPSampler, QMCSampler, RandomSampler, TPESampler

from search.front.front import front_of
from search.samplers.nsga import NSGA
from search.samplers.optuna_mirror import Key, OptunaMirror
from search.study.feedback import is_measured
from search.study.study import Study
from search.trial.rejected import (
    REJECTED,
    SamplerState,
    key_of,
    note_of,
    rejected_of,
    rejected_trial,
)
from search.trial.trial import FrontPoint, Params, Trial, TrialState
from snn.settings.measurement import OperatingPoint

GAIN_TRIALS = 100  # of sampler auto that gain proposes
AUTO_SWITCH = 2_000  # trials; from here on TPE costs more time than its better proposals save
MOST_MODELLED = 100  # trials that "gp" sees: the time of a fit grows with their cube
_STARTUP_TRIALS = {"tpe": 5, "gp": 10}  # random ones before the first model
_POPULATION = {"nsga2": 20, "nsga3": 20, "auto": 50}


def make_sampler(
    study: Study,
    history: Sequence[Trial],
    *,
    prior: Sequence[Trial],
    shared: Mapping[int, Sequence[Trial]],
    families: Mapping[int, Sequence[OperatingPoint]],
) -> "OptunaSampler":
    """See `search.samplers.sampler.make_sampler`."""
    del families
    return OptunaSampler(study, history, prior, shared)


class OptunaSampler:
    """See `search.samplers.sampler.Sampler`."""

    def __init__(
        self,
        study: Study,
        history: Sequence[Trial],
        prior: Sequence[Trial],
        shared: Mapping[int, Sequence[Trial]],
    ) -> None:
        self._study = study
        self._dimensions = study.space.dimensions()
        self._prior = [_slim(trial) for trial in prior]
        self._records = {t.number: _slim(t) for t in sorted(history, key=lambda t: t.number)}
        self._shared = {n: [_slim(trial) for trial in trials] for n, trials in shared.items()}
        for trial in (*self._prior, *self._records.values()):
            self._check(trial)
        # entries of Optuna's study other than trials, before the trial that is asked for now
        self._others = (
            len(self._prior)
            + sum(len(trials) for trials in self._shared.values())
            + sum(len(list(rejected_of(trial))) for trial in self._records.values())
        )
        self._rejected: tuple[int, list[Trial]] = (-1, [])  # for the trial that is asked now
        self._current: tuple[Params, SamplerState] = ({}, {})  # of the trial asked now
        with _quiet():
            self._mirror = self._rebuilt(self._method(max(self._records, default=-1) + 1))
        self._forget()

    def ask(self, number: int, attempt: int = 0) -> tuple[Params, SamplerState]:
        """Raises ValueError for a number that was asked before."""
        if self._rejected[0] != number:
            self._others += len(self._rejected[1])
            self._rejected = (number, [])
        method = self._method(number)
        if attempt and number in self._mirror.places:
            self._withdraw(number)
        if number in self._mirror.places:
            raise ValueError(f"trial {number} was asked before")
        with _quiet():
            if method == "gp" or method != self._mirror.method:
                self._mirror = self._rebuilt(method)
            params, noted = self._mirror.ask(number, self._optuna_sampler(method, number, attempt))
        notes = [note_of(trial) for trial in self._rejected[1]]
        state = {**noted, REJECTED: notes} if notes else noted
        self._current = params, state
        if self._rebuilds:
            self._records[number] = _running(number, params, state)
        self._forget()
        return params, state

    def replace(self, number: int, params: Params, state: SamplerState) -> SamplerState:
        """Raises KeyError for a trial that is not running."""
        # Notes on the study stay true, and the generation is the same for any configuration.
        kept = {part: notes for part, notes in state.items() if part != "inactive"}
        trial = _running(number, params, kept)
        self._withdraw(number)
        with _quiet():
            self._mirror.add(number, trial)
        self._current = params, kept
        if self._rebuilds:
            self._records[number] = trial
        return kept

    def reject(self, number: int, violation: float) -> None:
        """Raises KeyError for a trial that is not running."""
        assert self._rejected[0] == number, "only the trial that was asked last"
        params, state = self._current
        trial = rejected_trial(number, {"params": params, "violation": violation, **state})
        with _quiet():
            self._mirror.reject(key_of(number, len(self._rejected[1])), trial)
        self._rejected[1].append(trial)
        self._records.pop(number, None)

    def _withdraw(self, number: int) -> None:
        with _quiet():
            self._mirror.withdraw(number)
        self._records.pop(number, None)

    def tell(
        self,
        trial: Trial,
        shared: Sequence[Trial] = (),
        family: Sequence[OperatingPoint] = (),
    ) -> None:
        """Raises ValueError for a trial that is not finished, or was told before."""
        del family
        if not trial.state.is_finished:
            raise ValueError(f"trial {trial.number} is {trial.state}, not finished")
        members = [_slim(member) for member in shared]
        with _quiet():
            if trial.number in self._mirror.places:
                self._mirror.finish(trial)
            else:
                self._check(trial)
                for key, point in rejected_of(trial):
                    self._mirror.add(key, point)
                self._mirror.add(trial.number, trial)
            for key_of_member, member in _named(trial.number, members):
                self._mirror.add(key_of_member, member)
        self._others += len(members)
        if self._rebuilds:
            self._records[trial.number] = _slim(trial)
            if members:
                self._shared[trial.number] = members

    @property
    def _rebuilds(self) -> bool:
        """Whether the mirror will be rebuilt from the history."""
        sampler = self._study.search.sampler
        return sampler == "gp" or (sampler == "auto" and self._mirror.method != "nsga2")

    def _forget(self) -> None:
        if not self._rebuilds:
            self._prior.clear()
            self._records.clear()
            self._shared.clear()

    def _check(self, trial: Trial) -> None:
        try:
            self._study.space.validate(trial.params)
        except ValueError as error:
            reason = str(error).replace("\n", "; ")
            raise ValueError(f"trial {trial.number} is not in the space: {reason}") from None

    def _method(self, number: int) -> str:
        """Return the sampler that proposes trial `number`."""
        sampler = self._study.search.sampler
        if sampler == "grow":
            return "tpe"  # of its other trials
        if sampler == "gain":
            return "random"  # of its first trials
        if sampler != "auto":
            return sampler
        if number < GAIN_TRIALS:
            return "random"  # of the first trials of gain
        return "tpe" if number + self._others < AUTO_SWITCH else "nsga2"

    def _rebuilt(self, method: str) -> OptunaMirror:
        entries = list(self._entries())
        if method == "gp" and len(entries) > MOST_MODELLED:
            entries = self._modelled(entries)
        return OptunaMirror(self._study, self._dimensions, method, entries)

    def _modelled(self, entries: list[tuple[Key, Trial]]) -> list[tuple[Key, Trial]]:
        """Return MOST_MODELLED entries: the front, what is running, and the newest of the others.

        A front of more members is cut to the newest of them.
        """
        study = self._study
        points = [
            FrontPoint(trial=place, params=trial.params, point=trial.sampled, on_front=True)
            for place, (_, trial) in enumerate(entries)
            if trial.sampled is not None and is_measured(study, trial)
        ]
        front = {
            p.trial for p in front_of(points, study.objectives, study.constraints, study.metrics)
        }

        def worth(place: int) -> tuple[bool, bool, int]:
            return not entries[place][1].state.is_finished, place in front, place

        best = sorted(range(len(entries)), key=worth, reverse=True)[:MOST_MODELLED]
        return [entries[place] for place in sorted(best)]

    # Stored notes of NSGA name its parents by these keys: their words must stay.
    def _entries(self) -> Iterator[tuple[Key, Trial]]:
        """Yield all entries in the order in which one worker would have told them."""
        yield from ((f"lesson {k}", trial) for k, trial in enumerate(self._prior))
        for trial in self._records.values():
            yield from rejected_of(trial)
            yield trial.number, trial
            yield from _named(trial.number, self._shared.get(trial.number, ()))
        number, points = self._rejected
        if number not in self._records:
            yield from ((key_of(number, place), point) for place, point in enumerate(points))

    def _optuna_sampler(self, method: str, number: int, attempt: int) -> BaseSampler:
        entropy = [self._study.search.seed, number, attempt]
        seed = int(np.random.SeedSequence(entropy).generate_state(1)[0])
        population = _POPULATION.get(self._study.search.sampler, 0)
        if method == "tpe":
            return TPESampler(
                seed=seed,
                n_startup_trials=_STARTUP_TRIALS["tpe"],
                multivariate=False,
                constant_liar=True,
            )
        if method in NSGA:
            genetic = NSGA[method](population_size=population, seed=seed)
            genetic.distributions = self._mirror.distributions
            return genetic
        if method == "gp":
            return GPSampler(seed=seed, n_startup_trials=_STARTUP_TRIALS["gp"])
        if method == "qmc":
            # One sequence for the whole study: its scrambling must not change between asks.
            return QMCSampler(
                scramble=True,
                seed=self._study.search.seed % 2**32,
                independent_sampler=RandomSampler(seed=seed),
                warn_independent_sampling=False,
            )
        return RandomSampler(seed=seed)


def _running(number: int, params: Params, state: SamplerState) -> Trial:
    return Trial(number=number, params=params, state=TrialState.RUNNING, sampler_state=state)


def _named(number: int, shared: Sequence[Trial]) -> Iterator[tuple[Key, Trial]]:
    return ((f"{number} family {k}", trial) for k, trial in enumerate(shared))


def _slim(trial: Trial) -> Trial:
    """Return the trial with only what a sampler needs."""
    return dataclasses.replace(trial, config=None, error="", artifact=None)


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence Optuna's log and its warnings of experimental features."""
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(verbosity)
