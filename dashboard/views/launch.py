"""Choose or make a study, see its cost, start it, watch it, stop it."""

from collections.abc import Callable
from pathlib import Path

import streamlit as st

from dashboard.data import formats
from dashboard.data.inputs import inputs_of_study
from dashboard.data.recording_facts import recording_facts
from dashboard.data.study_draft import read
from dashboard.data.study_view import StudyCard
from dashboard.parts import downloads, frame, launching, run_options, study_form
from dashboard.parts.store_cache import forget_store, open_store, store_url
from search.commands.study_file import Cost
from search.runners.launch import RunOptions
from search.store.store import StoreError
from search.study.study import Study, StudyError
from snn.settings.setting import counted

WATCH_S = 2.0
SOURCES = {"file": "A study file", "form": "A new study"}
LOG_HEIGHT = 320


def launch() -> None:
    """Draw the studies to start above, and the running ones below, every WATCH_S seconds."""
    url = store_url()
    st.title("Launch", anchor=False)
    with st.container(border=True):
        source = frame.pick_one("Start", "from", SOURCES)
        if source == "file":
            _from_file(url)
        else:
            _from_form(url)
    st.subheader("Runs", anchor=False)
    st.fragment(_runs, run_every=WATCH_S)(url)


# --- studies to start ---------------------------------------------------------------


def _from_file(url: str) -> None:
    files = launching.files()
    if not files:
        inner = " and ".join(f"{folder}/" for folder in launching.FOLDERS[1:])
        st.text(
            f"There is no study file in {launching.working_folder()}, nor in its {inner}. "
            "Put one there, or make a new study."
        )
        return
    first = next((n for n, path in files.items() if path.name == "digits.toml"), next(iter(files)))
    name = frame.choose("Study file", "file", list(files), first)
    try:
        text = files[name].read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        st.error(formats.verbatim(f"{name} cannot be read: {error}"))
        return
    reading = read(text, name)
    study_form.show_faults(reading.elsewhere())
    with st.expander("Study file"):
        st.code(text, language="toml")
    if reading.study is None:
        return
    _cost(reading.study)
    _recordings(reading.study)
    _start_row(url, reading.study, files[name], lambda: files[name], key="file")


def _from_form(url: str) -> None:
    draft, reading = study_form.form()
    text = draft.text()
    with st.expander("Study file"):
        st.code(text, language="toml")
    if reading.study is None:
        st.text("Correct the fields marked above; then the study can start.")
        return
    _cost(reading.study)
    _recordings(reading.study)
    study = reading.study
    replace = st.checkbox(
        f"Replace {launching.SAVED}/{study.name}.toml if it differs",
        key="form-replace",
    )
    path = launching.SAVED / f"{study.name}.toml"
    _start_row(url, study, path, lambda: launching.save(text, study, replace=replace), key="form")


def _cost(study: Study) -> None:
    """Draw the size of the space and the cost of some runs, as `spikefront validate` does."""
    budget = study.budget
    heads = [
        counted(budget.trials, "trial") if budget.trials else "no limit of trials",
        f"{budget.workers} at a time",
        launching.size_words(study),
        f"sampler {study.search.sampler}",
    ]
    st.markdown(f"**{formats.verbatim(study.name)}**: {formats.verbatim(', '.join(heads))}")
    if study.question:
        st.text(formats.question(study.question))
    found = launching.costs(study.text)
    if not found:
        st.text("None of the random configurations can run, so there is no cost estimate.")
        return
    sample = inputs_of_study(study).sample
    rows = [
        {
            "Run": name,
            "Parameters": formats.count(cost.parameters),
            "Model, dense": formats.quantity("model_bytes", cost.model_bytes),
            "Training memory": formats.quantity(
                "training_memory_bytes", cost.training_memory_bytes
            ),
            f"MACs per {sample}": formats.count(cost.macs_per_image),
            "Epochs": cost.epochs,
            "Settings": _settings(cost),
        }
        for name, cost in found.items()
    ]
    frame.table(rows, width="stretch")
    words = [
        "Cost of random configurations, sorted by training memory. MACs: as if every connection "
        "existed and every input were non-zero."
    ]
    if budget.trials:
        epochs = [budget.trials * cost.epochs for cost in found.values()]
        least, most = min(epochs), max(epochs)
        span = f"{least:,}" if least == most else f"{least:,} to {most:,}"
        words.append(f"Epochs of {counted(budget.trials, 'such trial')}: {span}.")
    st.caption(" ".join(words))


