"""What the pages show, as numbers: cached reads of one store, opened for reading only.

Everything read of a study is kept under the study's version in the store, so that
a page that changes an axis reads nothing again, and a running study is always current.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import streamlit as st

from dashboard.data.points import PointTable
from dashboard.data.stop_reason import StopReason, judgement
from dashboard.data.study_table import knee_of, point_table
from search.store.columns import TrialColumns
from search.store.read import StudyHead
from search.store.store import Store, StoredPoint, StoredStudy, StoreError, StudySummary
from search.study.study import Study, StudyError, study_from_toml
from search.trial.confirmation import Confirmed
from search.trial.rung import RungReport
from search.trial.trial import HypervolumeRecord, Trial, TrialState
from snn.settings.measurement import Evaluation, Measurement

DEFAULT_STORE = "sqlite:///runs/spikefront.db"
STORE_VARIABLE = "SPIKEFRONT_STORE"


@dataclass(frozen=True, kw_only=True)
class StudyCard:
    """One study at a glance."""

    summary: StudySummary

    @property
    def finished(self) -> int:
        """Trials that nothing more will happen to."""
        return sum(n for state, n in self.summary.counts.items() if state.is_finished)

    @property
    def progress(self) -> float | None:
        """Share of the budget that is spent, of trials or of epochs; None without either."""
        summary = self.summary
        pairs = (
            (self.finished, summary.trials_asked),
            (summary.epochs_trained, summary.epochs_asked),
        )
        return max((min(1.0, spent / asked) for spent, asked in pairs if asked), default=None)

    @property
    def state(self) -> str:
        """`running`, `finished` or `stopped`."""
        if self.summary.is_running:
            return "running"
        is_whole = self.progress == 1.0 or (self.progress is None and self.finished > 0)
        return "finished" if is_whole else "stopped"

    @property
    def elapsed_s(self) -> float:
        """From the study's first row to its last change."""
        return (self.summary.last_change_at - self.summary.created_at).total_seconds()

    @property
    def remaining_s(self) -> float | None:
        """What the rest will take at the pace so far; None where that cannot be told."""
        if self.state != "running" or self.progress is None or self.finished < 2:
            return None
        return self.elapsed_s * (1 - self.progress) / self.progress


@dataclass(frozen=True, kw_only=True)
class StudyView:
    """Everything that the page of one study's front draws."""

    stored: StoredStudy
    study: Study | None  # None when its TOML is of another version of spikefront
    table: PointTable
    trials: TrialColumns
    hypervolumes: tuple[HypervolumeRecord, ...]
    knee: int | None  # id of the front's knee
    counts: Mapping[TrialState, int]
    epochs_trained: int
    confirmed: Mapping[int, Confirmed]  # points retrained with fresh seeds, by id


@dataclass(frozen=True, kw_only=True)
class TrialView:
    """Everything that the page of one trial draws."""

    trial: Trial
    points: tuple[StoredPoint, ...]  # its family, the sampled one first
    measurements: tuple[Measurement, ...]
    evaluation: Evaluation | None
    rungs: tuple[RungReport, ...] = ()  # where it was judged, the lowest first
    judged: StopReason | None = None  # where it was stopped early, by comparison with others


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


def courses(url: str, cards: Sequence[StudyCard]) -> dict[str, tuple[float, ...]]:
    """Hypervolume after each finished trial, of these studies."""
    return _courses(url, tuple((card.summary.name, card.summary.version) for card in cards))


@st.cache_resource(show_spinner=False, max_entries=64)
def _courses(url: str, versions: tuple[tuple[str, str], ...]) -> dict[str, tuple[float, ...]]:
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


def read_study(store: Store, name: str) -> StudyView:
    """The front of one study, read now."""
    stored = store.stored_study(name)
    study = _parsed(stored)
    limits = study.constraints if study else {}
    columns = store.columns(name, tuple(dict.fromkeys((*stored.objectives, *limits))))
    trials = columns.trials
    table = point_table(store, name, columns, stored.objectives, limits)
    return StudyView(
        stored=stored,
        study=study,
        table=table,
        trials=trials,
        hypervolumes=tuple(store.hypervolume(name)),
        knee=knee_of(table),
        counts={s: trials.states.count(s) for s in TrialState if s in trials.states},
        epochs_trained=int(trials.epochs_done.sum()),
        confirmed=store.confirmed(name),
    )


def _parsed(stored: StoredStudy) -> Study | None:
    try:
        return study_from_toml(stored.toml, stored.name)
    except StudyError:
        return None


def partition_of(trial: Trial) -> str:
    """How the trial's network is cut into blocks; empty when that is not known."""
    return trial.config.partition if trial.config else str(trial.params.get("partition", ""))


# --- one trial ---------------------------------------------------------------------------


def trial_view(url: str, study: str, number: int) -> TrialView:
    """One trial. Raises StoreError for one that is not there."""
    store = open_store(url)
    return _trial_view(url, study, number, store.version(study))


@st.cache_resource(show_spinner=False, max_entries=64)
def _trial_view(url: str, study: str, number: int, version: object) -> TrialView:
    return read_trial(_opened(url), study, number)


def read_trial(store: Store, study: str, number: int) -> TrialView:
    """One trial with its family, curves, rungs and layers, read now."""
    trial = store.trial(study, number)
    points = store.operating_points(study, number)
    return TrialView(
        trial=trial,
        points=tuple(sorted(points, key=lambda each: not each.point.is_sampled)),
        measurements=tuple(store.measurements(study, number)),
        evaluation=store.evaluation(study, number),
        rungs=tuple(store.rungs(study, number)),
        judged=judgement(store, study, trial),
    )


def trials_of(url: str, study: str) -> tuple[Trial, ...]:
    """All trials of a study, by number."""
    return _trials(url, study, open_store(url).version(study))


@st.cache_resource(show_spinner=False, max_entries=8)
def _trials(url: str, study: str, version: object) -> tuple[Trial, ...]:
    return tuple(_opened(url).trials(study))
