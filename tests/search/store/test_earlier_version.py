"""A store and an exported folder of the version before are read, and its study goes on.

`data/earlier` was made by version 0006 of the schema: a study of five trials on digits, with
weights, one confirmed point, and an exported network with its NIR graph.
"""

import json
import shutil
from pathlib import Path

import pytest

from search.commands import cli
from search.store.store import Store
from search.trial.trial import TrialState

EARLIER = Path(__file__).parent / "data" / "earlier"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(EARLIER, tmp_path / "project")
    monkeypatch.chdir(tmp_path / "project")
    return tmp_path / "project"


def test_an_earlier_study_is_shown_and_continues_with_the_same_file(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store_option = ["--store", "sqlite:///store.db"]
    words = ["run", "small.toml", *store_option, "--artifacts", "artifacts", "--trials", "7"]
    assert cli.main([*words, "--quiet"]) == 0
    capsys.readouterr()
    assert cli.main(["front", "small", *store_option, "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    with Store("sqlite:///store.db", read_only=True) as store:
        trials = store.trials("small")
        front = store.operating_points("small", front_only=True)
        stored = store.stored_study("small")
        assert len(store.confirmed("small")) == 1
    assert len(shown["points"]) == len(front) > 0
    assert [trial.number for trial in trials] == list(range(7))
    assert {trial.state for trial in trials} <= {TrialState.COMPLETE, TrialState.PRUNED}
    for trial in trials[:3]:  # found, although the project was moved since
        assert trial.artifact is not None
        assert Path(trial.artifact.uri) == folder / "artifacts" / "small" / (
            f"{trial.number:05d}.safetensors"
        )
    assert stored.artifacts_id is not None
    for trial in trials[5:]:
        if trial.artifact is not None and trial.reused_trial is None:
            assert Path(trial.artifact.uri).parent == folder / "artifacts" / stored.folder


def test_a_network_exported_by_an_earlier_version_gives_its_recorded_figures(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["evaluate", str(folder / "exported"), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    recorded = json.loads((folder / "exported" / "metrics.json").read_text())
    validation = recorded["validation"]
    for name in ("accuracy", "synaptic_ops", "spikes_per_inference", "model_bytes"):
        assert said["metrics"][name] == pytest.approx(validation["metrics"][name]), name
