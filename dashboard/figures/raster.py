"""The spikes of one image in a network, and the exit that it takes."""

import html
from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go  # type: ignore[import-untyped]
from numpy.typing import NDArray
from plotly.subplots import make_subplots  # type: ignore[import-untyped]

from dashboard.data import formats
from dashboard.data.inputs import IMAGES, Inputs
from dashboard.figures.style import template, translucent
from dashboard.figures.theme import PALETTES, Mode, Palette
from snn.evaluation.raster import ImageRaster, LayerRaster
from snn.settings.setting import counted

MOST_NEURONS = 32  # drawn of one layer
GAP = 8  # rows above each layer, for its name
ROW_PX = 2.6


def described(
    raster: ImageRaster,
    timesteps: int,
    thresholds: Sequence[float],
    exit_: int,
    inputs: Inputs = IMAGES,
) -> str:
    """Return a sentence on the answer of the exit."""
    predicted = int(raster.predicted[exit_ - 1, timesteps - 1])
    confidence = float(raster.confidence[exit_ - 1, timesteps - 1])
    steps = counted(timesteps, "timestep")
    answer = (
        "right" if predicted == raster.label else f"wrong, the class is {inputs.name(raster.label)}"
    )
    limit = f" (threshold {thresholds[exit_ - 1]:.3g})" if exit_ <= len(thresholds) else ""
    return (
        f"After {steps} the highest class probability at exit {exit_} is "
        f"{formats.quantity('accuracy', confidence)}{limit}, "
        f"for class {inputs.name(predicted)}: {answer}."
    )


