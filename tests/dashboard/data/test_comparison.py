import dataclasses
import datetime
from pathlib import Path

import numpy as np
import pytest

from dashboard.data import frames
from dashboard.data.comparison import (
    Compared,
    Comparison,
    HypervolumeHistory,
    attainment,
    band,
    ceiling_line,
    compare,
    group_of,
    group_tests,
    hours_at_work,
    hypervolume_history,
)
from dashboard.data.references import Curve
from dashboard.data.study_view import StudyView, read_study
from dashboard.figures import comparison as comparison_figures
from dashboard.parts.store_cache import open_store
from search.commands.compare import compared as compared_by_command
from search.store.columns import TrialColumns
from search.store.store import Store
from search.study.study import study_from_toml
from search.trial.trial import TrialState
from tests.dashboard.example_store import TOML, fill
from tests.dashboard.figures.test_figures import table


@pytest.fixture(scope="module")
def views(tmp_path_factory: pytest.TempPathFactory) -> list[StudyView]:
    url = f"sqlite:///{tmp_path_factory.mktemp('store') / 'store.db'}"
    for name in ("tpe-seed1", "tpe-seed2", "other"):
        fill(url, name=name, count=12, is_running=False)
    store = open_store(url)
    return [read_study(store, name) for name in ("tpe-seed1", "tpe-seed2", "other")]


def test_a_study_over_its_own_reference_has_the_volume_that_its_driver_kept(
    views: list[StudyView],
) -> None:
    view = views[0]
    assert view.stored.reference
    course = hypervolume_history(view.trials, view.table, view.stored.reference)
    assert course.values[-1] == pytest.approx(view.hypervolumes[-1].value)
    assert course.trials[-1] == len(view.hypervolumes)
    assert course.epochs[-1] == view.epochs_trained
    assert (np.diff(course.values) >= 0).all()


def test_studies_are_measured_from_one_reference_the_worst_of_theirs(
    views: list[StudyView],
) -> None:
    compared = compare(views)
    assert compared.objectives == views[0].stored.objectives
    for name, value in compared.reference.items():
        references = [view.stored.reference or {} for view in views]
        assert value == (min if name == "accuracy" else max)(r[name] for r in references)


def test_the_ceiling_is_what_all_studies_found_together(views: list[StudyView]) -> None:
    compared = compare(views[:2])  # of equal trials: together they found no more
    ends = [study.history.values[-1] for study in compared.studies]
    assert compared.ceiling == pytest.approx(max(ends))
    assert frames.comparison(compared)["Of the ceiling"].tolist() == pytest.approx([1.0, 1.0])
    first, second = (
        dataclasses.replace(
            compared.studies[0],
            table=table(accuracy, ops, front=[True] * 2),
            front=np.arange(2),
        )
        for accuracy, ops in (([0.9, 0.7], [9.0, 3.0]), ([0.8, 0.6], [5.0, 4.0]))
    )
    line = ceiling_line([first, second], "synaptic_ops", "accuracy")
    assert line.tolist() == [[3, 0.7], [5, 0.7], [5, 0.8], [9, 0.8], [9, 0.9]]
    figure = comparison_figures.histories(compared, along="epochs", mode="dark", has_ceiling=True)
    level = next(trace for trace in figure.data if "together" in str(trace.name))
    assert set(level.y) == {compared.ceiling}


def test_curves_of_other_searches_are_drawn_over_epochs_and_ceilings_over_everything(
    views: list[StudyView],
) -> None:
    compared = compare(views[:2])
    about = {"dataset": "digits", "source": "S", "note": "", "reference": compared.reference}
    curve = Curve(name="<peer>", epochs=(1.0, 900.0), values=(0.1, 0.4), **about)
    ceiling = Curve(name="best known", epochs=(), values=(0.9,), **about)
    drawn = {}
    for along in ("epochs", "trials"):
        figure = comparison_figures.histories(
            compared, along=along, mode="light", curves=[curve, ceiling]
        )
        drawn[along] = {trace.name: trace for trace in figure.data}
    peer, level = drawn["epochs"]["&lt;peer&gt;"], drawn["epochs"]["best known"]
    assert (peer.x, peer.y, peer.line.shape) == ((1.0, 900.0), (0.1, 0.4), "hv")
    assert (level.x, level.y) == ((0.0, 900.0), (0.9, 0.9))
    assert "&lt;peer&gt;" not in drawn["trials"]
    last = max(study.history.trials[-1] for study in compared.studies)
    assert drawn["trials"]["best known"].x == (0.0, last)


