"""The command line: options, messages and exit codes."""

import json
import os
import re
import resource
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy

from search.commands import cli, dashboard
from search.commands.registry import COMMANDS
from search.runners import run as study_run
from search.store.store import Store
from search.text.artifacts import sha256_of
from search.trial.trial import Outcome, TrialState
from search.worker import engine
from snn.settings.config import RunConfig
from snn.settings.measurement import METRICS
from tests import quick
from tests.search.fake_engine import FakeEngine

ROOT = Path(__file__).parents[3]
NAMES = [command.name for command in COMMANDS]

STUDY = """# Does the command line do what it says?
name = "tiny"
objectives = ["accuracy", "synaptic_ops"]

[constraints]
model_bytes = { max = 400_000 }

[budget]
trials = 2
workers = 0

[run]
dataset = "digits"
backbone = "resnet5"
width = 4
epochs = 2
train_images = 200
head_hidden = 0

[space]
partition = { max_blocks = 2, min_blocks = 2 }
exit_threshold = { low = 0.5, high = 0.99 }
timesteps = { low = 2, high = 3 }
"""

Run = Callable[..., "Ran"]


class Ran:
    """The result of a command."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def document(self) -> dict[str, Any]:
        """The one JSON document of stdout."""
        found = json.loads(self.out)
        assert isinstance(found, dict)
        return found


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a study that was run, in this process, by the command; its output in a file."""
    folder = tmp_path_factory.mktemp("searched")
    (folder / "tiny.toml").write_text(STUDY)
    store = f"sqlite:///{folder / 'store.db'}"
    artifacts = str(folder / "artifacts")
    words = ["run", str(folder / "tiny.toml"), "--store", store, "--artifacts", artifacts, "--json"]
    done = quick.Module("search.commands.cli", *words)
    out, err = done.communicate(timeout=300)
    assert done.returncode == 0, err
    (folder / "run.json").write_text(out)
    (folder / "run.err").write_text(err)
    return folder


