"""One network at one operating point: what it is, where inputs leave it, and what it costs."""

import streamlit as st

from dashboard.data import formats, frames
from dashboard.data.position import explained, nearest, of_point, parsed
from dashboard.data.study_view import TrialView, partition_of
from dashboard.figures import exits as exit_figures
from dashboard.figures import network_map
from dashboard.figures import rungs as rung_figures
from dashboard.figures import trial as trial_figures
from dashboard.parts import downloads, frame, replays
from dashboard.parts.image_view import image_section
from dashboard.parts.operating_points import SelectedPoint, operating_section, replay_row
from dashboard.parts.stopped_view import why
from dashboard.parts.store_cache import is_anything_running, store_url, trial_view, trials_of
from search.export.replay import Replay, ReplayError
from search.trial.trial import Trial, TrialState
from snn.settings.measurement import METRICS, OperatingPoint

COLOURS = {
    TrialState.COMPLETE: "green",
    TrialState.RUNNING: "blue",
    TrialState.WAITING: "gray",
    TrialState.PRUNED: "orange",
    TrialState.FAILED: "red",
}


MEANINGS = {  # of curves and bars
    "loss": "What training makes smaller, on the training images.",
    "accuracy": "Of the validation images, at the deepest exit in training.",
    "connectivity": formats.meaning("connectivity"),
    "spikes_per_inference": "Spikes of the layer that one image causes, on average.",
    "operations": "Accumulates that spikes cause, and multiply-accumulates where values that are "
    "no spikes enter, per image.",
    "energy": formats.meaning("est_energy_nj"),
}


def network() -> None:
    """The page, drawn again while its study runs."""
    url = store_url()
    frame.live(lambda: _body(url), is_running=lambda: is_anything_running(url))


def _body(url: str) -> None:
    with frame.store_errors():
        chosen = _choose(url)
        if chosen is None:
            return
        study, view = chosen
        replayed, problem = _replayed(url, study, view.trial)
        selected = _here(view, replayed)
        front = replays.front_of(url, study)
    _head(url, study, view, selected)
    if view.trial.state in (TrialState.FAILED, TrialState.PRUNED):
        why(study, view.trial, view.stop_reason)
    elif selected is None:
        _not_yet(view)
    if selected is not None:
        _figures(selected.point)
    _map(view, selected)
    if selected is not None:
        replay_row(view, replayed, problem)
        operating_section(url, study, view, selected, replayed, front)
        _exits(view, selected)
        if replayed is not None and view.trial.config is not None:
            image_section(url, study, view.trial, replayed, selected.position)
    if view.measurements:
        _curves(view)
    if view.evaluation is not None and view.evaluation.layers:
        _layers(view)
    _config(view)


# --- what is shown -----------------------------------------------------------------------


def _choose(url: str) -> tuple[str, TrialView] | None:
    """The study and trial of the address bar, with the controls that change them."""
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        with st.container(width=320):
            study = frame.choose_study(url)
        trials = {str(each.number): each for each in trials_of(url, study)}
        if not trials:
            st.text("No trial has begun yet.")
            return None
        names = list(trials)
        asked = st.query_params.get("trial")
        first = next((n for n, t in trials.items() if t.state is TrialState.COMPLETE), names[0])
        with st.container(width=420):
            number = frame.choose(
                "Trial", "trial", names, first, show=lambda name: _trial_title(trials[name])
            )
        st.space("stretch")
        st.page_link(
            frame.FRONT,
            label="Back to the front",
            icon=":material/stairs:",
            query_params={"study": study},
        )
    if asked is not None and asked not in trials:
        st.warning(
            f"There is no trial {formats.verbatim(repr(asked))}; this study has 0 to {names[-1]}."
        )
    return study, trial_view(url, study, int(number))


def _trial_title(trial: Trial) -> str:
    words = [f"{trial.number}", str(trial.state)]
    if trial.sampled is not None:
        words.append(formats.quantity("accuracy", trial.sampled.metrics["accuracy"]))
    partition = partition_of(trial)
    return " · ".join([*words, partition] if partition else words)


