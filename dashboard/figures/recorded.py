"""A recording: its events bin by bin, and how the confidence of the exits grows with them."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go  # type: ignore[import-untyped]
from numpy.typing import NDArray
from plotly.subplots import make_subplots  # type: ignore[import-untyped]

from dashboard.figures.style import template, translucent
from dashboard.figures.theme import PALETTES, Mode, Palette
from snn.evaluation.raster import ImageRaster

STRONGEST = 3  # events of a pixel and bin from which a colour is full
BIN_SHOWN_MS = 160  # while it plays


def net_events(frames: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return ON - OFF events of frames (time, polarities, height, width): (time, height, width)."""
    return frames[:, 1] - frames[:, 0] if frames.shape[1] == 2 else frames[:, 0]


def is_row(image: ImageRaster) -> bool:
    """Return whether a recording is of a row of channels and not of a camera."""
    assert image.frames is not None
    return bool(image.frames.shape[3] == 1)


def spans(image: ImageRaster) -> list[str]:
    """Return the time of each bin as a text."""
    assert image.frames is not None
    count = len(image.frames)
    if image.step_ms is None:
        return [f"bin {number} of {count}" for number in range(1, count + 1)]
    step = image.step_ms
    return [f"{step * number:.4g} to {step * (number + 1):.4g} ms" for number in range(count)]


def clip(image: ImageRaster, answered: int, mode: Mode) -> go.Figure:
    """Return the frames of a camera, to be played or chosen; `answered` bins were seen."""
    assert image.frames is not None
    palette = PALETTES[mode]
    net = net_events(image.frames)
    most = _strongest(net)
    shown = np.clip(net, -most, most)
    times = spans(image)

    def picture(place: int) -> go.Heatmap:
        return go.Heatmap(
            z=shown[place], zmin=-most, zmax=most, colorscale=_polarities(palette),
            showscale=False, hovertemplate="x %{x}, y %{y}: %{z} ON - OFF<extra></extra>",
        )  # fmt: skip

    def title(place: int) -> dict[str, object]:
        word = times[place] + ("" if place < answered else " · after the answer")
        colour = palette.text if place < answered else palette.muted
        return {"text": word, "font": {"size": 13, "color": colour}, "x": 0.02, "y": 0.985}

    figure = go.Figure(
        picture(0),
        frames=[
            go.Frame(data=[picture(place)], name=str(place), layout={"title": title(place)})
            for place in range(len(shown))
        ],
    )
    at_once = {"mode": "immediate", "frame": {"duration": 0, "redraw": True}}
    playing = {"frame": {"duration": BIN_SHOWN_MS, "redraw": True}, "fromcurrent": True}
    quiet = {"font": {"color": palette.muted}, "bordercolor": palette.border}
    figure.update_layout(
        template=template(mode),
        title=title(0),
        height=370,
        dragmode=False,
        margin={"l": 0, "r": 0, "t": 28, "b": 44},
        sliders=[
            {
                **quiet, "x": 0.16, "len": 0.84, "y": 0, "pad": {"t": 4}, "ticklen": 0,
                "minorticklen": 0, "bgcolor": palette.border, "activebgcolor": palette.accent,
                "currentvalue": {"visible": False},
                "steps": [
                    {"label": "", "method": "animate", "args": [[str(place)], at_once]}
                    for place in range(len(shown))
                ],
            }
        ],
        updatemenus=[
            {
                **quiet, "type": "buttons", "showactive": False, "x": 0, "y": 0, "xanchor": "left",
                "yanchor": "top", "pad": {"t": 10}, "bgcolor": palette.surface,
                "buttons": [{"label": "▶", "method": "animate", "args": [None, playing]}],
            }
        ],
    )  # fmt: skip
    figure.update_xaxes(visible=False, fixedrange=True, constrain="domain")
    figure.update_yaxes(
        visible=False, fixedrange=True, autorange="reversed", scaleanchor="x", constrain="domain"
    )
    return figure


def _strongest(net: NDArray[np.int64]) -> int:
    """Return the number of events at which a colour is full."""
    return int(min(max(np.abs(net).max(initial=1), 1), STRONGEST))


def _polarities(palette: Palette) -> list[list[object]]:
    """Return the colours from OFF over no event to ON, which differ in lightness, too."""
    off, on = palette.categories[1], palette.categories[0]
    return [[0, off], [0.5, palette.surface], [1, on]]


