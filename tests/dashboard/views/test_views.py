import contextlib
import html
import sqlite3
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

import dashboard
from dashboard.data import formats
from dashboard.data.point_filter import visible_points
from dashboard.parts.store_cache import STORE_VARIABLE, study_view, trial_view
from dashboard.serving import server
from search.store.store import Store
from search.study.study import study_from_toml
from search.trial.trial import Outcome, TrialState
from snn.settings.measurement import METRICS
from tests.dashboard.example_store import TOML, example_trials, fill

APP = str(Path(dashboard.__file__ or "").parent / "app.py")
VIEWS = (
    "views/studies.py",
    "views/front.py",
    "views/network.py",
    "views/importance.py",
    "views/compare.py",
    "views/export.py",
)


def shown(
    monkeypatch: pytest.MonkeyPatch, url: str, view: str = "", /, **query: str | list[str]
) -> AppTest:
    """Return a page, drawn once, as its address opens it."""
    monkeypatch.setenv(STORE_VARIABLE, url)
    app = AppTest.from_file(APP, default_timeout=200)
    for name, value in query.items():
        app.query_params[name] = value
    if view not in ("", "views/studies.py"):  # where an app begins
        app.switch_page(view)  # before its first run: by the name of the file
    app.run()
    assert app._page_hash in ("", app._finished_page_script_hash)  # another page for an unknown
    assert not app.exception
    assert {table.proto.placeholder for table in app.dataframe} <= {formats.NOTHING}
    return app


def words(app: AppTest) -> str:
    kinds = (app.title, app.subheader, app.text, app.markdown, app.caption, app.warning, app.code)
    return "\n".join(str(element.value) for kind in kinds for element in kind)


def metrics(app: AppTest) -> dict[str, str]:
    return {each.label: each.value.replace("\u202f", " ") for each in app.metric}


