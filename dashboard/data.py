"""What the pages show, as numbers: cached reads of one store, opened for reading only.

Everything read of a study is kept under the study's version in the store, so that
a page that changes an axis reads nothing again, and a running study is always current.
"""

import io
import os
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import streamlit as st

from dashboard.points import PointTable
from search import front
from search.export import artifact_path, export_point
from search.folder import ExportError
from search.store import Store, StoredPoint, StoredStudy, StoreError, StudySummary
from search.study import Study, StudyError, study_from_toml
from search.trial import HypervolumeRecord, Trial, TrialState
from snn.measurement import METRICS, Evaluation, Measurement

DEFAULT_STORE = "sqlite:///runs/spikefront.db"
STORE_VARIABLE = "SPIKEFRONT_STORE"


@dataclass(frozen=True, kw_only=True)
class StudyCard:
    """One study at a glance."""

    summary: StudySummary
    hypervolumes: tuple[float, ...]  # after each finished trial

    @property
    def finished(self) -> int:
        """Trials that nothing more will happen to."""
        return sum(n for state, n in self.summary.counts.items() if state.is_finished)

    @property
    def progress(self) -> float | None:
        """Share of the trials asked for that are finished; None without such a budget."""
        asked = self.summary.trials_asked
        return min(1.0, self.finished / asked) if asked else None

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


@dataclass(frozen=True, kw_only=True)
class StudyView:
    """Everything that the page of one study's front draws."""

    stored: StoredStudy
    study: Study | None  # None when its TOML is of another version of spikefront
    table: PointTable
    hypervolumes: tuple[HypervolumeRecord, ...]
    knee: int | None  # id of the front's knee
    counts: Mapping[TrialState, int]
    epochs_trained: int


@dataclass(frozen=True, kw_only=True)
class TrialView:
    """Everything that the page of one trial draws."""

    trial: Trial
    points: tuple[StoredPoint, ...]  # its family, the sampled one first
    measurements: tuple[Measurement, ...]
    evaluation: Evaluation | None


def store_url() -> str:
    """The store that the environment names, or the one that `spikefront run` writes."""
    return os.environ.get(STORE_VARIABLE) or DEFAULT_STORE


@st.cache_resource(show_spinner=False, max_entries=8)
def _opened(url: str) -> Store:
    return Store(url, read_only=True)


def open_store(url: str) -> Store:
    """The store of `url`. Raises StoreError when it cannot be read, also when it went away."""
    try:
        store = _opened(url)
        store.study_summaries()
    except StoreError:
        _opened.clear()  # it may come back as another file
        return Store(url, read_only=True)
    return store


# --- studies -----------------------------------------------------------------------------


def study_cards(url: str) -> list[StudyCard]:
    """All studies, the one changed last first."""
    store = open_store(url)
    cards = [
        StudyCard(
            summary=summary, hypervolumes=_curve(url, summary.name, store.version(summary.name))
        )
        for summary in store.study_summaries()
    ]
    return sorted(cards, key=lambda card: card.summary.last_change_at, reverse=True)


@st.cache_resource(show_spinner=False, max_entries=512)
def _curve(url: str, study: str, version: object) -> tuple[float, ...]:
    return tuple(record.value for record in _opened(url).hypervolume(study))


def is_anything_running(url: str) -> bool:
    """Whether some study has a driver at work; False also where no store can be read."""
    try:
        return any(summary.is_running for summary in open_store(url).study_summaries())
    except StoreError:
        return False


# --- one study ---------------------------------------------------------------------------


def study_view(url: str, study: str) -> StudyView:
    """The front of one study. Raises StoreError for a study that is not there."""
    store = open_store(url)
    store.stored_study(study)
    return _study_view(url, study, store.version(study))


@st.cache_resource(show_spinner=False, max_entries=8)
def _study_view(url: str, study: str, version: object) -> StudyView:
    return read_study(_opened(url), study)


def read_study(store: Store, name: str) -> StudyView:
    """The front of one study, read now."""
    stored = store.stored_study(name)
    study = _parsed(stored)
    trials = store.trials(name)
    points = store.operating_points(name)
    states = [trial.state for trial in trials]
    return StudyView(
        stored=stored,
        study=study,
        table=point_table(points, trials, stored.objectives, study),
        hypervolumes=tuple(store.hypervolume(name)),
        knee=knee_of(points, stored.objectives),
        counts={state: states.count(state) for state in TrialState if state in states},
        epochs_trained=sum(trial.epochs_done for trial in trials),
    )


def knee_of(points: Sequence[StoredPoint], objectives: Sequence[str]) -> int | None:
    """Id of the front's knee, the one that `spikefront export --pick knee` takes."""
    members = [point for point in points if point.on_front]
    return front.knee(members, objectives).id if members else None


