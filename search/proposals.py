"""Proposals: points of the space as runs, none of which was run before."""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from search.configure import run_config
from search.feasibility import Feasibility, Infeasible
from search.first_points import first_points
from search.passed import SamplerState, passed_over
from search.space import RandomSuggest
from search.study import Study
from search.trial import Params, Trial
from snn.config import ConfigError, RunConfig

if TYPE_CHECKING:
    from search.sampler import Sampler

ATTEMPTS = 20  # of the sampler, to find a run that is new
PASSED = 50  # points at most that one trial passes over, each told to the sampler
DRAWS = 2_000  # at random behind them, before a space counts as exhausted
LOOKS = 50  # at networks for their size among those
POINTS = "points"  # the part of a trial's sampler state that says how many first points are used up


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """A point to be tried, and the run that it is."""

    params: Params
    sampler_state: SamplerState
    config: RunConfig


class Proposals:
    """Asks the sampler until it proposes a run that is new to the study and can be feasible.

    The first points of the study come before all others. Points that are no
    run, or known to be outside of the constraints before they are trained, are
    told to the sampler as infeasible at once; they are no trials, but kept in
    the sampler state of the trial that was found behind them. What a proposal
    depends on is all in the store, so that a study that was interrupted gets
    the same ones. `seconds` were spent in here.
    """

    def __init__(
        self, study: Study, history: Sequence[Trial], lessons: Sequence[Trial] = ()
    ) -> None:
        begun = time.perf_counter()
        from search.sampler import make_sampler

        self._study = study
        self._feasibility = Feasibility(study.constraints)
        self._points = first_points(study.run, study.space, study.search.points, study.search.seed)
        self._tried = {trial.config.fingerprint for trial in history if trial.config}
        self._used = self._noted = max((_used(trial) for trial in history), default=0)
        self._passed = {_key(p.params) for trial in history for _, p in passed_over(trial)}
        self._passed_here: list[str] = []  # for the newest trial: points, and why not
        self._reasons: list[str] = []  # why not, also for those that nobody was told of
        self._sampler = make_sampler(study, history, lessons=lessons)
        self.seconds = time.perf_counter() - begun

    def propose(self, number: int) -> Proposal | None:
        """What trial `number` should try; None when the space has nothing new."""
        begun = time.perf_counter()
        self._passed_here, self._reasons = [], []
        found = self._found(_Asking(self._sampler, number))
        if found is not None:
            self._tried.add(found.config.fingerprint)
        self.seconds += time.perf_counter() - begun
        return found

    def tell(self, trial: Trial) -> None:
        """What came of a trial."""
        begun = time.perf_counter()
        self._sampler.tell(trial)
        self.seconds += time.perf_counter() - begun

    @property
    def passed(self) -> tuple[str, ...]:
        """The points that the newest proposal, or the lack of one, passed over, and why."""
        return tuple(self._passed_here)

    def exhausted(self) -> str:
        """That there is nothing new, as a sentence."""
        if self._reasons:
            reason = max(set(self._reasons), key=self._reasons.count)
            tried = f" beside the {len(self._tried)} tried" if self._tried else ""
            return (
                f"no point is left that can run within the constraints{tried}: "
                f"{len(self._reasons)} were looked at in the end, most often {reason}"
            )
        return (
            f"the space is exhausted: {len(self._tried)} different runs were tried, "
            "and there seems to be no other"
        )

    def _found(self, asking: "_Asking") -> Proposal | None:
        while self._used < len(self._points):
            params = self._points[self._used]
            self._used += 1
            if found := self._judged(asking, params, asking.put(params)):
                return found
        return self._of_the_sampler(asking) or self._at_random(asking)

    def _of_the_sampler(self, asking: "_Asking") -> Proposal | None:
        known = 0
        while known < ATTEMPTS and asking.ruled_out < PASSED:
            ruled_out = asking.ruled_out
            if found := self._judged(asking, *asking.draw()):
                return found
            known += asking.ruled_out == ruled_out
        return None

    def _at_random(self, asking: "_Asking") -> Proposal | None:
        """A model that is sure of its best points does not get round to the last ones."""
        suggest = RandomSuggest(hash((self._study.search.seed, asking.number)))
        looked = self._feasibility.looked
        for _ in range(DRAWS):
            if self._feasibility.looked - looked >= LOOKS:
                break
            params = self._study.space.sample(suggest)
            config = self._config(params)
            if isinstance(config, Infeasible) or config.fingerprint in self._tried:
                continue
            if infeasible := self._feasibility.check(config):
                self._reasons.append(infeasible.reason)
                continue
            return self._proposal(params, asking.put(params), config)
        return None

    def _judged(self, asking: "_Asking", params: Params, state: SamplerState) -> Proposal | None:
        """The point as a proposal; None where it is known already, or is ruled out here."""
        config = self._config(params)
        if isinstance(config, Infeasible):
            infeasible: Infeasible | None = config
        elif config.fingerprint in self._tried:
            return None
        else:
            infeasible = self._feasibility.check(config)
            if infeasible is None:
                return self._proposal(params, state, config)
        assert infeasible is not None
        if _key(params) not in self._passed:
            self._passed.add(_key(params))
            values = ", ".join(f"{name}={value}" for name, value in params.items())
            self._reasons.append(infeasible.reason)
            self._passed_here.append(f"{infeasible.reason} ({values})")
            asking.rule_out(infeasible.violation)
        return None

    def _config(self, params: Params) -> RunConfig | Infeasible:
        try:
            return run_config(self._study, params)
        except ConfigError as error:
            reason = "no valid run: " + "; ".join(str(fault) for fault in error.faults)
            return Infeasible(violation=1.0, reason=reason)

    def _proposal(self, params: Params, state: SamplerState, config: RunConfig) -> Proposal:
        if self._used > self._noted:
            self._noted = self._used
            state = {**state, POINTS: self._used}
        return Proposal(params=params, sampler_state=state, config=config)


class _Asking:
    """The sampler's answers for one trial, of which the last one counts."""

    def __init__(self, sampler: "Sampler", number: int) -> None:
        self.number, self.ruled_out = number, 0
        self._sampler = sampler
        self._attempts = 0

    def draw(self) -> tuple[Params, SamplerState]:
        """Another point of the sampler's."""
        self._attempts += 1
        return self._sampler.ask(self.number, self._attempts - 1)

    def put(self, params: Params) -> SamplerState:
        """A point in the place of one of the sampler's."""
        _, state = self.draw()
        return self._sampler.replace(self.number, params, state)

    def rule_out(self, violation: float) -> None:
        """The last point is not tried."""
        self.ruled_out += 1
        self._sampler.rule_out(self.number, violation)


def _used(trial: Trial) -> int:
    """How many of the first points were used up when the trial was found; 0 if it says nothing."""
    used = trial.sampler_state.get(POINTS, 0)
    assert isinstance(used, int)
    return used


def _key(params: Params) -> str:
    return json.dumps(dict(params), sort_keys=True)
