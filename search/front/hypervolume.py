"""The volume that a set of points dominates, exactly; every objective minimised."""

import bisect
import math

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def hypervolume(values: Floats, reference: Floats) -> float:
    """Volume between the points `values` (points x objectives) and `reference`.

    Points that are not better than the reference in every objective, or not
    finite, add nothing. Two and three objectives are swept in n log n; more
    are taken apart point by point (While, Bradstreet, Barone, IEEE Trans.
    Evol. Comput. 16(1), 2012), which grows fast with their number.
    """
    return _volume(_boxes(values, reference))


def _boxes(values: Floats, reference: Floats) -> Floats:
    """What the points span, measured from the reference; only those that are better than it."""
    points = np.asarray(values, dtype=np.float64).reshape(-1, len(reference))
    inside = np.isfinite(points).all(axis=1) & (points < reference).all(axis=1)
    boxes: Floats = np.asarray(reference, dtype=np.float64) - points[inside]
    return boxes


def gained(new: Floats, old: Floats, reference: Floats) -> float:
    """How much larger the volume of `old` becomes with the points `new`.

    Each new point is held against what of the others lies in its own box; far
    less than all of them, where objectives are many.
    """
    have, volume = _boxes(old, reference), 0.0
    for box in _boxes(new, reference):
        volume += float(box.prod()) - _volume(_outermost(np.minimum(have, box)))
        have = np.vstack([have, box])
    return volume


def _volume(boxes: Floats) -> float:
    """Volume of the union of boxes that all have a corner in the origin."""
    if len(boxes) == 0:
        return 0.0
    if boxes.shape[1] == 1:
        return float(boxes.max())
    if len(boxes) == 1:
        return float(boxes[0].prod())
    if boxes.shape[1] == 2:
        return _area(boxes)
    if boxes.shape[1] == 3:
        return _sweep(boxes)
    return _apart(boxes)


def _area(boxes: Floats) -> float:
    """Slices from the widest box on; each adds what is higher than all before."""
    ordered = boxes[np.lexsort((-boxes[:, 1], -boxes[:, 0]))]
    tops = np.maximum.accumulate(ordered[:, 1])
    return float((ordered[:, 0] * np.diff(tops, prepend=0.0)).sum())


def _sweep(boxes: Floats) -> float:
    """Area of the boxes deeper than z, integrated over z from the deepest down.

    The outline of that area is a staircase: widths rising, heights falling.
    """
    widths: list[float] = [0.0, math.inf]
    heights: list[float] = [math.inf, 0.0]
    volume = area = 0.0
    ordered = boxes[np.argsort(-boxes[:, 2], kind="stable")].tolist()
    for (x, y, depth), below in zip(ordered, [*(box[2] for box in ordered[1:]), 0.0], strict=True):
        area += _widened(widths, heights, x, y)
        volume += area * (depth - below)
    return volume


def _widened(widths: list[float], heights: list[float], x: float, y: float) -> float:
    """Area that the box `x` by `y` adds to the staircase, which takes it in."""
    end = bisect.bisect_left(widths, x)
    if heights[end] >= y:
        return 0.0
    after = end + 1 if widths[end] == x else end
    begin = end
    while heights[begin - 1] <= y:
        begin -= 1
    added, left = 0.0, widths[begin - 1]
    for step in range(begin, end + 1):
        right = min(widths[step], x)
        added += (right - left) * (y - heights[step])
        left = right
    widths[begin:after] = [x]
    heights[begin:after] = [y]
    return added


def _apart(boxes: Floats) -> float:
    """Each box's own part: its volume without what those behind it share with it."""
    ordered = boxes[np.argsort(-boxes[:, -1], kind="stable")]
    volume = 0.0
    for position, box in enumerate(ordered):
        shared = np.minimum(ordered[:position], box)
        # All of `shared` is as deep as `box`, so that its last objective is one factor.
        volume += float(box[-1]) * (float(box[:-1].prod()) - _volume(_outermost(shared[:, :-1])))
    return volume


def _outermost(boxes: Floats) -> Floats:
    """The boxes that lie in no other; of equal ones, one."""
    unique = np.unique(boxes, axis=0)[::-1]
    kept = np.empty((0, boxes.shape[1]))
    for box in unique:
        if not (kept >= box).all(axis=1).any():
            kept = np.vstack([kept, box])
    return kept
