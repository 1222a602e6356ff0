"""Reproduction: exact on this machine, within tolerances on another."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, safe_open, save_file

from search.commands import cli
from search.export.folder import Difference, is_same, read_folder
from search.export.reproduction import elsewhere, tolerable
from search.text.json_text import json_text
from search.trial.trial import Outcome
from search.worker import engine, trial_run
from snn.evaluation import evaluate, recording
from snn.evaluation.recording import Recording
from snn.network.network import Network
from snn.network.trained import Images
from snn.settings.config import RunConfig
from tests.snn.data.test_data import idx_images, idx_labels

SETTINGS = """backbone = "resnet5"
dataset = "mnist"
width = 2
epochs = 1
timesteps = 2
head_hidden = 0
train_images = 60
partition = "1+1"
"""

Run = Callable[..., tuple[int, str]]


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images like MNIST's, few of them."""
    folder = tmp_path_factory.mktemp("data") / "mnist"
    folder.mkdir()
    draws = np.random.default_rng(0)
    for part, count in (("train", 80), ("t10k", 20)):
        images = draws.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        (folder / f"{part}-images-idx3-ubyte").write_bytes(idx_images(images))
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(idx_labels(np.arange(count) % 10))
    return folder.parent


@pytest.fixture(scope="module")
def mine(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained network as a folder."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "mine.toml").write_text(SETTINGS)
    words = ["train", str(folder / "mine.toml"), "--out", str(folder / "mine"), "--device", "cpu"]
    assert cli.main([*words, "--data", str(data_dir)]) == 0
    return folder / "mine"


@pytest.fixture
def run(
    mine: Path,
    data_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Run:
    """Runs a command where a copy of the folder is `mine`; its exit code and words."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SPIKEFRONT_DATA", str(data_dir))
    shutil.copytree(mine, tmp_path / "mine")

    def _run(*words: str) -> tuple[int, str]:
        capsys.readouterr()
        code = cli.main(list(words))
        out, err = capsys.readouterr()
        return code, out + err

    return _run


def test_a_folder_and_its_config_file_train_to_the_same_weights(run: Run) -> None:
    for source in ("mine", "mine/config.toml"):
        code, said = run("train", source)
        assert code == 0
        assert "the same weights as mine, bit for bit" in said


@pytest.mark.parametrize(("asked", "threads"), [(None, 1), ("3", 3), ("many", 1)])
def test_a_training_has_no_more_threads_than_processors_are_allowed_or_what_is_asked_for(
    asked: str | None,
    threads: int,
    run: Run,
    one_processor: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It had a thread for each processor of the machine, also for those that it may not use."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if asked is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", asked)
    Path("mine.toml").write_text(SETTINGS)
    assert run("train", "mine.toml", "--out", "new")[0] == 0
    assert read_folder(Path("new")).recorded.environment["threads"] == threads


def test_after_its_epochs_a_training_runs_once_over_the_validation_images(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not once more for the folder, which has the same reports as an evaluation of it."""
    recorded = []

    def counted(network: Network, images: Images) -> Recording:
        recorded.append(len(images.labels))
        return recording.record(network, images)

    monkeypatch.setattr(evaluate, "record", counted)
    code, _ = run("train", "mine", "--out", "again")
    assert code == 0
    assert len(recorded) == 1
    code, said = run("evaluate", "again")
    assert (code, len(recorded)) == (0, 2)
    assert "exactly equal to the recorded metrics" in said
    path, folder = Path("again"), read_folder(Path("again"))
    found = engine.evaluate_weights(
        folder.config, path / "weights.safetensors", data_dir=Path(os.environ["SPIKEFRONT_DATA"])
    )
    document = json.loads((path / "metrics.json").read_text())
    assert document["exits"] == json.loads(json_text(found.exits))
    assert document["layers"] == json.loads(json_text(found.layers))


def test_metrics_json_has_seed_data_environment_and_machine(run: Run) -> None:
    document = json.loads(Path("mine/metrics.json").read_text())
    assert document["seed"] == 0
    assert len(document["data"]["fingerprint"]) == 16
    named = {"spikefront", "python", "torch", "numpy", "device", "machine", "processor", "engine"}
    assert named | {"threads"} == document["environment"].keys()
    assert document["machine"].keys() == {"system", "architecture", "processors"}
    assert "git_commit" in document


def test_a_weight_that_was_changed_is_noticed(run: Run) -> None:
    path = Path("mine/weights.safetensors")
    tensors = load_file(path)
    with safe_open(path, framework="pt") as file:
        header = file.metadata()
    name = next(name for name in tensors if name.endswith("weight"))
    tensors[name].view(-1)[0] += 1
    save_file(tensors, path, metadata=header)
    code, said = run("evaluate", "mine")
    assert code == 1
    assert "changed weights: weights.safetensors has SHA-256" in said


def test_a_label_that_was_changed_is_noticed(run: Run, data_dir: Path, tmp_path: Path) -> None:
    shutil.copytree(data_dir, tmp_path / "others")
    path = tmp_path / "others" / "mnist" / "t10k-labels-idx1-ubyte"
    path.write_bytes(path.read_bytes()[:-1] + b"\0")
    code, said = run("evaluate", "mine", "--data", "others")
    assert code == 1
    assert "other data: mnist has fingerprint" in said
    assert run("evaluate", "mine")[0] == 0


def edited(change: Callable[[dict[str, Any]], object]) -> None:
    path = Path("mine/metrics.json")
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


def test_another_machine_may_differ_a_little_and_says_so(run: Run) -> None:
    def elsewhere_by(share: float) -> Callable[[dict[str, Any]], object]:
        def change(document: dict[str, Any]) -> None:
            document["environment"]["processor"] = "another"
            document["validation"]["metrics"]["synaptic_ops"] *= 1 + share

        return change

    edited(elsewhere_by(0.01))
    code, said = run("evaluate", "mine")
    assert code == 0
    assert "small differences, as expected on another machine" in said
    assert "(recorded: another)" in said
    edited(elsewhere_by(0.2))
    code, said = run("evaluate", "mine")
    assert code == 1
    assert "differences too large for another machine" in said


def test_the_same_machine_may_not_differ_at_all(run: Run) -> None:
    edited(lambda d: d["validation"]["metrics"].update(synaptic_ops=1.0))
    assert run("evaluate", "mine")[0] == 1


def test_only_metrics_of_spikes_have_a_tolerance() -> None:
    def difference(name: str, recorded: float, measured: float) -> Difference:
        return Difference(name=name, recorded=recorded, measured=measured)

    assert tolerable([difference("accuracy", 0.9, 0.909)])
    assert not tolerable([difference("accuracy", 0.9, 0.92)])
    assert tolerable([difference("synaptic_ops", 1000, 1015), difference("accuracy", 0.5, 0.5)])
    assert not tolerable([difference("synaptic_ops", 1000, 1030)])
    assert not tolerable([difference("model_bytes", 1000, 1001)])


def test_an_environment_that_was_not_recorded_excuses_nothing() -> None:
    here = {"torch": "2.13.0", "device": "cpu", "processor": "x", "threads": 1}
    assert elsewhere({}, here) == []
    assert elsewhere({"torch": "2.13.0", "threads": 2}, here) == ["threads 1 (recorded: 2)"]


# ---- other arithmetic, in the place of another device


CONFIG = RunConfig(
    backbone="resnet5",
    partition="1+1",
    width=4,
    head_hidden=16,
    epochs=2,
    train_images=200,
    timesteps=3,
)


def trained(weights: Path) -> tuple[list[float], Outcome]:
    """Losses epoch by epoch, and what came of it."""
    running = trial_run.TrialRun(CONFIG, data_dir=Path(), weights_path=weights)
    losses = [measurement.loss for measurement in running]
    return losses, running.outcome


@pytest.mark.filterwarnings("ignore:TF32 acceleration:UserWarning")
def test_other_arithmetic_stays_within_the_tolerances(tmp_path: Path) -> None:
    """Convolutions by torch's own code in the place of oneDNN's: sums in another order.

    The same weights give nearly the same figures. Training begins from the same weights
    and batches, so that its first epoch's loss is nearly the same.
    """
    here, there = tmp_path / "here", tmp_path / "there"
    losses, outcome = trained(here)
    assert outcome.evaluation is not None
    with torch.backends.mkldnn.flags(enabled=False):
        again = engine.evaluate_weights(CONFIG, here, data_dir=Path())
        others, _ = trained(there)
    assert here.read_bytes() != there.read_bytes()  # it is another arithmetic
    ours, theirs = outcome.evaluation.sampled.metrics, again.sampled.metrics
    differing = [
        Difference(name=name, recorded=ours[name], measured=theirs[name])
        for name in ours
        if name != "training_s" and not is_same(ours[name], theirs[name])
    ]
    assert tolerable(differing)
    assert others[0] == pytest.approx(losses[0], rel=1e-2)
