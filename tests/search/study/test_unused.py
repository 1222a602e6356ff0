"""A setting that no trial would use is told, where it was given; it was dropped in silence."""

from pathlib import Path

import pytest

import search
from search.commands.cli import main
from search.study.study import StudyError, load_study, study_from_toml
from snn.settings.config import SETTINGS
from snn.settings.measurement import METRICS

TEXT = """
name = "small"
objectives = ["accuracy", "synaptic_ops"]
[budget]
trials = 2
[run]
epochs = 1
{run}
[space]
width = [4, 8]
{space}
"""


def written(tmp_path: Path, run: str = "", space: str = "") -> Path:
    path = tmp_path / "small.toml"
    path.write_text(TEXT.format(run=run, space=space))
    return path


@pytest.mark.parametrize(
    ("run", "space", "said"),
    [
        ('polarity = "merged"', "", "run.polarity has no effect with encoding 'direct'"),
        ("", 'polarity = ["two", "merged"]', "space.polarity has no effect with encoding 'direct'"),
        ("threshold_scale = 0.5", "", "run.threshold_scale has no effect with time_rule 'bptt'"),
        (
            "threshold_scale = 0.5",
            'time_rule = ["bptt", "ottt-a"]',
            "run.threshold_scale has no effect with time_rule 'bptt' or 'ottt-a'",
        ),
        ("adaptation_leak = 0.5", "", "run.adaptation_leak has no effect with adaptation 0.0"),
        (
            'adaptation_leak_ms = 5\nadaptation = 0.5\ndataset = "digits"',
            "",
            "run.adaptation_leak_ms has no effect with encoding 'direct'",
        ),
    ],
)
def test_a_setting_that_no_trial_would_use_is_refused(
    run: str, space: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path, run, space)
    assert main(["validate", str(path)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"small.toml: {said}, as in every trial; leave it out" in line
    study_from_toml(path.read_text())  # as a store has it from an earlier version


@pytest.mark.parametrize(
    ("run", "space"),
    [
        ("threshold_scale = 1.0", ""),  # its default, as an exported config may say it
        ("threshold_scale = 0.5", 'time_rule = ["bptt", "conversion"]\nnorm = ["none"]'),
        ("clip_ms = 10", 'dataset = ["digits", "n-mnist"]'),
        ("adaptation_leak = 0.5", "adaptation = { low = 0, high = 1 }"),
        ("clip_ms = 10\ndataset = 'n-mnist'", ""),
    ],
)
def test_a_setting_that_some_trials_use_is_no_fault(run: str, space: str, tmp_path: Path) -> None:
    load_study(written(tmp_path, run, space))


@pytest.mark.parametrize(
    ("objectives", "constraints", "said"),
    [
        (
            '["accuracy", "latency_ms"]',
            "",
            "objectives asks for latency_ms, which is not measured with encoding 'direct'",
        ),
        (
            '["accuracy", "synaptic_ops"]',
            "code_bits = { max = 9 }",
            "constraints.code_bits asks for code_bits, which is not measured with time_rule 'bptt'",
        ),
    ],
)
def test_a_metric_that_no_trial_measures_is_refused(
    objectives: str, constraints: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Such a study spent its whole budget, and then had no front."""
    path = written(tmp_path)
    path.write_text(
        path.read_text().replace('["accuracy", "synaptic_ops"]', objectives)
        + f"[constraints]\n{constraints}\n"
    )
    assert main(["validate", str(path)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"small.toml: {said}, as in every trial; leave it out" in line
    study_from_toml(path.read_text())  # as a store has it from an earlier version
    path.write_text(path.read_text().replace("width = [4, 8]", 'dataset = ["digits", "n-mnist"]'))
    if "latency_ms" in objectives:
        load_study(path)  # some trials measure it


def test_metrics_of_recordings_are_measured_where_settings_of_recordings_apply() -> None:
    assert METRICS["latency_ms"].only_with == SETTINGS["clip_ms"].only_with


def test_settings_of_the_command_line_and_of_python_are_looked_at(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path, "dataset = 'n-mnist'\nclip_ms = 10")
    assert main(["run", str(path), "--set", "threshold_scale=0.5"]) == 2
    assert "threshold_scale has no effect with time_rule 'bptt'" in capsys.readouterr().err
    # what the file says for another data set than that of a trial run is left alone
    changed = load_study(path).with_overrides(sets={"dataset": "digits"})
    assert changed.run["clip_ms"] == 10
    with pytest.raises(StudyError, match=r"run\.polarity has no effect"):
        search.Study(
            name="small",
            objectives=["accuracy", "synaptic_ops"],
            run={"polarity": "merged"},
            space={"width": [4, 8]},
            budget={"trials": 2},
        )


def test_training_a_file_of_settings_says_which_it_ignores(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("one.toml").write_text(
        'backbone = "mlp"\nwidth = 4\nhead_hidden = 0\nepochs = 1\ntrain_images = 60\n'
        "timesteps = 1\nclip_ms = 10\nthreshold_scale = 1.0\n"
    )
    assert main(["train", "one.toml", "--quiet"]) == 0
    notes = capsys.readouterr().err
    assert "one.toml: clip_ms has no effect with encoding 'direct'; leave it out" in notes
    assert "threshold_scale" not in notes
