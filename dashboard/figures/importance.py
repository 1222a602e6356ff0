"""Figures of parameters against metrics, by the measured trials.

Names of studies and parameters are escaped, because plotly reads a few HTML tags in text.
"""

import html
import math
from typing import Any

import numpy as np
import plotly.graph_objects as go  # type: ignore[import-untyped]

from dashboard.data import formats
from dashboard.data.points import Axis, Floats
from dashboard.data.trial_table import (
    Rows,
    TrialTable,
    best_rows,
    is_log,
    spread_rows,
    surface,
    trend,
)
from dashboard.figures.style import axis_layout, coordinates, ramp, template, translucent
from dashboard.figures.theme import PALETTES, Mode, Palette

MOST_DOTS = 350  # of one small figure
FEW_DOTS = 100  # that hardly overlap
# A click marks a trial without fading the others.
_AS_IT_IS = {name: {"marker": {"opacity": 0.75}} for name in ("selected", "unselected")}


def small(mode: Mode, *, height: int = 240) -> go.Figure:
    """Return an empty figure without legend and title."""
    figure = go.Figure()
    figure.update_layout(
        template=template(mode),
        height=height,
        dragmode=False,
        showlegend=False,
        hovermode="closest",
        margin={"l": 8, "r": 8, "t": 8, "b": 8},
    )
    return figure


def _plain_axis(axis: Axis, *, log: bool, side: str) -> dict[str, object]:
    """Return an axis without a title, with a tick for every category."""
    layout = axis_layout(axis, log=log, side=side) | {"title": None, "fixedrange": True}
    if axis.values is None:
        assert axis.names is not None
        return layout | ({"dtick": 1} if len(set(axis.names)) <= 12 else {})
    return layout if log else layout | {"nticks": 6}


def _hovers(table: TrialTable, rows: Rows, *axes: Axis) -> list[str]:
    texts = []
    for row in rows:
        lines = [f"<b>Trial {table.numbers[row]}</b>"]
        for axis in axes:
            value = axis.names[row] if axis.values is None else float(axis.values[row])  # type: ignore[index]
            shown = html.escape(axis.shown(value))
            lines.append(f"{html.escape(axis.label)}  <b>{shown}</b>")
        texts.append("<br>".join(lines))
    return texts


def _dots(
    table: TrialTable, x: Axis, y: Axis, rows: Rows, palette: Palette, *, colour: Axis | None = None
) -> go.Scatter:
    is_many = rows.size > FEW_DOTS
    style: dict[str, object] = {"size": 5 if is_many else 6, "opacity": 0.45 if is_many else 0.8}
    style["color"] = palette.categories[0]
    if colour is not None:
        style = {"size": 5, "opacity": 0.75, **coloured(colour, rows, palette)}
    shown = {axis.name: axis for axis in (x, y, colour) if axis is not None}
    return go.Scatter(
        x=coordinates(x, rows),
        y=coordinates(y, rows),
        mode="markers",
        marker=style,
        customdata=table.numbers[rows],
        **_AS_IT_IS,
        hovertext=_hovers(table, rows, *shown.values()),
        hovertemplate="%{hovertext}<extra></extra>",
    )


def coloured(colour: Axis, rows: Rows, palette: Palette) -> dict[str, object]:
    """Return a colour ramp over the middle 96 % of the values, logarithmic as `is_log` says."""
    assert colour.values is not None
    values = scaled(colour)
    known = values[np.isfinite(values)]
    low, high = np.quantile(known, (0.02, 0.98)) if known.size else (0.0, 1.0)
    return {
        "color": np.nan_to_num(values[rows], nan=low, posinf=high, neginf=low).astype(np.float32),
        "colorscale": ramp(palette),
        "reversescale": colour.better == "lower",
        "cmin": float(low),
        "cmax": float(max(high, low + 1e-12)),
    }


def scaled(axis: Axis) -> Floats:
    """Return the values to draw: their logarithms as `is_log` says."""
    assert axis.values is not None
    return np.log10(axis.values) if is_log(axis) else axis.values


# --- one parameter -----------------------------------------------------------------------


