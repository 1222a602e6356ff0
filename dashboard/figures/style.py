"""Style, axes, colours and hover texts of all figures.

Hover texts and names are escaped, because plotly reads a few HTML tags in them.
"""

import functools
import html
from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go  # type: ignore[import-untyped]
from numpy.typing import NDArray

from dashboard.data import formats
from dashboard.data.points import Axis, PointTable
from dashboard.figures.theme import FONT, PALETTES, Mode, Palette

Figure = go.Figure
Rows = NDArray[np.int64]

MOST_FADED = 200  # faded points of each kind, see `one_per_cell`
SVG_LIMIT = 6_000  # more points are drawn by WebGL, which starts slowly
CELLS = (64, 48, 32, 24, 16, 12, 8)  # cells of an axis when points are thinned
MOST_CATEGORIES = 8
SYMBOLS = (
    "circle",
    "square",
    "diamond",
    "triangle-up",
    "cross",
    "x",
    "pentagon",
    "star",
)
SPACE_SYMBOLS = (
    "circle",
    "square",
    "diamond",
    "cross",
    "x",
    "circle-open",
    "square-open",
    "diamond-open",
)
HOVER_OBJECTIVES_FIRST = ("accuracy", "synaptic_ops", "training_memory_bytes", "model_bytes")


def template(mode: Mode) -> go.layout.Template:
    """Return the style of all figures in one mode."""
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


def for_export(figure: go.Figure, width: int, height: int, mode: Mode) -> go.Figure:
    """Return the figure with a size and a background of its own, for a file.

    The margins hold ticks, titles, legend and colour bar of any length. The font is one of every
    machine: a file contains no font, and texts of another width would overlap.
    """
    palette = PALETTES[mode]
    figure.update_layout(
        width=width,
        height=height,
        font={"family": "Arial, sans-serif"},
        paper_bgcolor=palette.background,
        plot_bgcolor=palette.background,
        margin={"l": 24, "r": 24, "t": 48, "b": 24, "autoexpand": True},
    )
    figure.update_xaxes(automargin=True)
    figure.update_yaxes(automargin=True)
    return figure


def axis_layout(axis: Axis, *, log: bool, side: str) -> dict[str, object]:
    """Return title with unit and better direction, tick format and scale of one axis."""
    layout: dict[str, object] = {"title": {"text": axis_title(axis, side=side)}}
    if not axis.is_number:
        layout |= {"type": "category", "categoryorder": "category ascending"}
        return layout
    if axis.name in formats.FRACTIONS:
        layout |= {"tickformat": ".0%" if _spread(axis) > 0.05 else ".1%"}
    elif axis.unit in formats.WIDE_UNITS or axis.name == "parameters":
        layout |= {"tickformat": "~s"}
    if log:
        layout |= {"type": "log", "dtick": "D2" if np.log10(axis.ratio) < 1.5 else 1}
        layout["minor"] = {"showgrid": False}
    return layout


def axis_title(axis: Axis, *, side: str) -> str:
    """Return `Synaptic operations (ops per image) · ← better`."""
    arrows = {("x", "higher"): "better →", ("x", "lower"): "← better"}
    arrows |= {("y", "higher"): "better ↑", ("y", "lower"): "better ↓"}
    unit = f" ({axis.unit})" if axis.unit else ""
    text = html.escape(axis.label + unit)
    if axis.better:
        text += f"   <i>{arrows[(side, axis.better)]}</i>"
    return text


def _spread(axis: Axis) -> float:
    return float(np.ptp(axis.known)) if axis.known.size else 0.0


def thinned(rows: Rows, limit: int = MOST_FADED) -> Rows:
    """Return at most `limit` of `rows`, evenly spread, always the same ones."""
    if rows.size <= limit:
        return rows
    return rows[np.linspace(0, rows.size - 1, limit).astype(np.int64)]


def one_per_cell(rows: Rows, axes: Sequence[tuple[Axis, bool]], limit: int = MOST_FADED) -> Rows:
    """Return one row for each small cell of the figure, so that rows cover the same area.

    `axes` come with whether they are logarithmic. Cells are as small as the limit allows; an
    isolated point is always kept.
    """
    if rows.size <= limit:
        return rows
    places = [_place(axis, rows, is_log=is_log) for axis, is_log in axes]
    for count in CELLS:
        cells = np.zeros(rows.size, dtype=np.int64)
        for place in places:
            cells = cells * count + np.minimum((place * count).astype(np.int64), count - 1)
        first = np.full(count ** len(places), rows.size)
        first[cells[::-1]] = np.arange(rows.size)[::-1]  # the first of a cell is written last
        kept = np.sort(first[first < rows.size])
        if kept.size <= limit:
            break
    return thinned(rows[kept], limit)


def _place(axis: Axis, rows: Rows, *, is_log: bool) -> NDArray[np.float64]:
    """Return the values scaled to 0 (smallest) .. 1 (largest)."""
    if axis.values is None:
        return np.zeros(rows.size)
    with np.errstate(invalid="ignore", divide="ignore"):
        values = np.log10(axis.values[rows]) if is_log else axis.values[rows]
    known = np.isfinite(values)
    if not known.any():
        return np.zeros(rows.size)
    low, high = float(values[known].min()), float(values[known].max())
    scaled: NDArray[np.float64] = (np.where(known, values, low) - low) / ((high - low) or 1.0)
    return scaled


def coordinates(axis: Axis, rows: Rows) -> object:
    """Return plotly's coordinates of these rows, numbers in 32 bits to halve the page."""
    if axis.values is None:
        assert axis.names is not None
        return [html.escape(str(name)) for name in axis.names[rows]]
    return axis.values[rows].astype(np.float32)


