"""Figures of several studies: their fronts, and their hypervolumes against the cost."""

import html
from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go  # type: ignore[import-untyped]

from dashboard.data.comparison import (
    Attainment,
    Compared,
    Comparison,
    attainment,
    band,
    ceiling_line,
)
from dashboard.data.points import staircase
from dashboard.data.references import Curve, Reference
from dashboard.figures.front_marks import add_references
from dashboard.figures.style import (
    SVG_LIMIT,
    SYMBOLS,
    axis_layout,
    coordinates,
    hover_texts,
    ids_of,
    template,
    translucent,
)
from dashboard.figures.theme import PALETTES, Mode, Palette

HEIGHT = 500
CEILING = "all studies together"
DASHES = ("dash", "dashdot", "longdash", "longdashdot")  # of published curves
SPENT = {
    "trials": "Finished trials",
    "epochs": "Epochs trained",
    "hours": "Hours of training",
}


def colours(comparison: Comparison, mode: Mode) -> dict[str, str]:
    """Return a colour for each group."""
    categories = PALETTES[mode].categories
    return {
        group: categories[place % len(categories)] for place, group in enumerate(comparison.groups)
    }


def fronts(
    comparison: Comparison,
    *,
    x: str,
    y: str,
    log_x: bool,
    log_y: bool,
    mode: Mode,
    references: Sequence[Reference] = (),
    has_ceiling: bool = False,
) -> go.Figure:
    """Return the fronts of all studies over two axes, each as points and a step line.

    Points that are dominated over these two axes are faded. A group of repeats is drawn as its
    attainment surface: a line for what half of the repeats attain, and the 25-75 % band. The
    ceiling is the front of all studies together.
    """
    figure = _empty(f"{x}|{y}|{log_x}|{log_y}", mode)
    shades, palette = colours(comparison, mode), PALETTES[mode]
    if has_ceiling:
        line = ceiling_line(comparison.studies, x, y)
        _add_ceiling(figure, line[:, 0].tolist(), line[:, 1].tolist(), CEILING, palette)
    for place, group in enumerate(comparison.groups):
        members, symbol = comparison.members(group), SYMBOLS[place % len(SYMBOLS)]
        found = attainment(members, x, y)
        if found is not None:
            _add_attainment(figure, group, found, shades[group])
        for study in members:
            _add_front(figure, study, x, y, shades[group], symbol, mode, is_repeat=bool(found))
    first = comparison.studies[0].table
    known = next((study.table for study in comparison.studies if len(study.table)), first)
    add_references(figure, known.axis(x), known.axis(y), references, palette)
    figure.update_xaxes(**axis_layout(first.axis(x), log=log_x, side="x"))
    figure.update_yaxes(**axis_layout(first.axis(y), log=log_y, side="y"))
    return figure


def _empty(revision: str, mode: Mode) -> go.Figure:
    figure = go.Figure()
    figure.update_layout(
        template=template(mode),
        height=HEIGHT,
        hovermode="closest",
        dragmode="zoom",
        uirevision=revision,
        margin={"l": 8, "r": 8, "t": 56, "b": 8},
    )
    return figure


def _add_attainment(figure: go.Figure, group: str, found: Attainment, colour: str) -> None:
    words = f"{html.escape(group)} · attained by half of {found.repeats} repeats"
    figure.add_trace(
        go.Scatter(
            x=found.band[:, 0],
            y=found.band[:, 1],
            mode="none",
            fill="toself",
            fillcolor=translucent(colour, 0.16),
            legendgroup=group,
            hoverinfo="skip",
            showlegend=False,
        )
    )
    figure.add_trace(
        go.Scatter(
            x=found.median[:, 0],
            y=found.median[:, 1],
            mode="lines",
            name=words,
            legendgroup=group,
            line={"color": colour, "width": 2.6},
            hovertemplate=f"{words}<extra></extra>",
        )
    )


def _add_front(
    figure: go.Figure,
    study: Compared,
    x: str,
    y: str,
    colour: str,
    symbol: str,
    mode: Mode,
    *,
    is_repeat: bool,
) -> None:
    axis_x, axis_y = study.table.axis(x), study.table.axis(y)
    steps = staircase(axis_x, axis_y, study.front)
    name = html.escape(study.name)
    if steps.size > 1 and not is_repeat:
        figure.add_trace(
            go.Scatter(
                x=coordinates(axis_x, steps),
                y=coordinates(axis_y, steps),
                mode="lines",
                legendgroup=study.name,
                line={
                    "color": colour,
                    "width": 1.8,
                    "shape": "hv" if axis_x.better == "lower" else "vh",
                },
                hoverinfo="skip",
                showlegend=False,
            )
        )
    is_step = np.isin(study.front, steps)
    for rows, style in (
        (study.front[~is_step], {"size": 5, "opacity": 0.3}),
        (study.front[is_step], {"size": 5 if is_repeat else 9, "opacity": 0.95}),
    ):
        scatter = go.Scattergl if rows.size > SVG_LIMIT else go.Scatter
        words = hover_texts(study.table, rows.tolist())
        figure.add_trace(
            scatter(
                x=coordinates(axis_x, rows),
                y=coordinates(axis_y, rows),
                mode="markers",
                name=name,
                legendgroup=study.group if is_repeat else study.name,
                showlegend=style["size"] == 9,
                marker={
                    **style,
                    "symbol": symbol,
                    "color": colour,
                    "line": {"width": 1, "color": PALETTES[mode].background},
                },
                customdata=ids_of(study.table, rows),
                selected={"marker": {"opacity": style["opacity"]}},
                unselected={"marker": {"opacity": style["opacity"]}},
                hovertext=[f"{name}<br>{each}" for each in words],
                hovertemplate="%{hovertext}<extra></extra>",
            )
        )


