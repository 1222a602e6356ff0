"""Faults, each for real: what was finished stays, nothing runs twice, nothing is stuck."""

import contextlib
import dataclasses
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from search.runners.run import run_study
from search.store.store import Store, StoreError
from search.study.study import Study, study_from_toml
from search.trial.trial import Trial, TrialState
from snn.settings.measurement import Measurement
from snn.training import train
from snn.training.train import DivergedError
from tests import quick
from tests.search import command
from tests.search.fake_engine import FakeEngine, give_passes
from tests.search.killing import kill

STUDY = """
name = "small"
objectives = ["accuracy", "synaptic_ops"]
[budget]
trials = 40
[run]
epochs = 3
[space]
width = { low = 1, high = 200 }
timesteps = { low = 1, high = 8 }
[search]
sampler = "tpe"
"""
DIGITS = """
name = "small"
objectives = ["accuracy", "synaptic_ops"]
[budget]
trials = 5
[run]
dataset = "digits"
backbone = "resnet5"
train_images = 100
width = 4
head_hidden = 16
epochs = 2
[space]
partition = { max_blocks = 2 }
exit_threshold = { low = 0.5, high = 0.99 }
timesteps = { low = 2, high = 3 }
[search]
sampler = "tpe"
"""


STOPPING = STUDY.replace("epochs = 3", "epochs = 9") + 'stopping = "moasha"\n'
STOPPING_DIGITS = DIGITS.replace("trials = 5", "trials = 6").replace("epochs = 2", "epochs = 3")
STOPPING_DIGITS += 'stopping = "moasha"\n'
LONG = DIGITS.replace("trials = 5", "trials = 1")
LONG = LONG.replace("partition = { max_blocks = 2 }", 'partition = ["1+1"]')


def history(folder: Path) -> list[object]:
    """What the store has of each trial, but for what a clock measured and where its files are."""
    kept: list[object] = []
    with Store(f"sqlite:///{folder}/store.db", read_only=True) as store:
        for trial in store.trials("small"):
            assert (trial.artifact is not None) == (trial.state is TrialState.COMPLETE)
            kept += [trial.number, trial.state, trial.params, trial.config, trial.sampler_state]
            kept += [trial.epochs_done + trial.epochs_reused, trial.reason]
            kept += [trial.artifact and trial.artifact.sha256]
            kept += store.rungs("small", trial.number)
            kept += [
                dataclasses.replace(m, wall_s=0.0, is_reused=False, epochs_reused=0)
                for m in store.measurements("small", trial.number)
            ]
            for point in store.operating_points("small", trial.number):
                metrics = {**point.point.metrics, "training_s": 0.0}
                kept += [point.on_front, dataclasses.replace(point.point, metrics=metrics)]
        kept += [(record.trial, record.value) for record in store.hypervolume("small")]
    return kept


def undisturbed(folder: Path, study: Study, engine: FakeEngine | None) -> None:
    folder.mkdir()
    with Store(f"sqlite:///{folder}/store.db") as store:
        run_study(study, store=store, artifacts=folder, data_dir=folder, workers=0, engine=engine)


@pytest.mark.parametrize(
    ("text", "epoch_s", "times", "within_s", "last"),
    [
        (STUDY, 0.03, 8, 0.15, 16),  # of 160 events
        (STOPPING, 0.015, 6, 0.15, 24),  # of 210
        (STOPPING_DIGITS, None, 3, 0.4, 7),  # of 22
    ],
    ids=["many times", "while it stops early", "while it trains and stops"],
)
def test_a_driver_killed_at_random_moments_ends_with_what_an_undisturbed_one_has(
    text: str, epoch_s: float | None, times: int, within_s: float, last: int, tmp_path: Path
) -> None:
    study = study_from_toml(text)
    engine = None if epoch_s is None else FakeEngine()
    undisturbed(tmp_path / "undisturbed", study, engine)
    (tmp_path / "killed").mkdir()
    place = tmp_path / "killed"
    kill(place, text, times=times, within_s=within_s, epoch_s=epoch_s, last=last)
    with Store(f"sqlite:///{tmp_path}/killed/store.db") as store:
        trials = store.trials("small")
        assert [trial.number for trial in trials] == list(range(study.budget.trials or 0))
        ended = {TrialState.PRUNED} if "moasha" in text else set()
        assert {trial.state for trial in trials} == {TrialState.COMPLETE, *ended}
        events = store.events("small")
        assert any(event.kind == "requeued" for event in events)  # it did hurt
        assert store.stored_study("small").lease_holder is None
    assert history(tmp_path / "killed") == history(tmp_path / "undisturbed")


