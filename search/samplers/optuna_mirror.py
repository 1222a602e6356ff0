"""What Optuna knows of a study: its own study in memory, under the names of our trials.

Beside `search.samplers.sampler` and `search.samplers.importance` the only file that knows Optuna.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.samplers import BaseGASampler, BaseSampler, NSGAIIISampler, NSGAIISampler, RandomSampler
from optuna.study import StudyDirection

from search.study.axes import Integer, PlainAxis, Real, Value
from search.study.dimension import Drawn, decoded, encoded, middle
from search.study.feedback import FeedbackBuilder, fixed_penalties, is_penalised, worst_values
from search.study.study import Study
from search.trial.rejected import SamplerState
from search.trial.trial import Params, Trial, TrialState
from snn.settings.measurement import METRICS

Key = int | str  # a trial's number; or a name for what Optuna knows beside the trials

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


def _itself(distribution: BaseDistribution, memo: object) -> BaseDistribution:
    return distribution


# Optuna copies a trial that is added with the ranges of its parameters, which nobody ever changes:
# at thousands of trials most of the memory, and most of the time to take a study up again.
for _kind in (CategoricalDistribution, FloatDistribution, IntDistribution):
    _kind.__deepcopy__ = _itself  # type: ignore[union-attr]


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


class _Generations(_Everywhere, BaseGASampler):
    """What a genetic sampler asks of all trials, from the newest ones and by their ids.

    The answers are those of Optuna, which goes through all trials for each.
    """

    def get_trial_generation(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> int:
        """The newest generation, or the next one when that has its full number of trials."""
        key, newest, size = self._get_generation_key(), 0, 0
        known: int | None = trial.system_attrs.get(key)
        if known is not None:
            return known
        for other in reversed(study.get_trials(deepcopy=False)):
            if other.state != optuna.trial.TrialState.COMPLETE:
                continue
            generation = other.system_attrs.get(key, -1)
            # Those before it were asked for in none that is later; the family of a trial that
            # ended late stands behind the first trials of the generation after its own.
            if 0 < generation < newest - 1:
                break
            if generation > newest:
                newest, size = generation, 1
            elif generation == newest:
                size += 1
        assert self.population_size is not None
        answer = newest if size < self.population_size else newest + 1
        study._storage.set_trial_system_attr(trial._trial_id, key, answer)
        return answer

    def get_parent_population(
        self, study: optuna.Study, generation: int
    ) -> list[optuna.trial.FrozenTrial]:
        """The trials that were chosen once for that generation."""
        key = f"{self._get_parent_cache_key_prefix()}{generation}"
        chosen = study._storage.get_study_system_attrs(study._study_id).get(key)
        if chosen is None:
            return super().get_parent_population(study, generation)
        return [study._storage.get_trial(trial_id) for trial_id in sorted(set(chosen))]


class _Nsga2(_Generations, NSGAIISampler):
    pass


class _Nsga3(_Generations, NSGAIIISampler):
    pass


NSGA: dict[str, type[_Nsga2] | type[_Nsga3]] = {"nsga2": _Nsga2, "nsga3": _Nsga3}


class OptunaMirror:
    """Optuna's study in memory, by our keys."""

    def __init__(
        self,
        study: Study,
        dimensions: Mapping[str, PlainAxis],
        method: str,
        entries: Sequence[tuple[Key, Trial]],
    ) -> None:
        """Begin with `entries`, what is known by its keys."""
        self._study = study
        self._dimensions = dimensions
        self.distributions = {name: _distribution(axis) for name, axis in dimensions.items()}
        self._middles = {name: encoded(axis, middle(axis)) for name, axis in dimensions.items()}
        self.method = method
        self.places: dict[Key, int] = {}  # our key -> Optuna's number
        self._count = 0  # of Optuna's trials, those included that were taken back
        self._trials: dict[int, optuna.trial.Trial] = {}  # the running ones by our number
        self._before: tuple[int, Mapping[str, Any]] = (-1, {})  # trial asked last; notes before it
        is_gp = method == "gp"
        trials = [trial for _, trial in entries]
        self._judge = FeedbackBuilder(
            study=study,
            hears_pruned=method not in _COMPLETE_ONLY,
            penalties=worst_values(study, trials) if is_gp else fixed_penalties(study),
            # A model of a constraint that nothing ever violated would be for nothing.
            has_run_constraint=not is_gp or any(is_penalised(trial) for trial in trials),
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
        for key, trial in entries:
            self.add(key, trial)

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
        self._count += 1
        self._trials[number] = trial
        return params, self._state(trial.number, self._before[1], inactive)

    def take_back(self, number: int) -> None:
        """Forget a running trial: as failed, for Optuna removes none and learns nothing of those.

        Raises KeyError when it is not running.
        """
        self._optuna.tell(self._trials.pop(number), state=optuna.trial.TrialState.FAIL)
        self.places.pop(number)

    def rule_out(self, key: Key, trial: Trial) -> None:
        """The point that `trial.number` runs at will not be run: `trial` says what is heard of it.

        It stays under `key`. Raises KeyError when the trial is not running.
        """
        self._tell(self._trials.pop(trial.number), trial)
        self.places[key] = self.places.pop(trial.number)

    def _state(
        self, place: int, before: Mapping[str, Any], inactive: Mapping[str, object]
    ) -> SamplerState:
        """What Optuna noted on the trial and on the study, by our keys."""
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
        """A trial that was not asked here; its sampler's notes are taken over."""
        verdict = self._judge.verdict(trial)
        params = self._encoded_params(trial)
        place = self._count
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
        self.places[key] = place
        self._count += 1
        for name, value in _notes(trial, "study").items():
            if _names_trials(name):
                value = [self._trial_id(self.places[n]) for n in value if n in self.places]
            self._storage.set_study_system_attr(self._id, name, value)
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
        if self.method in NSGA:
            # Trials of another sampler are the first generation: the best of them are its parents.
            attributes.setdefault(f"{NSGA[self.method].__name__}:generation", 0)
        return attributes

    def finish(self, trial: Trial) -> None:
        """Tell a running trial. Raises ValueError when it is not running."""
        running = self._trials.pop(trial.number, None)
        if running is None:
            raise ValueError(f"trial {trial.number} was told before")
        self._tell(running, trial)

    def _tell(self, running: optuna.trial.Trial, trial: Trial) -> None:
        verdict = self._judge.verdict(trial)
        for key, value in verdict.constraints.items():
            running.set_constraint(key, value)
        self._optuna.tell(running, verdict.values, state=_STATES[verdict.state])


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
