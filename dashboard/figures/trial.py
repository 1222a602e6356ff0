"""Figures of one trial: operating points, exits, training and layers."""

import html
from collections.abc import Mapping, Sequence
from math import nan

import numpy as np
import plotly.graph_objects as go  # type: ignore[import-untyped]

from dashboard.data import formats
from dashboard.data.inputs import IMAGES, Inputs
from dashboard.data.points import metric_axis
from dashboard.figures.style import MOST_CATEGORIES, axis_layout, template
from dashboard.figures.theme import PALETTES, Mode, Palette
from snn.settings.measurement import (
    METRICS,
    ExitReport,
    LayerReport,
    Measurement,
    Metrics,
    OperatingPoint,
    energy_nj,
)

RING = "shown here"  # trace of the operating point shown


def family(
    points: Sequence[OperatingPoint],
    *,
    selected: OperatingPoint,
    mode: Mode,
    front: Sequence[OperatingPoint] = (),
    x: str = "synaptic_ops",
    y: str = "accuracy",
    metrics: Metrics = METRICS,
) -> go.Figure:
    """Return the operating points of one network, the selected one ringed, and the study's front.

    The customdata of a point is its index.
    """
    palette = PALETTES[mode]
    steps = sorted({point.timesteps for point in points})
    colours = sampled(palette, len(steps))
    figure = go.Figure()
    _add_front(figure, front, x, y, palette, metrics)
    for step, colour in zip(steps, colours, strict=True):
        places = [place for place, point in enumerate(points) if point.timesteps == step]
        figure.add_trace(
            go.Scatter(
                x=[points[place].metrics.get(x, nan) for place in places],
                y=[points[place].metrics.get(y, nan) for place in places],
                mode="markers",
                name=f"T {step}" if step else "operating points",
                customdata=places,
                marker={
                    "size": 9,
                    "color": colour,
                    "line": {"width": 1, "color": palette.background},
                },
                selected={"marker": {"opacity": 1}},
                unselected={"marker": {"opacity": 1}},
                hovertext=[_family_hover(points[place], x, y, metrics) for place in places],
                hovertemplate="%{hovertext}<extra></extra>",
            )
        )
    _ring(figure, selected, x, y, palette)
    shown = [*points, *front, selected]
    axes = [
        metric_axis(
            name, np.asarray([p.metrics.get(name, nan) for p in shown], dtype=np.float64), metrics
        )
        for name in (x, y)
    ]
    is_log = axes[0].is_log_by_default and axes[0].ratio > 4
    figure.update_layout(
        template=template(mode), height=420, dragmode="pan", uirevision=f"family-{x}-{y}"
    )
    figure.update_xaxes(**axis_layout(axes[0], log=is_log, side="x"))
    figure.update_yaxes(**axis_layout(axes[1], log=False, side="y"))
    return figure


def _add_front(
    figure: go.Figure,
    front: Sequence[OperatingPoint],
    x: str,
    y: str,
    palette: Palette,
    metrics: Metrics,
) -> None:
    """Add the study's front over these two metrics as a step line."""
    known = [
        p
        for p in front
        if np.isfinite(p.metrics.get(x, nan)) and np.isfinite(p.metrics.get(y, nan))
    ]
    signs = metrics[x].sign, metrics[y].sign
    known.sort(key=lambda p: (signs[0] * p.metrics[x], signs[1] * p.metrics[y]))
    steps: list[OperatingPoint] = []
    for point in known:
        if not steps or signs[1] * point.metrics.get(y, nan) < signs[1] * steps[-1].metrics.get(
            y, nan
        ):
            steps.append(point)
    if not steps:
        return
    figure.add_trace(
        go.Scatter(
            x=[point.metrics[x] for point in steps],
            y=[point.metrics[y] for point in steps],
            mode="lines",
            name="front of the study",
            line={"color": palette.accent, "width": 1.2, "shape": "hv" if signs[0] > 0 else "vh"},
            opacity=0.6,
            hoverinfo="skip",
        )
    )


