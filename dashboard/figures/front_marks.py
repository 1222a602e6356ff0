"""Marks in the figure of a front: limits, confirmed points and published results."""

import html
from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go  # type: ignore[import-untyped]

from dashboard.data import formats
from dashboard.data.point_filter import VisiblePoints
from dashboard.data.points import Axis, PointTable
from dashboard.data.references import Reference
from dashboard.data.targets import Target
from dashboard.figures.theme import Palette
from search.trial.confirmation import Confirmed

MOST_NAME = 34  # characters of a reference's name in the figure


def add_bounds(
    figure: go.Figure,
    axes: tuple[Axis, Axis],
    bounds: Mapping[str, tuple[float | None, float | None]],
    targets: Sequence[Target],
    palette: Palette,
    *,
    log: tuple[bool, bool],
) -> None:
    """Add the study's constraints and the user's targets as lines with their limits."""
    for axis, side, is_log in ((axes[0], "x", log[0]), (axes[1], "y", log[1])):
        lines = [(*line, palette.muted, "dash") for line in limits(axis, bounds)]
        own = [target for target in targets if target.metric == axis.name]
        lines += [(target.value, target.limit, palette.accent, "dot") for target in own]
        for value, text, colour, dash in lines:
            if not is_log or value > 0:
                _add_line(figure, side, value, text, colour, dash, is_log=is_log, palette=palette)


def limits(
    axis: Axis, bounds: Mapping[str, tuple[float | None, float | None]]
) -> list[tuple[float, str]]:
    """Return value and text of the study's limits on one metric."""
    found = zip(("≥", "≤"), bounds.get(axis.name, (None, None)), strict=True)
    return [
        (limit, f"{relation} {axis.shown(limit)}") for relation, limit in found if limit is not None
    ]


def _add_line(
    figure: go.Figure,
    side: str,
    value: float,
    text: str,
    colour: str,
    dash: str,
    *,
    is_log: bool,
    palette: Palette,
) -> None:
    other = "y" if side == "x" else "x"
    figure.add_shape(
        type="line",
        line={"color": colour, "width": 1.4, "dash": dash},
        **{f"{side}0": value, f"{side}1": value, f"{other}0": 0, f"{other}1": 1},
        **{f"{other}ref": f"{other} domain"},
    )
    figure.add_annotation(
        text=html.escape(text),
        # on a logarithmic axis shapes take values, annotations their logarithms
        **{side: float(np.log10(value)) if is_log else value, other: 0},
        **{f"{other}ref": f"{other} domain"},
        xanchor="right" if side == "x" else "left",
        yanchor="bottom",
        showarrow=False,
        font={"color": colour, "size": 12},
        bgcolor=palette.background,
    )


def add_confirmed(
    figure: go.Figure,
    table: PointTable,
    visible: VisiblePoints,
    x: Axis,
    y: Axis,
    confirmed: Mapping[int, Confirmed],
    palette: Palette,
) -> None:
    """Add the results of new seeds on the test images: mean and standard deviation on both axes."""
    if x.better is None or y.better is None:
        return
    rows = [row for row in visible.front.tolist() if int(table.ids[row]) in confirmed]
    found = [confirmed[int(table.ids[row])] for row in rows]
    known = [(row, each) for row, each in zip(rows, found, strict=True) if each.seeds]
    if not known:
        return
    spreads = {axis.name: [each.spread(axis.name) for _, each in known] for axis in (x, y)}
    error = {"color": palette.text, "thickness": 1.2, "width": 4}
    figure.add_trace(
        go.Scatter(
            x=[spread.mean for spread in spreads[x.name]],
            y=[spread.mean for spread in spreads[y.name]],
            error_x={"array": [spread.std for spread in spreads[x.name]], **error},
            error_y={"array": [spread.std for spread in spreads[y.name]], **error},
            mode="markers",
            name="confirmed on the test part",
            customdata=[int(table.ids[row]) for row, _ in known],
            marker={"symbol": "line-ew-open", "size": 11, "color": palette.text},
            hovertext=[
                f"<b>Trial {table.trials[row]}</b> on the test part<br>"
                + "<br>".join(
                    f"{html.escape(formats.label(axis.name))}  "
                    f"<b>{html.escape(formats.confirmed(each, axis.name, table.metrics))}</b>"
                    for axis in (y, x)
                )
                for row, each in known
            ],
            hovertemplate="%{hovertext}<extra></extra>",
            unselected={"marker": {"opacity": 1}},
        )
    )


def add_references(
    figure: go.Figure, x: Axis, y: Axis, references: Sequence[Reference], palette: Palette
) -> None:
    """Add published results: a star if both axes are known, a line if one is."""
    whole = [r for r in references if x.name in r.metrics and y.name in r.metrics]
    for reference in whole:
        at = {"x": [reference.metrics[x.name]], "y": [reference.metrics[y.name]]}
        figure.add_trace(_trace(reference, at, palette, mode="markers+text"))
    span_x, span_y = _span(x), _span(y)
    for place, reference in enumerate(each for each in references if each not in whole):
        position = "top left" if place % 2 == 0 else "bottom left"
        if y.name in reference.metrics and span_x:
            at = {"x": list(span_x), "y": [reference.metrics[y.name]] * 2}
        elif x.name in reference.metrics and span_y:
            at = {"x": [reference.metrics[x.name]] * 2, "y": list(span_y)}
            position = "top right"
        else:
            continue
        figure.add_trace(_trace(reference, at, palette, mode="lines+text", position=position))


def reference_words(reference: Reference) -> str:
    """Return name, metrics and source with the few HTML tags that plotly reads."""
    lines = [f"<b>{html.escape(reference.name)}</b>"]
    for name, value in reference.metrics.items():
        figure = html.escape(formats.quantity(name, value))
        lines.append(f"{html.escape(formats.label(name))}  <b>{figure}</b>")
    words = (reference.note, reference.source)
    return "<br>".join([*lines, *(html.escape(word) for word in words if word)])


def _trace(
    reference: Reference,
    at: dict[str, list[float]],
    palette: Palette,
    *,
    mode: str,
    position: str = "top right",
) -> go.Scatter:
    name = reference.name
    if len(name) > MOST_NAME:
        name = f"{name[: MOST_NAME - 1]}…"
    return go.Scatter(
        **at,
        mode=mode,
        name="published",
        text=["", html.escape(name)] if len(at["x"]) == 2 else [html.escape(name)],
        textposition=position,
        textfont={"color": palette.muted, "size": 11},
        marker={"symbol": "star", "size": 13, "color": palette.text},
        line={"color": palette.muted, "width": 1.2, "dash": "dashdot"},
        hovertext=[reference_words(reference)] * len(at["x"]),
        hovertemplate="%{hovertext}<extra></extra>",
        showlegend=False,
        unselected={"marker": {"opacity": 1}, "textfont": {"color": palette.muted}},
    )


def _span(axis: Axis) -> tuple[float, float] | None:
    if axis.values is None:
        return None
    known = axis.values[np.isfinite(axis.values)]
    return (float(known.min()), float(known.max())) if known.size else None
