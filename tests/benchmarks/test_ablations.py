"""Ablations: what is shuffled keeps what it says, and a page has what was run and nothing else."""

import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from benchmarks import ablations
from benchmarks.ablated import AS_IT_IS, LETTERS, NETWORKS
from benchmarks.ablations import COUNTS, SHUFFLED, Row, Shuffled, ShuffledInputs
from benchmarks.recordings_page import ablated, read_front, updated
from benchmarks.report import Report
from snn.data.events.binning import cut_of
from snn.data.events.clips import Clips
from snn.data.events.store import Part, Store
from snn.settings.config import RunConfig

FRONT = {
    "study": "braille",
    "seeds": [1000, 1001, 1002],
    "points": [
        {
            "trial": 3,
            "timesteps": 38,
            "time_threshold": 0.536,
            "metrics": {"accuracy": 0.986},
            "confirmed": {
                "images": 270,
                "metrics": {
                    "accuracy": {"mean": 0.975, "std": 0.008},
                    "latency_ms": {"mean": 1432.0, "std": 20.0},
                    "synaptic_ops": {"mean": 149e3, "std": 1e3},
                    "model_bytes": {"mean": 120e3, "std": 0.0},
                },
            },
        }
    ],
}


def clips() -> Clips:
    """Twenty recordings of 60 events under three taxels."""
    draws = np.random.default_rng(0)
    part = Part(
        start=np.arange(21) * 60,
        time=np.sort(draws.integers(0, 1_900_000, (20, 60))).ravel().astype(np.uint32),
        place=draws.integers(0, 6, 1200).astype(np.uint32),
        value=np.empty((0, 0), np.float32),
        label=np.arange(20) % 2,
        group=np.full(20, -1),
    )
    store = Store(
        name="taxels", shape=(2, 3, 1), classes=("a", "b"), groups=(), train=part, test=part,
        fingerprint="drawn", unsorted=0, outside=0, unread=(), interval_us=0.0,
    )  # fmt: skip
    return Clips(
        store=store, part=part, index=np.arange(20), cut=cut_of(LETTERS), device=torch.device("cpu")
    )


def rows(bins: np.ndarray) -> list[list[int]]:
    return sorted(bins.tolist())


def test_shuffled_bins_are_the_same_bins_in_another_order_for_each_recording() -> None:
    plain, mixed, apart = (
        made[torch.arange(20)].flatten(2).numpy()
        for made in (clips(), Shuffled.of(clips()), ShuffledInputs.of(clips()))
    )
    assert all(rows(a) == rows(b) for a, b in zip(plain, mixed, strict=True))
    assert not any(np.array_equal(a, b) for a, b in zip(plain, mixed, strict=True))
    # of inputs by themselves only counts are left: what they had together is lost
    assert np.array_equal(np.sort(plain, axis=1), np.sort(apart, axis=1))
    assert not any(rows(a) == rows(b) for a, b in zip(plain, apart, strict=True))
    again = ShuffledInputs.of(clips())[torch.arange(20)].flatten(2).numpy()
    assert np.array_equal(apart, again)


@pytest.mark.parametrize("name", NETWORKS)
def test_every_change_is_another_training(name: str) -> None:
    found = ablations.variants(NETWORKS[name])
    assert len({variant.fingerprint for variant in found}) == len(found) > 20
    assert {variant.config.dataset for variant in found} == {name}


def value(accuracy: float, ops: float) -> dict[str, float]:
    return {"accuracy": accuracy, "synaptic_ops": ops, "cpu_s": ops / 1e4}


def report_of(dataset: str, *, only: Sequence[str] = ()) -> Report:
    setting = {
        "dataset": dataset, "epochs": 20, "seeds": 2, "network": "mlp2", "recordings": 270,
        "only": only, "section": "delays",
    }  # fmt: skip
    return Report("ablations", against=(), setting=setting)


