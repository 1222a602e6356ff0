"""The part of the page of one network that follows a single image through it."""

from collections.abc import Callable

import numpy as np
import streamlit as st

from dashboard.data.position import Position
from dashboard.figures import raster as raster_figure
from dashboard.parts import frame, replays
from search.export.replay import Decided, Replay
from search.trial.trial import Trial


def image_section(url: str, study: str, trial: Trial, replayed: Replay, place: Position) -> None:
    """One validation image: its spikes, how sure each exit becomes, and where it leaves."""
    st.subheader("One image on its way", anchor=False)
    decided = replayed.decisions(*place.setting)
    kinds = kinds_of(decided, replayed, place)
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        with st.container(width=320):
            kind = frame.choose(
                "Images", "images", list(kinds), "any", show=lambda k: _title(k, kinds)
            )
        wanted = kinds[kind]
        if not wanted.size:
            st.text("There is no such image at this operating point.")
            return
        number = _number(wanted, len(replayed.labels))
        with st.container(width=140):
            frame.preset("image", number)
            st.number_input(
                "Image",
                0,
                len(replayed.labels) - 1,
                key="image",
                help="Number among the validation images.",
                on_change=_take,
            )
        st.button(
            "Next", key="next-image", icon=":material/skip_next:", on_click=_next(wanted, number)
        )
    exit_ = int(decided.exits[number])
    raster = replays.raster(url, study, trial, number)
    left, right = st.columns([1, 4], gap="large")
    with left:
        st.plotly_chart(
            raster_figure.picture(raster, frame.mode()),
            key="picture",
            theme=None,
            config=frame.PLOT,
            alt=f"Validation image {number}, of class {raster.label}",
        )
        st.markdown(f"**Class {raster.label}**, leaves at exit {exit_}")
        st.text(raster_figure.taken(raster, place.timesteps, place.thresholds, exit_))
    with right:
        with frame.scrolling("raster"):
            st.plotly_chart(
                raster_figure.raster(
                    raster,
                    timesteps=place.timesteps,
                    thresholds=place.thresholds,
                    exit_=exit_,
                    mode=frame.mode(),
                ),
                key="raster",
                theme=None,
                config=frame.PLOT,
                alt=f"Spikes of image {number} per layer and timestep; it leaves at exit {exit_}",
            )
        st.caption(
            "A full cell is a spike, of up to 32 neurons of each layer, taken from those that "
            "fired; blocks run one after another. The line is the moment at which "
            "the image leaves: what is grey behind it was not run. Below: how sure each exit is "
            "after each timestep (a cross where it says the wrong class), dotted how sure it has "
            "to be."
        )


def kinds_of(decided: Decided, replayed: Replay, place: Position) -> dict[str, np.ndarray]:
    """Numbers of images by what becomes of them at an operating point."""
    found = {"any": np.arange(len(replayed.labels))}
    if place.blocks > 1:
        for exit_ in range(1, place.blocks + 1):
            found[f"exit-{exit_}"] = np.flatnonzero(decided.exits == exit_)
    found["wrong"] = np.flatnonzero(decided.labels != replayed.labels)
    return found


def _title(kind: str, kinds: dict[str, np.ndarray]) -> str:
    words = {"any": "all of them", "wrong": "decided wrongly"}
    name = words.get(kind) or f"leave at exit {kind.removeprefix('exit-')}"
    return f"{name} ({kinds[kind].size:,})"


def _number(wanted: np.ndarray, count: int) -> int:
    """The image of the address bar, or the first that is wanted."""
    asked = st.query_params.get("image", "")
    number = int(asked) if asked.isascii() and asked.isdigit() and len(asked) < 9 else -1
    if number in wanted:
        return number
    return int(wanted[0])


def _take() -> None:
    """Whatever image was asked for by its number is shown, whichever were looked at."""
    frame.put("image", str(st.session_state["image"]))
    frame.remember("images", "any")


def _next(wanted: np.ndarray, number: int) -> Callable[[], None]:
    later = wanted[wanted > number]
    following = int(later[0] if later.size else wanted[0])
    return lambda: frame.put("image", str(following))
