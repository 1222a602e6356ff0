"""Exported folders: written whole, and read with every check."""

import json
import math
import os
import shutil
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jinja2
import pytest

from search.export.export import Exported, at_point, export_point, export_run
from search.export.folder import (
    FILES,
    ExportError,
    check_target,
    config_text,
    differences,
    new_folder,
    read_config,
    read_folder,
)
from search.store.store import Store, StoredPoint
from search.study.study import study_from_toml
from search.text.artifacts import local_path, sha256_of
from search.trial.trial import Artifact, Outcome, Trial, TrialState
from search.worker import engine, trial_run
from search.worker.job import run_config
from snn.data.image_files import DataError
from snn.settings.config import ConfigError, RunConfig
from snn.settings.measurement import METRICS, Evaluation, OperatingPoint

NO_DATA = Path("no-data-sets-here")  # the digits come with scikit-learn

CONFIG = RunConfig(
    backbone="resnet5",
    partition="1+1",
    width=4,
    head_hidden=0,
    epochs=1,
    timesteps=2,
    train_images=100,
    detector="mass",
)

STUDY = """# Does a folder say what it holds?
name = "tiny"
objectives = ["accuracy", "synaptic_ops"]
[run]
epochs = 1
[space]
width = [4, 8]
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Outcome]:
    """A network of two blocks, trained for an epoch each."""
    weights = tmp_path_factory.mktemp("artifacts") / "trial-0.safetensors"
    running = trial_run.TrialRun(CONFIG, data_dir=NO_DATA, weights_path=weights)
    list(running)
    assert running.outcome.state is TrialState.COMPLETE, running.outcome.error
    return weights, running.outcome


@pytest.fixture
def store(trained: tuple[Path, Outcome], tmp_path: Path) -> Iterator[Store]:
    """A store whose study has that network as its only trial, all its points on the front."""
    with Store(f"sqlite:///{tmp_path / 'store' / 'spikefront.db'}") as store:
        store.create_study(study_from_toml(STUDY))
        trial = Trial(number=0, params={"width": 4}, state=TrialState.RUNNING, config=CONFIG)
        store.add_trial("tiny", trial)
        store.finish_trial("tiny", 0, trained[1])
        store.update_front("tiny", {p.id for p in store.operating_points("tiny")})
        yield store


def sampled(store: Store) -> StoredPoint:
    return next(p for p in store.operating_points("tiny") if p.point.is_sampled)


def shallow(store: Store) -> StoredPoint:
    """A point that needs the first block alone."""
    return next(p for p in store.operating_points("tiny") if p.point.blocks == 1)


def export(store: Store, point: StoredPoint, out: Path, *, force: bool = False) -> Exported:
    return export_point(store, "tiny", point, out, data_dir=NO_DATA, force=force)


def evaluated(folder: Path) -> Evaluation:
    return engine.evaluate_weights(
        read_folder(folder).config, folder / "weights.safetensors", data_dir=NO_DATA
    )


# ---- what is in a folder


def test_an_exported_folder_holds_four_files_and_nothing_else(store: Store, tmp_path: Path) -> None:
    export(store, sampled(store), tmp_path / "best")
    assert {p.name for p in (tmp_path / "best").iterdir()} == set(FILES)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["best", "store"]


@pytest.mark.parametrize("which", [sampled, shallow])
def test_a_folder_evaluates_to_the_metrics_of_the_store(
    store: Store, tmp_path: Path, which: object
) -> None:
    assert callable(which)
    point = which(store)
    export(store, point, tmp_path / "best")
    figures = evaluated(tmp_path / "best").sampled.metrics
    recorded = read_folder(tmp_path / "best").recorded.validation
    assert recorded == dict(point.point.metrics)
    assert differences(recorded, figures) == ()


@pytest.mark.parametrize("which", [sampled, shallow])
def test_training_the_config_of_a_folder_gives_its_weights_bit_for_bit(
    store: Store, tmp_path: Path, which: object
) -> None:
    assert callable(which)
    export(store, which(store), tmp_path / "best")
    weights = tmp_path / "again.safetensors"
    config = read_config(tmp_path / "best" / "config.toml")
    list(trial_run.TrialRun(config, data_dir=NO_DATA, weights_path=weights))
    assert sha256_of(weights) == sha256_of(tmp_path / "best" / "weights.safetensors")
    assert sha256_of(weights) == read_folder(tmp_path / "best").recorded.weights_sha256


def test_a_point_of_one_block_is_exported_as_a_network_of_one_block(
    store: Store, tmp_path: Path
) -> None:
    exported = export(store, shallow(store), tmp_path / "best")
    config = read_folder(tmp_path / "best").config
    assert config.partition == "1"
    assert exported.content.trained_as == CONFIG
    assert {layer.block for layer in exported.content.layers} == {1}
    assert "cut from" in (tmp_path / "best" / "README.md").read_text()


def test_the_config_of_a_point_is_the_same_training_at_that_point() -> None:
    point = OperatingPoint(
        timesteps=1, exit_thresholds=(0.6,), detector_threshold=0.2, blocks=2, metrics={}
    )
    config = at_point(CONFIG, point)
    assert config.exit_threshold == (0.6,)
    assert config.inference_timesteps == 1
    assert config.detector_threshold == 0.2
    assert config.training_fingerprint == CONFIG.training_fingerprint


def test_a_config_file_holds_every_setting_and_gives_the_same_config_back(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text(config_text(CONFIG, title="a title\nof two lines"))
    assert read_config(path) == CONFIG
    assert tomllib.loads(path.read_text()) == CONFIG.to_mapping()


def test_a_config_file_may_stand_in_the_run_table_of_a_study(store: Store, tmp_path: Path) -> None:
    export(store, sampled(store), tmp_path / "best")
    config = (tmp_path / "best" / "config.toml").read_text().replace("\nseed = 0\n", "\n")
    head = 'name = "more"\nobjectives = ["accuracy"]\n[space]\nseed = [1, 2, 3]\n[run]\n'
    study = study_from_toml(head + config)
    assert run_config(study, {"seed": 0}) == CONFIG


def test_metrics_json_has_metrics_weights_data_and_environment(
    store: Store, tmp_path: Path
) -> None:
    export(store, sampled(store), tmp_path / "best")
    document = json.loads((tmp_path / "best" / "metrics.json").read_text())
    assert (document["study"], document["trial"]) == ("tiny", 0)
    assert document["validation"]["metrics"].keys() == METRICS.keys()
    assert document["weights"]["sha256"] == sha256_of(tmp_path / "best" / "weights.safetensors")
    assert document["test"] is None
    assert document["seed"] == CONFIG.seed
    assert document["data"]["fingerprint"] == engine.dataset_fingerprint(CONFIG, NO_DATA)
    assert document["environment"]["threads"] == 1
    assert document["run_fingerprint"] == CONFIG.fingerprint
    assert sum(report["images"] for report in document["exits"]) == document["validation"]["images"]


def test_test_figures_are_recorded_when_asked_for(store: Store, tmp_path: Path) -> None:
    out = tmp_path / "best"
    export_point(store, "tiny", sampled(store), out, data_dir=NO_DATA, test=True)
    again = engine.evaluate_weights(
        CONFIG, out / "weights.safetensors", data_dir=NO_DATA, test=True
    )
    recorded = read_folder(out).recorded.test
    assert recorded is not None
    assert differences(recorded, again.sampled.metrics) == ()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"time_rule": "spike-time", "architecture": "d9", "norm": "none", "readout": "spiking"},
            "fire once per image, at threshold 1, without leak; time constant of the currents",
        ),
        (
            {"time_rule": "membrane-trace", "architecture": "d9", "lateral_inhibition": 0.1},
            "soft reset, each spike inhibits the others of its layer by 0.1 thresholds",
        ),
        ({}, "leak 0.5, threshold 1, soft reset"),
        (
            {"neuron": "individual", "leak_spread": 3.0},
            "leaks and thresholds learned for every neuron (in maps for every channel), initially "
            "with time constants up to 3 times longer or shorter than that of leak 0.5",
        ),
        ({"neuron": "thresholds"}, "thresholds learned for every neuron"),
    ],
)
def test_the_model_card_says_which_neurons_it_has(changes: dict[str, Any], said: str) -> None:
    template = (Path(__file__).parents[3] / "search" / "export" / "model_card.md.jinja").read_text(
        encoding="utf-8"
    )
    (line,) = [line for line in template.splitlines() if line.startswith("- **neurons**")]
    environment = jinja2.Environment()  # no web page
    environment.filters["each"] = lambda value: f"{value:g}"
    config = RunConfig(partition="", **changes)
    assert said in environment.from_string(line).render(config=config)


def test_the_model_card_has_the_question_every_metric_and_every_section(
    store: Store, tmp_path: Path
) -> None:
    export(store, sampled(store), tmp_path / "best")
    card = (tmp_path / "best" / "README.md").read_text()
    assert "> Does a folder say what it holds?" in card
    unknown = {"latency_ms", "code_bits", "distortion"}  # of recordings and encoders
    assert {name for name in METRICS if f"| `{name}` |" in card} == METRICS.keys() - unknown
    for heading in ("## Metrics", "## Architecture", "### Layers", "### Exits", "not counted"):
        assert heading in card


def test_a_run_without_a_search_is_written_as_the_same_folder(
    trained: tuple[Path, Outcome], tmp_path: Path
) -> None:
    weights, outcome = trained
    assert outcome.evaluation is not None
    export_run(
        CONFIG,
        weights,
        outcome.evaluation,
        tmp_path / "mine",
        data_dir=NO_DATA,
        device="cpu",
        threads=1,
    )
    assert (
        differences(
            read_folder(tmp_path / "mine").recorded.validation,
            evaluated(tmp_path / "mine").sampled.metrics,
        )
        == ()
    )


def test_without_the_data_set_a_folder_is_written_with_a_note(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_data(*_: object, **__: object) -> Evaluation:
        raise DataError("digits: not found; fetch them")

    monkeypatch.setattr(engine, "evaluate_weights", no_data)
    exported = export(store, shallow(store), tmp_path / "best")
    assert exported.checked is False
    assert "digits: not found; fetch them" in exported.notes[0]
    document = json.loads((tmp_path / "best" / "metrics.json").read_text())
    assert document["exits"] == []
    assert document["data"]["fingerprint"] is None
    with pytest.raises(DataError, match="not found"):
        export_point(
            store, "tiny", sampled(store), tmp_path / "tested", data_dir=NO_DATA, test=True
        )
    assert not (tmp_path / "tested").exists()


# ---- nothing is half-written, nothing else is touched


def test_a_folder_that_exists_is_refused(store: Store, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    with pytest.raises(ExportError, match=r"mine: exists already; choose another folder$"):
        export(store, sampled(store), tmp_path / "mine")


def test_force_replaces_an_export(store: Store, tmp_path: Path) -> None:
    export(store, sampled(store), tmp_path / "best")
    with pytest.raises(ExportError, match="or replace it with --force"):
        export(store, shallow(store), tmp_path / "best")
    export(store, shallow(store), tmp_path / "best", force=True)
    assert read_folder(tmp_path / "best").config.exits == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["best", "store"]


def test_force_leaves_a_folder_alone_that_is_no_export(store: Store, tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").write_text("years of work")
    with pytest.raises(ExportError, match="--force replaces only exported folders"):
        export(store, sampled(store), tmp_path / "thesis", force=True)
    assert (tmp_path / "thesis" / "chapter.tex").read_text() == "years of work"


def test_force_leaves_an_export_alone_to_which_something_was_added(
    store: Store, tmp_path: Path
) -> None:
    export(store, sampled(store), tmp_path / "best")
    (tmp_path / "best" / "notes.txt").write_text("mine")
    with pytest.raises(ExportError, match="contains other files"):
        export(store, sampled(store), tmp_path / "best", force=True)
    assert (tmp_path / "best" / "notes.txt").read_text() == "mine"


def test_force_does_not_follow_a_link(store: Store, tmp_path: Path) -> None:
    export(store, sampled(store), tmp_path / "best")
    (tmp_path / "link").symlink_to("best")
    with pytest.raises(ExportError, match="--force replaces only exported folders"):
        check_target(tmp_path / "link", force=True)


def test_a_failure_in_the_middle_leaves_no_trace(tmp_path: Path) -> None:
    def fail_in(out: Path) -> None:
        with new_folder(out) as part:
            (part / "config.toml").write_text("half")
            raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError, match="in the middle"):
        fail_in(tmp_path / "deep" / "out")
    assert list((tmp_path / "deep").iterdir()) == []


def test_a_folder_that_appeared_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="exists already"), new_folder(tmp_path / "out"):
        (tmp_path / "out").mkdir()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written_is_said_so(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    refused = pytest.raises(ExportError, match="cannot be written: Permission denied")
    with refused, new_folder(tmp_path / "out"):
        pass


def test_a_parent_that_is_a_file_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    refused = pytest.raises(ExportError, match="cannot be written: Not a directory")
    with refused, new_folder(tmp_path / "file" / "out"):
        pass


# ---- weights that are not what they were


def test_weights_that_changed_after_they_were_recorded_are_not_exported(
    store: Store, tmp_path: Path
) -> None:
    moved = _with_artifact(store, tmp_path, lambda path: path.write_bytes(b"something else"))
    with pytest.raises(ExportError, match="the file has changed since the trial"):
        export(moved, sampled(moved), tmp_path / "best")
    assert not (tmp_path / "best").exists()


def test_missing_weights_are_reported(store: Store, tmp_path: Path) -> None:
    moved = _with_artifact(store, tmp_path, lambda path: path.unlink())
    with pytest.raises(ExportError, match="the weights of trial 0 are missing"):
        export(moved, sampled(moved), tmp_path / "best")


def _with_artifact(store: Store, tmp_path: Path, change: object) -> Store:
    """A second study whose trial has a copy of the weights, which `change` spoils."""
    trial = store.trial("tiny", 0)
    evaluation = store.evaluation("tiny", 0)
    assert trial.artifact is not None
    copy = tmp_path / "store" / "copy.safetensors"
    shutil.copyfile(local_path(trial.artifact.uri), copy)
    artifact = Artifact(uri=copy.as_uri(), sha256=sha256_of(copy), size_bytes=copy.stat().st_size)
    assert callable(change)
    change(copy)
    other = Store(f"sqlite:///{tmp_path / 'store' / 'other.db'}")
    other.create_study(study_from_toml(STUDY))
    other.add_trial(
        "tiny", Trial(number=0, params={"width": 4}, state=TrialState.RUNNING, config=CONFIG)
    )
    outcome = Outcome(state=TrialState.COMPLETE, evaluation=evaluation, artifact=artifact)
    other.finish_trial("tiny", 0, outcome)
    return other


# ---- folders that are none


def test_a_folder_without_its_files_is_no_export(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"has no config.toml and no weights.safetensors"):
        read_folder(tmp_path)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("not JSON", "must be the JSON of an export"),
        ("[]", "no 'spikefront_export' in it"),
        ("{}", "no 'spikefront_export' in it"),
        ('{"spikefront_export": 99}', "written by a newer spikefront"),
        ('{"spikefront_export": 1}', "one that was changed"),
        ('{"spikefront_export": 1, "validation": 3}', "one that was changed"),
    ],
)
def test_a_wrong_metrics_file_is_refused_by_name(
    store: Store, tmp_path: Path, text: str, fault: str
) -> None:
    export(store, sampled(store), tmp_path / "best")
    (tmp_path / "best" / "metrics.json").write_text(text)
    with pytest.raises(ExportError, match=rf"metrics\.json: .*{fault}"):
        read_folder(tmp_path / "best")


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("widht = 3", r"config\.toml: widht is not a setting of a run; did you mean 'width'"),
        ("width = 0", r"config\.toml: width must be at least 1, got 0"),
    ],
)
def test_a_config_file_with_a_fault_names_its_place(tmp_path: Path, text: str, fault: str) -> None:
    (tmp_path / "config.toml").write_text(text)
    with pytest.raises(ConfigError, match=fault):
        read_config(tmp_path / "config.toml")


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"width =", "must be a TOML file of run settings"),
        (b"\xff\xfe", "must be a TOML file of run settings"),
        (b"[run]\nwidth = 3\n[space]", "got a study file"),
    ],
)
def test_a_file_that_is_no_config_is_refused(tmp_path: Path, content: bytes, fault: str) -> None:
    (tmp_path / "config.toml").write_bytes(content)
    with pytest.raises(ExportError, match=fault):
        read_config(tmp_path / "config.toml")


# ---- differences


def figures(**changes: float) -> dict[str, float]:
    return {**dict.fromkeys(METRICS, 1.0), **changes}


def test_equal_figures_do_not_differ() -> None:
    assert differences(figures(), figures()) == ()
    assert differences(figures(accuracy=math.nan), figures(accuracy=math.nan)) == ()


def test_the_last_bit_of_a_figure_is_a_difference() -> None:
    above = math.nextafter(1.0, 2.0)
    (found,) = differences(figures(), figures(accuracy=above))
    assert (found.name, found.recorded, found.measured) == ("accuracy", 1.0, above)


def test_a_figure_that_is_no_longer_measured_is_a_difference_and_a_newer_one_is_none() -> None:
    fewer = figures()
    del fewer["macs"]
    assert [d.name for d in differences(figures(), fewer)] == ["macs"]
    assert differences(fewer, figures()) == ()


def test_the_wall_time_of_a_training_is_not_compared() -> None:
    assert differences(figures(training_s=1.0), figures(training_s=2.0)) == ()


def test_thresholds_of_exits_that_are_left_away_stay_as_they_were() -> None:
    config = RunConfig(backbone="resnet7", partition="1+1+1", exit_threshold=(0.7, 0.8))
    point = OperatingPoint(
        timesteps=2, exit_thresholds=(0.6,), detector_threshold=0.5, blocks=2, metrics={}
    )
    assert at_point(config, point).exit_threshold == (0.6, 0.8)
