"""Every study of the store: what it asks, how far it is, what it found."""

import math
from collections.abc import Sequence
from typing import Any

import streamlit as st

from dashboard.data import formats, frames
from dashboard.data.study_view import StudyCard
from dashboard.figures import history as course_figures
from dashboard.parts import frame as page
from dashboard.parts.store_cache import (
    hypervolume_histories,
    is_anything_running,
    store_url,
    study_cards,
)
from search.trial.trial import TrialState

PER_PAGE = 12
STATES = {
    "running": ("Running now", ":material/play_circle:", "green"),
    "finished": ("Finished", ":material/check_circle:", "gray"),
    "stopped": ("Stopped", ":material/pause_circle:", "orange"),
}
ORDERS = {
    "change": "Changed last",
    "name": "Name",
    "hypervolume": "Hypervolume",
    "front": "Front size",
}


def studies() -> None:
    """The page: a card or a row per study, looked at again while one runs."""
    url = store_url()
    page.live(lambda: _body(url), is_running=lambda: is_anything_running(url))


def _body(url: str) -> None:
    with page.store_errors():
        every = study_cards(url)
        _title(every)
        if not every:
            st.subheader("No studies yet", anchor=False)
            page.next_step()
            return
        is_table = len(every) > 1 and _controls(every)
        cards = _wanted(every)
        if not cards:
            st.text("No study has these words in its name or question.")
        elif is_table:
            _table(url, cards)
        else:
            _cards(url, cards)


def _title(cards: Sequence[StudyCard]) -> None:
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.title("Studies", anchor=False, width="content")
        running = sum(card.state == "running" for card in cards)
        if running:
            st.badge(f"{running:,} running", icon=":material/play_circle:", color="green")


def _controls(cards: Sequence[StudyCard]) -> bool:
    """Search, order, and how they are shown. Returns whether as a table."""
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        with st.container(width=360):
            key = "find"
            page.preset(key, st.query_params.get("find", ""))
            st.text_input(
                "Find",
                key=key,
                placeholder=f"a word, in {len(cards):,} names and questions",
                icon=":material/search:",
                max_chars=100,
                on_change=_find,
            )
        states = {"": "All states", **{name: words[0] for name, words in STATES.items()}}
        with st.container(width=200):
            page.choose_plainly("State", "state", states)
        with st.container(width=200):
            page.choose_plainly("Order", "order", ORDERS)
        st.space("stretch")
        shown = page.pick_one("Show as", "as", {"cards": "Cards", "table": "Table"})
    return shown == "table"


def _find() -> None:
    page.put("find", str(st.session_state["find"]).strip())
    page.put("page", "")


def _wanted(cards: Sequence[StudyCard]) -> list[StudyCard]:
    """Those that were asked for, in the order that was asked for."""
    words = st.query_params.get("find", "").casefold().split()
    state = st.query_params.get("state", "")
    found = [
        card
        for card in cards
        if (state not in STATES or card.state == state)
        and all(word in f"{card.summary.name} {card.summary.question}".casefold() for word in words)
    ]
    match st.query_params.get("order"):
        case "name":
            found.sort(key=lambda card: card.summary.name)
        case "hypervolume":
            found.sort(key=lambda card: -_known(card.summary.hypervolume))
        case "front":
            found.sort(key=lambda card: -card.summary.front_size)
    return found


def _known(value: float | None) -> float:
    return value if value is not None and math.isfinite(value) else -1.0


# --- as a table --------------------------------------------------------------------------


def _table(url: str, cards: Sequence[StudyCard]) -> None:
    frame = frames.studies(cards, hypervolume_histories(url, cards))
    st.dataframe(
        frame,
        key="studies-table",
        hide_index=True,
        height=min(640, 36 * (len(cards) + 1) + 3),
        column_config=_columns(),
        on_select=lambda: _open_row(cards),
        selection_mode="single-row",
        alt="All studies with their state, progress, front and time",
    )
    opened = st.session_state.get("study-opened")
    if opened is not None:
        del st.session_state["study-opened"]
        st.switch_page(page.FRONT, query_params={"study": opened})
    st.caption("Tick a row to open its front. A click on a column's head sorts by it.")


def _open_row(cards: Sequence[StudyCard]) -> None:
    rows = st.session_state["studies-table"]["selection"]["rows"]
    if rows and rows[0] < len(cards):
        st.session_state["study-opened"] = cards[rows[0]].summary.name


def _columns() -> dict[str, Any]:
    config = st.column_config
    return {
        "Study": config.TextColumn(pinned=True),
        "Progress": config.ProgressColumn(
            format="percent",
            min_value=0,
            max_value=1,
            help="Share of the budget that is spent, of trials or of epochs.",
        ),
        "Hypervolume": config.NumberColumn(format="%.3f", help=HYPERVOLUME),
        "Course": config.LineChartColumn(help="The hypervolume over the finished trials."),
        "Front": config.NumberColumn(help="Operating points that no other dominates."),
        "Wall time": config.TextColumn(help="From the first trial to the last change."),
        "Last change": config.DatetimeColumn(format="distance"),
    }


