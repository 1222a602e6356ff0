"""Samplers: which point of the space to try next, from all that was tried before.

Beside `search.samplers.optuna_mirror` and `search.samplers.importance` the only file that knows
Optuna. Its study lives in memory and is rebuilt from the store's trials. For
every ask a new Optuna sampler is made, seeded by the study's seed and the
trial's number: nothing is remembered between asks but what the trials say, so
that a driver that was killed and started again asks for exactly what an
undisturbed one would have.
"""

import dataclasses
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Protocol, runtime_checkable

import numpy as np
import optuna
from optuna.samplers import BaseSampler, GPSampler, QMCSampler, RandomSampler, TPESampler

from search.samplers.optuna_mirror import NSGA, Key, OptunaMirror
from search.study.study import SAMPLERS, Study
from search.trial.rejected import RULED_OUT, SamplerState, name, note_of, rejected_points, rejection
from search.trial.trial import Params, Trial, TrialState

AUTO_SWITCH = 2_000  # trials; from here a TPE ask takes longer than NSGA-II is worse
_STARTUP_TRIALS = {"tpe": 5, "gp": 10}  # drawn at random before a model is made of them
_POPULATION = {"nsga2": 20, "nsga3": 20, "auto": 50}


@runtime_checkable
class Sampler(Protocol):
    """Proposes points and learns what came of them."""

    def ask(self, number: int, attempt: int = 0) -> tuple[Params, SamplerState]:
        """The point of trial `number`, and what has to be stored on it for a rebuilt sampler.

        With a further `attempt` the point asked before, unless it was ruled out,
        is taken back, and another one drawn.
        """
        ...

    def replace(self, number: int, params: Params, state: SamplerState) -> SamplerState:
        """Trial `number` tries `params` instead of what was asked last, which came with `state`.

        Returns what has to be stored on it.
        """
        ...

    def rule_out(self, number: int, violation: float) -> None:
        """Learn that the point which trial `number` has now is infeasible, and was not tried.

        The trial has to be asked for again; what is stored on it then tells a
        rebuilt sampler of this point too. `violation` is how far the point is
        outside, above 0.
        """
        ...

    def tell(self, trial: Trial, family: Sequence[Trial] = ()) -> None:
        """Learn from a finished trial, asked here or elsewhere.

        `family` are other points that its training has answered as well.
        """
        ...


def make_sampler(
    study: Study,
    history: Sequence[Trial] = (),
    *,
    lessons: Sequence[Trial] = (),
    families: Mapping[int, Sequence[Trial]] | None = None,
) -> Sampler:
    """The study's sampler as it would be had it seen `history`; unfinished trials are running.

    `lessons` are finished trials of other studies, at points of this space, which
    it learned from before; `families` what it was told with each trial. Raises
    ValueError for a trial that is no point of the space.
    """
    return OptunaSampler(study, history, lessons, families or {})


