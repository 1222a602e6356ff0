"""Fronts, hypervolume, knees and picks."""

import math
import time
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from optuna._hypervolume import compute_hypervolume

from search.front.front import (
    PickError,
    dominates,
    front_of,
    hypervolume,
    knee,
    normalised_hypervolume,
    pareto_mask,
    pick,
    reference_point,
)
from search.study.study import Bound
from search.trial.trial import FrontPoint
from snn.settings.measurement import METRICS, OperatingPoint

OBJECTIVES = ("accuracy", "synaptic_ops")
for_all = settings(deadline=None, max_examples=60)
# Few different numbers, so that ties and equal rows are common.
few = st.integers(0, 6).map(float)
some_values = st.integers(1, 5).flatmap(
    lambda d: arrays.arrays(np.float64, st.tuples(st.integers(1, 25), st.just(d)), elements=few)
)


def a_point(trial: int = 0, **metrics: float) -> FrontPoint:
    return FrontPoint(
        trial=trial,
        params={},
        point=OperatingPoint(
            timesteps=4,
            exit_thresholds=(),
            detector_threshold=0.5,
            blocks=1,
            metrics=dict.fromkeys(METRICS, 1.0) | metrics,
        ),
        on_front=False,
    )


def points_of(*rows: tuple[float, float]) -> list[FrontPoint]:
    return [a_point(k, accuracy=a, synaptic_ops=ops) for k, (a, ops) in enumerate(rows)]


def mask_by_definition(values: np.ndarray) -> list[bool]:
    return [not any(dominates(other, row) for other in values) for row in values]


def test_a_point_dominates_when_nowhere_worse_and_somewhere_better() -> None:
    assert dominates((1, 2), (1, 3))
    assert not dominates((1, 2), (1, 2))
    assert not dominates((0, 3), (1, 2))


@for_all
@given(some_values)
def test_the_front_is_what_its_definition_says(values: np.ndarray) -> None:
    assert pareto_mask(values).tolist() == mask_by_definition(values)


@for_all
@given(some_values)
def test_the_front_of_the_front_is_the_front(values: np.ndarray) -> None:
    assert pareto_mask(values[pareto_mask(values)]).all()


@for_all
@given(some_values, st.data())
def test_a_dominated_point_changes_neither_front_nor_hypervolume(
    values: np.ndarray, data: st.DataObject
) -> None:
    worse = values[data.draw(st.integers(0, len(values) - 1))].copy()
    worse[data.draw(st.integers(0, values.shape[1] - 1))] += 1
    more = np.vstack([values, worse])
    assert pareto_mask(more).tolist() == [*pareto_mask(values).tolist(), False]
    reference = np.full(values.shape[1], 7.0)
    assert hypervolume(more, reference) == pytest.approx(hypervolume(values, reference))


@for_all
@given(some_values)
def test_the_order_of_the_points_does_not_matter(values: np.ndarray) -> None:
    order = np.random.default_rng(0).permutation(len(values))
    assert pareto_mask(values[order]).tolist() == pareto_mask(values)[order].tolist()


def test_rows_that_are_not_finite_are_never_on_a_front_and_dominate_nothing() -> None:
    values = np.array([[math.nan, 0.0], [-math.inf, -math.inf], [1.0, 1.0], [math.inf, 0.0]])
    assert pareto_mask(values).tolist() == [False, False, True, False]


def test_an_empty_set_has_an_empty_front() -> None:
    assert pareto_mask(np.empty((0, 3))).tolist() == []
    assert front_of([], OBJECTIVES) == []


def test_minus_zero_is_zero() -> None:
    assert pareto_mask(np.array([[0.0, 1.0], [-0.0, 2.0]])).tolist() == [True, False]


@pytest.mark.parametrize("is_all_front", [True, False])
def test_a_hundred_thousand_points_take_seconds(is_all_front: bool) -> None:
    values = np.random.default_rng(0).random((100_000, 3))
    if is_all_front:
        values[:, 2] = 2 - values[:, 0] - values[:, 1]
    start = time.process_time()
    mask = pareto_mask(values)
    assert time.process_time() - start < 5
    assert mask.all() == is_all_front


def test_a_chunked_front_agrees_with_its_definition() -> None:
    values = np.random.default_rng(1).integers(0, 12, (1_500, 4)).astype(float)
    front = values[pareto_mask(values)]
    assert all(not dominates(a, b) for a in front for b in front)
    rest = values[~pareto_mask(values)]
    assert all(((front <= row).all(axis=1) & (front < row).any(axis=1)).any() for row in rest)


