"""Optuna's in-memory copy of a study, addressed by the numbers of our trials."""

from collections.abc import Mapping, Sequence
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.samplers import BaseSampler, RandomSampler
from optuna.study import StudyDirection

from search.samplers.nsga import NSGA
from search.study.axes import Integer, PlainAxis, Real, Value
from search.study.dimension import Drawn, decoded, encoded, middle
from search.study.feedback import FeedbackBuilder, fixed_penalties, is_penalised, worst_values
from search.study.study import Study
from search.trial.rejected import SamplerState
from search.trial.trial import Params, Trial, TrialState
from snn.settings.config import current_names

Key = int | str  # number of a trial, or the name of an entry that is no trial

# These see every dimension in every trial, also those that are inactive in it.
_JOINT = ("nsga2", "nsga3", "gp", "qmc")
_COMPLETE_ONLY = ("nsga2", "nsga3", "gp")  # these ignore pruned trials
_STATES = {
    TrialState.RUNNING: optuna.trial.TrialState.RUNNING,
    TrialState.COMPLETE: optuna.trial.TrialState.COMPLETE,
    TrialState.PRUNED: optuna.trial.TrialState.PRUNED,
    TrialState.FAILED: optuna.trial.TrialState.FAIL,
}


def _itself(distribution: BaseDistribution, memo: object) -> BaseDistribution:
    return distribution


# Optuna copies the distributions of each added trial, which never change. At thousands of
# trials these copies take most of the memory, and most of the time to continue a study.
for _kind in (CategoricalDistribution, FloatDistribution, IntDistribution):
    _kind.__deepcopy__ = _itself  # type: ignore[union-attr]


