"""Quality indicators against their definitions and figures worked out by hand."""

import math

import numpy as np
import pytest

from search.front.front import pareto_mask
from search.front.indicators import (
    constant_objectives,
    epsilon,
    hypervolume,
    hypervolume_contributions,
    igd_plus,
    normalised_hypervolume,
    reference_point,
)
from tests.search.front.points import (
    OBJECTIVES,
    a_point,
    points_of,
    random_values,
    volume_by_slices,
)


@pytest.mark.parametrize("objectives", [1, 2, 3, 4, 5])
def test_hypervolume_and_contributions_agree_with_slices_of_the_volume(objectives: int) -> None:
    draw, reference = np.random.default_rng(objectives), np.ones(objectives)
    for _ in range(40):
        values = random_values(draw, points=16, objectives=objectives)
        whole = volume_by_slices(values, reference)
        assert hypervolume(values, reference) == pytest.approx(whole, rel=1e-12, abs=1e-12)
        front = values[pareto_mask(values)]
        without = [
            volume_by_slices(np.delete(front, row, axis=0), reference) for row in range(len(front))
        ]
        assert hypervolume_contributions(front, reference) == pytest.approx(
            whole - np.array(without), rel=1e-12, abs=1e-12
        )


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


def test_the_reference_is_the_worst_of_the_first_ten_trials_unless_it_is_given() -> None:
    points = [a_point(t, accuracy=0.5, synaptic_ops=100.0 - t) for t in range(3, 20)]
    points += [a_point(3, synaptic_ops=400.0), a_point(4, synaptic_ops=math.inf)]
    points += [a_point(13, synaptic_ops=900.0)]
    assert reference_point(points, OBJECTIVES) == {"accuracy": 0.0, "synaptic_ops": 400.0}
    given = {"synaptic_ops": 50.0}
    assert reference_point(points, OBJECTIVES, given)["synaptic_ops"] == 50.0


def test_a_constant_objective_leaves_a_volume_and_is_known() -> None:
    """The reference was the constant itself, and the hypervolume 0 for ever."""
    names = ("accuracy", "parameters")
    points = [a_point(t, accuracy=0.5 + t / 10, parameters=300.0) for t in range(3)]
    reference = reference_point(points, names)
    assert reference == {"accuracy": 0.0, "parameters": 600.0}
    assert normalised_hypervolume(points, names, reference) == pytest.approx(0.7 / 2)
    assert constant_objectives(points, names) == {"parameters": 300.0}
    assert constant_objectives(points[:1], names) == {}


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


FRONT = np.array([[0.2, 0.6], [0.5, 0.3]])


def test_epsilon_is_the_largest_step_that_a_front_lacks() -> None:
    assert epsilon(FRONT, FRONT) == 0
    assert epsilon(FRONT + 0.1, FRONT) == pytest.approx(0.1)
    assert epsilon(FRONT - 0.1, FRONT) == pytest.approx(-0.1)
    assert epsilon(FRONT[:1], FRONT) == pytest.approx(0.3)  # (0.2, 0.6) lacks 0.3 of (0.5, 0.3)
    assert epsilon(FRONT[:0], FRONT) == math.inf


def test_igd_plus_is_the_mean_distance_in_objectives_that_are_worse() -> None:
    assert igd_plus(FRONT - 0.1, FRONT) == 0
    assert igd_plus(FRONT[:1], FRONT) == pytest.approx(0.3 / 2)
    assert igd_plus(FRONT + np.array([0.3, 0.4]), FRONT) == pytest.approx(0.5)
    assert igd_plus(FRONT[:0], FRONT) == math.inf
