"""Drawings of results: pure functions from numbers to plotly figures.

Hover texts and names are escaped: plotly reads a few HTML tags in them.
"""

import html
from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go  # type: ignore[import-untyped]
from numpy.typing import NDArray

from dashboard import formats
from dashboard.points import Axis, PointTable, staircase
from dashboard.theme import FONT, PALETTES, Mode, Palette

Rows = NDArray[np.int64]

MOST_FADED = 20_000  # dominated points drawn; the rest is thinned away evenly
SVG_LIMIT = 2_500  # beyond, points are drawn by WebGL
MOST_CATEGORIES = 8
HOVER_OBJECTIVES_FIRST = ("accuracy", "synaptic_ops", "training_memory_bytes", "model_bytes")


def template(mode: Mode) -> go.layout.Template:
    """The house style of every figure in one mode."""
    palette = PALETTES[mode]
    axis = {
        "gridcolor": palette.grid,
        "linecolor": palette.border,
        "zeroline": False,
        "showline": False,
        "ticks": "",
        "tickfont": {"color": palette.muted, "size": 12},
        "title": {"font": {"color": palette.muted, "size": 13}, "standoff": 12},
        "automargin": True,
        "exponentformat": "SI",
    }
    layout = go.Layout(
        font={"family": FONT, "size": 13, "color": palette.text},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        colorway=palette.categories,
        margin={"l": 8, "r": 8, "t": 36, "b": 8},
        xaxis=axis,
        yaxis=axis,
        hoverlabel={
            "bgcolor": palette.surface,
            "bordercolor": palette.border,
            "font": {"family": FONT, "size": 13, "color": palette.text},
            "align": "left",
        },
        legend={
            "orientation": "h",
            "x": 0,
            "y": 1.0,
            "yanchor": "bottom",
            "xanchor": "left",
            "font": {"color": palette.muted, "size": 12},
            "bgcolor": "rgba(0,0,0,0)",
            "itemsizing": "constant",
        },
        modebar={
            "bgcolor": "rgba(0,0,0,0)",
            "color": palette.faded,
            "activecolor": palette.accent,
        },
        newselection={"line": {"color": palette.accent, "width": 1, "dash": "dot"}},
        dragmode="select",
        bargap=0.25,
    )
    return go.layout.Template(layout=layout)


# --- the front ---------------------------------------------------------------------------


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


def axis_layout(axis: Axis, *, log: bool, side: str) -> dict[str, object]:
    """Title with unit and better direction, tick format and scale of one axis."""
    layout: dict[str, object] = {"title": {"text": axis_title(axis, side=side)}}
    if not axis.is_number:
        layout |= {"type": "category", "categoryorder": "category ascending"}
        return layout
    if axis.name in formats.FRACTIONS:
        layout |= {"tickformat": ".0%" if _spread(axis) > 0.05 else ".1%"}
    elif axis.unit in formats.WIDE_UNITS or axis.name == "parameters":
        layout |= {"tickformat": "~s"}
    if log:
        layout |= {"type": "log", "dtick": "D2" if _decades(axis) < 1.5 else 1}
        layout["minor"] = {"showgrid": False}
    return layout


def axis_title(axis: Axis, *, side: str) -> str:
    """`Synaptic operations (ops per image) · ← better`."""
    arrows = {("x", "higher"): "better →", ("x", "lower"): "← better"}
    arrows |= {("y", "higher"): "better ↑", ("y", "lower"): "better ↓"}
    unit = f" ({axis.unit})" if axis.unit else ""
    text = html.escape(axis.label + unit)
    if axis.better:
        text += f"   <i>{arrows[(side, axis.better)]}</i>"
    return text


def _spread(axis: Axis) -> float:
    assert axis.values is not None
    known = axis.values[np.isfinite(axis.values)]
    return float(np.ptp(known)) if known.size else 0.0


def _decades(axis: Axis) -> float:
    assert axis.values is not None
    known = axis.values[np.isfinite(axis.values) & (axis.values > 0)]
    return float(np.log10(known.max() / known.min())) if known.size else 0.0


def thinned(rows: Rows, limit: int = MOST_FADED) -> Rows:
    """At most `limit` of `rows`, evenly spread; always the same ones."""
    if rows.size <= limit:
        return rows
    return rows[np.linspace(0, rows.size - 1, limit).astype(np.int64)]


def coordinates(axis: Axis, rows: Rows) -> object:
    """What plotly draws for these rows: 32-bit numbers travel at half the size."""
    if axis.values is None:
        assert axis.names is not None
        return [axis.names[row] for row in rows]
    return axis.values[rows].astype(np.float32)


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
        hover = {"hoverinfo": "skip"} if is_large else _hover(table, rows, brief=True)
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
                **hover,
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
        marker = {"color": coordinates(colour, rows), **_colour_scale(colour, rows, palette)}
        _add_member_trace(figure, table, (x, y), rows, chosen, palette, "front", marker)
        return
    for name, colour_of, members in _categories(colour, rows, palette):
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
            **_hover(table, rows),
        )
    )


def _colour_scale(colour: Axis, rows: Rows, palette: Palette) -> dict[str, object]:
    """A ramp over the front's values; logarithmic where the quantity is wide."""
    assert colour.values is not None
    values = colour.values[rows]
    bar: dict[str, object] = {
        "title": {"text": html.escape(colour.label), "side": "right", "font": {"size": 12}},
        "thickness": 8,
        "len": 0.72,
        "outlinewidth": 0,
        "xpad": 8,
        "tickfont": {"color": palette.muted, "size": 11},
    }
    scale: dict[str, object] = {"colorscale": ramp(palette), "showscale": True}
    known = values[np.isfinite(values)]
    if colour.is_log_by_default and known.size and known.max() / known.min() > 3:
        ticks = log_ticks(float(known.min()), float(known.max()))
        bar |= {"tickvals": np.log10(ticks), "ticktext": [short(colour.name, t) for t in ticks]}
        scale["color"] = np.log10(values).astype(np.float32)
    elif colour.name in formats.FRACTIONS:
        bar["tickformat"] = ".0%"
    elif colour.unit in formats.WIDE_UNITS:
        bar["tickformat"] = "~s"
    return {**scale, "colorbar": bar}


