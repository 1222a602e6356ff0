"""Study files, cost estimates, start and stop of runs for the Launch page."""

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st

from dashboard.parts.store_cache import forget_store, open_store, trials_of
from search.commands.run import datasets_of
from search.commands.study_file import Cost, chosen, recordings_of, sampled_costs
from search.runners.launch import (
    Launched,
    RunOptions,
    command,
    ended_with,
    launch,
    newest_log,
    save_study,
    shown,
    study_files,
    tail,
)
from search.store.store import Store, StoreError, StudySummary
from search.study.study import Study, study_from_toml
from search.trial.trial import Event, Trial, TrialState
from snn.settings.datasets import is_recorded
from snn.settings.measurement import Measurement
from snn.settings.setting import counted

if TYPE_CHECKING:  # it loads NumPy and the readers
    from snn.data.events.report import Report

ARTIFACTS = Path("runs") / "artifacts"
LOGS = Path("runs") / "logs"
SAVED = Path("runs") / "studies"  # study files made by the form
CONTINUED = LOGS / "continued"  # copies of study files from the store
FOLDERS = (Path(), Path("studies"), SAVED)


def files() -> dict[str, Path]:
    """Return the study files that can be started, by their names in the address."""
    return study_files(FOLDERS)


@st.cache_resource(show_spinner="Estimating the cost of runs", max_entries=32)
def costs(text: str) -> dict[str, Cost]:
    """Return the cost of the smallest, typical and largest of some runs, by training memory."""
    found = sorted(sampled_costs(study_from_toml(text)), key=lambda c: c.training_memory_bytes)
    return chosen(found) if found else {}


def has_recordings(study: Study) -> bool:
    """Return whether a data set of the study has recordings."""
    return study.train is None and any(map(is_recorded, datasets_of(study)))


@st.cache_resource(show_spinner="Reading the recordings", max_entries=8)
def recordings(text: str, data_dir: str) -> "dict[str, Report]":
    """Return a report of each data set of recordings that is on this machine."""
    return recordings_of(study_from_toml(text), Path(data_dir))


def size_words(study: Study) -> str:
    """Return the number of configurations of the space in words: `12 configurations`."""
    size = study.space.size()
    return "infinitely many configurations" if math.isinf(size) else counted(size, "configuration")


def start(url: str, study: Study, path: Path, options: RunOptions) -> Launched:
    """Start or continue a study file in its own process. Raises OSError."""
    return launch(study, path, store=url, artifacts=ARTIFACTS, logs=LOGS, options=options)


def save(text: str, study: Study, *, replace: bool) -> Path:
    """Save a study file made by the form. Raises FileExistsError."""
    return save_study(text, study, SAVED, replace=replace)


def ask_to_stop(url: str, study: str) -> None:
    """Set the study's stop flag, the only write of a page to a store. Raises StoreError."""
    with Store(url) as store:
        store.request_stop(study)


def stored(url: str, name: str) -> Study:
    """Return a study from the store. Raises StoreError, StudyError."""
    return open_store(url).stored_study(name).study()


def proceed(url: str, study: Study, options: RunOptions) -> Launched:
    """Continue a study with its text in the store. Raises OSError."""
    return start(url, study, save_study(study.text, study, CONTINUED, replace=True), options)


def command_shown(path: Path, options: RunOptions) -> str:
    """Return the shell command that starts or continues a study in this folder."""
    return shown(command(path, artifacts=ARTIFACTS, options=options))


def more_s(trials: Sequence[Trial], study: Study, options: RunOptions) -> float | None:
    """Estimate the seconds until the budget of trials is spent; None if that is not possible.

    It assumes the mean duration of the finished trials, and as many trials at a time as workers.
    """
    asked = options.trials or study.budget.trials
    spans = [
        (trial.finished_at - trial.started_at).total_seconds()
        for trial in trials
        if trial.state.is_finished and trial.started_at and trial.finished_at
    ]
    if asked is None or len(spans) < 2:
        return None
    workers = study.budget.workers if options.workers is None else options.workers
    left = max(0, asked - sum(trial.state.is_finished for trial in trials))
    return left * sum(spans) / len(spans) / max(1, workers)


@dataclass(frozen=True, kw_only=True)
class Watched:
    """The state of a study, with its newest log if a page started it."""

    name: str
    summary: StudySummary | None  # None before it is in the store
    is_stopping: bool
    running: tuple[tuple[Trial, Measurement | None], ...]  # with the latest epoch
    events: tuple[Event, ...]  # the newest last
    log: Path | None
    log_text: str
    exit_code: int | None


MOST_RUNNING = 16


def watched(url: str, name: str) -> Watched:
    """Read the state of the study `name`."""
    log = newest_log(LOGS, name)
    text = tail(log) if log else ""
    code = ended_with(log) if log else None
    summary, is_stopping = None, False
    running: list[tuple[Trial, Measurement | None]] = []
    events: list[Event] = []
    try:
        store = open_store(url)
        summary = next((each for each in store.study_summaries() if each.name == name), None)
        if summary is not None:
            is_stopping = store.stop_requested(name)
            events = store.events(name)[-5:]
            if summary.is_running and summary.counts.get(TrialState.RUNNING):
                trials = [t for t in trials_of(url, name) if t.state is TrialState.RUNNING]
                for trial in trials[:MOST_RUNNING]:
                    rows = store.measurements(name, trial.number)
                    running.append((trial, rows[-1] if rows else None))
    except StoreError:
        forget_store()
    return Watched(
        name=name,
        summary=summary,
        is_stopping=is_stopping,
        running=tuple(running),
        events=tuple(events),
        log=log,
        log_text=text,
        exit_code=code,
    )


def has_log(study: str) -> bool:
    """Return whether a page started a run of that study."""
    return newest_log(LOGS, study) is not None


def working_folder() -> str:
    """Return the working folder of the pages and of the runs that they start."""
    return os.getcwd()
