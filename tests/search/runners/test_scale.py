"""The work that a trial makes for the driver does not grow with the trials before it."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from search.runners.driver import StudyDriver
from search.store.store import Store
from search.study.study import study_from_toml
from search.trial.trial import Outcome
from search.worker.context import WorkerContext
from snn.settings.measurement import Measurement
from tests.search.fake_engine import FakeEngine

STUDY = """
name = "many"
objectives = {objectives}
[budget]
trials = 100
[run]
epochs = 1
[space]
width = {{ low = 1, high = 2000 }}
timesteps = {{ low = 1, high = 16 }}
[search]
sampler = "random"
"""
WINDOW = 20
INSTRUCTIONS = 100  # of SQLite's machine, between two counts


class Work(Counter[str]):
    """What a store's database is asked to do: statements, and instructions of SQLite's machine."""

    def watch(self, store: Store) -> None:
        engine = store._database._engine
        event.listen(engine, "checkout", self._checked_out)
        event.listen(engine, "before_cursor_execute", self._executed)

    def _checked_out(self, connection: Any, *_: object) -> None:
        connection.set_progress_handler(self._stepped, INSTRUCTIONS)

    def _stepped(self) -> int:
        self["instructions"] += INSTRUCTIONS
        return 0

    def _executed(self, *_: object) -> None:
        self["statements"] += 1


@pytest.mark.parametrize(
    "objectives",
    ['["accuracy", "synaptic_ops"]', '["accuracy", "synaptic_ops", "parameters", "model_bytes"]'],
    ids=["two", "four"],
)
def test_the_database_does_no_more_for_a_late_trial_than_for_an_early_one(
    tmp_path: Path, objectives: str
) -> None:
    study = study_from_toml(STUDY.format(objectives=objectives))
    place = WorkerContext(data_dir=tmp_path, trainable=FakeEngine())
    work, windows = Work(), []
    with Store(f"sqlite:///{tmp_path}/store.db") as store:
        work.watch(store)
        with StudyDriver(study, store=store, artifacts=tmp_path) as driver:
            while (job := driver.next()) is not None:
                for message in place.run(job):
                    if isinstance(message, Outcome):
                        driver.finish(job.number, message)
                    elif isinstance(message, Measurement):
                        driver.record(job.number, message)
                if (job.number + 1) % WINDOW == 0:
                    windows.append(dict(work))
                    work.clear()
    assert len(windows) == 5
    early, late = windows[1], windows[-1]  # in the first one the reference point settles
    assert early["instructions"] > 1000
    for kind in ("statements", "instructions"):
        assert late[kind] <= 1.15 * early[kind], kind
