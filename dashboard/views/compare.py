"""Several studies or groups of studies: fronts, hypervolumes and cost of each."""

from collections.abc import Sequence
from typing import Any

import streamlit as st

from dashboard.data import formats, frames
from dashboard.data.comparison import GOAL, Comparison, compare, group_tests, question_of
from dashboard.data.references import Curve, Reference
from dashboard.data.study_view import StudyView
from dashboard.figures.comparison import SPENT, fronts, histories
from dashboard.parts import frame
from dashboard.parts.front_controls import published, tell_faults
from dashboard.parts.store_cache import is_anything_running, open_store, store_url, study_view
from search.trial.trial import TrialState

MOST_STUDIES = 12
CHART = "compared-fronts"
GROUPS = {"study": "Each study", "name": "Repeats", "sampler": "Samplers"}


def compare_page() -> None:
    """Draw the page, again every few seconds while a study runs."""
    url = store_url()
    frame.live(lambda: _body(url), is_running=lambda: is_anything_running(url))


def _body(url: str) -> None:
    with frame.store_errors():
        st.title("Compare", anchor=False)
        names = frame.study_names(url)
        chosen = _choose(names)
        if len(names) == 1:
            st.info("This store has one study. Run another one to compare it with.")
        if not chosen:
            st.text("Choose the studies to compare.")
            return
        has_repeats = len({question_of(name) for name in chosen}) < len(chosen)
        first = "name" if has_repeats else "study"
        by = frame.pick_one(
            "Group by",
            "by",
            {first: GROUPS[first], **GROUPS},
            help="Repeats: studies whose names differ only in the last number, such as seeds. "
            "A group of two or more studies is drawn as an attainment surface, and its "
            "hypervolumes as mean and range.",
        )
        _draw(_compared(url, chosen, by), [study_view(url, name) for name in chosen])


def _choose(names: list[str]) -> list[str]:
    """Draw the box of studies; the default is the two studies changed last."""
    asked = st.query_params.get_all("with")
    frame.warn_of_unknown(asked, names)
    current = [name for name in asked if name in names][:MOST_STUDIES] or names[:2]
    key = "choose-with"
    frame.preset(key, current)
    st.multiselect(
        "Studies",
        names,
        current,
        key=key,
        max_selections=MOST_STUDIES,
        help=f"Up to {MOST_STUDIES}. Type to find one.",
        on_change=_take,
    )
    return current


def _take() -> None:
    st.query_params["with"] = list(st.session_state["choose-with"])


def _compared(url: str, names: list[str], by: str) -> Comparison:
    store = open_store(url)
    versions = tuple((name, store.version(name)) for name in names)
    return _kept(url, versions, by)


@st.cache_resource(show_spinner="Computing hypervolumes", max_entries=8)
def _kept(url: str, versions: tuple[tuple[str, str], ...], by: str) -> Comparison:
    return compare([study_view(url, name) for name, _ in versions], by)


def _draw(comparison: Comparison, views: list[StudyView]) -> None:
    if any(study.front.size for study in comparison.studies):
        with st.container(horizontal=True, gap="medium"):
            has_ceiling = frame.switch("Ceiling", "ceiling", default=False, help=_CEILING)
            found = published(views, has_curves=True)
        tell_faults(found)
        left, right = st.columns(2, gap="large")
        with left:
            _fronts(comparison, found.references, has_ceiling=has_ceiling)
        with right:
            _histories(comparison, found.curves, has_ceiling=has_ceiling)
    else:
        st.text("None of these studies has a point on its front yet.")
    _table(comparison)
    _remarks(comparison)


_CEILING = (
    "What all studies shown here found together, as if one search had found it: the front of all "
    "their points, and its hypervolume."
)


def _fronts(
    comparison: Comparison, references: tuple[Reference, ...], *, has_ceiling: bool
) -> None:
    st.subheader("Fronts", anchor=False)
    shared = [
        name
        for name in comparison.studies[0].table.metrics
        if all(name in study.table.metrics for study in comparison.studies)
    ]
    names = [*comparison.objectives, *(n for n in shared if n not in comparison.objectives)]
    if len(names) < 2:
        st.text("These studies have fewer than two metrics in common, so fronts are not drawn.")
        return
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        x = _axis("Horizontal axis", "x", names, names[1])
        y = _axis("Vertical axis", "y", names, names[0])
    tables = [study.table for study in comparison.studies if len(study.table)]
    logs = {n: all(table.axis(n).is_log_by_default for table in tables) for n in (x, y)}
    frame.chart(
        fronts(
            comparison,
            x=x,
            y=y,
            log_x=logs[x],
            log_y=logs[y],
            mode=frame.mode(),
            references=references,
            has_ceiling=has_ceiling,
        ),
        CHART,
        f"Fronts of the studies, {formats.label(y)} against {formats.label(x)}",
        on_select=_take_point,
    )
    if any(len(comparison.members(group)) > 1 for group in comparison.groups):
        st.caption(
            "Line: attainment surface, reached by half of the repeats. Band: 25 to 75 % of the "
            "repeats. Dots: fronts of the single studies."
        )
    tested = group_tests(comparison, x, y)
    if tested:
        st.caption(formats.verbatim(" ".join(tested)), help=_TESTED)
    _opened(comparison)


