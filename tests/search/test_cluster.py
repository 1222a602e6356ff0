"""Two Ray nodes on this machine with PostgreSQL as the store: studies over both, and the loss of
one of them."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from search import ray_tune
from search.run import run_study
from search.store import Store, StoreError
from search.study import study_from_toml
from search.trial import Trial, TrialState
from tests.search import driver
from tests.search.fake_engine import CountingEngine, FakeEngine
from tests.search.postgres import Server, free_port, own_server

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
NODE = ["--num-cpus=2", "--num-gpus=1", "--include-dashboard=false", "--disable-usage-stats"]


class Node:
    """What `ray start` has started; ended by its processes."""

    def __init__(self, *words: str) -> None:
        # the program without its shell, as `ray start` in a terminal
        ray = str(Path(sys.executable).with_name("ray"))
        memory = f"--object-store-memory={ray_tune.OBJECT_STORE_BYTES}"
        self._process = subprocess.Popen(
            [ray, "start", "--block", *NODE, memory, *words],
            env={**os.environ, **ray_tune.ENVIRONMENT},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def kill(self) -> None:
        """kill -9 of all that belongs to the node, workers included."""
        for process in descendants(self._process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        self._process.wait()


def descendants(process: int) -> list[int]:
    """A process and those that it has started, and they."""
    found = [process]
    for parent in found:
        for children in Path(f"/proc/{parent}/task").glob("*/children"):
            with contextlib.suppress(OSError):
                found += [int(child) for child in children.read_text().split()]
    return found


@pytest.fixture(scope="module")
def cluster() -> Iterator[tuple[str, Node]]:
    """The address of a cluster, and its second node."""
    with tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as folder:
        address = f"127.0.0.1:{free_port()}"
        port = address.partition(":")[2]
        home = [f"--temp-dir={folder}", "--node-ip-address=127.0.0.1"]
        head = Node("--head", f"--port={port}", *home)
        second = None
        try:
            wait_until(lambda: answers(address))
            second = Node(f"--address={address}", "--node-ip-address=127.0.0.1")
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
    with Store(server.url) as store:
        for summary in store.study_summaries():
            store.delete_study(summary.name)


def wait_until(is_so: Callable[[], bool]) -> None:
    until = time.monotonic() + 120
    while not is_so():
        assert time.monotonic() < until, "it never came to that"
        time.sleep(0.05)


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


def test_a_study_runs_on_both_nodes_with_half_a_gpu_each_and_keeps_its_processes(
    cluster: tuple[str, Node], url: str, tmp_path: Path
) -> None:
    address, _ = cluster
    place = f"fsspec+file://{tmp_path}/shelf"
    with Store(url) as store:
        run_study(
            study_from_toml(STUDY),
            store=store,
            artifacts=place,
            data_dir=tmp_path,
            workers=4,
            ray_address=address,
            engine=FakeEngine(epoch_s=0.3, tells_process=True),
        )
        check_whole(store, 12)
        told = [event.message for event in store.events("small")]
        processes = dict(re.findall(r"process (\d+) of node (\d+)", " ".join(told)))
        assert len(processes) == 4  # two for each GPU, and no new one for a later trial
        assert len(set(processes.values())) == 2
        for trial in store.trials("small"):
            assert trial.artifact is not None
            assert trial.artifact.uri == f"{place}/small/{trial.number:05d}.safetensors"
        assert len(list((tmp_path / "shelf" / "small").iterdir())) == 12


def test_a_worker_reads_a_data_set_once_for_all_its_trials(
    cluster: tuple[str, Node], tmp_path: Path
) -> None:
    address, _ = cluster
    with Store(f"sqlite:///{tmp_path}/store.db") as store:
        run_study(
            study_from_toml(DIGITS),
            store=store,
            artifacts=tmp_path,
            data_dir=tmp_path,
            workers=1,
            ray_address=address,
            engine=CountingEngine(),
        )
        assert {trial.state for trial in store.trials("digits")} == {TrialState.COMPLETE}
        assert len(store.trials("digits")) == 3
        (told,) = store.events("digits")  # the same words once: one process, one reading
        assert re.fullmatch(r"process \d+ has read data 1 times", told.message)


def test_ctrl_c_twice_leaves_at_once_and_the_next_driver_goes_on(
    cluster: tuple[str, Node], tmp_path: Path
) -> None:
    address, _ = cluster
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    stopped = driver.start(tmp_path, STUDY, workers=1, fifo=fifo, ray=address)
    fifo.read_text()
    for _ in range(2):
        stopped.send_signal(signal.SIGINT)
        time.sleep(0.01)
    _, said = stopped.communicate(timeout=120)
    assert stopped.returncode == 130, said
    assert "Traceback" not in said
    with Store(f"sqlite:///{tmp_path}/store.db") as store:
        run_study(
            study_from_toml(STUDY),
            store=store,
            artifacts=tmp_path,
            data_dir=tmp_path,
            workers=0,
            engine=FakeEngine(),
        )
        check_whole(store, 12)


def test_workers_wait_while_the_database_is_restarted(
    cluster: tuple[str, Node], server: Server, url: str, tmp_path: Path
) -> None:
    address, _ = cluster
    running = driver.start(tmp_path, STUDY, workers=2, ray=address, store=url, epoch_s=0.2)
    wait_until(lambda: finished(url) >= 2)
    server.stop()
    time.sleep(3)
    assert running.poll() is None
    server.start()
    out, said = running.communicate(timeout=120)
    assert running.returncode == 0, said
    assert "the store is back after " in said
    assert json.loads(out)["trials"] == {"complete": 12}
    with Store(url) as store:
        check_whole(store, 12)
        assert store.events("small") == []


def test_trials_of_a_node_that_is_lost_run_again_on_the_other_one(
    cluster: tuple[str, Node], url: str, tmp_path: Path
) -> None:
    """The last test here: the node does not come back."""
    address, node = cluster
    running = driver.start(tmp_path, STUDY, workers=4, ray=address, store=url, epoch_s=0.5)
    wait_until(lambda: finished(url) >= 4)
    before = [trial for trial in trials_of(url) if trial.state.is_finished]
    node.kill()
    _, said = running.communicate(timeout=200)
    assert running.returncode == 0, said
    with Store(url) as store:
        check_whole(store, 12)
        after = store.trials("small")
        assert [after[trial.number] for trial in before] == before
        retried = [event.trial for event in store.events("small") if event.kind == "retry"]
        assert 1 <= len(retried) <= 2  # one on each half of its GPU
        assert len(set(retried)) == len(retried)
    assert said.count("worker lost, runs again") == len(retried)
