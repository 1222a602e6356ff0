"""Growing: networks of one more block on the front of the networks with as many blocks.

Blocks that are trained one after another do not depend on later ones, and come from the block
cache. A space of K choices for each of B blocks is a tree of prefixes, in which each extension
trains one block. Here the prefixes of each depth are kept that no other of that depth beats
in all objectives (a beam without a width), and the one with the fewest extensions is extended
next. The other trials are proposed by TPE, which learns from all of them.
"""

import random
from collections.abc import Mapping, Sequence
from typing import Any

from search.front.archive import FrontArchive
from search.samplers.optuna_sampler import OptunaSampler
from search.samplers.prefixes import Kept, is_operating
from search.study.feedback import is_measured
from search.study.space import RandomSuggest
from search.study.study import Study
from search.study.units import COUNT, PER_BLOCK
from search.trial.rejected import SamplerState
from search.trial.trial import FrontPoint, Params, Trial
from search.worker.job import run_config
from snn.settings.config import ConfigError, RunConfig
from snn.settings.prefix import shared_blocks

ROOTS = 8  # networks of the fewest units before any is extended
ROOT_SHARE = 0.1  # of the grown trials afterwards
DRAWS = 20  # of values of a new block, before another prefix is extended
GROWN = "grown"  # part of a sampler state: the trial that is extended, or -1 for a root


def make_sampler(
    study: Study,
    history: Sequence[Trial],
    *,
    prior: Sequence[Trial],
    shared: Mapping[int, Sequence[Trial]],
) -> "GrowSampler":
    """See `search.samplers.sampler.make_sampler`."""
    return GrowSampler(study, history, prior, shared)


class GrowSampler:
    """See `search.samplers.sampler.Sampler`."""

    def __init__(
        self,
        study: Study,
        history: Sequence[Trial],
        prior: Sequence[Trial],
        shared: Mapping[int, Sequence[Trial]],
    ) -> None:
        self._study = study
        self._other = OptunaSampler(study, history, prior, shared)
        axes: Any = study.space.axes
        self._step: int = axes[PER_BLOCK].value  # units in each block
        self._counts: tuple[int, ...] = tuple(axes[COUNT].values)
        self._least = min(self._counts)
        self._bases: dict[int, int] = {}  # the extended trial, by that which extends it
        self._trials: dict[int, Trial] = {}  # on the front of their depth, by number
        self._fronts: dict[int, FrontArchive[FrontPoint]] = {}  # by depth
        self._roots = 0
        for trial in sorted(history, key=lambda trial: trial.number):
            base = trial.sampler_state.get(GROWN)
            if isinstance(base, int):
                self._bases[trial.number] = base
            self._add(trial)

    def ask(self, number: int, attempt: int = 0) -> tuple[Params, SamplerState]:
        """Raises ValueError for a number that was asked before."""
        params, state = self._other.ask(number, attempt)
        self._bases.pop(number, None)
        draws = random.Random(f"grow {self._study.search.seed} {number} {attempt}")
        if draws.random() >= self._study.search.grow_share:
            return params, state
        found = self._grown(draws)
        if found is None:
            return params, state
        base, params = found
        self._bases[number] = base
        return params, {**self._other.replace(number, params, state), GROWN: base}

    def replace(self, number: int, params: Params, state: SamplerState) -> SamplerState:
        """Raises KeyError for a trial that is not running."""
        self._bases.pop(number, None)
        kept = {part: notes for part, notes in state.items() if part != GROWN}
        return self._other.replace(number, params, kept)

    def reject(self, number: int, violation: float) -> None:
        """Raises KeyError for a trial that is not running."""
        self._bases.pop(number, None)
        self._other.reject(number, violation)

    def tell(self, trial: Trial, shared: Sequence[Trial] = ()) -> None:
        """Raises ValueError for a trial that is not finished, or was told before."""
        self._other.tell(trial, shared)
        self._add(trial)

    def _add(self, trial: Trial) -> None:
        if not trial.state.is_finished or not is_measured(self._study, trial):
            return
        assert trial.sampled is not None
        depth = run_config(self._study, trial.params).exits
        self._roots += trial.params[COUNT] == self._least
        point = FrontPoint(
            trial=trial.number, params=trial.params, point=trial.sampled, on_front=True
        )
        if depth not in self._fronts:
            study = self._study
            self._fronts[depth] = FrontArchive(study.objectives, study.constraints)
        change = self._fronts[depth].add([point])
        if change:
            self._trials[trial.number] = trial
        for left in change.left:
            self._trials.pop(left.trial, None)

    def _grown(self, draws: random.Random) -> tuple[int, Params] | None:
        """Return the trial to extend, or -1, and the configuration; None if there is none."""
        suggest = RandomSuggest(draws.randrange(2**32))
        if self._roots < ROOTS or draws.random() < ROOT_SHARE:
            return -1, self._study.space.sample(Kept({COUNT: self._least}, suggest))
        counts = list(self._bases.values())
        order = sorted(self._trials)
        draws.shuffle(order)
        for number in sorted(order, key=counts.count):
            params = self._extended(self._trials[number], suggest)
            if params is not None:
                return number, params
        return None

    def _extended(self, base: Trial, suggest: RandomSuggest) -> Params | None:
        """Return the configuration of `base` with one more block; None if there is none."""
        before = run_config(self._study, base.params)
        kept = {name: v for name, v in base.params.items() if not is_operating(name)}
        kept[COUNT] = int(base.params[COUNT]) + self._step
        if kept[COUNT] not in self._counts:
            return None
        for _ in range(DRAWS):
            params = self._study.space.sample(Kept(kept, suggest))
            try:
                config = run_config(self._study, params)
            except ConfigError:
                continue
            assert isinstance(config, RunConfig)
            assert isinstance(before, RunConfig)
            if config.exits > before.exits == shared_blocks(before, config):
                return params
        return None
