"""The partitions of a study's networks as a tree."""

import html
import math

import plotly.graph_objects as go  # type: ignore[import-untyped]

from dashboard.data.points import Axis
from dashboard.data.trial_table import Branch, TrialTable, branches, is_log
from dashboard.figures.importance import numbers_of, small
from dashboard.figures.style import ramp
from dashboard.figures.theme import PALETTES, Mode


def partitions(table: TrialTable, metric: str, mode: Mode, *, statistic: str = "best") -> go.Figure:
    """Return partitions as a tree of their first blocks; the width is the number of trials.

    The colour is the best value or the mean of the metric over all networks of a branch.
    """
    palette = PALETTES[mode]
    axis = table.metric(metric)
    values = numbers_of(axis)
    tree = branches(table.partitions, values, higher=axis.better == "higher")
    shown = [branch.best if statistic == "best" else branch.mean for branch in tree]
    scaled = [math.log10(v) if is_log(axis) and v > 0 else v for v in shown]
    figure = small(mode, height=380)
    figure.add_trace(
        go.Icicle(
            ids=[branch.id for branch in tree],
            parents=[branch.parent for branch in tree],
            labels=[_label(branch) for branch in tree],
            values=[branch.trials for branch in tree],
            branchvalues="total",
            text=[html.escape(axis.shown(value)) for value in shown],
            texttemplate="<b>%{label}</b><br>%{text}",
            hovertext=[_branch_hover(branch, axis) for branch in tree],
            hovertemplate="%{hovertext}<extra></extra>",
            marker={
                "colors": scaled,
                "colorscale": ramp(palette),
                "reversescale": axis.better == "lower",
                "line": {"width": 2, "color": palette.background},
            },
            tiling={"orientation": "v"},
            textfont={"size": 13},
            root={"color": palette.surface},
        )
    )
    return figure


def _label(branch: Branch) -> str:
    if not branch.path:
        return "all partitions"
    path = html.escape(branch.path)
    return path if branch.is_whole else f"{path} …"


def _branch_hover(branch: Branch, axis: Axis) -> str:
    what = "all" if not branch.path else html.escape(branch.path)
    head = f"<b>{what}</b>" if branch.is_whole or not branch.path else f"begins with <b>{what}</b>"
    best, mean = map(axis.shown, (branch.best, branch.mean))
    return (
        f"{head}<br>{branch.trials:,} trials<br>{html.escape(axis.label)}: "
        f"best <b>{html.escape(best)}</b>, mean <b>{html.escape(mean)}</b>"
    )
