"""Parameter importance: data, figures and page."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dashboard.data import formats
from dashboard.data.parameter_groups import parameter_groups
from dashboard.data.trial_table import (
    TrialTable,
    best_rows,
    branches,
    is_log,
    spread_rows,
    surface,
    trend,
    trial_table,
)
from dashboard.figures import block_trees, importance_table
from dashboard.figures import importance as matters_figures
from dashboard.figures import parallel as parallel_figure
from dashboard.parts.store_cache import trials_of
from search.samplers.importance import Importance
from search.store.store import Store
from search.study.study import study_from_toml
from search.trial.function_config import config_of
from search.trial.trial import Outcome, Trial, TrialState
from tests.dashboard.example_store import TOML, example_trials
from tests.dashboard.views.test_views import shown, words

VIEWS = ("slices", "pairs", "parallel", "partitions", "time")


@pytest.fixture
def table(example_url: str) -> TrialTable:
    return trial_table(trials_of(example_url, "digits"))


def test_a_partition_that_is_no_parameter_is_that_of_the_network(example_url: str) -> None:
    trials = [
        dataclasses.replace(t, params={}, config=None) for t in trials_of(example_url, "digits")
    ]
    known = trial_table(trials, partitions={3: "1+2"})
    assert known.partitions[known.numbers.tolist().index(3)] == "1+2"
    assert set(known.partitions) == {"1+2", ""}


def test_only_measured_trials_are_rows_and_only_what_varied_a_column(table: TrialTable) -> None:
    assert table.numbers.tolist() == [n for n in range(15) if n not in (6, 11)]
    assert table.finished == 15
    assert {"width", "partition", "exit_threshold_1"} <= set(table.params)
    assert 0 < table.share_with("exit_threshold_2") < table.share_with("exit_threshold_1") == 1


def test_the_trend_is_the_median_of_each_value_or_bin() -> None:
    x = np.asarray([1.0, 1, 1, 2, 2, 2, 3, np.nan])
    y = np.asarray([0.0, 1, 5, 2, 4, 9, 7, 1])
    line = trend(x, y)
    assert line.at.tolist() == [1, 2]  # 3 was tried once, which is no median
    assert line.middle.tolist() == [1, 4]
    many = trend(np.linspace(1, 1000, 5000), np.linspace(1, 1000, 5000), log=True)
    assert np.all(np.diff(many.middle) > 0)
    assert trend(np.empty(0), np.empty(0)).at.size == 0


def test_a_median_of_one_value_looks_like_no_trial(table: TrialTable) -> None:
    count = len(table)
    once = dataclasses.replace(
        table,
        params={
            **table.params,
            "reset": ("soft", *["hard"] * (count - 1)),
            "width": (*[8] * (count - 2), 16, 32),  # one value with enough trials for a median
        },
    )
    *_, medians = matters_figures.slice_of(once, "reset", "accuracy", "light").data
    assert dict(zip(medians.x, np.isfinite(medians.y), strict=True)) == {
        "hard": True,
        "soft": False,
    }
    *_, line = matters_figures.slice_of(once, "width", "accuracy", "light").data
    assert (list(line.x), line.mode, line.marker.symbol) == ([8], "markers", "line-ew")


def test_the_surface_follows_the_metric_and_is_empty_where_nothing_was_tried() -> None:
    draw = np.random.default_rng(0)
    x, y = draw.uniform(0, 1, 400), draw.uniform(0, 0.3, 400)
    y[0] = 3.0
    grid = surface(x, y, x.copy(), log=(False, False))
    row = grid.z[2]
    assert np.all(np.diff(row[np.isfinite(row)]) > 0)
    assert np.isnan(grid.z[20]).all()


def test_partitions_are_a_tree_of_first_blocks() -> None:
    values = np.asarray([0.5, 0.7, 0.9, 0.6, np.nan])
    tree = {b.id: b for b in branches(["2", "2+1", "2+1", "1+2", "3"], values, higher=True)}
    assert tree["all"].trials == 4
    assert tree["2"].best == 0.9
    assert (tree["2 itself"].parent, tree["2 itself"].best) == ("2", 0.5)
    assert tree["2+1"].is_whole
    assert tree["2+1"].parent == "2"
    assert not tree["1"].is_whole
    assert "3" not in tree  # its accuracy is not known
    children = [b.trials for b in tree.values() if b.parent == "2"]
    assert sum(children) == tree["2"].trials


def test_thinning_keeps_the_best_and_the_spread(table: TrialTable) -> None:
    keep = np.asarray([7, 500, 9999])
    rows = spread_rows(10_000, 100, keep)
    assert rows.size <= 100
    assert set(keep) <= set(rows)
    assert np.diff(rows[rows < 7_000]).max() < 200
    accuracy = table.metric("accuracy")
    assert accuracy.values is not None
    assert accuracy.values[best_rows(accuracy)[0]] == accuracy.values.max()


def test_wide_quantities_are_drawn_by_their_logarithm(table: TrialTable) -> None:
    assert is_log(table.metric("synaptic_ops"))
    assert not is_log(table.metric("accuracy"))
    assert not is_log(table.param("partition"))


def test_every_figure_is_drawn_for_every_parameter(table: TrialTable) -> None:
    for metric in ("accuracy", "synaptic_ops"):
        for name in table.params:
            assert matters_figures.slice_of(table, name, metric, "light").data
            assert matters_figures.tried(table, name, metric, "dark").data
            if name != "width":
                assert matters_figures.pair(table, "width", name, metric, "light").data
        assert matters_figures.pair(table, "partition", "surrogate", metric, "light").data
        assert block_trees.partitions(table, metric, "light").data
    figure = parallel_figure.parallel(table, list(table.params), ["accuracy"], "accuracy", "dark")
    assert len(figure.data[0].dimensions) == len(table.params) + 1


def test_names_are_never_markup_in_a_figure() -> None:
    evil = "<b onclick=1>x</b>"
    trials = []
    for each in example_trials(16):
        if each.outcome is None or each.outcome.evaluation is None:
            continue
        params = {**each.trial.params, evil: evil if each.trial.number % 2 else "y"}
        sampled = each.outcome.evaluation.sampled
        state = TrialState.COMPLETE
        number = each.trial.number
        trials.append(Trial(number=number, params=params, state=state, sampled=sampled))
    table = trial_table(trials)
    figures = (
        matters_figures.slice_of(table, evil, "accuracy", "light"),
        matters_figures.tried(table, evil, "accuracy", "light"),
        matters_figures.pair(table, evil, "width", "accuracy", "light"),
        parallel_figure.parallel(table, [evil, "width"], ["accuracy"], "accuracy", "light"),
    )
    for figure in figures:
        assert "<b onclick" not in json.loads(json.dumps(figure.to_json()))
    found = [Importance(metric="accuracy", shares={evil: 1.0}, trials=10)]
    assert "<b onclick" not in importance_table.table(found, {}, "light")


def test_values_of_units_blocks_and_exits_are_one_row_that_opens() -> None:
    shares = {
        "unit_10_kind": 0.1,
        "unit_2_kind": 0.2,
        "width": 0.25,
        "dropout_1": 0.4,
        "lif_2": 0.05,
    }
    other = Importance(metric="model_bytes", shares={"unit_2_kind": 1.0}, trials=20)
    found = [Importance(metric="accuracy", shares=shares, trials=20), other]
    groups = importance_table.order(found)
    assert [(group.label, group.members) for group in groups] == [
        ("Unit kind", ("unit_2_kind", "unit_10_kind")),
        ("Dropout 1", ("dropout_1",)),  # alone, it is no group
        ("Width", ("width",)),
        ("Lif 2", ("lif_2",)),
    ]
    table = importance_table.table(found, {"unit_10_kind": 0.5}, "light")
    assert table.count("<details>") == 1
    assert "each of the 2 units" in table
    assert "Unit 10<small>in 50" in table
    assert "30\u202f%" in table  # the sum of its members
    meaning = formats.meaning("width")
    assert meaning in table
    own = importance_table.table(found, {}, "light", has_settings=False)
    assert meaning not in own  # only the author of an own training knows what its width is
    assert formats.meaning("accuracy") in own
    assert parameter_groups(["exit_threshold_1", "exit_threshold_2"])[0].count == "2 exits"


def test_ten_thousand_trials_make_figures_of_a_few_hundred_points() -> None:
    draw = np.random.default_rng(0)
    examples = [e for e in example_trials(40) if e.outcome and e.outcome.evaluation]
    trials = []
    for number in range(10_000):
        each = examples[int(draw.integers(len(examples)))]
        assert each.outcome is not None
        assert each.outcome.evaluation is not None
        trials.append(
            Trial(
                number=number,
                params=each.trial.params,
                state=TrialState.COMPLETE,
                sampled=each.outcome.evaluation.sampled,
            )
        )
    table = trial_table(trials)
    for figure in (
        matters_figures.slice_of(table, "width", "accuracy", "light"),
        matters_figures.pair(table, "width", "dropout", "accuracy", "light"),
        parallel_figure.parallel(table, list(table.params), ["accuracy"], "accuracy", "light"),
    ):
        assert len(figure.to_json()) < 400_000


@pytest.mark.parametrize("view", VIEWS)
def test_each_view_is_reached_by_its_address(
    view: str, example_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the configs of its trials, which took most of the time of ten thousand."""
    read = []

    def counted(text: Any) -> Any:
        read.append(text)
        return config_of(text)

    running = sum(not trial.state.is_finished for trial in trials_of(example_url, "digits"))
    monkeypatch.setattr("search.store.rows.config_of", counted)
    app = shown(monkeypatch, example_url, "views/importance.py", study="digits", **{"view": view})
    assert "Parameter importance" in words(app)
    assert "Computed from 13 trials" in words(app)
    assert len(read) == running


