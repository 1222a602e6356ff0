"""All studies of the store: question, progress and result of each."""

import math
from collections.abc import Sequence
from typing import Any

import streamlit as st

from dashboard.data import formats, frames
from dashboard.data.study_view import StudyCard
from dashboard.figures.history import sparkline
from dashboard.parts import frame
from dashboard.parts.store_cache import (
    hypervolume_histories,
    is_anything_running,
    store_url,
    study_cards,
)

PER_PAGE = 12
STATES = {
    "running": ("Running now", ":material/play_circle:", "green"),
    "finished": ("Finished", ":material/check_circle:", "gray"),
    "stopped": ("Stopped", ":material/pause_circle:", "orange"),
}
SHOWN = {"": "All states", **{name: words[0] for name, words in STATES.items()}}
ORDERS = {
    "change": "Changed last",
    "name": "Name",
    "hypervolume": "Hypervolume",
    "front": "Front size",
}


def studies() -> None:
    """Draw a card or a row per study, again every few seconds while one runs."""
    url = store_url()
    frame.live(lambda: _body(url), is_running=lambda: is_anything_running(url))


def _body(url: str) -> None:
    with frame.store_errors():
        every = study_cards(url)
        _title(every)
        if not every:
            st.subheader("No studies yet", anchor=False)
            frame.next_step()
            return
        is_table = len(every) > 1 and _controls(every)
        cards = _matching(every)
        if not cards:
            st.text("No study in this state has these words in its name or question.")
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
    """Draw search, order and form; return whether the studies are shown as a table."""
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        with st.container(width=360):
            frame.type_text(
                "Find",
                "find",
                most=100,
                placeholder=f"words of {len(cards):,} names and questions",
                icon=":material/search:",
            )
        for label, name, options in (("State", "state", SHOWN), ("Order", "order", ORDERS)):
            with st.container(width=200):
                frame.choose_or_default(label, name, list(options), show=options.__getitem__)
        st.space("stretch")
        shown = frame.pick_one("Show as", "as", {"cards": "Cards", "table": "Table"})
    return shown == "table"


def _matching(cards: Sequence[StudyCard]) -> list[StudyCard]:
    """Return the studies that match the words and the state, in the chosen order."""
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
    frame.table(
        frames.studies(cards, hypervolume_histories(url, cards)),
        key="studies-table",
        height=min(640, 36 * (len(cards) + 1) + 3),
        column_config=_columns(),
        on_select=lambda: _open_row(cards),
        selection_mode="single-row",
        alt="All studies with their state, progress, front and time",
    )
    opened = st.session_state.get("study-opened")
    if opened is not None:
        del st.session_state["study-opened"]
        st.switch_page(frame.FRONT, query_params={"study": opened})
    st.caption("Tick a row to open its front. Click the head of a column to sort by it.")


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
            help="Spent share of the budget, in trials or epochs.",
        ),
        "Hypervolume": config.NumberColumn(format="%.3f", help=HYPERVOLUME),
        "History": config.LineChartColumn(help="Hypervolume after each finished trial."),
        "Front": config.NumberColumn(help="Operating points on the Pareto front."),
        "Wall time": config.TextColumn(help="From the first trial to the last change."),
        "Last change": config.DatetimeColumn(format="distance"),
    }


# --- as cards ----------------------------------------------------------------------------

HYPERVOLUME = (
    "Share (0 to 1) of the box between the ideal point and the reference point that the front "
    "dominates. Higher is better."
)


def _cards(url: str, cards: Sequence[StudyCard]) -> None:
    pages = math.ceil(len(cards) / PER_PAGE)
    number = min(max(frame.number_in_address("page") or 1, 1), pages)
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
            "Previous",
            icon=":material/chevron_left:",
            disabled=number == 1,
            on_click=frame.put,
            args=("page", str(number - 1)),
        )
        first = (number - 1) * PER_PAGE + 1
        last = min(number * PER_PAGE, count)
        st.caption(f"{first:,} to {last:,} of {count:,}", width="content")
        st.button(
            "Next",
            icon=":material/chevron_right:",
            icon_position="right",
            disabled=number == pages,
            on_click=frame.put,
            args=("page", str(number + 1)),
        )


def _card(card: StudyCard, history: Sequence[float]) -> None:
    summary = card.summary
    with st.container(border=True, gap="small"):
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.subheader(formats.verbatim(summary.name), anchor=False, width="content")
            name, icon, colour = STATES[card.state]
            st.badge(name, icon=icon, color=colour)  # type: ignore[arg-type]
            st.space("stretch")
            st.page_link(
                frame.FRONT,
                label="Open the front",
                icon=":material/arrow_forward:",
                icon_position="right",
                query_params={"study": summary.name},
            )
        if summary.question:
            st.text(formats.question(summary.question))
        left, right = st.columns([5, 3], gap="large", vertical_alignment="center")
        with left:
            _figures(card)
            st.caption(" · ".join(card.facts))
            if card.progress is not None and card.state != "finished":
                st.progress(card.progress)
        with right:
            _hypervolume(card, history)


def _figures(card: StudyCard) -> None:
    summary = card.summary
    with st.container(horizontal=True, gap="medium"):
        for label, value, meaning in (
            (
                "Front",
                f"{summary.front_size:,}",
                "Operating points on the Pareto front, within the constraints.",
            ),
            (
                "Operating points",
                f"{summary.operating_points:,}",
                "Trained networks at given exit thresholds and timesteps, in the store.",
            ),
            (
                "Epochs trained",
                f"{summary.epochs_trained:,}",
                "Epochs of all trials, without the epochs of reused blocks.",
            ),
            (
                "Wall time",
                formats.duration(card.elapsed_s),
                "From the first trial to the last change.",
            ),
        ):
            st.metric(label, value, width="content", help=meaning)


def _hypervolume(card: StudyCard, history: Sequence[float]) -> None:
    value = card.summary.hypervolume
    is_known = value is not None and math.isfinite(value)
    st.metric(
        "Hypervolume",
        f"{value:.3f}" if is_known else formats.NOTHING,
        help=f"{HYPERVOLUME} Below: its value after each finished trial.",
    )
    known = [value for value in history if math.isfinite(value)]
    if len(known) > 1:
        st.image(sparkline(known, frame.mode()), width="stretch")


studies()