@pytest.mark.parametrize("view", VIEWS)
def test_without_a_store_every_page_says_what_to_do(
    view: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = shown(monkeypatch, f"sqlite:///{tmp_path / 'nothing.db'}", view)
    assert "no store at" in words(app)
    assert "spikefront run studies/digits.toml" in words(app)


@pytest.mark.parametrize("view", VIEWS)
def test_an_empty_store_says_what_to_do(
    view: str, empty_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = shown(monkeypatch, empty_url, view)
    assert "No studies yet" in words(app)
    assert "spikefront run studies/digits.toml" in words(app)


@pytest.mark.parametrize("view", VIEWS)
def test_a_study_that_has_just_begun_is_shown_on_every_page(
    view: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"sqlite:///{tmp_path / 'store.db'}"
    with Store(url) as store:
        store.create_study(study_from_toml(TOML.format(name="new", trials=4)))
        store.acquire_lease("new", "example", seconds=600)
    shown(monkeypatch, url, view)


def test_every_study_has_its_question_and_figures(
    example_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = shown(monkeypatch, example_url)
    assert [each.value for each in app.subheader] == ["digits", "finished"]
    assert "What does the front of accuracy" in words(app)
    assert "15 of 16 trials finished" in words(app)
    assert "1 running · 1 pruned · 1 failed" in words(app)


def test_the_question_of_a_study_is_text_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"sqlite:///{tmp_path / 'store.db'}"
    evil = "# <script>alert(1)</script> ![x](http://example.com/x.png) :red[y]\n"
    with Store(url) as store:
        store.create_study(study_from_toml(evil + TOML.format(name="new", trials=4)))
    app = shown(monkeypatch, url)
    assert "<script>" in "\n".join(each.value for each in app.text)
    for kind in (app.markdown, app.caption, app.subheader, app.title):
        assert not [each for each in kind if "<script>" in each.value or "![x]" in each.value]


def test_the_front_opens_with_its_objectives_as_axes(
    example_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = shown(monkeypatch, example_url, "views/front.py", study="digits")
    chosen = {each.label: each.value for each in app.selectbox}
    assert chosen == {
        "Study": "digits",
        "Horizontal axis": "synaptic_ops",
        "Vertical axis": "accuracy",
        "Colour": "training_memory_bytes",
        "Third axis": "none",
        "Shape": "none",
    }
    assert [app.toggle(key=f"log-{side}").value for side in "xy"] == [True, False]


def test_the_address_names_study_axes_and_scales(
    example_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = shown(
        monkeypatch,
        example_url,
        "views/front.py",
        study="finished",
        x="model_bytes",
        y="latency_steps",
        colour="partition",
        scale_x="linear",
        scale_y="log",
    )
    chosen = [each.value for each in app.selectbox]
    assert chosen[:4] == ["finished", "model_bytes", "latency_steps", "partition"]
    assert [app.toggle(key=f"log-{side}").value for side in "xy"] == [False, True]


def test_an_axis_that_is_chosen_goes_into_the_address(
    example_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = shown(monkeypatch, example_url, "views/front.py", study="digits")
    app.selectbox(key="choose-x").set_value("est_energy_nj").run()
    assert not app.exception
    assert app.query_params["x"] == "est_energy_nj"
    assert app.selectbox(key="choose-x").value == "est_energy_nj"


@pytest.mark.parametrize("colour", ["partition", "surrogate", "width", "run:timesteps", "accuracy"])
def test_any_quantity_can_be_the_colour(
    colour: str, example_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown(monkeypatch, example_url, "views/front.py", study="digits", colour=colour)


def test_nonsense_in_the_address_is_passed_over(
    example_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = shown(
        monkeypatch,
        example_url,
        "views/front.py",
        study="<b>no</b>",
        x="nothing",
        selected="1e9,-3,²,999999999999999999999,",
        scale_x="cubic",
    )
    assert app.selectbox(key="choose-x").value == "synaptic_ops"
    assert "<b>" not in words(app)


def test_without_a_selection_the_table_is_the_front(
    example_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = shown(monkeypatch, example_url, "views/front.py", study="digits")
    table = study_view(example_url, "digits").table
    assert len(app.dataframe[0].value) == table.on_front.sum()


def test_points_that_the_address_selects_are_in_the_table_and_can_be_opened(
    example_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = study_view(example_url, "digits").table
    rows = [0, 5]
    ids = ",".join(str(table.ids[row]) for row in rows)
    app = shown(monkeypatch, example_url, "views/front.py", study="digits", selected=ids)
    assert "2 selected" in words(app)
    frame = app.dataframe[0].value
    assert sorted(frame["Trial"]) == sorted(int(table.trials[row]) for row in rows)
    assert "param:learning_rate" in frame.columns


def test_clearing_the_selection_shows_the_front_again(
    example_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = str(study_view(example_url, "digits").table.ids[0])
    app = shown(monkeypatch, example_url, "views/front.py", study="digits", selected=first)
    next(button for button in app.button if button.label == "Clear").click().run()
    assert "selected" not in app.query_params
    assert "The front" in words(app)


def test_a_trial_shows_every_metric_of_its_point_with_its_unit(
    example_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    view = trial_view(example_url, "digits", 0)
    point = view.points[3]
    app = shown(
        monkeypatch, example_url, "views/network.py", study="digits", trial="0", point=str(point.id)
    )
    figures = metrics(app)
    assert len(figures) == len(METRICS) - 3  # images have no time in ms, and this is no encoder
    assert figures["Accuracy"] == f"{100 * point.point.metrics['accuracy']:.1f} %"
    assert figures["Synaptic operations"].endswith("ops")
    assert all(each.help for each in app.metric)


def test_without_a_point_a_trial_shows_the_one_that_was_sampled(
    example_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sampled = trial_view(example_url, "digits", 0).points[0].point
    app = shown(monkeypatch, example_url, "views/network.py", study="digits", trial="0")
    assert metrics(app)["Accuracy"] == f"{100 * sampled.metrics['accuracy']:.1f} %"


def test_a_failed_trial_shows_its_reason_and_traceback(
    example_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = shown(monkeypatch, example_url, "views/network.py", study="digits", trial="6")
    assert "It failed" in words(app)
    assert "Traceback (most recent call last)" in words(app)
    assert not app.metric


@pytest.mark.parametrize("number", ["11", "15"])
def test_a_pruned_and_a_running_trial_can_be_looked_at(
    number: str, example_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = shown(monkeypatch, example_url, "views/network.py", study="digits", trial=number)
    assert f"Trial {number}" in words(app)


def test_a_trial_that_is_not_there_is_said_and_another_shown(
    example_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = shown(monkeypatch, example_url, "views/network.py", study="digits", trial="99")
    assert "There is no trial" in words(app)
    assert "0 to 15" in words(app)


def test_two_studies_are_compared_and_the_address_says_which(
    example_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = shown(monkeypatch, example_url, "views/compare.py")
    assert app.multiselect[0].value == ["digits", "finished"]
    assert list(app.dataframe[0].value["Study"]) == ["digits", "finished"]
    app.multiselect[0].set_value(["finished"]).run()
    assert app.query_params["with"] in ("finished", ["finished"])
    assert list(app.dataframe[0].value["Study"]) == ["finished"]


CURVES = """
[[curve]]
name = "a_peer"
dataset = "digits"
source = "S"
epochs = [1, 2]
hypervolume = [0.1, 0.2]
reference = {{ accuracy = 0.0, synaptic_ops = {ops}, training_memory_bytes = {memory} }}
"""


def test_a_curve_with_another_reference_point_is_not_drawn_and_the_page_says_so(
    example_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    point = study_view(example_url, "finished").stored.reference or {}
    ops, memory = point["synaptic_ops"], point["training_memory_bytes"]
    same, other = CURVES.format(ops=ops, memory=memory), CURVES.format(ops=2 * ops, memory=memory)
    (tmp_path / "a.toml").write_text(same + other.replace("a_peer", "another"))
    (tmp_path / "b.toml").write_text(same.replace("[0.1, 0.2]", "[0.1]"))
    monkeypatch.setenv("SPIKEFRONT_REFERENCES", str(tmp_path))
    app = shown(monkeypatch, example_url, "views/compare.py", **{"with": "finished"})
    said = html.unescape(words(app))
    assert "Published curves are drawn against epochs." in said
    assert "another reference point: another." in said
    assert "b.toml: curve 1: epochs must be as many as hypervolume, got 2 and 1" in said
    app.query_params["along"] = "epochs"
    app.run()
    assert "are drawn against epochs" not in html.unescape(words(app))
    app.query_params["references"] = "off"
    app.run()
    assert "another reference point" not in words(app)


def test_cards_of_a_front_have_the_objectives_of_their_points(
    example_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = shown(monkeypatch, example_url, "views/front.py", study="finished")
    cards = [each.proto.body for each in app.get("html") if "facts" in each.proto.body]
    view = study_view(example_url, "finished")
    knee = visible_points(view.table).knee
    assert knee is not None
    for name in view.table.objectives:
        value = formats.quantity(name, view.table.figure(name, knee), view.table.metrics)
        assert f"{formats.label(name)}</span><b>{value}</b>" in cards[0]


def test_a_target_in_the_address_narrows_the_front(
    example_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = shown(
        monkeypatch,
        example_url,
        "views/front.py",
        study="digits",
        targets="accuracy >= 95 %, nonsense",
    )
    assert (app.dataframe[0].value["accuracy"] >= 0.95).all()
    assert "must be like" in words(app)


def test_a_target_that_nobody_meets_says_so(
    example_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = shown(monkeypatch, example_url, "views/front.py", study="digits", targets="model <= 1 B")
    assert "No point meets the constraints and targets" in words(app)


@pytest.mark.parametrize("shape", ["surrogate", "partition", "run:timesteps"])
def test_a_third_axis_and_a_shape_can_be_chosen(
    shape: str, example_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = shown(
        monkeypatch,
        example_url,
        "views/front.py",
        study="digits",
        z="model_bytes",
        shape=shape,
        points="trial",
        dominated="off",
    )
    table = study_view(example_url, "digits").table
    assert len(app.dataframe[0].value) <= table.is_sampled.sum()


def test_many_studies_are_found_by_a_word_and_shown_as_a_table(
    example_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = shown(monkeypatch, example_url, find="FINISH operations", order="name", **{"as": "table"})
    assert list(app.dataframe[0].value["Study"]) == ["finished"]
    app = shown(monkeypatch, example_url, state="finished")
    assert [each.value for each in app.subheader] == ["finished"]
    app = shown(monkeypatch, example_url, find="no such word")
    assert "No study in this state has these words" in words(app)


def test_what_is_chosen_on_the_front_is_what_is_exported(
    example_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = study_view(example_url, "digits").table
    ids = ",".join(str(table.ids[row]) for row in (0, 5))
    app = shown(monkeypatch, example_url, "views/export.py", study="digits", selected=ids)
    assert "2 points chosen" in words(app)
    labels = [button.label for button in app.get("download_button")]
    assert labels.count("Settings") == 2
    assert {"Report", "Study file"} <= set(labels)


def test_a_study_whose_trials_all_failed_leads_to_one_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"sqlite:///{tmp_path / 'store.db'}"
    with Store(url) as store:
        store.create_study(study_from_toml(TOML.format(name="new", trials=1)))
        example = next(iter(example_trials(1)))
        store.add_trial("new", example.trial)
        store.finish_trial("new", 0, Outcome(state=TrialState.FAILED, reason="it broke"))
    app = shown(monkeypatch, url, "views/front.py", study="new")
    assert "1 trial failed, none is complete" in words(app)
    assert [each.proto.label for each in app.get("page_link")] == ["See why trial 0 failed"]


@pytest.mark.parametrize("names", [("accuracy",), tuple(METRICS)[:5]])
def test_a_study_of_one_objective_or_five_is_shown_on_every_page(
    names: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"sqlite:///{tmp_path / 'store.db'}"
    fill(url, name="new", count=4, is_running=False, objectives=names)
    for view in VIEWS:
        shown(monkeypatch, url, view, study="new")


@pytest.mark.parametrize(
    "changes",
    [
        (
            "accuracy = NULL WHERE id % 2 = 0",
            "synaptic_ops = 9e999 WHERE id % 3 = 0",
            "training_memory_bytes = 0",
            "mean_blocks = 9e999",
        ),
        ("accuracy = NULL",),
        ("synaptic_ops = 9e999", "model_bytes = -9e999", "latency_steps = NULL"),
    ],
)
def test_missing_and_infinite_metrics_are_left_out_and_counted(
    changes: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "store.db"
    fill(f"sqlite:///{path}", name="new", count=4, is_running=False)
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        for change in changes:
            connection.execute(f"UPDATE operating_points SET {change}")
    for view in VIEWS:
        app = shown(monkeypatch, f"sqlite:///{path}", view, study="new")
        if "front" in view:
            assert "Without a finite value on these axes" in words(app)


def test_the_dashboard_serves_this_machine_alone_and_reports_to_nobody() -> None:
    options = server.options(8600)
    assert options["server.address"] == "127.0.0.1"
    assert options["browser.gatherUsageStats"] is False
    assert options["server.port"] == 8600


@pytest.mark.parametrize("view", ["views/network.py", "views/importance.py", "views/export.py"])
def test_a_control_that_is_new_to_the_browser_begins_with_its_value(
    view: str, example_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The keys keep their values from the other page, so that the boxes are not set again."""
    app = shown(monkeypatch, example_url, "views/front.py", study="finished", x="model_bytes")
    app.switch_page(view).run()
    app.run()
    assert app.selectbox(key="choose-study").value == "finished"
    for box in app.selectbox:
        assert box.proto.default == (box.index or 0), box.label
    for slider in app.slider:
        assert slider.proto.default == [slider.value], slider.label
    for toggle in app.toggle:
        assert toggle.proto.default == toggle.value, toggle.label


def test_studies_of_the_address_that_are_not_there_are_named(
    example_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = shown(monkeypatch, example_url, "views/compare.py", **{"with": "nope"})
    assert "There is no study &#39;nope&#39;" in words(app)
    assert app.multiselect[0].value == ["digits", "finished"]


def test_studies_without_a_point_on_the_front_are_compared_without_empty_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"sqlite:///{tmp_path / 'store.db'}"
    fill(url, name="new", count=2, is_running=False)
    with Store(url) as store:
        store.update_front("new", set())
    app = shown(monkeypatch, url, "views/compare.py")
    assert "None of these studies has a point on its front yet." in words(app)
    assert not app.get("plotly_chart")


def test_a_trial_whose_driver_was_killed_is_interrupted_on_every_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # without studies, whose costs the page would estimate
    url = f"sqlite:///{tmp_path / 'store.db'}"
    fill(url, name="killed", count=3)
    with Store(url) as store:
        store.release_lease("killed", "example")
    assert "1 interrupted" in words(shown(monkeypatch, url))
    assert "1 interrupted" in words(shown(monkeypatch, url, "views/launch.py", watch="killed"))
    app = shown(monkeypatch, url, "views/network.py", study="killed", trial="2")
    assert "Interrupted: the driver of this study ended" in words(app)
    assert "running" not in words(app).lower()


def test_repeats_are_grouped_by_themselves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"sqlite:///{tmp_path / 'store.db'}"
    for seed in (1, 2):
        fill(url, name=f"digits-seed{seed}", count=3, is_running=False)
    assert "reached by half of the repeats" in words(shown(monkeypatch, url, "views/compare.py"))
