"""What a box or a lasso on a front takes: all points within it, drawn as marks or not."""

import numpy as np
import pytest

from dashboard.data.point_filter import ViewOptions, visible_points
from dashboard.parts.front_selection import rows_within
from tests.dashboard.figures.test_figures import table

POINTS = [(0.9, 10.0), (0.8, 100.0), (0.7, 1_000.0), (0.2, 10.0)]
ONE_ON_FRONT = [True, False, False, False]
BOX = np.array([[5.0, 0.6], [500.0, 0.6], [500.0, 1.0], [5.0, 1.0]])


def rows(outline: np.ndarray, **options: bool) -> list[int]:
    accuracy, ops = zip(*POINTS, strict=True)
    points = table(list(accuracy), list(ops), front=ONE_ON_FRONT)
    seen = ViewOptions(x="synaptic_ops", y="accuracy", colour="accuracy", **options)
    return rows_within([outline], points, visible_points(points), seen)


@pytest.mark.parametrize("log_x", [False, True])
def test_a_box_takes_what_lies_in_it_the_front_first(log_x: bool) -> None:
    assert rows(BOX, log_x=log_x) == [0, 1]


def test_what_is_hidden_is_not_taken() -> None:
    assert rows(BOX, hides_dominated=True) == [0]


def test_the_edge_of_a_lasso_is_straight_on_the_axis_that_is_shown() -> None:
    # at 31.6, halfway between 10 and 100 of a logarithmic axis, this edge is at 0.75
    triangle = np.array([[10.0, 0.5], [100.0, 1.0], [10.0, 1.0]])
    accuracy, ops = [0.70, 0.80], [31.0, 31.0]
    points = table(accuracy, ops)
    for log_x, expected in ((True, [1]), (False, [0, 1])):
        look = ViewOptions(x="synaptic_ops", y="accuracy", colour="accuracy", log_x=log_x)
        found = rows_within([triangle], points, visible_points(points), look)
        assert sorted(found) == expected


def test_of_more_than_an_address_holds_the_best_are_first() -> None:
    accuracy = np.linspace(0.1, 0.9, 2_000)
    points = table([*accuracy], [50.0] * 2_000, front=[True] + [False] * 1_999)
    look = ViewOptions(x="synaptic_ops", y="accuracy", colour="accuracy")
    outline = np.array([[0.0, 0.0], [90.0, 0.0], [90.0, 1.0], [0.0, 1.0]])
    found = rows_within([outline], points, visible_points(points), look)
    assert found[:3] == [0, 1_999, 1_998]
    assert len(found) == 2_000
