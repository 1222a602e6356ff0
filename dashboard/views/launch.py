"""Launch: choose a study or put one together, see what it costs, start it, watch it, stop it."""

from collections.abc import Callable
from pathlib import Path

import streamlit as st

from dashboard.data import formats
from dashboard.data.study_draft import read
from dashboard.data.study_view import StudyCard
from dashboard.parts import frame, launching, run_options, study_form
from dashboard.parts.store_cache import forget_store, open_store, store_url
from search.commands.study_file import Cost
from search.runners.launch import RunOptions
from search.store.store import StoreError
from search.study.study import Study, StudyError
from search.trial.trial import TrialState

WATCH_S = 2.0
SOURCES = {"file": "A study file", "form": "A new study"}
LOG_HEIGHT = 320


def launch() -> None:
    """The page: what could be started above, what runs below, looked at every two seconds."""
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


# --- what could be started ---------------------------------------------------------------


def _from_file(url: str) -> None:
    files = launching.files()
    if not files:
        folders = " and ".join(f"{folder}/" for folder in launching.FOLDERS)
        st.text(
            f"There is no study file in {folders} of {launching.working_folder()}. "
            "Put one there, or make a new study."
        )
        return
    first = next((name for name in files if name.endswith("/digits.toml")), next(iter(files)))
    name = frame.choose("Study file", "file", list(files), first)
    try:
        text = files[name].read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        st.error(formats.verbatim(f"{name} cannot be read: {error}"))
        return
    reading = read(text, name)
    study_form.say(reading.elsewhere())
    with st.expander("The file"):
        st.code(text, language="toml")
    if reading.study is None:
        return
    _cost(reading.study)
    _start_row(url, reading.study, files[name], lambda: files[name], key="file")


def _from_form(url: str) -> None:
    draft, reading = study_form.form()
    text = draft.text()
    with st.expander("The file that this makes"):
        st.code(text, language="toml")
    if reading.study is None:
        st.text("What is marked above has to be mended before this can be started.")
        return
    _cost(reading.study)
    study = reading.study
    replace = st.checkbox(
        f"Replace {launching.SAVED}/{study.name}.toml if it says something else",
        key="form-replace",
    )
    path = launching.SAVED / f"{study.name}.toml"
    _start_row(url, study, path, lambda: launching.save(text, study, replace=replace), key="form")


def _cost(study: Study) -> None:
    """The size of the space and what a few runs need, as `spikefront validate` says it."""
    budget = study.budget
    heads = [
        f"{budget.trials:,} trials" if budget.trials else "no end of trials",
        f"{budget.workers} at a time",
        f"{launching.size_words(study)} different runs",
        f"sampler {study.search.sampler}",
    ]
    st.markdown(f"**{formats.verbatim(study.name)}**: {formats.verbatim(', '.join(heads))}")
    if study.question:
        st.text(" ".join(study.question.split()))
    found = launching.costs(study.text)
    if not found:
        st.text("None of the points that were drawn can run, so nothing is known of the cost.")
        return
    rows = [
        {
            "Run": name,
            "Parameters": formats.count(cost.parameters),
            "Model, dense": formats.quantity("model_bytes", cost.model_bytes),
            "Training memory": formats.quantity(
                "training_memory_bytes", cost.training_memory_bytes
            ),
            "MACs per image": formats.count(cost.macs_per_image),
            "Epochs": cost.epochs,
            "Settings": _settings(cost),
        }
        for name, cost in found.items()
    ]
    st.dataframe(rows, hide_index=True, width="stretch")
    words = ["Of a few points drawn at random; operations as if nothing were sparse."]
    if budget.trials:
        epochs = [budget.trials * cost.epochs for cost in found.values()]
        least, most = min(epochs), max(epochs)
        span = f"{least:,}" if least == most else f"{least:,} to {most:,}"
        words.append(f"{budget.trials:,} such trials train {span} epochs.")
    st.caption(" ".join(words))


def _settings(cost: Cost) -> str:
    return ", ".join(
        f"{name}={formats.plain_number(value) if isinstance(value, int | float) else value}"
        for name, value in cost.params.items()
    )


def _start_row(url: str, study: Study, path: Path, made: Callable[[], Path], *, key: str) -> None:
    """The button that starts the study, or why it cannot be started."""
    seen = launching.watched(url, study.name)
    if seen.summary is not None and seen.summary.is_running:
        st.text("This study is running; see below.")
        return
    is_there = seen.summary is not None
    options = run_options.ask(study, path, key=key, with_budget=key != "form")
    if options is not None:
        st.button(
            "Continue" if is_there else "Start",
            key=f"start-{key}",
            type="primary",
            icon=":material/rocket_launch:",
            help="The study is in the store; trials that are there are kept." if is_there else None,
            on_click=_start,
            args=(url, study, made, options),
        )
    _say_trouble()


def _start(url: str, study: Study, made: Callable[[], Path], options: RunOptions) -> None:
    try:
        launching.start(url, study, made(), options)
    except OSError as error:
        st.session_state["launch-trouble"] = str(error)
        return
    frame.put("watch", study.name)


