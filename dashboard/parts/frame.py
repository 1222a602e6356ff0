"""Parts of every page: style, messages of the store, charts, and controls kept in the address."""

import contextlib
import html
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from dashboard.data import formats
from dashboard.figures.theme import Mode
from dashboard.parts import downloads
from dashboard.parts.store_cache import forget_store, study_heads
from search.store.store import StoreError
from snn.settings.config import ConfigError

VIEWS = Path(__file__).parents[1] / "views"
STUDIES, FRONT, COMPARE, EXPORT, NETWORK = (
    str(VIEWS / f"{name}.py") for name in ("studies", "front", "compare", "export", "network")
)

LIVE_S = 3.0  # between two drawings while a study runs
IDLE_S = 20.0  # between two drawings while none runs

# All digits have one width, so that columns of numbers line up. The page has a largest width. On a
# narrow screen controls and metrics fill their rows.
STYLE = """<style>
.stApp { font-variant-numeric: tabular-nums; }
.stMainBlockContainer { max-width: 1480px; }
[data-testid="stMetricLabel"] { opacity: 0.75; }
[data-testid="stImage"] img { border-radius: 0; }
[class*="st-key-scrolling-"] { overflow-x: auto; }
[class*="st-key-scrolling-"] > div { min-width: 44rem; }
.facts div { display: flex; flex-wrap: wrap; gap: 0.25rem 1rem; justify-content: space-between; }
.facts span { font-size: 0.875rem; opacity: 0.6; cursor: help; }
.facts span[title]:hover { text-decoration: underline dotted; }
@media (max-width: 640px) {
  .stHorizontalBlock { row-gap: 0.75rem; }
  .stHorizontalBlock > .stElementContainer:has(> .stMetric) { flex: 1 1 40%; }
  .stHorizontalBlock > [data-testid="stLayoutWrapper"]:has(
    > .stVerticalBlock :is(.stSelectbox, .stTextInput, .stNumberInput)
  ) { flex-grow: 1; }
}
</style>"""

ICON = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32" width="32" height="32">
<path d="M4 28 V21 H12 V13 H20 V6 H29" fill="none" stroke="#e2622e" stroke-width="3.6"
 stroke-linecap="round" stroke-linejoin="round"/></svg>"""

LOGO = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 150 32" width="150" height="32">
<g fill="none" stroke="#e2622e" stroke-width="2.6" stroke-linecap="round" stroke-linejoin="round">
<path d="M4 27 V20 H11 V13 H19 V7 H28"/></g>
<g fill="#7b8a9b"><circle cx="12" cy="25" r="1.7"/><circle cx="19" cy="20" r="1.7"/>
<circle cx="25" cy="14" r="1.7"/><circle cx="24" cy="25" r="1.7"/></g>
<text x="38" y="22" font-family="'Source Sans','Helvetica Neue',Arial,sans-serif" font-size="19"
 font-weight="600" fill="#7b8a9b">spike<tspan fill="#e2622e">front</tspan></text></svg>"""

# A figure under the mouse shows one button, which saves the figure as SVG.
PLOT = {
    "displaylogo": False,
    "modeBarButtons": [["toImage"]],
    "toImageButtonOptions": {"format": "svg", "filename": "spikefront"},
    "scrollZoom": False,
}


def mode() -> Mode:
    """Return whether the page is dark, for figures to match."""
    return "dark" if st.context.theme.type == "dark" else "light"


def chart(
    figure: object,
    key: str,
    alt: str,
    *,
    config: Mapping[str, object] = PLOT,
    on_select: Callable[[], None] | None = None,
    selection_mode: Iterable[str] = ("points",),
    width: Literal["stretch", "content"] = "stretch",
) -> None:
    """Draw a plotly figure; `alt` is read to people who cannot see it."""
    st.plotly_chart(
        figure,
        key=key,
        theme=None,
        config=dict(config),
        on_select=on_select or "ignore",  # type: ignore[arg-type]
        selection_mode=selection_mode,  # type: ignore[arg-type]
        alt=alt,
        width=width,
    )


def table(data: object, **options: Any) -> None:
    """Draw a table without its index; a missing value is a dash, not the word None."""
    st.dataframe(data, hide_index=True, placeholder=formats.NOTHING, **options)