class OptunaMirror:
    """Optuna's study in memory, with our keys."""

    def __init__(
        self,
        study: Study,
        dimensions: Mapping[str, PlainAxis],
        method: str,
        entries: Sequence[tuple[Key, Trial]],
    ) -> None:
        """Start with `entries`, each with its key."""
        self._study = study
        self._dimensions = dimensions
        self.distributions = {name: _distribution(axis) for name, axis in dimensions.items()}
        self._middles = {name: encoded(axis, middle(axis)) for name, axis in dimensions.items()}
        self.method = method
        self.places: dict[Key, int] = {}  # our key -> Optuna's number
        self._count = 0  # of Optuna's trials, withdrawn ones included
        self._trials: dict[int, optuna.trial.Trial] = {}  # the running ones by our number
        self._before: tuple[int, Mapping[str, Any]] = (-1, {})  # trial asked last; notes before it
        is_gp = method == "gp"
        trials = [trial for _, trial in entries]
        self._feedback = FeedbackBuilder(
            study=study,
            reads_pruned=method not in _COMPLETE_ONLY,
            penalties=worst_values(study, trials) if is_gp else fixed_penalties(study),
            # A model of a constraint that nothing violates is useless.
            has_run_constraint=not is_gp or any(is_penalised(trial) for trial in trials),
        )
        self._storage = optuna.storages.InMemoryStorage()
        directions = [
            StudyDirection.MAXIMIZE
            if study.metrics[name].better == "higher"
            else StudyDirection.MINIMIZE
            for name in study.objectives
        ]
        self._optuna = optuna.create_study(
            storage=self._storage, directions=directions, sampler=RandomSampler(seed=0)
        )
        self._id = self._storage.get_study_id_from_name(self._optuna.study_name)
        for key, trial in entries:
            self.add(key, trial)

    def ask(self, number: int, sampler: BaseSampler) -> tuple[Params, SamplerState]:
        """Start a trial; return its configuration and what a rebuilt mirror needs to know of it."""
        self._optuna.sampler = sampler
        if self._before[0] != number:  # the last attempt includes notes of the first
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
        self._count += 1
        self._trials[number] = trial
        return params, self._state(trial.number, self._before[1], inactive)

    def withdraw(self, number: int) -> None:
        """Remove a running trial: as failed, because Optuna ignores those and can delete none.

        Raises KeyError if it is not running.
        """
        self._optuna.tell(self._trials.pop(number), state=optuna.trial.TrialState.FAIL)
        self.places.pop(number)

    def reject(self, key: Key, trial: Trial) -> None:
        """Turn the running trial `trial.number` into the rejected one `trial`, under `key`.

        Raises KeyError if it is not running.
        """
        self._tell(self._trials.pop(trial.number), trial)
        self.places[key] = self.places.pop(trial.number)

    def _state(
        self, place: int, before: Mapping[str, Any], inactive: Mapping[str, object]
    ) -> SamplerState:
        """Return Optuna's notes on the trial and on the study, with our keys."""
        after = self._storage.get_study_system_attrs(self._id)
        changed = {key: value for key, value in after.items() if before.get(key) != value}
        for key in filter(_names_trials, changed):
            keys = {self._trial_id(place): name for name, place in self.places.items()}
            changed[key] = [keys[trial_id] for trial_id in changed[key]]
        attributes = self._storage.get_trial(self._trial_id(place)).system_attrs
        state = {"trial": attributes, "study": changed, "inactive": inactive}
        return {key: dict(value) for key, value in state.items() if value}

    def _trial_id(self, place: int) -> int:
        return self._storage.get_trial_id_from_study_id_trial_number(self._id, place)

    def add(self, key: Key, trial: Trial) -> None:
        """Add a trial that was not asked here, with the notes of its sampler."""
        feedback = self._feedback.feedback(trial)
        params = self._encoded_params(trial)
        place = self._count
        self._optuna.add_trial(
            optuna.trial.create_trial(
                state=_STATES[feedback.state],
                values=feedback.values,
                params=params,
                distributions={name: self.distributions[name] for name in params},
                system_attrs=self._attributes(trial),
                constraints=dict(feedback.constraints),
            )
        )
        self.places[key] = place
        self._count += 1
        for name, value in _notes(trial, "study").items():
            if _names_trials(name):
                value = [self._trial_id(self.places[n]) for n in value if n in self.places]
            self._storage.set_study_system_attr(self._id, name, value)
        if feedback.state == TrialState.RUNNING:
            self._trials[trial.number] = optuna.trial.Trial(self._optuna, self._trial_id(place))

    def _encoded_params(self, trial: Trial) -> dict[str, Any]:
        params = {
            name: encoded(self._dimensions[name], value)
            for name, value in trial.params.items()
            if name in self._dimensions
        }
        if self.method in _JOINT:
            params = self._middles | current_names(_notes(trial, "inactive")) | params
        return {name: params[name] for name in self._dimensions if name in params}

    def _attributes(self, trial: Trial) -> dict[str, Any]:
        attributes = _notes(trial, "trial")
        if self.method in NSGA:
            # Trials of another sampler are the first generation; the best become parents.
            attributes.setdefault(f"{NSGA[self.method].__name__}:generation", 0)
        return attributes

    def finish(self, trial: Trial) -> None:
        """Tell the result of a running trial. Raises ValueError if it is not running."""
        running = self._trials.pop(trial.number, None)
        if running is None:
            raise ValueError(f"trial {trial.number} was told before")
        self._tell(running, trial)

    def _tell(self, running: optuna.trial.Trial, trial: Trial) -> None:
        feedback = self._feedback.feedback(trial)
        for key, value in feedback.constraints.items():
            running.set_constraint(key, value)
        self._optuna.tell(running, feedback.values, state=_STATES[feedback.state])


def _notes(trial: Trial, part: str) -> dict[str, Any]:
    notes = trial.sampler_state.get(part, {})
    assert isinstance(notes, Mapping)
    return dict(notes)


def _names_trials(key: str) -> bool:
    """Whether an attribute of Optuna's study holds trials: parents of an NSGA generation."""
    return ":parent:" in key


class _Suggested:
    """Suggests values by Optuna, one at a time."""

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
