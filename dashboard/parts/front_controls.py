"""The controls above a front: axes, colour, targets and what is shown."""

from collections.abc import Sequence
from dataclasses import dataclass

import streamlit as st

from dashboard.data import formats
from dashboard.data.point_filter import ViewOptions
from dashboard.data.points import RUN_COLUMNS, PointTable
from dashboard.data.references import Published, Reference, folder, load_references, stamp
from dashboard.data.study_view import StudyView
from dashboard.data.targets import Target, parse_targets
from dashboard.parts import frame

NONE = "none"
LONGEST = 400  # characters of all targets


@dataclass(frozen=True, kw_only=True)
class ControlState:
    """The values of the controls."""

    options: ViewOptions
    targets: tuple[Target, ...]
    per_trial: bool  # one point of each trial: the sampled one
    references: tuple[Reference, ...]


def draw_controls(view: StudyView) -> ControlState:
    """Draw the controls and return their values."""
    table = view.table
    names = table.axis_names
    first = [*table.objectives, *(n for n in names if n not in table.objectives)]
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        x = _axis("Horizontal axis", "x", names, first[1])
        log_x = _log(table, x, "x")
        y = _axis("Vertical axis", "y", names, first[0])
        log_y = _log(table, y, "y")
        colour = _axis("Colour", "colour", names, first[2])
        targets = _targets(table)
        with st.popover("More", icon=":material/tune:", help="Third axis, shapes, points shown"):
            z = _or_none("Third axis", "z", names)
            log_z = _log(table, z, "z") if z else False
            shape = _or_none("Shape", "shape", table.shape_names)
            points = {"all": "All points", "trial": "One per trial"}
            per_trial = frame.pick_one("Points", "points", points) == "trial"
            hides = not frame.switch("Dominated points", "dominated", default=True)
            found = published([view])
            tell_faults(found)
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
        options=options, targets=targets, per_trial=per_trial, references=found.references
    )


def axis_label(name: str) -> str:
    """Return the label of a column of the table."""
    return RUN_COLUMNS.get(name) or formats.label(name)


def _axis(label: str, name: str, names: Sequence[str], default: str) -> str:
    with st.container(width=208, gap=None):
        return frame.choose(label, name, names, default, show=axis_label)


def _or_none(label: str, name: str, names: Sequence[str]) -> str | None:
    """Draw a box for an axis that may be left out."""
    found = frame.choose_or_default(
        label,
        name,
        [NONE, *names],
        show=lambda option: "None" if option == NONE else axis_label(option),
    )
    return None if found == NONE else found


def _log(table: PointTable, axis_name: str, side: str) -> bool:
    axis = table.axis(axis_name)
    return frame.switch(
        "log",
        f"scale_{side}",
        default=axis.is_log_by_default,
        words=("log", "linear"),
        key=f"log-{side}",
        disabled=not axis.can_be_log,
        help=None if axis.can_be_log else "A logarithmic scale needs values above 0.",
    )


def _targets(table: PointTable) -> tuple[Target, ...]:
    """Draw the line of targets; faults are shown below it."""
    with st.container(width=290, gap=None):
        given = frame.type_text(
            "Targets",
            "targets",
            most=LONGEST,
            placeholder="accuracy >= 97 %, model <= 100 kB",
            help="Your own limits on any metric, with its unit, separated by commas. Points that "
            "miss a target are drawn faded. The front, its knee and its best points are computed "
            "from the points that meet all targets.",
        )
    targets, faults = parse_targets(given, table.metrics)
    for fault in faults:
        st.warning(formats.verbatim(fault))
    return targets


def published(views: Sequence[StudyView], *, has_curves: bool = False) -> Published:
    """Return what is published of the one data set of these studies, if it is switched on.

    `has_curves`: hypervolumes of other searches are among it. The faults are of all files,
    for `tell_faults`.
    """
    datasets = {view.study.run.get("dataset", "") if view.study else "" for view in views}
    dataset = datasets.pop() if len(datasets) == 1 else ""
    found = _loaded(str(folder()), stamp(folder()))
    fitting = Published(
        references=tuple(each for each in found.references if each.dataset == dataset),
        curves=tuple(each for each in found.curves if has_curves and each.dataset == dataset),
        faults=found.faults,
    )
    if not fitting.references and not fitting.curves:
        return fitting
    is_on = frame.switch(
        "Published results",
        "references",
        default=True,
        help="Results on the same data set, from the TOML files in studies/references.",
    )
    return fitting if is_on else Published(faults=found.faults)


def tell_faults(found: Published) -> None:
    """Draw a line for each fault in the files of published results."""
    for fault in found.faults:
        st.warning(formats.verbatim(fault))


@st.cache_resource(show_spinner=False, max_entries=4)
def _loaded(path: str, version: tuple[tuple[str, int], ...]) -> Published:
    return load_references(folder())