def _parsed(stored: StoredStudy) -> Study | None:
    try:
        return study_from_toml(stored.toml, stored.name)
    except StudyError:
        return None


def point_table(
    stored: Sequence[StoredPoint],
    trials: Sequence[Trial],
    objectives: Sequence[str],
    study: Study | None,
) -> PointTable:
    """Operating points as columns, with what their trials were and the study's limits."""
    points = [each.point for each in stored]
    bounds = {n: (b.min, b.max) for n, b in study.constraints.items()} if study else {}
    metrics = {
        name: np.asarray([point.metrics[name] for point in points], dtype=np.float64)
        for name in METRICS
    }
    names = dict.fromkeys(name for trial in trials for name in trial.params)
    partitions = {trial.number: partition_of(trial) for trial in trials}
    return PointTable(
        ids=np.asarray([each.id for each in stored], dtype=np.int64),
        trials=np.asarray([each.trial for each in stored], dtype=np.int64),
        on_front=np.asarray([each.on_front for each in stored], dtype=np.bool_),
        is_sampled=np.asarray([point.is_sampled for point in points], dtype=np.bool_),
        is_feasible=_within(metrics, bounds, len(points)),
        metrics=metrics,
        timesteps=np.asarray([point.timesteps for point in points], dtype=np.int64),
        blocks=np.asarray([point.blocks for point in points], dtype=np.int64),
        detector_thresholds=np.asarray([p.detector_threshold for p in points], dtype=np.float64),
        exit_thresholds=tuple(point.exit_thresholds for point in points),
        partitions=tuple(partitions.get(each.trial, "") for each in stored),
        params={name: tuple(each.params.get(name) for each in stored) for name in names},
        objectives=tuple(objectives),
        bounds=bounds,
    )


def partition_of(trial: Trial) -> str:
    """How the trial's network is cut into blocks; empty when that is not known."""
    return trial.config.partition if trial.config else str(trial.params.get("partition", ""))


def _within(
    metrics: Mapping[str, np.ndarray],
    bounds: Mapping[str, tuple[float | None, float | None]],
    count: int,
) -> np.ndarray:
    inside = np.ones(count, dtype=np.bool_)
    for name, (low, high) in bounds.items():
        inside &= metrics[name] >= (-np.inf if low is None else low)
        inside &= metrics[name] <= (np.inf if high is None else high)
    return inside


# --- one trial ---------------------------------------------------------------------------


def trial_view(url: str, study: str, number: int) -> TrialView:
    """One trial. Raises StoreError for one that is not there."""
    store = open_store(url)
    return _trial_view(url, study, number, store.version(study))


@st.cache_resource(show_spinner=False, max_entries=64)
def _trial_view(url: str, study: str, number: int, version: object) -> TrialView:
    return read_trial(_opened(url), study, number)


def read_trial(store: Store, study: str, number: int) -> TrialView:
    """One trial with its family, curves and layers, read now."""
    points = store.operating_points(study, number)
    return TrialView(
        trial=store.trial(study, number),
        points=tuple(sorted(points, key=lambda each: not each.point.is_sampled)),
        measurements=tuple(store.measurements(study, number)),
        evaluation=store.evaluation(study, number),
    )


def trials_of(url: str, study: str) -> tuple[Trial, ...]:
    """All trials of a study, by number."""
    return _trials(url, study, open_store(url).version(study))


@st.cache_resource(show_spinner=False, max_entries=8)
def _trials(url: str, study: str, version: object) -> tuple[Trial, ...]:
    return tuple(_opened(url).trials(study))


# --- taking away -------------------------------------------------------------------------


def export_problem(url: str, study: str, number: int) -> str | None:
    """Why nothing of this trial can be exported, or None."""
    trial = next((each for each in trials_of(url, study) if each.number == number), None)
    if trial is None or trial.artifact is None:
        return "This trial kept no weights."
    try:
        path = artifact_path(trial.artifact.uri)
    except ExportError as error:
        return str(error)
    return None if path.is_file() else "Its weights are not on this machine."


def exported_zip(url: str, study: str, number: int, point: int) -> bytes:
    """One operating point as the folder that `spikefront export` writes, zipped.

    Raises ExportError or StoreError when it cannot be made.
    """
    store = Store(url, read_only=True)
    stored = next(each for each in store.operating_points(study, number) if each.id == point)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / f"{study}-{number}-{point}"
        export_point(store, study, stored, folder, data_dir=data_dir())
        return zipped(folder)


def zipped(folder: Path) -> bytes:
    """The folder as a zip file that unpacks to a folder of the same name."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.rglob("*")):
            archive.write(path, path.relative_to(folder.parent))
    return buffer.getvalue()


def data_dir() -> Path:
    """Where data sets lie, as for every command."""
    return Path(os.environ.get("SPIKEFRONT_DATA") or "data")