@pytest.fixture
def run(
    searched: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> Run:
    """Runs a command in an empty folder, on the store of the study `tiny`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SPIKEFRONT_STORE", f"sqlite:///{searched / 'store.db'}")
    monkeypatch.delenv("SPIKEFRONT_DATA", raising=False)

    def _run(*words: str | Path) -> Ran:
        capsys.readouterr()
        code = cli.main([str(word) for word in words])
        out, err = capsys.readouterr()
        return Ran(code, out, err)

    return _run


@pytest.fixture
def exported(run: Run, tmp_path: Path) -> Path:
    assert run("export", "tiny", "--out", "best").code == 0
    return tmp_path / "best"


def refused(ran: Ran, *parts: str) -> None:
    """Wrong input: exit code 2, messages on stderr, nothing on stdout."""
    assert ran.code == 2, ran.err
    assert ran.out == ""
    lines = ran.err.splitlines()
    assert lines
    assert all(line.startswith("spikefront: ") for line in lines), ran.err
    for part in parts:
        assert part in ran.err


# ---- help


def test_every_command_explains_itself_with_an_example(run: Run) -> None:
    for name in NAMES:
        ran = run(name, "--help")
        assert ran.code == 0
        assert f"\n  spikefront {name}" in ran.out
        assert ran.out.startswith(f"usage: spikefront {name}")


def test_help_lists_every_command(run: Run) -> None:
    ran = run("--help")
    assert ran.code == 0
    assert all(re.search(rf"^ +{name}\b", ran.out, re.MULTILINE) for name in NAMES)


def test_every_command_can_be_run() -> None:
    for entry in COMMANDS:
        assert entry.load().examples


def test_the_version_is_the_one_of_the_project(run: Run) -> None:
    ran = run("--version")
    assert ran.code == 0
    assert re.match(
        r"spikefront \d+\.\d+\.\d+\S* \(Python 3\S+, torch \S+, ray \S+, optuna \S+\)\n", ran.out
    )


def test_no_command_prints_the_help_and_is_an_error(run: Run) -> None:
    ran = run()
    assert ran.code == 2
    assert "commands:" in ran.err


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["rnu"], ["no command 'rnu'; did you mean 'run'?"]),
        (["xyzzy"], ["no command 'xyzzy'; the commands are run,"]),
        (["front"], ["required: STUDY", "spikefront front --help"]),
        (["front", "tiny", "--jsn"], ["no option '--jsn'; did you mean '--json'?"]),
        (["front", "tiny", "other"], ["front takes no argument 'other'"]),
        (["--jsn", "front"], ["no option '--jsn' before the command"]),
        (["run", "s.toml", "--trials", "0"], ["--trials: must be a whole number from 1, got '0'"]),
        (["run", "s.toml", "--trials", "-1"], ["--trials", "got '-1'"]),
        (["run", "s.toml", "--workers", "-1"], ["--workers: must be a whole number from 0"]),
        (["run", "s.toml", "--workers", "two"], ["--workers", "got 'two'"]),
        (["run", "s.toml", "--hours", "nan"], ["--hours: must be a number above 0, got 'nan'"]),
        (["run", "s.toml", "--set", "width"], ["--set: must be written AXIS=VALUE", "'width'"]),
        (["run", "s.toml", "--set", "=8"], ["--set: must be written AXIS=VALUE"]),
        (["run", "s.toml", "--device", "tpu"], ["--device", "'tpu'"]),
        (["run", "s.toml", "--set", "width=8", "--set", "width=9"], ["width must be given once"]),
        (["run", "s.toml", "--workers", "0", "--ray", "auto"], ["--ray", "--workers 0"]),
        (["show", "tiny", "first"], ["TRIAL: must be a whole number from 0, got 'first'"]),
        (["dashboard", "--port", "0"], ["--port: must be a port from 1 to 65535"]),
        (["dashboard", "--base-path", "/a b"], ["--base-path: must be a path", "got '/a b'"]),
    ],
)
def test_a_wrong_command_line_is_refused_with_the_reason(
    run: Run, words: list[str], parts: list[str]
) -> None:
    refused(run(*words), *parts)


# ---- run


def test_a_run_prints_one_document_and_speaks_to_people_on_stderr(searched: Path) -> None:
    document = json.loads((searched / "run.json").read_text())
    said = (searched / "run.err").read_text()
    assert document["trials"] == {"complete": 2}
    assert document["study"] == "tiny"
    assert sum(point["is_knee"] for point in document["front"]) == 1
    assert document["seconds"].keys() >= {"total", "ray_start", "training", "evaluation", "store"}
    assert "spikefront export tiny" in said
    assert re.search(r"^ *knee ", said, re.MULTILINE)


def test_a_finished_study_is_left_as_it_is(run: Run, searched: Path) -> None:
    ran = run("run", searched / "tiny.toml", "--artifacts", searched / "artifacts", "--json")
    assert ran.code == 0
    assert sum(ran.document["trials"].values()) == 0
    assert len(ran.document["front"]) > 0


def test_a_study_that_asks_something_else_names_the_keys(run: Run, searched: Path) -> None:
    refused(run("run", searched / "tiny.toml", "--set", "width=5"), "run.width")


def test_trials_that_all_failed_are_a_failure(
    run: Run, searched: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken:
        outcome = Outcome(state=TrialState.FAILED, reason="OSError: on fire", error="Traceback")

        def __init__(self, config: object, **_: object) -> None:
            pass

        def __iter__(self) -> Iterator[object]:
            return iter(())

    monkeypatch.setattr(study_run, "TrialRun", Broken)
    store = f"sqlite:///{tmp_path / 'new.db'}"
    ran = run("run", searched / "tiny.toml", "--store", store)
    assert ran.code == 1
    assert "OSError: on fire" in ran.out
    assert "all 2 trials of this run failed" in ran.err
    shown = run("show", "tiny", "0", "--store", store)
    assert shown.code == 0
    assert "Traceback" in shown.out
    assert "OSError: on fire" in run("status", "tiny", "--store", store).out


def test_a_run_that_gives_up_is_a_failure_also_when_trials_before_came_to_something(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ended with exit code 0, as if the budget had been spent."""
    begun = 0

    class Breaks:
        def __init__(self, config: RunConfig, **place: Any) -> None:
            nonlocal begun
            begun += 1
            self._running = FakeEngine()(config, **place)

        def __iter__(self) -> Iterator[object]:
            if begun > 2:
                raise OSError("on fire")
            yield from self._running

        @property
        def outcome(self) -> Outcome:
            return self._running.outcome

    monkeypatch.setattr(study_run, "TrialRun", Breaks)
    (tmp_path / "breaks.toml").write_text(STUDY)
    place = ["--store", f"sqlite:///{tmp_path / 'new.db'}", "--artifacts", tmp_path]
    ran = run("run", tmp_path / "breaks.toml", "--trials", "50", "--workers", "0", *place)
    assert ran.code == 1
    assert "gave up, 20 trials in a row have failed" in ran.err
    assert "2 complete" in ran.out


def test_a_run_and_its_status_show_the_reused_epochs(
    run: Run, searched: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(study_run, "TrialRun", FakeEngine(reused_epochs=1))
    store = f"sqlite:///{tmp_path / 'new.db'}"
    words = ["run", searched / "tiny.toml", "--store", store, "--artifacts", tmp_path / "artifacts"]
    ran = run(*words, "--trials", "1", "--json")
    assert ran.document["epochs_reused"] == 1
    assert "1 epoch reused from cached blocks" in ran.err
    assert run("status", "tiny", "--store", store, "--json").document["epochs_reused"] == 1
    assert "1 more reused from cached blocks" in run("status", "tiny", "--store", store).out
    assert run("show", "tiny", "0", "--store", store, "--json").document["epochs_reused"] == 1


def test_ctrl_c_stops_with_130_and_the_same_command_goes_on(
    run: Run, searched: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Interrupted:
        def __init__(self, config: object, **_: object) -> None:
            pass

        def __iter__(self) -> Iterator[object]:
            raise KeyboardInterrupt

    store = f"sqlite:///{tmp_path / 'new.db'}"
    words = ["run", searched / "tiny.toml", "--store", store, "--artifacts", tmp_path / "artifacts"]
    with monkeypatch.context() as patch:
        patch.setattr(study_run, "TrialRun", Interrupted)
        ran = run(*words)
    assert ran.code == 130
    assert "the same command continues from here" in ran.err
    assert "Traceback" not in ran.err
    monkeypatch.setattr(study_run, "TrialRun", FakeEngine())
    ran = run(*words, "--json")
    assert ran.code == 0
    assert ran.document["trials"] == {"complete": 2}


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        (("width = 4", "widht = 4"), ["widht", "did you mean 'width'"]),
        (('"synaptic_ops"', '"synaptic_op"'), ["synaptic_op", "did you mean 'synaptic_ops'"]),
        (("[space]", "[spaec]"), ["spaec", "did you mean 'space'"]),
        (("high = 3", "high = 1"), ["timesteps"]),
        (("name =", "name ="), ["--set", "widht", "did you mean 'width'"]),
    ],
)
def test_a_study_file_with_a_fault_is_refused_and_nothing_written(
    run: Run, tmp_path: Path, change: tuple[str, str], parts: list[str]
) -> None:
    (tmp_path / "faulty.toml").write_text(STUDY.replace(*change))
    extra = ["--set", "widht=3"] if change[0] == change[1] else []
    refused(run("run", "faulty.toml", "--store", "sqlite:///new.db", *extra), *parts)
    assert [path.name for path in tmp_path.iterdir()] == ["faulty.toml"]


def test_a_folder_or_a_missing_file_is_not_a_study_file(run: Run, tmp_path: Path) -> None:
    (tmp_path / "study.toml").mkdir()
    refused(run("run", "study.toml"), "study.toml", "directory")
    refused(run("run", "studi.toml"), "no such file", "did you mean 'study.toml'")
    refused(run("validate", "studi.toml"), "no such file")


@pytest.mark.parametrize("state", ["missing", "empty", "truncated"])
def test_missing_data_is_refused_before_anything_is_written(
    run: Run, tmp_path: Path, state: str
) -> None:
    (tmp_path / "mnist.toml").write_text(STUDY.replace('"digits"', '"mnist"'))
    (tmp_path / "sets").mkdir()
    if state != "missing":
        _idx_files(tmp_path / "sets" / "mnist", images=0 if state == "empty" else 3)
    words = ["run", "mnist.toml", "--data", "sets", "--store", "sqlite:///new.db"]
    refused(run(*words), "sets/mnist/train-images-idx3-ubyte", "; ")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mnist.toml", "sets"]


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["--artifacts", "tiny.toml/weights"], "tiny.toml is a file"),
        (["--workers", "1", "--ray", "127.0.0.1:1"], "--ray must be the address of a cluster"),
    ],
)
def test_a_place_that_no_trial_can_use_is_refused_before_anything_is_written(
    run: Run, tmp_path: Path, words: list[str], part: str
) -> None:
    (tmp_path / "tiny.toml").write_text(STUDY)
    refused(run("run", "tiny.toml", "--store", "sqlite:///new.db", *words), part)
    assert [path.name for path in tmp_path.iterdir()] == ["tiny.toml"]


