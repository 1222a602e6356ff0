"""The part of the page of one network that moves it through its operating family."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import streamlit as st

from dashboard.data import formats
from dashboard.data.position import Position, depths, nearest, of_point
from dashboard.data.study_view import TrialView
from dashboard.figures import exits as exit_figures
from dashboard.figures import trial as trial_figures
from dashboard.parts import frame, live_ring, replays
from search.export.replay import Replay
from search.store.store import StoredPoint
from search.trial.trial import Trial
from snn.settings.measurement import METRICS, ExitReport, OperatingPoint

CHART = "family-chart"


@dataclass(frozen=True, kw_only=True)
class SelectedPoint:
    """The operating point that is shown."""

    point: OperatingPoint
    stored: StoredPoint | None  # None where the store keeps no such point
    exits: tuple[ExitReport, ...]  # none where they are not known at this point

    @property
    def position(self) -> Position:
        """Where it lies in the network's family."""
        return of_point(self.point)


def replay_row(view: TrialView, replayed: Replay | None, problem: str) -> None:
    """The button that runs the network, or why it cannot be run."""
    if replayed is not None:
        return
    with st.container(border=True):
        st.markdown("**Look inside**")
        if problem:
            st.text(
                f"The network cannot be run selected, so only stored operating points are shown. "
                f"{problem}"
            )
            return
        images = view.evaluation.images if view.evaluation else 0
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.text(
                f"Run it once on its {images:,} validation images: then every threshold can be "
                "tried, exits are known at every point, and single images can be followed."
            )
            st.button(
                "Run it",
                key="replay",
                icon=":material/play_arrow:",
                type="primary",
                on_click=lambda: frame.put("replay", "on"),
            )


def operating_section(
    url: str,
    study: str,
    view: TrialView,
    selected: SelectedPoint,
    replayed: Replay | None,
    front: tuple[OperatingPoint, ...],
) -> None:
    """The family beside the study's front, sliders that move through it, thresholds one by one."""
    st.subheader("Its operating points", anchor=False)
    left, right = st.columns([3, 2], gap="large")
    with left:
        names = [name for name in METRICS if name != "accuracy"]
        with st.container(width=290):
            across = frame.choose("Against", "against", names, "synaptic_ops", show=formats.label)
        st.plotly_chart(
            trial_figures.family(
                [each.point for each in view.points],
                here=selected.point,
                front=front,
                mode=frame.mode(),
                x=across,
            ),
            key=CHART,
            theme=None,
            config=frame.PLOT,
            on_select=lambda: _take_point(view),
            selection_mode="points",
            alt=f"Accuracy against {formats.label(across)} of this network's operating points",
        )
    with right:
        _sliders(view, selected, replayed)
        tracks = _tracks(url, study, view, selected, replayed)
        live_ring.follow(CHART, across, tracks, selected.point)
    if replayed is not None and selected.position.thresholds:
        _sweeps(url, study, view.trial, selected)


def _take_point(view: TrialView) -> None:
    """Put the point clicked into the address bar."""
    place = frame.picked(CHART)
    if place is not None and 0 <= place < len(view.points):
        frame.put("point", str(view.points[place].id))
        frame.put("at", "")