def raster(
    image: ImageRaster, *, timesteps: int, thresholds: Sequence[float], exit_: int, mode: Mode
) -> go.Figure:
    """Return blocks from left to right over their timesteps: spikes above, confidence below.

    Blocks after the exit taken (from 1) were not executed and are faded, and so are timesteps
    beyond those of the operating point. At most MOST_NEURONS neurons of a layer are drawn, evenly
    chosen from those that fired.
    """
    palette = PALETTES[mode]
    blocks = sorted({layer.block for layer in image.layers})
    depth = len(blocks)
    figure = make_subplots(
        rows=2,
        cols=depth,
        row_heights=[0.78, 0.22],
        horizontal_spacing=0.025 if depth > 1 else 0.0,
        vertical_spacing=0.05,
        shared_xaxes=True,
    )
    steps = image.layers[0].spikes.shape[0]
    tallest = max(_rows([x for x in image.layers if x.block == block]) for block in blocks)
    for column, block in enumerate(blocks, 1):
        ran = block <= exit_
        own = [layer for layer in image.layers if layer.block == block]
        colour = palette.categories[(block - 1) % len(palette.categories)]
        _add_spikes(figure, own, column, timesteps if ran else 0, colour, palette)
        _add_confidence(
            figure, image, block, column, timesteps if ran else 0, thresholds, colour, palette
        )
        figure.update_yaxes(range=[tallest, 0], visible=False, fixedrange=True, row=1, col=column)
        word = f"block {block}" if ran else f"block {block}: not run"
        figure.add_annotation(
            text=f"<b>{word}</b>",
            x=0.5,
            y=1.02,
            yanchor="bottom",
            xref=f"x{_axis(column)} domain",
            yref=f"y{_axis(column)} domain",
            showarrow=False,
            font={"color": colour if ran else palette.muted, "size": 13},
        )
        if block == exit_:
            _add_exit_line(figure, column, depth, timesteps, palette)
    figure.update_layout(
        template=template(mode),
        height=190 + int(ROW_PX * tallest),
        dragmode=False,
        showlegend=False,
        hovermode="closest",
        margin={"l": 8, "r": 8, "t": 36, "b": 8},
    )
    every = -(-steps // 8)
    figure.update_xaxes(
        range=[0.4, steps + 0.6], fixedrange=True, showgrid=False, tick0=1, dtick=every
    )
    figure.update_xaxes(title="timestep", row=2)
    figure.update_yaxes(range=[0, 1.05], tickformat=".0%", nticks=3, fixedrange=True, row=2)
    return figure


def _axis(column: int) -> str:
    return "" if column == 1 else str(column)


def _rows(layers: Sequence[LayerRaster]) -> int:
    return sum(min(layer.spikes.shape[1], MOST_NEURONS) + GAP for layer in layers)


def shown_neurons(spikes: NDArray[np.bool_], most: int = MOST_NEURONS) -> NDArray[np.bool_]:
    """Return at most `most` neurons of (time, neurons), evenly chosen from those that fired.

    Silent neurons are added if fewer fired.
    """
    neurons = spikes.shape[1]
    if neurons <= most:
        return spikes
    fired = np.flatnonzero(spikes.any(axis=0))
    if fired.size > most:
        fired = fired[np.linspace(0, fired.size - 1, most).astype(np.int64)]
    silent = np.flatnonzero(~spikes.any(axis=0))[: most - fired.size]
    kept: NDArray[np.bool_] = spikes[:, np.sort(np.concatenate([fired, silent]))]
    return kept


def _add_spikes(
    figure: go.Figure,
    layers: Sequence[LayerRaster],
    column: int,
    ran: int,
    colour: str,
    palette: Palette,
) -> None:
    """Add a cell for each neuron and timestep, filled for a spike."""
    row = 0
    for layer in layers:
        row += GAP
        shown = shown_neurons(layer.spikes)
        cells = shown.astype(np.int8).T  # (neurons, time)
        cells[:, ran:] *= 2  # not executed
        count, neurons = int(layer.spikes.sum()), layer.spikes.shape[1]
        figure.add_trace(
            go.Heatmap(
                x=np.arange(1, shown.shape[0] + 1),
                y=row + np.arange(shown.shape[1]),
                z=cells,
                zmin=0,
                zmax=2,
                colorscale=[
                    [0, palette.surface],
                    [0.25, palette.surface],
                    [0.25, colour],
                    [0.75, colour],
                    [0.75, palette.border],
                    [1, palette.border],
                ],
                showscale=False,
                xgap=3,
                ygap=0.6,
                hovertemplate=f"{html.escape(layer.name)}<br>timestep %{{x}}<br>"
                f"{counted(count, 'spike')} of {counted(neurons, 'neuron')} in all<extra></extra>",
            ),
            row=1,
            col=column,
        )
        note = f"{html.escape(layer.name)}  ·  {counted(count, 'spike')}"
        if neurons > shown.shape[1]:
            note += f"  ·  {shown.shape[1]} of {neurons:,} neurons"
        figure.add_annotation(
            text=note,
            x=0,
            xanchor="left",
            y=row - 1,
            yanchor="bottom",
            xref=f"x{_axis(column)} domain",
            yref=f"y{_axis(column)}",
            showarrow=False,
            font={"color": palette.muted, "size": 11},
        )
        row += shown.shape[1]


def _add_confidence(
    figure: go.Figure,
    image: ImageRaster,
    block: int,
    column: int,
    ran: int,
    thresholds: Sequence[float],
    colour: str,
    palette: Palette,
) -> None:
    """Add the highest class probability of the block's exit per timestep, and its threshold."""
    confidence, predicted = image.confidence[block - 1], image.predicted[block - 1]
    steps = np.arange(1, confidence.size + 1)
    shown = [colour if step <= ran else translucent(palette.faded, 0.5) for step in steps]
    figure.add_trace(
        go.Scatter(
            x=steps,
            y=confidence,
            mode="lines+markers",
            line={"color": colour if ran else translucent(palette.faded, 0.5), "width": 1.5},
            marker={
                "size": 7,
                "color": shown,
                "symbol": ["circle" if s == image.label else "x" for s in predicted],
            },
            customdata=predicted,
            hovertemplate="timestep %{x}<br><b>%{y:.1%}</b> for class %{customdata}<extra></extra>",
        ),
        row=2,
        col=column,
    )
    if block <= len(thresholds):
        figure.add_shape(
            type="line",
            x0=0,
            x1=1,
            xref=f"x{_axis(column + _columns(figure))} domain",
            y0=thresholds[block - 1],
            y1=thresholds[block - 1],
            yref=f"y{_axis(column + _columns(figure))}",
            line={"color": palette.accent, "width": 1.2, "dash": "dot"},
        )


def _columns(figure: go.Figure) -> int:
    """Return the columns of the grid; axes of the second row are numbered after the first's."""
    return len(figure._grid_ref[0])


def _add_exit_line(
    figure: go.Figure, column: int, depth: int, timesteps: int, palette: Palette
) -> None:
    """Add the line at the timestep of the exit."""
    for axis in (column, column + depth):
        figure.add_shape(
            type="line",
            x0=timesteps + 0.5,
            x1=timesteps + 0.5,
            xref=f"x{_axis(axis)}",
            y0=0,
            y1=1,
            yref=f"y{_axis(axis)} domain",
            line={"color": palette.accent, "width": 2},
        )


def picture(image: ImageRaster, mode: Mode) -> go.Figure:
    """Return the image."""
    pixels = image.pixels
    if pixels.ndim == 2:
        trace = go.Heatmap(
            z=pixels,
            colorscale=[[0, "#000000"], [1, "#ffffff"]],
            showscale=False,
            hoverinfo="skip",
        )
    else:
        trace = go.Image(z=pixels, hoverinfo="skip")
    figure = go.Figure(trace)
    figure.update_layout(
        template=template(mode),
        height=190,
        dragmode=False,
        margin={"l": 0, "r": 0, "t": 0, "b": 0},
    )
    figure.update_xaxes(visible=False, fixedrange=True, constrain="domain")
    figure.update_yaxes(
        visible=False, fixedrange=True, autorange="reversed", scaleanchor="x", constrain="domain"
    )
    return figure