@pytest.mark.parametrize(
    ("name", "group"),
    [
        ("tpe-seed1", "tpe"),
        ("tpe_s12", "tpe"),
        ("run 3", "run"),
        ("digits-3", "digits"),
        ("digits", "digits"),
        ("7", "7"),
    ],
)
def test_names_that_differ_in_a_seed_alone_are_one_group(
    name: str, group: str, views: list[StudyView]
) -> None:
    stored = dataclasses.replace(views[0].stored, name=name)
    assert group_of(dataclasses.replace(views[0], stored=stored), "name") == group


def test_repeats_are_drawn_as_a_mean_with_its_range(views: list[StudyView]) -> None:
    compared = compare(views, "name")
    assert compared.groups == ("tpe", "other")
    figure = comparison_figures.histories(compared, along="epochs", mode="light")
    names = [trace.name for trace in figure.data if trace.showlegend is not False]
    assert names == ["tpe · mean of 2", "other"]
    frame = frames.comparison(compared)
    assert list(frame["Study"]) == ["tpe-seed1", "tpe-seed2", "other"]


def test_a_band_holds_each_value_until_the_next_and_ends_with_the_shortest() -> None:
    one = HypervolumeHistory(
        trials=np.array([1.0, 3.0]),
        epochs=np.array([1.0, 3.0]),
        hours=np.array([1.0, 3.0]),
        values=np.array([0.2, 0.6]),
    )
    other = HypervolumeHistory(
        trials=np.array([1.0, 2.0, 9.0]),
        epochs=np.array([1.0, 2.0, 9.0]),
        hours=np.array([1.0, 2.0, 9.0]),
        values=np.array([0.0, 0.4, 1.0]),
    )
    together = band([one, other], "trials")
    assert together is not None
    assert together.at.tolist() == [1, 2, 3]
    assert together.mean.tolist() == pytest.approx([0.1, 0.3, 0.5])
    assert together.low.tolist() == [0.0, 0.2, 0.4]
    assert together.high.tolist() == [0.2, 0.4, 0.6]
    assert band([one], "trials") is None


START = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


def between(*spans: tuple[float, float]) -> TrialColumns:
    """Return complete trials by begin and end in seconds after START."""
    count = len(spans)
    began, ended = (
        tuple(START + datetime.timedelta(seconds=each) for each in side)
        for side in zip(*spans, strict=True)
    )
    return TrialColumns(
        numbers=np.arange(count),
        states=(TrialState.COMPLETE,) * count,
        params=({},) * count,
        partitions=("",) * count,
        epochs_done=np.ones(count, dtype=np.int64),
        epochs_reused=np.zeros(count, dtype=np.int64),
        training_s=np.ones(count),
        evaluation_s=np.ones(count),
        started_at=began,
        finished_at=ended,
        has_weights=np.zeros(count, dtype=bool),
    )


def test_a_pause_between_trials_is_no_work_and_parallel_trials_count_once() -> None:
    trials = between((0, 3600), (0, 7200), (36_000, 39_600))
    assert hours_at_work(trials, np.arange(3)).tolist() == [1.0, 2.0, 3.0]


def test_hours_at_work_are_what_counting_every_second_gives() -> None:
    draws = np.random.default_rng(0)
    begins = draws.integers(0, 2_000, 40)
    ends = begins + draws.integers(0, 60, 40)
    trials = between(*zip(begins.tolist(), ends.tolist(), strict=True))
    order = np.argsort(ends, kind="stable")
    is_busy = np.zeros(2_100, dtype=bool)
    for begin, end in zip(begins, ends, strict=True):
        is_busy[begin:end] = True
    counted = [is_busy[: ends[place]].sum() / 3600 for place in order]
    assert hours_at_work(trials, order).tolist() == pytest.approx(counted)