def _say_trouble() -> None:
    trouble = st.session_state.pop("launch-trouble", "")
    if trouble:
        st.error(formats.verbatim(trouble), icon=":material/error:")


# --- what runs ---------------------------------------------------------------------------


def _runs(url: str) -> None:
    """Every study that runs, wherever it was started, and the one that is watched."""
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
        st.text("Nothing runs.")
        if known:
            st.caption("A study of the store, to look at or to continue:")
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


def _watched(url: str, seen: launching.Watched) -> None:
    with st.container(border=True):
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.markdown(f"**{formats.verbatim(seen.name)}**", width="content")
            state, icon, colour = _state(seen)
            st.badge(state, icon=icon, color=colour)  # type: ignore[arg-type]
            st.space("stretch")
            if seen.summary is not None:
                st.page_link(
                    frame.FRONT,
                    label="Open the front",
                    icon=":material/stairs:",
                    query_params={"study": seen.name},
                )
        if seen.summary is None:
            st.text(
                "It is starting; it will be in the store in a moment."
                if seen.exit_code is None
                else "It ended before it was in the store; its log says why."
            )
        else:
            _progress(seen)
        _log(seen)
        _say_trouble()
        if seen.summary is not None:
            _buttons(url, seen)


def _state(seen: launching.Watched) -> tuple[str, str, str]:
    summary = seen.summary
    if summary is None:
        if seen.exit_code is None:
            return "Starting", ":material/hourglass_top:", "blue"
        return "Failed to start", ":material/error:", "red"
    if summary.is_running and seen.is_stopping:
        return "Stopping", ":material/stop_circle:", "orange"
    if summary.is_running:
        return "Running now", ":material/play_circle:", "green"
    if StudyCard(summary=summary).state == "finished":
        return "Finished", ":material/check_circle:", "gray"
    return "Stopped", ":material/pause_circle:", "orange"


def _progress(seen: launching.Watched) -> None:
    summary = seen.summary
    assert summary is not None
    card = StudyCard(summary=summary)
    asked = f" of {summary.trials_asked:,}" if summary.trials_asked else ""
    words = [f"{card.finished:,}{asked} trials finished"]
    words += [
        f"{summary.counts[state]:,} {state}"
        for state in (TrialState.RUNNING, TrialState.WAITING, TrialState.PRUNED, TrialState.FAILED)
        if summary.counts.get(state)
    ]
    is_short = summary.epochs_trained < (summary.epochs_asked or 0)
    epochs = f" of {summary.epochs_asked:,}" if is_short else ""
    words.append(f"{summary.epochs_trained:,}{epochs} epochs")
    words.append(f"front {summary.front_size:,}")
    if summary.hypervolume is not None:
        words.append(f"hypervolume {summary.hypervolume:.3f}")
    words.append(f"last change {frame.ago(summary.last_change_at)}")
    st.caption(" · ".join(words))
    if card.progress is not None:
        st.progress(card.progress)
    for trial, latest in seen.running:
        total = trial.config.total_epochs if trial.config else 0
        if latest is None:
            st.caption(f"Trial {trial.number}: its first epoch")
            continue
        st.caption(
            f"Trial {trial.number}: epoch {latest.epochs_done} of {latest.epochs_total or total}, "
            f"accuracy {formats.quantity('accuracy', latest.accuracy)}"
        )
    for event in seen.events:
        st.text(f"{frame.ago(event.at)}: {event.message}")


def _log(seen: launching.Watched) -> None:
    if seen.log is None:
        if seen.summary is not None and seen.summary.is_running:
            st.caption(
                "It was started elsewhere, by "
                f"{formats.verbatim(seen.summary.lease_holder or 'somebody')}; its log is there."
            )
        return
    with st.expander(formats.verbatim(f"Log, {seen.log}"), expanded=True):
        st.code(seen.log_text or " ", language=None, height=LOG_HEIGHT)


def _buttons(url: str, seen: launching.Watched) -> None:
    summary = seen.summary
    assert summary is not None
    if summary.is_running:
        st.button(
            "Stop",
            key=f"stop-{seen.name}",
            icon=":material/stop:",
            disabled=seen.is_stopping,
            help="Trials under way are put back, and run again when the study is continued.",
            on_click=_stop,
            args=(url, seen.name),
        )
        return
    try:
        study = launching.stored(url, seen.name)
    except (StudyError, StoreError) as error:  # of another version, or gone
        st.caption(f"It cannot be continued here: {formats.verbatim(str(error))}")
        return
    with st.expander("Continue it", key=f"more-{seen.name}"):
        _cost(study)
        path = launching.CONTINUED / f"{study.name}.toml"
        options = run_options.ask(study, path, key="more")
        if options is None:
            return
        run_options.say_time(url, study, options)
        st.button(
            "Continue",
            key=f"continue-{seen.name}",
            type="primary",
            icon=":material/play_arrow:",
            help="Trials that are there are kept.",
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
