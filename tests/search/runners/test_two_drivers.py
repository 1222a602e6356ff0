"""Two drivers of one study: only one of them runs it, whatever names and clocks they have."""

import contextlib
import datetime
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from search.runners import lease
from search.runners.driver import StudyDriver
from search.runners.lease import Lease
from search.store.database import Database
from search.store.store import LeaseHeldError, LeaseLostError, Store
from search.study.study import Study, study_from_toml
from search.trial.trial import TrialState

ROOT = Path(__file__).parents[3]
TEXT = """
name = "small"
objectives = ["accuracy", "synaptic_ops"]
[budget]
trials = 40
[run]
epochs = 3
[space]
width = { low = 1, high = 200 }
[search]
sampler = "random"
"""


@pytest.fixture
def study() -> Study:
    return study_from_toml(TEXT)


@pytest.fixture
def store(tmp_path: Path, study: Study) -> Iterator[Store]:
    with Store(f"sqlite:///{tmp_path}/store.db") as store:
        store.create_study(study)
        yield store


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lease of three seconds, renewed five times a second."""
    monkeypatch.setattr(lease, "SECONDS", 3.0)
    monkeypatch.setattr(lease, "RENEW_EVERY_S", 0.2)


def states(store: Store) -> list[TrialState]:
    return [trial.state for trial in store.trials("small")]


def in_namespace(*words: object) -> list[str]:
    return ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child", *map(str, words)]


def has_namespaces() -> bool:
    with contextlib.suppress(OSError):
        return subprocess.run(in_namespace("true"), capture_output=True).returncode == 0
    return False


DRIVER = """
import sys
from search.runners.driver import StudyDriver
from search.store.store import Store, StoreError
from search.study.study import study_from_toml
with Store(sys.argv[1]) as store:
    try:
        study = study_from_toml(sys.argv[2])
        with StudyDriver(study, store=store, artifacts="artifacts") as driver:
            assert driver.next() is not None
            print("running", flush=True)
            sys.stdin.read()
    except StoreError as error:
        print(error, flush=True)
"""


@contextlib.contextmanager
def driver(url: str, *, cwd: Path) -> "Iterator[subprocess.Popen[str]]":
    """A driver that is process 1 of a PID namespace, until its stdin is closed."""
    process = subprocess.Popen(
        in_namespace(sys.executable, "-c", DRIVER, url, TEXT),
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.communicate(timeout=120)


def said(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


@pytest.mark.skipif(not has_namespaces(), reason="this user cannot create PID namespaces")
def test_drivers_in_two_pid_namespaces_of_one_host_name_are_distinguished(
    store: Store, study: Study, tmp_path: Path
) -> None:
    """Both were `host:1`: the second was let in, and requeued the trial of the first."""
    url = f"sqlite:///{tmp_path}/store.db"
    with driver(url, cwd=tmp_path) as first:
        assert said(first) == "running"
        with driver(url, cwd=tmp_path) as second:
            assert ":1, whose lease lasts until" in said(second)
        # from outside, the first one's process number says nothing about its life
        with pytest.raises(LeaseHeldError, match=":1, whose lease"), Lease(store, "small"):
            pass
        assert store.stored_study("small").is_running
        assert states(store) == [TrialState.RUNNING]
    assert states(store) == [TrialState.WAITING]
    assert store.stored_study("small").lease_holder is None


@pytest.mark.usefixtures("quick")
def test_a_clock_that_is_ahead_takes_over_no_lease_that_is_renewed(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = Database.now

    def ahead(self: Database, connection: object) -> datetime.datetime:
        shift_s = 300 if threading.current_thread() is threading.main_thread() else 0
        return now(self, connection) + datetime.timedelta(seconds=shift_s)  # type: ignore[arg-type]

    with Lease(store, "small", holder="first:1"), Store(f"sqlite:///{tmp_path}/store.db") as other:
        monkeypatch.setattr(Database, "now", ahead)
        monkeypatch.setattr(lease, "RENEW_EVERY_S", 20.0)  # the second one waits for half a minute
        with (
            pytest.raises(LeaseHeldError, match="run by first:1"),
            Lease(other, "small", holder="second:1"),
        ):
            pass
        monkeypatch.undo()


@pytest.mark.usefixtures("quick")
def test_an_expired_lease_that_nobody_renews_is_taken_over_after_a_wait(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    store.acquire_lease("small", "lost:1", -1)
    with Lease(store, "small", holder="next:1"):
        assert store.lease_of("small").holder == "next:1"
    assert "the lease of lost:1 on small has expired; waiting 0.3 s in case" in caplog.text


def test_a_lease_that_ends_while_it_is_asked_for_is_given_to_nobody_yet(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was refused at one moment and had expired at the next: the driver ran without a lease."""
    store.acquire_lease("small", "first:1", 60)
    until = store.lease_of("small").until
    assert until is not None
    moments = iter([until - datetime.timedelta(microseconds=1)])
    later = until + datetime.timedelta(seconds=1)
    monkeypatch.setattr(Database, "now", lambda self, connection: next(moments, later))
    with pytest.raises(LeaseHeldError, match="run by first:1"):
        store.acquire_lease("small", "second:1", 60)
    store.acquire_lease("small", "second:1", 60)  # the next time it is
    assert store.lease_of("small").holder == "second:1"


