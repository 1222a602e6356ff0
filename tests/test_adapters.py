"""The examples in other libraries, searched and confirmed where these libraries are installed."""

import shutil
from pathlib import Path

import pytest

import search
from search.trial.trial import TrialState
from tests import pages

PAGE = Path(__file__).parent.parent / "docs" / "how-to" / "own-training-libraries.md"
BLOCKS = {block.file: block.text for block in pages.blocks(PAGE) if block.file}
LIBRARIES = {
    "with_torch": (None, {}),
    "with_snntorch": ("snntorch", {"beta": 0.9, "timesteps": 3}),
    "with_spikingjelly": ("spikingjelly", {"tau": 2.0, "timesteps": 3}),
    "with_norse": ("norse", {"tau_mem_inv": 200.0, "timesteps": 3}),
}
MOST_LINES = 40


@pytest.mark.parametrize("module", LIBRARIES)
def test_a_training_of_a_library_is_searched_and_confirmed(
    module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library, axes = LIBRARIES[module]
    if library is not None:
        pytest.importorskip(library)
        pytest.importorskip("neurobench")
    code = BLOCKS[f"{module}.py"]
    assert code.count("\n") <= MOST_LINES
    (tmp_path / f"{module}.py").write_text(code)
    (tmp_path / "images.py").write_text(BLOCKS["images.py"])
    monkeypatch.chdir(tmp_path)
    study = search.Study(
        name=module,
        objectives=["accuracy", "parameters" if library is None else "synaptic_ops"],
        run={"train": f"{module}:train", "epochs": 1, "learning_rate": 0.01, "depth": 1, **axes},
        space={"width": [8, 16]},
        budget={"trials": 2, "workers": 0},
    )
    with search.open_store("sqlite:///store.db") as store:
        search.run(study, store=store, quiet=True)
        trials = store.trials(module)
        assert {t.state for t in trials} == {TrialState.COMPLETE}, [t.error for t in trials]
        for trial in trials:
            assert trial.sampled is not None
            width = int(trial.params["width"])
            weights = 64 * width + width + 10 * width + 10
            assert trial.sampled.metrics["parameters"] == weights
        report = search.confirm(module, picks=["knee"], seeds=1, store=store, quiet=True)
        assert report.trainings == {TrialState.COMPLETE: 1}
    shutil.rmtree(tmp_path / "runs")


def test_parametrised_weights_are_refused() -> None:
    torch = pytest.importorskip("torch")
    pytest.importorskip("neurobench")
    layer = torch.nn.utils.parametrizations.weight_norm(torch.nn.Linear(2, 2))
    with pytest.raises(ValueError, match="0 has parametrised weights"):
        search.neurobench_metrics(torch.nn.Sequential(layer), None)


def test_a_missing_library_is_named_with_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("search.neurobench.is_there", lambda name: False)
    with pytest.raises(ImportError, match="needs neurobench, which is not installed: pip install"):
        search.neurobench_metrics(None, None)