def _idx_files(folder: Path, *, images: int) -> None:
    """MNIST's files, announcing three images more than there are."""
    folder.mkdir()
    for part in ("train", "t10k"):
        header = b"".join(n.to_bytes(4, "big") for n in (2051, images + 3, 28, 28))
        pixels = bytes(28 * 28 * images)
        path = folder / f"{part}-images-idx3-ubyte"
        path.write_bytes(header + pixels if images else b"")
        labels = (2049).to_bytes(4, "big") + images.to_bytes(4, "big") + bytes(images)
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(labels)


# ---- stores that cannot be opened


def test_a_store_that_is_not_there_says_how_to_make_one(run: Run, tmp_path: Path) -> None:
    for words in (["studies"], ["status", "x"], ["front", "x"], ["show", "x", "0"]):
        refused(run(*words, "--store", "sqlite:///none.db"), "no store at", "run a study first")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "url", ["nonsense", "mysql://host/db", "sqlite:///.", "postgresql://u:secret@localhost:1/db"]
)
def test_a_store_that_cannot_be_opened_is_one_clear_line(run: Run, url: str) -> None:
    ran = run("studies", "--store", url)
    refused(ran)
    assert len(ran.err.splitlines()) == 1
    assert "secret" not in ran.err


def test_a_store_of_a_newer_version_is_refused_by_name(run: Run, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'newer.db'}"
    Store(url).close()
    engine = sqlalchemy.create_engine(url)
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text("UPDATE spikefront_version SET version_num = '9999'"))
    engine.dispose()
    refused(run("studies", "--store", url), "newer spikefront", "9999")