def _replayed(url: str, study: str, trial: Trial) -> tuple[Replay | None, str]:
    """The network run once more where the address asks for it, or why it cannot be."""
    if trial.state is not TrialState.COMPLETE:
        return None, ""
    problem = downloads.export_problem(url, study, trial.number)
    if problem or st.query_params.get("replay") != "on":
        return None, problem or ""
    try:
        return replays.of_trial(url, study, trial), ""
    except ReplayError as error:
        return None, str(error)


def _here(view: TrialView, replayed: Replay | None) -> SelectedPoint | None:
    """The place of the address bar, or the operating point that was sampled."""
    if not view.points:
        return None
    asked = st.query_params.get("point", "")
    stored = next((each for each in view.points if str(each.id) == asked), view.points[0])
    config = view.trial.config
    reports = view.evaluation.exits if view.evaluation else ()
    place = parsed(st.query_params.get("at", ""), config) if config is not None else None
    if replayed is None:
        stored = nearest(view.points, place) if place is not None else stored
        known = reports if stored.point.is_sampled else ()
        return SelectedPoint(point=stored.point, stored=stored, exits=known)
    if place is None or place == of_point(stored.point):
        exits = replayed.exits(*of_point(stored.point).setting)
        return SelectedPoint(point=stored.point, stored=stored, exits=exits)
    return SelectedPoint(
        point=replayed.point(*place.setting), stored=None, exits=replayed.exits(*place.setting)
    )


def _head(url: str, study: str, view: TrialView, selected: SelectedPoint | None) -> None:
    trial = view.trial
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.title(f"Trial {trial.number}", anchor=False, width="content")
        st.badge(str(trial.state), color=COLOURS[trial.state])  # type: ignore[arg-type]
        if selected is not None and selected.stored is not None and selected.stored.on_front:
            st.badge("on the front", icon=":material/stairs:", color="orange")
        if selected is not None and selected.stored is None:
            st.badge("not in the store", icon=":material/tune:", color="gray")
        st.space("stretch")
        if selected is not None:
            _export(url, study, view.trial, selected)
    st.caption(formats.verbatim(" · ".join(_facts(view, selected))))


def _export(url: str, study: str, trial: Trial, selected: SelectedPoint) -> None:
    if selected.stored is not None:
        frame.export_button(url, study, trial=trial.number, point=selected.stored.id, key="trial")
        return
    st.download_button(
        "Export",
        data=lambda: replays.exported_zip(url, study, trial, selected.point),
        file_name=f"{study}-{trial.number}.zip",
        mime="application/zip",
        key="export-trial",
        icon=":material/download:",
        help="The folder that `spikefront export` writes, at this operating point, as a zip file.",
        on_click="ignore",
    )


def _facts(view: TrialView, selected: SelectedPoint | None) -> list[str]:
    trial = view.trial
    facts = []
    if trial.config is not None:
        facts += [trial.config.backbone, f"partition {trial.config.partition}"]
        done = trial.epochs_done + trial.epochs_reused
        facts.append(f"{done} of {trial.config.total_epochs} epochs")
    if selected is not None:
        facts.append(f"run for {selected.point.timesteps} timesteps")
        exits = formats.thresholds(selected.point.exit_thresholds)
        facts.append(f"exit thresholds {exits}" if exits != "–" else "a single exit")
    if trial.reused_trial is not None:
        facts.append(f"weights of trial {trial.reused_trial}")
    if trial.finished_at is not None:
        facts.append(f"finished {frame.ago(trial.finished_at)}")
    return facts


def _not_yet(view: TrialView) -> None:
    if view.trial.state is TrialState.COMPLETE:
        st.text("The store keeps no operating point of this trial.")
    elif view.trial.state is TrialState.WAITING:
        st.text("It waits to be run; what it achieves is measured when it was trained.")
    else:
        st.text("It is being trained; what it achieves is measured when that is done.")


def _figures(point: OperatingPoint) -> None:
    """Every metric of the operating point; the meaning is in the help."""
    names = list(METRICS)
    for row in (names[:7], names[7:]):
        with st.container(horizontal=True, gap="medium"):
            for name in row:
                st.metric(
                    formats.label(name),
                    formats.quantity(name, point.metrics[name]),
                    help=formats.meaning(name),
                    width="content",
                )


