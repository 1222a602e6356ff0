"""The front of a study as a figure: operating points over two axes."""

import html
from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go  # type: ignore[import-untyped]

from dashboard import formats
from dashboard.figures import (
    SVG_LIMIT,
    Rows,
    axis_layout,
    categories,
    colour_scale,
    coordinates,
    hover,
    template,
    thinned,
)
from dashboard.points import Axis, PointTable, staircase
from dashboard.theme import PALETTES, Mode, Palette


def front(
    table: PointTable,
    *,
    x: str,
    y: str,
    colour: str,
    log_x: bool,
    log_y: bool,
    knee: int | None,
    selected: Sequence[int],
    mode: Mode,
) -> go.Figure:
    """Operating points over two axes: the front clear, the rest as its background.

    `knee` and `selected` are ids of operating points. The step line is the front over the two
    axes shown: what nothing better is known than, in these two alone.
    """
    palette = PALETTES[mode]
    axis_x, axis_y = table.axis(x), table.axis(y)
    figure = go.Figure()
    figure.update_layout(
        template=template(mode),
        height=560,
        uirevision=f"{x}|{y}|{log_x}|{log_y}",
        hovermode="closest",
        margin={"l": 8, "r": 8, "t": 40, "b": 8},
    )
    figure.update_xaxes(**axis_layout(axis_x, log=log_x, side="x"))
    figure.update_yaxes(**axis_layout(axis_y, log=log_y, side="y"))
    chosen = set(table.rows_of(selected))
    _add_faded(figure, table, axis_x, axis_y, chosen, palette)
    _add_steps(figure, table, axis_x, axis_y, palette)
    _add_members(figure, table, axis_x, axis_y, table.axis(colour), chosen, palette)
    _add_knee(figure, table, axis_x, axis_y, knee, palette, log=(log_x, log_y))
    _add_bounds(figure, table, axis_x, axis_y, palette, log=(log_x, log_y))
    return figure


def _add_faded(
    figure: go.Figure, table: PointTable, x: Axis, y: Axis, chosen: set[int], palette: Palette
) -> None:
    """Points that are not on the front; those outside a constraint as rings."""
    for name, mask, symbol in (
        ("dominated", ~table.on_front & table.is_feasible, "circle"),
        ("outside a constraint", ~table.on_front & ~table.is_feasible, "circle-open"),
    ):
        every = np.flatnonzero(mask)
        rows = thinned(every)
        if not rows.size:
            continue
        is_large = rows.size > SVG_LIMIT
        scatter = go.Scattergl if is_large else go.Scatter
        shown = f" ({rows.size:,} of {every.size:,} shown)" if rows.size < every.size else ""
        words = {"hoverinfo": "skip"} if is_large else hover(table, rows, brief=True)
        figure.add_trace(
            scatter(
                x=coordinates(x, rows),
                y=coordinates(y, rows),
                mode="markers",
                name=name + shown,
                customdata=table.ids[rows],
                marker={
                    "size": 5,
                    "symbol": symbol,
                    "color": palette.faded,
                    "opacity": 0.38,
                    "line": {"width": 1 if symbol != "circle" else 0, "color": palette.faded},
                },
                **_selection(
                    rows, chosen, opacity=0.38, marked={"size": 12, "color": palette.accent}
                ),
                **words,
            )
        )


def _selection(
    rows: Rows, chosen: set[int], *, opacity: float, marked: Mapping[str, object]
) -> dict[str, object]:
    """Which points of a trace are chosen and how they stand out; the others step back."""
    if not chosen:
        return {"unselected": {"marker": {"opacity": opacity}}}
    return {
        "selectedpoints": [place for place, row in enumerate(rows) if int(row) in chosen],
        "selected": {"marker": {"opacity": 1, **marked}},
        "unselected": {"marker": {"opacity": opacity * 0.4}},
    }