@pytest.mark.parametrize(
    ("space_rule", "epochs", "place"),
    [("block-local", 7, "fsspec+file://"), ("end-to-end", 14, "")],
)
def test_one_training_killed_at_random_moments_goes_on_after_its_last_epoch(
    space_rule: str, epochs: int, place: str, tmp_path: Path
) -> None:
    """Each time on another machine: its block cache is empty, its working folder another.

    The first driver has five of 14 epochs at the most when it is killed, each later one four more.
    """
    text = LONG.replace("[space]", f'space_rule = "{space_rule}"\n[space]')
    text = text.replace("epochs = 2", f"epochs = {epochs}")
    text += "reuse_blocks = false\n"
    undisturbed(tmp_path / "undisturbed", study_from_toml(text), None)
    (folder := tmp_path / "killed").mkdir()
    artifacts = place and f"{place}{folder}"
    kill(
        folder, text, times=3, within_s=0.1, epoch_s=None, artifacts=artifacts, after=3, last=6
    )  # fmt: skip
    with Store(f"sqlite:///{folder}/store.db") as store:
        said = [e.message for e in store.events("small") if e.kind == "continued"]
        after = [int(re.findall("epoch (\\d+)", line)[0]) for line in said]
        assert len(after) == 3
        assert after == sorted(set(after))
        trial = store.trial("small", 0)
        assert trial.config is not None
        assert (trial.epochs_done, trial.epochs_reused) == (trial.config.total_epochs, 0)
        assert store.stored_study("small").lost_epochs == 0  # a checkpoint for every epoch
    assert history(folder) == history(tmp_path / "undisturbed")
    assert not list(folder.rglob("*checkpoint*"))


def test_a_trial_that_hangs_ends_at_its_time_limit_and_the_study_continues(
    tmp_path: Path,
) -> None:
    usual = signal.getsignal(signal.SIGALRM)
    text = STUDY.replace("trials = 40", "trials = 4\ntrial_minutes = 0.05")
    text = text.replace("width = { low = 1, high = 200 }", "width = [3, 4]")
    with Store(f"sqlite:///{tmp_path}/store.db") as store:
        run_study(
            study_from_toml(text),
            store=store,
            artifacts=tmp_path,
            data_dir=tmp_path,
            workers=0,
            engine=FakeEngine(stuck_at_width=3),
        )
        trials = store.trials("small")
        ended = [trial for trial in trials if trial.params["width"] == 3]
        assert len(trials) == 4 > len(ended) > 0
        for trial in trials:
            epochs = [m.epoch for m in store.measurements("small", trial.number)]
            if trial in ended:
                assert (trial.state, epochs) == (TrialState.PRUNED, [1])
                assert trial.reason == "took longer than budget.trial_minutes (0.05)"
            else:
                assert (trial.state, epochs) == (TrialState.COMPLETE, [1, 2, 3])
    assert signal.getsignal(signal.SIGALRM) is usual


SMALL_DISK = """
mount -t tmpfs -o size=64k tmpfs artifacts || exit 77
"$@"
code=$?
cd artifacts && find . -type f | sort | xargs sha256sum > ../kept
exit $code
"""


def test_trials_keep_all_but_their_weights_when_the_disk_of_artifacts_is_full(
    tmp_path: Path,
) -> None:
    (tmp_path / "artifacts").mkdir()
    every_one_trains = DIGITS.replace(
        "timesteps = { low = 2, high = 3 }", "learning_rate = { low = 1e-3, high = 1e-2 }"
    )
    every_one_trains += "reuse_blocks = false\n"
    (tmp_path / "small.toml").write_text(every_one_trains)
    words = [sys.executable, "-m", "search.commands.cli", "run", "small.toml", "--workers", "0"]
    words += ["--store", "sqlite:///store.db", "--artifacts", "artifacts"]
    mapped = [] if os.getuid() == 0 else ["--map-root-user"]
    done = subprocess.run(
        ["unshare", *mapped, "--mount", "sh", "-c", SMALL_DISK, "sh", *words],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
        capture_output=True,
        text=True,
        timeout=120,
    )
    if done.returncode in (1, 77) and "store.db" not in os.listdir(tmp_path):
        pytest.skip(f"no file system can be mounted here: {done.stderr}")
    assert done.returncode == 1, done.stderr
    assert "could not be saved, so they cannot be exported; free space" in done.stderr
    digests = dict(line.split()[::-1] for line in (tmp_path / "kept").read_text().splitlines())
    with Store(f"sqlite:///{tmp_path}/store.db", read_only=True) as store:
        trials = store.trials("small")
        assert {trial.state for trial in trials} == {TrialState.COMPLETE}
        without = [trial for trial in trials if trial.artifact is None]
        assert len(trials) == 5 > len(without) > 0
        for trial in trials:
            assert trial.config is not None
            asked = 0 if trial.reused_trial is not None else trial.config.total_epochs
            assert len(store.measurements("small", trial.number)) == asked
            assert store.operating_points("small", trial.number)
            if trial.artifact is None:
                assert trial.reason == "weights were not saved: No space left on device"
            else:
                folder, name = Path(trial.artifact.uri).parts[-2:]
                assert digests[f"./{folder}/{name}"] == trial.artifact.sha256
    whole = re.compile(r"\./(small-\w+/\d{5}\.safetensors(\.times\.json)?|blocks/\w+\.block)")
    assert [name for name in digests if not whole.fullmatch(name)] == []  # nothing half-written
    assert "weights were not saved: No space left on device" in done.stderr


