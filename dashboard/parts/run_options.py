"""The part of the Launch page that says how a study is run: the options of `spikefront run`."""

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
SAME = "as the study says"


def ask(study: Study, path: Path, *, key: str, with_budget: bool = True) -> RunOptions | None:
    """A row of what may be said anew, and the command that comes of it.

    What is as the study has it, is not said again. None, and the faults shown, where the
    command line would refuse. A form has its own places for the budget.
    """
    key = f"{key}-{study.name}"
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        trials, hours, workers = _budget(study.budget, key) if with_budget else (None, None, None)
        with st.container(width=190):
            device = st.selectbox(
                "Device",
                [SAME, *DEVICES],
                key=f"device-{key}",
                help="Where to train. The study says a GPU if it gives trials one, otherwise "
                "the processor; auto is a GPU if there is any.",
            )
        with st.container(width=220):
            folder = st.text_input(
                "Data folder",
                str(downloads.data_dir()),
                key=f"data-{key}",
                help="Where data sets lie on this machine.",
            )
    options = RunOptions(
        data=Path(folder.strip()),
        trials=trials,
        hours=hours,
        workers=workers,
        device=None if device == SAME else device,
    )
    faults = _faults(study, options, folder)
    study_form.say(faults)
    if faults:
        return None
    st.code(launching.command_shown(path, options), language="bash", wrap_lines=True)
    return options


def _budget(budget: Budget, key: str) -> tuple[int | None, float | None, int | None]:
    """Trials, hours and workers, each None where it is as the study has it."""
    with st.container(width=150):
        trials = st.number_input(
            "Trials in all",
            1,
            MOST_TRIALS,
            budget.trials,
            key=f"trials-{key}",
            placeholder="no end",
            help="Trials that the study may have, those that it has among them.",
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
            placeholder="no end",
            help="Hours at work after which no trial is begun.",
        )
    with st.container(width=150):
        workers = st.number_input(
            "Workers",
            0,
            MOST_WORKERS,
            budget.workers,
            key=f"workers-{key}",
            help="Trials at a time, each on a Ray worker; 0 runs them one after another "
            "without Ray.",
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
        found += [f"{fault.key} {fault.message}" for fault in error.faults]
    return found


def say_time(url: str, study: Study, options: RunOptions) -> None:
    """How long the rest will take, where the trials so far tell."""
    seconds = launching.more_s(trials_of(url, study.name), study, options)
    if seconds:
        st.caption(f"At the pace so far the rest takes about {formats.duration(seconds)}.")
