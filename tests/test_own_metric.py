"""A metric of an extension is an objective, a constraint, a pick, a column, and stays readable."""

import re
import sqlite3
from pathlib import Path
from typing import Any

import pytest

import search
from search.commands.cli import main
from search.trial.trial import TrialState
from snn.extensions import ExtensionError, add_metric
from snn.settings import extensions

STUDY = """
name = "tiny"
objectives = ["accuracy", "energy_delay"]
[constraints]
energy_delay = { max = 1e9 }
[budget]
trials = 2
workers = 0
[run]
dataset = "digits"
width = 4
head_hidden = 0
epochs = 1
train_images = 100
[space]
timesteps = [1, 2]
"""


def energy_delay(trained: Any, evaluation: Any, point: Any) -> float:
    assert evaluation.images > 0
    assert trained.config.width == 4
    return float(point.metrics["est_energy_nj"] * point.metrics["latency_steps"])


@pytest.fixture
def added(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extensions, "ADDED_METRICS", {})
    monkeypatch.setattr(extensions, "COMPUTES", {})
    meaning = "estimated energy times latency"
    add_metric(
        "energy_delay", unit="nJ steps", better="lower", meaning=meaning, compute=energy_delay
    )
    return


def test_a_metric_of_an_extension_is_used_and_kept_without_it(
    added: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SPIKEFRONT_STORE", raising=False)
    monkeypatch.delenv(extensions.VARIABLE, raising=False)
    Path("tiny.toml").write_text(STUDY)
    with search.open_store() as store:
        study = search.load_study("tiny.toml")
        search.run(study, store=store, quiet=True)
        front = store.front("tiny")
        for point in front:
            metrics = point.metrics
            product = metrics["est_energy_nj"] * metrics["latency_steps"]
            assert metrics["energy_delay"] == product
        assert front.best("energy_delay").metrics["energy_delay"] == min(
            point.metrics["energy_delay"] for point in front
        )
        search.confirm("tiny", picks=["best:energy_delay"], seeds=1, store=store, quiet=True)
        front.plot(x="energy_delay", y="accuracy")
        front.knee.export("best", data="no-data-sets-here")
        card = Path("best/README.md").read_text().splitlines()
        (row,) = (line for line in card if "energy_delay" in line)
        assert row.endswith(" nJ steps | estimated energy times latency |")
    assert main(["front", "tiny", "--all-metrics"]) == 0
    assert "nJ steps" in capsys.readouterr().out
    for words in (
        f"show tiny {front.knee.trial}",
        "export tiny --pick knee --out again --data no-data-sets-here",
        "evaluate again",
    ):
        main(words.split())
        said = capsys.readouterr().out
        assert re.search("^ *energy_delay .* nJ steps", said, re.MULTILINE), said
    with sqlite3.connect("runs/spikefront.db") as connection:
        query = (
            "SELECT metric, value, test_mean FROM own_metrics "
            "WHERE on_front AND test_seeds = 1 ORDER BY value"
        )
        (row, *_) = connection.execute(query).fetchall()
    assert row[0] == "energy_delay"
    assert row[2] > 0

    extensions.ADDED_METRICS.clear()  # as without the extension
    extensions.COMPUTES.clear()
    with search.open_store() as store:
        again = store.front("tiny")
        assert [p.metrics["energy_delay"] for p in again] == [
            p.metrics["energy_delay"] for p in front
        ]
        assert again.study.metrics["energy_delay"].unit == "nJ steps"
    assert main(["front", "tiny", "--pick", "best:energy_delay"]) == 0
    assert main(["run", "tiny.toml"]) == 2
    said = capsys.readouterr().err
    assert "objectives must name a metric, got 'energy_delay'" in said
    assert f"if an extension has this metric, set {extensions.VARIABLE}" in said


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"name": "energy_delay"}, "exists already; use another name"),
        ({"name": "accuracy"}, "exists already; use another name"),
        ({"name": "knee"}, "has a reserved name"),
        ({"name": "Energy"}, "must have a name of up to 60 lower-case letters"),
        ({"better": "less"}, "better must be 'higher' or 'lower', got 'less'"),
        ({"meaning": ""}, "unit and meaning must be text"),
        ({"compute": 3}, "compute must be a function .*, got int"),
    ],
)
def test_a_wrong_metric_is_refused(added: None, changes: dict[str, Any], said: str) -> None:
    given: dict[str, Any] = {
        "name": "other",
        "better": "lower",
        "meaning": "something",
        "compute": energy_delay,
    } | changes
    with pytest.raises(ExtensionError, match=said):
        add_metric(given.pop("name"), **given)


def raising(trained: Any, evaluation: Any, point: Any) -> float:
    raise KeyError("no such layer")


@pytest.mark.parametrize(
    ("compute", "said"),
    [
        (raising, "metric faulty of an extension: KeyError: 'no such layer'"),
        (lambda *_: "much", "metric faulty of an extension: must be a number, got str"),
    ],
)
def test_a_metric_that_cannot_be_computed_is_told(
    added: None, compute: Any, said: str, tmp_path: Path
) -> None:
    add_metric("faulty", better="lower", meaning="fails", compute=compute)
    study = search.study_from_toml(STUDY.replace("trials = 2", "trials = 1"))
    with search.open_store(f"sqlite:///{tmp_path}/store.db") as store:
        search.run(study, store=store, quiet=True, artifacts=tmp_path)
        (trial,) = store.trials("tiny")
    assert trial.state is TrialState.FAILED
    assert said in trial.reason