def _recordings(study: Study) -> None:
    """Draw what the recordings of the study are like, as `spikefront validate` tells it."""
    if not launching.has_recordings(study):
        return
    opened = st.expander("Data: what its recordings are like", key="data", on_change="rerun")
    if not opened.open:
        return
    with opened:
        found = launching.recordings(study.text, str(downloads.data_dir()))
        if not found:
            st.text(f"None of its data sets is in the folder {downloads.data_dir()}.")
        for name, report in found.items():
            st.markdown(f"**{formats.verbatim(name)}**")
            with st.container(horizontal=True, gap="medium"):
                for label, value, meaning in recording_facts(report):
                    st.metric(label, value, help=meaning, width="content")
        if found:
            st.caption(
                "Of the training part, cut as in the first random configuration with this data set."
            )


def _settings(cost: Cost) -> str:
    return ", ".join(
        f"{name}={formats.plain_number(value) if isinstance(value, int | float) else value}"
        for name, value in cost.params.items()
    )


def _start_row(url: str, study: Study, path: Path, made: Callable[[], Path], *, key: str) -> None:
    """Draw the options and the button that starts the study, unless it is running."""
    run = launching.watched(url, study.name)
    if run.summary is not None and run.summary.is_running:
        st.text("This study is running, see below.")
        return
    is_there = run.summary is not None
    options = run_options.ask(study, path, key=key, with_budget=key != "form")
    if options is not None:
        st.button(
            "Continue" if is_there else "Start",
            key=f"start-{key}",
            type="primary",
            icon=":material/rocket_launch:",
            help="The store has this study; its trials are kept." if is_there else None,
            on_click=_start,
            args=(url, study, made, options),
        )
    _show_trouble()


def _start(url: str, study: Study, made: Callable[[], Path], options: RunOptions) -> None:
    try:
        launching.start(url, study, made(), options)
    except OSError as error:
        st.session_state["launch-trouble"] = str(error)
        return
    frame.put("watch", study.name)


def _show_trouble() -> None:
    trouble = st.session_state.pop("launch-trouble", "")
    if trouble:
        st.error(formats.verbatim(trouble), icon=":material/error:")


# --- running studies ---------------------------------------------------------------------------


def _runs(url: str) -> None:
    """Draw all running studies, wherever they were started, and the one in the address."""
    try:
        summaries = open_store(url).study_summaries()
    except StoreError as error:
        forget_store()
        summaries = []
        if not str(error).startswith("no store at"):  # the first study makes it
            st.error(formats.verbatim(str(error)), icon=":material/error:")
    names = [summary.name for summary in summaries if summary.is_running]
    known = {summary.name for summary in summaries}
    asked = st.query_params.get("watch", "")
    is_launched = bool(asked) and launching.has_log(asked)
    if asked in known or is_launched:
        names = [asked, *(name for name in names if name != asked)]
    if not names:
        st.text("No study is running.")
        if known:
            st.caption("Choose a study of the store to see or continue it:")
    for name in names:
        _watched(url, launching.watched(url, name))
    others = [name for name in sorted(known) if name not in names]
    if others:
        st.session_state["watch-other"] = None
        st.selectbox(
            "Another study",
            others,
            key="watch-other",
            index=None,
            placeholder="Choose a study of the store",
            on_change=lambda: frame.put("watch", str(st.session_state["watch-other"] or "")),
        )


