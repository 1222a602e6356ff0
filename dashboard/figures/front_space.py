"""The front of a study as a figure over three axes.

plotly reports no selection in three dimensions, so points are selected in the table.
"""

import html
from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go  # type: ignore[import-untyped]

from dashboard.data.point_filter import ViewOptions, VisiblePoints
from dashboard.data.points import Axis, PointTable
from dashboard.figures.front import HEIGHT
from dashboard.figures.style import (
    Rows,
    axis_layout,
    categories,
    colour_scale,
    coordinates,
    hover,
    ids_of,
    one_per_cell,
    shape_legend,
    shapes,
    template,
)
from dashboard.figures.theme import PALETTES, Mode, Palette

MOST_FADED = 4_000


def front_in_space(
    table: PointTable,
    visible: VisiblePoints,
    options: ViewOptions,
    *,
    selected: Sequence[int] = (),
    mode: Mode,
) -> go.Figure:
    """Return the operating points over the three axes of `options`."""
    assert options.z is not None
    palette = PALETTES[mode]
    axes = (table.axis(options.x), table.axis(options.y), table.axis(options.z))
    logs = (options.log_x, options.log_y, options.log_z)
    figure = go.Figure()
    figure.update_layout(
        template=template(mode),
        height=HEIGHT,
        margin={"l": 0, "r": 0, "t": 40, "b": 0},
        scene={
            "uirevision": options.view,
            "dragmode": "turntable",
            "aspectmode": "cube",
            "camera": {
                "eye": {"x": 1.42, "y": -1.53, "z": 0.62},
                "center": {"x": 0, "y": 0, "z": -0.16},  # room for the titles below
            },
            **{
                f"{side}axis": _axis(axis, log=is_log, palette=palette)
                for side, axis, is_log in zip("xyz", axes, logs, strict=True)
            },
        },
    )
    if not options.hides_dominated:
        faded = np.concatenate([visible.dominated, visible.outside])
        rows = one_per_cell(faded, list(zip(axes, logs, strict=True)), MOST_FADED)
        marker = {"size": 2, "color": palette.faded, "opacity": 0.35}
        figure.add_trace(_trace(table, axes, rows, "dominated", marker, brief=True))
    _add_members(figure, table, axes, visible.front, options, palette)
    chosen = np.asarray(table.rows_of(selected), dtype=np.int64)
    knee = np.asarray([] if visible.knee is None else [visible.knee], dtype=np.int64)
    for name, rows, size in (("selected", chosen, 13), ("knee", knee, 11)):
        marker = {"size": size, "symbol": "circle-open", "color": palette.accent}
        if rows.size:
            figure.add_trace(_trace(table, axes, rows, name, marker, brief=True))
    return figure


def _axis(axis: Axis, *, log: bool, palette: Palette) -> dict[str, object]:
    layout = axis_layout(axis, log=log, side="x")
    layout.pop("minor", None)
    arrow = {"higher": "higher is better", "lower": "lower is better", None: ""}[axis.better]
    unit = f" ({axis.unit})" if axis.unit else ""
    layout["title"] = {"text": f"{html.escape(axis.label + unit)}<br>{arrow}", "font": {"size": 12}}
    return {
        **layout,
        "color": palette.muted,
        "gridcolor": palette.grid,
        "linecolor": palette.border,
        "showbackground": False,
        "showspikes": False,
        "zeroline": False,
    }


def _add_members(
    figure: go.Figure,
    table: PointTable,
    axes: tuple[Axis, Axis, Axis],
    rows: Rows,
    options: ViewOptions,
    palette: Palette,
) -> None:
    if not rows.size:
        return
    colour = table.axis(options.colour)
    groups: list[tuple[str, dict[str, object], Rows]]
    if colour.is_number:
        marker = {"color": coordinates(colour, rows), **colour_scale(colour, rows, palette)}
        groups = [("front", marker, rows)]
    else:
        groups = [
            (name, {"color": shade}, members)
            for name, shade, members in categories(colour, rows, palette)
        ]
    for name, marker, members in groups:
        style: dict[str, object] = {"size": 5, "line": {"width": 0.5, "color": palette.background}}
        if options.shape:
            axis = table.shape_axis(options.shape)
            symbol_of = dict(shapes(axis, table, in_space=True))
            style["symbol"] = [symbol_of[word] for word in axis.words(members)]
        figure.add_trace(_trace(table, axes, members, name, {**style, **marker}))
    if not options.shape:
        return
    none = {"x": [None], "y": [None], "z": [None]}
    for label, symbol in shape_legend(table, rows, options.shape, in_space=True):
        marker = {"size": 6, "symbol": symbol, "color": palette.muted}
        figure.add_trace(go.Scatter3d(**none, mode="markers", name=label, marker=marker))


def _trace(
    table: PointTable,
    axes: tuple[Axis, Axis, Axis],
    rows: Rows,
    name: str,
    marker: dict[str, object],
    *,
    brief: bool = False,
) -> go.Scatter3d:
    x, y, z = (coordinates(axis, rows) for axis in axes)
    words = {"hoverinfo": "skip"} if brief else hover(table, rows)
    return go.Scatter3d(
        x=x,
        y=y,
        z=z,
        mode="markers",
        name=html.escape(name),
        customdata=ids_of(table, rows),
        marker=marker,
        **words,
    )
