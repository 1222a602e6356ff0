"""Our own search on a replay: the code that runs studies, with parts that can be switched off."""

import dataclasses
from typing import Any, Literal

from benchmarks.search.problem import Problem
from benchmarks.search.replay import Ended, Epoch
from search.pruners.moasha import Moasha
from search.pruners.rungs import rule_of
from search.samplers.proposals import Proposal, Proposals
from search.trial.rung import RungReport
from search.trial.trial import Params, Trial, TrialState


class Ours:
    """Proposals of `search.samplers.proposals`, stopped by `search.pruners.moasha`.

    All but `judged` are keys of the study's [search] table, as a person would set them.
    """

    def __init__(
        self,
        record: Problem,
        seed: int,
        *,
        stopping: str = "moasha",
        judged: Literal["family", "sampled"] = "family",
        reuse_blocks: bool = True,
        **search: Any,
    ) -> None:
        self.reuses_blocks = reuse_blocks
        settings = dataclasses.replace(
            record.study.search, seed=seed, stopping=stopping, reuse_blocks=reuse_blocks, **search
        )
        study = record.study.with_search(settings)
        self._hears_grid = study.search.share_operating_points
        self._proposals = Proposals(study, [])
        self._running: dict[int, Proposal] = {}
        self._reached = 0  # rung of the running trial
        rule = rule_of(study)
        self._rungs = None if rule is None else Moasha(dataclasses.replace(rule, judged=judged))

    def ask(self, number: int) -> Params | None:
        """See Strategy."""
        proposal = self._proposals.propose(number)
        if proposal is None:
            return None
        self._running[number] = proposal
        self._reached = 0
        return proposal.params

    def stops(self, number: int, epoch: Epoch) -> bool:
        """Return whether the trial stops: as in a study, once at each rung or reused block."""
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
        self._proposals.hear(number, report)
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
        # the grid of many exits is large; samplers of families want what the front gets
        points = (last.on_grid if self._hears_grid else last.family) if last else ()
        self._proposals.tell(trial, points)
