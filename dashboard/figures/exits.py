"""Figures of early exits: images per exit, and metrics against an exit threshold."""

import html
from collections.abc import Mapping, Sequence

import plotly.graph_objects as go  # type: ignore[import-untyped]

from dashboard.data import formats
from dashboard.data.inputs import IMAGES, Inputs
from dashboard.figures.style import template, translucent
from dashboard.figures.theme import PALETTES, Mode
from dashboard.figures.trial import sampled
from snn.settings.measurement import ExitReport, OperatingPoint

_ACROSS = (0.001, 0.5, 0.999)  # classes, exits, right and wrong
_GAPS = 0.15  # share of the height between the nodes of a column


def _stacked(shares: Sequence[float]) -> list[float]:
    """Return the middles of nodes of these heights, from the top, with equal gaps."""
    gap = _GAPS / max(len(shares) - 1, 1)
    places, top = [], 0.0
    for share in shares:
        height = share * (1 - _GAPS)
        places.append(min(max(top + height / 2, 0.001), 0.999))
        top += height + gap
    return places


def flow(reports: Sequence[ExitReport], mode: Mode, inputs: Inputs = IMAGES) -> go.Figure:
    """Return a Sankey figure: images from their classes to their exits, to right or wrong.

    Bands of classes that are hard after the exit's block are stronger.
    """
    palette = PALETTES[mode]
    labels = sorted({report.label for report in reports})
    exits = sorted({report.exit for report in reports})
    totals = {k: sum(r.images for r in reports if r.label == k) for k in labels}
    place = {("class", label): at for at, label in enumerate(labels)}
    place |= {("exit", number): len(place) + at for at, number in enumerate(exits)}
    right, wrong = len(place), len(place) + 1
    colours = sampled(palette, len(exits) + 1)
    links: list[tuple[int, int, int, str, str]] = []
    for report in reports:
        if not report.images:
            continue
        colour = colours[exits.index(report.exit)]
        known = formats.quantity("accuracy", report.correct / report.images)
        text = (
            f"<b>class {html.escape(inputs.name(report.label))}</b> at "
            f"<b>exit {report.exit}</b><br>{report.images:,} of "
            f"{totals[report.label]:,} {inputs.sample}s exit here<br>{known} of them right"
            + ("<br>hard class after this block" if report.is_hard else "")
        )
        strength = 0.75 if report.is_hard else 0.4
        source, target = place["class", report.label], place["exit", report.exit]
        links.append((source, target, report.images, translucent(colour, strength), text))
    for number in exits:
        images = sum(r.images for r in reports if r.exit == number)
        correct = sum(r.correct for r in reports if r.exit == number)
        for target, count, colour, word in (
            (right, correct, palette.categories[2], "right"),
            (wrong, images - correct, palette.accent, "wrong"),
        ):
            if count:
                text = f"<b>exit {number}</b><br>{count:,} of {images:,} {inputs.sample}s {word}"
                links.append(
                    (place["exit", number], target, count, translucent(colour, 0.35), text)
                )
    total = sum(totals.values()) or 1
    columns = (
        [totals[label] / total for label in labels],
        [sum(r.images for r in reports if r.exit == number) / total for number in exits],
        [sum(link[2] for link in links if link[1] == end) / total for end in (right, wrong)],
    )
    figure = go.Figure(
        go.Sankey(
            arrangement="fixed",
            node={
                "x": [x for x, part in zip(_ACROSS, columns, strict=True) for _ in part],
                "y": [y for part in columns for y in _stacked(part)],
                "label": [f"class {html.escape(inputs.name(k))}" for k in labels]
                + [f"exit {number}" for number in exits]
                + ["right", "wrong"],
                "color": [palette.faded] * len(labels)
                + colours[: len(exits)]
                + [palette.categories[2], palette.accent],
                "line": {"width": 0},
                "pad": 4,
                "thickness": 12,
                "hovertemplate": f"%{{label}}<br>%{{value:,}} {inputs.sample}s<extra></extra>",
            },
            link={
                "source": [link[0] for link in links],
                "target": [link[1] for link in links],
                "value": [link[2] for link in links],
                "color": [link[3] for link in links],
                "customdata": [link[4] for link in links],
                "hovertemplate": "%{customdata}<extra></extra>",
            },
            textfont={"color": palette.text, "size": 12, "shadow": "none"},
        )
    )
    figure.update_layout(
        template=template(mode), height=400, margin={"l": 8, "r": 8, "t": 12, "b": 12}
    )
    return figure


def sweep(
    curves: Mapping[int, Sequence[tuple[float, OperatingPoint]]],
    *,
    metric: str,
    chosen: tuple[int, float],
    mode: Mode,
) -> go.Figure:
    """Return a metric against the threshold of one exit, with a line per number of timesteps.

    `curves` are (threshold, point) by timesteps; `chosen` are the current timesteps and threshold.
    """
    palette = PALETTES[mode]
    steps = sorted(curves)
    figure = go.Figure()
    for step, colour in zip(steps, sampled(palette, len(steps)), strict=True):
        is_chosen = step == chosen[0]
        figure.add_trace(
            go.Scatter(
                x=[threshold for threshold, _ in curves[step]],
                y=[point.metrics[metric] for _, point in curves[step]],
                mode="lines",
                name=f"T {step}",
                line={
                    "color": palette.accent if is_chosen else colour,
                    "width": 2.6 if is_chosen else 1.3,
                    "shape": "linear",
                },
                hovertext=[
                    f"T {step}, threshold {threshold:.3g}<br>{html.escape(formats.label(metric))} "
                    f"<b>{formats.quantity(metric, point.metrics[metric])}</b>"
                    for threshold, point in curves[step]
                ],
                hovertemplate="%{hovertext}<extra></extra>",
            )
        )
    figure.add_vline(x=chosen[1], line={"color": palette.accent, "width": 1, "dash": "dot"})
    figure.update_layout(
        template=template(mode),
        height=230,
        dragmode=False,
        showlegend=False,
        hovermode="closest",
        margin={"l": 8, "r": 8, "t": 8, "b": 8},
    )
    figure.update_xaxes(fixedrange=True, title="threshold", nticks=6)
    figure.update_yaxes(fixedrange=True, nticks=5)
    values = [point.metrics[metric] for curve in curves.values() for _, point in curve]
    is_narrow = max(values, default=0.0) - min(values, default=0.0) < 0.05
    share = ".1%" if is_narrow else ".0%"
    figure.update_yaxes(tickformat=share if metric in formats.FRACTIONS else "~s")
    return figure
