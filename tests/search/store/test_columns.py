"""Columns against values: the same store read in both ways."""

import math
from pathlib import Path

import numpy as np
import pytest

from search.store.store import Store
from search.trial.trial import TrialState
from snn.settings.measurement import METRICS
from tests.dashboard.example_store import fill


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    url = f"sqlite:///{tmp_path_factory.mktemp('store') / 'store.db'}"
    fill(url, name="other", count=2)
    fill(url, name="digits", count=13)
    return Store(url, read_only=True)


def test_columns_of_points_are_their_values_in_the_same_order(store: Store) -> None:
    points, columns = store.operating_points("digits"), store.columns("digits").points
    assert columns.ids.tolist() == [point.id for point in points]
    assert columns.on_front.tolist() == [point.on_front for point in points]
    assert columns.is_sampled.tolist() == [point.point.is_sampled for point in points]
    assert columns.timesteps.tolist() == [point.point.timesteps for point in points]
    assert columns.blocks.tolist() == [point.point.blocks for point in points]
    for name in METRICS:
        values = [point.point.metrics[name] for point in points]
        np.testing.assert_array_equal(columns.metrics[name], values)


def test_columns_of_trials_are_their_values(store: Store) -> None:
    trials, columns = store.trials("digits"), store.columns("digits", ()).trials
    assert columns.numbers.tolist() == [trial.number for trial in trials]
    assert columns.states == tuple(trial.state for trial in trials)
    assert columns.params == tuple(trial.params for trial in trials)
    assert columns.partitions == tuple(t.config.partition if t.config else "" for t in trials)
    assert columns.epochs_done.tolist() == [trial.epochs_done for trial in trials]
    assert columns.finished_at == tuple(trial.finished_at for trial in trials)
    ended = [not math.isnan(seconds) and seconds > 0 for seconds in columns.training_s]
    complete = [trial.state is TrialState.COMPLETE for trial in trials]
    assert ended == complete


def test_each_point_knows_the_place_of_its_trial(store: Store) -> None:
    columns = store.columns("digits", ())
    numbers = columns.trials.numbers[columns.points.places]
    assert numbers.tolist() == [point.trial for point in store.operating_points("digits")]


def test_a_figure_that_was_left_out_can_be_had_later(store: Store) -> None:
    columns = store.columns("digits", ("accuracy",)).points
    assert set(columns.metrics) == {"accuracy"}
    ids, memory = store.figure_column("digits", "training_memory_bytes")
    whole = store.columns("digits").points
    by_id = dict(zip(ids.tolist(), memory.tolist(), strict=True))
    assert [by_id[point] for point in whole.ids.tolist()] == whole.metrics[
        "training_memory_bytes"
    ].tolist()


def test_exit_thresholds_are_had_by_point(store: Store) -> None:
    points = store.operating_points("digits")
    found = store.exit_thresholds([point.id for point in points] + [10**9])
    assert found == {point.id: point.point.exit_thresholds for point in points}


def test_a_study_without_trials_has_empty_columns(tmp_path: Path) -> None:
    from search.study.study import study_from_toml
    from tests.dashboard.example_store import TOML

    with Store(f"sqlite:///{tmp_path / 'store.db'}") as empty:
        empty.create_study(study_from_toml(TOML.format(name="new", trials=1)))
        columns = empty.columns("new")
    assert (len(columns.trials), len(columns.points)) == (0, 0)
    assert columns.points.metrics["accuracy"].dtype == np.float64


def test_heads_and_hypervolume_values_equal_the_full_queries(store: Store) -> None:
    heads = store.study_heads()
    assert [head.name for head in heads] == ["digits", "other"]
    assert all(head.version == store.version(head.name) for head in heads)
    assert all(head.is_running for head in heads)
    courses = store.hypervolume_courses(["digits", "nothing"])
    assert courses == {"digits": tuple(r.value for r in store.hypervolume("digits"))}
