"""The points that somebody chose on a front, by their ids in the address bar.

`selected` are those of the figure, which the table then shows; `marked` are rows of the table.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import streamlit as st

from dashboard import page
from dashboard.points import PointTable

MOST_SELECTED = 200  # that the address bar holds


def take_selection(chart: str) -> None:
    """Put the ids of the points selected in a figure into the address bar."""
    points = st.session_state[chart]["selection"]["points"]
    ids = list(dict.fromkeys(_point_ids(points)))
    page.put("selected", ",".join(str(point) for point in ids[:MOST_SELECTED]))
    page.put("marked", "")


def _point_ids(points: Sequence[Mapping[str, Any]]) -> Iterator[int]:
    """The ids that the figure's points carry; plotly wraps some of them in a list."""
    for point in points:
        carried = point.get("customdata")
        carried = carried[0] if isinstance(carried, list | tuple) and carried else carried
        if isinstance(carried, int | float):
            yield int(carried)


def ids_in(name: str) -> list[int]:
    """The operating points that the address bar names, under `selected` or `marked`."""
    words = st.query_params.get(name, "").split(",")
    return [
        int(word)
        for word in words[:MOST_SELECTED]
        if word.isascii() and word.isdigit() and len(word) < 19
    ]


def chosen_rows(table: PointTable) -> list[int]:
    """The rows that were marked, or else those that were selected; none where neither were."""
    return table.rows_of(ids_in("marked")) or table.rows_of(ids_in("selected"))
