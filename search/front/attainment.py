"""The empirical attainment function of repeats: which share of the repeats reaches a target.

A repeat is one study out of several that ask the same question with other seeds. It
attains a pair of values if a point of its front is at least as good in both. The
share of repeats that attain a pair estimates the probability that one search does
(Grunert da Fonseca, Fonseca, Hall 2001). The k % attainment surface bounds what at least k %
of the repeats attain; the 50 % surface is the median front (Lopez-Ibanez, Paquete,
Stuetzle 2010).

    surfaces(repeats)            {0.25: rows, 0.5: rows, 0.75: rows}: corners of each surface
    compare_groups(one, other)   GroupComparison: p-value, which group is better, how many
                                 repeats a decision takes

A repeat is an array (points x 2), minimised: `minimised(points, (x, y))` of the members of a
front. With more than two objectives, choose two; the front over all of them attains
the same pairs as all points do. A repeat without points attains nothing, but counts.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from search.front.front import Floats, Mask

SHARES = (0.25, 0.5, 0.75)
LEVEL = 0.05  # significance
MOST_EXACT = 20_000  # assignments to two groups up to which all are tried
RANDOM = 10_000  # random ones that are tried instead
_ROUNDING = 1e-9


def surfaces(repeats: Sequence[Floats], shares: Sequence[float] = SHARES) -> dict[float, Floats]:
    """Return the corners of the attainment surface of each share of the repeats.

    By share, an array (corners x 2) sorted by the first objective; the region that the
    share attains is the union of what its corners weakly dominate. Without a row if no pair is
    attained by so many repeats.
    """
    import moocore

    fronts = [front for front in map(_finite, repeats) if len(front)]
    found = {share: np.empty((0, 2)) for share in shares}
    if not fronts:
        return found
    sets = np.repeat(np.arange(len(fronts)), [len(front) for front in fronts])
    rows = moocore.eaf(np.concatenate(fronts), sets)
    counts = np.rint(rows[:, 2] * len(fronts) / 100)
    for share in shares:
        corners = rows[counts == max(math.ceil(share * len(repeats) - _ROUNDING), 1), :2]
        found[share] = corners[np.argsort(corners[:, 0], kind="stable")]
    return found


@dataclass(frozen=True, kw_only=True)
class GroupComparison:
    """The result of `compare_groups`."""

    p_value: float
    better: Literal["first", "second"] | None  # with the larger difference; None where both are
    first_ahead: float  # largest difference of the attained shares, 0 to 1, where the first leads
    second_ahead: float
    assignments: int  # to two groups that were compared
    is_exact: bool  # whether these are all there are
    smallest_p: float  # that these numbers of repeats can give
    repeats_needed: int  # in each group, for a p-value below LEVEL to be possible

    @property
    def is_significant(self) -> bool:
        """Whether the groups differ at the level of 5 %."""
        return self.p_value < LEVEL


def compare_groups(
    first: Sequence[Floats], second: Sequence[Floats], *, seed: int = 0
) -> GroupComparison:
    """Test whether two groups of repeats attain the same, by permutation.

    The statistic is the largest difference of the two empirical attainment functions in
    either direction, as in the two-sample test of Kolmogorov and Smirnov (Grunert
    da Fonseca et al. 2001; Lopez-Ibanez et al. 2010). The p-value is the share of
    assignments of all repeats to groups of these sizes that differ at least as much:
    all assignments if they are few, else random ones of `seed`. Raises
    ValueError for a group without a repeat.
    """
    if not first or not second:
        raise ValueError("both groups must have a repeat")
    count, size = len(first) + len(second), len(first)
    attained = _attained([*first, *second])
    total = math.comb(count, size)
    is_exact = total <= MOST_EXACT
    members = _assignments(count, size) if is_exact else _random_assignments(count, size, seed)
    weights = np.where(members, 1 / size, -1 / (count - size))
    differences = weights @ attained.T
    statistic = np.abs(differences).max(axis=1)
    ahead, behind = max(0.0, differences[0].max()), max(0.0, -differences[0].min())
    return GroupComparison(
        p_value=float((statistic >= statistic[0] - _ROUNDING).mean()),
        better=None if abs(ahead - behind) < _ROUNDING else "first" if ahead > behind else "second",
        first_ahead=float(ahead),
        second_ahead=float(behind),
        assignments=len(members),
        is_exact=is_exact,
        # With equal sizes the groups can be exchanged.
        smallest_p=max((2 if 2 * size == count else 1) / total, 0 if is_exact else 1 / RANDOM),
        repeats_needed=next(n for n in itertools.count(2) if 2 / math.comb(2 * n, n) < LEVEL),
    )


def _assignments(count: int, size: int) -> Mask:
    """All choices of `size` of `count` repeats, a row each; the first is 0, 1, ..., size - 1."""
    chosen = list(itertools.combinations(range(count), size))
    members = np.zeros((len(chosen), count), dtype=np.bool_)
    np.put_along_axis(members, np.array(chosen), True, axis=1)
    return members


def _random_assignments(count: int, size: int, seed: int) -> Mask:
    """RANDOM choices, the first as in `_assignments`."""
    own = np.arange(count) < size
    members = np.tile(own, (RANDOM, 1))
    members[1:] = np.random.default_rng(seed).permuted(members[1:], axis=1)
    return members


def _attained(repeats: Sequence[Floats]) -> Floats:
    """Return every set of repeats that attain some pair together: sets x repeats, 0 or 1.

    With the first objective at most x, a repeat attains the second from its lowest
    value on. So for each x the sets are those of the repeats in the order of these values.
    """
    fronts = [_finite(front) for front in repeats]
    xs = np.unique(np.concatenate([front[:, 0] for front in fronts]))
    lowest = np.full((len(xs), len(fronts)), math.inf)
    for column, front in enumerate(fronts):
        if len(front):
            ordered = front[np.argsort(front[:, 0])]
            least = np.minimum.accumulate(ordered[:, 1])
            place = np.searchsorted(ordered[:, 0], xs, side="right") - 1
            lowest[place >= 0, column] = least[place[place >= 0]]
    sets = lowest[:, None, :] <= np.where(np.isfinite(lowest), lowest, -math.inf)[:, :, None]
    none = np.zeros((1, len(fronts)), dtype=np.bool_)
    bits = np.packbits(np.concatenate([none, sets.reshape(-1, len(fronts))]), axis=1)
    packed = np.unique(bits.view(f"V{bits.shape[1]}")).view(np.uint8).reshape(-1, bits.shape[1])
    return np.unpackbits(packed, axis=1, count=len(fronts)).astype(np.float64)


def _finite(front: Floats) -> Floats:
    rows = np.asarray(front, dtype=np.float64).reshape(-1, 2)
    return rows[np.isfinite(rows).all(axis=1)]