def test_an_unknown_study_names_the_nearest(run: Run) -> None:
    refused(run("front", "tinny"), "no study 'tinny'", "did you mean 'tiny'")
    refused(run("export", "tinny", "--out", "x"), "did you mean 'tiny'")


def test_an_unknown_trial_names_the_range(run: Run) -> None:
    refused(run("show", "tiny", "7"), "no trial 7", "0 to 1")
    refused(run("export", "tiny", "--trial", "7", "--out", "x"), "0 to 1")


# ---- results


def test_studies_are_listed_with_how_far_they_are(run: Run) -> None:
    assert re.search(r"tiny +2 +2 ", run("studies").out)
    (study,) = run("studies", "--json").document["studies"]
    assert study["name"] == "tiny"
    assert study["counts"]["complete"] == 2


def test_an_empty_store_names_the_command_that_fills_it(run: Run, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'empty.db'}"
    Store(url).close()
    ran = run("studies", "--store", url)
    assert (ran.code, ran.out) == (0, ran.out)
    assert "spikefront run STUDY.toml" in ran.out


def test_status_says_how_far_a_study_is(run: Run) -> None:
    ran = run("status", "tiny")
    assert "2 of 2 finished (2 complete)" in ran.out
    assert "not running" in ran.out
    document = run("status", "tiny", "--json").document
    assert document["trials"]["complete"] == 2
    assert document["is_running"] is False


def test_the_front_is_in_order_and_has_one_knee(run: Run) -> None:
    document = run("front", "tiny", "--json").document
    accuracies = [point["metrics"]["accuracy"] for point in document["points"]]
    assert accuracies == sorted(accuracies, reverse=True)
    assert sum(point["is_knee"] for point in document["points"]) == 1
    assert 0 < document["hypervolume"] <= 1


def test_the_front_shows_objectives_and_on_request_all_metrics(run: Run) -> None:
    short, long = run("front", "tiny").out, run("front", "tiny", "--all-metrics").out
    assert "accuracy" in short
    assert "connectivity" not in short
    assert all(name.replace("_", "_\n").split("\n")[0] in long for name in METRICS)
    assert re.search(r"\d %", short)


