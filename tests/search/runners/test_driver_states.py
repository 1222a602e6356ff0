"""Drivers, leases and a store under random sequences of events, against a model of a page."""

import datetime
import os
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from search.runners import lease
from search.runners.driver import StudyDriver
from search.store.database import Database, StoreGoneError
from search.store.store import LeaseHeldError, Store
from search.study.study import Study, study_from_toml
from search.trial.trial import Outcome, TrialState
from search.worker.job import Job
from snn.settings.measurement import Measurement
from tests.search.fake_engine import evaluation

TRIALS = 6
EPOCHS = 2
NAMES = ("one:1", "two:2")  # of two drivers on two machines, where neither sees the other die


def a_study() -> Study:
    return study_from_toml(
        f"""
name = "small"
objectives = ["accuracy", "synaptic_ops"]
[budget]
trials = {TRIALS}
[run]
epochs = {EPOCHS}
[space]
width = {{ low = 1, high = 200 }}
[search]
sampler = "random"
stopping = "none"
"""
    )


def epoch_of(job: Job, epoch: int) -> Measurement:
    return Measurement(
        block=0,
        epoch=epoch,
        epochs_done=epoch,
        epochs_total=EPOCHS,
        loss=1.0,
        train_accuracy=0.5,
        accuracy=0.5,
        connectivity=1.0,
        spike_rate=0.1,
        regrown=0,
        training_memory_bytes=1000,
        wall_s=0.0,
        is_reused=False,
        epochs_reused=0,
    )


@dataclass
class Drive:
    """A driver as the machine knows it: its trials at work, by number, and their epochs so far."""

    driver: StudyDriver
    epochs: dict[int, int] = field(default_factory=dict)
    jobs: dict[int, Job] = field(default_factory=dict)


