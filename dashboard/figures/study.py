"""Figures of a study straight from its store, without a page around them."""

import plotly.graph_objects as go  # type: ignore[import-untyped]

from dashboard.data.point_filter import ViewOptions, visible_points
from dashboard.data.points import PointTable
from dashboard.data.study_view import read_study
from dashboard.figures.front import front
from dashboard.figures.theme import Mode
from search.store.store import Store
from search.study.study import Study
from snn.settings.config import nearest


def front_figure(
    store: Store,
    study: Study,
    *,
    x: str | None = None,
    y: str | None = None,
    colour: str | None = None,
    mode: Mode = "light",
) -> go.Figure:
    """Return the operating points of a study over two axes, coloured by a third quantity.

    By default the first objective over the second, coloured by the third. Raises ValueError
    for an unknown axis.
    """
    view = read_study(store, study.name)
    table, objectives = view.table, study.objectives
    usual = (*objectives[1:2], *objectives[:1])
    options = ViewOptions(
        x=_axis(table, x or usual[0]),
        y=_axis(table, y or objectives[0]),
        colour=_axis(table, colour or (objectives[2] if len(objectives) > 2 else usual[-1])),
        log_x=table.axis(_axis(table, x or usual[0])).is_log_by_default,
        log_y=table.axis(_axis(table, y or objectives[0])).is_log_by_default,
    )
    visible = visible_points(table)
    return front(table, visible, options, confirmed=view.confirmed, mode=mode)


def _axis(table: PointTable, name: str) -> str:
    """Return the name of a column; `timesteps` stands for `run:timesteps`."""
    for known in (name, f"run:{name}"):
        if known in table.axis_names:
            return known
    words = [each.removeprefix("run:") for each in table.axis_names]
    hint = nearest(name, words) or f"; known: {', '.join(words)}"
    raise ValueError(f"{name!r} is not a metric, parameter or setting of this study{hint}")
