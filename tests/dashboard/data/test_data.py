import dataclasses
import io
import itertools
import json
import os
import re
import zipfile
from pathlib import Path

import numpy as np
import pandas
import pytest

from dashboard.data import frames
from dashboard.data.point_filter import visible_points
from dashboard.data.points import MOST_SHAPES, Axis, few_values
from dashboard.data.study_view import read_study
from dashboard.data.targets import parse_targets
from dashboard.figures.style import hover_texts
from dashboard.parts import downloads
from dashboard.parts.store_cache import study_cards, study_view, trial_view
from search.commands import cli
from search.commands.front import front_of_study
from search.commands.tables import studies_table
from search.export.folder import ExportError
from search.runners.front_history import FrontHistory
from search.store.store import Store, StoreError
from search.study.study import study_from_toml
from search.trial.trial import Outcome, TrialState
from snn.settings.measurement import METRICS
from tests.dashboard.example_store import TOML, example_trials, fill


def test_a_study_that_a_driver_holds_is_running_and_one_that_had_all_its_trials_is_finished(
    example_url: str,
) -> None:
    states = {card.summary.name: card.state for card in study_cards(example_url)}
    assert states == {"digits": "running", "finished": "finished"}


def test_a_study_without_a_driver_and_with_trials_to_go_is_stopped(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'store.db'}"
    fill(url, count=3)
    with Store(url) as store:
        store.release_lease("digits", "example")
    (card,) = study_cards(url)
    assert card.state == "stopped"
    assert card.progress == pytest.approx(2 / 3)


def test_a_study_that_trained_all_its_epochs_is_finished_with_trials_to_go(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'store.db'}"
    fill(url, name="digits", count=3, is_running=False)
    (card,) = study_cards(url)
    trained = card.summary.epochs_trained
    for name, epochs, state in (("spent", trained, "finished"), ("left", 2 * trained, "stopped")):
        text = TOML.format(name=name, trials=9).replace("[budget]", f"[budget]\nepochs = {epochs}")
        with Store(url) as store:
            store.create_study(study_from_toml(text))
            for example in example_trials(3):
                store.add_trial(name, example.trial)
                for measurement in example.measurements:
                    store.record_measurement(name, example.trial.number, measurement)
                outcome = example.outcome or Outcome(state=TrialState.PRUNED)
                store.finish_trial(name, example.trial.number, outcome)
        card = next(each for each in study_cards(url) if each.summary.name == name)
        assert (card.summary.epochs_asked, card.state) == (epochs, state)
    assert card.progress == pytest.approx(0.5)


def test_a_study_that_was_run_again_with_a_lower_budget_does_not_tell_it_as_a_whole(
    tmp_path: Path,
) -> None:
    url = f"sqlite:///{tmp_path / 'store.db'}"
    fill(url, name="digits", count=3, is_running=False)
    for asked, said, of in ((3, "3 of 3 trials finished", "3"), (1, "3 trials finished", "-")):
        with Store(url) as store:
            store.create_study(study_from_toml(TOML.format(name="digits", trials=asked)))
            table = studies_table(store.study_summaries())
        (card,) = study_cards(url)
        assert card.facts[0] == said
        assert [list(column.cells) for column in table.columns if column.header == "of"] == [[of]]


def test_the_study_changed_last_comes_first(example_url: str) -> None:
    assert next(card.summary.name for card in study_cards(example_url)) == "digits"


def test_the_columns_are_the_stored_points(example_url: str) -> None:
    with Store(example_url, read_only=True) as store:
        stored = store.operating_points("digits")
    table = study_view(example_url, "digits").table
    assert table.ids.tolist() == [point.id for point in stored]
    for name in METRICS:
        expected = [point.point.metrics[name] for point in stored]
        assert np.array_equal(table.figures[name], expected, equal_nan=True)
    exits = table.exit_thresholds(range(len(table)))
    assert list(exits) == [point.point.exit_thresholds for point in stored]
    params = [table.params_of(row) for row in range(len(table))]
    assert params == [point.params for point in stored]
    assert table.on_front.tolist() == [point.on_front for point in stored]


