"""The front of points that are added a few at a time."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Generic

import numpy as np

from search.front.front import Floats, P, minimised, pareto_mask, within
from search.study.tables import Bound
from snn.settings.measurement import METRICS, Metrics


@dataclass(frozen=True, kw_only=True)
class ArchiveChange(Generic[P]):
    """Points that entered a front and points that left it."""

    entered: tuple[P, ...]
    left: tuple[P, ...]

    def __bool__(self) -> bool:
        return bool(self.entered)  # nothing leaves unless something better enters


class FrontArchive(Generic[P]):
    """The front of all points that were added; only its members are kept.

    A dominated point never returns to the front, so that adding takes time with
    the size of the front, not with the number of all points.
    """

    def __init__(
        self,
        objectives: Sequence[str],
        constraints: Mapping[str, Bound],
        metrics: Metrics = METRICS,
    ) -> None:
        self._metrics = metrics
        self._objectives, self._constraints = tuple(objectives), dict(constraints)
        self.members: list[P] = []
        self.values: Floats = np.empty((0, len(self._objectives)))  # of the members, minimised

    def take(self, members: Sequence[P]) -> None:
        """Start from points that are known to be a front."""
        self.members = list(members)
        self.values = minimised(self.members, self._objectives, self._metrics)

    def add(self, points: Sequence[P]) -> ArchiveChange[P]:
        """Add points; those outside of the constraints are ignored."""
        new = within(points, self._constraints)
        values = np.concatenate([self.values, minimised(new, self._objectives, self._metrics)])
        mask = pareto_mask(values)
        stays, enters = mask[: len(self.members)], mask[len(self.members) :]
        change = ArchiveChange(
            entered=tuple(itertools.compress(new, enters)),
            left=tuple(itertools.compress(self.members, ~stays)),
        )
        self.members = [*itertools.compress(self.members, stays), *change.entered]
        self.values = values[mask]
        return change
