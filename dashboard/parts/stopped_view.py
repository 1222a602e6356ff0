"""The reason why a trial has no result."""

import streamlit as st

from dashboard.data import formats
from dashboard.data.stop_reason import StopReason, explained
from dashboard.figures.rungs import TRIAL, at_rung
from dashboard.parts import frame
from search.trial.trial import Trial, TrialState

CHART = "rung-chart"
MOST_LINKS = 4


def why(study: str, trial: Trial, reason: StopReason | None) -> None:
    """Draw the recorded reason with its traceback or its rung."""
    with st.container(border=True):
        st.markdown(
            "**It failed**" if trial.state is TrialState.FAILED else "**It was stopped early**"
        )
        words = trial.reason or "No reason was recorded."
        st.text(words[:1].upper() + words[1:])
        if trial.error:
            st.code(trial.error, language=None)
        if reason is not None:
            _rung(study, reason)


def _rung(study: str, reason: StopReason) -> None:
    st.text(" ".join(explained(reason)))
    metrics = reason.metrics
    up = metrics[0]
    others = [name for name in metrics if name != up]
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        across = others[0] if others else TRIAL
        if len(others) > 1:
            with st.container(width=290):
                across = frame.choose(
                    "Horizontal axis", "judged", others, others[0], show=formats.label
                )
        for number in reason.superiors[:MOST_LINKS]:
            st.page_link(
                frame.NETWORK,
                label=f"Open trial {number}",
                icon=":material/neurology:",
                query_params={"study": study, "trial": str(number)},
            )
    frame.chart(
        at_rung(reason, x=across, y=up, mode=frame.mode()),
        CHART,
        f"{formats.label(up)} of all trials at the rung, this one ringed",
        on_select=_open,
    )
    st.caption(
        "Metrics of every trial at this rung; click a trial to open it. All operating points of a "
        "trial are compared."
    )


def _open() -> None:
    """Write the trial clicked into the address."""
    number = frame.picked(CHART)
    if number is not None:
        frame.put("trial", str(number))
        frame.put("point", "")
        frame.put("at", "")