def slice_of(
    table: TrialTable, param: str, metric: str, mode: Mode, *, mark: int | None = None
) -> go.Figure:
    """Return a metric against one parameter: trials as dots, median as a line, 80 % band.

    The line and the band use all trials, also those without a dot. The row `mark` is ringed.
    """
    palette = PALETTES[mode]
    x, y = table.param(param), table.metric(metric)
    log_x, log_y = is_log(x), is_log(y)
    rows = spread_rows(len(table), MOST_DOTS, best_rows(y))
    rows = rows[_has(x, rows) & np.isfinite(numbers_of(y)[rows])]
    figure = small(mode)
    if x.values is not None and y.values is not None:
        line = trend(x.values, y.values, log=log_x)
        _add_band(figure, line.at, line.low, line.high, palette)
        figure.add_trace(_dots(table, x, y, rows, palette))
        figure.add_trace(
            go.Scatter(
                x=line.at,
                y=line.middle,
                # one place makes no line; a dot there would look like a trial
                mode="lines" if line.at.size > 1 else "markers",
                line={"color": palette.accent, "width": 2},
                marker=_median_mark(palette),
                hoverinfo="skip",
            )
        )
    else:
        figure.add_trace(_dots(table, x, y, rows, palette))
        _add_medians(figure, x, y, palette)
    _add_ring(figure, x, y, mark, palette)
    figure.update_xaxes(**_plain_axis(x, log=log_x, side="x"))
    figure.update_yaxes(**_plain_axis(y, log=log_y, side="y"))
    return figure


def _has(axis: Axis, rows: Rows) -> np.ndarray:
    """Return which rows have the parameter."""
    if axis.values is not None:
        return np.isfinite(axis.values[rows])
    assert axis.names is not None
    return np.asarray([axis.names[row] != "–" for row in rows], dtype=np.bool_)


def numbers_of(axis: Axis) -> Floats:
    """Return the values of an axis of numbers."""
    assert axis.values is not None
    return axis.values


def _add_band(figure: go.Figure, at: Floats, low: Floats, high: Floats, palette: Palette) -> None:
    figure.add_trace(
        go.Scatter(
            x=np.concatenate([at, at[::-1]]),
            y=np.concatenate([high, low[::-1]]),
            fill="toself",
            mode="none",
            fillcolor=translucent(palette.accent, 0.12),
            hoverinfo="skip",
        )
    )


def _add_medians(figure: go.Figure, x: Axis, y: Axis, palette: Palette) -> None:
    assert x.names is not None
    names = np.asarray(x.names, dtype=object)
    values = numbers_of(y)
    shown = sorted({name for name in x.names if name != "–"})
    medians = [
        float(np.median(known)) if (known := finite(values[names == n])).size > 1 else math.nan
        for n in shown
    ]
    figure.add_trace(
        go.Scatter(
            x=[html.escape(name) for name in shown],
            y=medians,
            mode="markers",
            marker=_median_mark(palette),
            hovertemplate="median  <b>%{y:.4~g}</b><extra></extra>",
        )
    )


def _median_mark(palette: Palette) -> dict[str, Any]:
    return {"symbol": "line-ew", "size": 26, "line": {"width": 3, "color": palette.accent}}


def _add_ring(figure: go.Figure, x: Axis, y: Axis, row: int | None, palette: Palette) -> None:
    """Add a ring around one trial, if it has both values."""
    if row is None:
        return
    rows = np.asarray([row], dtype=np.int64)
    if not (_has(x, rows).all() and _has(y, rows).all()):
        return
    figure.add_trace(
        go.Scatter(
            x=coordinates(x, rows),
            y=coordinates(y, rows),
            mode="markers",
            marker={
                "symbol": "circle-open",
                "size": 15,
                "color": palette.accent,
                "line": {"width": 2.5, "color": palette.accent},
            },
            unselected={"marker": {"opacity": 1}},
            hoverinfo="skip",
        )
    )


def finite(values: Floats) -> Floats:
    """Return the finite values."""
    return values[np.isfinite(values)]


def tried(
    table: TrialTable, param: str, metric: str, mode: Mode, *, mark: int | None = None
) -> go.Figure:
    """Return the values of a parameter over the trials; better trials have a stronger colour."""
    palette = PALETTES[mode]
    number = Axis(
        name="trial", label="Trial", unit="", better=None, values=table.numbers.astype(np.float64)
    )
    y, colour = table.param(param), table.metric(metric)
    rows = spread_rows(len(table), MOST_DOTS, best_rows(colour))
    rows = rows[_has(y, rows)]
    figure = small(mode)
    figure.add_trace(_dots(table, number, y, rows, palette, colour=colour))
    if y.values is not None:
        line = trend(number.values, y.values, bins=8)  # type: ignore[arg-type]
        figure.add_trace(
            go.Scatter(
                x=line.at,
                y=line.middle,
                mode="lines",
                line={"color": palette.accent, "width": 2},
                hoverinfo="skip",
            )
        )
    _add_ring(figure, number, y, mark, palette)
    figure.update_xaxes(fixedrange=True, nticks=6, showgrid=False)
    figure.update_yaxes(**_plain_axis(y, log=is_log(y), side="y"))
    return figure


