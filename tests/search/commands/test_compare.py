"""Comparison of studies: one reference point, indicators, and groups of repeats."""

import json
from pathlib import Path

import numpy as np
import pytest

from search.commands import cli
from search.front.indicators import hypervolume
from search.runners.run import run_study
from search.store.store import Store
from search.study.study import study_from_toml
from tests.search.fake_engine import FakeEngine

STUDY = """
name = "{name}"
objectives = {objectives}

[budget]
trials = 12

[run]
dataset = "digits"
backbone = "resnet5"
epochs = 2

[space]
width = {{ low = {low}, high = {high} }}
timesteps = {{ low = 2, high = 3 }}

[search]
sampler = "random"
seed = {seed}
"""


TWO = '["accuracy", "synaptic_ops"]'


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A store with a study of narrow networks, one of wide ones, and one of something else."""
    url = f"sqlite:///{tmp_path / 'store.db'}"
    asked = {
        "narrow": (TWO, 4, 16),
        "wide": ('["synaptic_ops", "accuracy"]', 60, 120),
        "other": ('["spikes_per_inference"]', 4, 16),
    }
    with Store(url) as store:
        for name, (objectives, low, high) in asked.items():
            searched(store, tmp_path, name, objectives, low, high)
    return url


def searched(
    store: Store, folder: Path, name: str, objectives: str, low: int, high: int, seed: int = 0
) -> None:
    text = STUDY.format(name=name, objectives=objectives, low=low, high=high, seed=seed)
    run_study(
        study_from_toml(text),
        store=store, artifacts=folder, data_dir=folder, workers=0, engine=FakeEngine(),
    )  # fmt: skip


def compared(url: str, capsys: pytest.CaptureFixture[str], *names: str) -> dict[str, object]:
    assert cli.main(["compare", *names, "--store", url, "--json"]) == 0
    document: dict[str, object] = json.loads(capsys.readouterr().out)
    return document


def test_both_are_measured_from_the_worse_of_their_references(
    url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    document = compared(url, capsys, "narrow", "wide")
    reference = document["reference"]
    assert isinstance(reference, dict)
    with Store(url, read_only=True) as store:
        stored = [store.stored_study(name).reference for name in ("narrow", "wide")]
        points = {n: store.operating_points(n, front_only=True) for n in ("narrow", "wide")}
    assert reference == {
        "accuracy": 0.0,
        "synaptic_ops": max(own["synaptic_ops"] for own in stored if own),
    }
    for side in document["studies"]:  # type: ignore[attr-defined]
        rows = [
            [
                1 - p.point.metrics["accuracy"],
                p.point.metrics["synaptic_ops"] / reference["synaptic_ops"],
            ]
            for p in points[side["study"]]
        ]
        assert side["hypervolume"] == pytest.approx(hypervolume(np.array(rows), np.ones(2)))


def test_the_common_front_has_the_points_that_no_study_dominates(
    url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with Store(url, read_only=True) as store:
        fronts = {
            name: [p.point.metrics for p in store.operating_points(name, front_only=True)]
            for name in ("narrow", "wide")
        }
    every = [m for front in fronts.values() for m in front]

    def is_beaten(one: object) -> bool:
        return any(
            other["accuracy"] >= one["accuracy"]  # type: ignore[index]
            and other["synaptic_ops"] <= one["synaptic_ops"]  # type: ignore[index]
            and (other["accuracy"], other["synaptic_ops"]) != (one["accuracy"], one["synaptic_ops"])  # type: ignore[index]
            for other in every
        )

    document = compared(url, capsys, "narrow", "wide")
    for side in document["studies"]:  # type: ignore[attr-defined]
        left = [m for m in fronts[side["study"]] if not is_beaten(m)]
        assert side["on_common_front"] == len(left)
        assert side["trials"] == 12
        assert side["epochs"] == 24


def test_studies_that_share_no_objective_and_single_ones_are_refused(
    url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["compare", "narrow", "other", "--store", url]) == 2
    assert "studies must share an objective, got narrow: accuracy" in capsys.readouterr().err
    assert cli.main(["compare", "narrow", "--store", url]) == 2
    assert "two or more studies" in capsys.readouterr().err
    assert cli.main(["compare", "narrow", "wid", "--store", url]) == 2
    assert "did you mean 'wide'" in capsys.readouterr().err


def test_people_get_a_row_for_each(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["compare", "narrow", "wide", "--store", url]) == 0
    said = capsys.readouterr().out
    assert [line.split()[0] for line in said.splitlines() if line.strip()][2:4] == [
        "narrow",
        "wide",
    ]


def test_indicators_are_zero_for_a_front_that_covers_all_studies(
    url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    sides = {s["study"]: s for s in compared(url, capsys, "narrow", "wide")["studies"]}  # type: ignore[attr-defined]
    for side in sides.values():
        covers_all = side["on_common_front"] == sum(s["on_common_front"] for s in sides.values())
        assert (side["igd_plus"] == 0) == (side["epsilon"] <= 0) == covers_all


@pytest.fixture
def repeated(tmp_path: Path) -> str:
    """A store with four repeats of a question, and four of a question with costlier networks."""
    url = f"sqlite:///{tmp_path / 'store.db'}"
    with Store(url) as store:
        for seed in range(4):
            searched(store, tmp_path, f"small-{seed}", TWO, 4, 16, seed=seed)
            searched(store, tmp_path, f"large-{seed}", TWO, 200, 400, seed=seed)
    return url


def test_repeats_have_attainment_surfaces_and_groups_of_them_a_test(
    repeated: str, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [f"{group}-{seed}" for group in ("small", "large") for seed in range(4)]
    document = compared(repeated, capsys, *names)
    groups = document["repeats"]
    assert isinstance(groups, list)
    assert [group["studies"] for group in groups] == [names[:4], names[4:]]
    for group in groups:
        assert set(group["surfaces"]) == {"0.25", "0.5", "0.75"}
        quarter, half = (dict(group["surfaces"][share]) for share in ("0.25", "0.5"))
        for accuracy, cost in half.items():  # more repeats attain less
            assert any(a >= accuracy and c <= cost for a, c in quarter.items())
    assert isinstance(document["tests"], list)
    (test,) = document["tests"]
    assert (test["first"], test["second"]) == (names[:4], names[4:])
    assert test["result"]["p_value"] == pytest.approx(2 / 70)  # of all ways to choose 4 of 8
    assert (test["result"]["better"], test["is_significant"]) == ("first", True)
    assert cli.main(["compare", *names, "--store", repeated]) == 0
    said = capsys.readouterr().out
    assert "the group of small-0 is better (p = 0.0286" in said
    assert "Attainment of 4 repeats: small-0, small-1, small-2, small-3" in said


def test_too_few_repeats_are_not_tested_and_the_number_is_named(
    repeated: str, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [f"{group}-{seed}" for group in ("small", "large") for seed in range(3)]
    assert cli.main(["compare", *names, "--store", repeated]) == 0
    said = capsys.readouterr().out
    assert "too few repeats for a test (3 and 3)" in said
    assert "from 4 repeats in each group" in said
