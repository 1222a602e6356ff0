"""Knees and picks."""

from collections.abc import Sequence

import pytest

from search.front.picks import PickError, knee, pick
from tests.search.front.points import OBJECTIVES, points_of


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
    for spec in ("best:accuracy", "accuracy>=0.5"):
        with pytest.raises(PickError, match="no point has a figure for accuracy"):
            pick(points, spec, ("accuracy", "synaptic_ops"))
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
        ("accuracy>=92% synaptic_ops<=0.06k best:synaptic_ops", 2),
        ("accuracy >= 92.0 % synaptic_ops <= 0.06 k ops best:synaptic_ops", 2),
        ("accuracy>=92 % synaptic_ops<=0.06 k ops knee", 2),
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
        ("accuracy>=0.95", r"no point has accuracy>=0.95; the closest has accuracy 0.9"),
        ("accuracy>=97", r"accuracy must be a fraction from 0 to 1, got 97: 97 % is 0.97"),
        ("accuracy>=1e3", r"accuracy must be a fraction from 0 to 1, got 1000$"),
        ("synaptic_ops<=1", r"the closest has synaptic_ops 20"),
        ("accuracy>=much", r"accuracy must be a number, optionally with %, got 'much'"),
        ("accuracy>=0.5 kneee", r"'kneee' must be knee, best:METRIC, .*; did you mean 'knee'\?"),
        ("kneee", r"'kneee' must be knee, best:METRIC, METRIC>=X .*; did you mean 'knee'\?"),
        ("knee accuracy>=0.5", r"nothing can follow 'knee', got 'accuracy>=0.5'"),
    ],
)
def test_a_pick_that_cannot_be_answered_says_why(spec: str, message: str) -> None:
    with pytest.raises(PickError, match=message):
        pick(points_of((0.9, 20)), spec, OBJECTIVES)
