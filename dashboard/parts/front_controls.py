"""The controls above a front; what they say lives in the address bar."""

from collections.abc import Sequence
from dataclasses import dataclass

import streamlit as st

from dashboard.data import formats
from dashboard.data.point_filter import ViewOptions
from dashboard.data.points import RUN_COLUMNS, PointTable
from dashboard.data.references import Reference, folder, load_references, stamp
from dashboard.data.study_view import StudyView
from dashboard.data.targets import Target, parse_targets
from dashboard.parts import frame

NONE = "none"
LONGEST = 400  # characters of all targets


@dataclass(frozen=True, kw_only=True)
class ControlState:
    """What somebody asked to see."""

    options: ViewOptions
    targets: tuple[Target, ...]
    per_trial: bool  # one point of each trial, the sampled one
    references: tuple[Reference, ...]


def draw_controls(view: StudyView) -> ControlState:
    """Draw the controls; returns what they say."""
    table = view.table
    names = table.axis_names
    first = [*table.objectives, *(n for n in names if n not in table.objectives)]
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        x = _axis("Across", "x", names, first[1])
        log_x = _log(table, x, "x")
        y = _axis("Up", "y", names, first[0])
        log_y = _log(table, y, "y")
        with st.container(width=208, gap=None):
            colour = frame.choose("Colour", "colour", names, first[2], show=axis_label)
        targets = _targets()
        with st.popover("More", icon=":material/tune:", help="Third axis, shapes, what is shown"):
            z = _or_none("Third axis", "z", names)
            log_z = _log(table, z, "z") if z else False
            shape = _or_none("Shape", "shape", table.shape_names)
            per_trial = (
                frame.pick_one("Points", "points", {"all": "All points", "trial": "One per trial"})
                == "trial"
            )
            hides = not frame.switch("Dominated points", "dominated", default=True)
            references = _references(view)
    options = ViewOptions(
        x=x,
        y=y,
        z=z,
        colour=colour,
        shape=shape,
        log_x=log_x,
        log_y=log_y,
        log_z=log_z,
        hides_dominated=hides,
    )
    return ControlState(
        options=options, targets=targets, per_trial=per_trial, references=references
    )


def axis_label(name: str) -> str:
    """What people call a column of the table."""
    return RUN_COLUMNS.get(name) or formats.label(name)


def _axis(label: str, name: str, names: Sequence[str], default: str) -> str:
    with st.container(width=208, gap=None):
        return frame.choose(label, name, names, default, show=axis_label)


def _or_none(label: str, name: str, names: Sequence[str]) -> str | None:
    """An axis that need not be there; it is in the address only where it is."""
    current = st.query_params.get(name, NONE)
    current = current if current in names else NONE
    key = f"choose-{name}"
    frame.preset(key, current)
    st.selectbox(
        label,
        [NONE, *names],
        key=key,
        format_func=lambda option: "None" if option == NONE else axis_label(option),
        on_change=lambda: frame.put(name, st.session_state[key].replace(NONE, "")),
    )
    return None if current == NONE else current


def _log(table: PointTable, axis_name: str, side: str) -> bool:
    axis = table.axis(axis_name)
    default = "log" if axis.is_log_by_default else "linear"
    name = f"scale_{side}"
    given = st.query_params.get(name)
    current = given if given in ("log", "linear") else default
    key = f"log-{side}"
    frame.preset(key, current == "log" and axis.can_be_log)
    return st.toggle(
        "log",
        key=key,
        disabled=not axis.can_be_log,
        help=None if axis.can_be_log else "Not every value is a number above 0.",
        on_change=lambda: frame.put(name, "log" if st.session_state[key] else "linear"),
    )


def _targets() -> tuple[Target, ...]:
    """A line of text, as it was written; faults are said below it."""
    given = st.query_params.get("targets", "")[:LONGEST]
    frame.preset("targets", given)
    with st.container(width=290, gap=None):
        st.text_input(
            "Targets",
            key="targets",
            placeholder="accuracy >= 97 %, model <= 100 kB",
            max_chars=LONGEST,
            help="Limits of your own, between commas. Points beyond them step back; the front, "
            "its knee and its best are those within. Any metric can have one, with its unit.",
            on_change=lambda: frame.put("targets", str(st.session_state["targets"]).strip()),
        )
    targets, faults = parse_targets(given)
    for fault in faults:
        st.warning(formats.verbatim(fault))
    return targets


def _references(view: StudyView) -> tuple[Reference, ...]:
    """Published results for the study's data set."""
    dataset = view.study.run.get("dataset", "") if view.study else ""
    found, faults = _loaded(str(folder()), stamp(folder()))
    fitting = tuple(reference for reference in found if reference.dataset == dataset)
    for fault in faults:
        st.warning(formats.verbatim(fault))
    if not fitting:
        return ()
    is_on = frame.switch(
        "Published results",
        "references",
        default=True,
        help="Of the same data set, from the TOML files in studies/references.",
    )
    return fitting if is_on else ()


@st.cache_resource(show_spinner=False, max_entries=4)
def _loaded(
    path: str, version: tuple[tuple[str, int], ...]
) -> tuple[tuple[Reference, ...], tuple[str, ...]]:
    return load_references(folder())
