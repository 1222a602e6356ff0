"""What waits for a GPU can be started on one."""

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import peak
from benchmarks.gpu import __main__ as gpu
from benchmarks.gpu import timed
from benchmarks.gpu.steps import STEPS, TOY, Step, Where
from search.commands import cli
from search.export.folder import read_config
from search.study.study import study_from_toml
from snn.network.network import Network
from snn.training.plan import plan
from snn.training.stage import Stage

ROOT = Path(__file__).parent.parent.parent
CONFIGS = sorted((ROOT / "benchmarks" / "cifar10").glob("*.toml"))
SMALL = sorted((ROOT / "benchmarks" / "cifar10" / "small").glob("*.toml"))
PAGE = (ROOT / "docs" / "how-to" / "gpu.md").read_text(encoding="utf-8")
WEIGHTS = {"resnet9": 13_217_472, "vgg11": 9_222_848, "6conv-2fc": 36_715_264}
"""Connections of the published networks; exits before the last come on top."""


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_a_config_is_the_published_network_and_the_page_names_it(path: Path) -> None:
    config = read_config(path)
    assert config.dataset == "cifar10"
    assert path.name in PAGE
    assert "Aims at" in path.read_text(encoding="utf-8")
    whole = config.replace(partition="", space_rule="end-to-end", batch_size=2, timesteps=1)
    extra = plan(whole, peak.TASK).parameters - WEIGHTS[config.backbone]
    assert 0 < extra < 0.002 * WEIGHTS[config.backbone]  # biases, gains, learned scales


@pytest.mark.parametrize("path", SMALL, ids=lambda path: path.stem)
def test_a_small_config_can_be_trained_and_says_what_it_reached(path: Path) -> None:
    assert plan(read_config(path), peak.TASK).parameters > 0
    assert "\n# Result" in path.read_text(encoding="utf-8")


def test_there_is_a_config_for_every_claim() -> None:
    rules = {(c.backbone, c.time_rule, c.block_classes) for c in map(read_config, CONFIGS)}
    assert rules == {
        ("resnet9", "bptt", "all"),
        ("resnet9", "bptt", "hard"),
        ("6conv-2fc", "bptt", "all"),
        ("vgg11", "ottt-o", "all"),
        ("vgg11", "saf-e", "all"),
    }
    grad_r = {c.target_sparsity for c in map(read_config, CONFIGS) if c.backbone == "6conv-2fc"}
    assert grad_r == {0.95, 0.98, 0.9925}


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_the_peak_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert peak.main([]) == 2
    assert "GPU" in capsys.readouterr().err


def test_its_random_images_are_ones_that_a_stage_learns_from() -> None:
    names = [name for name, _ in peak.runs(quick=False, precision="bfloat16")]
    assert len(set(names)) == 6
    config = next(peak.runs(quick=True, precision="float32"))[1]
    config = config.replace(width=2, head_hidden=4, timesteps=2, batch_size=4)
    stage = Stage(Network(config, peak.TASK), peak.images(config, "cpu"), range(10), device="cpu")
    (epoch,) = stage.epochs(0)
    assert epoch.loss > 0


def toy(name: str, program: str, seconds: float = 30.0, **options: Any) -> Step:
    return Step(
        name=name,
        title=name.title(),
        seconds=seconds,
        command=lambda where, limit: [sys.executable, "-c", program],
        **options,
    )


FIGURE = {"name": "ratio", "value": 0.5, "unit": "", "aim": 0.55}
GOOD = f"print({json.dumps(json.dumps({'figures': [FIGURE], 'setting': {'device': 'cpu'}}))})"


def walk(folder: Path, monkeypatch: pytest.MonkeyPatch, *steps: Step, minutes: float = 5) -> str:
    monkeypatch.setattr(gpu, "STEPS", steps)
    monkeypatch.setattr(gpu, "LEAST_S", 0.1)
    words = ["--dry-run", "--folder", str(folder), "--minutes", str(minutes)]
    assert gpu.main(words) in (0, 1)
    assert not gpu.PAGE.exists() or "dry" not in gpu.PAGE.read_text(encoding="utf-8").lower()
    return (folder / "page.md").read_text(encoding="utf-8")


