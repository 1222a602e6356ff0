"""The front of one study: look, choose points, take them away."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import streamlit as st

from dashboard import course_figures, data, formats, frames, front_figure, page
from dashboard.points import RUN_COLUMNS, PointTable
from search.trial import TrialState

MOST_SELECTED = 200  # that the address bar holds
MOST_CARDS = 6
CHART = "front-chart"


def front() -> None:
    """The page, drawn again while its study runs."""
    url = data.store_url()
    page.live(lambda: _body(url), is_running=lambda: data.is_anything_running(url))


def _body(url: str) -> None:
    with page.store_errors():
        top = st.container(horizontal=True, vertical_alignment="bottom", gap="medium")
        with top, st.container(width=320):
            study = page.choose_study(url)
        view = data.study_view(url, study)
    with top:
        _headline(view)
    if not len(view.table):
        _nothing_yet(view)
        return
    x, y, colour, log_x, log_y = _axes(view.table)
    left, right = st.columns([7, 2], gap="large")
    with left:
        _chart(view, x, y, colour, log_x, log_y)
    with right:
        _beside(url, view)
    _selection(url, view)


def _headline(view: data.StudyView) -> None:
    table = view.table
    best = table.metrics["accuracy"][table.on_front]
    complete = view.counts.get(TrialState.COMPLETE, 0)
    last = view.hypervolumes[-1].value if view.hypervolumes else None
    for label, value, meaning in (
        ("On the front", f"{int(table.on_front.sum())}", "Operating points that none dominates."),
        (
            "Best accuracy",
            formats.quantity("accuracy", float(np.nanmax(best))) if best.size else "–",
            "Of the front, on validation images.",
        ),
        (
            "Hypervolume",
            "–" if last is None else f"{last:.3f}",
            "Share of the box between the ideal and the reference point that is dominated.",
        ),
        ("Complete trials", f"{complete}", "Trained to the end and measured."),
        ("Operating points", f"{len(table):,}", "Kept in the store, of all complete trials."),
    ):
        st.metric(label, value, help=meaning, width="content")


def _nothing_yet(view: data.StudyView) -> None:
    st.subheader("No operating point yet")
    if view.stored.is_running:
        st.text("The first trial is being trained; its points appear here when it is done.")
        return
    st.text("No trial of this study is complete.")
    st.code("spikefront run STUDY.toml   # continues where it stopped", language="bash")


def _axes(table: PointTable) -> tuple[str, str, str, bool, bool]:
    """The controls above the figure. Returns x, y, colour, and which axes are logarithmic."""
    names = table.axis_names
    defaults = [*table.objectives, *(n for n in names if n not in table.objectives)]
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        with st.container(width=290, gap=None):
            x = page.choose("Across", "x", names, defaults[1], show=_axis_label)
        log_x = _log_toggle(table, x, "x")
        with st.container(width=290, gap=None):
            y = page.choose("Up", "y", names, defaults[0], show=_axis_label)
        log_y = _log_toggle(table, y, "y")
        with st.container(width=290, gap=None):
            colour = page.choose("Colour", "colour", names, defaults[2], show=_axis_label)
    return x, y, colour, log_x, log_y


def _axis_label(name: str) -> str:
    return RUN_COLUMNS.get(name) or formats.label(name)


def _log_toggle(table: PointTable, axis_name: str, side: str) -> bool:
    axis = table.axis(axis_name)
    default = "log" if axis.is_log_by_default else "linear"
    name = f"scale_{side}"
    given = st.query_params.get(name)
    current = given if given in ("log", "linear") else default
    key = f"log-{side}"
    st.session_state[key] = current == "log" and axis.can_be_log
    return st.toggle(
        "log",
        key=key,
        disabled=not axis.can_be_log,
        help=None if axis.can_be_log else "Not every value is a number above 0.",
        on_change=lambda: page.put(name, "log" if st.session_state[key] else "linear"),
    )


def _chart(view: data.StudyView, x: str, y: str, colour: str, log_x: bool, log_y: bool) -> None:
    figure = front_figure.front(
        view.table,
        x=x,
        y=y,
        colour=colour,
        log_x=log_x,
        log_y=log_y,
        knee=view.knee,
        selected=selected_ids(),
        mode=page.mode(),
    )
    st.plotly_chart(
        figure,
        key=CHART,
        theme=None,
        config=page.PLOT,
        on_select=_take_selection,
        selection_mode=("points", "box", "lasso"),
        alt=f"Operating points of the study, {formats.label(y)} against {formats.label(x)}",
    )


def _take_selection() -> None:
    """Put the ids of the points selected in the figure into the address bar."""
    points = st.session_state[CHART]["selection"]["points"]
    ids = list(dict.fromkeys(_point_ids(points)))
    page.put("selected", ",".join(str(point) for point in ids[:MOST_SELECTED]))


def _point_ids(points: Sequence[Mapping[str, Any]]) -> Iterator[int]:
    """The ids that the figure's points carry; plotly wraps some of them in a list."""
    for point in points:
        carried = point.get("customdata")
        carried = carried[0] if isinstance(carried, list | tuple) and carried else carried
        if isinstance(carried, int | float):
            yield int(carried)


