"""A store and an exported folder of the version before are read, and its study goes on.

`data/earlier` was made by version 0006 of the schema: a study of five trials on digits, with
weights, one confirmed point, and an exported network with its NIR graph.
"""

import json
import shutil
from pathlib import Path

import pytest

from search.commands import cli
from search.runners.driver import check_question
from search.runners.warm_start import prior_trials_of
from search.store.store import Store
from search.study.prior_trials import fitting, read_csv
from search.study.study import load_study, study_from_toml
from search.trial.trial import TrialState
from snn.settings.config import SETTINGS, current_names, first_names

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


RENAMED = [
    (name, earlier, now)
    for name, setting in SETTINGS.items()
    for earlier, now in setting.earlier.items()
]


@pytest.mark.parametrize(("name", "earlier", "now"), RENAMED)
def test_a_value_by_its_earlier_name_is_the_same_everywhere_in_a_study_file(
    name: str, earlier: str, now: str
) -> None:
    others = [value for value in SETTINGS[name].choices if value != now][:1]
    text = """
    name = "x"
    objectives = ["accuracy"]
    [space]
    width = {{ low = 1, high = 8, when = {{ {name} = "{value}" }} }}
    {name} = ["{value}", "{other}"]
    [search]
    initial_points = [{{ {name} = "{value}" }}]
    """
    studies = [
        study_from_toml(text.format(name=name, value=value, other=others[0]))
        for value in (earlier, now)
    ]
    first, second = studies
    assert first.space == second.space
    assert first.search == second.search
    assert first.question_fingerprint == second.question_fingerprint
    assert first.differences(second) == []
    fixed = [study.with_overrides(sets={name: value}) for study in studies for value in (earlier,)]
    assert fixed[0].space.axes[name].describe() == fixed[1].space.axes[name].describe() == now
    settings = {name: earlier, "width": 4}
    assert current_names(settings) == {name: now, "width": 4}
    assert first_names(current_names(settings)) == settings


def test_a_study_stored_under_the_later_name_asks_what_it_asked(folder: Path) -> None:
    """Fingerprints were made of the names in the file."""
    file = folder / "small.toml"
    study = load_study(file)
    with Store("sqlite:///store.db") as store:
        assert study.asks(store.stored_study("small").question_fingerprint)
        file.write_text(file.read_text().replace('"chunked"', '"checkpointed"'))
        assert not check_question(store, load_study(file))
    digest = "0" * 16
    assert not study.asks(digest)


def test_earlier_names_of_values_are_current_ones_wherever_the_store_is_read(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = folder / "small.toml"
    (folder / "next.toml").write_text(
        file.read_text().replace('name = "small"', 'name = "next"').replace("chunked", "auto")
    )
    file.write_text(file.read_text().replace('"chunked"', '"checkpointed"'))
    study = load_study(file)
    with Store("sqlite:///store.db") as store:  # migrates
        modes = [trial.params["memory_mode"] for trial in store.trials("small")]
        assert set(modes) == {"full", "checkpointed"}
        points = store.operating_points("small")
        assert {point.params["memory_mode"] for point in points} <= set(modes)
        assert [params["memory_mode"] for params in store.columns("small", ()).trials.params] == (
            modes
        )
        prior = prior_trials_of(study, store, "small")
        assert len(prior.trials) == 3  # the other two were stopped early
        assert not any("memory_mode" in reason for reason in prior.skipped)
        left_out = prior_trials_of(load_study(folder / "next.toml"), store, "small").skipped
    assert any("must be one of full, auto, got 'checkpointed'" in reason for reason in left_out)
    (folder / "x.csv").write_text(
        "partition,timesteps,learning_rate,memory_mode,accuracy,synaptic_ops,model_bytes\n"
        "2,3,0.01,chunked,0.9,1000,5000\n2,3,0.01,checkpointed,0.9,1000,5000\n"
    )
    found = fitting(study, read_csv(folder / "x.csv", study))
    assert [trial.params["memory_mode"] for trial in found.trials] == ["checkpointed"] * 2
    assert (
        cli.main(
            [
                "show",
                "small",
                str(modes.index("checkpointed")),
                "--json",
                "--store",
                "sqlite:///store.db",
            ]
        )
        == 0
    )
    assert json.loads(capsys.readouterr().out)["params"]["memory_mode"] == "checkpointed"
