"""The operating points of one network: sliders, a figure of all points, threshold curves."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import isfinite

import streamlit as st

from dashboard.data import formats
from dashboard.data.position import Position, depths, nearest, of_point
from dashboard.data.study_view import TrialView
from dashboard.figures.exits import sweep
from dashboard.figures.trial import family
from dashboard.parts import frame, live_ring, replays
from dashboard.parts.image_view import worded
from search.export.replay import Replay
from search.store.store import StoredPoint
from search.trial.trial import Trial
from snn.settings.measurement import METRICS, ExitReport, OperatingPoint

CHART = "family-chart"


@dataclass(frozen=True, kw_only=True)
class SelectedPoint:
    """The operating point that is shown."""

    point: OperatingPoint
    stored: StoredPoint | None  # None for a point that is not in the store
    exits: tuple[ExitReport, ...]  # empty if unknown

    @property
    def position(self) -> Position:
        """Its timesteps and thresholds."""
        return of_point(self.point)


def replay_row(view: TrialView, replayed: Replay | None, problem: str) -> None:
    """Draw the button that runs the network, or the reason why it cannot run."""
    if replayed is not None:
        return
    with st.container(border=True):
        st.markdown("**Run this network**")
        if problem:
            st.text(
                f"The network cannot be run here, so only stored operating points are shown. "
                f"{problem}"
            )
            return
        images = view.evaluation.images if view.evaluation else 0
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            told = (
                f"Run it once on its {images:,} validation images to try any threshold, to see the "
                "exits at every operating point, and to follow single images."
            )
            st.text(worded(view.trial, told))
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
    """Draw the points of the network beside the study's front, sliders, and threshold curves."""
    st.subheader("Operating points", anchor=False)
    left, right = st.columns([3, 2], gap="large")
    with left:
        names = [name for name in view.metrics if name != "accuracy"]
        with st.container(width=290):
            across = frame.choose(
                "Horizontal axis", "against", names, "synaptic_ops", show=formats.label
            )
        frame.chart(
            family(
                [each.point for each in view.points],
                selected=selected.point,
                front=front,
                mode=frame.mode(),
                x=across,
                metrics=view.metrics,
            ),
            CHART,
            f"Accuracy against {formats.label(across)} of this network's operating points",
            on_select=lambda: _take_point(view),
        )
    with right:
        _sliders(view, selected, replayed)
        tracks = _tracks(url, study, view, selected, replayed)
        live_ring.follow(CHART, across, tracks, selected.point)
    if replayed is not None and selected.position.thresholds:
        _sweeps(url, study, view.trial, selected)


def own_points_section(
    view: TrialView, selected: SelectedPoint, front: tuple[OperatingPoint, ...]
) -> None:
    """Draw the points of an own training over two of the metrics that it reported."""
    reported = {
        name for each in view.points for name, v in each.point.metrics.items() if isfinite(v)
    }
    names = [name for name in view.metrics if name in reported]
    names.sort(key=lambda name: name in METRICS)  # those of the study first
    if len(view.points) < 2 or len(names) < 2:
        return
    st.subheader("Operating points", anchor=False)
    with st.container(horizontal=True, gap="small"):
        with st.container(width=290):
            across = frame.choose("Horizontal axis", "against", names, names[1], show=formats.label)
        with st.container(width=290):
            up = frame.choose("Vertical axis", "up", names, names[0], show=formats.label)
    frame.chart(
        family(
            [each.point for each in view.points],
            selected=selected.point,
            front=front,
            mode=frame.mode(),
            x=across,
            y=up,
            metrics=view.metrics,
        ),
        CHART,
        f"{formats.label(up)} against {formats.label(across)} of this network's operating points",
        on_select=lambda: _take_point(view),
    )


def _take_point(view: TrialView) -> None:
    """Write the id of the point clicked into the address."""
    place = frame.picked(CHART)
    if place is not None and 0 <= place < len(view.points):
        frame.put("point", str(view.points[place].id))
        frame.put("at", "")