def test_texts_and_table_of_the_front_read_no_column_of_all_points(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"sqlite:///{tmp_path / 'store.db'}"
    fill(url, count=4)
    with Store(url, read_only=True) as store:
        table = read_study(store, "digits").table
        rows = visible_points(table).front.tolist()
        monkeypatch.setattr(Store, "figure_column", lambda *_: pytest.fail("read a column"))
        monkeypatch.setattr(Store, "exit_thresholds", lambda *_: pytest.fail("read thresholds"))
        texts, shown = hover_texts(table, rows), frames.points(table, rows)
        monkeypatch.undo()
        by_column = dataclasses.replace(table, member_metrics={})
        assert hover_texts(by_column, rows) == texts
        pandas.testing.assert_frame_equal(frames.points(by_column, rows), shown)


def test_points_outside_a_constraint_are_not_feasible(example_url: str) -> None:
    table = study_view(example_url, "digits").table
    assert table.bounds == {"model_bytes": (None, 300_000)}
    assert np.array_equal(table.is_feasible, table.figures["model_bytes"] <= 300_000)


def test_the_knee_is_a_member_of_the_front(example_url: str) -> None:
    table = study_view(example_url, "digits").table
    knee = visible_points(table).knee
    assert knee is not None
    assert table.on_front[knee]


def test_parameters_of_some_trials_only_are_absent_elsewhere(example_url: str) -> None:
    table = study_view(example_url, "digits").table
    for row in range(len(table)):
        has_two = len(table.partition(row).split("+")) > 2
        assert ("exit_threshold_2" in table.params_of(row)) == has_two


def test_every_axis_that_is_offered_can_be_drawn(example_url: str) -> None:
    table = study_view(example_url, "digits").table
    assert table.axis_names[:3] == table.objectives
    assert len(set(table.axis_names)) == len(table.axis_names)
    for name in table.axis_names:
        axis = table.axis(name)
        column = axis.names if axis.values is None else axis.values
        assert column is not None
        assert len(column) == len(table)


def test_counts_and_sizes_are_logarithmic_by_default_and_fractions_are_not(
    example_url: str,
) -> None:
    table = study_view(example_url, "digits").table
    is_log = {name: table.axis(name).is_log_by_default for name in table.axis_names}
    assert is_log["synaptic_ops"]
    assert is_log["model_bytes"]
    assert not is_log["accuracy"]
    assert not table.axis("partition").can_be_log


def test_a_change_of_the_study_is_seen_at_the_next_look(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'store.db'}"
    fill(url, count=3)
    before = study_view(url, "digits")
    assert study_view(url, "digits").table is before.table
    with Store(url) as store:
        store.update_front("digits", {int(before.table.ids[0])})
    after = study_view(url, "digits")
    assert after.table.ids[after.table.on_front].tolist() == [int(before.table.ids[0])]


@pytest.fixture(scope="module")
def url_of_twins(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Six trials, each of a training of which another trial is, at the same operating points."""
    url = f"sqlite:///{tmp_path_factory.mktemp('twins') / 'store.db'}"
    with Store(url) as store:
        study = study_from_toml(TOML.format(name="twins", trials=6))
        store.create_study(study)
        history = FrontHistory(study, store)
        for each in itertools.islice(example_trials(9), 3):
            assert each.outcome is not None
            for number in (each.trial.number, each.trial.number + 3):
                store.add_trial("twins", dataclasses.replace(each.trial, number=number))
                store.finish_trial("twins", number, each.outcome)
                history.add(number, each.outcome.state, 8)
        restored = FrontHistory(study, store)
        restored.restore(store.trials("twins"))
        assert restored.front_size == history.front_size == len(front_of_study(store, study))
    return url


def test_a_front_has_one_size_everywhere(
    url_of_twins: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Tables counted equal points of equal trainings once, lists of studies twice."""
    [card] = study_cards(url_of_twins)
    table = study_view(url_of_twins, "twins").table
    size = len(visible_points(table).front)
    assert 2 * size == table.on_front.sum() > 0
    assert card.summary.front_size == size
    said = []
    for words in (["studies"], ["front", "twins"], ["status", "twins"]):
        assert cli.main([*words, "--store", url_of_twins, "--json"]) == 0
        said.append(json.loads(capsys.readouterr().out))
    assert said[0]["studies"][0]["front_size"] == len(said[1]["points"]) == size
    assert said[2]["front_size"] == size


def test_a_trial_names_the_others_of_its_training(
    url_of_twins: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for words in ([], ["--json"]):
        assert cli.main(["show", "twins", "4", "--store", url_of_twins, *words]) == 0
    out = capsys.readouterr().out
    text, _, document = out.partition("{\n")
    assert re.search(r"same training +trial 1\s", text)
    assert json.loads("{\n" + document)["same_training"] == [1]


@pytest.mark.parametrize("per_trial", [False, True])
@pytest.mark.parametrize("targets", ["", "latency >= 1", "energy >= 0", "accuracy >= 1 %"])
def test_equal_points_are_shown_once_whatever_the_targets(
    url_of_twins: str, targets: str, per_trial: bool
) -> None:
    """A target on a metric that is no objective makes another front, which had them twice."""
    table = study_view(url_of_twins, "twins").table
    found, faults = parse_targets(targets)
    assert faults == ()
    rows = visible_points(table, found, per_trial=per_trial).front
    assert len(rows) > 0
    assert table.trials[rows].max() < 3
    for row in rows:
        trial = int(table.trials[row])
        assert table.trial_words(row) == f"Trials {trial} and {trial + 3}"


def test_a_study_without_trials_has_no_points_and_no_knee(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'store.db'}"
    with Store(url) as store:
        store.create_study(study_from_toml(TOML.format(name="new", trials=4)))
    view = study_view(url, "new")
    assert len(view.table) == 0
    assert visible_points(view.table).knee is None


def test_a_trial_that_failed_has_its_traceback_and_no_points(example_url: str) -> None:
    view = trial_view(example_url, "digits", 6)
    assert view.trial.state is TrialState.FAILED
    assert "Traceback" in view.trial.error
    assert view.points == ()


def test_the_sampled_point_is_the_first_of_a_family(example_url: str) -> None:
    view = trial_view(example_url, "digits", 0)
    assert [point.point.is_sampled for point in view.points][:2] == [True, False]


def test_what_was_searched_and_what_was_fixed_are_all_settings_together(example_url: str) -> None:
    trial = trial_view(example_url, "digits", 0).trial
    assert trial.config is not None
    fixed = frames.fixed_settings(trial.config, trial)
    searched = set(trial.config.to_mapping()) - set(fixed)
    assert "exit_threshold" in searched
    assert "width" in searched
    assert "seed" in fixed


def test_no_store_is_said_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no store at"):
        study_cards(f"sqlite:///{tmp_path / 'nothing.db'}")


def test_a_store_that_went_away_is_missed_and_found_again(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    fill(f"sqlite:///{path}", count=2)
    assert len(study_cards(f"sqlite:///{path}")) == 1
    for each in tmp_path.glob("store.db*"):
        each.rename(tmp_path / f"away-{each.name}")
    with pytest.raises(StoreError, match="no store at"):
        study_cards(f"sqlite:///{path}")
    for each in tmp_path.glob("away-*"):
        each.rename(tmp_path / each.name.removeprefix("away-"))
    assert len(study_cards(f"sqlite:///{path}")) == 1


def test_reading_changes_nothing_in_the_store(example_url: str) -> None:
    path = Path(example_url.removeprefix("sqlite:///"))
    before = (path.read_bytes(), os.stat(path).st_mtime_ns)
    study_cards(example_url)
    study_view(example_url, "digits")
    trial_view(example_url, "digits", 0)
    assert (path.read_bytes(), os.stat(path).st_mtime_ns) == before


def test_a_trial_without_weights_cannot_be_exported_and_says_why(example_url: str) -> None:
    problem = downloads.export_problem(example_url, "digits", 0)
    assert problem is not None
    assert problem.startswith("trial 0 kept no weights (complete")
    point = trial_view(example_url, "digits", 0).points[0]
    with pytest.raises(ExportError, match="kept no weights"):
        downloads.exported_zip(example_url, "digits", 0, point.id)


def test_a_zip_unpacks_to_one_folder(tmp_path: Path) -> None:
    folder = tmp_path / "digits-3-17"
    folder.mkdir()
    (folder / "config.toml").write_text("seed = 0\n")
    with zipfile.ZipFile(io.BytesIO(downloads.zipped(folder))) as archive:
        assert archive.namelist() == ["digits-3-17/config.toml"]
        assert archive.read("digits-3-17/config.toml") == b"seed = 0\n"


def test_shapes_tell_any_parameter_by_a_few_values(example_url: str) -> None:
    table = study_view(example_url, "digits").table
    every = np.arange(len(table))
    assert {"width", "learning_rate", "partition", "run:timesteps"} <= set(table.shape_names)
    for name in table.shape_names:
        assert 1 < len(set(table.shape_axis(name).words(every))) <= MOST_SHAPES + 1
    rate, plain = table.shape_axis("learning_rate"), table.axis("learning_rate")
    assert rate.values is not None
    assert plain.values is not None
    assert rate.label == "Learning rate about"
    order = np.argsort(plain.values)
    assert np.all(np.diff(rate.values[order]) >= 0)  # quarters keep the order


def test_the_rarest_of_many_words_share_a_shape() -> None:
    words = [f"w{place}" for place in range(20) for _ in range(place + 1)]
    names = np.asarray(words, dtype=np.object_)
    axis = Axis(name="x", label="X", unit="", better=None, values=None, names=names)
    few = few_values(axis)
    assert few.names is not None
    assert set(few.names) == {"other", *(f"w{place}" for place in range(13, 20))}


def test_a_selection_is_taken_away_as_one_file(
    real_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPIKEFRONT_DATA", str(tmp_path))
    with Store(real_url, read_only=True) as store:
        first, second = (store.operating_points("real", number)[0] for number in (0, 1))
    points = [(0, first.id), (1, second.id)]
    packed = downloads.networks_zip(real_url, "real", points, b"Trial\n0\n1\n")
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        names = archive.namelist()
        assert archive.read("real-networks/points.csv") == b"Trial\n0\n1\n"
    for number, point in points:
        assert f"real-networks/real-{number}-{point}/config.toml" in names


def test_equal_points_of_equal_trainings_are_shown_once_with_both_trials(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'store.db'}"
    example = next(example_trials(1, seed=1))
    with Store(url) as store:
        store.create_study(study_from_toml(TOML.format(name="twins", trials=3)))
        config = example.trial.config
        assert config is not None
        for number, seed in enumerate((0, 0, 1)):
            same = dataclasses.replace(example.trial, number=number)
            trial = dataclasses.replace(same, config=config.replace(seed=seed))
            store.add_trial("twins", trial)
            store.finish_trial("twins", number, next(example_trials(2, seed=1)).outcome)
        points = store.operating_points("twins")
        store.update_front("twins", {point.id for point in points})
    table = study_view(url, "twins").table
    visible = visible_points(table)
    each = len(table) // 3
    assert visible.front.size == 2 * each
    assert {table.trial_words(row) for row in visible.front} == {"Trials 0 and 1", "Trial 2"}
    shown = frames.points(table, visible.front.tolist())
    assert shown["Same training"].tolist() == ["1"] * each + [""] * each
