"""A front that grows point by point is the front of all points."""

import math
from dataclasses import dataclass

import numpy as np
import pytest

from search.front.archive import FrontArchive
from search.front.front import front_of, minimised
from search.study.tables import Bound
from snn.settings.measurement import METRICS, OperatingPoint

NAMES = ("accuracy", "synaptic_ops", "model_bytes", "latency_steps", "training_memory_bytes")


@dataclass(frozen=True, kw_only=True)
class Member:
    trial: int
    point: OperatingPoint


def member(trial: int, draw: np.random.Generator) -> Member:
    """On a coarse grid, so that many are equal in some objective or in all; some are not finite."""
    metrics = {name: float(draw.integers(0, 6)) for name in METRICS}
    if draw.random() < 0.1:
        metrics[NAMES[draw.integers(0, 3)]] = float(draw.choice([math.nan, math.inf, -math.inf]))
    point = OperatingPoint(
        timesteps=1, exit_thresholds=(), detector_threshold=0.5, blocks=1, metrics=metrics
    )
    return Member(trial=trial, point=point)


@pytest.mark.parametrize("objectives", [NAMES[:count] for count in (1, 2, 3, 5)], ids=len)
@pytest.mark.parametrize("constraints", [{}, {"macs": Bound(max=3.0)}], ids=["free", "bounded"])
def test_a_growing_front_is_the_front_of_all_that_was_added(
    objectives: tuple[str, ...], constraints: dict[str, Bound]
) -> None:
    draw = np.random.default_rng(len(objectives))
    for _ in range(20):
        front: FrontArchive[Member] = FrontArchive(objectives, constraints)
        added: list[Member] = []
        for trial in range(12):
            family = [member(trial, draw) for _ in range(draw.integers(0, 8))]
            before = list(front.members)
            change = front.add(family)
            added += family
            expected = front_of(added, objectives, constraints)
            assert front.members == expected
            assert np.array_equal(front.values, minimised(expected, objectives))
            assert list(change.entered) == [m for m in expected if m not in before]
            assert list(change.left) == [m for m in before if m not in expected]
            assert bool(change) == (expected != before)


def test_a_front_that_is_taken_up_grows_as_if_it_had_grown_here() -> None:
    draw = np.random.default_rng(7)
    families = [[member(trial, draw) for _ in range(6)] for trial in range(10)]
    one: FrontArchive[Member] = FrontArchive(NAMES[:3], {})
    for family in families[:5]:
        one.add(family)
    other: FrontArchive[Member] = FrontArchive(NAMES[:3], {})
    other.take(one.members)
    for family in families[5:]:
        assert one.add(family) == other.add(family)
    assert one.members == other.members
