"""Studies side by side as figures: their fronts, and their volumes over what was spent."""

import html

import numpy as np
import plotly.graph_objects as go  # type: ignore[import-untyped]

from dashboard.data.comparison import Compared, Comparison, band
from dashboard.data.points import staircase
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
from dashboard.figures.theme import PALETTES, Mode

HEIGHT = 500
SPENT = {
    "trials": "Finished trials",
    "epochs": "Epochs trained",
    "hours": "Hours at work",
}


def colours(comparison: Comparison, mode: Mode) -> dict[str, str]:
    """A colour for each group."""
    categories = PALETTES[mode].categories
    return {
        group: categories[place % len(categories)] for place, group in enumerate(comparison.groups)
    }


def fronts(
    comparison: Comparison, *, x: str, y: str, log_x: bool, log_y: bool, mode: Mode
) -> go.Figure:
    """The fronts of all studies over two axes, each with its staircase.

    Members that the two axes alone would not show as better than the others step back.
    """
    figure = go.Figure()
    figure.update_layout(
        template=template(mode),
        height=HEIGHT,
        hovermode="closest",
        dragmode="zoom",
        uirevision=f"{x}|{y}|{log_x}|{log_y}",
        margin={"l": 8, "r": 8, "t": 56, "b": 8},
    )
    shades = colours(comparison, mode)
    for study in comparison.studies:
        place = comparison.groups.index(study.group)
        _add_front(figure, study, x, y, shades[study.group], SYMBOLS[place % len(SYMBOLS)], mode)
    first = comparison.studies[0].table
    figure.update_xaxes(**axis_layout(first.axis(x), log=log_x, side="x"))
    figure.update_yaxes(**axis_layout(first.axis(y), log=log_y, side="y"))
    return figure


def _add_front(
    figure: go.Figure, study: Compared, x: str, y: str, colour: str, symbol: str, mode: Mode
) -> None:
    axis_x, axis_y = study.table.axis(x), study.table.axis(y)
    steps = staircase(axis_x, axis_y, study.front)
    name = html.escape(study.name)
    if steps.size > 1:
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
        (study.front[is_step], {"size": 9, "opacity": 0.95}),
    ):
        scatter = go.Scattergl if rows.size > SVG_LIMIT else go.Scatter
        words = hover_texts(study.table, rows.tolist())
        figure.add_trace(
            scatter(
                x=coordinates(axis_x, rows),
                y=coordinates(axis_y, rows),
                mode="markers",
                name=name,
                legendgroup=study.name,
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


def courses(comparison: Comparison, *, along: str, mode: Mode) -> go.Figure:
    """Hypervolume over trials, epochs or hours; groups of several as their mean and range."""
    figure = go.Figure()
    figure.update_layout(
        template=template(mode),
        height=HEIGHT,
        hovermode="closest",
        dragmode="zoom",
        uirevision=along,
        margin={"l": 8, "r": 8, "t": 56, "b": 8},
    )
    shades = colours(comparison, mode)
    for group in comparison.groups:
        _add_group(figure, comparison.members(group), group, along, shades[group])
    figure.update_xaxes(title=SPENT[along], rangemode="tozero")
    figure.update_yaxes(title="Hypervolume   <i>better ↑</i>")
    return figure


def _add_group(
    figure: go.Figure, members: list[Compared], group: str, along: str, colour: str
) -> None:
    together = band([study.course for study in members], along)
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
                x=study.course.along(along),
                y=study.course.values,
                mode="lines",
                name=shown,
                legendgroup=group,
                showlegend=together is None,
                opacity=1.0 if together is None else 0.45,
                line={"color": colour, "width": 2.2 if together is None else 1, "shape": "hv"},
                hovertemplate=f"{shown}<br><b>%{{y:.4f}}</b> at %{{x:,.4~g}}<extra></extra>",
            )
        )