def _sliders(view: TrialView, selected: SelectedPoint, replayed: Replay | None) -> None:
    """Where the network runs: timesteps, blocks kept and a threshold for each exit."""
    config = view.trial.config
    if config is None:
        return
    place = selected.position
    if replayed is not None:
        st.caption("The same weights at any thresholds and timesteps, counted exactly.")
    else:
        st.caption(
            "The same weights at the points that the store keeps; sliders go to the nearest."
        )

    def moved() -> None:
        _move(view, place, replayed)

    if config.timesteps > 1:
        frame.preset("at-timesteps", place.timesteps)
        st.slider("Timesteps", 1, config.timesteps, key="at-timesteps", on_change=moved)
    kept = depths(config)
    if len(kept) > 1:
        frame.preset("at-blocks", place.blocks)
        st.slider(
            "Blocks kept",
            kept[0],
            kept[-1],
            key="at-blocks",
            on_change=moved,
            help="Each block was trained behind those before it, so that fewer are a network too.",
        )
    for number, threshold in enumerate(place.thresholds, 1):
        key = f"at-exit-{number}"
        frame.preset(key, round(min(1.0, max(0.0, threshold)), 3))
        st.slider(
            f"Threshold of exit {number}",
            0.0,
            1.0,
            step=0.005,
            format="%.3f",
            key=key,
            on_change=moved,
            help="An image leaves if the exit is at least this sure; at 1 nothing leaves.",
        )
    if place.thresholds and config.detector != "none" and replayed is not None:
        frame.preset("at-detector", round(place.detector, 3))
        st.slider(
            "Detector threshold",
            0.0,
            1.0,
            step=0.01,
            key="at-detector",
            on_change=moved,
            help="An image may leave only if it is at most this likely to be of a hard class.",
        )
    if not place.thresholds and len(kept) == 1:
        st.text("A single exit: every image takes the whole way.")


def _tracks(
    url: str, study: str, view: TrialView, selected: SelectedPoint, replayed: Replay | None
) -> dict[str, live_ring.Track]:
    """Where each slider takes the network from selected, by the slider's key."""
    config, place = view.trial.config, selected.position
    if config is None:
        return {}
    paths: dict[str, tuple[Sequence[float], list[Position]]] = {}
    if config.timesteps > 1:
        steps = range(1, config.timesteps + 1)
        paths["at-timesteps"] = steps, [replace(place, timesteps=step) for step in steps]
    for number in range(len(place.thresholds)):
        before, after = place.thresholds[:number], place.thresholds[number + 1 :]
        places = [replace(place, thresholds=(*before, v, *after)) for v in live_ring.STOPS]
        paths[f"at-exit-{number + 1}"] = live_ring.STOPS, places
    found = {}
    for key, (values, places) in paths.items():
        if replayed is not None:
            points = replays.points_at(url, study, view.trial, places)
        else:
            points = tuple(nearest(view.points, each).point for each in places)
        found[key] = live_ring.Track(values=values, points=points)
    return found


def _move(view: TrialView, before: Position, replayed: Replay | None) -> None:
    """Put what the sliders say into the address bar."""
    state = st.session_state
    blocks = int(state.get("at-blocks", before.blocks))
    given = [
        float(state.get(f"at-exit-{number}", before.thresholds[number - 1]))
        for number in range(1, before.blocks)
    ]
    wanted = Position(
        timesteps=int(state.get("at-timesteps", before.timesteps)),
        thresholds=tuple([*given, *[0.9] * blocks][: blocks - 1]),
        detector=float(state.get("at-detector", before.detector)),
    )
    if replayed is None:
        frame.put("point", str(nearest(view.points, wanted).id))
        frame.put("at", "")
    else:
        frame.put("at", str(wanted))


def _sweeps(url: str, study: str, trial: Trial, selected: SelectedPoint) -> None:
    place = selected.position
    st.caption(
        "What another threshold of one exit would give, all others as they are: a line for each "
        "number of timesteps, strong where the network runs now."
    )
    columns = st.columns(max(2, len(place.thresholds)), gap="large")
    for number, threshold in enumerate(place.thresholds, 1):
        curves = replays.curves(url, study, trial, place, number)
        for row, metric in enumerate(("accuracy", "synaptic_ops")):
            with columns[row if len(place.thresholds) == 1 else number - 1]:
                st.markdown(f"**{formats.label(metric)} by the threshold of exit {number}**")
                st.plotly_chart(
                    exit_figures.sweep(
                        curves,
                        metric=metric,
                        chosen=(place.timesteps, threshold),
                        mode=frame.mode(),
                    ),
                    key=f"sweep-{number}-{metric}",
                    theme=None,
                    config=frame.PLOT,
                    alt=f"{formats.label(metric)} against the threshold of exit {number}",
                )
