"""The interface for scripts and notebooks: names, sequences, figures, networks."""

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import search
import snn
from dashboard.figures.theme import PALETTES
from search.export.folder import read_folder
from search.worker import engine
from snn.evaluation.evaluate import infer, sampled_setting
from tests.dashboard.example_store import fill

ROOT = Path(__file__).parent.parent
TINY = {
    "dataset": "digits",
    "width": 4,
    "head_hidden": 0,
    "epochs": 1,
    "train_images": 100,
    "timesteps": 2,
    "dropout": 0.1,
}


def tiny(**changes: Any) -> search.Study:
    tables: dict[str, Any] = {
        "name": "tiny",
        "question": "Does a script search?",
        "objectives": ("accuracy", "synaptic_ops"),
        "run": TINY,
        "space": {"partition": ["3", "1+2"], "exit_threshold": {"low": 0.2, "high": 0.9}},
        "budget": {"trials": 2},
    }
    return search.Study(**{**tables, **changes})


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> search.ResultStore:
    """A store with a study that was searched from Python."""
    folder = tmp_path_factory.mktemp("searched")
    store = search.open_store(f"sqlite:///{folder}/store.db")
    search.run(tiny(), store=store, workers=0, artifacts=folder / "artifacts", quiet=True)
    return store


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> search.ResultStore:
    """A store with two generated studies."""
    url = f"sqlite:///{tmp_path_factory.mktemp('filled')}/store.db"
    fill(url, name="digits", count=24)
    fill(url, name="other", count=16)
    return search.open_store(url, read_only=True)


def test_every_public_name_is_found_and_documented() -> None:
    for module in (search, snn):
        assert set(module.__all__) <= set(dir(module))
        for name in module.__all__:
            assert getattr(module, name).__doc__, name
        with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
            module.nothing  # noqa: B018


def test_importing_the_packages_loads_neither_each_other_nor_libraries() -> None:
    program = "import sys, search, snn; print(*sorted({m.partition('.')[0] for m in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT)
    loaded = set(done.stdout.split())
    assert {"search", "snn"} <= loaded
    assert not loaded & {"torch", "numpy", "sqlalchemy", "pandas", "optuna", "ray", "rich"}


