"""Our own search on a replay: the code that runs studies, with parts that can be switched off."""

import dataclasses
from typing import Any

from benchmarks.search.record import Record
from benchmarks.search.replay import Ended, Epoch
from search.proposals import Proposal, Proposals
from search.stopping import RungReport, Rungs, StoppingRule
from search.study import Study
from search.trial import Params, Trial, TrialState


class Ours:
    """Proposals of `search.proposals`, stopped by `search.stopping`.

    `search` are keys of the study's [search] table, as a person would set them.
    """

    def __init__(
        self,
        record: Record,
        seed: int,
        *,
        stops: bool = True,
        judged: str = "family",
        reuses_blocks: bool = True,
        reduction: float | None = None,
        smallest: float | None = None,
        **search: Any,
    ) -> None:
        self.reuses_blocks = reuses_blocks
        settings = dataclasses.replace(
            record.study.search, seed=seed, reuse_blocks=reuses_blocks, **search
        )
        self._study: Study = dataclasses.replace(record.study, search=settings)
        self._proposals = Proposals(self._study, [])
        self._running: dict[int, Proposal] = {}
        self._reached = 0  # rung of the running trial
        self._rungs: Rungs | None = None
        if stops:
            given = {"reduction": reduction, "smallest": smallest}
            rule = StoppingRule(
                objectives=self._study.objectives,
                constraints=self._study.constraints,
                judged="family" if judged == "family" else "sampled",
                **{name: value for name, value in given.items() if value is not None},
            )
            self._rungs = Rungs(rule)

    def ask(self, number: int) -> Params | None:
        """See Strategy."""
        proposal = self._proposals.propose(number)
        if proposal is None:
            return None
        self._running[number] = proposal
        self._reached = 0
        return proposal.params

    def stops(self, number: int, epoch: Epoch) -> bool:
        """As in a study: judged once at each rung, and a reused block when it ends."""
        if self._rungs is None or (epoch.is_reused and not epoch.ends_block):
            return False
        rule = self._rungs.rule
        rung = rule.rung(epoch.done, epoch.total)
        if rung <= self._reached:
            return False
        self._reached = rung
        report = RungReport(
            rung=rung,
            epochs_done=epoch.done,
            epochs_total=epoch.total,
            points=rule.points([epoch.sampled, *epoch.family]),
        )
        return self._rungs.judge(number, report).stops

    def tell(self, number: int, ended: Ended) -> None:
        """See Strategy."""
        proposal = self._running.pop(number)
        last = ended.last if ended.is_complete else None
        trial = Trial(
            number=number,
            params=proposal.params,
            state=TrialState.COMPLETE if last else TrialState.PRUNED,
            config=proposal.config,
            sampled=last.sampled if last else None,
            epochs_done=ended.trained,
            epochs_reused=ended.reused,
            sampler_state=proposal.sampler_state,
        )
        self._proposals.tell(trial, last.on_grid if last else ())