def _watched(url: str, run: launching.Watched) -> None:
    with st.container(border=True):
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.markdown(f"**{formats.verbatim(run.name)}**", width="content")
            state, icon, colour = _state(run)
            st.badge(state, icon=icon, color=colour)  # type: ignore[arg-type]
            st.space("stretch")
            if run.summary is not None:
                st.page_link(
                    frame.FRONT,
                    label="Open the front",
                    icon=":material/stairs:",
                    query_params={"study": run.name},
                )
        if run.summary is None:
            st.text(
                "Starting. The study appears in the store in a moment."
                if run.exit_code is None
                else "The run ended before the study was in the store. See the log."
            )
        else:
            _progress(run)
        _log(run)
        _show_trouble()
        if run.summary is not None:
            _buttons(url, run)


def _state(run: launching.Watched) -> tuple[str, str, str]:
    summary = run.summary
    if summary is None:
        if run.exit_code is None:
            return "Starting", ":material/hourglass_top:", "blue"
        return "Failed to start", ":material/error:", "red"
    if summary.is_running and run.is_stopping:
        return "Stopping", ":material/stop_circle:", "orange"
    if summary.is_running:
        return "Running now", ":material/play_circle:", "green"
    if StudyCard(summary=summary).state == "finished":
        return "Finished", ":material/check_circle:", "gray"
    return "Stopped", ":material/pause_circle:", "orange"


def _progress(run: launching.Watched) -> None:
    summary = run.summary
    assert summary is not None
    card = StudyCard(summary=summary)
    words = [*card.facts, f"front {summary.front_size:,}"]
    if summary.hypervolume is not None:
        words.append(f"hypervolume {summary.hypervolume:.3f}")
    st.caption(" · ".join(words))
    if card.progress is not None:
        st.progress(card.progress)
    for trial, latest in run.running:
        total = trial.config.total_epochs if trial.config else 0
        if latest is None:
            st.caption(f"Trial {trial.number}: first epoch")
            continue
        st.caption(
            f"Trial {trial.number}: epoch {latest.epochs_done} of {latest.epochs_total or total}, "
            + ", ".join(
                f"{formats.label(name).lower()} {formats.quantity(name, value)}"
                for name, value in (latest.metrics or {"accuracy": latest.accuracy}).items()
            )
        )
    for event in run.events:
        st.text(f"{formats.ago(event.at)}: {event.message}")


def _log(run: launching.Watched) -> None:
    if run.log is None:
        if run.summary is not None and run.summary.is_running:
            st.caption(
                "Started elsewhere, by "
                f"{formats.verbatim(run.summary.lease_holder or 'an unknown process')}; the log "
                "is there."
            )
        return
    with st.expander(formats.verbatim(f"Log, {run.log}"), expanded=True):
        st.code(run.log_text or " ", language=None, height=LOG_HEIGHT)


def _buttons(url: str, run: launching.Watched) -> None:
    summary = run.summary
    assert summary is not None
    if summary.is_running:
        st.button(
            "Stop",
            key=f"stop-{run.name}",
            icon=":material/stop:",
            disabled=run.is_stopping,
            help="Running trials return to the queue. Continue starts them again.",
            on_click=_stop,
            args=(url, run.name),
        )
        return
    try:
        study = launching.stored(url, run.name)
    except (StudyError, StoreError) as error:  # of another version, or gone
        st.caption(f"This study cannot be continued here: {formats.verbatim(str(error))}")
        return
    with st.expander("Continue this study", key=f"more-{run.name}"):
        _cost(study)
        path = launching.CONTINUED / f"{study.name}.toml"
        options = run_options.ask(study, path, key="more")
        if options is None:
            return
        run_options.show_time(url, study, options)
        st.button(
            "Continue",
            key=f"continue-{run.name}",
            type="primary",
            icon=":material/play_arrow:",
            help="The trials in the store are kept.",
            on_click=_continue,
            args=(url, study, options),
        )


def _stop(url: str, name: str) -> None:
    try:
        launching.ask_to_stop(url, name)
    except StoreError as error:
        st.session_state["launch-trouble"] = str(error)


def _continue(url: str, study: Study, options: RunOptions) -> None:
    try:
        launching.proceed(url, study, options)
    except OSError as error:
        st.session_state["launch-trouble"] = str(error)
        return
    frame.put("watch", study.name)


launch()