_TESTED = (
    "Permutation test on these two axes. It compares, for every pair of values, the shares of "
    "repeats that reach it (Kolmogorov-Smirnov statistic of the attainment functions). Better: "
    "significant at 5 %."
)


def _take_point() -> None:
    """Write the id of the point clicked into the address."""
    found = frame.picked(CHART)
    if found is not None:
        frame.put("point", str(found))


def _opened(comparison: Comparison) -> None:
    """Describe the point clicked, and link to its network."""
    point = frame.number_in_address("point")
    for study in comparison.studies:
        table = study.table
        for row in table.rows_of([] if point is None else [point]):
            number = str(table.trials[row])
            words = [study.name, table.trial_words(row), table.partition(row)]
            words += [f"T {table.timesteps[row]}"] if table.has_settings else []
            words += [
                f"{formats.label(name).lower()} {table.axis(name).shown(table.figure(name, row))}"
                for name in table.objectives
            ]
            with st.container(horizontal=True, vertical_alignment="center", gap="small"):
                st.page_link(
                    frame.NETWORK,
                    label=f"Open trial {number}",
                    icon=":material/neurology:",
                    query_params={"study": study.name, "trial": number, "point": str(point)},
                )
                st.caption(formats.verbatim(" · ".join(word for word in words if word)))
            return
    st.caption("Click a point to open its network.")


def _axis(label: str, name: str, names: list[str], default: str) -> str:
    with st.container(width=230, gap=None):
        return frame.choose(label, name, names, default, show=formats.label)


def _histories(comparison: Comparison, curves: tuple[Curve, ...], *, has_ceiling: bool) -> None:
    st.subheader("Hypervolume", anchor=False)
    along = frame.pick_one(
        "Against",
        "along",
        {name: name.capitalize() for name in SPENT},
        help="Hours: those in which at least one trial ran, without pauses.",
    )
    if not comparison.objectives:
        st.text("These studies have no common objective, so hypervolumes cannot be compared.")
        return
    fitting = [each for each in curves if each.is_measured_from(comparison.reference)]
    frame.chart(
        histories(
            comparison, along=along, mode=frame.mode(), has_ceiling=has_ceiling, curves=fitting
        ),
        "compared-hypervolumes",
        f"Hypervolume of the studies against {SPENT[along].lower()}",
    )
    _curve_remarks(curves, fitting, along)


def _curve_remarks(curves: Sequence[Curve], fitting: Sequence[Curve], along: str) -> None:
    """Say which published hypervolumes are not drawn, and why."""
    words = []
    if along != "epochs" and not all(each.is_ceiling for each in fitting):
        words.append("Published curves are drawn against epochs.")
    others = [each.name for each in curves if each not in fitting]
    if others:
        words.append(
            f"Not drawn, because of other objectives or another reference point: "
            f"{', '.join(others)}. A study takes one from [search.reference]."
        )
    if words:
        st.caption(formats.verbatim(" ".join(words)))


def _table(comparison: Comparison) -> None:
    frame.table(
        frames.comparison(comparison),
        key="compared-table",
        height="content",
        column_config=_columns(comparison),
        alt="The studies with cost and result",
    )


def _columns(comparison: Comparison) -> dict[str, Any]:
    config = st.column_config
    number = config.NumberColumn
    share = f"{GOAL:.0%}"
    return {
        "Study": config.TextColumn(pinned=True),
        "Hypervolume": number(
            format="%.4f", help="From 0 to 1, with one reference point for all studies."
        ),
        "Of the ceiling": number(
            format="percent", help="Share of the hypervolume of all studies shown here together."
        ),
        "Hours": number(format="%.2f", help="Hours in which at least one trial ran."),
        f"Epochs to {share}": number(
            format="localized",
            help=f"Epochs trained until the hypervolume was {share} of the largest one shown.",
        ),
        **{
            name: number(
                f"Best {_lower_first(formats.label_with_unit(name, comparison.metrics))}",
                format="percent" if name in formats.FRACTIONS else "compact",
                help=formats.meaning(name, comparison.metrics),
            )
            for name in comparison.objectives
        },
    }


def _lower_first(text: str) -> str:
    return text[:1].lower() + text[1:]


def _remarks(comparison: Comparison) -> None:
    """Name the reference point, and the studies that are hard to compare."""
    reference = ", ".join(
        f"{formats.label(name).lower()} {formats.quantity(name, value, comparison.metrics)}"
        for name, value in comparison.reference.items()
    )
    words = [f"Reference point of all hypervolumes: {reference}."] if reference else []
    ragged = [
        study.name
        for study in comparison.studies
        if set(study.table.objectives) != set(comparison.objectives)
    ]
    if ragged and comparison.objectives:
        words.append(f"Only common objectives count. With others too: {', '.join(ragged)}.")
    empty = [study.name for study in comparison.studies if not len(study.table)]
    if empty:
        words.append(f"Without a {TrialState.COMPLETE} trial: {', '.join(empty)}.")
    st.caption(formats.verbatim(" ".join(words)))


compare_page()
