"""The part of the page of one network that says why there is no result."""

import streamlit as st

from dashboard.data import formats
from dashboard.data.stop_reason import StopReason, explained
from dashboard.figures import rungs as rung_figures
from dashboard.parts import frame
from search.trial.trial import Trial, TrialState

CHART = "rung-chart"
MOST_LINKS = 4


def why(study: str, trial: Trial, reason: StopReason | None) -> None:
    """The reason that was recorded, its traceback or its rung, and what can be done next."""
    with st.container(border=True):
        st.markdown("**It failed**" if trial.state is TrialState.FAILED else "**It was stopped**")
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
        across = others[0] if others else rung_figures.TRIAL
        if len(others) > 1:
            with st.container(width=290):
                across = frame.choose("Against", "judged", others, others[0], show=formats.label)
        for number in reason.superiors[:MOST_LINKS]:
            st.page_link(
                frame.NETWORK,
                label=f"Open trial {number}",
                icon=":material/neurology:",
                query_params={"study": study, "trial": str(number)},
            )
    st.plotly_chart(
        rung_figures.at_rung(reason, x=across, y=up, mode=frame.mode()),
        key=CHART,
        theme=None,
        config=frame.PLOT,
        on_select=_open,
        selection_mode="points",
        alt=f"{formats.label(up)} of all trials at the rung, this one ringed",
    )
    st.caption(
        "What every trial had measured when it came to this rung; click one to open it. "
        "With several operating points a trial is judged by all of them."
    )


def _open() -> None:
    """Put the trial clicked into the address bar."""
    number = frame.picked(CHART)
    if number is not None:
        frame.put("trial", str(number))
        frame.put("point", "")
        frame.put("at", "")