class Drivers(RuleBasedStateMachine):
    """Two drivers of one study take turns, die, sleep through their lease, and lose the store.

    The model: which trials are finished, with how many epochs; they never change again. What
    the store says of the others follows from who holds the study.
    """

    late_s = 0.0  # of the clock of the database, which all drivers share

    @initialize()
    def begin(self) -> None:
        self.closing = ExitStack()
        self.folder = Path(self.closing.enter_context(tempfile.TemporaryDirectory()))
        self.url = f"sqlite:///{self.folder}/store.db"
        self.store = self.closing.enter_context(Store(self.url))
        self.store.create_study(a_study())
        self.drives: dict[str, Drive] = {}
        self.finished: dict[int, int] = {}  # epochs of each, as they were when it finished
        Drivers.late_s = 0.0
        self.holder = ""  # who opened the study last

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self._settle()
            self.closing.close()

    @rule(name=st.sampled_from(NAMES))
    def open(self, name: str) -> None:
        if name in self.drives:
            return
        store = self.closing.enter_context(Store(self.url))  # as a process of its own has it
        driver = StudyDriver(a_study(), store=store, artifacts=self.folder, holder=name)
        try:
            driver.__enter__()
        except LeaseHeldError:
            assert self.holder != name
        else:
            self.drives[name] = Drive(driver)
            self.holder = name

    def _with(self, name: str, action: Callable[[Drive], None]) -> None:
        """Do it with that driver if there is one; one that has lost its study is gone after it."""
        drive = self.drives.get(name)
        if drive is None:
            return
        try:
            action(drive)
        except LeaseHeldError:
            assert self.holder != name, f"{name} lost a study that nobody took"
            self._leave(name)

    @rule(name=st.sampled_from(NAMES))
    def ask(self, name: str) -> None:
        def take(drive: Drive) -> None:
            job = drive.driver.next()
            if job is None:
                return
            assert job.number not in self.finished
            drive.jobs[job.number], drive.epochs[job.number] = job, 0

        self._with(name, take)

    @rule(name=st.sampled_from(NAMES), pick=st.integers(0, 9))
    def report(self, name: str, pick: int) -> None:
        def epoch(drive: Drive) -> None:
            if unfinished := [n for n, done in sorted(drive.epochs.items()) if done < EPOCHS]:
                number = unfinished[pick % len(unfinished)]
                measured = epoch_of(drive.jobs[number], drive.epochs[number] + 1)
                drive.driver.record(number, measured)
                drive.epochs[number] += 1

        self._with(name, epoch)

    @rule(name=st.sampled_from(NAMES), pick=st.integers(0, 9), fails=st.booleans())
    def finish(self, name: str, pick: int, fails: bool) -> None:
        def end(drive: Drive) -> None:
            if not drive.jobs:
                return
            number = sorted(drive.jobs)[pick % len(drive.jobs)]
            job = drive.jobs[number]
            outcome = Outcome(state=TrialState.FAILED, reason="crashed")
            if not fails:
                outcome = Outcome(state=TrialState.COMPLETE, evaluation=evaluation(job.config))
            drive.driver.finish(number, outcome)
            del drive.jobs[number]
            self.finished[number] = drive.epochs.pop(number)

        self._with(name, end)

    @rule(name=st.sampled_from(NAMES))
    def close(self, name: str) -> None:
        if name in self.drives:
            self._leave(name)

    def _leave(self, name: str) -> None:
        drive = self.drives.pop(name)
        drive.driver.__exit__(None, None, None)

    @rule(name=st.sampled_from(NAMES))
    def kill(self, name: str) -> None:
        """Without a word: its lease stays, and its trials stay as running."""
        self.drives.pop(name, None)

    @rule(seconds=st.sampled_from([5.0, 40.0, 70.0, 4000.0]))
    def time_passes(self, seconds: float) -> None:
        """Up to a lease that runs out; nobody renews in between, as if all machines slept."""
        Drivers.late_s += seconds

    @rule(name=st.sampled_from(NAMES))
    def renew(self, name: str) -> None:
        if name in self.drives:
            self.drives[name].driver._lease.renew()

    @precondition(lambda self: self.drives)
    @rule(name=st.sampled_from(NAMES), calls=st.integers(0, 6))
    def lose_the_store(self, name: str, calls: int) -> None:
        """The store goes away within a request for a trial, after some transactions."""
        left = [calls]
        whole = Database.writing

        def writing(database: Database) -> Any:
            left[0] -= 1
            if left[0] < 0:
                raise StoreGoneError("the store is gone")
            return whole(database)

        with pytest.MonkeyPatch.context() as gone:
            gone.setattr(Database, "writing", writing)
            try:
                self.ask(name)
            except StoreGoneError:
                drive = self.drives.pop(name)
                drive.driver.__exit__(None, None, None)

    @invariant()
    def what_is_finished_stays_as_it_was(self) -> None:
        if not hasattr(self, "store"):
            return
        trials = {trial.number: trial for trial in self.store.trials("small")}
        assert sorted(trials) == list(range(len(trials)))
        assert len(trials) <= TRIALS
        stored = {n for n, trial in trials.items() if trial.state.is_finished}
        assert stored == set(self.finished)
        for number, epochs in self.finished.items():
            kept = [m.epoch for m in self.store.measurements("small", number)]
            assert kept == list(range(1, epochs + 1))

    @invariant()
    def no_trial_is_at_two_drivers_that_may_write(self) -> None:
        """A driver that lost its lease may still have jobs; the store takes none of its words."""
        if not hasattr(self, "store"):
            return
        running = {t.number for t in self.store.trials("small") if t.state is TrialState.RUNNING}
        assert not running & set(self.finished)

    def _settle(self) -> None:
        """Whatever happened: a driver that comes later ends the study, each trial done once."""
        for name in list(self.drives):
            self.drives.pop(name)
        Drivers.late_s += 10_000
        with StudyDriver(
            a_study(), store=self.store, artifacts=self.folder, holder="last:3"
        ) as driver:
            while (job := driver.next()) is not None:
                for epoch in range(1, EPOCHS + 1):
                    driver.record(job.number, epoch_of(job, epoch))
                done = Outcome(state=TrialState.COMPLETE, evaluation=evaluation(job.config))
                driver.finish(job.number, done)
                self.finished[job.number] = EPOCHS
        self.what_is_finished_stays_as_it_was()
        assert len(self.finished) == TRIALS
        configs = [t.config.training_fingerprint for t in self.store.trials("small") if t.config]
        assert len(configs) == len(set(configs))


def now() -> datetime.datetime:
    return datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC) + datetime.timedelta(
        seconds=Drivers.late_s
    )


def test_no_sequence_of_events_loses_doubles_or_changes_a_trial(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Database, "now", lambda database, connection: now())
    monkeypatch.setattr(Database, "has_clock", True)
    monkeypatch.setenv("SPIKEFRONT_STORE_WAIT_S", "0")
    monkeypatch.setattr(lease, "_seconds", lambda: Drivers.late_s)
    monkeypatch.setattr(lease.Lease, "_renew_regularly", lambda held: None)
    run_state_machine_as_test(
        Drivers,
        settings=settings(
            max_examples=int(os.environ.get("SPIKEFRONT_TEST_SEQUENCES", "12")),
            stateful_step_count=30,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
