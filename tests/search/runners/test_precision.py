"""Precision `auto` of a study: one number type for all trials, chosen once and recorded."""

from pathlib import Path

import pytest

from search.commands import cli
from search.doctor.training import _precision
from search.export.export import export_point
from search.runners import precision
from search.runners.progress import Lines
from search.runners.run import run_study
from search.store.store import Store
from search.study.study import Study, StudyError, study_from_toml
from search.worker import engine
from snn.training import precision as of_machine
from snn.training.precision import Choice

TEXT = """# What does it cost?
name = "tiny"
objectives = ["accuracy"]
[budget]
trials = 1
[run]
backbone = "mlp"
width = 8
epochs = 1
train_images = 64
timesteps = 2
precision = "auto"
{more}
[space]
{axis}
"""


def study(axis: str = "learning_rate = [1e-3, 1e-2]", more: str = "") -> Study:
    return study_from_toml(TEXT.format(axis=axis, more=more))


def machine(monkeypatch: pytest.MonkeyPatch, chosen: str) -> None:
    def fastest(device: str = "cpu") -> tuple[str, str]:
        return chosen, f"a machine for {chosen}"

    monkeypatch.setattr(precision, "fastest_precision", fastest)


def run(asked: Study, store: Store, folder: Path) -> None:
    run_study(asked, store=store, artifacts=folder, data_dir=folder, workers=0, progress=Lines())


def test_a_study_that_continues_on_another_machine_keeps_its_number_type(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with Store(f"sqlite:///{tmp_path}/store.db") as store:
        machine(monkeypatch, "bfloat16")
        run(study(), store, tmp_path)
        machine(monkeypatch, "float32")
        run(study().with_overrides(trials=2), store, tmp_path)
        trials = store.trials("tiny")
        assert [t.config and t.config.precision for t in trials] == ["bfloat16"] * 2
        stored = study_from_toml(store.stored_study("tiny").toml)
        assert stored.run["precision"] == "bfloat16"
        assert precision.reason_of(store, "tiny") == "auto is bfloat16: a machine for bfloat16"
        point = next(p for p in store.operating_points("tiny") if p.point.is_sampled)
        out = tmp_path / "best"
        exported = export_point(store, "tiny", point, out, data_dir=tmp_path)
    shown = capsys.readouterr()
    assert "precision auto is bfloat16: the study began with it" in shown.err + shown.out
    # what is exported is evaluated as the trial was, in float32, and equal
    assert exported.checked
    assert exported.differences == ()
    card = (out / "README.md").read_text()
    assert (
        "spikes mapped in bfloat16, everything else and all metrics in float32 "
        "(auto is bfloat16: a machine for bfloat16)" in card
    )
    assert 'precision = "bfloat16"' in (out / "config.toml").read_text()


@pytest.mark.parametrize(
    ("axis", "more", "chosen"),
    [
        ('time_rule = ["bptt", "ottt-o"]', "", "bfloat16"),
        ('time_rule = ["bptt", "saf-e"]', "leak = 0.5", "bfloat16"),
        ('time_rule = ["bptt", "saf-e"]\nleak = { low = 0.5, high = 1.0 }', "", "bfloat16"),
        ("timesteps = { low = 2, high = 64 }", 'time_rule = "saf-f"\nleak = 0.99', "float32"),
        ('time_rule = ["bptt", "saf-f"]\ntimesteps = [4, 32]', "leak = 1.0", "float32"),
        (
            "timesteps = [4, 32]\nsynaptic_leak = { low = 0.0, high = 0.99 }",
            'time_rule = "saf-e"\nleak = 1.0',
            "float32",
        ),
        (
            "timesteps = [4, 300]\nleak_ms = { low = 10.0, high = 5000.0 }",
            'time_rule = "saf-e"\ndataset = "digits-saccades"',
            "float32",
        ),
        (
            "timesteps = [4, 8]",
            'time_rule = "saf-e"\nleak_ms = 50\ndataset = "digits-saccades"',
            "bfloat16",
        ),
        ('time_rule = ["bptt", "dsr"]', "", "float32"),
    ],
)
def test_one_configuration_without_bfloat16_makes_the_whole_study_float32(
    axis: str, more: str, chosen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine(monkeypatch, "bfloat16")
    text = TEXT.format(axis=axis, more=more)
    text = text.replace("timesteps = 2\n", "") if "timesteps" in axis else text
    settled, why = precision.settled(study_from_toml(text), "cpu")
    assert settled.run["precision"] == chosen
    assert why.startswith(f"auto is {chosen}: ")
    assert ("use 'float32'" in why) == (chosen == "float32")


def test_a_gpu_elsewhere_is_not_guessed(monkeypatch: pytest.MonkeyPatch) -> None:
    machine(monkeypatch, "bfloat16")
    monkeypatch.setattr(precision, "pick_device", lambda device: "cpu")
    asked = study().with_overrides(gpus_per_trial=1)
    settled, why = precision.settled(asked, precision.device_of(asked, None))
    assert settled.run["precision"] == "float32"
    assert "GPU" in why


def test_auto_is_no_value_of_an_axis() -> None:
    with pytest.raises(StudyError, match=r"space\.precision must not have 'auto'.* name those"):
        study_from_toml(
            TEXT.replace('precision = "auto"\n', "").format(
                axis='precision = ["float32", "auto"]', more=""
            )
        )


def test_a_config_without_auto_is_left_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    named = study().with_overrides(sets={"precision": "bfloat16"})
    assert precision.settled(named, "cpu") == (named, "")
    config = engine.RunConfig(precision="bfloat16")
    assert engine.settled(config) == (config, "")


@pytest.mark.parametrize("chosen", ["bfloat16", "float32"])
def test_doctor_validate_and_train_say_what_auto_is(
    chosen: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fast(device: str) -> Choice:
        return Choice(precision=chosen, reason=f"a machine for {chosen}")

    monkeypatch.setattr(of_machine, "fastest", fast)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)
    said = f"auto is {chosen}: a machine for {chosen}"
    assert _precision().finding == said
    Path("tiny.toml").write_text(TEXT.format(axis="learning_rate = [1e-3, 1e-2]", more=""))
    assert cli.main(["validate", "tiny.toml"]) == 0
    assert said in capsys.readouterr().out
    settings = 'backbone = "mlp"\nwidth = 8\nepochs = 1\ntrain_images = 64\nprecision = "auto"\n'
    Path("mine.toml").write_text(settings)
    assert cli.main(["train", "mine.toml", "--device", "cpu", "--out", "mine", "--quiet"]) == 0
    assert f"precision {said}" in capsys.readouterr().out
    assert f"({said})" in Path("mine/README.md").read_text()
    assert f'precision = "{chosen}"' in Path("mine/config.toml").read_text()
