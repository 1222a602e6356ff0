"""The trials of a study as parallel coordinates."""

import html
from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go  # type: ignore[import-untyped]

from dashboard.data.points import Axis
from dashboard.data.trial_table import Rows, TrialTable, best_rows, is_log, spread_rows
from dashboard.figures.importance import coloured, finite, scaled, small
from dashboard.figures.style import ramp
from dashboard.figures.theme import PALETTES, Mode, Palette

MOST_LINES = 600
MOST_AXES = 10  # of parameters


def parallel(
    table: TrialTable,
    params: Sequence[str],
    metrics: Sequence[str],
    colour: str,
    mode: Mode,
    *,
    mark: int | None = None,
) -> go.Figure:
    """Return trials as lines through their parameters and metrics, coloured by one metric.

    Inactive parameters and values that are not finite are drawn at the foot of the axis, at a
    dash. The row `mark` has its own colour.
    """
    palette = PALETTES[mode]
    chosen = table.metric(colour)
    rows = spread_rows(len(table), MOST_LINES, best_rows(chosen))
    if mark is not None:  # drawn last, above all others
        rows = np.append(rows[rows != mark], mark)
    axes = [table.param(name) for name in params[:MOST_AXES]]
    axes += [table.metric(name) for name in metrics]
    figure = small(mode, height=460)
    figure.add_trace(
        go.Parcoords(
            dimensions=[_dimension(axis, rows) for axis in axes],
            line=_line(chosen, rows, palette, has_mark=mark is not None),
            unselected={"line": {"color": palette.faded, "opacity": 0.06}},
            labelfont={"color": palette.text, "size": 12},
            tickfont={"color": palette.muted, "size": 11},
            rangefont={"color": "rgba(0,0,0,0)", "size": 1},
            labelangle=-18,
            labelside="top",
        )
    )
    figure.update_layout(margin={"l": 60, "r": 60, "t": 84, "b": 16})
    return figure


def _line(axis: Axis, rows: Rows, palette: Palette, *, has_mark: bool) -> dict[str, object]:
    """Return the colours; a marked last row has the top tenth of the scale."""
    line = coloured(axis, rows, palette)
    if not has_mark:
        return line
    low, high = float(str(line["cmin"])), float(str(line["cmax"]))
    values = np.clip(np.asarray(line["color"], dtype=np.float64), low, high)
    if line["reversescale"]:
        values = low + high - values
    values[-1] = top = low + (high - low) / 0.9
    scale = [[0.89 * float(str(at)), shade] for at, shade in ramp(palette)]
    return {
        "color": values.astype(np.float32),
        "colorscale": [
            *scale,
            [0.9, palette.ramp[-1]],
            [0.95, palette.accent],
            [1, palette.accent],
        ],
        "cmin": low,
        "cmax": top,
    }


def _dimension(axis: Axis, rows: Rows) -> dict[str, object]:
    label = html.escape(axis.label)
    if axis.values is None:
        assert axis.names is not None
        names = sorted(set(axis.names), key=lambda name: (name != "–", name))
        places = {name: place for place, name in enumerate(names)}
        return {
            "label": label,
            "values": [places[axis.names[row]] for row in rows],
            "tickvals": list(range(len(names))),
            "ticktext": [html.escape(name[:18]) for name in names],
        }
    values = scaled(axis)
    known = finite(values) if np.isfinite(values).any() else np.zeros(1)
    low, high = float(known.min()), float(known.max())
    span = (high - low) or 1.0
    ticks = [low + span * share for share in (0, 0.25, 0.5, 0.75, 1)]
    distinct = np.unique(known)
    if distinct.size <= 8 and (np.diff(distinct) > 0.07 * span).all():
        ticks = [float(value) for value in distinct]
    shown = [10**tick if is_log(axis) else tick for tick in ticks]
    texts = [axis.shown(_round(value)) for value in shown]
    has_gaps = not bool(np.isfinite(values).all())
    foot = low - 0.12 * span
    return {
        "label": label,
        "values": np.where(np.isfinite(values[rows]), values[rows], foot).astype(np.float32),
        "range": [foot if has_gaps else low, high if high > low else low + 1.0],
        "tickvals": [foot, *ticks] if has_gaps else ticks,
        "ticktext": [html.escape(text) for text in (["–", *texts] if has_gaps else texts)],
    }


def _round(value: float) -> float:
    return float(f"{value:.3g}")
