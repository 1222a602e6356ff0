"""The front of a study as a figure over two axes, with its other points faded."""

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go  # type: ignore[import-untyped]

from dashboard.data import formats
from dashboard.data.point_filter import ViewOptions, VisiblePoints
from dashboard.data.points import Axis, PointTable, staircase
from dashboard.data.references import Reference
from dashboard.data.targets import Target
from dashboard.figures.front_marks import add_bounds, add_confirmed, add_references
from dashboard.figures.raster_cloud import raster_cloud
from dashboard.figures.style import (
    SVG_LIMIT,
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
from search.trial.confirmation import Confirmed

HEIGHT = 560
FADED = 0.38  # opacity


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """The figure with the data of all its parts."""

    figure: go.Figure
    table: PointTable
    options: ViewOptions
    palette: Palette
    chosen: frozenset[int]  # selected rows

    @property
    def x(self) -> Axis:
        """The horizontal axis."""
        return self.table.axis(self.options.x)

    @property
    def y(self) -> Axis:
        """The vertical axis."""
        return self.table.axis(self.options.y)

    def place(self, rows: Rows) -> dict[str, object]:
        """Return the coordinates of these points."""
        return {"x": coordinates(self.x, rows), "y": coordinates(self.y, rows)}


def front(
    table: PointTable,
    visible: VisiblePoints,
    options: ViewOptions,
    *,
    selected: Sequence[int] = (),
    targets: Sequence[Target] = (),
    references: Sequence[Reference] = (),
    confirmed: Mapping[int, Confirmed] | None = None,
    mode: Mode,
) -> go.Figure:
    """Return the operating points over two axes.

    `selected` are ids of operating points. The step line is the Pareto front over the two axes
    shown.
    """
    palette = PALETTES[mode]
    figure = go.Figure()
    chosen = frozenset(table.rows_of(selected))
    drawing = Drawing(figure=figure, table=table, options=options, palette=palette, chosen=chosen)
    figure.update_layout(
        template=template(mode),
        height=HEIGHT,
        uirevision=options.view,
        hovermode="closest",
    )
    figure.update_xaxes(**axis_layout(drawing.x, log=options.log_x, side="x"))
    figure.update_yaxes(**axis_layout(drawing.y, log=options.log_y, side="y"))
    if not options.hides_dominated:
        _add_faded(drawing, visible)
    _add_steps(drawing, visible)
    _add_members(drawing, visible)
    _add_best(drawing, visible)
    _add_knee(drawing, visible)
    add_confirmed(figure, table, visible, drawing.x, drawing.y, confirmed or {}, palette)
    add_references(figure, drawing.x, drawing.y, references, palette)
    logs = (options.log_x, options.log_y)
    add_bounds(figure, (drawing.x, drawing.y), table.bounds, targets, palette, log=logs)
    if drawing.x.is_number and drawing.y.is_number:
        _fix_margins(drawing)
    return figure


def _fix_margins(drawing: Drawing) -> None:
    """Set margins for ticks, legend and colour bar; a browser that computes them draws twice.

    A legend that needs more room on a narrow screen still gets it.
    """
    has_bar = drawing.table.axis(drawing.options.colour).is_number
    drawing.figure.update_layout(margin={"l": 80, "r": 104 if has_bar else 16, "t": 36, "b": 62})
    drawing.figure.update_xaxes(automargin=False)
    drawing.figure.update_yaxes(automargin=False)


def not_drawn(table: PointTable, visible: VisiblePoints, options: ViewOptions) -> int:
    """Return the number of points with a missing, infinite or non-positive value on an axis."""
    rows = np.concatenate([visible.front, visible.dominated, visible.outside])
    lost = np.zeros(rows.size, dtype=np.bool_)
    axes = [(options.x, options.log_x), (options.y, options.log_y)]
    for name, is_log in [*axes, *([(options.z, options.log_z)] if options.z else [])]:
        values = table.axis(name).values
        if values is not None:
            lost |= ~np.isfinite(values[rows])
            lost |= (values[rows] <= 0) & is_log
    return int(lost.sum())


def _add_faded(drawing: Drawing, visible: VisiblePoints) -> None:
    """Add the points that are not on the front; points outside a limit are rings.

    Of many points only some are marks that can be selected; a picture below shows all.
    """
    options, palette = drawing.options, drawing.palette
    logs = (options.log_x, options.log_y)
    for name, every, symbol in (
        ("dominated", visible.dominated, "circle"),
        ("outside a limit", visible.outside, "circle-open"),
    ):
        rows = one_per_cell(every, list(zip((drawing.x, drawing.y), logs, strict=True)))
        if not rows.size:
            continue
        if rows.size < every.size:
            _add_picture(drawing, every, logs)
        drawing.figure.add_trace(
            go.Scatter(
                **drawing.place(rows),
                mode="markers",
                name=name,
                customdata=ids_of(drawing.table, rows),
                marker={
                    "size": 5,
                    "symbol": symbol,
                    "color": palette.faded,
                    "opacity": FADED,
                    "line": {"width": 1 if symbol != "circle" else 0, "color": palette.faded},
                },
                **selection(
                    rows,
                    drawing.chosen,
                    opacity=FADED,
                    marked={"size": 12, "color": palette.accent},
                ),
                **hover(drawing.table, rows, brief=True),
            )
        )


def _add_picture(drawing: Drawing, rows: Rows, logs: tuple[bool, bool]) -> None:
    """Add all of these points as one picture, if both axes are numbers."""
    if drawing.x.values is None or drawing.y.values is None:
        return
    found = raster_cloud(drawing.x, drawing.y, rows, log=logs, colour=drawing.palette.faded)
    if found is None:
        return
    source, extent = found
    drawing.figure.add_layout_image(
        source=source,
        xref="x",
        yref="y",
        x=extent.left,
        y=extent.top,
        sizex=extent.right - extent.left,
        sizey=extent.top - extent.bottom,
        sizing="stretch",
        layer="below",
        opacity=0.8,
    )


def selection(
    rows: Rows, chosen: frozenset[int], *, opacity: float, marked: Mapping[str, object]
) -> dict[str, object]:
    """Return which points of a trace are selected, and how they and the others look."""
    if not chosen:
        return {"unselected": {"marker": {"opacity": opacity}}}
    return {
        "selectedpoints": np.flatnonzero(np.isin(rows, list(chosen))).tolist(),
        "selected": {"marker": {"opacity": 1, **marked}},
        "unselected": {"marker": {"opacity": opacity * 0.4}},
    }


def _add_steps(drawing: Drawing, visible: VisiblePoints) -> None:
    """Add the step line: the best known y at each x, without interpolation."""
    x, y = drawing.x, drawing.y
    objectives = drawing.table.objectives
    if x.name in objectives and y.name in objectives:
        candidates = visible.front  # non-dominated in two objectives: non-dominated in all
    else:
        candidates = np.concatenate([visible.front, visible.dominated])
    rows = staircase(x, y, candidates)
    if rows.size < 2:
        return
    drawing.figure.add_trace(
        go.Scatter(
            **drawing.place(rows),
            mode="lines",
            name=f"best {y.label.lower()} against {x.label.lower()}",
            line={
                "color": drawing.palette.accent,
                "width": 1.6,
                "shape": "hv" if x.better == "lower" else "vh",
            },
            hoverinfo="skip",
            showlegend=False,
        )
    )


def _add_members(drawing: Drawing, visible: VisiblePoints) -> None:
    rows = visible.front
    if not rows.size:
        return
    table, palette = drawing.table, drawing.palette
    colour = table.axis(drawing.options.colour)
    if colour.is_number:
        marker = {"color": coordinates(colour, rows), **colour_scale(colour, rows, palette)}
        _add_member_trace(drawing, rows, "front", marker)
    else:
        for name, colour_of, members in categories(colour, rows, palette):
            _add_member_trace(drawing, members, name, {"color": colour_of})
    if drawing.options.shape:
        _add_shape_legend(drawing, rows)


def _add_member_trace(drawing: Drawing, rows: Rows, name: str, marker: dict[str, object]) -> None:
    if drawing.options.shape:
        axis = drawing.table.shape_axis(drawing.options.shape)
        symbol_of = dict(shapes(axis, drawing.table))
        marker = {**marker, "symbol": [symbol_of[word] for word in axis.words(rows)]}
    scatter = go.Scattergl if rows.size > SVG_LIMIT else go.Scatter
    drawing.figure.add_trace(
        scatter(
            **drawing.place(rows),
            mode="markers",
            name=html.escape(name),
            customdata=ids_of(drawing.table, rows),
            marker={
                "size": 11,
                "opacity": 1,
                "line": {"width": 1.5, "color": drawing.palette.background},
                **marker,
            },
            **selection(rows, drawing.chosen, opacity=1.0, marked={"size": 15}),
            **hover(drawing.table, rows),
        )
    )


def _add_shape_legend(drawing: Drawing, rows: Rows) -> None:
    """Add the meaning of each shape to the legend."""
    assert drawing.options.shape is not None
    for label, symbol in shape_legend(drawing.table, rows, drawing.options.shape):
        marker = {"size": 10, "symbol": symbol, "color": drawing.palette.muted}
        drawing.figure.add_trace(
            go.Scatter(x=[None], y=[None], mode="markers", name=label, marker=marker)
        )


def _add_best(drawing: Drawing, visible: VisiblePoints) -> None:
    """Add a diamond around the best point of each objective."""
    if not visible.best or not visible.front.size:
        return
    names: dict[int, list[str]] = {}
    for name, row in visible.best.items():
        names.setdefault(row, []).append(formats.label(name).lower())
    rows = np.asarray(list(names), dtype=np.int64)
    drawing.figure.add_trace(
        go.Scatter(
            **drawing.place(rows),
            mode="markers",
            name="best of one objective",
            marker={
                "size": 18,
                "symbol": "diamond-open",
                "color": drawing.palette.text,
                "line": {"width": 1.6, "color": drawing.palette.text},
            },
            hovertext=[f"best {html.escape(' and '.join(words))}" for words in names.values()],
            hoverinfo="skip",
            unselected={"marker": {"opacity": 1}},
        )
    )


def _add_knee(drawing: Drawing, visible: VisiblePoints) -> None:
    if visible.knee is None:
        return
    rows = np.asarray([visible.knee], dtype=np.int64)
    x, y, palette = drawing.x, drawing.y, drawing.palette
    drawing.figure.add_trace(
        go.Scatter(
            **drawing.place(rows),
            mode="markers",
            name="knee",
            marker={
                "size": 20,
                "symbol": "circle-open",
                "color": palette.accent,
                "line": {"width": 2.5, "color": palette.accent},
            },
            hoverinfo="skip",
            showlegend=False,
            # a selection must not fade the ring
            unselected={"marker": {"opacity": 1}},
        )
    )
    if x.values is None or y.values is None:
        return
    at = [float(x.values[visible.knee]), float(y.values[visible.knee])]
    if not np.isfinite(at).all():
        return
    logs = (drawing.options.log_x, drawing.options.log_y)
    place = [
        float(np.log10(value)) if is_log else value for value, is_log in zip(at, logs, strict=True)
    ]
    drawing.figure.add_annotation(
        x=place[0],
        y=place[1],
        text="<b>knee</b>",
        showarrow=True,
        arrowhead=0,
        arrowwidth=1.2,
        arrowcolor=palette.accent,
        standoff=11,
        ax=34 if x.better != "higher" else -34,
        ay=34 if y.better != "lower" else -34,
        font={"color": palette.accent, "size": 13},
        bgcolor=palette.background,
        borderpad=2,
    )