def test_a_study_without_a_point_can_stand_in_a_comparison(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'store.db'}"
    fill(url, name="full", count=4, is_running=False)
    with Store(url) as store:
        store.create_study(study_from_toml(TOML.format(name="new", trials=4)))
    store = open_store(url)
    compared = compare([read_study(store, name) for name in ("full", "new")])
    assert compared.studies[1].history.values.size == 0
    comparison_figures.histories(compared, along="hours", mode="dark")
    comparison_figures.fronts(
        compared, x="synaptic_ops", y="accuracy", log_x=True, log_y=False, mode="dark"
    )
    assert len(frames.comparison(compared)) == 2


def test_a_study_without_a_front_has_no_hypervolume_as_the_command_says(tmp_path: Path) -> None:
    """Its points lack a figure for an objective of its own, which the others do not have."""
    url = f"sqlite:///{tmp_path / 'store.db'}"
    fill(url, name="full", count=12, is_running=False)
    fill(url, name="blind", count=12, is_running=False, objectives=["accuracy", "latency_ms"])
    with Store(url) as store:
        store.create_study(study_from_toml(TOML.format(name="new", trials=4)))
        names = ("full", "blind", "new")
        said = [side.hypervolume for side in compared_by_command(store, names).sides]
    store = open_store(url)
    shown = frames.comparison(compare([read_study(store, name) for name in names]))
    assert shown["Hypervolume"].tolist() == pytest.approx(said)
    assert said[0] > 0
    assert said[1:] == [0.0, 0.0]


def test_of_a_study_that_cannot_be_read_only_the_front_counts(views: list[StudyView]) -> None:
    """Its constraints are not known, and points outside of them are no results."""
    none = np.zeros(len(views[0].table), dtype=bool)
    without_front = dataclasses.replace(views[0].table, on_front=none)
    unread = dataclasses.replace(views[0], study=None)
    views_and_volumes = (
        (unread, views[0].hypervolumes[-1].value),
        (dataclasses.replace(unread, table=without_front), 0.0),
    )
    for view, volume in views_and_volumes:
        assert compare([view]).studies[0].history.values[-1] == pytest.approx(volume)


def repeats(group: str, *points: tuple[float, float]) -> list[Compared]:
    """Return one study for each point (operations, accuracy), with this point as its front."""
    none = np.empty(0)
    history = HypervolumeHistory(trials=none, epochs=none, hours=none, values=none)
    return [
        Compared(
            name=f"{group}-{place}",
            group=group,
            sampler="",
            table=table([accuracy], [ops]),
            front=np.arange(1),
            history=history,
            best={},
        )
        for place, (ops, accuracy) in enumerate(points)
    ]


def sentences(*studies: Compared) -> list[str]:
    compared = Comparison(
        objectives=("accuracy", "synaptic_ops"), reference={}, studies=tuple(studies)
    )
    comparison_figures.fronts(
        compared, x="synaptic_ops", y="accuracy", log_x=True, log_y=False, mode="light"
    )
    return group_tests(compared, "synaptic_ops", "accuracy")


def test_half_of_three_repeats_attain_what_two_of_them_do() -> None:
    found = attainment(repeats("a", (10, 0.8), (20, 0.9), (30, 0.7)), "synaptic_ops", "accuracy")
    assert found is not None
    assert found.median.tolist() == [[20, 0.7], [20, 0.8], [30, 0.8]]
    quarter = [[10, 0.7], [10, 0.8], [20, 0.8], [20, 0.9], [30, 0.9]]
    three_quarters = [[30, 0.7], [30, 0.7], [30, 0.7]]
    assert found.band.tolist() == quarter + three_quarters
    assert attainment(repeats("a", (10, 0.8)), "synaptic_ops", "accuracy") is None


def test_four_repeats_of_each_can_show_which_group_is_better() -> None:
    good = repeats("good", *((10 + n, 0.9) for n in range(4)))
    poor = repeats("poor", *((50 + n, 0.8) for n in range(4)))
    assert sentences(*good, *poor) == ["good is better than poor (p = 0.029, 4 and 4 repeats)."]
    assert sentences(*poor[:2], *good[:2]) == [
        "No significant difference between poor and good (p = 0.33, 2 and 2 repeats). "
        "A significant one takes 4 repeats of each."
    ]