def facts(rows: Iterable[tuple[str, str, str]]) -> None:
    """Draw a list of label, value and meaning, which the label shows under the mouse.

    One element: a page with an element for each word takes long to begin.
    """
    lines = [
        f'<div><span title="{html.escape(meaning)}">{html.escape(label)}</span>'
        f"<b>{html.escape(value)}</b></div>"
        for label, value, meaning in rows
    ]
    st.html(f'<div class="facts">{"".join(lines)}</div>')


@contextlib.contextmanager
def store_errors() -> Iterator[None]:
    """Show a message and the next step where the store cannot be read, instead of a traceback."""
    try:
        yield
    except StoreError as error:
        forget_store()
        st.subheader("No results to show", anchor=False)
        st.text(str(error))
        next_step()
        st.stop()
    except ConfigError as error:
        st.subheader("Written by another version", anchor=False)
        st.text(
            "This study was written by another version of spikefront and cannot be read. "
            "Open it with that version (details below)."
        )
        st.text(str(error))
        st.stop()


def next_step() -> None:
    """Show the commands that fill a store and that show another store."""
    st.caption("Run a study; this page then shows it without a reload.")
    st.code("spikefront run studies/digits.toml", language="bash")
    st.caption("Or show another store.")
    st.code("spikefront dashboard --store sqlite:///path/to/spikefront.db", language="bash")


# --- controls ----------------------------------------------------------------------------
#
# The value of a control is kept in the address, never in the control. A page reads the address,
# gives the control that value, and a change of the control writes the address. Each control gets
# the value twice: by `preset`, and as its default. The browser begins with the default wherever the
# control is new to it, as on another page, while the key still has its value on the server.


def preset(key: str, value: object) -> None:
    """Set the value of the control with this key before it is drawn.

    It is set only where it differs: a page that is drawn again would otherwise undo a change in
    progress.
    """
    if key not in st.session_state or st.session_state[key] != value:
        st.session_state[key] = value


def choose(
    label: str,
    name: str,
    options: Sequence[str],
    default: str,
    *,
    show: Callable[[str], str] = str,
    help: str | None = None,
) -> str:
    """Draw a select box and return its value, which is in the address under `name`.

    A value that is not an option counts as not given. A link that leaves `name` out gets the
    value that this session last had.
    """
    known = {str(option): option for option in options}
    asked = (st.query_params.get(name), st.session_state.get(f"last-{name}"))
    current = next((known[value] for value in asked if value in known), default)
    remember(name, current)
    _select(label, name, options, current, show, lambda value: remember(name, value), help)
    return current


def remember(name: str, value: str) -> None:
    """Write a choice into the address, and keep it for links that leave it out.

    After Back the address has another value than the last one. It is written again then: a change
    of the run before may arrive after Back, and would stay in the address.
    """
    last = f"last-{name}"
    if st.session_state.get(last, value) != value:
        st.query_params[name] = value
    st.session_state[last] = value
    put(name, value)


def choose_or_default(
    label: str,
    name: str,
    options: Sequence[str],
    *,
    show: Callable[[str], str] = str,
) -> str:
    """Draw a select box and return its value; the first option is not written into the address."""
    current = _given(name, options)
    _select(label, name, options, current, show, lambda value: _put_unless(name, value, options[0]))
    return current


def _select(
    label: str,
    name: str,
    options: Sequence[str],
    current: str,
    show: Callable[[str], str],
    take: Callable[[str], None],
    help: str | None = None,
) -> None:
    key = f"choose-{name}"
    preset(key, current)
    st.selectbox(
        label,
        options,
        list(options).index(current),
        key=key,
        format_func=show,
        help=help,
        on_change=lambda: take(str(st.session_state[key])),
    )


def pick_one(label: str, name: str, options: Mapping[str, str], *, help: str | None = None) -> str:
    """Draw a few options side by side, by value and label; the first one is the default."""
    first = next(iter(options))
    current = _given(name, list(options))
    key = f"one-{name}"
    preset(key, current)
    st.segmented_control(
        label,
        list(options),
        default=current,
        format_func=lambda option: options[option],
        key=key,
        help=help,
        required=True,
        on_change=lambda: _put_unless(name, str(st.session_state[key] or first), first),
    )
    return current