@pytest.mark.parametrize(
    ("values", "reference", "volume"),
    [
        ([[1.0]], [3.0], 2.0),
        ([[1.0, 1.0]], [3.0, 2.0], 2.0),
        ([[0.0, 1.0], [1.0, 0.0]], [2.0, 2.0], 3.0),
        ([[0.0, 1.0], [1.0, 0.0], [0.0, 1.0], [1.5, 1.5]], [2.0, 2.0], 3.0),
        ([[0.0, 0.0, 0.0]], [1.0, 2.0, 3.0], 6.0),
        # Three unit beams through the corner of a cube of side 2: 8 less one unit.
        ([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0]], [2.0, 2.0, 2.0], 7.0),
        # Two boxes 1 x 2 x 2 x 2 and 2 x 1 x 2 x 2, which share 1 x 1 x 2 x 2.
        ([[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0]], [2.0] * 4, 12.0),
        ([[2.0, 0.0]], [2.0, 2.0], 0.0),
        ([[3.0, 0.0], [math.nan, 0.0]], [2.0, 2.0], 0.0),
    ],
)
def test_hypervolume_is_the_volume_worked_out_by_hand(
    values: list[list[float]], reference: list[float], volume: float
) -> None:
    assert hypervolume(np.array(values), np.array(reference)) == pytest.approx(volume)


def test_nothing_has_no_volume() -> None:
    assert hypervolume(np.empty((0, 3)), np.ones(3)) == 0


@for_all
@given(some_values)
def test_hypervolume_counts_the_cells_that_are_dominated(values: np.ndarray) -> None:
    """On whole numbers, the volume is how many unit cells below 7 some point dominates."""
    cells = np.stack(
        np.meshgrid(*[np.arange(7)] * values.shape[1], indexing="ij"), axis=-1
    ).reshape(-1, values.shape[1])
    covered = np.zeros(len(cells), dtype=bool)
    for row in values:
        covered |= (row <= cells).all(axis=1)
    reference = np.full(values.shape[1], 7.0)
    assert hypervolume(values, reference) == pytest.approx(covered.sum())


@pytest.mark.parametrize(("points", "objectives"), [(300, 2), (300, 3), (60, 4), (30, 5)])
def test_hypervolume_agrees_with_an_independent_program(points: int, objectives: int) -> None:
    values = np.random.default_rng(objectives).random((points, objectives))
    reference = np.full(objectives, 1.1)
    expected = compute_hypervolume(values, reference)
    assert hypervolume(values, reference) == pytest.approx(expected, rel=1e-9)


@for_all
@given(some_values, st.data())
def test_a_further_point_never_takes_hypervolume_away(
    values: np.ndarray, data: st.DataObject
) -> None:
    further = data.draw(arrays.arrays(np.float64, (1, values.shape[1]), elements=few))
    reference = np.full(values.shape[1], 6.5)
    before = hypervolume(values, reference)
    assert hypervolume(np.vstack([values, further]), reference) >= before * (1 - 1e-12)


def test_a_front_takes_each_metric_in_its_direction() -> None:
    points = points_of((0.9, 10), (0.8, 20), (0.7, 5))
    assert front_of(points, OBJECTIVES) == [points[0], points[2]]


def test_a_front_leaves_out_what_is_outside_the_constraints() -> None:
    points = points_of((0.9, 10), (0.8, 8), (0.7, 5))
    bounds = {"accuracy": Bound(min=0.75), "synaptic_ops": Bound(max=9)}
    assert front_of(points, OBJECTIVES, bounds) == [points[1]]


def test_equal_points_are_on_the_front_together() -> None:
    points = points_of((0.9, 10), (0.9, 10))
    assert front_of(points, OBJECTIVES) == points


def test_a_bound_measures_how_far_outside_in_its_own_magnitude() -> None:
    assert Bound(max=100).violation(150) == 0.5
    assert Bound(max=100).violation(100) == 0
    assert Bound(min=0.8).violation(0.6) == pytest.approx(0.25)
    assert Bound(min=-2, max=0).violation(3) == 3
    assert Bound(max=100).violation(math.nan) == math.inf
    assert Bound(max=100).excess(50) == -0.5


def test_the_reference_is_the_worst_of_the_first_ten_trials_unless_it_is_given() -> None:
    points = [a_point(t, accuracy=0.5, synaptic_ops=100.0 - t) for t in range(3, 20)]
    points += [a_point(3, synaptic_ops=400.0), a_point(4, synaptic_ops=math.inf)]
    points += [a_point(13, synaptic_ops=900.0)]
    assert reference_point(points, OBJECTIVES) == {"accuracy": 0.0, "synaptic_ops": 400.0}
    given = {"synaptic_ops": 50.0}
    assert reference_point(points, OBJECTIVES, given)["synaptic_ops"] == 50.0