# --- two parameters and more -------------------------------------------------------------


def pair(
    table: TrialTable,
    across: str,
    up: str,
    metric: str,
    mode: Mode,
    *,
    mark: int | None = None,
) -> go.Figure:
    """Return a metric over two parameters: smoothed if both are numbers, else medians of cells."""
    palette = PALETTES[mode]
    x, y, z = table.param(across), table.param(up), table.metric(metric)
    figure = small(mode, height=480)
    scale = {
        "colorscale": ramp(palette),
        "reversescale": z.better == "lower",
        "colorbar": _bar(z, palette),
    }
    values = scaled(z)
    if x.values is not None and y.values is not None:
        log = (is_log(x), is_log(y))
        grid = surface(x.values, y.values, values, log=log)
        figure.add_trace(
            go.Contour(
                x=grid.x,
                y=grid.y,
                z=grid.z,
                ncontours=14,
                contours={"coloring": "heatmap"},
                line={"width": 0.6, "color": translucent(palette.background, 0.6)},
                hoverinfo="skip",
                connectgaps=False,
                **scale,
            )
        )
    else:
        log = (x.values is not None and is_log(x), y.values is not None and is_log(y))
        figure.add_trace(_cells(x, y, values, z, scale))
    rows = spread_rows(len(table), MOST_DOTS, best_rows(z))
    rows = rows[_has(x, rows) & _has(y, rows)]
    figure.add_trace(
        go.Scatter(
            x=coordinates(x, rows),
            y=coordinates(y, rows),
            mode="markers",
            marker={
                "size": 5,
                "color": translucent(palette.text, 0.55),
                "line": {"width": 0.5, "color": palette.background},
            },
            customdata=table.numbers[rows],
            **_AS_IT_IS,
            hovertext=_hovers(table, rows, x, y, z),
            hovertemplate="%{hovertext}<extra></extra>",
        )
    )
    _add_ring(figure, x, y, mark, palette)
    figure.update_xaxes(**axis_layout(x, log=log[0], side="x"), showgrid=False, fixedrange=True)
    figure.update_yaxes(**axis_layout(y, log=log[1], side="y"), showgrid=False, fixedrange=True)
    return figure


def _cells(x: Axis, y: Axis, values: Floats, z: Axis, scale: dict[str, object]) -> go.Heatmap:
    columns, rows = _bins(x), _bins(y)
    across, up = list(dict.fromkeys(sorted(columns))), list(dict.fromkeys(sorted(rows)))
    cells = np.full((len(up), len(across)), np.nan)
    at_x, at_y = np.asarray(columns, dtype=object), np.asarray(rows, dtype=object)
    for row, below in enumerate(up):
        for column, beside in enumerate(across):
            known = finite(values[(at_y == below) & (at_x == beside)])
            if known.size:
                cells[row, column] = np.median(known)
    return go.Heatmap(
        x=[place if isinstance(place, float) else html.escape(str(place)) for place in across],
        y=[place if isinstance(place, float) else html.escape(str(place)) for place in up],
        z=cells,
        xgap=2,
        ygap=2,
        hoverinfo="skip",
        **scale,
    )


def _bins(axis: Axis, count: int = 12) -> list[Any]:
    """Return the value of each trial; many numbers become the middles of `count` bins."""
    if axis.values is None:
        assert axis.names is not None
        return list(axis.names)
    known = finite(axis.values)
    distinct = np.unique(known)
    if distinct.size <= count:
        return [float(value) for value in np.nan_to_num(axis.values, nan=float(distinct[0]))]
    at = scaled(axis)
    low, high = float(np.nanmin(at)), float(np.nanmax(at))
    width = (high - low) / count
    places = low + (np.clip(np.floor((at - low) / width), 0, count - 1) + 0.5) * width
    places = 10**places if is_log(axis) else places
    return [float(place) for place in np.nan_to_num(places, nan=low)]


def _bar(axis: Axis, palette: Palette) -> dict[str, object]:
    bar: dict[str, object] = {
        "title": {"text": html.escape(axis.label), "side": "right", "font": {"size": 12}},
        "thickness": 8,
        "len": 0.8,
        "outlinewidth": 0,
        "tickfont": {"color": palette.muted, "size": 11},
    }
    if axis.name in formats.FRACTIONS:
        bar["tickformat"] = ".0%"
    if is_log(axis):
        bar |= {"tickprefix": "10<sup>", "ticksuffix": "</sup>", "nticks": 5}
    return bar