class OptunaSampler:
    """A study's points by one of SAMPLERS."""

    def __init__(
        self,
        study: Study,
        history: Sequence[Trial],
        lessons: Sequence[Trial] = (),
        families: Mapping[int, Sequence[Trial]] | None = None,
    ) -> None:
        self._study = study
        self._dimensions = study.space.dimensions()
        self._lessons = [_slim(trial) for trial in lessons]
        self._records = {t.number: _slim(t) for t in sorted(history, key=lambda t: t.number)}
        self._families = {n: [_slim(t) for t in family] for n, family in (families or {}).items()}
        for trial in (*self._lessons, *self._records.values()):
            self._check(trial)
        # What Optuna knows beside the trials of the study, before the one that is asked for now.
        self._beside = (
            len(self._lessons)
            + sum(len(family) for family in self._families.values())
            + sum(len(list(rejection(trial))) for trial in self._records.values())
        )
        self._passed: tuple[int, list[Trial]] = (-1, [])  # points ruled out for the trial asked now
        self._current: tuple[Params, SamplerState] = ({}, {})  # of the trial asked now
        with _quiet():
            self._memory = self._rebuilt(self._method(max(self._records, default=-1) + 1))
        self._forget()

    def ask(self, number: int, attempt: int = 0) -> tuple[Params, SamplerState]:
        """See Sampler. Raises ValueError for a number that was asked before."""
        if self._passed[0] != number:
            self._beside += len(self._passed[1])
            self._passed = (number, [])
        method = self._method(number)
        if attempt and number in self._memory.places:
            self._take_back(number)
        if number in self._memory.places:
            raise ValueError(f"trial {number} was asked before")
        with _quiet():
            if method == "gp" or method != self._memory.method:
                self._memory = self._rebuilt(method)
            params, noted = self._memory.ask(number, self._optuna_sampler(method, number, attempt))
        notes = [note_of(trial) for trial in self._passed[1]]
        state = {**noted, RULED_OUT: notes} if notes else noted
        self._current = params, state
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
            self._memory.add(number, trial)
        self._current = params, kept
        if self._rebuilds:
            self._records[number] = trial
        return kept

    def rule_out(self, number: int, violation: float) -> None:
        """See Sampler. Raises KeyError for a trial that is not running."""
        assert self._passed[0] == number, "only the trial that was asked for last"
        params, state = self._current
        trial = rejected_points(number, {"params": params, "violation": violation, **state})
        with _quiet():
            self._memory.rule_out(name(number, len(self._passed[1])), trial)
        self._passed[1].append(trial)
        self._records.pop(number, None)

    def _take_back(self, number: int) -> None:
        with _quiet():
            self._memory.take_back(number)
        self._records.pop(number, None)

    def tell(self, trial: Trial, family: Sequence[Trial] = ()) -> None:
        """See Sampler. Raises ValueError for a trial that is not finished, or told before."""
        if not trial.state.is_finished:
            raise ValueError(f"trial {trial.number} is {trial.state}, it has nothing to tell")
        members = [_slim(member) for member in family]
        with _quiet():
            if trial.number in self._memory.places:
                self._memory.finish(trial)
            else:
                self._check(trial)
                for key, point in rejection(trial):
                    self._memory.add(key, point)
                self._memory.add(trial.number, trial)
            for key_of_member, member in _members(trial.number, members):
                self._memory.add(key_of_member, member)
        self._beside += len(members)
        if self._rebuilds:
            self._records[trial.number] = _slim(trial)
            if members:
                self._families[trial.number] = members

    @property
    def _rebuilds(self) -> bool:
        """Whether the history is needed once more."""
        sampler = self._study.search.sampler
        return sampler == "gp" or (sampler == "auto" and self._memory.method == "tpe")

    def _forget(self) -> None:
        if not self._rebuilds:
            self._lessons.clear()
            self._records.clear()
            self._families.clear()

    def _check(self, trial: Trial) -> None:
        try:
            self._study.space.validate(trial.params)
        except ValueError as error:
            reason = str(error).replace("\n", "; ")
            raise ValueError(f"trial {trial.number} is no point of the space: {reason}") from None

    def _method(self, number: int) -> str:
        if self._study.search.sampler != "auto":
            return self._study.search.sampler
        return "tpe" if number + self._beside < AUTO_SWITCH else "nsga2"

    def _rebuilt(self, method: str) -> OptunaMirror:
        return OptunaMirror(self._study, self._dimensions, method, list(self._entries()))

    def _entries(self) -> Iterator[tuple[Key, Trial]]:
        """All that there is to know, in the order in which it was learned by one worker."""
        yield from ((f"lesson {k}", lesson) for k, lesson in enumerate(self._lessons))
        for trial in self._records.values():
            yield from rejection(trial)
            yield trial.number, trial
            yield from _members(trial.number, self._families.get(trial.number, ()))
        number, points = self._passed
        if number not in self._records:
            yield from ((name(number, place), point) for place, point in enumerate(points))

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
            genetic.distributions = self._memory.distributions
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


def _members(number: int, family: Sequence[Trial]) -> Iterator[tuple[Key, Trial]]:
    return ((f"{number} family {k}", member) for k, member in enumerate(family))


def _slim(trial: Trial) -> Trial:
    """Only what a sampler needs."""
    return dataclasses.replace(trial, config=None, error="", artifact=None)


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