def _family_hover(point: OperatingPoint, x: str, y: str, metrics: Metrics) -> str:
    lines = [f"<b>{html.escape(point.label)}</b>"] if point.label else []
    if point.timesteps:  # those of an own training have none
        lines += [
            f"<b>T {point.timesteps}</b>  ·  blocks used {point.blocks}",
            f"exit thresholds {formats.thresholds(point.exit_thresholds)}",
        ]
    for name in dict.fromkeys((y, x, "latency_steps")):
        if name in point.metrics:
            value = html.escape(formats.quantity(name, point.metrics[name], metrics))
            lines.append(f"{html.escape(formats.label(name))}  <b>{value}</b>")
    if point.is_sampled:
        lines.append("sampled point")
    return "<br>".join(lines)


def _ring(figure: go.Figure, point: OperatingPoint, x: str, y: str, palette: Palette) -> None:
    figure.add_trace(
        go.Scatter(
            x=[point.metrics.get(x, nan)],
            y=[point.metrics.get(y, nan)],
            mode="markers",
            name=RING,
            marker={
                "size": 18,
                "symbol": "circle-open",
                "color": palette.accent,
                "line": {"width": 2.5, "color": palette.accent},
            },
            unselected={"marker": {"opacity": 1}},
            hoverinfo="skip",
        )
    )


def sampled(palette: Palette, count: int) -> list[str]:
    """Return `count` colours along the palette's ramp, in order."""
    if count == 1:
        return [palette.ramp[2]]
    last = len(palette.ramp) - 1
    return [_blend(palette, place * last / (count - 1)) for place in range(count)]


def _blend(palette: Palette, at: float) -> str:
    below = min(int(at), len(palette.ramp) - 2)
    share = at - below
    pair = [palette.ramp[below], palette.ramp[below + 1]]
    parts = [[int(colour[p : p + 2], 16) for p in (1, 3, 5)] for colour in pair]
    mixed = [round(a + share * (b - a)) for a, b in zip(*parts, strict=True)]
    return "#" + "".join(f"{part:02x}" for part in mixed)


CURVES = (
    ("loss", "Loss"),
    ("accuracy", "Accuracy"),
    ("connectivity", "Connectivity"),
)


