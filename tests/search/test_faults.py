"""Faults, each for real: what was finished stays, nothing runs twice, nothing is stuck."""

import dataclasses
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from search.run import run_study
from search.store import Store
from search.study import Study, study_from_toml
from search.trial import TrialState
from tests.search.fake_engine import FakeEngine
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
STOPPING_DIGITS = DIGITS.replace("trials = 5", "trials = 7").replace("epochs = 2", "epochs = 3")
STOPPING_DIGITS += 'stopping = "moasha"\n'


def history(folder: Path, *, timeless: bool = True) -> list[object]:
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
    ("text", "epoch_s", "times", "within_s"),
    [
        (STUDY, 0.01, 20, 0.15),
        (DIGITS, None, 4, 0.6),
        (STOPPING, 0.005, 12, 0.15),
        (STOPPING_DIGITS, None, 4, 0.6),
    ],
    ids=["twenty times", "while it trains", "while it stops early", "while it trains and stops"],
)
def test_a_driver_killed_at_random_moments_ends_with_what_an_undisturbed_one_has(
    text: str, epoch_s: float | None, times: int, within_s: float, tmp_path: Path
) -> None:
    study = study_from_toml(text)
    engine = None if epoch_s is None else FakeEngine()
    undisturbed(tmp_path / "undisturbed", study, engine)
    (tmp_path / "killed").mkdir()
    killed = kill(tmp_path / "killed", text, times=times, within_s=within_s, epoch_s=epoch_s)
    assert killed == times
    with Store(f"sqlite:///{tmp_path}/killed/store.db") as store:
        trials = store.trials("small")
        assert [trial.number for trial in trials] == list(range(study.budget.trials or 0))
        ended = {TrialState.PRUNED} if "moasha" in text else set()
        assert {trial.state for trial in trials} == {TrialState.COMPLETE, *ended}
        events = store.events("small")
        assert sum(event.kind == "requeued" for event in events) > times / 3  # it did hurt
        assert store.stored_study("small").lease_holder is None
    assert history(tmp_path / "killed") == history(tmp_path / "undisturbed")


def test_a_trial_that_hangs_is_ended_at_the_end_of_its_time_and_the_study_goes_on(
    tmp_path: Path,
) -> None:
    usual = signal.getsignal(signal.SIGALRM)
    text = STUDY.replace("trials = 40", "trials = 4\ntrial_minutes = 0.005")
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
                assert trial.reason == "took longer than budget.trial_minutes (0.005)"
            else:
                assert (trial.state, epochs) == (TrialState.COMPLETE, [1, 2, 3])
    assert signal.getsignal(signal.SIGALRM) is usual


SMALL_DISK = """
mount -t tmpfs -o size=128k tmpfs artifacts || exit 77
"$@"
code=$?
cd artifacts && find . -type f | sort | xargs sha256sum > ../kept
exit $code
"""


def test_trials_keep_all_but_their_weights_when_the_disk_of_artifacts_is_full(
    tmp_path: Path,
) -> None:
    (tmp_path / "artifacts").mkdir()
    (tmp_path / "small.toml").write_text(DIGITS)
    words = [sys.executable, "-m", "search.cli", "run", "small.toml", "--workers", "0"]
    words += ["--store", "sqlite:///store.db", "--artifacts", "artifacts"]
    mapped = [] if os.getuid() == 0 else ["--map-root-user"]
    done = subprocess.run(
        ["unshare", *mapped, "--mount", "sh", "-c", SMALL_DISK, "sh", *words],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        timeout=120,
    )
    if done.returncode in (1, 77) and "store.db" not in os.listdir(tmp_path):
        pytest.skip(f"no file system can be mounted here: {done.stderr}")
    assert done.returncode == 0, done.stderr
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
                assert trial.reason == "weights were not kept: No space left on device"
            else:
                name = Path(trial.artifact.uri).name
                assert digests[f"./small/{name}"] == trial.artifact.sha256
    whole = re.compile(r"\./(small/\d{5}\.safetensors(\.times\.json)?|blocks/\w+\.block)")
    assert [name for name in digests if not whole.fullmatch(name)] == []  # nothing half-written
    assert "weights were not kept: No space left on device" in done.stderr