def test_a_study_made_of_tables_is_the_study_of_its_text() -> None:
    study = tiny()
    again = search.study_from_toml(study.text)
    assert study.question == "Does a script search?"
    assert study == again
    assert study.with_overrides(trials=5).budget.trials == 5


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"space": {"widht": [4]}}, "space.widht is not a setting of a run; did you mean 'width'"),
        ({"run": {"width": object()}}, "has a value that a study file cannot have: Object"),
        ({"objectives": "accuracy"}, "objectives must"),
        ({"name": "a b"}, "name must be 1 to 100 letters"),
    ],
)
def test_a_study_of_wrong_tables_is_refused_by_key(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(search.StudyError, match=said):
        tiny(**changes)


def test_a_front_is_a_sequence_with_picks_and_a_frame(filled: search.ResultStore) -> None:
    front = filled.front("digits")
    assert len(front) == len(list(front)) > 3
    assert front.knee in front
    best = front.best("accuracy")
    assert best.metrics["accuracy"] == max(point.metrics["accuracy"] for point in front)
    assert front[0] is best
    limit = front.knee.metrics["accuracy"]
    cheap = front.pick(f"accuracy>={limit} best:synaptic_ops")
    assert cheap.metrics["accuracy"] >= limit
    frame = front.to_dataframe()
    assert list(frame["trial"]) == [point.trial for point in front]
    assert {"accuracy", "timesteps", "params_width"} <= set(frame.columns)
    assert 0 < (front.hypervolume or 0) < 1
    with pytest.raises(search.PickError, match="not a metric"):
        front.best("acuracy")
    with pytest.raises(search.StoreError, match="no study 'digit'"):
        filled.front("digit")


def test_trials_and_comparisons_are_sequences_with_frames(filled: search.ResultStore) -> None:
    trials = filled.trials("digits")
    frame = trials.to_dataframe()
    assert list(frame["trial"]) == [trial.number for trial in trials]
    assert set(frame["state"]) <= {"complete", "pruned", "failed", "running", "waiting"}
    compared = filled.compare(["digits", "other"])
    assert [side.study for side in compared] == ["digits", "other"]
    rows = compared.to_dataframe()
    assert list(rows["study"]) == ["digits", "other"]
    assert "best_accuracy" in rows
    with pytest.raises(ValueError, match="must name two or more studies"):
        filled.compare(["digits"])


def test_a_figure_shows_the_axes_that_were_asked(filled: search.ResultStore) -> None:
    front = filled.front("digits")
    figure = front.plot(x="timesteps", y="accuracy")
    assert "Timesteps" in figure.layout.xaxis.title.text
    assert "Accuracy" in figure.layout.yaxis.title.text
    assert "Synaptic" in front.plot().layout.xaxis.title.text
    with pytest.raises(ValueError, match=r"'acuracy' is not a metric.*did you mean 'accuracy'"):
        front.plot(y="acuracy")
    assert PALETTES["light"].background


def test_an_exported_network_answers_as_the_engine_does(
    searched: search.ResultStore, tmp_path: Path
) -> None:
    front = searched.front("tiny")
    exported = front.best("accuracy").export(tmp_path / "best")
    network = snn.load(exported.path)
    assert not network.training
    config = read_folder(exported.path).config
    images = engine.images_of(config, data_dir=Path("data"), test=True)
    answer = network(images.images)
    real = infer(network.network, images, sampled_setting(config, config.exits))
    assert answer.labels.tolist() == real.labels.tolist()
    assert answer.exits.tolist() == real.exits.tolist()
    assert set(answer.timesteps.tolist()) == {config.inference_timesteps}
    assert answer.logits.shape == (len(images.labels), 10)
    assert (answer.logits.argmax(dim=1) == answer.labels).all()
    assert answer.probabilities.sum(dim=1).allclose(answer.probabilities.new_ones(1))
    assert network(images.images[:3].numpy()).labels.tolist() == answer.labels[:3].tolist()
    with pytest.raises(ValueError, match="images must be uint8"):
        network(images.images[:3].float())


def test_a_folder_without_the_moments_of_its_data_reads_the_data(
    searched: search.ResultStore, tmp_path: Path
) -> None:
    import json

    import torch

    folder = searched.front("tiny").knee.export(tmp_path / "best").path
    network = snn.load(folder)
    document = json.loads((folder / "metrics.json").read_text())
    del document["input"]  # as earlier versions wrote it
    (folder / "metrics.json").write_text(json.dumps(document))
    assert torch.equal(snn.load(folder).mean, network.mean)
    document["input"] = {"mean": "x"}
    (folder / "metrics.json").write_text(json.dumps(document))
    with pytest.raises(snn.FolderError, match="input must have mean and std"):
        snn.load(folder)


def test_what_is_no_exported_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(snn.FolderError, match=r"has no config.toml and no metrics.json"):
        snn.load(tmp_path)


def test_frames_say_what_to_install(
    filled: search.ResultStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("search.text.requirements.is_there", lambda name: False)
    with pytest.raises(ImportError, match="pandas, which is not installed: pip install"):
        filled.trials("digits").to_dataframe()
    with pytest.raises(ImportError, match="plotly, which is not installed: pip install"):
        filled.front("digits").plot()


def test_a_cell_of_a_notebook_shows_progress_on_one_line() -> None:
    from search.runners.display import NotebookProgress
    from search.runners.progress import StudyProgress

    written: list[str] = []

    class Handle:
        def update(self, shown: dict[str, str], *, raw: bool) -> None:
            written.append(shown["text/plain"])

    def display(shown: dict[str, str], *, raw: bool, display_id: bool) -> Handle:
        written.append(shown["text/plain"])
        return Handle()

    progress = NotebookProgress(display)
    done = StudyProgress(
        study="tiny", counts={}, running=(), trials_asked=4, epochs_done=0, front_size=None,
        hypervolume=None, best_accuracy=None, elapsed_s=0.0, left_s=None,
    )  # fmt: skip
    begun = time.monotonic()
    for _ in range(100):
        progress.update(done)
    assert written[:2] == ["starting", "0/4 trials"]
    assert len(written) <= 3 + 4 * (time.monotonic() - begun)


def test_the_notebook_shows_a_front_as_a_table(filled: search.ResultStore) -> None:
    assert isinstance(filled.front("digits").to_dataframe(), pd.DataFrame)
    assert "<table" in filled.front("digits")._repr_html_()
