"""Every study of the store: what it asks, how far it is, what it found."""

import math

import streamlit as st

from dashboard import course_figures, data, formats, page
from search.trial import TrialState

STATES = {
    "running": ("Running now", ":material/play_circle:", "green"),
    "finished": ("Finished", ":material/check_circle:", "gray"),
    "stopped": ("Stopped", ":material/pause_circle:", "orange"),
}


def studies() -> None:
    """The page: a card per study, looked at again while one runs."""
    url = data.store_url()
    st.title("Studies", anchor=False)
    page.live(lambda: _cards(url), is_running=lambda: data.is_anything_running(url))


def _cards(url: str) -> None:
    with page.store_errors():
        found = data.study_cards(url)
    if not found:
        st.subheader("No studies yet", anchor=False)
        page.next_step()
    for card in found:
        _card(card)


def _card(card: data.StudyCard) -> None:
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
            _hypervolume(card)


def _figures(card: data.StudyCard) -> None:
    summary = card.summary
    with st.container(horizontal=True, gap="medium"):
        st.metric(
            "Front",
            f"{summary.front_size}",
            width="content",
            help="Operating points that no other dominates, within the constraints.",
        )
        st.metric(
            "Operating points",
            f"{summary.operating_points:,}",
            width="content",
            help="Trained networks at given exit thresholds and timesteps, kept in the store.",
        )
        st.metric("Epochs trained", f"{summary.epochs_trained:,}", width="content")
        st.metric(
            "Wall time",
            formats.duration(card.elapsed_s),
            width="content",
            help="From the first trial to the last change.",
        )


def _hypervolume(card: data.StudyCard) -> None:
    value = card.summary.hypervolume
    st.metric(
        "Hypervolume",
        formats.NOTHING if value is None else f"{value:.3f}",
        help="Share of the box between the ideal and the reference point that the front "
        "dominates, 0 to 1; below, its course over the finished trials.",
    )
    known = [value for value in card.hypervolumes if math.isfinite(value)]
    if len(known) > 1:
        st.image(course_figures.sparkline(known, page.mode()), width="stretch")


def _progress_words(card: data.StudyCard) -> str:
    summary = card.summary
    asked = f" of {summary.trials_asked}" if summary.trials_asked else ""
    words = [f"{card.finished}{asked} trials finished"]
    words += [
        f"{summary.counts[state]} {state}"
        for state in (TrialState.RUNNING, TrialState.WAITING, TrialState.PRUNED, TrialState.FAILED)
        if summary.counts.get(state)
    ]
    words.append(f"last change {page.ago(summary.last_change_at)}")
    return " · ".join(words)


studies()