def test_a_point_of_the_front_can_be_picked(run: Run) -> None:
    points = run("front", "tiny", "--json").document["points"]
    least = min(points, key=lambda point: point["metrics"]["synaptic_ops"])
    picked = run("front", "tiny", "--pick", "best:synaptic_ops", "--json").document["points"]
    assert picked == [least]


@pytest.mark.parametrize("spec", ["nonsense", "best:acuracy", "accuracy>=x", "", "accuracy>=2"])
def test_a_pick_that_picks_nothing_says_why(run: Run, spec: str) -> None:
    refused(run("front", "tiny", "--pick", spec))
    refused(run("export", "tiny", "--pick", spec, "--out", "x"))


def test_a_trial_is_shown_with_all_that_is_known(run: Run) -> None:
    out = run("show", "tiny", "0").out
    for part in ("tiny, trial 0", "timesteps", "All other settings", "Epochs", "Layers", "Exits"):
        assert part in out
    document = run("show", "tiny", "0", "--json").document
    assert document["state"] == "complete"
    assert len(document["measurements"]) == 4
    assert document["points"][0]["metrics"].keys() == METRICS.keys()


def test_a_front_that_is_too_wide_for_a_terminal_is_several_tables(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("search.commands.output.WIDTH_WITHOUT_TERMINAL", 80)
    lines = run("front", "tiny", "--all-metrics").out.splitlines()
    assert max(len(line) for line in lines) <= 80
    assert any("connectivity" in line for line in lines)
    assert sum("exit threshold" in line for line in lines) > 2


# ---- folders


def test_the_exported_knee_evaluates_to_the_recorded_metrics(run: Run, exported: Path) -> None:
    knee = next(p for p in run("front", "tiny", "--json").document["points"] if p["is_knee"])
    ran = run("evaluate", "best", "--json")
    assert ran.code == 0, ran.err
    assert ran.document["recorded"] == knee["metrics"]
    assert ran.document["is_equal"] is True
    assert ran.document["differences"] == []
    assert "exactly equal" in ran.err


def test_a_trial_is_exported_at_the_point_that_it_sampled(run: Run, tmp_path: Path) -> None:
    ran = run("export", "tiny", "--trial", "1", "--out", "one", "--json")
    assert ran.code == 0, ran.err
    shown = run("show", "tiny", "1", "--json").document
    sampled = next(point for point in shown["points"] if point["is_sampled"])
    assert ran.document["metrics"]["validation"]["metrics"] == sampled["metrics"]
    assert (tmp_path / "one" / "README.md").exists()


def test_test_figures_are_compared_when_they_are_recorded(run: Run) -> None:
    assert run("export", "tiny", "--out", "best", "--test").code == 0
    ran = run("evaluate", "best", "--test", "--json")
    assert ran.code == 0
    assert ran.document["on"] == "test"
    assert ran.document["is_equal"] is True


def test_test_figures_that_are_not_recorded_are_not_compared(run: Run, exported: Path) -> None:
    ran = run("evaluate", "best", "--test", "--json")
    assert ran.code == 0
    assert ran.document["recorded"] is None
    assert ran.document["is_equal"] is None


def test_a_folder_that_exists_is_not_exported_over(run: Run, exported: Path) -> None:
    before = sha256_of(exported / "metrics.json")
    refused(run("export", "tiny", "--out", "best"), "best: exists already", "--force")
    assert sha256_of(exported / "metrics.json") == before
    assert run("export", "tiny", "--out", "best", "--force").code == 0


def test_a_metric_that_differs_from_the_recorded_one_is_a_failure_and_named(
    run: Run, exported: Path
) -> None:
    _edit(exported / "metrics.json", lambda d: d["validation"]["metrics"].update(accuracy=0.123))
    ran = run("evaluate", "best")
    assert ran.code == 1
    assert "accuracy: recorded 0.123, now 0." in ran.out
    assert "training_s:" not in ran.out


def test_changed_weights_are_reported(run: Run, exported: Path) -> None:
    _edit(exported / "metrics.json", lambda d: d["weights"].update(sha256="0" * 64))
    ran = run("evaluate", "best")
    assert ran.code == 1
    assert "changed weights: weights.safetensors has SHA-256" in ran.out


def test_changed_data_is_reported(run: Run, exported: Path) -> None:
    _edit(exported / "metrics.json", lambda d: d["data"].update(fingerprint="0" * 16))
    ran = run("evaluate", "best")
    assert ran.code == 1
    assert "other data: digits has fingerprint" in ran.out


def _edit(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


def test_a_weights_file_that_is_damaged_is_refused(run: Run, exported: Path) -> None:
    weights = exported / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-7])
    refused(run("evaluate", "best"), "best/weights.safetensors", "not a spikefront weights file")