def test_a_section_has_ratios_to_the_network_as_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    base = [value(0.9, 2e5), value(1.0, 2e5)]
    names = (AS_IT_IS, "delays of axons", *SHUFFLED)
    changed = [value(0.95, 1e5), value(0.95, 1e5)]
    rows = [Row(name=n, values=base if n == AS_IT_IS else changed, base=base) for n in names]
    read = {"all bins in order": 0.95, COUNTS: 0.567}
    cells = [row.cells() for row in rows]
    monkeypatch.setattr(Report, "foreign_load", lambda self: 0.0)
    text = ablated(cells, read, report=report_of("braille"))
    assert "| as it is | 95.0 % | 90.0 to 100.0 | 1.00 | 200 k | 1.00 | 1.0 |" in text
    assert "| delays of axons | 95.0 % | 95.0 to 95.0 | 1.00 | 100 k | 0.50 | 0.5 |" in text
    assert f"| {COUNTS} | 56.7 % |" in text
    monkeypatch.setattr(Report, "foreign_load", lambda self: 1.0)
    text = ablated(cells, read, report=report_of("braille"))
    assert "| delays of axons | 95.0 % | 95.0 to 95.0 | 1.00 | 100 k | 0.50 |\n" in text
    assert "processor time" not in text
    assert "ablations --dataset braille --seeds 2 --epochs 20 --markdown" in text
    text = ablated(cells, {}, report=report_of("braille", only=["delays of axons"]))
    assert "logistic regression" not in text
    assert '--section "delays" --only "delays of axons" --epochs 20' in text


def test_fronts_of_the_page_are_what_confirm_printed(tmp_path: Path) -> None:
    path = tmp_path / "front.json"
    path.write_text(json.dumps(FRONT))
    assert read_front(path) == FRONT
    text = updated("", {}, [read_front(path)], report_of("braille"))
    row = (
        "| 98.6 % | 97.5 ± 0.8 % | 1,432 | 149.0 k | 120.0 kB | trial 3, at a confidence of 0.536 |"
    )
    assert row in text
    assert "again with 3 fresh seeds" in text
    path.write_text(json.dumps({"points": [{"confirmed": None}]}))
    with pytest.raises(ValueError, match=r"front\.json: has no confirmed points; give that of"):
        read_front(path)


def test_a_run_writes_its_own_sections_and_keeps_the_others() -> None:
    report = report_of("braille")
    first = updated("", {"n-mnist": "of saccades", "braille": "of touch"}, [FRONT], report)
    again = updated(first, {"braille": "of touch again"}, [], report)
    titles = [line for line in again.splitlines() if line.startswith("## ")]
    parts = "## What each part is worth"
    assert titles == ["## braille", f"{parts}: braille", f"{parts}: n-mnist"]
    assert again == first.replace("of touch", "of touch again")
    assert updated(again, {}, [FRONT], report) == again


def test_finished_trainings_are_not_repeated(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: list[RunConfig] = []

    def train(variant: ablations.Variant) -> dict[str, float]:
        trained.append(variant.config)
        return value(0.9, 1e5)

    monkeypatch.setattr(ablations, "trained", train)
    monkeypatch.setattr(ablations.dataset, "available", lambda folder: {"spoken-digits": None})
    known = SimpleNamespace(test_labels=torch.zeros(9))
    monkeypatch.setattr(ablations.dataset, "recorded", lambda name, folder: known)
    words = ["--json", "--seeds", "2", "--resume", str(tmp_path / "runs.jsonl")]
    words += ["--dataset", "spoken-digits"]
    assert ablations.main([*words, "--only", "neurons without leak"]) == 0
    assert [config.seed for config in trained] == [0, 1, 0, 1]
    assert {config.dataset for config in trained} == {"spoken-digits"}
    figures = json.loads(capsys.readouterr().out)["figures"]
    assert [f["name"] for f in figures][-2:] == [
        "accuracy_neurons_without_leak",
        "ops_neurons_without_leak",
    ]
    assert ablations.main([*words, "--only", "neurons without leak"]) == 0
    assert len(trained) == 4
    page = tmp_path / "page.md"
    given = ["--only", "neurons without leak", "--markdown", str(page)]
    with pytest.raises(SystemExit):
        ablations.main([*words, *given])
    assert "name what --only is about with --section" in capsys.readouterr().err
    assert not page.exists()
    assert ablations.main([*words, *given, "--section", "leaks"]) == 0
    assert "## What each part is worth: spoken-digits, leaks\n" in page.read_text()
    with pytest.raises(SystemExit):
        ablations.main([*words, "--only", "recurrence"])
    assert "--only: 'recurrence' is none of as it is, " in capsys.readouterr().err
