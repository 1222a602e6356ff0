"""Prefixes as a tree: which are one, what a block brought and cost, and what led to the front."""

import datetime
from collections.abc import Sequence

import numpy as np
import pytest

from dashboard.data import frames
from dashboard.data.points import PointTable
from dashboard.data.search_tree import NONE, SearchTree, has_shared_blocks, search_tree
from dashboard.figures import block_trees as figures
from search.trial.trial import Trial, TrialState
from snn.settings.config import RunConfig
from snn.settings.measurement import METRICS

START = datetime.datetime(2026, 3, 14, tzinfo=datetime.UTC)


def trial(
    number: int, partition: str, *, done: int, reused: int = 0, state: str = "complete"
) -> Trial:
    """A trial of two epochs for each block."""
    settings = {"backbone": "resnet9", "partition": partition, "epochs": 2}
    return Trial(
        number=number,
        params={"partition": partition},
        state=TrialState(state),
        config=RunConfig.from_mapping(settings),
        epochs_done=done,
        epochs_reused=reused,
        finished_at=START + datetime.timedelta(minutes=number),
    )


TRIALS = [
    trial(0, "1", done=2),
    trial(1, "1+1", done=2, reused=2),
    trial(2, "1+2", done=2, reused=2),
    trial(3, "2", done=2),
    trial(4, "1+1+2", done=1, reused=4, state="pruned"),
    trial(5, "1+2+1", done=0, reused=4, state="failed"),
]
# trial, blocks, accuracy, operations, on the front
POINTS = [
    (0, 1, 0.80, 10.0, False),
    (1, 2, 0.90, 20.0, True),
    (1, 2, 0.85, 15.0, False),
    (2, 2, 0.88, 30.0, False),
    (3, 1, 0.70, 40.0, False),
]


def points_of(rows: Sequence[tuple[int, int, float, float, bool]], trials: int) -> PointTable:
    places, blocks, accuracy, ops, front = zip(*rows, strict=True)
    known = {name: np.ones(len(rows)) for name in METRICS}
    known |= {"accuracy": np.asarray(accuracy), "synaptic_ops": np.asarray(ops)}
    return PointTable(
        ids=np.arange(len(rows)),
        places=np.asarray(places),
        on_front=np.asarray(front),
        is_sampled=np.ones(len(rows), dtype=bool),
        is_feasible=np.ones(len(rows), dtype=bool),
        figures=known,
        timesteps=np.full(len(rows), 4),
        blocks=np.asarray(blocks),
        thresholds_of=lambda ids: [()] * len(ids),
        trial_numbers=np.arange(trials),
        trial_partitions=("",) * trials,
        trial_params={},
        objectives=("accuracy", "synaptic_ops"),
    )


@pytest.fixture
def tree() -> SearchTree:
    return search_tree(TRIALS, points_of(POINTS, len(TRIALS)))


def test_equal_first_blocks_are_one_prefix_and_each_block_one_extension(tree: SearchTree) -> None:
    assert tree.trials.tolist() == [0, 1, 2, 3, 4]  # trial 5 trained no block of its own
    assert tree.depths.tolist() == [1, 2, 2, 1, 3]
    assert tree.parents.tolist() == [NONE, 0, 0, NONE, 1]
    assert tree.networks.tolist() == [5, 2, 2, 1, 1]
    assert tree.extensions.tolist() == [2, 1, 0, 0, 0]
    assert tree.path(4) == [0, 1, 4]
    assert tree.path(5) == [0, 2]
    assert tree.path(99) == []


def test_an_extension_has_its_gain_and_the_epochs_that_it_took(tree: SearchTree) -> None:
    assert tree.epochs.tolist() == [2, 2, 2, 2, 1]
    assert tree.epochs.sum() == sum(each.epochs_done for each in TRIALS)
    assert tree.spent.tolist() == [2, 4, 6, 8, 9]
    # the exit behind two blocks is the most accurate point of trial 1
    assert tree.change("accuracy")[[1, 2]] == pytest.approx([0.10, 0.08])
    assert np.isnan(tree.change("accuracy")[[0, 3, 4]]).all()


