"""Figures of rungs: all trials at a rung, and marks in the curves of one trial."""

import html
from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go  # type: ignore[import-untyped]

from dashboard.data import formats
from dashboard.data.points import Axis, metric_axis
from dashboard.data.stop_reason import StopReason
from dashboard.figures.style import axis_layout, template, translucent
from dashboard.figures.theme import PALETTES, Mode, Palette
from search.trial.rung import RungPoint, RungReport
from snn.settings.measurement import Metrics
from snn.settings.setting import counted

TRIAL = "trial"  # the horizontal axis if there is only one metric


def at_rung(reason: StopReason, *, x: str, y: str, mode: Mode) -> go.Figure:
    """Return the points of all trials at the rung, this trial's ringed, dominating ones strong.

    `x` may be `trial`, the number of the trial. The customdata of a point is its trial.
    """
    palette = PALETTES[mode]
    superior = {n: reason.others[n] for n in reason.superiors if n in reason.others}
    rest = {n: report for n, report in reason.others.items() if n not in superior}
    figure = go.Figure()
    plain = {"size": 7, "color": translucent(palette.faded, 0.55)}
    strong = {"size": 9, "color": palette.categories[0]}
    strong["line"] = {"width": 1, "color": palette.background}
    own = {"size": 15, "symbol": "circle-open", "color": palette.accent}
    own["line"] = {"width": 2.5, "color": palette.accent}
    for name, reports, marker in (
        ("other trials", rest, plain),
        ("trials that dominate it", superior, strong),
        ("this trial", {reason.trial: reason.report}, own),
    ):
        if reports:
            figure.add_trace(_points(name, reports, x, y, marker, reason.declared))
    every = {**reason.others, reason.trial: reason.report}
    axes = [_axis(every, name, reason.declared) for name in (x, y)]
    is_log = [axis.is_log_by_default and axis.ratio > 4 for axis in axes]
    figure.update_layout(template=template(mode), height=320, dragmode=False, uirevision=f"{x}|{y}")
    figure.update_xaxes(**axis_layout(axes[0], log=is_log[0], side="x"), fixedrange=True)
    figure.update_yaxes(**axis_layout(axes[1], log=is_log[1], side="y"), fixedrange=True)
    return figure


def _points(
    name: str,
    reports: Mapping[int, RungReport],
    x: str,
    y: str,
    marker: dict[str, object],
    declared: Metrics,
) -> go.Scatter:
    shown = [(number, point) for number, each in reports.items() for point in each.points]
    return go.Scatter(
        x=[_value(number, point, x) for number, point in shown],
        y=[_value(number, point, y) for number, point in shown],
        mode="markers",
        name=name,
        marker=marker,
        customdata=[number for number, _ in shown],
        selected={"marker": {"opacity": 1}},
        unselected={"marker": {"opacity": 1}},
        hovertext=[_hover(number, reports[number], point, declared) for number, point in shown],
        hovertemplate="%{hovertext}<extra></extra>",
    )


def _value(number: int, point: RungPoint, name: str) -> float:
    return float(number) if name == TRIAL else point.metrics[name]


def _hover(number: int, report: RungReport, point: RungPoint, declared: Metrics) -> str:
    lines = [
        f"<b>Trial {number}</b>",
        f"after {report.epochs_done} of {counted(report.epochs_total, 'epoch')}",
    ]
    for name, value in point.metrics.items():
        shown = html.escape(formats.quantity(name, value, declared))
        lines.append(f"{html.escape(formats.label(name))}  <b>{shown}</b>")
    return "<br>".join(lines)


def _axis(reports: Mapping[int, RungReport], name: str, declared: Metrics) -> Axis:
    values = [
        _value(number, point, name) for number, each in reports.items() for point in each.points
    ]
    column = np.asarray(values, dtype=np.float64)
    if name == TRIAL:
        return Axis(name=name, label="Trial", unit="", better=None, values=column)
    return metric_axis(name, column, declared)


def add_rungs(
    figure: go.Figure,
    rungs: Sequence[RungReport],
    *,
    stopped: StopReason | None,
    name: str,
    mode: Mode,
) -> None:
    """Mark the rungs in a curve, and for `accuracy` the values measured at them.

    Trials compared with at the last rung are ticks at their epochs.
    """
    palette = PALETTES[mode]
    for report in rungs:
        is_end = stopped is not None and report.rung == stopped.report.rung
        figure.add_vline(
            x=report.epochs_done,
            line={
                "width": 1.5 if is_end else 1,
                "dash": "solid" if is_end else "dot",
                "color": palette.accent if is_end else palette.muted,
            },
            annotation={
                "text": "stopped here" if is_end else f"rung {report.rung}",
                "font": {"size": 11, "color": palette.accent if is_end else palette.muted},
                "yanchor": "bottom",
                "xanchor": "left",
                "xshift": -2,
            },
            annotation_position="top",
        )
    if rungs:
        # some of the epochs that were not trained, without squeezing the others
        last = min(rungs[-1].epochs_total, 2 * rungs[-1].epochs_done + 2)
        if stopped is not None:
            figure.update_xaxes(range=[1 - 0.04 * last, 1.02 * last])
        figure.update_layout(margin={"t": 26})
    if name != "accuracy":
        return
    if stopped is not None:
        _add_rivals(figure, stopped, palette)
    known = [each for each in rungs if name in each.sampled.metrics]
    if known:
        figure.add_trace(
            go.Scatter(
                x=[each.epochs_done for each in known],
                y=[each.sampled.metrics[name] for each in known],
                mode="markers",
                name="at the rung",
                marker={
                    "symbol": "diamond",
                    "size": 9,
                    "color": palette.accent,
                    "line": {"width": 1, "color": palette.background},
                },
                hovertemplate="%{y:.1%}",
            )
        )


def _add_rivals(figure: go.Figure, stopped: StopReason, palette: Palette) -> None:
    for name, colour, is_superior in (
        ("other trials", palette.faded, False),
        ("trials that dominate it", palette.categories[0], True),
    ):
        reports = [
            report
            for number, report in stopped.others.items()
            if (number in stopped.superiors) == is_superior and "accuracy" in report.sampled.metrics
        ]
        if reports:
            figure.add_trace(
                go.Scatter(
                    x=[each.epochs_done for each in reports],
                    y=[each.sampled.metrics["accuracy"] for each in reports],
                    mode="markers",
                    name=name,
                    marker={
                        "symbol": "line-ew",
                        "size": 11,
                        "line": {"width": 2, "color": colour},
                    },
                    hoverinfo="skip",
                )
            )
