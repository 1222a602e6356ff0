"""Controls that keep their value in the address, beside the select box of `page.choose`."""

from collections.abc import Callable, Sequence

import streamlit as st

from dashboard import page


def segmented(
    label: str,
    name: str,
    options: Sequence[str],
    default: str,
    *,
    show: Callable[[str], str] = str,
    help: str | None = None,
) -> str:
    """One of a few options, all in sight; its value lives in the address bar under `name`."""
    current = page.recall(name, options, default)
    key = f"segment-{name}"
    page.preset(key, current)
    st.segmented_control(
        label,
        options,
        key=key,
        format_func=show,
        help=help,
        label_visibility="collapsed",
        on_change=_take,
        args=(name, key),
    )
    return current


def _take(name: str, key: str) -> None:
    if st.session_state[key] is not None:  # a click on the chosen one unchooses it
        page.remember(name, str(st.session_state[key]))
