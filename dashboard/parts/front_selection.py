"""The points chosen on a front, by their ids in the address.

`selected` are chosen in the figure, and the table then shows them; `marked` are rows of the table.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from dashboard.data.point_filter import ViewOptions, VisiblePoints
from dashboard.data.points import Axis, Floats, PointTable
from dashboard.parts import frame

MOST_SELECTED = 200  # that an address holds


def take_selection(
    chart: str, table: PointTable, visible: VisiblePoints, options: ViewOptions
) -> None:
    """Write the ids of the points selected in a figure into the address."""
    selection = st.session_state[chart]["selection"]
    outlines = [
        *map(_corners, selection.get("box", [])),
        *map(_polygon, selection.get("lasso", [])),
    ]
    if outlines:
        ids = [int(table.ids[row]) for row in rows_within(outlines, table, visible, options)]
    else:
        ids = list(dict.fromkeys(_point_ids(selection["points"])))
    frame.put("selected", ",".join(str(point) for point in ids[:MOST_SELECTED]))
    frame.put("marked", "")


def rows_within(
    outlines: Sequence[Floats], table: PointTable, visible: VisiblePoints, options: ViewOptions
) -> list[int]:
    """Return the rows of all points within some outline, (corners, 2) in the units of the axes.

    Points drawn only in the background picture are among them. Members of the front come first,
    then points better in the first objective, because an address holds MOST_SELECTED ids.
    """
    context = () if options.hides_dominated else (visible.dominated, visible.outside)
    every = np.concatenate([visible.front, *context])
    x, y = (
        _scaled(table.axis(options.x), every, options.log_x),
        _scaled(table.axis(options.y), every, options.log_y),
    )
    if x is None or y is None:
        return []
    scaled = [
        np.column_stack([_log(c[:, 0], options.log_x), _log(c[:, 1], options.log_y)])
        for c in outlines
    ]
    inside = np.any([_within(x, y, outline) for outline in scaled], axis=0)
    members = np.arange(every.size) < visible.front.size
    first = table.objectives[0]
    better = table.metrics[first].sign * table.figures[first][every]
    order = np.lexsort((better, ~members))
    return [int(every[place]) for place in order if inside[place]]


def _scaled(axis: Axis, rows: NDArray[np.int64], is_log: bool) -> Floats | None:
    return None if axis.values is None else _log(axis.values[rows], is_log)


def _log(values: Floats, is_log: bool) -> Floats:
    """Return the values as the figure places them."""
    if not is_log:
        return values
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.log10(values)


def _within(x: Floats, y: Floats, outline: Floats) -> NDArray[np.bool_]:
    """Return which points lie inside: their rays cross the outline an odd number of times."""
    inside = np.zeros(x.shape, dtype=np.bool_)
    with np.errstate(invalid="ignore", divide="ignore"):
        for (x0, y0), (x1, y1) in zip(outline, np.roll(outline, -1, axis=0), strict=True):
            crosses = (y0 > y) != (y1 > y)
            inside ^= crosses & (x < (x1 - x0) * (y - y0) / (y1 - y0) + x0)
    return inside


def _corners(box: Mapping[str, Any]) -> Floats:
    (x0, x1), (y0, y1) = box["x"], box["y"]
    return np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], dtype=np.float64)


def _polygon(lasso: Mapping[str, Any]) -> Floats:
    return np.column_stack([lasso["x"], lasso["y"]]).astype(np.float64)


def _point_ids(points: Sequence[Mapping[str, Any]]) -> Iterator[int]:
    """Yield the ids of the figure's points; plotly wraps some of them in a list."""
    for point in points:
        carried = point.get("customdata")
        carried = carried[0] if isinstance(carried, list | tuple) and carried else carried
        if isinstance(carried, int | float):
            yield int(carried)


def ids_in(name: str) -> list[int]:
    """Return the ids of operating points in the address, under `selected` or `marked`."""
    words = st.query_params.get(name, "").split(",")
    return [
        int(word)
        for word in words[:MOST_SELECTED]
        if word.isascii() and word.isdigit() and len(word) < 19
    ]


def chosen_rows(table: PointTable) -> list[int]:
    """Return the marked rows, or else the selected ones."""
    return table.rows_of(ids_in("marked")) or table.rows_of(ids_in("selected"))