# --- as cards ----------------------------------------------------------------------------

HYPERVOLUME = (
    "Share of the box between the ideal and the reference point that the front dominates, 0 to 1."
)


def _cards(url: str, cards: Sequence[StudyCard]) -> None:
    pages = math.ceil(len(cards) / PER_PAGE)
    asked = st.query_params.get("page", "1")
    number = min(max(int(asked), 1), pages) if asked.isascii() and asked.isdigit() else 1
    shown = cards[(number - 1) * PER_PAGE : number * PER_PAGE]
    histories = hypervolume_histories(url, shown)
    for card in shown:
        _card(card, histories.get(card.summary.name, ()))
    if pages > 1:
        _pages(number, pages, len(cards))


def _pages(number: int, pages: int, count: int) -> None:
    with st.container(
        horizontal=True, vertical_alignment="center", horizontal_alignment="center", gap="small"
    ):
        st.button(
            "Before",
            icon=":material/chevron_left:",
            disabled=number == 1,
            on_click=page.put,
            args=("page", str(number - 1)),
        )
        first = (number - 1) * PER_PAGE + 1
        last = min(number * PER_PAGE, count)
        st.caption(f"{first:,} to {last:,} of {count:,}", width="content")
        st.button(
            "After",
            icon=":material/chevron_right:",
            icon_position="right",
            disabled=number == pages,
            on_click=page.put,
            args=("page", str(number + 1)),
        )


def _card(card: StudyCard, course: Sequence[float]) -> None:
    summary = card.summary
    with st.container(border=True, gap="small"):
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.subheader(formats.verbatim(summary.name), anchor=False, width="content")
            name, icon, colour = STATES[card.state]
            st.badge(name, icon=icon, color=colour)  # type: ignore[arg-type]
            st.space("stretch")
            st.page_link(
                page.FRONT,
                label="Open the front",
                icon=":material/arrow_forward:",
                icon_position="right",
                query_params={"study": summary.name},
            )
        if summary.question:
            st.text(" ".join(summary.question.split()))
        left, right = st.columns([5, 3], gap="large", vertical_alignment="center")
        with left:
            _figures(card)
            st.caption(_progress_words(card))
            if card.progress is not None and card.state != "finished":
                st.progress(card.progress)
        with right:
            _hypervolume(card, course)


def _figures(card: StudyCard) -> None:
    summary = card.summary
    with st.container(horizontal=True, gap="medium"):
        for label, value, meaning in (
            (
                "Front",
                f"{summary.front_size:,}",
                "Operating points that no other dominates, within the constraints.",
            ),
            (
                "Operating points",
                f"{summary.operating_points:,}",
                "Trained networks at given exit thresholds and timesteps, kept in the store.",
            ),
            (
                "Epochs trained",
                f"{summary.epochs_trained:,}",
                "Of all trials together, without the epochs of blocks that were reused.",
            ),
            (
                "Wall time",
                formats.duration(card.elapsed_s),
                "From the first trial to the last change.",
            ),
        ):
            st.metric(label, value, width="content", help=meaning)


def _hypervolume(card: StudyCard, course: Sequence[float]) -> None:
    value = card.summary.hypervolume
    is_known = value is not None and math.isfinite(value)
    st.metric(
        "Hypervolume",
        f"{value:.3f}" if is_known else formats.NOTHING,
        help=f"{HYPERVOLUME} Below, its course over the finished trials.",
    )
    known = [value for value in course if math.isfinite(value)]
    if len(known) > 1:
        st.image(course_figures.sparkline(known, page.mode()), width="stretch")


def _progress_words(card: StudyCard) -> str:
    summary = card.summary
    asked = f" of {summary.trials_asked:,}" if summary.trials_asked else ""
    words = [f"{card.finished:,}{asked} trials finished"]
    if summary.epochs_asked and summary.epochs_trained < summary.epochs_asked:
        words.append(f"{summary.epochs_trained:,} of {summary.epochs_asked:,} epochs")
    elif summary.epochs_asked:
        words.append(f"all {summary.epochs_asked:,} epochs of the budget")
    words += [
        f"{summary.counts[state]:,} {state}"
        for state in (TrialState.RUNNING, TrialState.WAITING, TrialState.PRUNED, TrialState.FAILED)
        if summary.counts.get(state)
    ]
    if card.remaining_s is not None:
        words.append(f"about {formats.duration(card.remaining_s)} to go")
    words.append(f"last change {page.ago(summary.last_change_at)}")
    return " · ".join(words)


studies()
