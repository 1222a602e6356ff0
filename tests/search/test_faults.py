"""Faults, each for real: what was finished stays, nothing runs twice, nothing is stuck."""

import dataclasses
import signal
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


def history(folder: Path, *, timeless: bool = True) -> list[object]:
    """What the store has of each trial, but for what a clock measured and where its files are."""
    kept: list[object] = []
    with Store(f"sqlite:///{folder}/store.db", read_only=True) as store:
        for trial in store.trials("small"):
            assert trial.artifact is not None
            kept += [trial.number, trial.state, trial.params, trial.config, trial.sampler_state]
            kept += [trial.epochs_done + trial.epochs_reused, trial.artifact.sha256]
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
    [(STUDY, 0.01, 20, 0.15), (DIGITS, None, 4, 0.6)],
    ids=["twenty times", "while it trains"],
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
        assert {trial.state for trial in trials} == {TrialState.COMPLETE}
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
