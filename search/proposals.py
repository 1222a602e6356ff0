"""Proposals: points of the space as runs, none of which was run before."""

import dataclasses
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from search.configure import run_config
from search.space import RandomSuggest
from search.study import Study
from search.trial import Params, Trial
from snn.config import ConfigError, RunConfig

ATTEMPTS = 20  # of the sampler, to find a run that is new
DRAWS = 2_000  # at random behind them, before a space counts as exhausted


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """A point to be tried: the run that it is, or why it is none."""

    params: Params
    sampler_state: Mapping[str, object]
    config: RunConfig | None
    fault: str = ""


class Proposals:
    """Asks the sampler until it proposes a run that is new to the study.

    What a proposal depends on is all in the store, so that a study that was
    interrupted gets the same ones. `seconds` were spent in here.
    """

    def __init__(self, study: Study, history: Sequence[Trial]) -> None:
        begun = time.perf_counter()
        from search.sampler import make_sampler

        self._study = study
        self._sampler = make_sampler(study, history)
        self._tried = {trial.config.fingerprint for trial in history if trial.config}
        self.seconds = time.perf_counter() - begun

    def propose(self, number: int) -> Proposal | None:
        """What trial `number` should try; None when the space has nothing new."""
        begun = time.perf_counter()
        found = next(self._new(number), None)
        if found is not None and found.config is not None:
            self._tried.add(found.config.fingerprint)
        self.seconds += time.perf_counter() - begun
        return found

    def tell(self, trial: Trial) -> None:
        """What came of a trial."""
        begun = time.perf_counter()
        self._sampler.tell(trial)
        self.seconds += time.perf_counter() - begun

    def exhausted(self) -> str:
        """That there is nothing new, as a sentence."""
        return (
            f"the space is exhausted: {len(self._tried)} different runs were tried, "
            "and there seems to be no other"
        )

    def _new(self, number: int) -> Iterator[Proposal]:
        """Proposals for a trial that are no duplicates, those of the sampler first."""
        for attempt in range(ATTEMPTS):
            params, state = self._sampler.ask(number, attempt)
            proposal = self._proposal(params, state)
            if proposal.config is None or self._is_new(proposal.config):
                yield proposal
        # A model that is sure of its best points does not get round to the last ones.
        suggest = RandomSuggest(hash((self._study.search.seed, number)))
        for _ in range(DRAWS):
            proposal = self._proposal(self._study.space.sample(suggest), state)
            if proposal.config is not None and self._is_new(proposal.config):
                kept = self._sampler.replace(number, proposal.params, state)
                yield dataclasses.replace(proposal, sampler_state=kept)

    def _proposal(self, params: Params, state: Mapping[str, object]) -> Proposal:
        try:
            config = run_config(self._study, params)
        except ConfigError as error:
            fault = "no valid run: " + "; ".join(str(fault) for fault in error.faults)
            return Proposal(params=params, sampler_state=state, config=None, fault=fault)
        return Proposal(params=params, sampler_state=state, config=config)

    def _is_new(self, config: RunConfig) -> bool:
        return config.fingerprint not in self._tried
