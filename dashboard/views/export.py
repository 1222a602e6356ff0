"""Downloads: networks, figures, tables and a report."""

import functools

import streamlit as st

from dashboard.data import formats, frames
from dashboard.data.point_filter import VisiblePoints, visible_points
from dashboard.data.study_view import StudyView
from dashboard.figures.front import front
from dashboard.figures.history import hypervolume
from dashboard.figures.report import report
from dashboard.figures.style import for_export
from dashboard.figures.theme import Mode
from dashboard.parts import downloads, frame
from dashboard.parts.front_controls import ControlState, draw_controls
from dashboard.parts.front_selection import chosen_rows
from dashboard.parts.store_cache import store_url, study_view
from snn.settings.setting import counted

MOST_NETWORKS = 12  # that have a line of their own
MOST_ZIPPED = 50  # in one file
SIZES = {"wide": (1200, 720), "column": (720, 540), "square": (900, 900)}


def export_page() -> None:
    """Draw the page; the address names the points chosen on the front."""
    url = store_url()
    with frame.store_errors():
        st.title("Export", anchor=False)
        with st.container(width=320):
            study = frame.choose_study(url)
        view = study_view(url, study)
        if not len(view.table):
            st.text("This study has no operating point yet, so there is nothing to export.")
            return
        controls = draw_controls(view)
        visible = visible_points(view.table, controls.targets, per_trial=controls.per_trial)
        chosen = chosen_rows(view.table)
        _what(view, visible, chosen)
        _networks(url, view, visible, chosen)
        _figures(view, controls, visible)
        left, right = st.columns(2, gap="medium")
        with left, st.container(border=True, height="stretch"):
            _tables(view, visible, chosen)
        with right, st.container(border=True, height="stretch"):
            _report(view, controls, visible, chosen)


def _what(view: StudyView, visible: VisiblePoints, chosen: list[int]) -> None:
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        if chosen:
            st.markdown(f"**{counted(len(chosen), 'point')} chosen** on the front.")
        else:
            st.markdown(f"**The front**, {counted(visible.front.size, 'point')}.")
        st.page_link(
            frame.FRONT,
            label="Choose other points",
            icon=":material/stairs:",
            query_params=frame.carried({"study": view.stored.name}),
        )


def _networks(url: str, view: StudyView, visible: VisiblePoints, chosen: list[int]) -> None:
    """Draw a line per network with its downloads."""
    st.subheader("Networks", anchor=False)
    st.caption(
        "Export: the folder that `spikefront export` writes, with weights, settings, metrics and "
        "a model card. Settings: `config.toml`, which trains the same network again."
    )
    every = chosen or list(
        dict.fromkeys(row for row in (visible.knee, *visible.best.values()) if row is not None)
    )
    for row in every[:MOST_NETWORKS]:
        _network(url, view, visible, row)
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        if len(every) > 1:
            _together(url, view, every[:MOST_ZIPPED])
        if len(every) > MOST_NETWORKS:
            st.caption(f"The first {MOST_NETWORKS} of {len(every):,} networks are listed.")


def _together(url: str, view: StudyView, rows: list[int]) -> None:
    """Draw the download of all these networks that have weights on this machine."""
    table, study = view.table, view.stored.name
    trials = {int(table.trials[row]) for row in rows}
    lost = {trial for trial in trials if downloads.export_problem(url, study, trial)}
    kept = [row for row in rows if int(table.trials[row]) not in lost]
    points = [(int(table.trials[row]), int(table.ids[row])) for row in kept]
    left_out = (
        f" Without weights on this machine: {counted(len(rows) - len(kept), 'network')}."
        if lost
        else ""
    )
    st.download_button(
        f"All {len(kept):,} as one file" if kept else "All as one file",
        data=lambda: downloads.networks_zip(url, study, points, _csv(view, kept)),
        file_name=f"{study}-networks.zip",
        mime="application/zip",
        key="export-all",
        icon=":material/folder_zip:",
        help=f"A zip file with a folder for each network and a table.{left_out}",
        disabled=not kept,
        on_click="ignore",
    )