def write(folder: Path, text: str = STUDY) -> list[object]:
    """The words of a run in the process of the driver; the study is in the folder, as all else."""
    (folder / "small.toml").write_text(text)
    place = ["--store", f"sqlite:///{folder}/store.db", "--artifacts", folder]
    return ["run", folder / "small.toml", "--workers", 0, *place]


def trials_of(folder: Path) -> list[Trial]:
    try:
        with Store(f"sqlite:///{folder}/store.db", read_only=True) as store:
            return store.trials("small")
    except StoreError:  # not made yet
        return []


def wait_for(folder: Path, finished: int, *, runs: bool = True) -> None:
    """Until that many trials have finished, and the next one runs unless that is all the same."""
    until = time.monotonic() + 120
    while True:
        states = [trial.state for trial in trials_of(folder)]
        is_running = TrialState.RUNNING in states
        if sum(state.is_finished for state in states) >= finished and is_running >= runs:
            return
        assert time.monotonic() < until, states
        time.sleep(0.02)


def check_end(folder: Path, before: list[Trial], *, trials: int) -> None:
    """A further run brings the study to its end; what had finished is as it was."""
    run = command.start(
        *write(folder, STUDY.replace("trials = 40", f"trials = {trials}")), engine={}
    )
    _, said = run.communicate(timeout=120)
    assert run.returncode == 0, said
    after = trials_of(folder)
    assert [trial.number for trial in after] == list(range(trials))
    assert {trial.state for trial in after} == {TrialState.COMPLETE}
    done = [trial for trial in before if trial.state.is_finished]
    assert after[: len(done)] == done
    assert len({trial.config for trial in after}) == trials


@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c_requeues_running_trials_and_twice_leaves_at_once(
    times: int, tmp_path: Path
) -> None:
    driver = command.start(*write(tmp_path), engine={"epoch_s": 0.2})
    wait_for(tmp_path, finished=1)
    for _ in range(times):
        driver.send_signal(signal.SIGINT)
        time.sleep(0.005)
    _, said = driver.communicate(timeout=120)
    assert driver.returncode == 130, said
    assert "Traceback" not in said
    before = trials_of(tmp_path)
    if times == 1:
        assert "stopped; the same command continues from here" in said
        assert TrialState.RUNNING not in {trial.state for trial in before}
    check_end(tmp_path, before, trials=len(before) + 1)


