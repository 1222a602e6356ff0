"""A store that goes away while a study runs: nothing is lost, and people are told."""

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection

from search.runners import local
from search.runners.driver import StudyDriver
from search.store import retry
from search.store.database import Database, StoreGoneError
from search.store.store import Store, StoreError
from search.study.study import study_from_toml
from search.trial.trial import TrialState
from search.worker.context import WorkerContext
from tests.search import command
from tests.search.fake_engine import FakeEngine, give_passes
from tests.search.postgres import Server, own_server

GAP_S = float(os.environ.get("SPIKEFRONT_TEST_GAP_S", "3"))  # 30 in the slow variant
STUDY = """
name = "small"
objectives = ["accuracy", "synaptic_ops"]
[budget]
trials = 12
[run]
epochs = 3
[space]
width = { low = 1, high = 200 }
[search]
sampler = "random"
"""


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with own_server() as server:
        yield server


def wait_until(is_so: Callable[[], bool], *, seconds: float = 120) -> None:
    until = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < until, "it never came to that"
        time.sleep(0.02)


def finished(url: str) -> int:
    try:
        with Store(url, read_only=True) as store:
            return sum(trial.state.is_finished for trial in store.trials("small"))
    except StoreError:  # not made yet
        return 0


def check_whole(store: Store, trials: int) -> None:
    """Every trial once, complete, with each of its epochs, and what is derived from them."""
    kept = store.trials("small")
    assert [trial.number for trial in kept] == list(range(trials))
    assert {trial.state for trial in kept} == {TrialState.COMPLETE}
    for trial in kept:
        assert [m.epoch for m in store.measurements("small", trial.number)] == [1, 2, 3]
    assert len(store.hypervolume("small")) == trials
    assert store.stored_study("small").lease_holder is None


def test_a_study_waits_for_its_database_and_loses_nothing(server: Server, tmp_path: Path) -> None:
    (tmp_path / "small.toml").write_text(STUDY)
    words = ["run", tmp_path / "small.toml", "--workers", 0, "--artifacts", tmp_path]
    url = f"{server.url}?application_name=waits"
    give_passes(gate := tmp_path / "gate", 2)
    driver = command.start(*words, "--store", url, engine={"gate": str(gate)})
    wait_until(lambda: finished(url) == 2)
    server.stop()
    (gate / "open").touch()
    time.sleep(GAP_S)
    assert driver.poll() is None
    server.start()
    _, said = driver.communicate(timeout=120)
    assert driver.returncode == 0, said
    assert "; waiting for the store for at most 5 min" in said
    assert "the store responds again after " in said
    with Store(url) as store:
        check_whole(store, 12)
        assert store.events("small") == []  # no trial ran twice, no lease changed hands
        store.delete_study("small")


def test_a_database_that_never_responds_ends_the_run_and_the_same_command_continues_it(
    server: Server, tmp_path: Path
) -> None:
    (tmp_path / "small.toml").write_text(STUDY)
    words = ["run", tmp_path / "small.toml", "--workers", 0, "--artifacts", tmp_path]
    words += ["--store", server.url]
    retry = {"SPIKEFRONT_STORE_WAIT_S": "1.5"}
    give_passes(gate := tmp_path / "gate", 2)
    driver = command.start(*words, engine={"gate": str(gate)}, **retry)
    wait_until(lambda: finished(server.url) == 2)
    server.stop()
    (gate / "open").touch()
    out, said = driver.communicate(timeout=120)
    server.start()
    assert driver.returncode == 1, said
    assert out == ""
    assert "Traceback" not in said
    last = said.splitlines()[-1]
    assert last.startswith("spikefront: postgresql://postgres@127.0.0.1:")
    assert last.endswith("When the store responds again, continue with the same command")
    with Store(server.url, read_only=True) as store:
        before = store.trials("small")
        assert not store.stored_study("small").is_running  # although nobody gave the lease back
    ran = command.start(*words, engine={})
    _, said = ran.communicate(timeout=120)
    assert ran.returncode == 0, said
    with Store(server.url) as store:
        check_whole(store, 12)
        done = [trial for trial in before if trial.state.is_finished]
        assert store.trials("small")[: len(done)] == done
        store.delete_study("small")


def test_a_transaction_committed_before_the_connection_was_lost_is_not_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server may die between keeping a transaction and saying so: here behind each of them."""
    monkeypatch.setattr(retry, "PAUSE_S", 0.001)
    writing = Database.writing
    transactions = 0

    @contextlib.contextmanager
    def losing(database: Database) -> Iterator[Connection]:
        nonlocal transactions
        with writing(database) as connection:
            yield connection
        transactions += 1
        if transactions % 2:
            raise StoreGoneError("the server closed the connection unexpectedly")

    study = study_from_toml(STUDY)
    with Store(f"sqlite:///{tmp_path}/store.db") as store:
        store.create_study(study)
        with StudyDriver(study, store=store, artifacts=tmp_path) as driver:
            monkeypatch.setattr(Database, "writing", losing)
            local.run(driver, WorkerContext(data_dir=tmp_path, trainable=FakeEngine()))
            monkeypatch.setattr(Database, "writing", writing)
        check_whole(store, 12)
        assert transactions > 12 * 6
        assert store.events("small") == []


def test_a_stop_is_obeyed_while_the_store_is_waited_for(tmp_path: Path) -> None:
    interrupted = threading.Event()
    said: list[str] = []

    def never() -> None:
        interrupted.set()
        raise StoreGoneError("the store is gone")

    waiting = retry.StoreRetry(seconds=60, say=said.append, interrupted=interrupted)
    with pytest.raises(KeyboardInterrupt):
        waiting.run(never)
    assert said == ["the store is gone; waiting for the store for at most 60 s"]
    with pytest.raises(StoreGoneError):  # on the way out nothing is waited for
        waiting.run(never)


def test_permanent_errors_are_not_retried(tmp_path: Path) -> None:
    with Store(f"sqlite:///{tmp_path}/store.db") as store:
        store.retry_policy = retry.StoreRetry(
            seconds=60, say=pytest.fail, interrupted=threading.Event()
        )
        with pytest.raises(StoreError, match="no study 'other'"):
            store.trials("other")
