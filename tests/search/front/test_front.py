"""Pareto domination, fronts within constraints, equal points of equal trainings."""

import math
import time

import numpy as np
import pytest

from search.front.front import dominates, front_of, pareto_mask
from search.front.merged import merge_equal
from search.study.tables import Bound
from tests.search.front.points import (
    OBJECTIVES,
    a_point,
    mask_by_definition,
    points_of,
    random_values,
)


@pytest.mark.parametrize("objectives", [1, 2, 3, 4, 5])
def test_the_front_is_what_its_definition_says(objectives: int) -> None:
    draw = np.random.default_rng(objectives)
    for _ in range(60):
        values = random_values(draw, points=24, objectives=objectives)
        assert pareto_mask(values).tolist() == mask_by_definition(values)


def test_a_point_dominates_when_nowhere_worse_and_somewhere_better() -> None:
    assert dominates((1, 2), (1, 3))
    assert not dominates((1, 2), (1, 2))
    assert not dominates((0, 3), (1, 2))


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


def test_equal_points_of_one_training_are_merged_with_the_numbers_of_their_trials() -> None:
    points = [
        a_point(26, training="a", accuracy=0.9, synaptic_ops=10 / 3, training_s=7),
        a_point(14, training="a", accuracy=0.9, synaptic_ops=10 / 3 + 1e-12, training_s=9),
        a_point(3, training="b", accuracy=0.9, synaptic_ops=10 / 3),
        a_point(14, training="a", accuracy=0.8),
    ]
    merged = merge_equal(points)
    assert [one.trials for one in merged] == [(14, 26), (3,), (14,)]
    assert [one.point for one in merged] == points[1:]


def test_points_of_unknown_trainings_stay_apart() -> None:
    points = [a_point(0), a_point(1)]
    assert [one.trials for one in merge_equal(points)] == [(0,), (1,)]
