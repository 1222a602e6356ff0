"""NSGA-II and NSGA-III of Optuna, made fast for studies of thousands of trials.

The answers are Optuna's own; Optuna goes through all trials for each of them.
"""

from collections.abc import Mapping

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseGASampler, BaseSampler, NSGAIIISampler, NSGAIISampler


class _Everywhere(BaseSampler):
    """A sampler that sees every dimension in every trial.

    Optuna searches all trials for their common dimensions, which takes fifty times as long as
    the rest of an ask at 10,000 trials.
    """

    distributions: Mapping[str, BaseDistribution] = {}

    def infer_relative_search_space(
        self, study: optuna.Study, trial: optuna.trial.FrozenTrial
    ) -> dict[str, BaseDistribution]:
        return {name: d for name, d in self.distributions.items() if not d.single()}


class _Generations(_Everywhere, BaseGASampler):
    """Generations and parents from the newest trials and by trial ids."""

    def get_trial_generation(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> int:
        """Return the newest generation, or the next one if that is full."""
        key, newest, size = self._get_generation_key(), 0, 0
        known: int | None = trial.system_attrs.get(key)
        if known is not None:
            return known
        for other in reversed(study.get_trials(deepcopy=False)):
            if other.state != optuna.trial.TrialState.COMPLETE:
                continue
            generation = other.system_attrs.get(key, -1)
            # Earlier trials are of no later generation; the shared points of a trial that ended
            # late come after the first trials of the next generation.
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
        """Return the trials that were chosen for that generation."""
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
