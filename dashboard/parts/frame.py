"""What every page shares: its frame, the store it reads, its place in the address bar."""

import contextlib
import datetime
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

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

LIVE_S = 3.0  # between looks at a study that runs
IDLE_S = 20.0  # between looks for a study that starts

# Digits of one width, so that columns of figures line up; a page that is not wider than is read;
# on a narrow screen controls and figures that fill their rows.
STYLE = """<style>
.stApp { font-variant-numeric: tabular-nums; }
.stMainBlockContainer { max-width: 1480px; }
[data-testid="stMetricLabel"] { opacity: 0.75; }
[data-testid="stImage"] img { border-radius: 0; }
[class*="st-key-scrolling-"] { overflow-x: auto; }
[class*="st-key-scrolling-"] > div { min-width: 44rem; }
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

# A figure shows a camera under the mouse, which saves it as a drawing.
PLOT = {
    "displaylogo": False,
    "modeBarButtons": [["toImage"]],
    "toImageButtonOptions": {"format": "svg", "filename": "spikefront"},
    "scrollZoom": False,
}


def mode() -> Mode:
    """Whether the page is dark, for figures to match."""
    return "dark" if st.context.theme.type == "dark" else "light"


@contextlib.contextmanager
def store_errors() -> Iterator[None]:
    """A store that cannot be read is a message and what to do next, never a traceback."""
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
        st.text("The settings of a trial of this study mean nothing to this version of spikefront.")
        st.text(str(error))
        st.stop()


def next_step() -> None:
    """The commands that fill a store, and that point the page at another one."""
    st.caption("Run a study, then come back: this page looks again by itself.")
    st.code("spikefront run studies/digits.toml", language="bash")
    st.caption("Or look at another store.")
    st.code("spikefront dashboard --store sqlite:///path/to/spikefront.db", language="bash")


def choose(
    label: str,
    name: str,
    options: Sequence[str],
    default: str,
    *,
    show: Callable[[str], str] = str,
    help: str | None = None,
) -> str:
    """A select box whose value lives in the address bar under `name`, and nowhere else.

    A value there that is not an option counts as not given.
    """
    current = recall(name, options, default)
    key = f"choose-{name}"
    preset(key, current)
    st.selectbox(
        label, options, key=key, format_func=show, help=help, on_change=_take, args=(name, key)
    )
    return current


def preset(key: str, value: object) -> None:
    """The value of the widget with this key, before it is drawn.

    It is set only where it differs: a page that looks again by itself would otherwise
    undo what somebody is just changing.
    """
    if key not in st.session_state or st.session_state[key] != value:
        st.session_state[key] = value


def recall(name: str, options: Sequence[str], default: str) -> str:
    """The option that the address bar names, or that this session last had, or `default`."""
    known = {str(option): option for option in options}
    memory = f"last-{name}"
    asked = (st.query_params.get(name), st.session_state.get(memory))
    current = next((known[value] for value in asked if value in known), default)
    remember(name, current)
    return current


def remember(name: str, value: str) -> None:
    """Put a choice in the address bar, and keep it for when a link leaves it out."""
    st.session_state[f"last-{name}"] = value
    if st.query_params.get(name) != value:
        st.query_params[name] = value


def _take(name: str, key: str) -> None:
    remember(name, str(st.session_state[key]))


def switch(label: str, name: str, *, default: bool, help: str | None = None) -> bool:
    """A toggle whose value lives in the address bar under `name`: `on` or `off`."""
    current = {"on": True, "off": False}.get(st.query_params.get(name, ""), default)
    key = f"switch-{name}"
    preset(key, current)
    st.toggle(label, key=key, help=help, on_change=_flip, args=(name, key, default))
    return current


def _flip(name: str, key: str, default: bool) -> None:
    is_on = bool(st.session_state[key])
    put(name, "" if is_on == default else "on" if is_on else "off")


def pick_one(label: str, name: str, options: Mapping[str, str], *, help: str | None = None) -> str:
    """One of a few options side by side, by value and words; the first is the default."""
    default = next(iter(options))
    current = st.query_params.get(name, default)
    current = current if current in options else default
    key = f"one-{name}"
    preset(key, current)
    st.segmented_control(
        label,
        list(options),
        format_func=lambda option: options[option],
        key=key,
        help=help,
        required=True,
        on_change=lambda: put(name, _unless(st.session_state[key], default)),
    )
    return current


def choose_plainly(label: str, name: str, options: Mapping[str, str]) -> None:
    """A select box of values and words, in the address unless it is the first."""
    default = next(iter(options))
    current = st.query_params.get(name, default)
    key = f"choose-{name}"
    preset(key, current if current in options else default)
    st.selectbox(
        label,
        list(options),
        key=key,
        format_func=lambda option: options[option],
        on_change=lambda: put(name, _unless(st.session_state[key], default)),
    )


def _unless(value: object, default: str) -> str:
    return "" if value in (None, default) else str(value)


def put(name: str, value: str) -> None:
    """Set a part of the address, or take it out when `value` is empty."""
    if value:
        st.query_params[name] = value
    elif name in st.query_params:
        del st.query_params[name]


def carried(more: Mapping[str, str]) -> dict[str, str]:
    """The address as it is, with some of it said anew: for a link to a page like this one."""
    return {**st.query_params.to_dict(), **more}


def study_names(url: str) -> list[str]:
    """All studies, the one changed last first; stops with what to do on an empty store."""
    names = [head.name for head in study_heads(url)]
    if not names:
        st.subheader("No studies yet", anchor=False)
        next_step()
        st.stop()
    return names


def choose_study(url: str) -> str:
    """The study to show: from the address bar, or the one changed last."""
    names = study_names(url)
    asked = st.query_params.get("study")
    if asked is not None and asked not in names:
        st.warning(f"There is no study {formats.verbatim(repr(asked))} in this store.")
    return choose("Study", "study", names, names[0])


def scrolling(name: str) -> DeltaGenerator:
    """A container that scrolls sideways where the screen is too narrow for what is in it."""
    return st.container(key=f"scrolling-{name}")


def live(body: Callable[[], None], *, is_running: Callable[[], bool]) -> None:
    """Draw `body`, and again every few seconds while the study runs."""
    every = LIVE_S if is_running() else IDLE_S

    @st.fragment(run_every=every)
    def drawn() -> None:
        body()
        if is_running() != (every == LIVE_S):
            st.rerun()  # it began or ended: look more often, or less

    drawn()


def picked(chart: str) -> int | None:
    """The number that the customdata of the point clicked in a figure holds."""
    for each in st.session_state[chart]["selection"]["points"]:
        found = each.get("customdata")
        found = found[0] if isinstance(found, list) and found else found
        if isinstance(found, int):
            return found
    return None


def export_button(url: str, study: str, *, trial: int, point: int, key: str) -> None:
    """Download one operating point as the folder that `spikefront export` writes, zipped."""
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


def ago(moment: datetime.datetime, now: datetime.datetime | None = None) -> str:
    """How long since `moment`: `just now`, `4 min ago`, `2 d ago`."""
    now = now or datetime.datetime.now(datetime.UTC)
    moment = moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)
    seconds = (now - moment).total_seconds()
    if seconds < 60:
        return "just now"
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{int(seconds // size)} {unit} ago"
    raise AssertionError("a minute is the smallest unit")
