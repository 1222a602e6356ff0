"""One validation image or recording on its way through a network."""

from collections.abc import Callable

import numpy as np
import streamlit as st

from dashboard.data import formats
from dashboard.data.inputs import IMAGES, Inputs, inputs_of
from dashboard.data.position import Position
from dashboard.figures import recorded
from dashboard.figures.raster import described, picture
from dashboard.figures.raster import raster as drawn
from dashboard.parts import downloads, frame, replays
from search.export.replay import Decided, Replay
from search.trial.trial import Trial
from snn.evaluation.raster import ImageRaster


def image_section(url: str, study: str, trial: Trial, replayed: Replay, place: Position) -> None:
    """Draw the spikes of one validation image, the confidence of each exit, and its exit."""
    inputs = inputs_of_trial(trial)
    noun = inputs.sample
    st.subheader(f"One {noun} on its way", anchor=False)
    decided = replayed.decisions(*place.setting)
    kinds = kinds_of(decided, replayed, place)
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        with st.container(width=320):
            kind = frame.choose(
                f"{noun.title()}s", "images", list(kinds), "any", show=lambda k: _title(k, kinds)
            )
        wanted = kinds[kind]
        if not wanted.size:
            st.text(f"No such {noun} at this operating point.")
            return
        number = _number(wanted)
        with st.container(width=140):
            frame.preset("image", number)
            st.number_input(
                noun.title(),
                0,
                len(replayed.labels) - 1,
                number,
                key="image",
                help=f"Number of the validation {noun}, from 0.",
                on_change=_take,
            )
        st.button(
            "Next", key="next-image", icon=":material/skip_next:", on_click=_next(wanted, number)
        )
    exit_, answered = int(decided.exits[number]), int(decided.timesteps[number])
    raster = replays.raster(url, study, trial, number)
    left, right = st.columns([1, 4] if raster.frames is None else [2, 5], gap="large")
    with left:
        is_camera = raster.frames is not None and not recorded.is_row(raster)
        if raster.frames is None or is_camera:
            frame.chart(
                recorded.clip(raster, answered, frame.mode())
                if is_camera
                else picture(raster, frame.mode()),
                "picture",
                f"Validation {noun} {number}, of class {inputs.name(raster.label)}",
            )
        st.markdown(f"**Class {formats.verbatim(inputs.name(raster.label))}**, exit {exit_}")
        st.text(described(raster, answered, place.thresholds, exit_, inputs))
        if raster.frames is not None:
            st.text(recorded.answer(raster, answered))
            if is_camera:
                st.caption("Blue: more ON than OFF events of a pixel; orange: more OFF.")
    with right:
        if raster.frames is not None:
            _time(raster, answered, exit_, place)
        with frame.scrolling("raster"):
            frame.chart(
                drawn(
                    raster,
                    timesteps=answered,
                    thresholds=place.thresholds,
                    exit_=exit_,
                    mode=frame.mode(),
                ),
                "raster",
                f"Spikes of {noun} {number} per layer and timestep; it exits at exit {exit_}",
            )
        st.caption(
            "Filled cell: spike. Up to 32 neurons of each layer are drawn, from those that fired. "
            f"Blocks run one after another. Vertical line: the {noun} exits; grey cells were not "
            "executed. Below: highest class probability of each exit after each timestep (cross: "
            "wrong class). Dotted: exit threshold."
        )


def _time(raster: ImageRaster, answered: int, exit_: int, place: Position) -> None:
    frame.chart(
        recorded.timeline(
            raster,
            answered=answered,
            exit_=exit_,
            thresholds=(*place.thresholds, place.time),
            mode=frame.mode(),
        ),
        "timeline",
        f"Events per bin and confidence of the exits over time; answered after {answered} bins",
    )
    st.caption(
        "Bars: events of each bin. Lines: highest class probability of each exit (cross: wrong "
        "class). Vertical line: the answer; what comes after it was not seen."
    )


def inputs_of_trial(trial: Trial) -> Inputs:
    """Return what the inputs and classes of a network are called."""
    config = trial.engine_config
    return IMAGES if config is None else inputs_of(config.dataset, downloads.data_dir())


def worded(trial: Trial, text: str) -> str:
    """Return a text on images in the words of the trial's data set."""
    return inputs_of_trial(trial).worded(text)


def kinds_of(decided: Decided, replayed: Replay, place: Position) -> dict[str, np.ndarray]:
    """Return the numbers of images by their exit and by wrong answers."""
    found = {"any": np.arange(len(replayed.labels))}
    if place.blocks > 1:
        for exit_ in range(1, place.blocks + 1):
            found[f"exit-{exit_}"] = np.flatnonzero(decided.exits == exit_)
    found["wrong"] = np.flatnonzero(decided.labels != replayed.labels)
    return found


def _title(kind: str, kinds: dict[str, np.ndarray]) -> str:
    words = {"any": "all", "wrong": "wrong class"}
    name = words.get(kind) or f"exit {kind.removeprefix('exit-')}"
    return f"{name} ({kinds[kind].size:,})"


def _number(wanted: np.ndarray) -> int:
    """Return the image in the address, or the first of the wanted ones."""
    number = frame.number_in_address("image")
    return number if number is not None and number in wanted else int(wanted[0])


def _take() -> None:
    """Write the number typed into the address, and show all images."""
    frame.put("image", str(st.session_state["image"]))
    frame.remember("images", "any")


def _next(wanted: np.ndarray, number: int) -> Callable[[], None]:
    later = wanted[wanted > number]
    following = int(later[0] if later.size else wanted[0])
    return lambda: frame.put("image", str(following))
