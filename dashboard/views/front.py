"""The front of one study: see it, choose points, download them."""

import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import streamlit as st

from dashboard.data import formats, frames
from dashboard.data.inputs import inputs_of_study
from dashboard.data.point_filter import VisiblePoints, visible_points
from dashboard.data.points import PointTable
from dashboard.data.study_view import StudyView
from dashboard.figures.front import HEIGHT, front, not_drawn
from dashboard.figures.front_space import front_in_space
from dashboard.figures.history import strip
from dashboard.figures.style import MOST_FADED
from dashboard.parts import frame
from dashboard.parts.front_controls import ControlState, draw_controls
from dashboard.parts.front_selection import MOST_SELECTED, ids_in, take_selection
from dashboard.parts.store_cache import is_anything_running, store_url, study_view
from search.trial.trial import TrialState
from snn.settings.setting import counted

MOST_CARDS = 6
CHART = "front-chart"
TOOLS = [["select2d", "lasso2d", "pan2d"], ["resetScale2d", "toImage"]]
ENDED = {TrialState.FAILED: "failed", TrialState.PRUNED: "stopped early"}


def front_page() -> None:
    """Draw the page, again every few seconds while a study runs."""
    url = store_url()
    frame.live(lambda: _body(url), is_running=lambda: is_anything_running(url))


def _body(url: str) -> None:
    with frame.store_errors():
        top = st.container(horizontal=True, vertical_alignment="bottom", gap="medium")
        with top, st.container(width=320):
            study = frame.choose_study(url)
        view = study_view(url, study)
        with top:
            _headline(view, visible_points(view.table))
        if not len(view.table):
            _nothing_yet(view)
            return
        controls = draw_controls(view)
        visible = visible_points(view.table, controls.targets, per_trial=controls.per_trial)
        left, right = st.columns([7, 4], gap="medium")
        with left:
            _chart(view, controls, visible)
        with right:
            marked = _table(view, visible)
        _below(url, view, visible, marked)


def _headline(view: StudyView, visible: VisiblePoints) -> None:
    table = view.table
    first = "accuracy" if "accuracy" in table.metrics else table.objectives[0]
    axis = table.axis(first)
    best = table.figures[first][visible.front]
    best = best[np.isfinite(best)]
    _, known = view.known_hypervolumes
    for label, value, meaning in (
        ("On the front", f"{visible.front.size:,}", "Operating points on the Pareto front."),
        (
            f"Best {formats.label(first).lower()}",
            formats.quantity(
                first,
                float(best.max() if axis.better == "higher" else best.min()),
                table.metrics,
            )
            if best.size
            else formats.NOTHING,
            inputs_of_study(view.study).worded("Best of the front, on validation images."),
        ),
        (
            "Hypervolume",
            f"{known[-1]:.3f}" if known else formats.NOTHING,
            "Share (0 to 1) of the box between the ideal point and the reference point that the "
            "front dominates. Higher is better.",
        ),
        (
            "Complete trials",
            f"{view.counts.get(TrialState.COMPLETE, 0):,}",
            "Trials that were trained to the end and evaluated.",
        ),
        ("Operating points", f"{len(table):,}", "Of all complete trials, in the store."),
    ):
        st.metric(label, value, help=meaning, width="content")


def _nothing_yet(view: StudyView) -> None:
    st.subheader("No operating point yet", anchor=False)
    if view.stored.is_running:
        st.text("The first trials are running. Operating points appear here when one is complete.")
        return
    ended = [state for state in ENDED if view.counts.get(state)]
    for state in ended:
        count = view.counts[state]
        number = int(view.trials.numbers[view.trials.states.index(state)])
        st.text(
            f"{count:,} {'trial' if count == 1 else 'trials'} {ENDED[state]}, none is complete."
        )
        st.page_link(
            frame.NETWORK,
            label=f"See why trial {number} {ENDED[state]}",
            icon=":material/error:",
            query_params={"study": view.stored.name, "trial": str(number)},
        )
    if ended:
        return
    st.text("No trial of this study is complete.")
    st.code("spikefront run STUDY.toml   # continues where it stopped", language="bash")