def curve(measurements: Sequence[Measurement], name: str, mode: Mode) -> go.Figure:
    """Return one quantity over the epochs of all blocks; each block has its own colour.

    Accuracy is on validation images; a dotted line shows the accuracy on training images.
    """
    palette = PALETTES[mode]
    blocks = sorted({measurement.block for measurement in measurements})
    figure = go.Figure()
    for block, colour in zip(blocks, palette.categories * (1 + len(blocks) // 8), strict=False):
        of_block = [m for m in measurements if m.block == block]
        title = f"block {block}" if block else "all blocks"
        if name == "accuracy":
            figure.add_trace(
                _curve_line(of_block, "train_accuracy", colour, f"{title}, training", dash="dot")
            )
        figure.add_trace(_curve_line(of_block, name, colour, title, dash="solid"))
    figure.update_layout(
        template=template(mode),
        height=260,
        dragmode=False,
        uirevision=name,
        hovermode="x unified",
        showlegend=False,
        margin={"l": 8, "r": 8, "t": 12, "b": 8},
    )
    last = max(measurement.epochs_done for measurement in measurements)
    margin = 0.04 * max(last, 4)
    figure.update_xaxes(
        title="epochs", fixedrange=True, showgrid=False, range=[1 - margin, last + margin], nticks=6
    )
    figure.update_yaxes(
        fixedrange=True, nticks=5, rangemode="tozero" if name == "loss" else "normal"
    )
    if name != "loss":  # equal values would stand in the middle of an axis up to 200 %
        within = {"clipmin": -0.04, "clipmax": 1.04}
        figure.update_yaxes(tickformat=".0%", autorangeoptions=within)
    return figure


def reported_curve(measurements: Sequence[Measurement], name: str, mode: Mode) -> go.Figure:
    """Return one quantity that an own training reported, over its epochs."""
    values = [m.loss if name == "loss" else m.metrics.get(name, np.nan) for m in measurements]
    figure = go.Figure(
        go.Scatter(
            x=[m.epochs_done for m in measurements],
            y=values,
            mode="lines+markers" if len(measurements) < 3 else "lines",
            name=html.escape(formats.label(name)),
            line={"color": PALETTES[mode].categories[0], "width": 2},
        )
    )
    figure.update_layout(
        template=template(mode),
        height=260,
        dragmode=False,
        uirevision=name,
        hovermode="x unified",
        showlegend=False,
        margin={"l": 8, "r": 8, "t": 12, "b": 8},
    )
    figure.update_xaxes(title="epochs", fixedrange=True, showgrid=False, nticks=6)
    figure.update_yaxes(fixedrange=True, nticks=5)
    return figure


def _curve_line(
    measurements: Sequence[Measurement], name: str, colour: str, title: str, *, dash: str
) -> go.Scatter:
    is_share = name != "loss"
    return go.Scatter(
        x=[m.epochs_done for m in measurements],
        y=[getattr(m, name) for m in measurements],
        mode="lines+markers" if len(measurements) < 3 else "lines",
        name=title,
        line={"color": colour, "width": 2 if dash == "solid" else 1.3, "dash": dash},
        hovertemplate="%{y:.1%}" if is_share else "%{y:.4f}",
    )


def exits(reports: Sequence[ExitReport], mode: Mode, inputs: Inputs = IMAGES) -> go.Figure:
    """Return the share of each class per exit, with the accuracy of these images.

    Hatched: the class is hard after the exit's block.
    """
    palette = PALETTES[mode]
    labels = sorted({report.label for report in reports})
    numbers = sorted({report.exit for report in reports})
    totals = {k: sum(r.images for r in reports if r.label == k) for k in labels}
    figure = go.Figure()
    # one colour more than needed, because the end of the ramp is too bright for bars
    for number, colour in zip(numbers, sampled(palette, len(numbers) + 1), strict=False):
        of_exit = {r.label: r for r in reports if r.exit == number}
        bars = _exit_bars(number, of_exit, labels, totals, colour, palette, inputs)
        figure.add_trace(bars)
        # the legend would have the hatches of the first class
        named = {"name": bars.name, "legendgroup": bars.name, "showlegend": True}
        figure.add_trace(go.Bar(x=[None], y=[None], marker={"color": colour}, **named))
    figure.update_layout(
        template=template(mode),
        height=380,
        barmode="stack",
        dragmode=False,
        uirevision="exits",
        uniformtext={"minsize": 9, "mode": "hide"},
        legend={"traceorder": "normal"},
    )
    figure.update_xaxes(title="class", type="category", fixedrange=True, showgrid=False)
    figure.update_yaxes(
        title="share of the class", tickformat=".0%", range=[0, 1], fixedrange=True, nticks=5
    )
    return figure


def _exit_bars(
    number: int,
    of_exit: Mapping[int, ExitReport],
    labels: Sequence[int],
    totals: Mapping[int, int],
    colour: str,
    palette: Palette,
    inputs: Inputs,
) -> go.Bar:
    shares, texts, hovers, hatches = [], [], [], []
    for label in labels:
        report = of_exit.get(label)
        images = report.images if report else 0
        share = images / totals[label] if totals[label] else 0.0
        accuracy = report.correct / images if report and images else None
        is_hard = report is not None and report.is_hard
        shares.append(share)
        texts.append(f"{100 * accuracy:.0f}" if accuracy is not None and share >= 0.07 else "")
        hatches.append("/" if is_hard else "")
        known = formats.quantity("accuracy", accuracy) if accuracy is not None else "–"
        hovers.append(
            f"<b>Class {html.escape(inputs.name(label))}, exit {number}</b><br>{images} of "
            f"{totals[label]} {inputs.sample}s exit here<br>accuracy <b>{known}</b>"
            + ("<br>hard class" if is_hard else "")
        )
    return go.Bar(
        x=[html.escape(inputs.name(label)) for label in labels],
        y=shares,
        name=f"exit {number}",
        legendgroup=f"exit {number}",
        showlegend=False,
        text=texts if len(labels) <= 20 else None,
        textposition="inside",
        insidetextanchor="middle",
        textangle=0,
        textfont={"color": readable_on(colour), "size": 11},
        marker={
            "color": colour,
            "line": {"width": 1, "color": palette.background},
            "pattern": {
                "shape": hatches,
                "fgcolor": palette.background,
                "fgopacity": 0.45,
                "fillmode": "overlay",
                "size": 7,
                "solidity": 0.2,
            },
        },
        hovertext=hovers,
        hovertemplate="%{hovertext}<extra></extra>",
    )


def readable_on(colour: str) -> str:
    """Return black or white, whichever has more contrast to `colour`."""
    red, green, blue = (int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5))
    return "#10151c" if 0.299 * red + 0.587 * green + 0.114 * blue > 0.55 else "#ffffff"


LAYER_BARS = (
    ("spikes_per_inference", "Spikes per image"),
    ("connectivity", "Existing connections"),
    ("operations", "Operations per image"),
    ("energy", "Energy per image (estimate)"),
)


def layers(reports: Sequence[LayerReport], name: str, mode: Mode) -> go.Figure:
    """Return one bar per spiking layer, in the order of the network, coloured by block."""
    palette = PALETTES[mode]
    places = [f"{place + 1}" for place in range(len(reports))]
    values = [layer_value(report, name) for report in reports]
    texts = [_layer_text(report, name) for report in reports]
    colours = [palette.categories[(report.block - 1) % MOST_CATEGORIES] for report in reports]
    figure = go.Figure(
        go.Bar(
            x=values,
            y=places,
            orientation="h",
            text=texts,
            textposition="outside",
            textfont={"color": palette.muted, "size": 12},
            cliponaxis=False,
            marker={"color": colours, "cornerradius": 3},
            hovertext=[_layer_hover(report) for report in reports],
            hovertemplate="%{hovertext}<extra></extra>",
        )
    )
    figure.update_layout(
        template=template(mode),
        height=60 + 26 * len(reports),
        dragmode=False,
        uirevision=name,
        margin={"l": 8, "r": 60, "t": 8, "b": 8},
    )
    top = max((value for value in values if np.isfinite(value)), default=0.0) or 1.0
    figure.update_xaxes(visible=False, range=[0, top * 1.02], fixedrange=True)
    figure.update_yaxes(
        autorange="reversed",
        fixedrange=True,
        showgrid=False,
        type="category",
        tickvals=places,
        ticktext=[html.escape(f"{r.block} · {r.name}") for r in reports],
    )
    return figure


def layer_value(report: LayerReport, name: str) -> float:
    """Return spikes, share of connections, operations of both kinds, or nanojoules of a layer."""
    if name == "connectivity":
        return report.connections / report.weights if report.weights else 0.0
    if name == "operations":
        return report.synaptic_ops + report.macs
    if name == "energy":
        return energy_nj(report.synaptic_ops, report.macs)
    return report.spikes_per_inference


def _layer_text(report: LayerReport, name: str) -> str:
    value = layer_value(report, name)
    if name == "connectivity":
        return formats.quantity("connectivity", value)
    if name == "energy":
        return formats.quantity("est_energy_nj", value)
    return formats.count(value)


def _layer_hover(report: LayerReport) -> str:
    share = layer_value(report, "connectivity")
    rows = (
        ("neurons", f"{report.neurons:,}"),
        ("spikes per image", formats.count(report.spikes_per_inference)),
        ("spikes per neuron and timestep", f"{report.spike_rate:.3f}"),
        ("connections", f"{report.connections:,} of {report.weights:,} ({share:.1%})"),
        ("synaptic operations per image", formats.count(report.synaptic_ops)),
        ("multiply-accumulates per image", formats.count(report.macs)),
        ("energy, estimated", _layer_text(report, "energy")),
    )
    head = f"<b>{html.escape(report.name)}</b>, block {report.block}"
    return "<br>".join([head, *(f"{name}  <b>{value}</b>" for name, value in rows)])
