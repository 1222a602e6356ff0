"""A front that points are added to: each looks at the front, and at no point that left it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

from search.front.front import Floats, HasPoint, Mask, minimised, pareto_mask, within
from search.study.tables import Bound

P = TypeVar("P", bound=HasPoint)


@dataclass(frozen=True, kw_only=True)
class ArchiveChange(Generic[P]):
    """What adding points did to a front."""

    entered: tuple[P, ...]
    left: tuple[P, ...]

    def __bool__(self) -> bool:
        return bool(self.entered)  # nothing leaves unless something better enters


class FrontArchive(Generic[P]):
    """The front of all points that were added, in time that follows the size of the front.

    A point that is not on the front never comes back to it.
    """

    def __init__(self, objectives: Sequence[str], constraints: Mapping[str, Bound]) -> None:
        self._objectives, self._constraints = tuple(objectives), dict(constraints)
        self.members: list[P] = []
        self.values: Floats = np.empty((0, len(self._objectives)))  # of the members, minimised

    def take(self, members: Sequence[P]) -> None:
        """Begin with points that are known to be a front."""
        self.members = list(members)
        self.values = minimised(self.members, self._objectives)

    def add(self, points: Sequence[P]) -> ArchiveChange[P]:
        """Let points come to the front."""
        new = within(points, self._constraints)
        rows = minimised(new, self._objectives)
        mask = pareto_mask(rows)
        mask[mask] = ~_dominated(rows[mask], by=self.values)
        entered = [point for point, is_in in zip(new, mask.tolist(), strict=True) if is_in]
        if not entered:
            return ArchiveChange(entered=(), left=())
        falls = _dominated(self.values, by=rows[mask])
        pairs = list(zip(self.members, falls.tolist(), strict=True))
        self.members = [member for member, has_left in pairs if not has_left] + entered
        self.values = np.concatenate([self.values[~falls], rows[mask]])
        left = tuple(member for member, has_left in pairs if has_left)
        return ArchiveChange(entered=tuple(entered), left=left)


def _dominated(rows: Floats, *, by: Floats) -> Mask:
    """Which of `rows` some row of `by` dominates. All are finite."""
    nowhere_worse = np.ones((len(rows), len(by)), dtype=np.bool_)
    better = np.zeros((len(rows), len(by)), dtype=np.bool_)
    for objective in range(rows.shape[1]):
        ours, theirs = rows[:, None, objective], by[None, :, objective]
        nowhere_worse &= theirs <= ours
        better |= theirs < ours
    answer: Mask = np.logical_or.reduce(nowhere_worse & better, axis=1)
    return answer
