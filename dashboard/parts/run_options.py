"""The options of `spikefront run` on the Launch page."""

from pathlib import Path

import streamlit as st

from dashboard.data import formats
from dashboard.parts import downloads, launching, study_form
from dashboard.parts.store_cache import trials_of
from search.commands.options import DEVICES
from search.runners.launch import RunOptions
from search.study.study import Budget, Study, StudyError

MOST_TRIALS = 1_000_000
MOST_WORKERS = 256
SAME = "as in the study"


def ask(study: Study, path: Path, *, key: str, with_budget: bool = True) -> RunOptions | None:
    """Draw the options and the command with them; return the options.

    A value that the study already has is no option. Returns None, with the faults shown, for
    options that the command line refuses. The form has its own fields for the budget.
    """
    key = f"{key}-{study.name}"
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        trials, hours, workers = _budget(study.budget, key) if with_budget else (None, None, None)
        with st.container(width=190):
            device = st.selectbox(
                "Device",
                [SAME, *DEVICES],
                key=f"device-{key}",
                help="Device of the training. As in the study: a GPU if the study assigns GPUs to "
                "trials, otherwise the CPU. auto: a GPU if there is one.",
            )
        with st.container(width=220):
            folder = st.text_input(
                "Data folder",
                str(downloads.data_dir()),
                key=f"data-{key}",
                help="Folder of the data sets on this machine.",
            )
    options = RunOptions(
        data=Path(folder.strip()),
        trials=trials,
        hours=hours,
        workers=workers,
        device=None if device == SAME else device,
    )
    faults = _faults(study, options, folder)
    study_form.show_faults(faults)
    if faults:
        return None
    st.code(launching.command_shown(path, options), language="bash", wrap_lines=True)
    return options


def _budget(budget: Budget, key: str) -> tuple[int | None, float | None, int | None]:
    """Draw trials, hours and workers; return each, None for the value of the study."""
    with st.container(width=150):
        trials = st.number_input(
            "Total trials",
            1,
            MOST_TRIALS,
            budget.trials,
            key=f"trials-{key}",
            placeholder="no limit",
            help="Number of trials of the study, with those already in the store.",
        )
    with st.container(width=150):
        hours = st.number_input(
            "Hours",
            0.0,
            100_000.0,
            budget.hours,
            step=0.5,
            format="%g",
            key=f"hours-{key}",
            placeholder="no limit",
            help="Hours of training after which no trial starts.",
        )
    with st.container(width=150):
        workers = st.number_input(
            "Workers",
            0,
            MOST_WORKERS,
            budget.workers,
            key=f"workers-{key}",
            help="Trials at the same time, each on a Ray worker. 0: one after another, without "
            "Ray.",
        )
    return (
        None if trials == budget.trials else trials,
        None if hours == budget.hours else hours,
        None if workers == budget.workers else workers,
    )


def _faults(study: Study, options: RunOptions, folder: str) -> list[str]:
    found = [] if folder.strip() else ["--data must be a path, got ''"]
    if options.hours == 0:
        return [*found, "--hours must be a number above 0, got '0'"]
    try:
        study.with_overrides(trials=options.trials, hours=options.hours)
    except StudyError as error:
        found += map(str, error.faults)
    return found


def show_time(url: str, study: Study, options: RunOptions) -> None:
    """Show the estimated time of the remaining trials, if there is an estimate."""
    seconds = launching.more_s(trials_of(url, study.name), study, options)
    if seconds:
        st.caption(f"The remaining trials take about {formats.duration(seconds)}.")
