"""Two Ray nodes on this machine with PostgreSQL as the store: studies over both, and the loss of
one of them."""

import contextlib
import json
import os
import re
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from search.runners import ray_tune
from search.store.store import Store, StoreError
from search.trial.trial import Trial, TrialState
from tests import quick
from tests.search import driver
from tests.search.fake_engine import give_passes
from tests.search.postgres import Server, own_server
from tools.ports import free_port

GAP_S = float(os.environ.get("SPIKEFRONT_TEST_GAP_S", "3"))
STUDY = """
name = "small"
objectives = ["accuracy", "synaptic_ops"]
[budget]
trials = 12
gpus_per_trial = 0.5
[run]
epochs = 3
[space]
width = { low = 1, high = 200 }
[search]
sampler = "random"
"""
DIGITS = """
name = "digits"
objectives = ["accuracy", "synaptic_ops"]
[budget]
trials = 3
[run]
train_images = 50
backbone = "mlp"
width = 4
epochs = 1
timesteps = 2
[space]
learning_rate = { low = 1e-3, high = 1e-1 }
[search]
sampler = "random"
"""
# the cluster's own secret, so that no other one of this machine is asked for its own
TOKEN = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}


class Node:
    """What `ray start` has started; ended by its processes."""

    def __init__(self, *words: str) -> None:
        ray = str(Path(sys.executable).with_name("ray"))
        memory = f"--object-store-memory={ray_tune.OBJECT_STORE_BYTES}"
        unused = ["--no-monitor", "--include-log-monitor=false"]  # a process each
        self._process = subprocess.Popen(
            [ray, "start", "--block", "--num-cpus=2", "--num-gpus=1", memory, *unused, *words],
            env={**os.environ, **ray_tune.ENVIRONMENT, **TOKEN},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def kill(self) -> None:
        """kill -9 of all that belongs to the node, workers included, as if at one moment."""
        for process in descendants(self._process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        self._process.wait()


def descendants(process: int) -> list[int]:
    """A process and those that it has started, and they; all stopped, so that none is missed."""
    found = [process]
    for parent in found:
        with contextlib.suppress(ProcessLookupError):
            os.kill(parent, signal.SIGSTOP)
        for children in Path(f"/proc/{parent}/task").glob("*/children"):
            with contextlib.suppress(OSError):
                found += [int(child) for child in children.read_text().split()]
    return found


@pytest.fixture(scope="module")
def cluster() -> Iterator[tuple[str, Node]]:
    """The address of a cluster, and its second node."""
    with tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as folder:
        port = free_port()
        address = f"127.0.0.1:{port}"
        home = [f"--temp-dir={folder}", "--include-dashboard=false", "--disable-usage-stats"]
        head = Node("--head", f"--port={port}", *home)
        second = None
        try:
            wait_until(lambda: answers(address))
            second = Node(f"--address={address}", "--disable-usage-stats")
            yield address, second
        finally:
            if second is not None:
                second.kill()
            head.kill()


def answers(address: str) -> bool:
    try:
        ray_tune.check_address(address)
    except ray_tune.RayError:
        return False
    return True


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with own_server() as server:
        yield server


@pytest.fixture
def url(server: Server) -> Iterator[str]:
    yield server.url
    with Store(server.url) as store, store._database.writing() as connection:
        connection.execute(text("DELETE FROM studies"))


Start = Callable[..., quick.Module]


@pytest.fixture
def start(cluster: tuple[str, Node], tmp_path: Path) -> Iterator[Start]:
    """Starts a driver that joins the cluster; none outlives its test."""
    started = []

    def start_driver(study: str, **settings: Any) -> quick.Module:
        driven = driver.start(tmp_path, study, ray=cluster[0], environment=TOKEN, **settings)
        started.append(driven)
        return driven

    yield start_driver
    for process in started:
        process.kill()
        process.communicate()


def wait_until(is_so: Callable[[], bool], process: quick.Module | None = None) -> None:
    until = time.monotonic() + 120
    while not is_so():
        assert time.monotonic() < until, "it never came to that"
        assert process is None or process.poll() is None, process.communicate()
        time.sleep(0.15)  # each look opens the store


def test_a_driver_without_the_token_of_the_cluster_is_told_how_to_set_it(
    cluster: tuple[str, Node], tmp_path: Path
) -> None:
    (tmp_path / "small.toml").write_text(STUDY)
    words = ["run", tmp_path / "small.toml", "--ray", cluster[0]]
    # without a token, and with a wrong one; Ray tries once, not 20 times
    tokens = [{"RAY_AUTH_MODE": "disabled"}, {**TOKEN, "RAY_AUTH_TOKEN": secrets.token_hex(32)}]
    once = {"RAY_gcs_server_port_wait_time_s": "1"}
    started = [
        quick.Module(
            "search.commands.cli", *words, "--store", f"sqlite:///{tmp_path}/{k}.db",
            environment=token | once,
        )
        for k, token in enumerate(tokens)
    ]  # fmt: skip
    for process in started:
        _, said = process.communicate(timeout=300)
        assert process.returncode == 2, said
        assert f"no Ray cluster could be joined at {cluster[0]}: " in said.splitlines()[-1]
        assert "if the cluster requires a token, set RAY_AUTH_TOKEN" in said
        assert "Traceback" not in said


def trials_of(url: str) -> list[Trial]:
    try:
        with Store(url, read_only=True) as store:
            return store.trials("small")
    except StoreError:  # not made yet
        return []


def finished(url: str) -> int:
    return sum(trial.state.is_finished for trial in trials_of(url))


def check_whole(store: Store, trials: int) -> None:
    """Every trial once, complete, with each of its epochs."""
    kept = store.trials("small")
    assert [trial.number for trial in kept] == list(range(trials))
    assert {trial.state for trial in kept} == {TrialState.COMPLETE}
    for trial in kept:
        assert [m.epoch for m in store.measurements("small", trial.number)] == [1, 2, 3]
    assert len(store.hypervolume("small")) == trials
    assert store.stored_study("small").lease_holder is None


def test_a_worker_reads_a_data_set_once_for_all_its_trials(start: Start, tmp_path: Path) -> None:
    running = start(DIGITS, workers=1, trains=True)
    _, said = running.communicate(timeout=300)
    assert running.returncode == 0, said
    with Store(f"sqlite:///{tmp_path}/store.db") as store:
        assert [trial.state for trial in store.trials("digits")] == [TrialState.COMPLETE] * 3
        (told,) = store.events("digits")  # the same words once: one process, one reading
        assert re.fullmatch(r"process \d+ has read data 1 times", told.message)


def test_ctrl_c_twice_leaves_at_once_and_the_next_driver_continues(
    start: Start, tmp_path: Path
) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    stopped = start(STUDY, workers=1, fifo=fifo)
    with fifo.open() as opened:
        assert opened.read()
    for _ in range(2):
        stopped.send_signal(signal.SIGINT)
        time.sleep(0.01)
    _, said = stopped.communicate(timeout=300)
    assert stopped.returncode == 130, said
    assert "Traceback" not in said
    further = driver.start(tmp_path, STUDY, workers=0)
    _, said = further.communicate(timeout=300)
    assert further.returncode == 0, said
    with Store(f"sqlite:///{tmp_path}/store.db") as store:
        check_whole(store, 12)


def test_workers_wait_while_the_database_is_restarted(
    start: Start, server: Server, url: str, tmp_path: Path
) -> None:
    give_passes(gate := tmp_path / "gate", 2)
    running = start(STUDY, workers=2, store=url, gate=gate)
    wait_until(lambda: finished(url) == 2, running)
    server.stop()
    (gate / "open").touch()
    time.sleep(GAP_S)
    assert running.poll() is None
    server.start()
    out, said = running.communicate(timeout=300)
    assert running.returncode == 0, said
    assert "the store responds again after " in said
    assert json.loads(out)["trials"] == {"complete": 12}
    with Store(url) as store:
        check_whole(store, 12)
        assert store.events("small") == []


def test_a_study_over_two_nodes_loses_one_of_them_and_nothing_else(
    cluster: tuple[str, Node], start: Start, url: str, tmp_path: Path
) -> None:
    """The last test here: the node does not come back."""
    _, node = cluster
    place = f"fsspec+file://{tmp_path}/shelf"
    give_passes(gate := tmp_path / "gate", 0)
    settings = {"workers": 4, "store": url, "artifacts": place, "gate": gate}
    running = start(STUDY, **settings)
    wait_until(lambda: len(list(gate.iterdir())) == 4, running)  # half a GPU each
    processes = {path.name for path in gate.iterdir()}
    assert len({name.partition(" of ")[2] for name in processes}) == 2
    give_passes(gate, 4)
    halves = [TrialState.COMPLETE] * 4 + [TrialState.RUNNING] * 4
    wait_until(lambda: sorted(trial.state for trial in trials_of(url)) == halves, running)
    before = [trial for trial in trials_of(url) if trial.state.is_finished]
    assert {path.name for path in gate.iterdir()} == processes  # no new one for a trial
    node.kill()
    (gate / "open").touch()
    _, said = running.communicate(timeout=300)
    assert running.returncode == 0, said
    with Store(url) as store:
        check_whole(store, 12)
        after = store.trials("small")
        assert [after[trial.number] for trial in before] == before
        retried = [event.trial for event in store.events("small") if event.kind == "retry"]
        # one on each half of its GPU, again if Ray did not know yet that the node is gone
        assert 1 <= len(set(retried)) <= 2
        for trial in after:
            assert trial.artifact is not None
            folder = store.stored_study("small").folder
            assert trial.artifact.uri == f"{place}/{folder}/{trial.number:05d}.safetensors"
    assert len(list((tmp_path / "shelf" / folder).iterdir())) == 12