def _sliders(view: TrialView, selected: SelectedPoint, replayed: Replay | None) -> None:
    """Draw sliders for timesteps, blocks and the threshold of each exit."""
    config = view.trial.engine_config
    if config is None:
        return
    place = selected.position
    if replayed is not None:
        st.caption("The same weights at any thresholds and timesteps, with exact counts.")
    else:
        st.caption(
            "The same weights at the stored operating points; sliders move to the nearest one."
        )

    def moved() -> None:
        _move(view, place, replayed)

    if config.timesteps > 1:
        frame.preset("at-timesteps", place.timesteps)
        st.slider(
            "Timesteps", 1, config.timesteps, place.timesteps, key="at-timesteps", on_change=moved
        )
    kept = depths(config)
    if len(kept) > 1:
        frame.preset("at-blocks", place.blocks)
        st.slider(
            "Blocks used",
            kept[0],
            kept[-1],
            place.blocks,
            key="at-blocks",
            on_change=moved,
            help="Blocks were trained one after another, so the first ones are a network too.",
        )
    for number, threshold in enumerate(place.thresholds, 1):
        key = f"at-exit-{number}"
        value = round(min(1.0, max(0.0, threshold)), 3)
        frame.preset(key, value)
        st.slider(
            f"Threshold of exit {number}",
            0.0,
            1.0,
            value,
            step=0.005,
            format="%.3f",
            key=key,
            on_change=moved,
            help=worded(view.trial, f"{formats.EXIT_RULE} At 1 no image exits here."),
        )
    if place.thresholds and config.detector != "none" and replayed is not None:
        value = round(place.detector, 3)
        frame.preset("at-detector", value)
        st.slider(
            "Detector threshold",
            0.0,
            1.0,
            value,
            step=0.01,
            key="at-detector",
            on_change=moved,
            help="If its probability of a hard class is above this value, an input does not exit.",
        )
    if config.timesteps > 1 and (
        replayed is not None or any(p.point.time_threshold < 1 for p in view.points)
    ):
        value = round(place.time, 3)
        frame.preset("at-time", value)
        st.slider(
            "Threshold over time",
            0.0,
            1.0,
            value,
            step=0.005,
            format="%.3f",
            key="at-time",
            on_change=moved,
            help="The last exit answers at the first timestep at which it is as confident as this. "
            "At 1 it answers after the last timestep.",
        )
    if not place.thresholds and len(kept) == 1:
        st.text(worded(view.trial, "A single exit: every image runs through all blocks."))


def _tracks(
    url: str, study: str, view: TrialView, selected: SelectedPoint, replayed: Replay | None
) -> dict[str, live_ring.Track]:
    """Return the operating points along each slider, by the slider's key."""
    config, place = view.trial.engine_config, selected.position
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
    if config.timesteps > 1:
        paths["at-time"] = live_ring.STOPS, [replace(place, time=v) for v in live_ring.STOPS]
    found = {}
    for key, (values, places) in paths.items():
        if replayed is not None:
            points = replays.points_at(url, study, view.trial, places)
        else:
            points = tuple(nearest(view.points, each).point for each in places)
        found[key] = live_ring.Track(values=values, points=points)
    return found


def _move(view: TrialView, before: Position, replayed: Replay | None) -> None:
    """Write the values of the sliders into the address."""
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
        time=float(state.get("at-time", before.time)),
    )
    if replayed is None:
        frame.put("point", str(nearest(view.points, wanted).id))
        frame.put("at", "")
    else:
        frame.put("at", str(wanted))


def _sweeps(url: str, study: str, trial: Trial, selected: SelectedPoint) -> None:
    place = selected.position
    st.caption(
        "Effect of the threshold of one exit, with all other thresholds unchanged. A line for each "
        "number of timesteps; strong: the current one."
    )
    columns = st.columns(max(2, len(place.thresholds)), gap="large")
    for number, threshold in enumerate(place.thresholds, 1):
        curves = replays.curves(url, study, trial, place, number)
        for row, metric in enumerate(("accuracy", "synaptic_ops")):
            with columns[row if len(place.thresholds) == 1 else number - 1]:
                title = f"{formats.label(metric)} against the threshold of exit {number}"
                st.markdown(f"**{title}**")
                chosen = place.timesteps, threshold
                frame.chart(
                    sweep(curves, metric=metric, chosen=chosen, mode=frame.mode()),
                    f"sweep-{number}-{metric}",
                    title,
                )
