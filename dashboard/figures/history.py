"""Figures of a study's hypervolume over its finished trials."""

import base64
from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go  # type: ignore[import-untyped]

from dashboard.data.points import Floats, Integers
from dashboard.figures.style import template, translucent
from dashboard.figures.theme import PALETTES, Mode

MOST_STEPS = 300  # of a sparkline


def hypervolume(trials: Sequence[int], values: Sequence[float], mode: Mode) -> go.Figure:
    """Return the hypervolume after each finished trial, as steps."""
    palette = PALETTES[mode]
    history, numbers = np.asarray(values, dtype=np.float64), np.asarray(trials, dtype=np.int64)
    kept = corners(history)
    figure = go.Figure(
        go.Scatter(
            x=(kept + 1).astype(np.int32),
            y=history[kept],
            mode="lines",
            line={"color": palette.accent, "width": 2, "shape": "hv"},
            fill="tozeroy",
            fillcolor=translucent(palette.accent, 0.08),
            customdata=numbers[kept].astype(np.int32),
            hovertemplate="after trial %{customdata}<br><b>%{y:.4f}</b><extra></extra>",
        )
    )
    low, high = (float(history.min()), float(history.max())) if history.size else (0.0, 1.0)
    pad = max((high - low) * 0.15, 0.005)
    figure.update_layout(
        template=template(mode), height=190, showlegend=False, dragmode=False, uirevision="hv"
    )
    figure.update_layout(margin={"l": 8, "r": 8, "t": 8, "b": 8})
    figure.update_xaxes(title="finished trials", showgrid=False, fixedrange=True)
    figure.update_yaxes(
        title="hypervolume", range=[max(0.0, low - pad), high + pad], nticks=6, fixedrange=True
    )
    return figure


def corners(values: Floats, limit: int = 2_000) -> Integers:
    """Return the places where a step line changes and its ends, at most `limit` of them."""
    if len(values) <= 2:
        return np.arange(len(values))
    changes = np.flatnonzero(np.diff(values) != 0) + 1
    kept = np.unique(np.concatenate([[0], changes, [len(values) - 1]]))
    if len(kept) <= limit:
        return kept
    return kept[np.linspace(0, len(kept) - 1, limit).astype(np.int64)]


def strip(values: Sequence[float], mode: Mode) -> str:
    """Return the step line as an HTML picture with labels.

    A second interactive figure would take a third of a page's loading time.
    """
    palette = PALETTES[mode]
    history = np.asarray(values, dtype=np.float64)
    kept = corners(history, MOST_STEPS)
    low, high = float(history.min()), float(history.max())
    pad = max((high - low) * 0.15, 0.005)
    bottom, top = max(0.0, low - pad), high + pad
    up = 100 * (top - history[kept]) / (top - bottom)
    ends = 1000 * np.append(kept[1:], len(history)) / len(history)
    line = f"M0 {up[0]:.2f} " + " ".join(
        f"V{y:.2f} H{right:.1f}" for y, right in zip(up, ends, strict=True)
    )
    ticks = [tick for tick in _round_ticks(bottom, top) if bottom <= tick <= top]
    places = [100 * (top - tick) / (top - bottom) for tick in ticks]
    still = 'vector-effect="non-scaling-stroke"'
    grid = "".join(f'<path d="M0 {y:.2f} H1000" stroke="{palette.grid}" {still}/>' for y in places)
    svg = (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1000 100" '
        'preserveAspectRatio="none" fill="none">'
        f'{grid}<path d="{line} V100 H0 Z" fill="{palette.accent}" fill-opacity="0.08"/>'
        f'<path d="{line}" stroke="{palette.accent}" stroke-width="2" {still}/></svg>'
    )
    picture = base64.b64encode(svg.encode()).decode()
    marks = "".join(
        f'<span style="position:absolute;right:0;top:{y:.2f}%;transform:translateY(-50%)">'
        f"{tick:.{_digits(ticks)}f}</span>"
        for tick, y in zip(ticks, places, strict=True)
    )
    words = f"From {history[0]:.3f} to {history[-1]:.3f} over {len(history):,} finished trials"
    return (
        f'<div style="color:{palette.muted};font-size:0.75rem;display:grid;'
        'grid-template-columns:3rem 1fr;column-gap:0.6rem">'
        f'<div style="position:relative;height:9rem">{marks}</div>'
        f'<img alt="{words}" src="data:image/svg+xml;base64,{picture}" '
        'style="width:100%;height:9rem;border-radius:0">'
        '<span></span><div style="display:flex;justify-content:space-between;padding-top:0.3rem">'
        f"<span>1</span><span>finished trials</span><span>{len(history):,}</span></div></div>"
    )


def _round_ticks(low: float, high: float) -> list[float]:
    """Return about four round values that cover a range."""
    rough = (high - low) / 4
    power = 10.0 ** np.floor(np.log10(rough))
    step = power * next(size for size in (1, 2, 2.5, 5, 10) if size * power >= rough)
    return [float(step * place) for place in range(int(low / step), int(high / step) + 2)]


def _digits(ticks: Sequence[float]) -> int:
    """Return the number of decimal places that these ticks need."""
    return next(
        (n for n in range(6) if all(abs(tick - round(tick, n)) < 1e-9 for tick in ticks)), 6
    )


def sparkline(values: Sequence[float], mode: Mode) -> str:
    """Return the step line as a small SVG without axes."""
    if len(values) > MOST_STEPS:
        places = np.linspace(0, len(values) - 1, MOST_STEPS).astype(np.int64)
        values = [values[place] for place in places]
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
