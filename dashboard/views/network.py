"""One trial and one of its operating points: what it is, achieves and costs."""

import streamlit as st

from dashboard import data, formats, frames, page, trial_figures
from search.store import StoredPoint
from search.trial import Trial, TrialState
from snn.measurement import METRICS

CHART = "family-chart"
COLOURS = {
    TrialState.COMPLETE: "green",
    TrialState.RUNNING: "blue",
    TrialState.WAITING: "gray",
    TrialState.PRUNED: "orange",
    TrialState.FAILED: "red",
}


def network() -> None:
    """The page, drawn again while its study runs."""
    url = data.store_url()
    page.live(lambda: _body(url), is_running=lambda: data.is_anything_running(url))


def _body(url: str) -> None:
    with page.store_errors():
        chosen = _choose(url)
        if chosen is None:
            return
        study, view = chosen
        point = _point(view)
    _head(url, study, view, point)
    if view.trial.state in (TrialState.FAILED, TrialState.PRUNED):
        _why(view.trial)
    if point is not None:
        _figures(point)
        _operating(view, point)
    if view.measurements:
        _curves(view)
    if view.evaluation is not None and view.evaluation.layers:
        _layers(view)
    _config(view)


def _choose(url: str) -> tuple[str, data.TrialView] | None:
    """The study and trial of the address bar, with the controls that change them."""
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        with st.container(width=320):
            study = page.choose_study(url)
        trials = {str(each.number): each for each in data.trials_of(url, study)}
        if not trials:
            st.text("No trial has begun yet.")
            return None
        names = list(trials)
        asked = st.query_params.get("trial")
        first = next((n for n, t in trials.items() if t.state is TrialState.COMPLETE), names[0])
        with st.container(width=420):
            number = page.choose(
                "Trial", "trial", names, first, show=lambda name: _trial_title(trials[name])
            )
        st.space("stretch")
        st.page_link(
            page.FRONT,
            label="Back to the front",
            icon=":material/stairs:",
            query_params={"study": study},
        )
    if asked is not None and asked not in trials:
        st.warning(
            f"There is no trial {formats.verbatim(repr(asked))}; this study has 0 to {names[-1]}."
        )
    return study, data.trial_view(url, study, int(number))


def _trial_title(trial: Trial) -> str:
    words = [f"{trial.number}", str(trial.state)]
    if trial.sampled is not None:
        words.append(formats.quantity("accuracy", trial.sampled.metrics["accuracy"]))
    partition = data.partition_of(trial)
    return " · ".join([*words, partition] if partition else words)


def _point(view: data.TrialView) -> StoredPoint | None:
    """The operating point of the address bar, or the one that was sampled."""
    asked = st.query_params.get("point", "")
    named = next((each for each in view.points if str(each.id) == asked), None)
    return named or next(iter(view.points), None)


def _head(url: str, study: str, view: data.TrialView, point: StoredPoint | None) -> None:
    trial = view.trial
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.title(f"Trial {trial.number}", anchor=False, width="content")
        st.badge(str(trial.state), color=COLOURS[trial.state])  # type: ignore[arg-type]
        if point is not None and point.on_front:
            st.badge("on the front", icon=":material/stairs:", color="orange")
        st.space("stretch")
        if point is not None:
            page.export_button(url, study, trial=trial.number, point=point.id, key="trial")
    st.caption(formats.verbatim(" · ".join(_facts(view, point))))


def _facts(view: data.TrialView, point: StoredPoint | None) -> list[str]:
    trial = view.trial
    facts = []
    if trial.config is not None:
        facts += [trial.config.backbone, f"partition {trial.config.partition}"]
        done = trial.epochs_done + trial.epochs_reused
        facts.append(f"{done} of {trial.config.total_epochs} epochs")
    if point is not None:
        facts.append(f"run for {point.point.timesteps} timesteps")
        exits = formats.thresholds(point.point.exit_thresholds)
        facts.append(f"exit thresholds {exits}" if exits != "–" else "a single exit")
    if trial.reused_trial is not None:
        facts.append(f"weights of trial {trial.reused_trial}")
    if trial.finished_at is not None:
        facts.append(f"finished {page.ago(trial.finished_at)}")
    return facts


