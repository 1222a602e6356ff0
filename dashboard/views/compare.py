"""Several studies or samplers: their fronts over each other, and what they cost."""

from typing import Any

import streamlit as st

from dashboard.data import formats, frames
from dashboard.data.comparison import GOAL, Comparison, compare
from dashboard.figures import comparison as comparison_figures
from dashboard.parts import frame
from dashboard.parts.store_cache import is_anything_running, open_store, store_url, study_view
from search.trial.trial import TrialState
from snn.settings.measurement import METRICS

MOST_STUDIES = 12
CHART = "compared-fronts"
GROUPS = {"study": "Each study", "name": "Seeds together", "sampler": "Samplers"}


def compare_page() -> None:
    """The page, drawn again while a study runs."""
    url = store_url()
    frame.live(lambda: _body(url), is_running=lambda: is_anything_running(url))


def _body(url: str) -> None:
    with frame.store_errors():
        st.title("Compare", anchor=False)
        names = frame.study_names(url)
        chosen = _choose(names)
        if len(names) == 1:
            st.info("This store has one study. Run another to compare it with.")
        if not chosen:
            st.text("Choose the studies to compare.")
            return
        by = frame.pick_one(
            "Together",
            "by",
            GROUPS,
            help="Repeats are drawn as their mean with the range of their values: studies whose "
            "names differ in a number at the end alone, or that name the same sampler.",
        )
        comparison = _compared(url, chosen, by)
        _draw(comparison)


def _choose(names: list[str]) -> list[str]:
    """The studies of the address, or the two that changed last."""
    asked = [name for name in st.query_params.get_all("with") if name in names]
    current = asked[:MOST_STUDIES] or names[:2]
    key = "choose-with"
    frame.preset(key, current)
    st.multiselect(
        "Studies",
        names,
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


@st.cache_resource(show_spinner="Working out volumes", max_entries=8)
def _kept(url: str, versions: tuple[tuple[str, str], ...], by: str) -> Comparison:
    return compare([study_view(url, name) for name, _ in versions], by)


def _draw(comparison: Comparison) -> None:
    if not any(len(study.table) for study in comparison.studies):
        st.text("None of these studies has an operating point yet.")
        return
    left, right = st.columns(2, gap="large")
    with left:
        _fronts(comparison)
    with right:
        _courses(comparison)
    _table(comparison)
    _remarks(comparison)


def _fronts(comparison: Comparison) -> None:
    st.subheader("Fronts", anchor=False)
    names = [*comparison.objectives, *(n for n in METRICS if n not in comparison.objectives)]
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        x = _axis("Across", "x", names, names[1])
        y = _axis("Up", "y", names, names[0])
    tables = [study.table for study in comparison.studies if len(study.table)]
    logs = {n: all(table.axis(n).is_log_by_default for table in tables) for n in (x, y)}
    st.plotly_chart(
        comparison_figures.fronts(
            comparison, x=x, y=y, log_x=logs[x], log_y=logs[y], mode=frame.mode()
        ),
        key=CHART,
        theme=None,
        config=frame.PLOT,
        on_select=_take_point,
        selection_mode="points",
        alt=f"Fronts of the studies, {formats.label(y)} against {formats.label(x)}",
    )
    _opened(comparison)


def _take_point() -> None:
    """Put the point clicked into the address bar."""
    found = frame.picked(CHART)
    if found is not None:
        frame.put("point", str(found))


def _opened(comparison: Comparison) -> None:
    """The point clicked, in words, and the way to its network."""
    asked = st.query_params.get("point", "")[:18]
    point = int(asked) if asked.isascii() and asked.isdigit() else -1
    for study in comparison.studies:
        table = study.table
        for row in table.rows_of([point]):
            number = str(table.trials[row])
            words = [
                study.name,
                f"trial {number}",
                table.partition(row),
                f"T {table.timesteps[row]}",
            ]
            words += [
                f"{formats.label(name).lower()} {formats.quantity(name, table.figure(name, row))}"
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


def _courses(comparison: Comparison) -> None:
    st.subheader("Hypervolume", anchor=False)
    along = frame.pick_one(
        "Against",
        "along",
        comparison_figures.SPENT,
        help="Hours at work are those in which at least one trial ran: pauses do not count.",
    )
    if not comparison.objectives:
        st.text("These studies share no objective, so that there is no volume to compare.")
        return
    st.plotly_chart(
        comparison_figures.courses(comparison, along=along, mode=frame.mode()),
        key="compared-courses",
        theme=None,
        config=frame.PLOT,
        alt=f"Hypervolume of the studies against {comparison_figures.SPENT[along].lower()}",
    )


def _table(comparison: Comparison) -> None:
    st.dataframe(
        frames.comparison(comparison),
        key="compared-table",
        hide_index=True,
        height="content",
        column_config=_columns(comparison),
        alt="The studies with what they spent and reached",
    )


def _columns(comparison: Comparison) -> dict[str, Any]:
    config = st.column_config
    number = config.NumberColumn
    share = f"{GOAL:.0%}"
    return {
        "Study": config.TextColumn(pinned=True),
        "Hypervolume": number(format="%.4f", help="Above the reference that all share, 0 to 1."),
        "Hours": number(format="%.2f", help="Hours in which at least one trial was at work."),
        f"Epochs to {share}": number(
            format="localized",
            help=f"Epochs trained until the hypervolume was {share} of the best one here.",
        ),
        **{
            name: number(
                f"Best {_lower_first(formats.label_with_unit(name))}",
                format="percent" if name in formats.FRACTIONS else "compact",
                help=formats.meaning(name),
            )
            for name in comparison.objectives
        },
    }


def _lower_first(text: str) -> str:
    return text[:1].lower() + text[1:]


def _remarks(comparison: Comparison) -> None:
    """What the volumes are measured from, and what makes them hard to compare."""
    reference = ", ".join(
        f"{formats.label(name).lower()} {formats.quantity(name, value)}"
        for name, value in comparison.reference.items()
    )
    words = [f"One reference for all: {reference}."] if reference else []
    ragged = [
        study.name
        for study in comparison.studies
        if set(study.table.objectives) != set(comparison.objectives)
    ]
    if ragged and comparison.objectives:
        words.append(f"Only objectives that all share count; {', '.join(ragged)} has others too.")
    empty = [study.name for study in comparison.studies if not len(study.table)]
    if empty:
        words.append(f"Without a {TrialState.COMPLETE} trial: {', '.join(empty)}.")
    st.caption(formats.verbatim(" ".join(words)))


compare_page()