def test_a_step_that_fails_or_takes_too_long_is_reported_and_the_next_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = walk(
        tmp_path,
        monkeypatch,
        toy("broken", "import sys; sys.exit('no such kernel')"),
        toy("slow", "print('begun', flush=True); import time; time.sleep(60)", seconds=4),
        toy("odd", "print('{}{')"),
        toy("other", GOOD, figures=lambda document: document["nothing"]),
        toy("good", GOOD),
    )
    assert "| Broken | failed with status 1 |" in text
    assert "no such kernel" in text
    assert "| Slow | stopped after 4 s |" in text
    assert "begun" in text
    assert "| Other | printed something else than expected: KeyError: 'nothing' |" in text
    assert "| Good | ok |" in text
    assert "| `ratio` | 0.5 | 0.55 |" in text


def test_a_second_call_goes_on_with_what_did_not_succeed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried, mended = tmp_path / "tried", tmp_path / "mended"
    note = f"open({str(tried)!r}, 'a').write('x')"
    first = toy("first", f"{note}; {GOOD}")
    second = toy("second", f"import os, sys; sys.exit(not os.path.exists({str(mended)!r}))")
    assert "failed with status 1" in walk(tmp_path, monkeypatch, first, second)
    mended.touch()
    text = walk(tmp_path, monkeypatch, first, second)
    assert "failed" not in text
    assert tried.read_text() == "x"


def test_no_step_starts_without_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sleep = toy("first", "import time; time.sleep(60)")
    text = walk(tmp_path, monkeypatch, sleep, toy("second", GOOD), minutes=0.05)
    assert re.search(r"\| First \| stopped after [0-3] s \|", text)
    assert "| Second | was not run |" in text


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_nothing_is_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert gpu.main(["--folder", str(tmp_path / "none")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "none").exists()


def test_all_steps_together_take_25_minutes_and_their_commands_exist(tmp_path: Path) -> None:
    assert sum(step.seconds for step in STEPS) <= 25 * 60
    for is_dry in (True, False):
        where = Where(folder=tmp_path, data=tmp_path, is_dry=is_dry)
        for step in STEPS:
            words = step.command(where, step.seconds)
            assert words[:2] == [sys.executable, "-m"]
            assert ("cuda" in words) == (not is_dry and step.name in ("engine", "cifar10"))
        study = study_from_toml((tmp_path / "study.toml").read_text())
        assert study.budget.gpus_per_trial == (0 if is_dry else 0.5)


def test_epochs_follow_from_what_one_costs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = read_config(CONFIGS[-1]).replace(epochs=60)
    place = timed.Place(data=tmp_path)
    monkeypatch.setattr(timed, "epoch_seconds", lambda config, place: 10.0)
    assert timed.within(config, place, 606).epochs == 51
    assert timed.within(config, place, 6000).epochs == 60
    assert timed.within(config, place, 1).epochs == 1
    monkeypatch.undo()
    path = tmp_path / "toy.toml"
    path.write_text(TOY)
    assert timed.main([str(path), "--seconds", "5", "--data", str(tmp_path), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    values = {figure["name"]: figure["value"] for figure in document["figures"]}
    assert 1 <= values["epochs"] <= 2
    assert 0 < values["test_accuracy"] <= 1


def test_the_study_and_the_peak_of_a_dry_run_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = Where(folder=tmp_path, data=tmp_path, is_dry=True)
    step = next(step for step in STEPS if step.name == "study")
    assert cli.main(step.command(where, 60)[3:]) == 0
    figures = {f["name"]: f["value"] for f in step.figures(json.loads(capsys.readouterr().out))}
    assert figures["complete_trials"] == 2
    assert peak.main(["--dry-run", "--json"]) == 0
    names = [figure["name"] for figure in json.loads(capsys.readouterr().out)["figures"]]
    assert names == ["peak_error_block_local_full", "peak_error_end_to_end_full"]
