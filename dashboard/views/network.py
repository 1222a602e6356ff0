"""One network at one operating point: architecture, exits, training and cost."""

from math import isnan, nan

import streamlit as st

from dashboard.data import formats, frames
from dashboard.data.position import explained, nearest, of_point, parsed
from dashboard.data.study_view import TrialView, partition_of, state_word
from dashboard.figures import network_map
from dashboard.figures.exits import flow
from dashboard.figures.rungs import add_rungs
from dashboard.figures.trial import CURVES, LAYER_BARS, curve, exits, layers, reported_curve
from dashboard.parts import downloads, frame, replays
from dashboard.parts.image_view import image_section, inputs_of_trial, worded
from dashboard.parts.operating_points import (
    SelectedPoint,
    operating_section,
    own_points_section,
    replay_row,
)
from dashboard.parts.stopped_view import why
from dashboard.parts.store_cache import (
    is_anything_running,
    open_store,
    store_url,
    trial_view,
    trials_of,
)
from search.export.replay import Replay, ReplayError
from search.trial.function_config import FunctionConfig
from search.trial.trial import Trial, TrialState
from snn.settings.measurement import Metrics, OperatingPoint
from snn.settings.setting import counted

COLOURS = {
    TrialState.COMPLETE: "green",
    TrialState.RUNNING: "blue",
    TrialState.WAITING: "gray",
    TrialState.PRUNED: "orange",
    TrialState.FAILED: "red",
}


MEANINGS = {
    "loss": "Mean training loss, on the training images.",
    "accuracy": "Accuracy on the validation images, at the deepest trained exit.",
    "connectivity": formats.meaning("connectivity"),
    "spikes_per_inference": "Spikes of the layer per image, mean over the validation images.",
    "operations": "Synaptic operations (additions) for spikes, and multiply-accumulates for inputs "
    "that are not spikes, per image.",
    "energy": formats.meaning("est_energy_nj"),
}


def network() -> None:
    """Draw the page, again every few seconds while a study runs."""
    url = store_url()
    frame.live(lambda: _body(url), is_running=lambda: is_anything_running(url))


def _body(url: str) -> None:
    with frame.store_errors():
        chosen = _choose(url)
        if chosen is None:
            return
        study, view, is_running = chosen
        is_engine = not isinstance(view.trial.config, FunctionConfig)
        replayed, problem = _replayed(url, study, view.trial) if is_engine else (None, "")
        selected = _selected(view, replayed)
        front = replays.front_of(url, study)
    _head(url, study, view, selected, is_running=is_running)
    if view.trial.state in (TrialState.FAILED, TrialState.PRUNED):
        why(study, view.trial, view.stop_reason)
    elif selected is None:
        _not_yet(view, is_running=is_running)
    if selected is not None:
        _figures(selected.point, view.metrics)
    own = view.trial.config
    is_own = isinstance(own, FunctionConfig)
    if isinstance(own, FunctionConfig):
        st.caption(
            f"A training of your own, {formats.verbatim(own.train)}: it has no "
            "architecture, layers, exits or images here, because spikefront does not know its "
            "network."
        )
    _map(view, selected)
    if selected is not None and not is_own:
        replay_row(view, replayed, problem)
        operating_section(url, study, view, selected, replayed, front)
        _exits(view, selected)
        if replayed is not None and view.trial.engine_config is not None:
            image_section(url, study, view.trial, replayed, selected.position)
    elif selected is not None:
        own_points_section(view, selected, front)
    if view.measurements:
        # no expression of its own here: Streamlit would write its value, None, on the page
        draw_training = _reported if is_own else _curves
        draw_training(view)
    if view.evaluation is not None and view.evaluation.layers:
        _layers(view)
    _config(view)


# --- what is shown -----------------------------------------------------------------------