def _add_ceiling(
    figure: go.Figure, x: Sequence[float], y: Sequence[float], name: str, palette: Palette
) -> None:
    figure.add_trace(
        go.Scatter(
            x=x,
            y=y,
            mode="lines",
            name=name,
            line={"color": palette.text, "width": 1.6, "dash": "dot"},
            hovertemplate=f"{name}<extra></extra>",
        )
    )


def histories(
    comparison: Comparison,
    *,
    along: str,
    mode: Mode,
    has_ceiling: bool = False,
    curves: Sequence[Curve] = (),
) -> go.Figure:
    """Return hypervolumes over trials, epochs or hours; groups of several as mean and range.

    The ceiling is the hypervolume of all studies together. `curves` are those of other searches,
    with the reference point of the comparison; all but ceilings are drawn over epochs only.
    """
    figure = _empty(along, mode)
    shades = colours(comparison, mode)
    shown = [each for each in curves if each.is_ceiling or along == "epochs"]
    ends = [s.history.along(along)[-1] for s in comparison.studies if s.history.values.size]
    ends += [each.epochs[-1] for each in shown if each.epochs]
    if has_ceiling and ends:
        level = comparison.ceiling
        name = f"{CEILING}: {level:.4f}"
        _add_ceiling(figure, [0.0, max(ends)], [level, level], name, PALETTES[mode])
    for group in comparison.groups:
        _add_group(figure, comparison.members(group), group, along, shades[group])
    for place, curve in enumerate(shown):
        _add_curve(figure, curve, max(ends, default=1.0), place, PALETTES[mode])
    figure.update_xaxes(title=SPENT[along], rangemode="tozero")
    figure.update_yaxes(title="Hypervolume   <i>better ↑</i>")
    return figure


def _add_curve(figure: go.Figure, curve: Curve, end: float, place: int, palette: Palette) -> None:
    """Add a curve of another search, or a ceiling up to `end`; `place` chooses the dashes."""
    name = html.escape(curve.name)
    about = "<br>".join(html.escape(word) for word in (curve.note, curve.source) if word)
    figure.add_trace(
        go.Scatter(
            x=curve.epochs or (0.0, end),
            y=curve.values if curve.epochs else curve.values * 2,
            mode="lines",
            name=name,
            line={
                "color": palette.muted,
                "width": 1.8,
                "dash": "dot" if curve.is_ceiling else DASHES[place % len(DASHES)],
                "shape": "hv",
            },
            hovertemplate=f"<b>{name}</b><br>%{{y:.4f}} at %{{x:,.4~g}}<br>{about}<extra></extra>",
        )
    )


def _add_group(
    figure: go.Figure, members: list[Compared], group: str, along: str, colour: str
) -> None:
    together = band([study.history for study in members], along)
    name = html.escape(group)
    if together is not None:
        for values, fill in ((together.low, None), (together.high, "tonexty")):
            figure.add_trace(
                go.Scatter(
                    x=together.at,
                    y=values,
                    mode="lines",
                    line={"width": 0, "shape": "hv"},
                    fill=fill,
                    fillcolor=translucent(colour, 0.16),
                    legendgroup=group,
                    hoverinfo="skip",
                    showlegend=False,
                )
            )
        figure.add_trace(
            go.Scatter(
                x=together.at,
                y=together.mean,
                mode="lines",
                name=f"{name} · mean of {len(members)}",
                legendgroup=group,
                line={"color": colour, "width": 2.6, "shape": "hv"},
                hovertemplate=f"{name}, mean<br><b>%{{y:.4f}}</b> at %{{x:,.4~g}}<extra></extra>",
            )
        )
    for study in members:
        shown = html.escape(study.name)
        figure.add_trace(
            go.Scatter(
                x=study.history.along(along),
                y=study.history.values,
                mode="lines",
                name=shown,
                legendgroup=group,
                showlegend=together is None,
                opacity=1.0 if together is None else 0.45,
                line={"color": colour, "width": 2.2 if together is None else 1, "shape": "hv"},
                hovertemplate=f"{shown}<br><b>%{{y:.4f}}</b> at %{{x:,.4~g}}<extra></extra>",
            )
        )