def test_a_folder_that_is_no_export_is_not_evaluated(run: Run, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    refused(run("evaluate", "folder"), "folder: must be an exported folder, but has no config.toml")
    refused(run("evaluate", "none"), "none: must be an exported folder, but does not exist")


# ---- NIR


def test_a_network_goes_out_as_graphs_that_evaluate_here(run: Run, tmp_path: Path) -> None:
    pytest.importorskip("nir", reason="nir is not installed: pip install 'spikefront[nir]'")
    ran = run("export", "tiny", "--pick", "best:accuracy", "--out", "best", "--nir", "--json")
    assert ran.code == 0, ran.err
    graphs = ran.document["metrics"]["nir"]
    assert graphs[0] == "network.nir"
    assert graphs[-1] == "network.json"
    assert "network.nir" in (tmp_path / "best" / "README.md").read_text()
    whole = run("evaluate", "best", "--json").document
    deepest = run("evaluate", "best/network.nir", "--json")
    assert deepest.code == 0, deepest.err
    assert deepest.document["images"] == whole["images"]
    assert deepest.document["metrics"]["mean_blocks"] == len(graphs) - 1
    assert deepest.document["metrics"]["training_s"] is None
    assert deepest.document["data"]["dataset"] == "digits"
    shorter = run("evaluate", "best/network.nir", "--timesteps", "1", "--json").document
    assert shorter["metrics"]["synaptic_ops"] < deepest.document["metrics"]["synaptic_ops"]
    assert run("export", "tiny", "--out", "best", "--force").code == 0  # graphs are replaced, too
    assert not (tmp_path / "best" / "network.nir").exists()


def test_a_graph_from_elsewhere_needs_a_data_set_that_fits(run: Run, tmp_path: Path) -> None:
    nir = pytest.importorskip("nir", reason="nir is not installed: pip install 'spikefront[nir]'")
    weight = np.random.default_rng(0).normal(size=(10, 64)).astype(np.float32)
    nir.write(tmp_path / "theirs.nir", nir.NIRGraph.from_list(nir.Linear(weight=weight)))
    refused(run("evaluate", "theirs.nir"), "theirs.nir: has no metadata about its data set")
    refused(run("evaluate", "theirs.nir", "--dataset", "digts"), "did you mean 'digits'?")
    ran = run("evaluate", "theirs.nir", "--dataset", "digits", "--test", "--json")
    assert ran.code == 0, ran.err
    metrics = ran.document["metrics"]
    assert metrics["macs"] == 640  # the image never changes, and the map is run once
    assert metrics["synaptic_ops"] == metrics["spikes_per_inference"] == 0
    assert metrics["model_bytes"] == 2560
    wide = nir.Linear(weight=np.ones((10, 5), np.float32))
    nir.write(tmp_path / "wide.nir", nir.NIRGraph.from_list(wide))
    refused(
        run("evaluate", "wide.nir", "--dataset", "digits"),
        "wide.nir: its input has shape 5, but images of digits have shape 1x8x8",
    )


def test_a_graph_runs_at_the_timestep_of_its_metadata_and_silence_is_reported(
    run: Run, tmp_path: Path
) -> None:
    nir = pytest.importorskip("nir", reason="nir is not installed: pip install 'spikefront[nir]'")
    weight, one = np.zeros((10, 64), np.float32), np.ones(10)
    neurons = nir.IF(r=one, v_threshold=one, v_reset=0 * one)
    graph = nir.NIRGraph.from_list(nir.Linear(weight=weight), neurons)
    graph.metadata = {"dt": 0.002}
    nir.write(tmp_path / "SILENT.NIR", graph)
    ran = run("evaluate", "SILENT.NIR", "--dataset", "digits", "--json")
    assert ran.code == 0, ran.err
    assert ran.document["run"]["dt_s"] == 0.002
    assert "no neuron spiked in 4 timesteps of 0.002 s" in ran.err


def test_options_of_graphs_are_refused_without_a_graph(run: Run, exported: Path) -> None:
    refused(run("evaluate", "best", "--timesteps", "2"), "--timesteps: has an effect only on a NIR")
    refused(
        run("export", "tiny", "--out", "x", "--nir-form", "norse"),
        "--nir-form: has an effect only with --nir",
    )


# ---- train


def test_a_folder_trained_again_gives_the_same_weights(run: Run, exported: Path) -> None:
    ran = run("train", "best", "--out", "again", "--json")
    assert ran.code == 0, ran.err
    assert ran.document["same_weights"] is True
    assert "bit for bit" in ran.err
    assert "loss" in ran.err
    recorded = json.loads((exported / "metrics.json").read_text())["validation"]["metrics"]
    again = {**ran.document["metrics"], "training_s": recorded["training_s"]}
    assert again == recorded
    assert run("evaluate", "again").code == 0


def test_a_folder_of_other_weights_is_said_to_be_another(run: Run, exported: Path) -> None:
    _edit(exported / "metrics.json", lambda d: d["weights"].update(sha256="0" * 64))
    ran = run("train", "best")
    assert ran.code == 0
    assert "other weights than best" in ran.out


def test_a_config_file_is_trained_without_a_search(run: Run, tmp_path: Path) -> None:
    settings = 'backbone = "mlp"\nwidth = 4\nepochs = 1\ntrain_images = 100\n'
    (tmp_path / "mine.toml").write_text(settings)
    ran = run("train", "mine.toml", "--json")
    assert ran.code == 0, ran.err
    assert len(ran.document["measurements"]) == 1
    assert ran.document["same_weights"] is None
    assert [path.name for path in tmp_path.iterdir()] == ["mine.toml"]


def test_a_training_that_diverges_is_a_failure(run: Run, tmp_path: Path) -> None:
    settings = 'backbone = "mlp"\nwidth = 4\nepochs = 1\nlearning_rate = 1000\noptimizer = "sgd"\n'
    (tmp_path / "mine.toml").write_text(settings + 'loss = "squared-error"\n')
    ran = run("train", "mine.toml", "--out", "mine")
    assert ran.code == 1
    assert "diverged" in ran.err
    assert not (tmp_path / "mine").exists()


def test_a_config_with_faults_is_not_trained(run: Run, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text("widht = 4\nepochs = 0\n")
    refused(run("train", "mine.toml"), "mine.toml: widht", "mine.toml: epochs must be at least 1")
    refused(run("train", "none.toml"), "none.toml: must be a TOML file of run settings")


def test_a_gpu_that_is_not_there_is_refused(
    run: Run, searched: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "pick_device", lambda device: "cpu")
    (tmp_path / "mine.toml").write_text('backbone = "mlp"\n')
    refused(run("train", "mine.toml", "--device", "cuda"), "--device: cuda needs a GPU")
    words = ["run", searched / "tiny.toml", "--store", "sqlite:///new.db", "--device", "cuda"]
    refused(run(*words), "--device: cuda needs a GPU")
    assert not (tmp_path / "new.db").exists()


# ---- validate, doctor


def test_a_study_is_validated_without_being_run(run: Run, searched: Path, tmp_path: Path) -> None:
    ran = run("validate", searched / "tiny.toml")
    assert ran.code == 0
    for part in ("partition", "timesteps", "2 to 3", "infinitely many", "training memory", "kB"):
        assert part in ran.out
    document = run("validate", searched / "tiny.toml", "--json").document
    assert document["different_runs"] is None
    assert document["costs"]["smallest"]["parameters"] > 0
    assert list(tmp_path.iterdir()) == []


def test_validate_says_when_a_sampler_is_slow_for_the_budget(run: Run, tmp_path: Path) -> None:
    for trials, is_slow in ((50, False), (500, True)):
        file = tmp_path / "gp.toml"
        file.write_text(
            f"""name = "gp"
objectives = ["accuracy", "synaptic_ops"]
budget.trials = {trials}
search.sampler = "gp"
space.width = {{ low = 4, high = 8 }}
"""
        )
        ran = run("validate", file)
        assert ran.code == 0, ran.err
        assert ("its model sees 100 trials" in ran.out) is is_slow


def test_doctor_reports_the_state_of_each_part(run: Run, tmp_path: Path) -> None:
    ran = run("doctor", "--json")
    assert ran.code == 0, ran.err
    checks = {check["name"]: check for check in ran.document["checks"]}
    assert checks.keys() >= {"python", "torch", "gpu", "ray", "optuna", "store", "disk"}
    assert checks["store"]["status"] == "ok"
    assert checks["data: digits"]["status"] == "ok"
    assert checks["data: mnist"]["status"] == "missing"
    assert "put the four MNIST files" in checks["data: mnist"]["remedy"]


def test_doctor_fails_when_something_is_broken(run: Run) -> None:
    ran = run("doctor", "--store", "sqlite:///.")
    assert ran.code == 1
    assert "must be fixed before a search can run: store" in ran.out


def test_doctor_runs_without_a_store(run: Run) -> None:
    ran = run("doctor", "--store", "sqlite:///none.db", "--json")
    assert ran.code == 0
    (store,) = [check for check in ran.document["checks"] if check["name"] == "store"]
    assert store["status"] == "missing"


# ---- dashboard


def test_a_port_in_use_is_said_before_anything_starts(run: Run) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        refused(run("dashboard", "--port", str(port)), f"{port} is in use", f"--port {port + 1}")


def test_the_port_of_a_dashboard_that_just_ended_is_free() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = server.getsockname()
        with socket.create_connection(address) as browser:
            server.accept()[0].close()  # who closes first keeps the address for a minute
            assert browser.recv(1) == b""
    dashboard._check_port(address[1])


# ---- start-up time, and closed pipes


def processor_seconds(words: Sequence[str], searched: Path) -> float:
    """What a fresh Python takes of a processor: waiting for other work is not counted."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [sys.executable, *words],
        cwd=ROOT,
        capture_output=True,
        env={**os.environ, "SPIKEFRONT_STORE": f"sqlite:///{searched / 'store.db'}"},
        check=True,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@pytest.mark.parametrize(
    ("words", "unit", "limit"),
    [("--help", "asyncio, argparse", 5), ("front tiny", "sqlalchemy.orm", 5)],
)
def test_help_and_the_front_start_quickly(
    words: str, unit: str, limit: float, searched: Path
) -> None:
    """In units that are slow on a slow machine: twice and three times them were measured."""
    command = ["-m", "search.commands.cli", *words.split()]
    took, one = (
        min(processor_seconds(each, searched) for _ in range(3))
        for each in (command, ["-c", f"import {unit}"])
    )
    assert took < limit * one


def test_looking_at_results_loads_neither_torch_nor_ray_nor_optuna(searched: Path) -> None:
    program = (
        "import sys\nfrom search.commands.cli import main\n"
        "for words in ('front tiny', 'show tiny 0', 'status tiny', '--help'):\n"
        "    main(words.split())\n"
        "    heavy = {'torch', 'ray', 'optuna', 'streamlit'} & sys.modules.keys()\n"
        "    print(*sorted(heavy), file=sys.stderr, end='')"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={**os.environ, "SPIKEFRONT_STORE": f"sqlite:///{searched / 'store.db'}"},
        check=True,
    )
    assert done.stderr == ""
    for word in ("knee", "trial 0", "hypervolume", "usage: "):
        assert word in done.stdout


def test_a_closed_pipe_ends_a_command_silently(searched: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "search.commands.cli", "show", "tiny", "0"],
        cwd=ROOT,
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "SPIKEFRONT_STORE": f"sqlite:///{searched / 'store.db'}"},
    )
    os.close(writer)
    assert done.stderr == ""
    assert done.returncode == 1


@pytest.mark.parametrize("size", [0, 1, 19, 20, 21, 70])
def test_a_long_front_is_shown_in_twenty_rows_with_its_ends_and_its_knee(size: int) -> None:
    from search.commands.front import evenly

    members: Any = [object() for _ in range(size)]
    knee = members[size // 3] if members else None
    shown = evenly(members, keeping=knee)
    assert len(shown) <= 20
    if members:
        assert {id(members[0]), id(members[-1]), id(knee)} <= {id(member) for member in shown}
    if size <= 20:
        assert shown == members
