"""The loop in one process: what Ctrl-C and kill -9 leave behind, and the real engine."""

import json
import os
import signal
from pathlib import Path

import pytest

from search.runners.run import RunReport, run_study
from search.store.store import Store
from search.study.study import study_from_toml
from search.trial.trial import TrialState
from tests.search import driver
from tests.search.fake_engine import FakeEngine

STUDY = """
name = "small"
objectives = ["accuracy", "synaptic_ops"]
[budget]
trials = 3
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
trials = 2
[run]
dataset = "digits"
train_images = 200
width = 4
epochs = 2
timesteps = 2
[space]
partition = { max_blocks = 2 }
exit_threshold = { low = 0.5, high = 0.99 }
[search]
sampler = "random"
"""


def continue_in(folder: Path) -> dict[str, object]:
    process = driver.start(folder, STUDY, workers=0)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    report: dict[str, object] = json.loads(out)
    return report


@pytest.mark.parametrize("is_killed", [False, True], ids=["interrupted", "killed"])
def test_a_driver_that_ends_in_a_trial_is_continued_to_exactly_the_trials_asked_for(
    tmp_path: Path, is_killed: bool
) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    process = driver.start(tmp_path, STUDY, workers=0, fifo=fifo)
    fifo.read_text()
    process.send_signal(signal.SIGKILL if is_killed else signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert process.returncode == (-signal.SIGKILL if is_killed else 130), err
    url = f"sqlite:///{tmp_path}/store.db"
    with Store(url) as store:
        left = store.stored_study("small")
        state = TrialState.RUNNING if is_killed else TrialState.WAITING
        assert [trial.state for trial in store.trials("small")] == [state]
        assert (left.lease_holder is None) == (not is_killed)
        assert bool(store.measurements("small", 0)) == is_killed
    assert continue_in(tmp_path)["trials"] == {"complete": 3}
    with Store(url) as store:
        assert [trial.state for trial in store.trials("small")] == [TrialState.COMPLETE] * 3
        assert [m.epoch for m in store.measurements("small", 0)] == [1, 2, 3]
        events = [(e.kind, e.trial) for e in store.events("small")]
        assert events == [("lease", None)] * is_killed + [("requeued", 0)]
        why = "its driver was lost" if is_killed else "its driver stopped"
        assert store.events("small")[-1].message.startswith(why)


def run(folder: Path, study: str, engine: FakeEngine | None = None) -> RunReport:
    with Store(f"sqlite:///{folder}/store.db") as store:
        return run_study(
            study_from_toml(study),
            store=store,
            artifacts=folder,
            data_dir=folder,
            workers=0,
            engine=engine,
        )


def test_a_report_says_what_was_done_and_where_the_time_went(tmp_path: Path) -> None:
    report = run(tmp_path, STUDY, FakeEngine())
    assert report.trials == {TrialState.COMPLETE: 3}
    assert report.stopped == "all 3 trials of the budget were run"
    assert (report.training_s, report.evaluation_s, report.ray_start_s) == (0.75, 0.375, 0.0)
    assert 0 < report.sampler_s + report.store_s < report.total_s
    again = run(tmp_path, STUDY, FakeEngine())
    assert (again.trials, again.stopped) == ({}, report.stopped)


def test_networks_are_trained_and_measured(tmp_path: Path) -> None:
    report = run(tmp_path, DIGITS)
    assert report.trials == {TrialState.COMPLETE: 2}
    assert report.training_s > 0
    with Store(f"sqlite:///{tmp_path}/store.db") as store:
        for trial in store.trials("digits"):
            assert trial.config is not None
            assert trial.artifact is not None
            assert trial.sampled is not None
            assert len(store.measurements("digits", trial.number)) == trial.config.total_epochs
            assert Path(trial.artifact.uri).stat().st_size == trial.artifact.size_bytes
            assert trial.sampled.metrics["accuracy"] > 0.1
        assert store.hypervolume("digits")[-1].value > 0


def test_networks_that_are_stopped_early_leave_their_measurements_and_no_weights(
    tmp_path: Path,
) -> None:
    study = DIGITS.replace("trials = 2", "trials = 6").replace("epochs = 2", "epochs = 4")
    report = run(tmp_path, study + 'stopping = "moasha"\n')
    assert report.trials.keys() == {TrialState.COMPLETE, TrialState.PRUNED}
    with Store(f"sqlite:///{tmp_path}/store.db") as store:
        for trial in store.trials("digits"):
            assert trial.config is not None
            epochs = store.measurements("digits", trial.number)
            assert len(epochs) == trial.epochs_done + trial.epochs_reused
            weights = (
                tmp_path / store.stored_study("digits").folder / f"{trial.number:05d}.safetensors"
            )
            is_trained = trial.state is TrialState.COMPLETE and trial.reused_trial is None
            assert weights.is_file() == is_trained
            if trial.stopped_rung:
                assert trial.sampled is None
                assert 0 < len(epochs) < trial.config.total_epochs
                at_rung = store.rungs("digits", trial.number)[-1]
                assert (at_rung.rung, at_rung.epochs_done) == (trial.stopped_rung, len(epochs))
                assert at_rung.sampled.metrics.keys() == {"accuracy", "synaptic_ops"}
                assert trial.timings.training_s > 0 < trial.timings.evaluation_s


SHARED = """
name = "shared"
objectives = ["accuracy", "synaptic_ops"]
[budget]
trials = 4
[run]
train_images = 200
width = 4
epochs = 1
timesteps = 2
[space]
partition = ["1", "1+1", "1+1+1", "1+2"]
[search]
sampler = "random"
"""


def figures_of(folder: Path) -> dict[str, tuple[str, float, list[float]]]:
    """By partition: the weights, and what does not depend on the clock."""
    with Store(f"sqlite:///{folder}/store.db") as store:
        found = {}
        for trial in store.trials("shared"):
            assert trial.artifact is not None
            assert trial.sampled is not None
            losses = [m.loss for m in store.measurements("shared", trial.number)]
            accuracy = trial.sampled.metrics["accuracy"]
            found[str(trial.params["partition"])] = (trial.artifact.sha256, accuracy, losses)
    return found


def test_trials_share_blocks_and_find_what_they_would_find_alone(tmp_path: Path) -> None:
    """Of 8 blocks in four partitions 4 are different ones."""
    shared = run(tmp_path / "shared", SHARED)
    apart = run(tmp_path / "apart", SHARED + "reuse_blocks = false\n")
    assert (shared.epochs_reused, apart.epochs_reused) == (4, 0)
    assert figures_of(tmp_path / "shared") == figures_of(tmp_path / "apart")
    assert len(list((tmp_path / "shared" / "blocks").iterdir())) == 4
    assert not (tmp_path / "apart" / "blocks").exists()


def test_another_study_of_the_same_artifacts_shares_them_too(tmp_path: Path) -> None:
    run(tmp_path, SHARED)
    second = run(tmp_path, SHARED.replace('name = "shared"', 'name = "second"'))
    assert second.epochs_reused == 8
    limited = SHARED.replace('name = "shared"', 'name = "third"') + "block_cache_mb = 1\n"
    assert run(tmp_path, limited).epochs_reused == 8