def ids_of(table: PointTable, rows: Rows) -> NDArray[np.int32] | NDArray[np.int64]:
    """Return the ids of these points, in 32 bits where they fit, which plotly encodes compactly."""
    ids = table.ids[rows]
    fits = ids.size == 0 or int(ids.max()) < 2**31
    return ids.astype(np.int32) if fits else ids


def colour_scale(colour: Axis, rows: Rows, palette: Palette) -> dict[str, object]:
    """Return a colour ramp over the front's values, logarithmic for counts and sizes."""
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
    if not known.size:
        return {"color": palette.faded, "showscale": False}
    if colour.is_log_by_default and known.size and known.max() / known.min() > 3:
        ticks = log_ticks(float(known.min()), float(known.max()))
        bar |= {"tickvals": np.log10(ticks), "ticktext": [short(colour, t) for t in ticks]}
        scale["color"] = np.log10(values).astype(np.float32)
    elif colour.name in formats.FRACTIONS:
        bar["tickformat"] = ".0%"
    elif colour.unit in formats.WIDE_UNITS:
        bar["tickformat"] = "~s"
    return {**scale, "colorbar": bar}


def ramp(palette: Palette) -> list[list[object]]:
    """Return the palette's ramp as a plotly colour scale."""
    steps = len(palette.ramp) - 1
    return [[place / steps, colour] for place, colour in enumerate(palette.ramp)]


def log_ticks(low: float, high: float) -> list[float]:
    """Return round values from `low` to `high`: 1, 2 or 5 times a power of ten, or closer ones."""
    powers = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    ticks = [digit * 10.0**power for power in powers for digit in (1, 2, 5)]
    within = [tick for tick in ticks if low <= tick <= high]
    if len(within) < 3:
        closer = (digit * 10.0**power for power in powers for digit in (1, 1.5, 2, 3, 4, 5, 7))
        within = [tick for tick in closer if low <= tick <= high] or within
    return within if len(within) <= 8 else [tick for tick in within if str(tick)[0] == "1"]


def short(axis: Axis, value: float) -> str:
    """Return a value with its unit for a tick, without trailing zeros."""
    return axis.shown(value).replace(".00", "").replace(".0", "")


def shapes(axis: Axis, table: PointTable, *, in_space: bool = False) -> list[tuple[str, str]]:
    """Return each value of an axis with its symbol, the same in every figure."""
    every = np.arange(len(table))
    if axis.values is not None:
        _, first = np.unique(axis.values, return_index=True)
        words = axis.words(first)
    else:
        words = sorted(set(axis.words(every)))
    symbols = SPACE_SYMBOLS if in_space else SYMBOLS
    return [(word, symbols[place % len(symbols)]) for place, word in enumerate(words)]


def shape_legend(
    table: PointTable, rows: Rows, name: str, *, in_space: bool = False
) -> list[tuple[str, str]]:
    """Return label and symbol of each shape that these rows have."""
    axis = table.shape_axis(name)
    present = set(axis.words(rows))
    found = shapes(axis, table, in_space=in_space)
    return [(html.escape(f"{axis.label} {w}"), symbol) for w, symbol in found if w in present]


def categories(
    colour: Axis, rows: Rows, palette: Palette
) -> list[tuple[str, str, NDArray[np.int64]]]:
    """Return name, colour and rows per category; the rarest of many share one colour."""
    assert colour.names is not None
    names = colour.names[rows]
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


def hover(table: PointTable, rows: Rows, *, brief: bool = False) -> dict[str, object]:
    """Return the hover texts of a trace of these points."""
    return {
        "hovertext": hover_texts(table, rows.tolist(), brief=brief),
        "hovertemplate": "%{hovertext}<extra></extra>",
    }


def hover_texts(table: PointTable, rows: Sequence[int], *, brief: bool = False) -> list[str]:
    """Return trial, operating point and metrics of points with the few tags that plotly reads."""
    return list(_hover_texts(table, tuple(rows), brief))


@functools.lru_cache(maxsize=32)
def _hover_texts(table: PointTable, rows: tuple[int, ...], brief: bool) -> tuple[str, ...]:
    """Cached, because a change of axes does not change the texts."""
    exits = table.exit_thresholds(rows)
    return tuple(
        _hover_text(table, row, formats.thresholds(each), brief=brief)
        for row, each in zip(rows, exits, strict=True)
    )


def _hover_text(table: PointTable, row: int, exits: str, *, brief: bool) -> str:
    head = f"<b>{table.trial_words(row)}</b>"
    if table.partition(row):
        head += f"  ·  {html.escape(table.partition(row))}"
    if table.has_settings:
        head += f"  ·  T {table.timesteps[row]}"
    lines = [head, f"exit thresholds {exits}"] if exits != formats.NOTHING else [head]
    usual = hover_metrics(table.objectives) if table.has_settings else tuple(table.metrics)
    shown = table.objectives if brief else usual
    for name in shown:
        value = formats.quantity(name, table.figure(name, row), table.metrics)
        lines.append(f"{html.escape(formats.label(name))}  <b>{html.escape(value)}</b>")
    if not table.is_feasible[row]:
        lines.append("outside a constraint")
    return "<br>".join(lines)


def hover_metrics(objectives: Sequence[str]) -> tuple[str, ...]:
    """Return the objectives and the metrics shown for every point."""
    return tuple(dict.fromkeys((*objectives, *HOVER_OBJECTIVES_FIRST, "latency_steps")))


def translucent(colour: str, opacity: float) -> str:
    """Return the colour `#rrggbb` with an opacity between 0 and 1."""
    red, green, blue = (int(colour[place : place + 2], 16) for place in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity})"
