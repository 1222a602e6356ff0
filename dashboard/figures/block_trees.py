"""Trees of blocks: the prefixes of a study, a dot for each, and its partitions."""

import html
import math
from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go  # type: ignore[import-untyped]

from dashboard.data.points import Axis, Bools, Floats, Integers
from dashboard.data.search_tree import NONE, SearchTree
from dashboard.data.trial_table import Branch, TrialTable, branches, is_log
from dashboard.figures.importance import numbers_of, small
from dashboard.figures.style import axis_layout, one_per_cell, ramp, template, thinned, translucent
from dashboard.figures.theme import PALETTES, Mode, Palette
from snn.settings.setting import counted

HEIGHT = 520
BLOCKS, EPOCHS = "blocks", "epochs"  # what is no metric to have along the x axis
MOST_STRONG = 600  # dots on the front, and of those that lead to it or are kept
MOST_FAINT = 240  # dots of the others
COLUMN = 0.72  # width of the dots of one number of blocks


def shown_rows(tree: SearchTree, x: str, y: str) -> Integers:
    """Return the rows that have a dot: all where they are few.

    Of many, all that are on the front, lead to it or are kept stay (of more than MOST_STRONG,
    these evenly), and of the others one for each small cell of the figure.
    """
    known = np.flatnonzero(np.isfinite(tree.figure(y)) & np.isfinite(_across(tree, x)))
    strong = (tree.leads | tree.is_kept)[known]
    axes = [(_axis(tree, x), False), (tree.metric(y), is_log(tree.metric(y)))]
    faint = one_per_cell(known[~strong], axes, MOST_FAINT)
    return np.sort(np.concatenate([thinned(known[strong], MOST_STRONG), faint]))


def search_tree(
    tree: SearchTree, metric: str, mode: Mode, *, x: str = BLOCKS, mark: int | None = None
) -> go.Figure:
    """Return a metric of every prefix over its blocks, the epochs of the search, or a metric.

    `mark` is the number of a trial whose path is drawn.
    """
    palette = PALETTES[mode]
    rows = shown_rows(tree, x, metric)
    across, up = _across(tree, x), tree.figure(metric)
    figure = go.Figure()
    figure.update_layout(
        template=template(mode),
        height=HEIGHT,
        dragmode="zoom",
        hovermode="closest",
        uirevision=f"{x}|{metric}",
        margin={"l": 8, "r": 8, "t": 44, "b": 8},
    )
    is_lead, is_front = tree.leads[rows], tree.on_front[rows]
    others = rows[~is_lead]
    _add_lines(figure, tree, others, across, up, colour=palette.faded, opacity=0.3, width=0.8)
    _add_lines(
        figure, tree, rows[is_lead], across, up, colour=palette.accent, opacity=0.55, width=1.5
    )
    kinds: tuple[tuple[str, Bools, dict[str, object]], ...] = (
        ("beaten", ~is_lead & ~tree.is_kept[rows], _hollow(palette.faded, 6)),
        ("kept", ~is_lead & tree.is_kept[rows], _filled(palette.categories[0], 8, palette)),
        ("leads to the front", is_lead & ~is_front, _hollow(palette.accent, 9)),
        ("on the front", is_front, _filled(palette.accent, 10, palette)),
    )
    for name, chosen, marker in kinds:
        _add_dots(figure, tree, rows[chosen], across, up, metric, name=name, marker=marker)
    _add_path(figure, tree.path(mark), across, up, palette)
    _add_axes(figure, tree, x, metric, palette)
    return figure


def _across(tree: SearchTree, x: str) -> Floats:
    """Return the place of every prefix along the x axis.

    In the column of a number of blocks the first trained is on the left.
    """
    if x == EPOCHS:
        return tree.spent.astype(np.float64)
    if x != BLOCKS:
        return tree.figure(x)
    places = tree.depths.astype(np.float64)
    for depth in np.unique(tree.depths):
        members = np.flatnonzero(tree.depths == depth)
        places[members] += COLUMN * ((np.arange(members.size) + 0.5) / members.size - 0.5)
    return places


def _axis(tree: SearchTree, x: str) -> Axis:
    if x not in (BLOCKS, EPOCHS):
        return tree.metric(x)
    label = "Blocks" if x == BLOCKS else "Epochs trained by the study"
    return Axis(name=x, label=label, unit="", better=None, values=_across(tree, x))


def _add_axes(figure: go.Figure, tree: SearchTree, x: str, metric: str, palette: Palette) -> None:
    up = tree.metric(metric)
    figure.update_yaxes(**axis_layout(up, log=is_log(up), side="y"))
    if x != BLOCKS:
        across = _axis(tree, x)
        log = x != EPOCHS and is_log(across)
        figure.update_xaxes(**axis_layout(across, log=log, side="x"))
        return
    depths = np.unique(tree.depths).tolist()
    figure.update_xaxes(
        title="Blocks",
        tickvals=depths,
        range=[min(depths, default=1) - 0.5, max(depths, default=1) + 0.5],
        showgrid=False,
    )
    for depth in depths[::2]:
        figure.add_vrect(
            x0=depth - 0.5, x1=depth + 0.5, fillcolor=palette.surface, line_width=0, layer="below"
        )