def test_a_driver_that_lost_its_study_leaves_the_trials_of_the_other_one(
    store: Store, study: Study, tmp_path: Path
) -> None:
    with StudyDriver(study, store=store, artifacts=tmp_path) as lost:
        assert lost.next() is not None
        store.release_lease("small", lost._lease.holder)
        store.acquire_lease("small", "other:1", 60)
        assert lost.next() is not None  # not known yet: the lease was renewed just now
        lost._lease.renew()
        with pytest.raises(LeaseLostError, match=r"this run lost the study 'small' to other:1: "):
            lost.should_halt()
    assert states(store) == [TrialState.RUNNING] * 2
    assert store.lease_of("small").holder == "other:1"


def test_requeueing_needs_the_lease_and_takes_only_named_trials(
    store: Store, study: Study, tmp_path: Path
) -> None:
    with StudyDriver(study, store=store, artifacts=tmp_path) as opened:
        for _ in range(3):
            opened.next()
        own = opened._lease.holder
        assert store.requeue_running("small", "no", holder="other:1") == []
        assert store.requeue_running("small", "yes", holder=own, numbers=[0, 2, 9]) == [0, 2]
    assert states(store) == [TrialState.WAITING] * 3


def test_the_hours_of_runs_are_stored_with_the_lease_and_no_clock_of_the_day_counts(
    store: Store, study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A clock set forward by hours, or a laptop asleep, used up the budget."""
    hours = study.with_overrides(trials=None, hours=1.0, sets={})
    monkeypatch.setattr("search.store.store._now", lambda: NOON)
    with StudyDriver(hours, store=store, artifacts=tmp_path) as first:
        assert first.next() is not None
        monkeypatch.setattr("search.store.store._now", lambda: NOON + datetime.timedelta(hours=9))
        assert not first.is_spent()
    spent = store.stored_study("small").run_s
    assert spent is not None
    assert 0 < spent < 60
    with StudyDriver(hours, store=store, artifacts=tmp_path) as second:
        assert not second.is_spent()
        assert second._spent.run_s >= spent


NOON = datetime.datetime(2026, 11, 25, 12, tzinfo=datetime.UTC)


def test_a_driver_whose_study_was_run_and_released_meanwhile_has_lost_it(
    store: Store, study: Study, tmp_path: Path
) -> None:
    with StudyDriver(study, store=store, artifacts=tmp_path) as opened:
        store.release_lease("small", opened._lease.holder)  # and taken, and released again
        opened._lease.renew()
        with pytest.raises(LeaseLostError, match="to another run, which has ended"):
            opened.next()


def test_a_driver_that_is_suspended_asks_the_store_before_it_writes(
    store: Store, study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with StudyDriver(study, store=store, artifacts=tmp_path) as opened:
        opened._lease._ended.set()  # its thread was suspended, too
        store.release_lease("small", opened._lease.holder)
        store.acquire_lease("small", "other:1", 60)
        seconds = lease._seconds
        monkeypatch.setattr(lease, "_seconds", lambda: seconds() + 40)
        with pytest.raises(LeaseLostError, match="this run lost the study"):
            opened.should_halt()


def test_a_killed_driver_is_seen_to_be_gone(store: Store, tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", DRIVER, f"sqlite:///{tmp_path}/store.db", TEXT],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert said(process) == "running"
    assert store.stored_study("small").is_running
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=120)
    assert not store.stored_study("small").is_running
    begun = time.monotonic()
    with Lease(store, "small"):
        assert time.monotonic() - begun < 40  # no wait for the end of its lease