def _chart(view: StudyView, controls: ControlState, visible: VisiblePoints) -> None:
    options = controls.options
    names = [formats.label(name) for name in (options.y, options.x, options.z) if name]
    alt = f"Operating points of the study: {' against '.join(names)}. The table has the values."
    if options.z is not None:
        figure = front_in_space(
            view.table, visible, options, selected=ids_in("selected"), mode=frame.mode()
        )
        frame.chart(figure, "front-space", alt)
        st.caption("Drag to turn, scroll to zoom. Select points in the table.")
    else:
        figure = front(
            view.table,
            visible,
            options,
            selected=ids_in("selected"),
            targets=controls.targets,
            references=controls.references,
            confirmed=view.confirmed,
            mode=frame.mode(),
        )
        frame.chart(
            figure,
            CHART,
            alt,
            config={
                **frame.PLOT,
                "scrollZoom": True,
                "displayModeBar": True,
                "modeBarButtons": TOOLS,
            },
            on_select=lambda: take_selection(CHART, view.table, visible, options),
            selection_mode=("points", "box", "lasso"),
        )
    _remarks(view, controls, visible)


def _remarks(view: StudyView, controls: ControlState, visible: VisiblePoints) -> None:
    """Say what the figure does not show."""
    words = []
    if len(view.table) - visible.front.size > 2 * MOST_FADED and controls.options.z is None:
        words.append("A box or lasso selects all points within it, also those drawn in grey only.")
    lost = not_drawn(view.table, visible, controls.options)
    if lost:
        words.append(
            f"Without a finite value on these axes, so not drawn: {counted(lost, 'point')}."
        )
    if not visible.front.size and len(view.table):
        words.append("No point meets the constraints and targets. Loosen a target.")
    if controls.references:
        words.append("Dash-dotted lines and stars: published results, on the test part.")
    if words:
        st.caption(" ".join(words))


def _table(view: StudyView, visible: VisiblePoints) -> list[int]:
    """Draw the table of the points chosen, or of the front; return the rows marked in it."""
    table = view.table
    rows = table.rows_of(ids_in("selected"))
    is_chosen = bool(rows)
    rows = _best_first(table, rows or visible.front.tolist())
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        title = f"{len(rows):,} selected" if is_chosen else f"The front · {len(rows):,}"
        st.subheader(title, anchor=False, width="content")
        st.space("stretch")
        if is_chosen:
            st.button("Clear", icon=":material/close:", type="tertiary", on_click=_clear)
        st.download_button(
            "CSV",
            data=lambda: frames.points(table, rows, view.confirmed).to_csv(index=False).encode(),
            file_name=f"{view.stored.name}-{'selection' if is_chosen else 'front'}.csv",
            mime="text/csv",
            key="csv",
            icon=":material/table:",
            help="These points with their objectives, settings and parameters.",
            on_click="ignore",
            type="tertiary",
        )
    marked = set(ids_in("marked"))
    places = [place for place, row in enumerate(rows) if int(table.ids[row]) in marked]
    key = f"points-{zlib.crc32(table.ids[rows].tobytes())}"
    frame.table(
        frames.points(table, rows, view.confirmed),
        key=key,
        height=HEIGHT - 60,
        column_config=columns(table),
        on_select=lambda: _mark(table, rows, key),
        selection_mode="multi-row",
        selection_default={"selection": {"rows": places, "columns": [], "cells": []}},
        alt="The points with their objectives, settings and parameters",
    )
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.page_link(
            frame.EXPORT,
            label="Export these",
            icon=":material/download:",
            query_params=frame.carried({"study": view.stored.name}),
        )
        if not is_chosen and "z" not in st.query_params:
            st.caption("Click a point, or draw a box or lasso with the tools above the figure.")
    return [rows[place] for place in places] or (rows if is_chosen else [])


def _best_first(table: PointTable, rows: Sequence[int]) -> list[int]:
    first = np.nan_to_num(table.figures[table.objectives[0]][list(rows)], nan=-np.inf)
    sign = -1 if table.axis(table.objectives[0]).better == "higher" else 1
    return [rows[place] for place in np.argsort(sign * first, kind="stable")]


def _mark(table: PointTable, rows: Sequence[int], key: str) -> None:
    """Write the ids of the rows marked in the table into the address."""
    places = st.session_state[key]["selection"]["rows"]
    ids = [str(table.ids[rows[place]]) for place in places if place < len(rows)]
    frame.put("marked", ",".join(ids[:MOST_SELECTED]))


def _clear() -> None:
    frame.put("selected", "")
    frame.put("marked", "")


