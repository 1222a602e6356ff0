"""Parameter importance of a study, and metrics against parameters."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import streamlit as st

from dashboard.data import formats
from dashboard.data.parameter_groups import parameter_groups
from dashboard.data.search_tree import has_shared_blocks
from dashboard.data.study_view import parsed_study
from dashboard.data.trial_table import TrialTable, trial_table
from dashboard.figures import importance, importance_table
from dashboard.figures.block_trees import partitions
from dashboard.figures.parallel import MOST_AXES, parallel
from dashboard.figures.style import Figure
from dashboard.parts import frame
from dashboard.parts.marked_trial import marked, marked_row, marking
from dashboard.parts.store_cache import (
    is_anything_running,
    open_store,
    store_url,
    study_view,
    trials_without_configs_of,
)
from dashboard.parts.tree_view import tree_of, tree_section
from snn.settings.setting import counted

if TYPE_CHECKING:  # it loads Optuna
    from search.samplers.importance import Importance

VIEWS = {
    "slices": "One by one",
    "pairs": "Two at a time",
    "parallel": "All together",
    "partitions": "Partitions",
    "tree": "Search tree",
    "time": "Over time",
}
METHODS = {
    "ped-anova": ("PED-ANOVA", "how much the best tenth of the trials differs in this parameter"),
    "fanova": ("fANOVA", "how much of the variance this parameter explains by itself"),
}
ENOUGH = 10  # measured trials from which importance is computed


def importance_page() -> None:
    """Draw the page, again every few seconds while a study runs."""
    url = store_url()
    frame.live(lambda: _body(url), is_running=lambda: is_anything_running(url))


def _body(url: str) -> None:
    with frame.store_errors():
        top = st.container(horizontal=True, vertical_alignment="bottom", gap="medium")
        with top, st.container(width=320):
            study = frame.choose_study(url)
        objectives, table, version = _read(url, study)
    options = [*objectives, *(name for name in table.declared if name not in objectives)]
    with top, st.container(width=290):
        metric = frame.choose(
            "Metric", "metric", options, options[0], show=formats.label, help=_HELP
        )
    if not len(table):
        _nothing_yet(table)
        return
    ranked = _importance(url, study, version, objectives, table)
    st.subheader("Parameters and metric", anchor=False)
    has_tree = has_shared_blocks(trials_without_configs_of(url, study))
    has_view = {"tree": has_tree, "partitions": table.has_settings}
    views = {name: words for name, words in VIEWS.items() if has_view.get(name, True)}
    chosen = frame.pick_one("View", "view", views)
    if chosen != "partitions":
        marked_row(study, table, metric, objectives)
    if chosen == "tree":
        tree_section(tree_of(url, study), table, metric)
        return
    draw: dict[str, Callable[[TrialTable, list[str], str, tuple[str, ...]], None]] = {
        "slices": _slices,
        "pairs": _pairs,
        "parallel": _parallel,
        "partitions": _partitions,
        "time": _time,
    }
    draw[chosen](table, ranked, metric, objectives)


_HELP = "The figures below show this metric of each trial at its sampled operating point."


def _read(url: str, study: str) -> tuple[tuple[str, ...], TrialTable, str]:
    store = open_store(url)
    version = store.version(study)
    return store.stored_study(study).objectives, _table(url, study, version), version


@st.cache_resource(show_spinner=False, max_entries=8)
def _table(url: str, study: str, version: str) -> TrialTable:
    points = study_view(url, study).table
    return trial_table(
        trials_without_configs_of(url, study),
        points.metrics,
        partitions=dict(zip(points.trial_numbers.tolist(), points.trial_partitions, strict=True)),
        has_settings=points.has_settings,
    )


def _nothing_yet(table: TrialTable) -> None:
    st.subheader("No measured trial yet", anchor=False)
    if table.finished:
        st.text(
            f"{counted(table.finished, 'trial')} ended without a measurement: failed or stopped "
            "early. The Network page shows the reason."
        )
    else:
        st.text("Importance appears when trials are complete.")


def _importance(
    url: str, study: str, version: str, objectives: tuple[str, ...], table: TrialTable
) -> list[str]:
    """Draw the table of importances; return the parameters, most important first."""
    st.subheader("Parameter importance", anchor=False)
    names = list(table.params)
    if not names:
        st.text(
            "All measured trials have the same parameter values, so importance cannot be computed."
        )
        return names
    if len(table) < ENOUGH:
        measured = counted(len(table), "measured trial")
        st.text(f"{measured}. Importance is computed from {ENOUGH} trials on.")
        return names
    method = frame.pick_one("Method", "by", {name: words[0] for name, words in METHODS.items()})
    found = _importances(url, study, version, objectives, method)
    if not found:
        st.text("The objectives have too few finite values to compute importance.")
        return names
    in_share = {n: table.share_with(n) for n in names}
    st.html(
        importance_table.table(
            found, in_share, frame.mode(), metrics=table.declared, has_settings=table.has_settings
        )
    )
    looked_at = max(each.trials for each in found)
    thinned = f" of {len(table):,}" if looked_at < len(table) else ""
    st.caption(
        f"Importance per objective, in shares that add up to 1: {METHODS[method][1]}. "
        f"Computed from {looked_at:,}{thinned} trials. What each unit, block or exit has for "
        "itself is one row, with the sum."
    )
    ranked = [name for group in importance_table.order(found) for name in group.members]
    return [*ranked, *(name for name in names if name not in ranked)]


@st.cache_resource(show_spinner="Computing importance", max_entries=16)
def _importances(
    url: str, study: str, version: str, objectives: tuple[str, ...], method: str
) -> list["Importance"]:
    from search.samplers.importance import importances  # Optuna takes a second to load

    stored = open_store(url).stored_study(study)
    asked = parsed_study(stored)
    return importances(
        trials_without_configs_of(url, study),
        objectives,
        asked.space if asked else None,
        method="fanova" if method == "fanova" else "ped-anova",
        declared=stored.metrics,
    )


def _grouped(table: TrialTable, names: list[str], draw: Callable[[str], None]) -> None:
    """Draw a figure for each parameter; those of units, blocks and exits where they are opened."""
    groups = parameter_groups(names)
    meaning = formats.meaning if table.has_settings else lambda name: ""
    _grid([group.name for group in groups if group.is_single], draw, meaning)
    for group in groups:
        if group.is_single:
            continue
        opened = st.expander(
            formats.verbatim(f"{group.label}: {group.count}"),
            key=f"group-{group.name}",
            on_change="rerun",
        )
        if opened.open:
            with opened:
                _grid(list(group.members), draw, meaning)


def _grid(names: list[str], draw: Callable[[str], None], meaning: Callable[[str], str]) -> None:
    for start in range(0, len(names), 3):
        for column, name in zip(st.columns(3, gap="large"), names[start : start + 3], strict=False):
            with column:
                st.markdown(
                    f"**{formats.verbatim(formats.label(name))}**", help=meaning(name) or None
                )
                draw(name)


def _dots(figure: Figure, *, key: str, alt: str) -> None:
    """Draw a figure whose dots are trials; a click marks one."""
    frame.chart(figure, key, alt, on_select=marking(key))


def _slices(table: TrialTable, names: list[str], metric: str, objectives: tuple[str, ...]) -> None:
    st.caption(
        f"{formats.label(metric)} against each parameter. Dot: trial. Line: median. Band: 80 % of "
        "the trials. Click a dot to mark its trial."
    )
    mark = marked(table)

    def draw(name: str) -> None:
        _dots(
            importance.slice_of(table, name, metric, frame.mode(), mark=mark),
            key=f"slice-{name}",
            alt=f"{formats.label(metric)} along {formats.label(name)}",
        )

    _grouped(table, names, draw)


def _time(table: TrialTable, names: list[str], metric: str, objectives: tuple[str, ...]) -> None:
    st.caption(
        f"Values of each trial. Stronger colour: better {formats.label(metric).lower()}. "
        "Line: median. Click a dot to mark its trial."
    )
    mark = marked(table)

    def draw(name: str) -> None:
        _dots(
            importance.tried(table, name, metric, frame.mode(), mark=mark),
            key=f"tried-{name}",
            alt=f"Values of {formats.label(name)} over the trials",
        )

    _grouped(table, names, draw)


def _pairs(table: TrialTable, names: list[str], metric: str, objectives: tuple[str, ...]) -> None:
    if len(names) < 2:
        st.text("Fewer than two parameters have several values.")
        return
    with st.container(horizontal=True, gap="small"):
        with st.container(width=290):
            across = frame.choose("Horizontal axis", "across", names, names[0], show=formats.label)
        others = [name for name in names if name != across]
        with st.container(width=290):
            up = frame.choose("Vertical axis", "up", others, others[0], show=formats.label)
    st.caption(
        f"{formats.label(metric)} over two parameters: smoothed mean of near trials if both are "
        "numbers, otherwise the median of each cell. Empty: no trial is near. Click a dot to mark "
        "its trial."
    )
    _dots(
        importance.pair(table, across, up, metric, frame.mode(), mark=marked(table)),
        key="pair",
        alt=f"{formats.label(metric)} over {formats.label(across)} and {formats.label(up)}",
    )


def _parallel(
    table: TrialTable, names: list[str], metric: str, objectives: tuple[str, ...]
) -> None:
    metrics = list(dict.fromkeys((*objectives, metric)))
    shown = min(len(names), MOST_AXES)
    left_out = f" The {shown} most important parameters are shown." if shown < len(names) else ""
    st.caption(
        f"Line: trial. Stronger colour: better {formats.label(metric).lower()}. Drag along an axis "
        f"to select the lines that pass there; click the axis to end that.{left_out}"
    )
    with frame.scrolling("parallel"):
        frame.chart(
            parallel(table, names, metrics, metric, frame.mode(), mark=marked(table)),
            "parallel",
            "Parallel coordinates of all parameters and objectives",
        )


def _partitions(
    table: TrialTable, names: list[str], metric: str, objectives: tuple[str, ...]
) -> None:
    if not any(table.partitions):
        st.text("The partitions of these trials are unknown.")
        return
    statistic = frame.pick_one("Colour by", "statistic", {"best": "Best", "mean": "Mean"})
    st.caption(
        "Partitions as a tree of their first blocks. Width: number of trials. Colour: "
        f"{statistic} {formats.label(metric).lower()} of all networks of the branch. Click a "
        "branch to enlarge it."
    )
    frame.chart(
        partitions(table, metric, frame.mode(), statistic=statistic),
        "partitions",
        f"{formats.label(metric)} by partition, as a tree of first blocks",
    )


importance_page()