def _network(url: str, view: StudyView, visible: VisiblePoints, row: int) -> None:
    table, study = view.table, view.stored.name
    trial, point = int(table.trials[row]), int(table.ids[row])
    with st.container(border=True, horizontal=True, vertical_alignment="center", gap="medium"):
        roles = ["knee"] if row == visible.knee else []
        roles += [
            f"best {formats.label(name).lower()}"
            for name, best in visible.best.items()
            if best == row
        ]
        words = [table.trial_words(row), table.partition(row)]
        words += [f"T {table.timesteps[row]}"] if table.has_settings else []
        words += roles
        st.markdown(f"**{formats.verbatim(' · '.join(w for w in words if w))}**", width=330)
        for name in table.objectives[:3]:
            value = formats.quantity(name, table.figure(name, row), table.metrics)
            st.caption(
                f"{formats.label(name)} {formats.verbatim(value)}",
                width="content",
                help=formats.meaning(name, table.metrics),
            )
        st.space("stretch")
        with st.container(horizontal=True, width="content", gap="small"):
            if table.has_settings:
                st.download_button(
                    "Settings",
                    data=lambda: downloads.config_toml(url, study, trial, point),
                    file_name=f"{study}-{trial}-{point}.toml",
                    mime="application/toml",
                    key=f"config-{point}",
                    icon=":material/settings:",
                    help="config.toml for `spikefront train`.",
                    on_click="ignore",
                )
            frame.export_button(url, study, trial=trial, point=point, key=f"export-{point}")


def _figures(view: StudyView, controls: ControlState, visible: VisiblePoints) -> None:
    """Draw the figures at the size of their files, each with a button that saves it."""
    st.subheader("Figures", anchor=False)
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        form = frame.pick_one("Format", "format", {"svg": "SVG", "png": "PNG"})
        sizes = {name: f"{name} {width} x {height}" for name, (width, height) in SIZES.items()}
        size = frame.pick_one("Size", "size", sizes)
        colours = frame.pick_one("Colours", "colours", {"light": "Light", "dark": "Dark"})
    st.caption("The camera at the upper right of a figure saves it as a file.")
    width, height = SIZES[size]
    mode: Mode = "dark" if colours == "dark" else "light"
    shown = {
        "front": front(
            view.table,
            visible,
            controls.options,
            targets=controls.targets,
            references=controls.references,
            confirmed=view.confirmed,
            mode=mode,
        )
    }
    trials, values = view.known_hypervolumes
    if len(trials) > 1:
        shown["hypervolume"] = hypervolume(trials, values, mode)
    for name, figure in shown.items():
        tall = height if name == "front" else height // 2
        with frame.scrolling(f"figure-{name}"):
            frame.chart(
                for_export(figure, width, tall, mode),
                f"export-{name}",
                f"The {name} of the study, as the file shows it",
                config={
                    "displaylogo": False,
                    "displayModeBar": True,
                    "modeBarButtons": [["toImage"]],
                    "toImageButtonOptions": {
                        "format": form,
                        "filename": f"{view.stored.name}-{name}",
                        "width": width,
                        "height": tall,
                        "scale": 1 if form == "svg" else 2,
                    },
                },
                width="content",
            )


def _tables(view: StudyView, visible: VisiblePoints, chosen: list[int]) -> None:
    st.subheader("Tables", anchor=False)
    st.caption(
        "CSV files of objectives, operating points and parameters, in the units of the store."
    )
    sets = {"front": ("The front", visible.front.tolist())}
    if chosen:
        sets = {"selection": ("Chosen points", chosen), **sets}
    sets["points"] = ("All operating points", list(range(len(view.table))))
    for name, (label, rows) in sets.items():
        st.download_button(
            f"{label}, {len(rows):,}",
            data=functools.partial(_csv, view, rows),
            file_name=f"{view.stored.name}-{name}.csv",
            mime="text/csv",
            key=f"csv-{name}",
            icon=":material/table:",
            on_click="ignore",
        )


def _csv(view: StudyView, rows: list[int]) -> bytes:
    text: str = frames.points(view.table, rows, view.confirmed).to_csv(index=False)
    return text.encode()


def _report(
    view: StudyView,
    controls: ControlState,
    visible: VisiblePoints,
    chosen: list[int],
) -> None:
    st.subheader("Report", anchor=False)
    st.caption(
        "Question, front, points, hypervolume and study file in one HTML file of 5 MB. It opens "
        "without a server and without a network connection."
    )
    st.download_button(
        "Report",
        data=lambda: report(
            view,
            visible,
            controls.options,
            targets=controls.targets,
            chosen=chosen,
            confirmed=view.confirmed,
        ).encode(),
        file_name=f"{view.stored.name}.html",
        mime="text/html",
        key="report",
        icon=":material/description:",
        type="primary",
        on_click="ignore",
    )
    st.download_button(
        "Study file",
        data=view.stored.toml.encode(),
        file_name=f"{view.stored.name}.toml",
        mime="application/toml",
        key="study-file",
        icon=":material/draft:",
        help="The study file as it was given to `spikefront run`.",
        on_click="ignore",
    )


export_page()