def _choose(url: str) -> tuple[str, TrialView, bool] | None:
    """Draw the boxes of study and trial; return them, and whether the study has a driver."""
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        with st.container(width=320):
            study = frame.choose_study(url)
        is_running = open_store(url).stored_study(study).is_running
        trials = {str(each.number): each for each in trials_of(url, study)}
        if not trials:
            st.text("This study has no trial yet.")
            return None
        names = list(trials)
        asked = st.query_params.get("trial")
        first = next((n for n, t in trials.items() if t.state is TrialState.COMPLETE), names[0])
        with st.container(width=420):
            number = frame.choose(
                "Trial",
                "trial",
                names,
                first,
                show=lambda name: _trial_title(trials[name], is_running=is_running),
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
    return study, trial_view(url, study, int(number)), is_running


def _trial_title(trial: Trial, *, is_running: bool) -> str:
    words = [f"{trial.number}", state_word(trial.state, is_running=is_running)]
    if trial.sampled is not None:
        words.append(formats.quantity("accuracy", trial.sampled.metrics.get("accuracy", nan)))
    partition = partition_of(trial)
    return " · ".join([*words, partition] if partition else words)


def _replayed(url: str, study: str, trial: Trial) -> tuple[Replay | None, str]:
    """Return the replayed network if the address asks for it, or the reason why it cannot run."""
    if trial.state is not TrialState.COMPLETE:
        return None, ""
    problem = downloads.export_problem(url, study, trial.number)
    if problem or st.query_params.get("replay") != "on":
        return None, problem or ""
    try:
        return replays.of_trial(url, study, trial), ""
    except ReplayError as error:
        return None, str(error)


def _selected(view: TrialView, replayed: Replay | None) -> SelectedPoint | None:
    """Return the operating point in the address, or the sampled one."""
    if not view.points:
        return None
    asked = st.query_params.get("point", "")
    stored = next((each for each in view.points if str(each.id) == asked), view.points[0])
    config = view.trial.engine_config
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


def _head(
    url: str, study: str, view: TrialView, selected: SelectedPoint | None, *, is_running: bool
) -> None:
    trial = view.trial
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.title(f"Trial {trial.number}", anchor=False, width="content")
        st.badge(state_word(trial.state, is_running=is_running), color=COLOURS[trial.state])  # type: ignore[arg-type]
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
    if trial.engine_config is not None:
        facts += [trial.engine_config.title, f"partition {trial.engine_config.partition}"]
        done = trial.epochs_done + trial.epochs_reused
        facts.append(f"{done} of {counted(trial.engine_config.total_epochs, 'epoch')}")
    if selected is not None:
        facts += _point_facts(selected.point)
    if trial.reused_trial is not None:
        facts.append(f"weights of trial {trial.reused_trial}")
    if trial.finished_at is not None:
        facts.append(f"finished {formats.ago(trial.finished_at)}")
    return facts


def _point_facts(point: OperatingPoint) -> list[str]:
    if not point.timesteps:  # of an own training
        return [f"point {point.label}"] if point.label else []
    exits = formats.thresholds(point.exit_thresholds)
    exit_ = f"exit threshold {exits}" if exits != "–" else "a single exit"
    return [counted(point.timesteps, "timestep"), exit_]


def _not_yet(view: TrialView, *, is_running: bool) -> None:
    if view.trial.state is TrialState.COMPLETE:
        st.text("The store has no operating point of this trial.")
    elif view.trial.state is TrialState.WAITING:
        st.text("Waiting. Metrics appear here when training has finished.")
    elif is_running:
        st.text("Running. Metrics appear here when training has finished.")
    else:
        st.text(
            "Interrupted: the driver of this study ended before the trial did. The trial runs "
            "again when the study is continued."
        )
        st.code("spikefront run STUDY.toml", language="bash")


def _figures(point: OperatingPoint, metrics: Metrics) -> None:
    """Draw the metrics that the operating point has, with their meaning as help."""
    order = metrics if point.timesteps else point.metrics  # of an own training: as it reports them
    names = [name for name in order if not isnan(point.metrics.get(name, nan))]
    for row in (names[:7], names[7:]):
        with st.container(horizontal=True, gap="medium"):
            for name in row:
                st.metric(
                    formats.label(name),
                    formats.quantity(name, point.metrics.get(name), metrics),
                    help=formats.meaning(name, metrics),
                    width="content",
                )


def _map(view: TrialView, selected: SelectedPoint | None) -> None:
    config = view.trial.engine_config
    if config is None:
        return
    st.subheader("Architecture", anchor=False)
    layers = view.evaluation.layers if view.evaluation else ()
    if layers:
        told = (
            "Per layer: the share of existing connections, and the spikes per image with all "
            "blocks and timesteps. Per exit: the share of images that exit there, correct "
            "(coloured) or wrong (orange)."
        )
        st.caption(worded(view.trial, told))
    st.html(
        network_map.network(
            config,
            selected.point if selected else None,
            layers,
            selected.exits if selected else (),
            frame.mode(),
        )
    )


# --- exits ------------------------------------------------------------------


def _exits(view: TrialView, selected: SelectedPoint) -> None:
    st.subheader("Exits", anchor=False, help=formats.EXIT_RULE)
    if not selected.exits:
        st.text("The exits of this operating point are unknown. Run the network above to see them.")
        return
    inputs = inputs_of_trial(view.trial)
    if len({report.exit for report in selected.exits}) < 2:
        st.text(worded(view.trial, "A single exit: every image runs through all blocks."))
    sentences = explained(selected.exits, inputs)
    if sentences:
        st.text(worded(view.trial, " ".join(sentences)))
    left, right = st.columns(2, gap="large")
    with left:
        st.markdown("**Classes, exits and correct answers**")
        frame.chart(
            flow(selected.exits, frame.mode(), inputs),
            "flow",
            worded(
                view.trial,
                "Images from their classes to their exits, and to correct or wrong answers",
            ),
        )
    with right:
        st.markdown("**Easy and hard classes**")
        frame.chart(
            exits(selected.exits, frame.mode(), inputs),
            "exits",
            worded(view.trial, "Share of the images of each class at each exit"),
        )
        told = (
            "Share of each class that exits at each exit. Number: accuracy in percent of these "
            "images. Hatched: hard class after this block."
        )
        st.caption(worded(view.trial, told))


# --- training, layers, settings ----------------------------------------------------------


def _curves(view: TrialView) -> None:
    st.subheader("Training", anchor=False)
    words = []
    if len({measurement.block for measurement in view.measurements}) > 1:
        words.append("Blocks are trained one after another; each has its own colour.")
    words.append(worded(view.trial, "Dotted: accuracy on training images."))
    if view.rungs:
        words.append("Vertical lines: rungs. Diamonds: accuracy measured at a rung.")
    if view.stop_reason is not None and view.stop_reason.others:
        words.append("Ticks: other trials at the last rung; strong: trials that dominate this one.")
    st.caption(" ".join(words))
    for column, (name, title) in zip(st.columns(3, gap="large"), CURVES, strict=True):
        with column:
            st.markdown(f"**{title}**", help=worded(view.trial, MEANINGS[name]))
            figure = curve(view.measurements, name, frame.mode())
            add_rungs(figure, view.rungs, stopped=view.stop_reason, name=name, mode=frame.mode())
            frame.chart(figure, f"curve-{name}", f"{title} over the epochs of each block")


def _reported(view: TrialView) -> None:
    """Draw what an own training reported, a figure for each quantity."""
    st.subheader("Training", anchor=False)
    names = list(dict.fromkeys(name for m in view.measurements for name in m.metrics))
    if any(not isnan(m.loss) for m in view.measurements):
        names.append("loss")
    for start in range(0, len(names), 3):
        for column, name in zip(st.columns(3, gap="large"), names[start : start + 3], strict=False):
            with column:
                st.markdown(f"**{formats.verbatim(formats.label(name))}**")
                frame.chart(
                    reported_curve(view.measurements, name, frame.mode()),
                    f"curve-{name}",
                    f"{formats.label(name)} over the epochs",
                )


def _layers(view: TrialView) -> None:
    assert view.evaluation is not None
    st.subheader("Layers", anchor=False)
    st.caption("With all blocks and all timesteps. Colour: block.")
    for pair in (LAYER_BARS[:2], LAYER_BARS[2:]):
        for column, (name, title) in zip(st.columns(2, gap="large"), pair, strict=True):
            with column:
                title = worded(view.trial, title)
                st.markdown(f"**{title}**", help=worded(view.trial, MEANINGS[name]))
                frame.chart(
                    layers(view.evaluation.layers, name, frame.mode()),
                    f"layers-{name}",
                    f"{title}, per layer",
                )


def _config(view: TrialView) -> None:
    """Draw the tables of search parameters and of fixed settings."""
    st.subheader("Configuration", anchor=False)
    left, right = st.columns(2, gap="large")
    own = view.trial.config
    is_own = isinstance(own, FunctionConfig)
    with left:
        st.markdown("**Searched**")
        params = view.trial.params
        frame.table(frames.settings(params, is_own=is_own), width="stretch", height="content")
    if isinstance(own, FunctionConfig):
        with right:
            st.markdown("**Fixed**")
            fixed = {n: v for n, v in own.params.items() if n not in params}
            fixed |= {"seed": own.seed, "code": own.code}
            frame.table(frames.settings(fixed, is_own=True), width="stretch")
        return
    config = view.trial.engine_config
    if config is None:
        return
    with right:
        st.markdown("**Fixed**")
        fixed = frames.fixed_settings(config, view.trial)
        frame.table(frames.settings(fixed), width="stretch", height=38 * 11)


network()
