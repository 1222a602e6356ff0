"""What bfloat16 costs: pairs of trainings that differ in the type alone, and a page of them."""

import json
from pathlib import Path

import pytest

from benchmarks import precision
from benchmarks.precision import RULES, Row, configs
from benchmarks.report import Report


def test_three_rules_on_two_data_sets_are_configs_that_bfloat16_allows() -> None:
    found = configs(list(precision.CONFIGS), quick=False)
    assert {name for name, _ in found} == {"digits", "mnist"}
    assert {rule for _, rule in found} == set(RULES)
    for (name, rule), config in found.items():
        half = config.replace(precision="bfloat16")
        assert (half.dataset, half.time_rule) == (name, rule)


def test_points_lost_are_of_the_same_seed() -> None:
    row = Row(dataset="digits", rule="bptt", single=(0.95, 0.93, 0.97), half=(0.94, 0.94, 0.95))
    assert row.lost == pytest.approx((1.0, -1.0, 2.0))
    assert row.spread == pytest.approx(1.5275, abs=1e-4)
    assert row.cells() == [
        "digits", "`bptt`", "95.00 %", "94.33 %", "+0.67", "1.53", "-1.00 to +2.00",
    ]  # fmt: skip
    text = precision.page([row], report=Report("precision", against=()), seeds=3)
    assert "| digits | `bptt` | 95.00 % | 94.33 % | +0.67 | 1.53 | -1.00 to +2.00 |" in text


def test_finished_trainings_are_not_repeated(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "RULES", ("bptt",))
    kept = tmp_path / "runs.jsonl"
    words = ["--quick", "--json", "--datasets", "digits", "--seeds", "2", "--resume", str(kept)]
    assert precision.main(words) == 0
    first = json.loads(capsys.readouterr().out)["figures"]
    assert [f["name"] for f in first] == [
        "points_lost_digits_bptt",
        "points_lost_digits_bptt_spread",
    ]
    assert len(kept.read_text().splitlines()) == 4

    def again(*_: object) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr(precision, "train_and_test", again)
    assert precision.main(words) == 0
    assert json.loads(capsys.readouterr().out)["figures"] == first
