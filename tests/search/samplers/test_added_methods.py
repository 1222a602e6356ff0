"""A sampler and a pruner from outside: a module and one line for each."""

import dataclasses
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType

import pytest

from search.pruners.pruner import Decision, Pruner, pruner_of
from search.pruners.rungs import StoppingRule
from search.runners import local
from search.runners.driver import StudyDriver
from search.samplers.sampler import Sampler
from search.store.store import Store
from search.study import methods
from search.study.study import StudyError, study_from_toml
from search.study.tables import SEARCH_SETTINGS
from search.trial.rejected import SamplerState
from search.trial.rung import RungReport
from search.trial.trial import Params, Trial, TrialState
from search.worker.context import WorkerContext
from tests.search.fake_engine import FakeEngine

STUDY = """
name = "added"
objectives = ["accuracy", "synaptic_ops"]
[budget]
trials = 3
workers = 0
[run]
dataset = "digits"
epochs = 9
[space]
width = { low = 8, high = 64 }
[search]
sampler = "ascending"
stopping = "all"
"""


class Ascending:
    """Proposes 8, 9, 10, ...: a sampler."""

    def ask(self, number: int, attempt: int = 0) -> tuple[Params, SamplerState]:
        return {"width": 8 + number}, {}

    def replace(self, number: int, params: Params, state: SamplerState) -> SamplerState:
        return state

    def reject(self, number: int, violation: float) -> None:
        pass

    def tell(self, trial: Trial, shared: Sequence[Trial] = ()) -> None:
        pass


class StopAll:
    """Stops every trial at its first rung: a pruner."""

    def __init__(self, rule: StoppingRule) -> None:
        self.rule = rule

    def restore(self, trial: int, report: RungReport) -> None:
        pass

    def judge(self, trial: int, report: RungReport) -> Decision:
        return Decision(stops=True, reason="stopped: all are")


def module(name: str, **members: object) -> ModuleType:
    made = ModuleType(name)
    vars(made).update(members)
    return made


@pytest.fixture
def added(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The two modules, and their lines in `search/study/methods.py`."""
    with monkeypatch.context() as patch:
        ascending = module("ascending", make_sampler=lambda *args, **others: Ascending())
        patch.setitem(sys.modules, "tests.ascending", ascending)
        patch.setitem(sys.modules, "tests.stop_all", module("stop_all", make_pruner=StopAll))
        patch.setitem(methods.SAMPLERS, "ascending", "tests.ascending")
        patch.setitem(methods.PRUNERS, "all", "tests.stop_all")
        for key, name in (("sampler", "ascending"), ("stopping", "all")):
            known = SEARCH_SETTINGS[key]
            setting = dataclasses.replace(known, choices=(*known.choices, name))
            patch.setitem(SEARCH_SETTINGS, key, setting)
        yield


@pytest.mark.usefixtures("added")
def test_a_study_runs_with_a_sampler_and_a_pruner_from_outside(tmp_path: Path) -> None:
    study = study_from_toml(STUDY)
    pruner = pruner_of(study)
    assert isinstance(pruner, Pruner)
    assert isinstance(Ascending(), Sampler)
    context = WorkerContext(data_dir=tmp_path, trainable=FakeEngine(), stopping=pruner.rule)
    with Store(f"sqlite:///{tmp_path}/store.db") as store:
        with StudyDriver(study, store=store, artifacts=tmp_path) as driver:
            local.run(driver, context)
        trials = store.trials("added")
    assert [trial.params["width"] for trial in trials] == [8, 9, 10]
    assert {trial.state for trial in trials} == {TrialState.PRUNED}
    assert {trial.reason for trial in trials} == {"stopped: all are"}


def test_without_their_lines_they_are_unknown() -> None:
    with pytest.raises(StudyError, match=r"search\.sampler must be one of tpe, nsga2"):
        study_from_toml(STUDY)