def switch(
    label: str,
    name: str,
    *,
    default: bool,
    words: tuple[str, str] = ("on", "off"),
    key: str = "",
    disabled: bool = False,
    help: str | None = None,
) -> bool:
    """Draw a toggle; `words` are its two values in the address, where it differs from `default`."""
    given = st.query_params.get(name)
    current = (given == words[0] if given in words else default) and not disabled
    key = key or f"switch-{name}"
    preset(key, current)

    def flip() -> None:
        is_on = bool(st.session_state[key])
        put(name, "" if is_on == default else words[not is_on])

    st.toggle(label, current, key=key, help=help, disabled=disabled, on_change=flip)
    return current


def type_text(label: str, name: str, *, most: int, **about: Any) -> str:
    """Draw a line of text that is kept in the address, of at most `most` characters."""
    current = st.query_params.get(name, "")[:most]
    preset(name, current)

    def take() -> None:
        put(name, str(st.session_state[name]).strip())
        put("page", "")  # other words have other pages

    st.text_input(label, current, key=name, max_chars=most, on_change=take, **about)
    return current


def _given(name: str, options: Sequence[str]) -> str:
    current = st.query_params.get(name, options[0])
    return current if current in options else options[0]


def _put_unless(name: str, value: str, default: str) -> None:
    put(name, "" if value == default else value)


def put(name: str, value: str) -> None:
    """Write a part of the address, or remove it when `value` is empty."""
    if value and st.query_params.get(name) != value:
        st.query_params[name] = value
    elif not value and name in st.query_params:
        del st.query_params[name]


def number_in_address(name: str) -> int | None:
    """Return the number that the address has under `name`; None for everything else."""
    asked = st.query_params.get(name, "")
    return int(asked) if asked.isascii() and asked.isdigit() and len(asked) < 19 else None


def carried(more: Mapping[str, str]) -> dict[str, str]:
    """Return the parts of the address with `more` in place of some: for a link to a like page."""
    return {**st.query_params.to_dict(), **more}


# --- studies -----------------------------------------------------------------------------


def study_names(url: str) -> list[str]:
    """Return all studies, the one changed last first; an empty store ends the page with help."""
    names = [head.name for head in study_heads(url)]
    if not names:
        st.subheader("No studies yet", anchor=False)
        next_step()
        st.stop()
    return names


def warn_of_unknown(asked: Iterable[str], names: Sequence[str]) -> None:
    """Name the studies of the address that the store does not have."""
    for name in asked:
        if name not in names:
            st.warning(f"There is no study {formats.verbatim(repr(name))} in this store.")


def choose_study(url: str) -> str:
    """Draw the box of studies; the default is the study changed last."""
    names = study_names(url)
    warn_of_unknown(st.query_params.get_all("study"), names)
    return choose("Study", "study", names, names[0])


def scrolling(name: str) -> DeltaGenerator:
    """Return a container that scrolls sideways on a screen too narrow for its content."""
    return st.container(key=f"scrolling-{name}")


def live(body: Callable[[], None], *, is_running: Callable[[], bool]) -> None:
    """Draw `body`, and again every few seconds while a study runs."""
    every = LIVE_S if is_running() else IDLE_S

    @st.fragment(run_every=every)
    def drawn() -> None:
        body()
        if is_running() != (every == LIVE_S):
            st.rerun()  # a study began or ended: change the interval

    drawn()


def picked(chart: str) -> int | None:
    """Return the number in the customdata of the point clicked in a figure."""
    for each in st.session_state[chart]["selection"]["points"]:
        found = each.get("customdata")
        found = found[0] if isinstance(found, list) and found else found
        if isinstance(found, int):
            return found
    return None


def export_button(url: str, study: str, *, trial: int, point: int, key: str) -> None:
    """Draw the download of one operating point as the folder that `spikefront export` writes."""
    problem = downloads.export_problem(url, study, trial)
    st.download_button(
        "Export",
        data=lambda: downloads.exported_zip(url, study, trial, point),
        file_name=f"{study}-{trial}-{point}.zip",
        mime="application/zip",
        key=f"export-{key}",
        icon=":material/download:",
        help=problem or "The folder that `spikefront export` writes, as a zip file.",
        disabled=bool(problem),
        on_click="ignore",
    )
