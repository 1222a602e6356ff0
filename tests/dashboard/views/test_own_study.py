"""Every page with a study of an own training, whose metrics and axes spikefront does not have."""

import html
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import search
from dashboard.data.comparison import compare
from dashboard.data.formats import meaning
from dashboard.data.point_filter import ViewOptions, visible_points
from dashboard.data.targets import parse_targets
from dashboard.data.trial_table import trial_table
from dashboard.figures import importance
from dashboard.figures.front import front
from dashboard.figures.parallel import parallel
from dashboard.figures.report import report
from dashboard.parts.store_cache import study_view, trials_of
from search.commands.compare import shared_objectives
from tests.dashboard.views.test_views import VIEWS, metrics, shown, words


def train(params: dict[str, Any], context: Any) -> Any:
    for epoch in range(2):
        yield {"score": params["width"] - epoch, "energy_uj": 2.5 * params["width"], "loss": 0.5}
    return [
        {"score": params["width"], "energy_uj": 2.5 * params["width"], "point": "T=4"},
        {"score": params["width"] / 2, "energy_uj": 1.0 * params["width"], "point": "T=2"},
    ]


@pytest.fixture(scope="module")
def own_url(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("own")
    url = f"sqlite:///{folder}/store.db"
    with search.open_store(url) as store:
        for name in ("own", "own-2"):
            study = search.Study(
                name=name,
                objectives=["score", "energy_uj"],
                metrics={
                    "score": {"better": "higher", "ideal": 20},
                    "energy_uj": {"better": "lower", "unit": "uJ", "meaning": "on the board"},
                },
                run={"train": train, "epochs": 2},
                space={"width": {"low": 1, "high": 12}, "kind": ["a", "b"]},
                budget={"trials": 12, "workers": 0},
            )
            search.run(study, store=store, quiet=True, artifacts=Path(folder))
        search.confirm(study, picks=["knee"], seeds=2, store=store, quiet=True, artifacts=folder)
    return url


@pytest.mark.parametrize("view", VIEWS)
def test_a_page_shows_an_own_study_or_says_why_not(
    view: str, own_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    query = {"with": ["own", "own-2"]} if "compare" in view else {}
    app = shown(monkeypatch, own_url, view, study="own-2", **query)
    said = words(app)
    if "front" in view:
        assert metrics(app)["Best score"].startswith("12")
        assert any("uJ</b>" in each.proto.body for each in app.get("html"))
    if "network" in view:
        assert "it has no architecture, layers, exits or images here" in said
        assert metrics(app)["Energy uj"].endswith(" uJ")
    if "importance" in view:
        assert "Importance per objective" in said
        options = app.button_group(key="one-view").options
        assert "Over time" in options
        assert "Partitions" not in options  # it has no blocks
        ours = meaning("width")  # only the author knows what this width is
        assert not any(html.escape(ours) in each.proto.body for each in app.get("html"))
        assert {each.help for each in app.markdown if "Width" in each.value} == {""}
    if "export" in view:
        assert not [each for each in app.get("download_button") if each.label == "Settings"]


def test_every_figure_counts_own_metrics_in_their_units(own_url: str) -> None:
    view = study_view(own_url, "own-2")
    visible = visible_points(view.table)
    (target,), _ = parse_targets("energy uj <= 12 uJ", view.table.metrics)
    options = ViewOptions(x="energy_uj", y="score", colour="energy_uj")
    drawn = front(
        view.table, visible, options, targets=[target], confirmed=view.confirmed, mode="light"
    )
    (confirmed,) = (trace for trace in drawn.data if trace.name == "confirmed on the test part")
    assert confirmed.hovertext[0].count("\u202fuJ") == 2  # mean and deviation
    assert "≤ 12\u202fuJ" in [each.text for each in drawn.layout.annotations]
    bounded = replace(view.table, bounds={"energy_uj": (None, 20.0)})
    drawn = front(bounded, visible, options, mode="light")
    assert "≤ 20\u202fuJ" in [each.text for each in drawn.layout.annotations]
    page = report(view, visible, options, targets=[target])
    assert "On the board. Lower is better." in page
    assert page.count("\u202fuJ</td>") == visible.front.size

    trials = trial_table(trials_of(own_url, "own-2"), view.table.metrics)
    sliced = importance.slice_of(trials, "width", "energy_uj", "light")
    assert any("\u202fuJ</b>" in text for trace in sliced.data for text in trace.hovertext or ())
    lines = parallel(trials, ["width"], ["energy_uj"], "score", "light")
    labels = {each.label: each.ticktext for each in lines.data[0].dimensions}
    assert all(text.endswith("\u202fuJ") for text in labels["Energy uj"])


def test_the_comparison_knows_own_units_and_does_not_mix_two(
    own_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = shown(monkeypatch, own_url, "views/compare.py", study="own", **{"with": ["own", "own-2"]})
    said = html.unescape(words(app))
    assert re.search(r"Reference point of all .*energy uj [\d.]+\suJ", said)
    views = [study_view(own_url, name) for name in ("own", "own-2")]
    declared = views[1].stored.own_metrics or {}
    energy = {**declared["energy_uj"], "unit": "mJ"}
    stored = replace(views[1].stored, own_metrics={**declared, "energy_uj": energy})
    other = replace(views[1], stored=stored)
    assert compare([views[0], other]).objectives == ("score",)
    assert shared_objectives([views[0].stored, stored]) == ("score",)


def test_points_of_a_network_have_own_metrics_as_axes(
    own_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = shown(monkeypatch, own_url, "views/network.py", study="own", trial="0")
    across, up = (app.selectbox(key=f"choose-{name}") for name in ("against", "up"))
    assert (across.value, up.value) == ("energy_uj", "score")
    assert "None" not in words(app)  # what Streamlit writes for an expression without effect


def test_axes_and_targets_know_own_metrics(own_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    query = {"x": "energy_uj", "y": "score", "targets": "energy uj <= 12 uJ"}
    app = shown(monkeypatch, own_url, "views/front.py", study="own", **query)
    assert "is not a metric" not in words(app)
    assert float(metrics(app)["On the front"]) > 0
