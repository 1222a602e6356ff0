"""Cached reads of one store, opened for reading only.

The cache key has the study's version in the store: a change of an axis reads nothing again, and a
running study is always current.
"""

import os
from collections.abc import Sequence
from dataclasses import replace

import streamlit as st

from dashboard.data.study_view import StudyCard, StudyView, TrialView, read_study, read_trial
from search.store.records import StudyHead
from search.store.store import Store, StoreError
from search.trial.trial import Trial

DEFAULT_STORE = "sqlite:///runs/spikefront.db"
STORE_VARIABLE = "SPIKEFRONT_STORE"


def store_url() -> str:
    """Return the store of SPIKEFRONT_STORE, or the default of `spikefront run`."""
    return os.environ.get(STORE_VARIABLE) or DEFAULT_STORE


@st.cache_resource(show_spinner=False, max_entries=8)
def _opened(url: str) -> Store:
    return Store(url, read_only=True)


def open_store(url: str) -> Store:
    """Return the store of `url`. Raises StoreError if it cannot be opened."""
    return _opened(url)


def forget_store() -> None:
    """Open the store again at the next read: it may be another file by then."""
    _opened.clear()


# --- studies -----------------------------------------------------------------------------


def study_heads(url: str) -> list[StudyHead]:
    """Return all studies, the one changed last first."""
    return open_store(url).study_heads()


def study_cards(url: str) -> list[StudyCard]:
    """Return the cards of all studies, the one changed last first; the running state is current."""
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
        raise StoreError("a study was deleted while the page was drawn; reload the page")
    return [StudyCard(summary=by_name[name]) for name, _ in versions]


def hypervolume_histories(url: str, cards: Sequence[StudyCard]) -> dict[str, tuple[float, ...]]:
    """Return the hypervolumes after each finished trial, by study."""
    return _histories(url, tuple((card.summary.name, card.summary.version) for card in cards))


@st.cache_resource(show_spinner=False, max_entries=64)
def _histories(url: str, versions: tuple[tuple[str, str], ...]) -> dict[str, tuple[float, ...]]:
    return _opened(url).hypervolume_courses([name for name, _ in versions])


def is_anything_running(url: str) -> bool:
    """Return whether a study has a driver; False if the store cannot be read."""
    try:
        return any(head.is_running for head in study_heads(url))
    except StoreError:
        return False


# --- one study ---------------------------------------------------------------------------


def study_view(url: str, study: str) -> StudyView:
    """Return a study with its front. Raises StoreError if there is no such study."""
    view = _study_view(url, study, open_store(url).version(study))
    stored = open_store(url).stored_study(study)
    return replace(view, stored=stored)  # a renewed lease does not change the version


@st.cache_resource(show_spinner=False, max_entries=8)
def _study_view(url: str, study: str, version: object) -> StudyView:
    return read_study(_opened(url), study)


# --- one trial ---------------------------------------------------------------------------


def trial_view(url: str, study: str, number: int) -> TrialView:
    """Return a trial. Raises StoreError if there is no such trial."""
    store = open_store(url)
    return _trial_view(url, study, number, store.version(study))


@st.cache_resource(show_spinner=False, max_entries=64)
def _trial_view(url: str, study: str, number: int, version: object) -> TrialView:
    return read_trial(_opened(url), study, number)


def trials_of(url: str, study: str) -> tuple[Trial, ...]:
    """Return all trials of a study, by number."""
    return _trials(url, study, open_store(url).version(study))


def trials_without_configs_of(url: str, study: str) -> tuple[Trial, ...]:
    """Return the same without configs of finished trials, which takes a tenth of the time."""
    return _trials(url, study, open_store(url).version(study), configs=False)


@st.cache_resource(show_spinner=False, max_entries=8)
def _trials(url: str, study: str, version: object, *, configs: bool = True) -> tuple[Trial, ...]:
    return tuple(_opened(url).trials(study, configs=configs))