def _map(view: TrialView, selected: SelectedPoint | None) -> None:
    config = view.trial.config
    if config is None:
        return
    st.subheader("Architecture", anchor=False)
    layers = view.evaluation.layers if view.evaluation else ()
    if layers:
        st.caption(
            "Per layer: the share of connections that exist, and spikes per image at full "
            "inference. Per exit: what leaves there, and how much of it is right (coloured) or "
            "wrong (orange)."
        )
    st.html(
        network_map.network(
            config,
            selected.point if selected else None,
            layers,
            selected.exits if selected else (),
            frame.mode(),
        )
    )


# --- where inputs leave ------------------------------------------------------------------


def _exits(view: TrialView, selected: SelectedPoint) -> None:
    st.subheader("Where inputs leave", anchor=False)
    if not selected.exits:
        st.text("Known at the sampled point only; run the network above to know it at every point.")
        return
    if len({report.exit for report in selected.exits}) < 2:
        st.text("A single exit: every image takes the whole way.")
    sentences = explained(selected.exits)
    if sentences:
        st.text(" ".join(sentences))
    left, right = st.columns(2, gap="large")
    with left:
        st.markdown("**From class to exit, and whether that was right**")
        st.plotly_chart(
            exit_figures.flow(selected.exits, frame.mode()),
            key="flow",
            theme=None,
            config=frame.PLOT,
            alt="Images from their classes to the exits where they leave",
        )
    with right:
        st.markdown("**Easy and hard classes**")
        st.plotly_chart(
            trial_figures.exits(selected.exits, frame.mode()),
            key="exits",
            theme=None,
            config=frame.PLOT,
            alt="Share of each class that leaves at each exit",
        )
        st.caption(
            "Where each class leaves. Numbers are the accuracy in percent of those that leave "
            "there; hatched: the class was still hard behind that block."
        )


# --- training, layers, settings ----------------------------------------------------------


def _curves(view: TrialView) -> None:
    st.subheader("Training", anchor=False)
    words = []
    if len({measurement.block for measurement in view.measurements}) > 1:
        words.append("Blocks are trained one after another, each in its own colour.")
    words.append("Dotted: accuracy on the training images.")
    if view.rungs:
        words.append("Upright lines are rungs, a diamond the accuracy that was judged there.")
    if view.stop_reason is not None and view.stop_reason.others:
        words.append("Ticks are the others at the last rung, strong where they beat it alone.")
    st.caption(" ".join(words))
    for column, (name, title) in zip(st.columns(3, gap="large"), trial_figures.CURVES, strict=True):
        with column:
            st.markdown(f"**{title}**", help=MEANINGS[name])
            figure = trial_figures.curve(view.measurements, name, frame.mode())
            rung_figures.add_rungs(
                figure, view.rungs, stopped=view.stop_reason, name=name, mode=frame.mode()
            )
            st.plotly_chart(
                figure,
                key=f"curve-{name}",
                theme=None,
                config=frame.PLOT,
                alt=f"{title} over the epochs of each block",
            )


def _layers(view: TrialView) -> None:
    assert view.evaluation is not None
    st.subheader("Layers", anchor=False)
    st.caption("At full inference: every block, every timestep. Coloured by block.")
    for pair in (trial_figures.LAYER_BARS[:2], trial_figures.LAYER_BARS[2:]):
        for column, (name, title) in zip(st.columns(2, gap="large"), pair, strict=True):
            with column:
                st.markdown(f"**{title}**", help=MEANINGS[name])
                st.plotly_chart(
                    trial_figures.layers(view.evaluation.layers, name, frame.mode()),
                    key=f"layers-{name}",
                    theme=None,
                    config=frame.PLOT,
                    alt=f"{title}, per layer",
                )


def _config(view: TrialView) -> None:
    """What the sampler chose, and everything that it did not."""
    st.subheader("Configuration", anchor=False)
    left, right = st.columns(2, gap="large")
    with left:
        st.markdown("**Searched**")
        params = view.trial.params
        st.dataframe(frames.settings(params), hide_index=True, width="stretch", height="content")
    config = view.trial.config
    if config is None:
        return
    with right:
        st.markdown("**Fixed**")
        fixed = frames.fixed_settings(config, view.trial)
        st.dataframe(frames.settings(fixed), hide_index=True, width="stretch", height=38 * 11)


network()
