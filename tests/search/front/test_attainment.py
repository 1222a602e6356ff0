"""Attainment surfaces and the comparison of two groups of repeats."""

import itertools

import numpy as np
import pytest
from numpy.typing import NDArray

from search.front import attainment
from search.front.attainment import compare_groups, surfaces

Floats = NDArray[np.float64]


def repeats(count: int, *, seed: int, ahead: float = 0.0) -> list[Floats]:
    """Fronts along x + y = 1, each shifted a little; `ahead` is better by so much."""
    draw = np.random.default_rng(seed)
    fronts = []
    for _ in range(count):
        x = draw.random(draw.integers(3, 9))
        fronts.append(np.column_stack([x, 1 - x]) + draw.normal(0, 0.05) - ahead)
    return fronts


def attained_share(fronts: list[Floats], pair: tuple[float, float]) -> float:
    return float(np.mean([(front <= pair).all(axis=1).any() for front in fronts]))


def test_surfaces_bound_what_a_share_of_the_repeats_attains() -> None:
    fronts = [*repeats(7, seed=1), np.empty((0, 2)), np.empty((0, 2))]
    found = surfaces([*fronts[:-1], np.array([[np.nan, 0.0], [-np.inf, 0.0]])])
    draw = np.random.default_rng(0)
    for pair in draw.uniform(-0.2, 1.2, size=(500, 2)):
        share = attained_share(fronts, pair)
        for wanted, corners in found.items():
            assert bool((corners <= pair).all(axis=1).any()) == (share >= wanted)


def test_surfaces_by_hand() -> None:
    found = surfaces([np.array([[1.0, 3.0]]), np.array([[2.0, 1.0]]), np.array([[3.0, 2.0]])])
    assert found[0.25].tolist() == [[1, 3], [2, 1]]  # by one of three
    assert found[0.5].tolist() == [[2, 3], [3, 2]]  # by two
    assert found[0.75].tolist() == [[3, 3]]  # by all
    assert surfaces([np.empty((0, 2))])[0.5].shape == (0, 2)


def by_definition(first: list[Floats], second: list[Floats]) -> tuple[float, float]:
    """The largest differences over the grid of all values, in either direction."""
    every = np.concatenate([*first, *second])
    grid = itertools.product(every[:, 0], every[:, 1])
    differences = [attained_share(first, pair) - attained_share(second, pair) for pair in grid]
    return max(differences), -min(differences)


@pytest.mark.parametrize("seed", range(4))
def test_the_statistic_is_the_largest_difference_of_the_attained_shares(seed: int) -> None:
    first, second = repeats(3, seed=seed), repeats(2, seed=100 + seed)
    ahead, behind = by_definition(first, second)
    found = compare_groups(first, second)
    assert (found.first_ahead, found.second_ahead) == pytest.approx((max(ahead, 0), max(behind, 0)))


def test_the_p_value_counts_the_assignments_that_differ_as_much() -> None:
    first, second = repeats(3, seed=5), repeats(3, seed=6)
    every = [*first, *second]
    statistics = []
    for chosen in itertools.combinations(range(6), 3):
        rest = [front for place, front in enumerate(every) if place not in chosen]
        statistics.append(max(by_definition([every[place] for place in chosen], rest)))
    expected = np.mean([value >= statistics[0] - 1e-12 for value in statistics])
    found = compare_groups(first, second)
    assert (found.p_value, found.assignments, found.is_exact) == (pytest.approx(expected), 20, True)


def test_four_repeats_in_each_group_are_needed_to_tell_them_apart() -> None:
    for count, smallest in ((3, 2 / 20), (4, 2 / 70)):
        better, worse = repeats(count, seed=1, ahead=2), repeats(count, seed=2)
        found = compare_groups(better, worse)
        assert found.p_value == found.smallest_p == pytest.approx(smallest)
        assert (found.better, found.first_ahead, found.second_ahead) == ("first", 1, 0)
        assert compare_groups(worse, better).better == "second"
        assert found.is_significant == (count == 4)
        assert found.repeats_needed == 4


def test_equal_groups_differ_by_chance_alone() -> None:
    found = compare_groups(repeats(5, seed=3), repeats(5, seed=3))
    assert (found.p_value, found.better) == (1, None)
    empty = compare_groups([np.empty((0, 2))], [np.empty((0, 2))])
    assert (empty.p_value, empty.better) == (1, None)


def test_many_repeats_are_assigned_at_random_and_always_alike(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first, second = repeats(5, seed=7, ahead=0.04), repeats(5, seed=8)
    exact = compare_groups(first, second)
    monkeypatch.setattr(attainment, "MOST_EXACT", 100)
    found = compare_groups(first, second)
    assert not found.is_exact
    # three standard errors of 10,000 draws
    assert found.p_value == pytest.approx(exact.p_value, abs=0.015)
    assert found == compare_groups(first, second)


def test_a_group_without_repeats_is_refused() -> None:
    with pytest.raises(ValueError, match="both groups must have a repeat"):
        compare_groups([], repeats(2, seed=1))
