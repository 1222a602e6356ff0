"""The course of a study as figures: its hypervolume over the trials that finished."""

from collections.abc import Sequence

import plotly.graph_objects as go  # type: ignore[import-untyped]

from dashboard.figures import template, translucent
from dashboard.theme import PALETTES, Mode


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
            fillcolor=translucent(palette.accent, 0.08),
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
