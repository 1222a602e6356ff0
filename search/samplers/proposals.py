"""Proposals: points of the space as runs, none of which was run before."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from search.samplers.prefixes import Prefixes
from search.samplers.shared_points import members
from search.study.initial_points import initial_points
from search.study.repeats import REPEAT_OF, as_points, first_of, together
from search.study.space import RandomSuggest
from search.study.study import Study
from search.trial.rejected import SamplerState, rejection
from search.trial.trial import Params, Trial, TrialState
from search.worker.feasibility import Feasibility, Infeasible, size_of
from search.worker.job import run_config
from snn.settings.config import ConfigError, RunConfig
from snn.settings.measurement import OperatingPoint

if TYPE_CHECKING:
    from search.samplers.sampler import Sampler

ATTEMPTS = 1  # of the sampler to find a run that is new; one that repeats itself explores no more
PASSED = 50  # points at most that one trial passes over, each told to the sampler
DRAWS = 2_000  # at random behind them, before a space counts as exhausted
LOOKS = 50  # at networks of different sizes among those
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
        self,
        study: Study,
        history: Sequence[Trial],
        lessons: Sequence[Trial] = (),
        families: Mapping[int, Sequence[OperatingPoint]] | None = None,
    ) -> None:
        """`families` are the operating points of finished trials, for a study that asks for it."""
        begun = time.perf_counter()
        from search.samplers.sampler import make_sampler

        self._study = study
        self._repeats = study.search.repeats
        self._feasibility = Feasibility(study.constraints)
        self._points = initial_points(
            study.run, study.space, study.search.initial_points, study.search.seed
        )
        points = as_points(history, self._repeats) if self._repeats > 1 else history
        self._firsts = {t.number: t for t in points if t.config}  # by number, if repeated
        self._ended: dict[int, list[Trial]] = {}  # repeats of points that are not whole
        self._take_up(history)
        self._prefixes = Prefixes(study)
        for trial in points:
            self._prefixes.learn(trial)
        self._tried = {trial.config.fingerprint for trial in history if trial.config}
        self._trained = {trial.config.training_fingerprint for trial in history if trial.config}
        self._used = self._noted = max((_used(trial) for trial in history), default=0)
        self._passed = {_key(p.params) for trial in history for _, p in rejection(trial)}
        self._passed_here: list[str] = []  # for the newest trial: points, and why not
        self._reasons: list[str] = []  # why not, also for those that nobody was told of
        known = families or {}
        told = {t.number: self._family(t, known[t.number]) for t in history if t.number in known}
        self._sampler = make_sampler(study, points, lessons=lessons, families=told)
        self.seconds = time.perf_counter() - begun

    def propose(self, number: int) -> Proposal | None:
        """What trial `number` should try; None when the space has nothing new."""
        begun = time.perf_counter()
        self._passed_here, self._reasons = [], []
        found: Proposal | None
        if number % self._repeats:
            found = self._repeated(number)
        else:
            found = self._found(_Asking(self._sampler, number))
        if found is not None:
            self._tried.add(found.config.fingerprint)
            self._trained.add(found.config.training_fingerprint)
        self.seconds += time.perf_counter() - begun
        return found

    def tell(self, trial: Trial, points: Sequence[OperatingPoint] = ()) -> None:
        """What came of a trial, with all operating points that its network has."""
        begun = time.perf_counter()
        if self._repeats > 1:
            self._tell_repeat(trial)
        else:
            self._prefixes.learn(trial)
            self._sampler.tell(trial, self._family(trial, points))
        self.seconds += time.perf_counter() - begun

    def _family(self, trial: Trial, points: Sequence[OperatingPoint]) -> list[Trial]:
        return (
            members(self._study, trial, points) if self._study.search.share_operating_points else []
        )

    def _take_up(self, history: Sequence[Trial]) -> None:
        """The repeats that ended of points that are not whole."""
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
        """The point of the trial before, with the next seed."""
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
            self._prefixes.learn(point)
            self._sampler.tell(point)

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
        extended = self._prefixes.proposal(asking.number, self._is_untrained)
        if extended is not None and (found := self._judged(asking, extended, asking.put(extended))):
            return found
        return self._of_the_sampler(asking) or self._at_random(asking)

    def _is_untrained(self, config: RunConfig) -> bool:
        return config.training_fingerprint not in self._trained

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
        refused: set[tuple[object, ...]] = (
            set()
        )  # sizes; counted here, for a restart knows no others
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
                if len(refused) == LOOKS:
                    break
                continue
            return self._proposal(asking.number, params, asking.put(params), config)
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
                return self._proposal(asking.number, params, state, config)
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

    def _proposal(
        self, number: int, params: Params, state: SamplerState, config: RunConfig
    ) -> Proposal:
        if self._used > self._noted:
            self._noted = self._used
            state = {**state, POINTS: self._used}
        found = Proposal(params=params, sampler_state=state, config=config)
        if self._repeats > 1:
            self._firsts[number] = Trial(
                number=number, params=params, state=TrialState.RUNNING, config=config
            )
        return found


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
