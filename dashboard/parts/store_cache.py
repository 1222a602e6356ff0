"""Cached reads of one store, opened for reading only.

Everything read of a study is kept under the study's version in the store: a page that changes an
axis reads nothing again, and a running study is always current.
"""

import os
from collections.abc import Sequence
from dataclasses import replace

import streamlit as st

from dashboard.data.study_view import StudyCard, StudyView, TrialView, read_study, read_trial
from search.store.read import StudyHead
from search.store.store import Store, StoreError
from search.trial.trial import Trial

DEFAULT_STORE = "sqlite:///runs/spikefront.db"
STORE_VARIABLE = "SPIKEFRONT_STORE"


def store_url() -> str:
    """The store that the environment names, or the one that `spikefront run` writes."""
    return os.environ.get(STORE_VARIABLE) or DEFAULT_STORE


@st.cache_resource(show_spinner=False, max_entries=8)
def _opened(url: str) -> Store:
    return Store(url, read_only=True)


def open_store(url: str) -> Store:
    """The store of `url`. Raises StoreError when it cannot be opened."""
    return _opened(url)


def forget_store() -> None:
    """Open it anew the next time: it may come back as another file."""
    _opened.clear()


# --- studies -----------------------------------------------------------------------------


def study_heads(url: str) -> list[StudyHead]:
    """All studies, the one changed last first."""
    return open_store(url).study_heads()


def study_cards(url: str) -> list[StudyCard]:
    """All studies, the one changed last first; who runs is always asked anew."""
    heads = study_heads(url)
    cards = _cards(url, tuple((head.name, head.version) for head in heads))
    return [
        replace(card, summary=replace(card.summary, is_running=head.is_running))
        for head, card in zip(heads, cards, strict=True)
    ]


@st.cache_resource(show_spinner=False, max_entries=4)
def _cards(url: str, versions: tuple[tuple[str, str], ...]) -> list[StudyCard]:
    by_name = {summary.name: summary for summary in _opened(url).study_summaries()}
    if not all(name in by_name for name, _ in versions):
        raise StoreError("a study was just deleted; look again")
    return [StudyCard(summary=by_name[name]) for name, _ in versions]


def hypervolume_histories(url: str, cards: Sequence[StudyCard]) -> dict[str, tuple[float, ...]]:
    """Hypervolume after each finished trial, of these studies."""
    return _histories(url, tuple((card.summary.name, card.summary.version) for card in cards))


@st.cache_resource(show_spinner=False, max_entries=64)
def _histories(url: str, versions: tuple[tuple[str, str], ...]) -> dict[str, tuple[float, ...]]:
    return _opened(url).hypervolume_courses([name for name, _ in versions])


def is_anything_running(url: str) -> bool:
    """Whether some study has a driver at work; False also where no store can be read."""
    try:
        return any(head.is_running for head in study_heads(url))
    except StoreError:
        return False


# --- one study ---------------------------------------------------------------------------


def study_view(url: str, study: str) -> StudyView:
    """The front of one study. Raises StoreError for a study that is not there."""
    view = _study_view(url, study, open_store(url).version(study))
    stored = open_store(url).stored_study(study)
    return replace(view, stored=stored)  # a lease that is renewed is no new version


@st.cache_resource(show_spinner=False, max_entries=8)
def _study_view(url: str, study: str, version: object) -> StudyView:
    return read_study(_opened(url), study)


# --- one trial ---------------------------------------------------------------------------


def trial_view(url: str, study: str, number: int) -> TrialView:
    """One trial. Raises StoreError for one that is not there."""
    store = open_store(url)
    return _trial_view(url, study, number, store.version(study))


@st.cache_resource(show_spinner=False, max_entries=64)
def _trial_view(url: str, study: str, number: int, version: object) -> TrialView:
    return read_trial(_opened(url), study, number)


def trials_of(url: str, study: str) -> tuple[Trial, ...]:
    """All trials of a study, by number."""
    return _trials(url, study, open_store(url).version(study))


@st.cache_resource(show_spinner=False, max_entries=8)
def _trials(url: str, study: str, version: object) -> tuple[Trial, ...]:
    return tuple(_opened(url).trials(study))
