"""The contract of pruners, which stop trials early; which pruner a study has.

A new pruner is a module here with a function `make_pruner(rule)`, and a line in `PRUNERS` of
`search/study/methods.py`. A pruner gets what was measured at a rung and returns
decisions: it does not train, store or draw random numbers.
"""

import importlib
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from search.pruners.rungs import StoppingRule, rule_of
from search.study.methods import PRUNERS
from search.study.study import Study
from search.trial.rung import RungReport

RECORDS = 1_000  # newest reports of each rung that a pruner is given when a study continues


@dataclass(frozen=True, kw_only=True)
class Decision:
    """Whether a trial is stopped at a rung."""

    stops: bool
    reason: str = ""  # of a stop, one line
    is_recorded: bool = True  # whether later trials are compared with the report


@runtime_checkable
class Pruner(Protocol):
    """Decides at each rung whether a trial continues."""

    rule: StoppingRule

    def restore(self, trial: int, report: RungReport) -> None:
        """Take a report that was stored before, the oldest first."""
        ...

    def judge(self, trial: int, report: RungReport) -> Decision:
        """Decide on a trial that has reached a rung."""
        ...


def pruner_of(study: Study) -> Pruner | None:
    """Return the pruner that a study names; None without early stopping."""
    rule = rule_of(study)
    if rule is None:
        return None
    pruner: Pruner = importlib.import_module(PRUNERS[study.search.stopping]).make_pruner(rule)
    return pruner