def ramp(palette: Palette) -> list[list[object]]:
    """The palette's ramp as a plotly colour scale."""
    steps = len(palette.ramp) - 1
    return [[place / steps, colour] for place, colour in enumerate(palette.ramp)]


def log_ticks(low: float, high: float) -> list[float]:
    """Round values, 1, 2 or 5 times a power of ten, between `low` and `high`."""
    powers = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    ticks = [digit * 10.0**power for power in powers for digit in (1, 2, 5)]
    within = [tick for tick in ticks if low <= tick <= high]
    return within if len(within) <= 8 else [tick for tick in within if str(tick)[0] == "1"]


def short(name: str, value: float) -> str:
    """A value for a tick: with its unit, without digits that say nothing."""
    return formats.quantity(name, value).replace(".00", "").replace(".0", "")


def _categories(
    colour: Axis, rows: Rows, palette: Palette
) -> list[tuple[str, str, NDArray[np.int64]]]:
    """Name, colour and rows per category; the rarest share the last colour when there are many."""
    assert colour.names is not None
    names = np.asarray([colour.names[row] for row in rows], dtype=object)
    counts = {name: int((names == name).sum()) for name in sorted(set(names), key=str)}
    kept = sorted(counts, key=lambda name: -counts[name])[: MOST_CATEGORIES - 1]
    if len(counts) <= MOST_CATEGORIES:
        kept = list(counts)
    groups = [
        (str(name), palette.categories[place], rows[names == name])
        for place, name in enumerate(sorted(kept, key=str))
    ]
    others = rows[~np.isin(names, kept)]
    return [*groups, ("other", palette.faded, others)] if others.size else groups


def _hover(table: PointTable, rows: Rows, *, brief: bool = False) -> dict[str, object]:
    return {
        "hovertext": [hover_text(table, int(row), brief=brief) for row in rows],
        "hovertemplate": "%{hovertext}<extra></extra>",
    }


def hover_text(table: PointTable, row: int, *, brief: bool = False) -> str:
    """Who a point is and what it achieves, as the few tags that plotly knows."""
    head = f"<b>Trial {table.trials[row]}</b>"
    if table.partitions[row]:
        head += f"  ·  {html.escape(table.partitions[row])}"
    head += f"  ·  T {table.timesteps[row]}"
    exits = formats.thresholds(table.exit_thresholds[row])
    lines = [head, f"exit thresholds {exits}"] if exits != "–" else [head]
    shown = table.objectives if brief else hover_metrics(table.objectives)
    for name in shown:
        value = formats.quantity(name, float(table.metrics[name][row]))
        lines.append(f"{html.escape(formats.label(name))}  <b>{html.escape(value)}</b>")
    if not table.is_feasible[row]:
        lines.append("outside a constraint")
    return "<br>".join(lines)


def hover_metrics(objectives: Sequence[str]) -> tuple[str, ...]:
    """Objectives, then the figures that everybody asks for."""
    return tuple(dict.fromkeys((*objectives, *HOVER_OBJECTIVES_FIRST, "latency_steps")))


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


def hypervolume(trials: Sequence[int], values: Sequence[float], mode: Mode) -> go.Figure:
    """The study's progress: hypervolume after each finished trial, as steps."""
    palette = PALETTES[mode]
    figure = go.Figure(
        go.Scatter(
            x=list(range(1, len(values) + 1)),
            y=list(values),
            mode="lines",
            line={"color": palette.accent, "width": 2, "shape": "hv"},
            fill="tozeroy",
            fillcolor=_translucent(palette.accent, 0.08),
            customdata=list(trials),
            hovertemplate="after trial %{customdata}<br><b>%{y:.4f}</b><extra></extra>",
        )
    )
    low = min(values) if values else 0.0
    high = max(values) if values else 1.0
    pad = max((high - low) * 0.15, 0.005)
    figure.update_layout(
        template=template(mode), height=190, showlegend=False, dragmode=False, uirevision="hv"
    )
    figure.update_layout(margin={"l": 8, "r": 8, "t": 8, "b": 8})
    figure.update_xaxes(title="finished trials", showgrid=False, fixedrange=True)
    figure.update_yaxes(range=[max(0.0, low - pad), high + pad], nticks=6, fixedrange=True)
    return figure


def sparkline(values: Sequence[float], mode: Mode) -> str:
    """The course of a figure as a small SVG of steps, without axes; numbers alone go in."""
    palette = PALETTES[mode]
    low, high = min(values), max(values)
    scale = 40 / (high - low) if high > low else 0.0
    across = [600 * place / len(values) for place in range(len(values) + 1)]
    up = [44 - scale * (value - low) for value in values]
    steps = " ".join(f"V{y:.1f} H{right:.1f}" for y, right in zip(up, across[1:], strict=True))
    line = f"M0 {up[0]:.1f} {steps}"
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 600 48" width="600" height="48">'
        f'<path d="{line} V48 H0 Z" fill="{palette.accent}" fill-opacity="0.1"/>'
        f'<path d="{line}" fill="none" stroke="{palette.accent}" stroke-width="2.2" '
        'stroke-linejoin="round"/></svg>'
    )


def _translucent(colour: str, opacity: float) -> str:
    red, green, blue = (int(colour[place : place + 2], 16) for place in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity})"