def test_a_second_ctrl_c_ends_a_driver_that_waits_for_a_locked_store(tmp_path: Path) -> None:
    os.mkfifo(fifo := tmp_path / "fifo")
    driver = command.start(*write(tmp_path), engine={"hang_at_epoch": 2, "hung": str(fifo)})
    fifo.read_text()
    assert driver.stderr is not None
    store = tmp_path / "store.db"
    with contextlib.closing(sqlite3.connect(store, timeout=120, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        driver.send_signal(signal.SIGINT)
        for line in driver.stderr:
            if "is locked by another process" in line:  # it cannot requeue its trial
                break
        driver.send_signal(signal.SIGINT)
        _, said = driver.communicate(timeout=120)
    assert driver.returncode == 130, said
    assert "Traceback" not in said
    before = trials_of(tmp_path)
    check_end(tmp_path, before, trials=len(before) + 1)


def suspend(driver: quick.Module, folder: Path) -> None:
    """Stop its process, but not while it writes the store, which would stay locked."""
    store = folder / "store.db"
    with contextlib.closing(sqlite3.connect(store, timeout=0, isolation_level=None)) as other:
        while True:
            driver.send_signal(signal.SIGSTOP)
            while ") T " not in Path(f"/proc/{driver.child}/stat").read_text():
                time.sleep(0.01)
            try:
                other.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:
                driver.send_signal(signal.SIGCONT)
                time.sleep(0.02)
            else:
                other.execute("ROLLBACK")
                return


def test_a_driver_suspended_longer_than_its_lease_loses_the_study_and_writes_nothing_more(
    tmp_path: Path,
) -> None:
    few = STUDY.replace("trials = 40", "trials = 6")
    give_passes(gate := tmp_path / "gate", 1)
    first = command.start(*write(tmp_path, few), engine={"gate": str(gate)}, lease_s=3.0)
    wait_for(tmp_path, finished=1)
    suspend(first, tmp_path)
    (gate / "open").touch()
    with Store(f"sqlite:///{tmp_path}/store.db", read_only=True) as store:
        while store.stored_study("small").is_running:
            time.sleep(0.05)
    before = trials_of(tmp_path)
    second = command.start(*write(tmp_path, few), engine={"epoch_s": 0.02}, lease_s=3.0)
    wait_for(tmp_path, finished=2, runs=False)
    first.send_signal(signal.SIGCONT)
    _, said = first.communicate(timeout=120)
    assert first.returncode == 2, said
    assert "this run lost the study 'small' to " in said.splitlines()[-1]
    _, said = second.communicate(timeout=120)
    assert second.returncode == 0, said
    after = trials_of(tmp_path)
    assert {trial.state for trial in after} == {TrialState.COMPLETE}
    done = [trial for trial in before if trial.state.is_finished]
    assert (len(after), after[: len(done)]) == (6, done)
    host = socket.gethostname()
    with Store(f"sqlite:///{tmp_path}/store.db") as store:
        for trial in after:
            assert [m.epoch for m in store.measurements("small", trial.number)] == [1, 2, 3]
        assert [e.message for e in store.events("small") if e.kind == "lease"] == [
            f"{host}:{second.child} took over from {host}:{first.child}, whose lease had expired"
        ]


def test_a_killed_driver_is_not_shown_as_running(tmp_path: Path) -> None:
    driver = command.start(*write(tmp_path), engine={"epoch_s": 200.0})
    wait_for(tmp_path, finished=0)
    url = f"sqlite:///{tmp_path}/store.db"
    with Store(url, read_only=True) as store:
        assert store.stored_study("small").is_running
        driver.kill()
        driver.communicate(timeout=120)
        assert not store.stored_study("small").is_running
        assert not store.study_summaries()[0].is_running
    asked = command.start("status", "small", "--store", url)
    told, _ = asked.communicate(timeout=120)
    gone = f"not running: process {socket.gethostname()}:{driver.child} ended unexpectedly"
    assert gone in " ".join(told.split())
    assert "interrupted, will run again: trial 0" in told


def test_a_network_too_large_for_the_memory_that_a_process_may_have_is_a_pruned_trial(
    tmp_path: Path,
) -> None:
    """The limit is real, and met inside torch; the trial beside it is trained."""
    words = write(tmp_path, LARGE)
    limited = [sys.executable, "-c", LIMITED, *map(str, words)]
    root = Path(__file__).parents[3]
    done = subprocess.run(limited, cwd=root, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    small, large = sorted(trials_of(tmp_path), key=lambda trial: int(trial.params["width"]))
    assert small.state is TrialState.COMPLETE
    assert large.state is TrialState.PRUNED
    assert large.reason.startswith("out of memory: ")
    assert large.constraint_violation > 0


LIMITED = """
import resource, sys
from search.commands import cli
from search.worker import trial_run
import torch, snn.training.train
size = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (size + 1_500_000_000, resource.RLIM_INFINITY))
sys.exit(cli.main(sys.argv[1:]))
"""
LARGE = """
name = "small"
objectives = ["accuracy"]
[budget]
trials = 2
[run]
dataset = "digits"
backbone = "mlp2"
train_images = 100
epochs = 1
timesteps = 2
[space]
width = [4, 65_536]
[search]
sampler = "random"
"""


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (
            torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
            "out of memory: ",
        ),
        (DivergedError("loss is nan"), "diverged: loss is nan"),
    ],
)
def test_divergence_and_lack_of_memory_prune_a_trial_and_the_study_continues(
    error: Exception, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = train.Training.__iter__
    begun = 0

    def failing(self: train.Training) -> Iterator[Measurement]:
        nonlocal begun
        begun += 1
        for measurement in training(self):
            if begun == 2:
                raise error
            yield measurement

    monkeypatch.setattr(train.Training, "__iter__", failing)
    undisturbed(
        tmp_path / "store", study_from_toml(DIGITS.replace("trials = 5", "trials = 3")), None
    )
    ended = trials_of(tmp_path / "store")[1]
    states = [trial.state for trial in trials_of(tmp_path / "store")]
    assert states == [TrialState.COMPLETE, TrialState.PRUNED, TrialState.COMPLETE]
    assert ended.reason.startswith(reason)
    assert (ended.constraint_violation > 0) == ("memory" in reason)
