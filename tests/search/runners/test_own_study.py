"""Studies of an own training, from the file to the front, the confirmation and the commands."""

import csv
import json
import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
import sqlalchemy

import search
from search.commands.cli import main
from search.front.front import front_of
from search.trial.function_config import FunctionConfig
from search.trial.trial import TrialState
from tests.search.postgres import any_server
from tests.search.store.test_store import a_fresh_url

CODE = """
import os
import random
import signal
from pathlib import Path


def train(params, context):
    draw = random.Random(context.seed)
    for epoch in range(params["epochs"]):
        yield {"accuracy": 0.4 + params["width"] / 100, "energy_uj": params["width"] * 1.5}
    (context.folder / "model.txt").write_text(f"{params['width']} {context.part}")
    loss = 0.25 if context.part == "test" else 0.0
    noise = draw.random() / 100
    return [
        {"accuracy": 0.6 + params["width"] / 100 - loss + noise, "energy_uj": params["width"] * 1.5,
         "score": -1.0 * params["width"], "point": "T=8"},
        {"accuracy": 0.5 + params["width"] / 100 - loss + noise, "energy_uj": params["width"] * 1.0,
         "score": -2.0 * params["width"], "point": "T=4"},
    ]


def dies_once(params, context):
    mark = Path(context.data) / "died"
    for epoch in range(1, params["epochs"] + 1):
        if context.checkpoint and epoch <= int(context.checkpoint.read_text()):
            continue
        (context.folder / "checkpoint.txt").write_text(str(epoch))
        yield {"accuracy": 0.5, "energy_uj": 1.0 * params["width"], "epoch": epoch}
        if epoch == 2 and not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
"""
STUDY = """
name = "mine"
objectives = ["accuracy", "energy_uj"]
[metrics]
energy_uj = { better = "lower", unit = "uJ", meaning = "measured on the board" }
score = { better = "higher", ideal = 0 }
[constraints]
energy_uj = { max = 30 }
[budget]
trials = 8
workers = 0
[run]
train = "mine:train"
epochs = 3
[space]
width = { low = 1, high = 30 }
kind = ["a", "b"]
depth = { low = 1, high = 3, when = { kind = "b" } }
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "mine.py").write_text(CODE)
    (tmp_path / "mine.toml").write_text(STUDY)
    monkeypatch.chdir(tmp_path)
    for name in ("SPIKEFRONT_STORE", "SPIKEFRONT_DATA"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "data").mkdir()
    return tmp_path


@pytest.fixture
def store(folder: Path) -> Iterator[search.ResultStore]:
    with search.open_store() as opened:
        yield opened


def searched(store: search.ResultStore, text: str = STUDY, **options: Any) -> search.Study:
    Path("mine.toml").write_text(text)
    study = search.load_study("mine.toml")
    search.run(study, store=store, **{"quiet": True, "workers": 0, **options})
    return study


def test_a_study_of_an_own_training_has_a_front_of_its_metrics(store: search.ResultStore) -> None:
    study = searched(store)
    trials = store.trials("mine")
    assert {t.state for t in trials} == {TrialState.COMPLETE}
    configs = [t.config for t in trials]
    assert all(isinstance(c, FunctionConfig) and c.code == study.code for c in configs)
    points = store.operating_points("mine")
    assert len(points) == 2 * len(trials)
    assert {p.point.label for p in points} == {"T=8", "T=4"}
    expected = front_of(points, study.objectives, study.constraints, study.metrics)
    front = store.front("mine")
    assert [p.trial for p in front] == [
        p.trial for p in sorted(expected, key=lambda p: -p.point.metrics["accuracy"])
    ]
    assert all(p.metrics["energy_uj"] <= 30 for p in front)
    assert front.best("score").metrics["score"] == max(p.metrics["score"] for p in front)
    assert front.pick("energy_uj<=20 best:accuracy").metrics["energy_uj"] <= 20
    assert 0 < (front.hypervolume or 0) < 1
    frame = front.to_dataframe()
    assert {"energy_uj", "score", "point", "params_width"} <= set(frame.columns)
    assert not {"timesteps", "macs"} & set(frame.columns)
    assert store.measurements("mine", 0)[0].metrics["energy_uj"] > 0


def test_own_metrics_are_answered_by_sql(store: search.ResultStore) -> None:
    searched(store)
    search.confirm("mine", picks=["knee"], seeds=2, store=store, quiet=True)
    knee = store.front("mine").knee
    with sqlite3.connect("runs/spikefront.db") as connection:
        rows = connection.execute(
            "SELECT trial, label, metric, value, test_mean, test_seeds FROM own_metrics "
            "WHERE study = 'mine' AND on_front AND test_seeds IS NOT NULL ORDER BY metric"
        ).fetchall()
        (best,) = connection.execute(
            "SELECT min(value) FROM own_metrics WHERE study = 'mine' AND metric = 'energy_uj'"
        ).fetchone()
        shown = connection.execute("SELECT accuracy, macs FROM pareto_front").fetchall()
    label = knee.merged.point.point.label
    assert [row[:3] for row in rows] == [(knee.trial, label, n) for n in ("energy_uj", "score")]
    assert [row[3] for row in rows] == [knee.metrics["energy_uj"], knee.metrics["score"]]
    assert [row[4:] for row in rows] == [(row[3], 2) for row in rows]
    points = store.operating_points("mine")
    assert best == min(p.point.metrics["energy_uj"] for p in points)
    assert all(accuracy > 0 and macs is None for accuracy, macs in shown)


def test_columns_of_own_metrics_are_read_by_name(store: search.ResultStore) -> None:
    searched(store)
    points = store.operating_points("mine")
    columns = store.columns("mine", ("energy_uj", "accuracy")).points
    assert columns.metrics["energy_uj"].tolist() == [p.point.metrics["energy_uj"] for p in points]
    ids, values = store.figure_column("mine", "score")
    assert dict(zip(ids.tolist(), values.tolist(), strict=True)) == {
        p.id: p.point.metrics["score"] for p in points
    }


def test_confirmation_runs_the_test_part_at_the_same_points(store: search.ResultStore) -> None:
    searched(store)
    report = search.confirm(
        "mine", picks=["knee", "best:accuracy"], seeds=2, store=store, quiet=True
    )
    assert report.trainings == {TrialState.COMPLETE: len({p.trial for p in report.points}) * 2}
    for member in report.points:
        confirmed = report.confirmed[member.id]
        assert confirmed.seeds == 2
        spread = confirmed.spread("accuracy")
        assert spread.mean == pytest.approx(member.point.metrics["accuracy"] - 0.25, abs=0.02)
        assert spread.std > 0
        assert confirmed.spread("energy_uj").mean == member.point.metrics["energy_uj"]


def test_changed_code_is_said_when_a_study_continues(
    store: search.ResultStore, capsys: pytest.CaptureFixture[str]
) -> None:
    searched(store)
    Path("mine.py").write_text(CODE.replace("0.6 +", "0.65 +"))
    Path("mine.toml").write_text(STUDY.replace("trials = 8", "trials = 9"))
    assert main(["run", "mine.toml"]) == 0
    said = capsys.readouterr().err
    assert "is not that of 8 trials (the last one is trial 7): the results are from differ" in said
    assert [e.kind for e in store.events("mine")].count("code") == 1
    assert len(store.trials("mine")) == 9
    assert main(["confirm", "mine", "--pick", "knee", "--seeds", "1"]) == 0


def test_code_that_changes_while_the_study_runs_is_noted(store: search.ResultStore) -> None:
    study = search.load_study("mine.toml")
    Path("mine.py").write_text(CODE.replace("0.6 +", "0.65 +"))
    search.run(study, store=store, workers=0, quiet=True)
    notes = [e.message for e in store.events("mine") if e.kind == "note"]
    assert notes == ["the code of mine:train was changed while the study ran"]


@pytest.mark.parametrize("sampler", ["nsga2", "nsga3", "gp", "qmc", "random"])
def test_every_sampler_searches_any_space(store: search.ResultStore, sampler: str) -> None:
    searched(store, STUDY + f'[search]\nsampler = "{sampler}"\n')
    assert len(store.front("mine")) > 0


def test_repeats_are_fresh_seeds_and_stopping_ranks_own_metrics(store: search.ResultStore) -> None:
    text = STUDY.replace("epochs = 3", "epochs = 9").replace("trials = 8", "trials = 12")
    searched(store, text + '[search]\nrepeats = 2\nstopping = "moasha"\n')
    trials = store.trials("mine")
    seeds = [t.config.seed for t in trials if t.config]
    assert seeds == [0, 1] * 6
    stopped = [t for t in trials if t.state is TrialState.PRUNED]
    assert stopped
    report = store.rungs("mine", stopped[0].number)[0]
    assert set(report.sampled.metrics) == {"accuracy", "energy_uj"}
    assert len(list(Path("runs/artifacts").glob("mine-*/*.zip"))) == len(trials) - len(stopped)
    assert not list(Path("runs/artifacts").glob("mine-*/*.files"))


def test_earlier_results_are_imported_and_results_exported_to_optuna(
    store: search.ResultStore,
) -> None:
    searched(store)
    store.trials("mine").to_dataframe().to_csv("earlier.csv")
    with Path("earlier.csv").open() as file:
        assert "params_width" in next(csv.reader(file))
    Path("mine.toml").write_text(STUDY.replace('name = "mine"', 'name = "second"'))
    assert main(["import", "mine.toml", "earlier.csv"]) == 0
    assert len(store.prior_trials("second")) == 8
    assert main(["export", "mine", "--optuna", "sqlite:///optuna.db"]) == 0
    theirs = optuna.load_study(study_name="mine", storage="sqlite:///optuna.db")
    assert [d.name for d in theirs.directions] == ["MAXIMIZE", "MINIMIZE"]
    assert theirs.trials[0].user_attrs["score"] < 0
    Path("mine.toml").write_text(STUDY.replace('name = "mine"', 'name = "third"'))
    assert main(["import", "mine.toml", "sqlite:///optuna.db#mine"]) == 0
    assert len(store.prior_trials("third")) == 8
    text = STUDY.replace('name = "mine"', 'name = "fourth"') + '[search]\nwarm_start = ["mine"]\n'
    searched(store, text)
    assert len(store.prior_trials("fourth")) == 8
    compared = store.compare(["mine", "fourth"])
    assert compared.objectives == ("accuracy", "energy_uj")


def test_lines_of_a_run_and_of_a_confirmation_have_the_units_of_own_metrics(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", "mine.toml"]) == 0
    lines = [line for line in capsys.readouterr().err.splitlines() if " complete " in line]
    assert len(lines) == 8
    assert all(re.search(r"  energy_uj [\d.]+ uJ  ", line) for line in lines), lines
    (folder / "mine.py").write_text(
        CODE + "\n\ndef scored(params, context):\n"
        "    yield {'score': 0.0, 'energy_uj': 1.0}\n"
        "    return {'score': -params['width'], 'energy_uj': params['width'] * 2.0}\n"
    )
    text = STUDY.replace('"accuracy", "energy_uj"', '"score", "energy_uj"')
    text = text.replace('name = "mine"', 'name = "two"').replace("mine:train", "mine:scored")
    (folder / "two.toml").write_text(text)
    assert main(["run", "two.toml", "--quiet"]) == 0  # though it keeps no files
    assert "kept no files (complete)" in capsys.readouterr().out
    assert main(["confirm", "two", "--seeds", "1", "--workers", "0"]) == 0
    said = capsys.readouterr().err
    assert re.search(r"test score -?[\d.]+, energy_uj [\d.]+ uJ  trained", said), said


def test_every_command_shows_an_own_study_or_says_why_not(
    store: search.ResultStore, capsys: pytest.CaptureFixture[str]
) -> None:
    searched(store)
    for words in (
        "validate mine.toml", "studies", "status mine", "front mine --all-metrics", "show mine 0",
        "front mine --json", "export mine --out best",
    ):  # fmt: skip
        assert main(words.split()) == 0, words
    said = capsys.readouterr().out
    assert "an own training, whose cost is not known: mine:train" in said
    assert "measured on the board" in said
    assert Path("best/files/model.txt").read_text().endswith("validation")
    document = json.loads(Path("best/metrics.json").read_text())
    assert document["train"] == "mine:train"
    assert main(["export", "mine", "--out", "best", "--force"]) == 0
    refused = {
        "evaluate best": "has the files of the own training mine:train",
        "train best": "has the files of the own training mine:train",
        "export mine --out other --test": "--test: needs a network of the engine",
    }
    for words, why in refused.items():
        assert main(words.split()) == 2, words
        assert why in capsys.readouterr().err
    import snn

    with pytest.raises(snn.FolderError, match="has the files of an own training"):
        snn.load("best")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"mine:train"', '"mine:trian"', "mine.toml: run.train 'mine:trian' "),
        ("score = {", "best = {", "mine.toml: metrics.best has a reserved name"),
    ],
)
def test_wrong_input_is_one_line_and_exit_code_2(
    folder: Path, capsys: pytest.CaptureFixture[str], old: str, new: str, said: str
) -> None:
    (folder / "mine.toml").write_text(STUDY.replace(old, new))
    assert main(["run", "mine.toml"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line
    assert not (folder / "runs").exists()


def test_a_function_that_cannot_be_imported_leaves_no_study(
    store: search.ResultStore, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("mine.py").write_text("import nothing_like_it\n" + CODE)
    assert main(["run", "mine.toml"]) == 2
    assert "cannot be imported: ModuleNotFoundError" in capsys.readouterr().err
    assert store.study_summaries() == []


def test_a_function_of_a_notebook_is_searched(store: search.ResultStore) -> None:
    def train(params: dict[str, Any], context: Any) -> Iterator[dict[str, float]]:
        yield {"accuracy": params["width"] / 10, "cost": params["width"]}

    study = search.Study(
        name="cells",
        objectives=["accuracy", "cost"],
        metrics={"cost": {"better": "lower"}},
        run={"train": train},
        space={"width": {"low": 1, "high": 9}},
        budget={"trials": 4, "workers": 0},
    )
    search.run(study, store=store, quiet=True)
    assert {t.state for t in store.trials("cells")} == {TrialState.COMPLETE}
    report = search.confirm(study, seeds=1, picks=["knee"], store=store, quiet=True)
    assert report.trainings == {TrialState.COMPLETE: 1}


def test_ray_workers_train_it_and_a_lost_one_is_replaced(store: search.ResultStore) -> None:
    text = STUDY.replace("mine:train", "mine:dies_once").replace("trials = 8", "trials = 3")
    text = text.replace("epochs = 3", "epochs = 4")
    searched(store, text, workers=2)
    trials = store.trials("mine")
    assert {t.state for t in trials} == {TrialState.COMPLETE}, [t.error for t in trials]
    assert [e.kind for e in store.events("mine")].count("retry") == 1
    epochs = [[m.epoch for m in store.measurements("mine", t.number)] for t in trials]
    assert all(found[-1] == 4 for found in epochs)
    assert sum(t.epochs_done for t in trials) == 12


def test_postgresql_answers_own_metrics_too(folder: Path) -> None:
    with any_server() as server:
        url = sqlalchemy.make_url(server).set(drivername="postgresql+psycopg")
        engine = sqlalchemy.create_engine(url, isolation_level="AUTOCOMMIT")
        with a_fresh_url(engine, folder) as fresh, search.open_store(fresh) as store:
            searched(store)
            search.confirm("mine", picks=["knee"], seeds=1, store=store, quiet=True)
            points = store.operating_points("mine")
            columns = store.columns("mine", ("energy_uj",)).points
            found = columns.metrics["energy_uj"].tolist()
            assert found == [p.point.metrics["energy_uj"] for p in points]
            reader = sqlalchemy.create_engine(fresh)
            with reader.connect() as connection:
                query = "SELECT value, test_mean FROM own_metrics WHERE metric = 'score' ORDER BY 1"
                rows = connection.exec_driver_sql(query).fetchall()
            reader.dispose()
        engine.dispose()
    assert [value for value, _ in rows] == sorted(p.point.metrics["score"] for p in points)
    assert [mean for value, mean in rows if mean is not None] == [
        value for value, mean in rows if mean is not None
    ]
