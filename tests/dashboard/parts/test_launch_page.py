"""The Launch page: the form's faults at their places, and what may be started."""

import datetime
import html
import os
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from dashboard.data.study_draft import Draft, read, typed
from dashboard.parts import launching
from search.runners.launch import RunOptions
from search.store.store import Store, StoreError
from search.study.study import study_from_toml
from search.trial.trial import Trial, TrialState
from tests.dashboard import real_study
from tests.dashboard.views.test_views import shown, words


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SPIKEFRONT_DATA", raising=False)


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[tuple[object, ...]]:
    """What would have been started."""
    found: list[tuple[object, ...]] = []

    def start(url: str, study: object, path: Path, options: RunOptions) -> None:
        found.append((url, study, path, options))

    monkeypatch.setattr(launching, "start", start)
    return found


def draft(**changes: object) -> Draft:
    values: dict[str, object] = {
        "name": "x",
        "objectives": ["accuracy"],
        "run": {"dataset": "digits", "width": "8"},
        "axes": {"timesteps": {"low": "1", "high": "4", "step": ""}},
        "budget": {"trials": "3", "hours": ""},
        "search": {"sampler": "random"},
    }
    return Draft(**{**values, **changes})  # type: ignore[arg-type]


def test_what_is_typed_becomes_the_study_that_its_file_says() -> None:
    given = draft(
        question="Why?",
        constraints={"model_bytes": {"min": "", "max": "4e5"}},
        axes={
            "timesteps": {"low": "1", "high": "4", "step": ""},
            "learning_rate": {"low": "1e-3", "high": "1e-1", "log": "true"},
            "time_rule": {"values": ["bptt", "saf-e"]},
            "partition": {"max_blocks": "2", "min_blocks": ""},
        },
    )
    study = read(given.text()).study
    assert study is not None
    assert study.question == "Why?"
    assert study.constraints["model_bytes"].max == 4e5
    assert study.budget.trials == 3
    assert set(study.space.axes) == {"timesteps", "learning_rate", "time_rule", "partition"}
    assert study.search.sampler == "random"


def test_faults_stand_at_their_places_and_all_at_once() -> None:
    given = draft(
        name="../x",
        run={"width": "many"},
        axes={"timesteps": {"low": "9", "high": "4"}},
        budget={"trials": "0"},
    )
    reading = read(given.text())
    assert reading.study is None
    assert "must be 1 to 100 letters" in reading.at("name")[0]
    assert "must be an integer, got 'many'" in reading.at("run.width")[0]
    assert "must be at most high (4), got 9" in reading.at("space.timesteps")[0]
    assert reading.at("budget.trials")
    assert reading.elsewhere("name", "run.width", "space.timesteps", "budget.trials") == []


@pytest.mark.parametrize("text", ['1\nname = "y"', "[1]", "{a=1}", "$(reboot)", '"""', ""])
def test_what_is_no_number_stays_a_text_and_never_another_key(text: str) -> None:
    assert typed(text) in (text, 1)
    reading = read(draft(run={"width": text}).text())
    assert reading.study is None or reading.study.name == "x"


def page(monkeypatch: pytest.MonkeyPatch, url: str, **query: str) -> AppTest:
    return shown(monkeypatch, url, "views/launch.py", **query)


