"""The marked trial of the importance page: a ring in every figure, and a link to the trial.

Its number is in the address, so that a link shows the same ring.
"""

from collections.abc import Callable

import numpy as np
import streamlit as st

from dashboard.data import formats
from dashboard.data.trial_table import TrialTable, best_rows
from dashboard.parts import frame

NAME = "trial"  # in the address
MOST_OFFERED = 50  # best trials in the list
MOST_PARAMS = 8  # shown of the trial


def marked(table: TrialTable) -> int | None:
    """Return the row of the trial in the address; None if it was not measured."""
    rows = np.flatnonzero(table.numbers == frame.number_in_address(NAME))
    return int(rows[0]) if rows.size else None


def marking(chart: str) -> Callable[[], None]:
    """Return a function that marks the trial clicked in this figure."""

    def mark() -> None:
        number = frame.picked(chart)
        if number is not None:
            frame.put(NAME, str(number))

    return mark


def marked_row(study: str, table: TrialTable, metric: str, objectives: tuple[str, ...]) -> None:
    """Draw a list of the best trials to mark one, its values, and a link to its page."""
    row = marked(table)
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        with st.container(width=290):
            _choose(table, metric, row)
        if row is not None:
            number = int(table.numbers[row])
            st.page_link(
                frame.NETWORK,
                label=f"Open trial {number}",
                icon=":material/neurology:",
                query_params={"study": study, "trial": str(number)},
            )
    if row is not None:
        st.caption(formats.verbatim(" · ".join(_facts(table, row, objectives))))


def _choose(table: TrialTable, metric: str, row: int | None) -> None:
    axis = table.metric(metric)
    best = [int(each) for each in best_rows(axis, 1.0)[:MOST_OFFERED]]
    rows = best if row is None or row in best else [row, *best]
    values = table.metrics[metric]
    titles = {
        int(table.numbers[each]): f"Trial {table.numbers[each]} · {axis.shown(float(values[each]))}"
        for each in rows
    }
    key = "mark-trial"
    number = None if row is None else int(table.numbers[row])
    frame.preset(key, number)

    def take() -> None:
        number = st.session_state[key]
        frame.put(NAME, "" if number is None else str(number))

    st.selectbox(
        "Marked trial",
        list(titles),
        index=None if number is None else list(titles).index(number),
        key=key,
        format_func=lambda number: titles.get(number, f"Trial {number}"),
        placeholder="Click a dot, or choose",
        help=f"The figures ring this trial. The list has the best {len(best)} trials by "
        f"{formats.label(metric).lower()}.",
        on_change=take,
    )


def _facts(table: TrialTable, row: int, objectives: tuple[str, ...]) -> list[str]:
    words = [
        f"{formats.label(name)} {table.metric(name).shown(float(table.metrics[name][row]))}"
        for name in objectives
    ]
    params = [(name, column[row]) for name, column in table.params.items()]
    known = [(name, value) for name, value in params if value is not None]
    words += [
        f"{formats.label(name)} {formats.quantity(name, value)}"
        for name, value in known[:MOST_PARAMS]
    ]
    return words
