"""A script that moves the ring of the operating point while a slider is dragged.

Streamlit reports a slider when it is released. Until then the script moves the ring along points
computed beforehand. It sends nothing back to the server.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import streamlit as st
from streamlit.runtime import exists as has_runtime

from dashboard.data import formats
from dashboard.figures.trial import RING
from snn.settings.measurement import OperatingPoint

STOPS = tuple(place / 100 for place in range(101))  # of a threshold

# The text of the slider's value changes while it is dragged; the ring is a mark of an SVG.
SCRIPT = """
export default function ({ data, parentElement }) {
  const said = parentElement.querySelector("p");
  const move = (stops, value) => {
    let near = stops[0];
    for (const stop of stops) {
      if (Math.abs(stop[0] - value) < Math.abs(near[0] - value)) near = stop;
    }
    const plot = document.querySelector(`.st-key-${data.chart} .js-plotly-plot`);
    const marks = plot ? [...plot.querySelectorAll(".scatterlayer .trace")] : [];
    const ring = marks.find((each) => each.__data__?.[0]?.trace?.name === data.ring);
    const { xaxis, yaxis } = plot?._fullLayout ?? {};
    const at = ring ? [xaxis.d2p(near[1]), yaxis.d2p(near[2])] : [];
    const path = ring?.querySelector("path.point");
    if (path && at.every(Number.isFinite)) {
      path.setAttribute("transform", `translate(${at[0]},${at[1]})`);
    }
    said.textContent = near[3];
  };
  const observers = Object.entries(data.sliders).map(([key, stops]) => {
    const input = document.querySelector(`.st-key-${key} input[type=range]`);
    const observer = new MutationObserver(() => move(stops, Number(input.value)));
    if (input) observer.observe(input, { attributeFilter: ["aria-valuetext"] });
    return observer;
  });
  said.textContent = data.now;
  return () => observers.forEach((each) => each.disconnect());
}
"""
STYLE = """p { margin: 0; min-height: 1.4em; font: inherit; font-size: 0.875rem; opacity: 0.75;
  font-variant-numeric: tabular-nums; }"""


@dataclass(frozen=True, kw_only=True)
class Track:
    """The operating point at each value of one slider."""

    values: Sequence[float]
    points: Sequence[OperatingPoint]


def follow(chart: str, x: str, tracks: Mapping[str, Track], now: OperatingPoint) -> None:
    """Make the ring of this figure follow sliders, by their keys; `x` is the horizontal metric."""
    if not has_runtime() or not tracks:  # without a browser there is nothing to move
        return
    _component()(
        key="live-ring",
        data={
            "chart": chart,
            "ring": RING,
            "now": _said(now, x),
            "sliders": {key: _stops(track, x) for key, track in tracks.items()},
        },
    )


@st.cache_resource(show_spinner=False)
def _component() -> Callable[..., object]:
    return st.components.v2.component(
        "spikefront_live_ring", html='<p aria-live="off"></p>', css=STYLE, js=SCRIPT
    )


def _stops(track: Track, x: str) -> list[tuple[float, float, float, str]]:
    return [
        (value, point.metrics[x], point.metrics["accuracy"], _said(point, x))
        for value, point in zip(track.values, track.points, strict=True)
        if x in point.metrics  # a metric of the user is measured at stored points alone
    ]


def _said(point: OperatingPoint, x: str) -> str:
    names = ("accuracy", x)
    return " · ".join(
        f"{formats.label(name)} {formats.quantity(name, point.metrics.get(name))}" for name in names
    )