def test_without_study_files_the_page_says_where_they_are_looked_for(
    empty_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    text = words(page(monkeypatch, empty_url))
    assert f"There is no study file in {tmp_path}, nor in its studies/ and runs/studies/." in text
    assert "No study is running." in text


def test_study_files_of_the_working_folder_are_offered_and_its_other_files_are_not(
    empty_url: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    started: list[tuple[object, ...]],
) -> None:
    (tmp_path / "mine.toml").write_text(real_study.study_text())
    (tmp_path / "faulty.toml").write_text("objectives = [")
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "secret"\n')
    (tmp_path / "studies").mkdir()
    (tmp_path / "studies" / "digits.toml").write_text(real_study.study_text())
    app = page(monkeypatch, empty_url)
    box = app.selectbox(key="choose-file")
    assert box.options == ["faulty.toml", "mine.toml", "studies/digits.toml"]
    assert box.value == "studies/digits.toml"
    box.set_value("mine.toml").run()
    app.button(key="start-file").click().run()
    assert not app.exception
    assert started[0][2] == Path("mine.toml")


def test_a_study_file_is_shown_with_its_cost_and_started(
    empty_url: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    started: list[tuple[object, ...]],
) -> None:
    (tmp_path / "studies").mkdir()
    (tmp_path / "studies" / "real.toml").write_text(real_study.study_text())
    app = page(monkeypatch, empty_url, file="../../etc/passwd")
    assert app.selectbox(key="choose-file").value == "studies/real.toml"
    assert "infinitely many configurations" in words(app).replace("&#44;", ",")
    assert next(iter(app.dataframe[0].value["Run"])) == "smallest"
    app.button(key="start-file").click().run()
    assert not app.exception
    assert "spikefront run studies/real.toml --artifacts=runs/artifacts --data=data" in words(app)
    assert [(str(path), how) for _, _, path, how in started] == [
        ("studies/real.toml", RunOptions(data=Path("data")))
    ]
    assert app.query_params["watch"] == "real"


def test_a_faulty_file_shows_every_fault_and_no_button(
    empty_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "studies").mkdir()
    text = real_study.study_text().replace("epochs = 3", "epochs = 0\nepoch = 3")
    (tmp_path / "studies" / "bad.toml").write_text(text)
    app = page(monkeypatch, empty_url)
    assert len(app.error) == 2
    assert not [button for button in app.button if button.label == "Start"]


def test_a_form_is_filled_in_saved_and_started(
    empty_url: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    started: list[tuple[object, ...]],
) -> None:
    app = page(monkeypatch, empty_url, **{"from": "form"})
    app.text_input(key="form-name").set_value("../../evil").run()
    assert "must be 1 to 100 letters" in app.error[0].value.replace("&#44;", ",")
    assert "Correct the fields marked above" in words(app)
    app.text_input(key="form-name").set_value("mine").run()
    app.text_input(key="form-low-timesteps").set_value("9").run()
    assert len(app.error) == 1
    app.text_input(key="form-low-timesteps").set_value("3").run()
    app.button(key="start-form").click().run()
    assert not app.exception
    ((_, _, path, _),) = started
    assert path == Path("runs/studies/mine.toml")
    saved = study_from_toml((tmp_path / "runs/studies/mine.toml").read_text())
    assert saved.space.axes["timesteps"].describe() == "3 to 8"
    # another study of that name is not put in its place unasked
    app.text_input(key="form-low-timesteps").set_value("2").run()
    app.button(key="start-form").click().run()
    assert "exists with other content" in " ".join(error.value for error in app.error)
    assert len(started) == 1


def test_a_run_that_was_started_elsewhere_is_shown_and_can_be_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"sqlite:///{tmp_path / 'store.db'}"
    with Store(url) as store:
        store.create_study(study_from_toml(real_study.study_text("there")))
        store.acquire_lease("there", "other-host:17", seconds=600)
    app = page(monkeypatch, url)
    assert "Started elsewhere" in words(app)
    app.button(key="stop-there").click().run()
    assert not app.exception
    with Store(url, read_only=True) as store:
        assert store.stop_requested("there")
    assert app.button(key="stop-there").disabled


def test_a_study_of_the_store_is_continued_by_the_text_that_it_has_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, started: list[tuple[object, ...]]
) -> None:
    url = f"sqlite:///{tmp_path / 'store.db'}"
    with Store(url) as store:
        store.create_study(study_from_toml(real_study.study_text("there", trials=2)))
    app = page(monkeypatch, url, watch="there")
    app.number_input(key="trials-more-there").set_value(5).run()
    app.number_input(key="hours-more-there").set_value(0.5).run()
    app.number_input(key="workers-more-there").set_value(1).run()
    app.selectbox(key="device-more-there").set_value("cpu").run()
    app.text_input(key="data-more-there").set_value("--all my data").run()
    said = "--trials=5 --hours=0.5 --workers=1 --device=cpu"
    assert f"'--data=--all my data' {said}" in words(app)
    app.button(key="continue-there").click().run()
    assert not app.exception
    ((_, _, path, how),) = started
    assert study_from_toml(Path(str(path)).read_text()).name == "there"
    assert how == RunOptions(
        data=Path("--all my data"), trials=5, hours=0.5, workers=1, device="cpu"
    )


def test_options_that_the_command_line_refuses_are_said_and_nothing_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, started: list[tuple[object, ...]]
) -> None:
    url = f"sqlite:///{tmp_path / 'store.db'}"
    with Store(url) as store:
        store.create_study(study_from_toml(real_study.study_text("there", trials=2)))
    app = page(monkeypatch, url, watch="there")
    app.number_input(key="hours-more-there").set_value(0.0).run()
    assert "--hours must be a number above 0" in errors(app)
    assert not [button for button in app.button if button.label == "Continue"]
    app.number_input(key="hours-more-there").set_value(1.0).run()
    app.text_input(key="data-more-there").set_value(" ").run()
    assert "--data must be a path" in errors(app)


def errors(app: AppTest) -> str:
    return html.unescape(" ".join(error.value for error in app.error))


def test_the_time_that_is_left_follows_the_pace_and_the_workers() -> None:
    study = study_from_toml(real_study.study_text("there", trials=6))
    begun = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    trials = [
        Trial(
            number=number,
            params={},
            state=TrialState.COMPLETE,
            started_at=begun,
            finished_at=begun + datetime.timedelta(seconds=seconds),
        )
        for number, seconds in enumerate((2, 4))
    ]
    plain = RunOptions(data=Path("data"))
    assert launching.more_s(trials, study, plain) == 12
    twice = RunOptions(data=Path("data"), trials=10, workers=2)
    assert launching.more_s(trials, study, twice) == 12
    assert launching.more_s(trials[:1], study, plain) is None


def test_what_kept_a_run_from_stopping_is_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(url: str, name: str) -> None:
        raise StoreError(f"{name} is held")

    url = f"sqlite:///{tmp_path / 'store.db'}"
    with Store(url) as store:
        store.create_study(study_from_toml(real_study.study_text("there")))
        store.acquire_lease("there", "other-host:17", seconds=600)
    monkeypatch.setattr(launching, "ask_to_stop", refuse)
    app = page(monkeypatch, url)
    app.button(key="stop-there").click().run()
    assert errors(app) == "there is held"
    app.run()
    assert errors(app) == ""


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_store_that_may_only_be_read_is_shown_and_says_so_when_a_stop_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "store.db"
    url = f"sqlite:///{path}"
    with Store(url) as store:
        store.create_study(study_from_toml(real_study.study_text("there")))
        store.acquire_lease("there", "other-host:17", seconds=600)
    path.chmod(0o444)
    app = page(monkeypatch, url)
    app.button(key="stop-there").click().run()
    assert not app.exception
    assert app.error