def test_a_study_whose_trials_share_blocks_has_a_search_tree(
    tmp_path: Path, example_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    views = shown(monkeypatch, example_url, "views/importance.py", study="digits")
    assert "Search tree" not in views.button_group(key="one-view").options
    url = f"sqlite:///{tmp_path / 'store.db'}"
    with Store(url) as store:
        store.create_study(study_from_toml(TOML.format(name="grown", trials=4)))
        examples = [each for each in example_trials(13) if each.trial.params["partition"] == "2+2"]
        for number, reused in enumerate((0, 8)):
            trial = dataclasses.replace(
                examples[0].trial, number=number, epochs_reused=reused, epochs_done=16 - reused
            )
            store.add_trial("grown", trial)
            assert examples[0].outcome is not None
            store.finish_trial("grown", number, examples[0].outcome)
    app = shown(monkeypatch, url, "views/importance.py", study="grown", view="tree", trial="1")
    assert "Line: a further block" in words(app)
    depths, prefixes = (each.value for each in app.dataframe)
    assert depths["Prefixes"].tolist() == [1, 1]
    assert depths["Epochs"].tolist() == [8, 16]
    assert depths["change"].isna().all()  # no prefix was measured before these
    assert prefixes["Extends trial"].tolist()[1] == 0


def test_a_study_without_measurements_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"sqlite:///{tmp_path / 'store.db'}"
    with Store(url) as store:
        store.create_study(study_from_toml(TOML.format(name="new", trials=4)))
        first = next(example_trials(3)).trial
        store.add_trial("new", first)
    assert "Importance appears when trials are complete" in words(
        shown(monkeypatch, url, "views/importance.py")
    )
    with Store(url) as store:
        store.finish_trial("new", 0, Outcome(state=TrialState.FAILED, reason="x", error="y"))
    assert "ended without a measurement" in words(shown(monkeypatch, url, "views/importance.py"))


@pytest.mark.parametrize("view", ["slices", "pairs", "parallel", "time"])
def test_a_marked_trial_is_ringed_described_and_opened(
    view: str, example_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = shown(
        monkeypatch, example_url, "views/importance.py", study="digits", **{"view": view}, trial="3"
    )
    assert app.selectbox(key="mark-trial").value == 3
    assert "Partition" in words(app)
    links = [each.proto.label for each in app.get("page_link")]
    assert "Open trial 3" in links
    app.selectbox(key="mark-trial").set_value(5).run()
    assert app.query_params["trial"] in ("5", ["5"])


@pytest.mark.parametrize("asked", ["6", "99", "-1", "<b>", "٣", "1e3"])
def test_a_trial_that_was_not_measured_is_not_marked(
    asked: str, example_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = shown(monkeypatch, example_url, "views/importance.py", study="digits", trial=asked)
    assert app.selectbox(key="mark-trial").value is None


def test_the_ring_is_where_the_trial_is(table: TrialTable) -> None:
    row = 4
    accuracy = table.metrics["accuracy"][row]
    ring = matters_figures.slice_of(table, "width", "accuracy", "light", mark=row).data[-1]
    assert list(ring.x) == [table.params["width"][row]]
    assert list(ring.y) == [pytest.approx(accuracy)]
    assert len(matters_figures.slice_of(table, "width", "accuracy", "light").data) == 3
    absent = next(place for place, v in enumerate(table.params["exit_threshold_2"]) if v is None)
    plain = matters_figures.tried(table, "exit_threshold_2", "accuracy", "light")
    marked = matters_figures.tried(table, "exit_threshold_2", "accuracy", "light", mark=absent)
    assert len(marked.data) == len(plain.data)


@pytest.mark.parametrize("metric", ["accuracy", "synaptic_ops"])
def test_a_marked_line_has_a_colour_that_no_other_reaches(table: TrialTable, metric: str) -> None:
    figure = parallel_figure.parallel(table, ["width"], [metric], metric, "light", mark=2)
    line = figure.data[0].line
    assert line.color[-1] == pytest.approx(line.cmax)
    assert max(line.color[:-1]) < line.cmin + 0.91 * (line.cmax - line.cmin)
    places = [place for place, _ in line.colorscale]
    assert places == sorted(places)