def _why(trial: Trial) -> None:
    """Why there is no result."""
    with st.container(border=True):
        st.markdown("**It failed**" if trial.state is TrialState.FAILED else "**It was stopped**")
        st.text(trial.reason or "No reason was recorded.")
        if trial.error:
            st.code(trial.error, language=None)


def _figures(point: StoredPoint) -> None:
    """Every metric of the operating point; the meaning is in the help."""
    metrics = point.point.metrics
    names = list(METRICS)
    for row in (names[:7], names[7:]):
        with st.container(horizontal=True, gap="medium"):
            for name in row:
                st.metric(
                    formats.label(name),
                    formats.quantity(name, metrics[name]),
                    help=formats.meaning(name),
                    width="content",
                )


def _operating(view: data.TrialView, point: StoredPoint) -> None:
    left, right = st.columns(2, gap="large")
    with left:
        st.subheader("Its operating points", anchor=False)
        st.caption("The same weights at other exit thresholds and timesteps. Click one to see it.")
        st.plotly_chart(
            trial_figures.family(
                [each.point for each in view.points],
                chosen=view.points.index(point),
                mode=page.mode(),
            ),
            key=CHART,
            theme=None,
            config=page.PLOT,
            on_select=lambda: _take_point(view),
            selection_mode="points",
            alt="Accuracy against synaptic operations of this network's operating points",
        )
    with right:
        st.subheader("Where each class leaves", anchor=False)
        reports = view.evaluation.exits if view.evaluation else ()
        if len({report.exit for report in reports}) < 2:
            st.text("This network has a single exit: every image takes the whole way.")
            return
        st.caption(
            "At the sampled point. Numbers are the accuracy in percent of those that leave there; "
            "hatched: the class was still hard behind that block."
        )
        st.plotly_chart(
            trial_figures.exits(reports, page.mode()),
            key="exits",
            theme=None,
            config=page.PLOT,
            alt="Share of each class that leaves at each exit",
        )


def _take_point(view: data.TrialView) -> None:
    """Put the point clicked into the address bar."""
    points = st.session_state[CHART]["selection"]["points"]
    for each in points:
        place = each.get("customdata")
        place = place[0] if isinstance(place, list) else place
        if isinstance(place, int) and place < len(view.points):
            page.put("point", str(view.points[place].id))


def _curves(view: data.TrialView) -> None:
    st.subheader("Training", anchor=False)
    blocks = sorted({measurement.block for measurement in view.measurements})
    if len(blocks) > 1:
        st.caption(
            "Blocks are trained one after another, each in its own colour. "
            "Dotted: accuracy on the training images."
        )
    for column, (name, title) in zip(st.columns(3, gap="large"), trial_figures.CURVES, strict=True):
        with column:
            st.markdown(f"**{title}**")
            st.plotly_chart(
                trial_figures.curve(view.measurements, name, page.mode()),
                key=f"curve-{name}",
                theme=None,
                config=page.PLOT,
                alt=f"{title} over the epochs of each block",
            )


def _layers(view: data.TrialView) -> None:
    assert view.evaluation is not None
    st.subheader("Layers", anchor=False)
    st.caption("At full inference: every block, every timestep. Coloured by block.")
    columns = st.columns(3, gap="large")
    for column, (name, title) in zip(columns, trial_figures.LAYER_BARS, strict=True):
        with column:
            st.markdown(f"**{title}**")
            st.plotly_chart(
                trial_figures.layers(view.evaluation.layers, name, page.mode()),
                key=f"layers-{name}",
                theme=None,
                config=page.PLOT,
                alt=f"{title}, per layer",
            )


def _config(view: data.TrialView) -> None:
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
