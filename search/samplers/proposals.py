"""Proposals: feasible configurations whose run is new to the study."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from search.samplers.prefixes import Prefixes
from search.samplers.priors import Priors
from search.samplers.shared_points import shared_points
from search.study.initial_points import initial_points
from search.study.methods import FAMILIES
from search.study.repeats import REPEAT_OF, as_points, first_of, together
from search.study.space import RandomSuggest
from search.study.study import Study
from search.trial.function_config import Config
from search.trial.rejected import SamplerState, rejected_of
from search.trial.rung import RungReport
from search.trial.trial import Params, Trial, TrialState
from search.worker.feasibility import Feasibility, Infeasible, size_of
from snn.settings.config import ConfigError, RunConfig
from snn.settings.measurement import OperatingPoint

if TYPE_CHECKING:
    from search.samplers.sampler import Sampler

ATTEMPTS = 1  # proposals of the sampler that may repeat a run before a random one is taken
MOST_REJECTED = 50  # infeasible proposals for one trial, each told to the sampler
DRAWS = 2_000  # random configurations after these, before a space counts as exhausted
MOST_SIZES = 50  # infeasible networks of different sizes among the random ones
INITIAL = "points"  # part of a sampler state: how many initial points were used up


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """A configuration to be tried, and its run config."""

    params: Params
    sampler_state: SamplerState
    config: Config


class Proposals:
    """Asks the sampler until it proposes a run that is new to the study and can be feasible.

    The study's initial points come first. Configurations that are invalid, or violate a
    constraint that is known before training, are reported to the sampler as infeasible
    at once; they are no trials, but are stored in the sampler state of the trial for
    which they were proposed. A proposal depends only on what is in the store, so that an
    interrupted study continues with the same ones. `seconds` is the time spent here.
    """

    def __init__(
        self,
        study: Study,
        history: Sequence[Trial],
        prior: Sequence[Trial] = (),
        shared: Mapping[int, Sequence[OperatingPoint]] | None = None,
    ) -> None:
        """`shared` are the operating points of finished trials, if the study tells them."""
        begun = time.perf_counter()
        from search.samplers.sampler import make_sampler

        self._study = study
        self._repeats = study.search.repeats
        self._feasibility = Feasibility(study.constraints)
        self._points = initial_points(
            study.run, study.space, study.search.initial_points, study.search.seed
        )
        points = as_points(history, self._repeats) if self._repeats > 1 else history
        self._firsts = {t.number: t for t in points if t.config}  # first repeats, by number
        self._ended: dict[int, list[Trial]] = {}  # finished repeats where others are missing
        self._restore_repeats(history)
        self._priors = Priors(study)
        self._prefixes = Prefixes(study)
        for trial in points:
            self._prefixes.add(trial)
        self._tried = {trial.config.fingerprint for trial in history if trial.config}
        self._trained = {trial.config.training_fingerprint for trial in history if trial.config}
        self._used = self._noted = max((_used(trial) for trial in history), default=0)
        self._rejected = {_key(p.params) for trial in history for _, p in rejected_of(trial)}
        self._rejections: list[str] = []  # for the newest trial: reasons and configurations
        self._reasons: list[str] = []  # of all rejections, also of those not told to the sampler
        known = shared or {}
        told = {t.number: self._shared(t, known[t.number]) for t in history if t.number in known}
        self._sampler = make_sampler(study, points, prior=prior, shared=told, families=known)
        self.seconds = time.perf_counter() - begun

    def propose(self, number: int) -> Proposal | None:
        """Return the proposal for trial `number`; None if the space has nothing new."""
        begun = time.perf_counter()
        self._rejections, self._reasons = [], []
        found: Proposal | None
        if number % self._repeats:
            found = self._repeated(number)
        else:
            found = self._found(_Questions(self._sampler, number))
        if found is not None:
            self._tried.add(found.config.fingerprint)
            self._trained.add(found.config.training_fingerprint)
        self.seconds += time.perf_counter() - begun
        return found

    def tell(self, trial: Trial, points: Sequence[OperatingPoint] = ()) -> None:
        """Learn the result of a trial with the operating points of its network."""
        begun = time.perf_counter()
        if self._repeats > 1:
            self._tell_repeat(trial)
        else:
            self._prefixes.add(trial)
            shared = self._shared(trial, points)
            if self._study.search.sampler in FAMILIES:
                self._sampler.tell(trial, shared, points)
            else:  # a sampler from outside need not take them
                self._sampler.tell(trial, shared)
        self.seconds += time.perf_counter() - begun

    def hear(self, number: int, report: RungReport) -> None:
        """Learn what a trial measured at a rung, before it is told."""
        from search.samplers.sampler import Listener

        if self._repeats == 1 and isinstance(self._sampler, Listener):
            begun = time.perf_counter()
            self._sampler.hear(number, report)
            self.seconds += time.perf_counter() - begun

    def _shared(self, trial: Trial, points: Sequence[OperatingPoint]) -> list[Trial]:
        if not self._study.search.share_operating_points:
            return []
        return shared_points(self._study, trial, points)

    def _restore_repeats(self, history: Sequence[Trial]) -> None:
        """Collect the finished repeats of configurations of which others are missing."""
        if self._repeats == 1:
            self._firsts.clear()
            return
        for trial in history:
            if trial.state.is_finished:
                first = first_of(trial.number, self._repeats)
                self._ended.setdefault(first, []).append(trial)
        for first in [n for n, ended in self._ended.items() if len(ended) == self._repeats]:
            del self._ended[first]

    def _repeated(self, number: int) -> Proposal:
        """Return the configuration of the trial before with the next seed."""
        place = number % self._repeats
        first = self._firsts[number - place]
        assert first.config is not None
        return Proposal(
            params=first.params,
            sampler_state={REPEAT_OF: first.number},
            config=first.config.replace(seed=first.config.seed + place),
        )

    def _tell_repeat(self, trial: Trial) -> None:
        first = first_of(trial.number, self._repeats)
        ended = self._ended.setdefault(first, [])
        ended.append(trial)
        if len(ended) == self._repeats:
            point = together(self._ended.pop(first))
            self._prefixes.add(point)
            self._sampler.tell(point)

    @property
    def rejected(self) -> tuple[str, ...]:
        """Reasons and configurations that were rejected before the newest proposal."""
        return tuple(self._rejections)

    def exhausted(self) -> str:
        """Return a sentence that says why there is no proposal."""
        if self._reasons:
            reason = max(set(self._reasons), key=self._reasons.count)
            return (
                f"no further feasible configuration found: the last {len(self._reasons)} "
                f"candidates were rejected, mostly because {reason}. "
                "Loosen [constraints] or widen [space]"
            )
        return (
            f"the space is exhausted: {len(self._tried)} different runs were tried, "
            "and no other was found"
        )

    def _found(self, asking: "_Questions") -> Proposal | None:
        while self._used < len(self._points):
            params = self._points[self._used]
            self._used += 1
            if found := self._checked(asking, params, asking.put(params)):
                return found
        if self._priors.decide(asking.number // self._repeats):
            drawn, state = asking.draw()
            params = self._priors.proposal(asking.number, drawn)
            if found := self._checked(asking, params, asking.replace(params, state)):
                return found
        extended = self._prefixes.proposal(asking.number, self._is_untrained)
        if extended is not None and (
            found := self._checked(asking, extended, asking.put(extended))
        ):
            return found
        return self._of_the_sampler(asking) or self._at_random(asking)

    def _is_untrained(self, config: RunConfig) -> bool:
        return config.training_fingerprint not in self._trained

    def _of_the_sampler(self, asking: "_Questions") -> Proposal | None:
        known = 0
        while known < ATTEMPTS and asking.rejected < MOST_REJECTED:
            rejected = asking.rejected
            if found := self._checked(asking, *asking.draw()):
                return found
            known += asking.rejected == rejected
        return None

    def _at_random(self, asking: "_Questions") -> Proposal | None:
        """Draw at random: a sampler that is sure of its best configurations repeats them."""
        suggest = RandomSuggest(hash((self._study.search.seed, asking.number)))
        # Sizes of infeasible networks. Only those of this call, so that a restart finds the same.
        refused: set[tuple[object, ...]] = set()
        for _ in range(DRAWS):
            params = self._study.space.sample(suggest)
            config = self._config(params)
            if isinstance(config, Infeasible) or config.fingerprint in self._tried:
                continue
            size = size_of(config)
            if size in refused:
                continue
            if infeasible := self._feasibility.check(config):
                self._reasons.append(infeasible.reason)
                refused.add(size)
                if len(refused) == MOST_SIZES:
                    break
                continue
            return self._proposal(asking.number, params, asking.put(params), config)
        return None

    def _checked(
        self, asking: "_Questions", params: Params, state: SamplerState
    ) -> Proposal | None:
        """Return the configuration as a proposal; None if its run is known or it is infeasible."""
        config = self._config(params)
        if isinstance(config, Infeasible):
            infeasible: Infeasible | None = config
        elif config.fingerprint in self._tried:
            return None
        else:
            infeasible = self._feasibility.check(config)
            if infeasible is None:
                return self._proposal(asking.number, params, state, config)
        assert infeasible is not None
        if _key(params) not in self._rejected:
            self._rejected.add(_key(params))
            values = ", ".join(f"{name}={value}" for name, value in params.items())
            self._reasons.append(infeasible.reason)
            self._rejections.append(f"{infeasible.reason} ({values})")
            asking.reject(infeasible.violation)
        return None

    def _config(self, params: Params) -> Config | Infeasible:
        try:
            return self._study.config(params)
        except ConfigError as error:
            reason = "the run is invalid: " + "; ".join(str(fault) for fault in error.faults)
            return Infeasible(violation=1.0, reason=reason)

    def _proposal(
        self, number: int, params: Params, state: SamplerState, config: Config
    ) -> Proposal:
        if self._used > self._noted:
            self._noted = self._used
            state = {**state, INITIAL: self._used}
        found = Proposal(params=params, sampler_state=state, config=config)
        if self._repeats > 1:
            self._firsts[number] = Trial(
                number=number, params=params, state=TrialState.RUNNING, config=config
            )
        return found


class _Questions:
    """Questions to the sampler about one trial; the last answer counts."""

    def __init__(self, sampler: "Sampler", number: int) -> None:
        self.number, self.rejected = number, 0
        self._sampler = sampler
        self._attempts = 0

    def draw(self) -> tuple[Params, SamplerState]:
        """Return another proposal of the sampler."""
        self._attempts += 1
        return self._sampler.ask(self.number, self._attempts - 1)

    def put(self, params: Params) -> SamplerState:
        """Replace a proposal of the sampler by `params`."""
        return self.replace(params, self.draw()[1])

    def replace(self, params: Params, state: SamplerState) -> SamplerState:
        """Replace the proposal that came with `state` by `params`."""
        return self._sampler.replace(self.number, params, state)

    def reject(self, violation: float) -> None:
        """Reject the last proposal."""
        self.rejected += 1
        self._sampler.reject(self.number, violation)


def _used(trial: Trial) -> int:
    """Return how many initial points were used up when the trial was found."""
    used = trial.sampler_state.get(INITIAL, 0)
    assert isinstance(used, int)
    return used


def _key(params: Params) -> str:
    return json.dumps(dict(params), sort_keys=True)