def _below(url: str, view: StudyView, visible: VisiblePoints, marked: list[int]) -> None:
    """Draw cards of single points, and the history of the hypervolume."""
    if marked:
        cards = [(row, "") for row in marked[:MOST_CARDS]]
        if len(marked) > MOST_CARDS:
            st.caption(f"{MOST_CARDS} of {len(marked):,} points. Mark rows in the table to choose.")
    else:
        cards = _notable(visible)
    width = 4 if len(cards) == 4 else 3
    columns = st.columns(width, gap="medium")
    for place, (row, title) in enumerate(cards):
        with columns[place % width], st.container(border=True):
            if title:
                st.markdown(f"**{title}**")
            _facts(view, row)
            _actions(url, view, row, key=f"point-{view.table.ids[row]}")
    _history(view)


def _notable(visible: VisiblePoints) -> list[tuple[int, str]]:
    """Return the knee and the best point of each objective with titles, no row twice."""
    titles: dict[int, list[str]] = {}
    if visible.knee is not None:
        titles.setdefault(visible.knee, []).append("Knee of the front")
    for name, row in visible.best.items():
        titles.setdefault(row, []).append(f"Best {formats.label(name).lower()}")
    return [(row, " · ".join(words)) for row, words in list(titles.items())[:MOST_CARDS]]


def _history(view: StudyView) -> None:
    _, known = view.known_hypervolumes
    if len(known) > 1:
        st.markdown("**Hypervolume after each finished trial**")
        st.html(strip(known, frame.mode()))


def _facts(view: StudyView, row: int) -> None:
    """Draw trial, operating point, objectives and test accuracy of a point."""
    table = view.table
    head = [table.trial_words(row)]
    head += [f"T {table.timesteps[row]}"] if table.has_settings else []
    if table.partition(row):
        head.insert(1, table.partition(row))
    exits = formats.thresholds(table.exit_thresholds([row])[0])
    if exits != formats.NOTHING:
        head.append(f"exit threshold {exits}")
    st.text(" · ".join(head))
    facts = [
        (
            formats.label(name),
            formats.quantity(name, table.figure(name, row), table.metrics),
            formats.meaning(name, table.metrics),
        )
        for name in table.objectives
    ]
    found = view.confirmed.get(int(table.ids[row]))
    if found is not None and found.seeds:
        tested = "accuracy" if "accuracy" in table.metrics else table.objectives[0]
        facts.append(
            (
                inputs_of_study(view.study).worded("On test images"),
                formats.confirmed(found, tested, table.metrics),
                "Test accuracy of this configuration trained again with new seeds by "
                "spikefront confirm: mean and standard deviation.",
            )
        )
    frame.facts(facts)


def _actions(url: str, view: StudyView, row: int, *, key: str) -> None:
    table = view.table
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.page_link(
            frame.NETWORK,
            label="Open trial",
            icon=":material/neurology:",
            query_params={
                "study": view.stored.name,
                "trial": str(table.trials[row]),
                "point": str(table.ids[row]),
            },
        )
        frame.export_button(
            url, view.stored.name, trial=int(table.trials[row]), point=int(table.ids[row]), key=key
        )


def columns(table: PointTable) -> dict[str, Any]:
    """Return label, unit and meaning of each column of the table."""
    config: dict[str, Any] = {
        "Trial": st.column_config.NumberColumn(pinned=True, help="Number of the trial."),
        "Partition": st.column_config.TextColumn(help=formats.meaning("partition") or None),
        "Timesteps run": st.column_config.NumberColumn(help="Timesteps at inference."),
        "Exit thresholds": st.column_config.TextColumn(help=formats.EXIT_RULE),
        "Same training": st.column_config.TextColumn(
            help="Other trials with the same training and the same operating point."
        ),
    }
    for name in dict.fromkeys((*formats.LABELS, *table.metrics)):
        is_share = name in formats.FRACTIONS
        config[name] = st.column_config.NumberColumn(
            formats.label_with_unit(name, table.metrics),
            format="percent" if is_share else "compact",
            help=formats.meaning(name, table.metrics) or formats.meaning(name),
        )
    config["Test accuracy"] = st.column_config.NumberColumn(
        format="percent",
        help="Mean over new seeds on the test part, by `spikefront confirm`.",
    )
    config["Test spread"] = st.column_config.NumberColumn(
        format="percent", help="Standard deviation of the test accuracy over the seeds."
    )
    for name in table.trial_params:
        is_ours = table.has_settings  # only the author of an own training knows what it means
        config[f"param:{name}"] = st.column_config.Column(
            "Timesteps trained" if name == "timesteps" and is_ours else formats.label(name),
            help=(formats.meaning(name) or None) if is_ours else None,
        )
    return config


front_page()