def test_a_reference_always_leaves_a_box() -> None:
    assert reference_point([a_point(macs=0.0)], ["macs"]) == {"macs": 1.0}
    assert reference_point([], ["macs"]) == {"macs": 1.0}


def test_the_hypervolume_is_a_share_of_the_box_from_ideal_to_reference() -> None:
    reference = {"accuracy": 0.0, "synaptic_ops": 100.0}
    share = normalised_hypervolume(points_of((0.5, 50)), OBJECTIVES, reference)
    assert share == pytest.approx(0.25)
    assert normalised_hypervolume(points_of((1, 0)), OBJECTIVES, reference) == 1
    assert normalised_hypervolume(points_of((0.9, 101)), OBJECTIVES, reference) == 0
    assert normalised_hypervolume([], OBJECTIVES, reference) == 0


def test_the_knee_is_furthest_from_the_line_between_the_extremes() -> None:
    points = points_of((0.5, 0), (0.9, 20), (0.95, 60), (1.0, 100))
    assert knee(points, OBJECTIVES) == points[1]


def test_the_knee_of_one_objective_is_the_best_and_of_one_point_that_point() -> None:
    points = points_of((0.5, 0), (0.9, 20))
    assert knee(points, ["accuracy"]) == points[1]
    assert knee(points[:1], OBJECTIVES) == points[0]


def test_the_knee_does_not_mind_an_objective_in_which_all_are_equal() -> None:
    points = points_of((0.5, 0), (0.9, 20), (1.0, 100))
    assert knee(points, [*OBJECTIVES, "macs"]) == points[1]


def test_the_knee_does_not_depend_on_units() -> None:
    rows: Sequence[tuple[float, float]] = [(0.5, 1), (0.9, 20), (0.95, 60), (1.0, 100)]
    small = knee(points_of(*rows), OBJECTIVES)
    large = knee(points_of(*((a, 1e6 * ops) for a, ops in rows)), OBJECTIVES)
    assert small.trial == large.trial


def test_the_best_in_what_no_point_has_is_none() -> None:
    points = points_of((float("nan"), 10), (float("nan"), 20))
    with pytest.raises(PickError, match="no point has a figure for accuracy"):
        pick(points, "best:accuracy", ("accuracy", "synaptic_ops"))
    assert pick(points, "best:synaptic_ops", ("accuracy", "synaptic_ops")).trial == 0


def test_a_front_without_points_has_no_knee() -> None:
    with pytest.raises(PickError, match="the front is empty"):
        knee([], OBJECTIVES)
    with pytest.raises(PickError, match="the front is empty"):
        pick([], "best:accuracy", OBJECTIVES)


@pytest.mark.parametrize(
    ("spec", "chosen"),
    [
        ("knee", 1),
        ("best:accuracy", 3),
        ("best:synaptic_ops", 0),
        ("accuracy>=0.92 best:synaptic_ops", 2),
        ("accuracy >= 0.92 synaptic_ops <= 1e2 best:synaptic_ops", 2),
        ("synaptic_ops<=6_0 best:accuracy", 2),
        ("accuracy>=0.99", 3),
    ],
)
def test_a_pick_filters_and_then_takes_the_best(spec: str, chosen: int) -> None:
    points = points_of((0.5, 0), (0.9, 20), (0.95, 60), (1.0, 100))
    assert pick(points, spec, OBJECTIVES) == points[chosen]


def test_of_equally_good_points_the_better_in_the_other_objectives_is_picked() -> None:
    points = points_of((0.9, 20), (0.9, 10))
    assert pick(points, "best:accuracy", OBJECTIVES) == points[1]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("best:acuracy", r"'acuracy' is not a metric; did you mean 'accuracy'\?"),
        ("model_byte<=3", r"'model_byte' is not a metric; did you mean 'model_bytes'\?"),
        ("accuracy>=1.5", r"no point has accuracy>=1.5; the closest has accuracy 0.9"),
        ("synaptic_ops<=1", r"the closest has synaptic_ops 20"),
        ("accuracy>=much", r"must be compared with a number, got 'much'"),
        ("kneee", r"'kneee' must be knee, best:METRIC, METRIC>=X .*; did you mean 'knee'\?"),
        ("knee accuracy>=0.5", r"nothing can follow 'knee', got 'accuracy>=0.5'"),
    ],
)
def test_a_pick_that_cannot_be_answered_says_why(spec: str, message: str) -> None:
    with pytest.raises(PickError, match=message):
        pick(points_of((0.9, 20)), spec, OBJECTIVES)
