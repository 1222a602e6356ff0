"""Proposals near the values that axes have as `prior`, whatever the sampler.

The configuration with index n, counted from 0, is with probability 1 / (1 + (n / SPAN)^2) one in
which every axis with a prior has a value drawn around it; the other values are the sampler's. These
are about SPAN * pi / 2 in a study of any length: a right prior helps at the beginning, and what a
wrong one costs has a bound. The sampler learns from them as from any other. That beliefs decay with
the number of trials is from piBO (Hvarfner et al. 2022, arXiv 2204.11051) and PriMO (Basu et al.
2025, arXiv 2511.08371); these weight the acquisition function of a model, which random and
evolutionary samplers do not have.
"""

import math
import random
from collections.abc import Sequence

from search.samplers.prefixes import Kept
from search.study.axes import Value, prior_of
from search.study.space import RandomSuggest
from search.study.study import Study
from search.trial.trial import Params

SPAN = 10
WIDTH = 0.15  # standard deviation of a draw, as a share of the range
SURE = 0.5  # probability of the prior of a choice; otherwise any value


class Priors:
    """Draws configurations around the priors of a study's space."""

    def __init__(self, study: Study) -> None:
        self._study = study
        self._values = {
            name: value
            for name, axis in study.space.dimensions().items()
            if (value := prior_of(axis)) is not None
        }

    def decide(self, index: int) -> bool:
        """Whether the configuration `index` is drawn around the priors."""
        if not self._values:
            return False
        draws = random.Random(f"prior {self._study.search.seed} {index}")
        return draws.random() * (1 + (index / SPAN) ** 2) < 1

    def proposal(self, number: int, drawn: Params) -> Params:
        """Return `drawn` for trial `number`, with other values where axes have priors."""
        suggest = _Around(self._values, f"around prior {self._study.search.seed} {number}")
        kept = {name: value for name, value in drawn.items() if name not in self._values}
        return self._study.space.sample(Kept(kept, suggest))


class _Around(RandomSuggest):
    """Suggests values around given ones, and random ones for other axes."""

    def __init__(self, values: Params, seed: str) -> None:
        super().__init__()
        self._values, self._random = values, random.Random(seed)

    def integer(self, name: str, low: int, high: int, step: int, log: bool) -> int:
        if name not in self._values:
            return super().integer(name, low, high, step, log)
        return low + step * round((self._near(name, low, high, log) - low) / step)

    def real(self, name: str, low: float, high: float, step: float | None, log: bool) -> float:
        if name not in self._values:
            return super().real(name, low, high, step, log)
        return min(max(self._near(name, low, high, log), low), high)

    def choice(self, name: str, values: Sequence[Value]) -> Value:
        known = self._values.get(name)
        if known in values and self._random.random() < SURE:
            assert known is not None
            return known
        return super().choice(name, values)

    def _near(self, name: str, low: float, high: float, log: bool) -> float:
        """Return a number of a normal distribution that ends at `low` and `high`."""
        center = float(self._values[name])
        if log:
            return math.exp(self._normal(math.log(center), math.log(low), math.log(high)))
        return self._normal(center, low, high)

    def _normal(self, center: float, low: float, high: float) -> float:
        while True:
            value = self._random.gauss(center, WIDTH * (high - low))
            if low <= value <= high:
                return value