def test_kept_is_what_no_prefix_of_as_many_blocks_beats(tree: SearchTree) -> None:
    assert tree.is_kept.tolist() == [True, True, False, False, False]
    assert tree.on_front.tolist() == [False, True, False, False, False]
    assert tree.leads.tolist() == [True, True, False, False, False]
    fates = [figures.fate(tree, row) for row in range(len(tree))]
    assert fates == ["leads to the front", "on the front", "beaten", "beaten", "not measured"]


def test_a_block_behind_an_exit_that_was_not_measured_extends_the_one_before_it() -> None:
    trials = [trial(0, "1", done=2), trial(1, "1+1+2", done=4, reused=2)]
    tree = search_tree(
        trials, points_of([(0, 1, 0.8, 1.0, False), (1, 3, 0.9, 2.0, True)], len(trials))
    )
    assert tree.before.tolist() == [NONE, 0, 0]
    assert tree.change("accuracy")[2] == pytest.approx(0.1)
    assert tree.leads.tolist() == [True, True, True]


def test_the_table_has_a_row_for_each_number_of_blocks(tree: SearchTree) -> None:
    table = frames.depths(tree, "accuracy")
    assert table["Prefixes"].tolist() == [2, 2, 1]
    assert table["Not measured"].tolist() == [0, 0, 1]
    assert table["Epochs"].tolist() == [4, 4, 1]
    assert table["best"].tolist()[:2] == [0.8, 0.9]
    assert table["change"].tolist()[1] == pytest.approx(0.09)
    cost = frames.depths(tree, "synaptic_ops")
    assert cost["best"].tolist()[:2] == [10, 20]
    assert len(frames.prefixes(tree)) == len(tree)


@pytest.mark.parametrize("x", [figures.BLOCKS, figures.EPOCHS, "synaptic_ops"])
def test_every_measured_prefix_is_a_dot_that_names_its_trial(tree: SearchTree, x: str) -> None:
    figure = figures.search_tree(tree, "accuracy", "light", x=x, mark=4)
    dots = [trace for trace in figure.data if trace.mode == "markers"]
    assert sorted(n for trace in dots for n in trace.customdata) == [0, 1, 2, 3]
    assert [trace.name for trace in dots if len(trace.x)] == [
        "beaten",
        "leads to the front",
        "on the front",
    ]
    (hover,) = next(trace.hovertext for trace in dots if trace.name == "on the front")
    assert "80.0\u202f% → <b>90.0\u202f%" in hover
    assert "2 epochs for this block, then extended by 1 block" in hover
    path = next(trace for trace in figure.data if trace.name == "marked trial")
    assert len(path.x) == 2  # the third block was not measured


def test_thousands_of_prefixes_are_thinned_and_the_front_is_kept() -> None:
    draw = np.random.default_rng(0)
    count = 1500
    trials = [
        Trial(
            number=number,
            params={},
            state=TrialState.COMPLETE,
            config=RunConfig.from_mapping(
                {"backbone": "resnet9", "partition": "1+3", "seed": number, "epochs": 1}
            ),
            epochs_done=2,
        )
        for number in range(count)
    ]
    rows = [
        (number, blocks, float(draw.uniform(0.5, 0.9)), float(draw.uniform(1, 9)), number == 700)
        for number in range(count)
        for blocks in (1, 2)
    ]
    tree = search_tree(trials, points_of(rows, len(trials)))
    assert len(tree) == 3000
    kept = figures.shown_rows(tree, figures.BLOCKS, "accuracy")
    assert set(np.flatnonzero(tree.leads | tree.is_kept)) <= set(kept.tolist())
    assert len(kept) < figures.MOST_STRONG + figures.MOST_FAINT
    assert len(figures.search_tree(tree, "accuracy", "dark").to_json()) < 400_000


def test_only_trials_that_took_over_blocks_make_a_tree() -> None:
    assert has_shared_blocks(TRIALS)
    assert not has_shared_blocks([trial(0, "1", done=2), trial(1, "2", done=2)])