def timeline(
    image: ImageRaster, *, answered: int, exit_: int, thresholds: Sequence[float], mode: Mode
) -> go.Figure:
    """Return events per bin above the confidence of each exit, over time.

    Of a row of channels the events themselves are on top. Bins after the answer are shaded;
    `thresholds` are those of the exits that may answer early.
    """
    assert image.frames is not None
    palette = PALETTES[mode]
    has_row = is_row(image)
    heights = [0.5, 0.2, 0.3] if has_row else [0.42, 0.58]
    rows = len(heights)
    figure = make_subplots(
        rows=rows, cols=1, row_heights=heights, shared_xaxes=True, vertical_spacing=0.04
    )
    count = len(image.frames)
    step = image.step_ms or 1.0
    middles, ends = step * (np.arange(count) + 0.5), step * (np.arange(count) + 1)
    if has_row:
        net = net_events(image.frames)[:, :, 0]
        most = _strongest(net)
        figure.add_trace(
            go.Heatmap(
                x=middles, z=np.clip(net, -most, most).T, zmin=-most, zmax=most,
                colorscale=_polarities(palette), showscale=False,
                hovertemplate="channel %{y}: %{z} events<extra></extra>",
            ),
            row=1, col=1,
        )  # fmt: skip
        figure.update_yaxes(title="channel", row=1)
    events = np.abs(image.frames).sum(axis=(1, 2, 3))
    colours = [palette.categories[0] if n < answered else palette.faded for n in range(count)]
    figure.add_trace(
        go.Bar(
            x=middles, y=events, marker={"color": colours, "line": {"width": 0}},
            customdata=spans(image),
            hovertemplate="%{customdata}<br><b>%{y:,}</b> events<extra></extra>",
        ),
        row=rows - 1, col=1,
    )  # fmt: skip
    for block, (confidence, predicted) in enumerate(
        zip(image.confidence, image.predicted, strict=True), 1
    ):
        ran = block <= exit_
        colour = palette.categories[(block - 1) % len(palette.categories)]
        colour = colour if ran else translucent(palette.faded, 0.5)
        figure.add_trace(
            go.Scatter(
                x=ends, y=confidence, mode="lines+markers", line={"color": colour, "width": 1.8},
                marker={
                    "size": 7, "color": colour,
                    "symbol": ["circle" if s == image.label else "x" for s in predicted],
                },
                customdata=predicted,
                hovertemplate=f"exit {block}, after %{{x:.4g}}<br><b>%{{y:.1%}}</b> for class "
                "%{customdata}<extra></extra>",
            ),
            row=rows, col=1,
        )  # fmt: skip
    for threshold in sorted({value for value in thresholds if value < 1}):
        figure.add_hline(
            y=threshold, line={"color": palette.accent, "width": 1.2, "dash": "dot"}, row=rows
        )
    for row in range(1, rows + 1):
        figure.add_vline(x=step * answered, line={"color": palette.accent, "width": 2}, row=row)
        if answered < count:
            figure.add_vrect(
                x0=step * answered, x1=step * count, layer="above", line={"width": 0},
                fillcolor=translucent(palette.background, 0.55), row=row,
            )  # fmt: skip
    figure.update_layout(
        template=template(mode),
        height=400 if has_row else 340,
        bargap=0.12,
        dragmode=False,
        showlegend=False,
        margin={"l": 8, "r": 8, "t": 12, "b": 8},
    )
    figure.update_xaxes(range=[0, 1.004 * step * count], fixedrange=True, showgrid=False)
    figure.update_xaxes(title="ms" if image.step_ms is not None else "bin", row=rows)
    figure.update_yaxes(fixedrange=True, nticks=4)
    figure.update_yaxes(title="events", row=rows - 1)
    figure.update_yaxes(title="confidence", range=[0, 1.05], tickformat=".0%", row=rows)
    return figure


def answer(image: ImageRaster, answered: int) -> str:
    """Return a sentence on when the answer was given and what was seen until then."""
    assert image.frames is not None
    events = np.abs(image.frames).sum(axis=(1, 2, 3))
    share = events[:answered].sum() / max(events.sum(), 1)
    when = f"bin {answered} of {len(events)}"
    if image.step_ms is not None:
        when = f"{image.step_ms * answered:.4g} of {image.step_ms * len(events):.4g} ms"
    return f"Answered after {when}, {share:.0%} of the events seen."