def _add_steps(figure: go.Figure, table: PointTable, x: Axis, y: Axis, palette: Palette) -> None:
    """The staircase: what is reached at each x, never a value that no point has."""
    rows = staircase(x, y, np.flatnonzero(table.is_feasible))
    if rows.size < 2:
        return
    figure.add_trace(
        go.Scatter(
            x=coordinates(x, rows),
            y=coordinates(y, rows),
            mode="lines",
            name=f"best {x.label.lower()} against {y.label.lower()}",
            line={
                "color": palette.accent,
                "width": 1.6,
                "shape": "hv" if x.better == "lower" else "vh",
            },
            hoverinfo="skip",
            showlegend=False,
        )
    )


def _add_members(
    figure: go.Figure,
    table: PointTable,
    x: Axis,
    y: Axis,
    colour: Axis,
    chosen: set[int],
    palette: Palette,
) -> None:
    rows = np.flatnonzero(table.on_front)
    if not rows.size:
        return
    if colour.is_number:
        marker = {"color": coordinates(colour, rows), **colour_scale(colour, rows, palette)}
        _add_member_trace(figure, table, (x, y), rows, chosen, palette, "front", marker)
        return
    for name, colour_of, members in categories(colour, rows, palette):
        _add_member_trace(
            figure, table, (x, y), members, chosen, palette, name, {"color": colour_of}
        )


def _add_member_trace(
    figure: go.Figure,
    table: PointTable,
    axes: tuple[Axis, Axis],
    rows: Rows,
    chosen: set[int],
    palette: Palette,
    name: str,
    marker: dict[str, object],
) -> None:
    figure.add_trace(
        go.Scatter(
            x=coordinates(axes[0], rows),
            y=coordinates(axes[1], rows),
            mode="markers",
            name=html.escape(name),
            customdata=table.ids[rows],
            marker={
                "size": 11,
                "opacity": 1,
                "line": {"width": 1.5, "color": palette.background},
                **marker,
            },
            **_selection(rows, chosen, opacity=1.0, marked={"size": 15}),
            **hover(table, rows),
        )
    )


def _add_knee(
    figure: go.Figure,
    table: PointTable,
    x: Axis,
    y: Axis,
    knee: int | None,
    palette: Palette,
    *,
    log: tuple[bool, bool],
) -> None:
    rows = np.asarray(table.rows_of([knee] if knee is not None else []), dtype=np.int64)
    if not rows.size:
        return
    figure.add_trace(
        go.Scatter(
            x=coordinates(x, rows),
            y=coordinates(y, rows),
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
            # Shapes of selection must not grey the ring out.
            unselected={"marker": {"opacity": 1}},
        )
    )
    if x.values is None or y.values is None:
        return
    at = [float(axis.values[rows[0]]) for axis in (x, y) if axis.values is not None]
    place = [
        float(np.log10(value)) if is_log else value for value, is_log in zip(at, log, strict=True)
    ]
    figure.add_annotation(
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


def _add_bounds(
    figure: go.Figure,
    table: PointTable,
    x: Axis,
    y: Axis,
    palette: Palette,
    *,
    log: tuple[bool, bool],
) -> None:
    """Constraints of the axes shown, as lines that say their limit."""
    for axis, side, is_log in ((x, "x", log[0]), (y, "y", log[1])):
        for relation, limit in zip(("≥", "≤"), table.bounds.get(axis.name, ()), strict=False):
            if limit is None or (is_log and limit <= 0):
                continue
            other = "y" if side == "x" else "x"
            figure.add_shape(
                type="line",
                line={"color": palette.muted, "width": 1.2, "dash": "dash"},
                **{f"{side}0": limit, f"{side}1": limit, f"{other}0": 0, f"{other}1": 1},
                **{f"{other}ref": f"{other} domain"},
            )
            figure.add_annotation(
                text=f"{relation} {html.escape(formats.quantity(axis.name, limit))}",
                # Shapes take values on a logarithmic axis, notes their logarithm.
                **{side: float(np.log10(limit)) if is_log else limit, other: 0},
                **{f"{other}ref": f"{other} domain"},
                xanchor="right" if side == "x" else "left",
                yanchor="bottom",
                showarrow=False,
                font={"color": palette.muted, "size": 12},
                bgcolor=palette.background,
            )