def _hollow(colour: str, size: int) -> dict[str, object]:
    return {"symbol": "circle-open", "size": size, "color": colour, "line": {"width": 1.4}}


def _filled(colour: str, size: int, palette: Palette) -> dict[str, object]:
    return {"size": size, "color": colour, "line": {"width": 1, "color": palette.background}}


def _add_lines(
    figure: go.Figure,
    tree: SearchTree,
    rows: Integers,
    across: Floats,
    up: Floats,
    *,
    colour: str,
    opacity: float,
    width: float,
) -> None:
    """Add a line from each prefix to the one that it extends, as one trace."""
    before = tree.before[rows]
    ends = rows[before != NONE]
    starts = before[before != NONE]
    gap = np.full(ends.size, np.nan)
    figure.add_trace(
        go.Scatter(
            x=np.column_stack([across[starts], across[ends], gap]).ravel().astype(np.float32),
            y=np.column_stack([up[starts], up[ends], gap]).ravel().astype(np.float32),
            mode="lines",
            line={"width": width, "color": translucent(colour, opacity)},
            hoverinfo="skip",
            showlegend=False,
        )
    )


def _add_dots(
    figure: go.Figure,
    tree: SearchTree,
    rows: Integers,
    across: Floats,
    up: Floats,
    metric: str,
    *,
    name: str,
    marker: dict[str, object],
) -> None:
    figure.add_trace(
        go.Scatter(
            x=across[rows].astype(np.float32),
            y=up[rows].astype(np.float32),
            mode="markers",
            name=name,
            showlegend=bool(rows.size),
            marker=marker,
            customdata=tree.trials[rows],
            selected={"marker": {"opacity": 1}},
            unselected={"marker": {"opacity": 1}},
            hovertext=hovers(tree, rows.tolist(), metric),
            hovertemplate="%{hovertext}<extra></extra>",
        )
    )


def _add_path(
    figure: go.Figure, rows: Sequence[int], across: Floats, up: Floats, palette: Palette
) -> None:
    """Add the path of the marked trial, if one of its prefixes was measured."""
    kept = [row for row in rows if np.isfinite(up[row]) and np.isfinite(across[row])]
    if not kept:
        return
    figure.add_trace(
        go.Scatter(
            x=across[kept],
            y=up[kept],
            mode="lines+markers",
            line={"width": 2.5, "color": palette.text},
            marker={
                "symbol": "circle-open",
                "size": 16,
                "color": palette.text,
                "line": {"width": 2.5},
            },
            unselected={"marker": {"opacity": 1}},
            hoverinfo="skip",
            name="marked trial",
        )
    )


def hovers(tree: SearchTree, rows: Sequence[int], metric: str) -> list[str]:
    """Return for each prefix what its last block is, brought and cost."""
    names = tuple(dict.fromkeys((metric, *tree.table.objectives)))
    axes = [tree.metric(name) for name in names]
    texts = []
    for row in rows:
        before = int(tree.before[row])
        depth = int(tree.depths[row])
        lines = [
            f"<b>Trial {tree.trials[row]}</b>  ·  block {depth}: {html.escape(tree.units[row])}"
        ]
        for axis in axes:
            assert axis.values is not None
            value = html.escape(axis.shown(float(axis.values[row])))
            was = "" if before == NONE else html.escape(axis.shown(float(axis.values[before])))
            lines.append(f"{html.escape(axis.label)}  {f'{was} → ' if was else ''}<b>{value}</b>")
        lines.append(f"{words_of_cost(tree, row)}  ·  {fate(tree, row)}")
        texts.append("<br>".join(lines))
    return texts


def words_of_cost(tree: SearchTree, row: int) -> str:
    """Return what the last block of a prefix was trained, and how often it was built upon."""
    count = int(tree.extensions[row])
    built = f", then extended by {counted(count, 'block')}" if count else ""
    return f"{counted(int(tree.epochs[row]), 'epoch')} for this block{built}"


def fate(tree: SearchTree, row: int) -> str:
    """Return what became of a prefix in a word or two."""
    if tree.on_front[row]:
        return "on the front"
    if tree.leads[row]:
        return "leads to the front"
    if not tree.is_measured[row]:
        return "not measured"
    return "kept" if tree.is_kept[row] else "beaten"


# --- partitions --------------------------------------------------------------------------


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
        f"{head}<br>{counted(branch.trials, 'trial')}<br>{html.escape(axis.label)}: "
        f"best <b>{html.escape(best)}</b>, mean <b>{html.escape(mean)}</b>"
    )