def selected_ids() -> list[int]:
    """The operating points that the address bar names."""
    words = st.query_params.get("selected", "").split(",")
    return [int(word) for word in words[:MOST_SELECTED] if word.isascii() and word.isdigit()]


def _beside(url: str, view: data.StudyView) -> None:
    """The knee, and the course of the hypervolume."""
    rows = view.table.rows_of([view.knee] if view.knee is not None else [])
    if rows:
        with st.container(border=True):
            st.markdown(":material/trip_origin: **Knee of the front**")
            _facts(view.table, rows[0])
            _actions(url, view, rows[0], key="knee")
    if len(view.hypervolumes) > 1:
        with st.container(border=True):
            st.markdown("**Hypervolume**")
            st.plotly_chart(
                course_figures.hypervolume(
                    [record.trial for record in view.hypervolumes],
                    [record.value for record in view.hypervolumes],
                    page.mode(),
                ),
                key="hypervolume",
                theme=None,
                config=page.PLOT,
                alt="Hypervolume after each finished trial",
            )


def _facts(table: PointTable, row: int) -> None:
    """Who a point is, and its objectives."""
    head = [f"Trial {table.trials[row]}", f"T {table.timesteps[row]}"]
    if table.partitions[row]:
        head.insert(1, table.partitions[row])
    exits = formats.thresholds(table.exit_thresholds[row])
    if exits != formats.NOTHING:
        head.append(f"exits at {exits}")
    st.text(" · ".join(head))
    for name in table.objectives:
        with st.container(horizontal=True, gap="small", horizontal_alignment="distribute"):
            st.caption(formats.label(name), width="content")
            value = formats.quantity(name, float(table.metrics[name][row]))
            st.markdown(f"**{formats.verbatim(value)}**", width="content")


def _actions(url: str, view: data.StudyView, row: int, *, key: str) -> None:
    table = view.table
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.page_link(
            page.NETWORK,
            label="Open trial",
            icon=":material/neurology:",
            query_params={
                "study": view.stored.name,
                "trial": str(table.trials[row]),
                "point": str(table.ids[row]),
            },
        )
        page.export_button(
            url, view.stored.name, trial=int(table.trials[row]), point=int(table.ids[row]), key=key
        )


def _selection(url: str, view: data.StudyView) -> None:
    """The points chosen, or the whole front, as a table, and what can be done with them."""
    table = view.table
    rows = table.rows_of(selected_ids())
    is_chosen = bool(rows)
    if not rows:
        rows = [int(row) for row in np.flatnonzero(table.on_front)]
    rows.sort(key=lambda row: -table.metrics["accuracy"][row])
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.subheader(
            f"{len(rows)} selected" if is_chosen else "The front", anchor=False, width="content"
        )
        if is_chosen:
            st.button(
                "Clear",
                icon=":material/close:",
                type="tertiary",
                on_click=_clear,
            )
        else:
            st.caption(
                "Click a point in the figure, or draw a box around several, to see these alone."
            )
    event = st.dataframe(
        frames.points(table, rows),
        key="points-table",
        hide_index=True,
        column_config=_columns(table),
        on_select="rerun",
        selection_mode="multi-row",
    )
    marked = [rows[place] for place in event["selection"]["rows"] if place < len(rows)]
    _cards(url, view, marked or (rows if is_chosen else []))


def _clear() -> None:
    page.put("selected", "")


def _cards(url: str, view: data.StudyView, rows: list[int]) -> None:
    if len(rows) > MOST_CARDS:
        st.caption(f"Mark rows in the table, up to {MOST_CARDS}, to open or export them.")
        return
    if not rows:
        return
    columns = st.columns(min(len(rows), 3), gap="medium")
    for place, row in enumerate(rows):
        with columns[place % 3], st.container(border=True):
            _facts(view.table, row)
            _actions(url, view, row, key=f"point-{view.table.ids[row]}")


def _columns(table: PointTable) -> dict[str, Any]:
    """How the table shows its columns: labels, units and meanings."""
    config: dict[str, Any] = {
        "Exit thresholds": st.column_config.TextColumn(
            help="Confidence at which an image leaves, per exit before the last."
        )
    }
    for name in formats.LABELS:
        is_share = name in formats.FRACTIONS
        config[name] = st.column_config.NumberColumn(
            formats.label_with_unit(name),
            format="percent" if is_share else "compact",
            help=formats.meaning(name),
        )
    for name in table.params:
        config[f"param:{name}"] = st.column_config.Column(
            "Timesteps trained" if name == "timesteps" else formats.label(name),
            help=formats.meaning(name) or None,
        )
    return config


front()
