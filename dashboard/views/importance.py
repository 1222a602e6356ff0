"""What matters in a study: which parameters decide, how, and what the sampler made of it."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import streamlit as st

from dashboard.data import formats
from dashboard.data.trial_table import TrialTable, trial_table
from dashboard.figures import importance as matters_figures
from dashboard.figures import importance_table
from dashboard.figures import parallel as parallel_figure
from dashboard.figures import partition as partition_figure
from dashboard.figures.style import Figure
from dashboard.parts import frame
from dashboard.parts.marked_trial import marked, marked_row, marking
from dashboard.parts.store_cache import is_anything_running, open_store, store_url, trials_of
from search.study.study import Study, StudyError, study_from_toml
from snn.settings.measurement import METRICS

if TYPE_CHECKING:  # it loads Optuna
    from search.samplers.importance import Importance

VIEWS = {
    "slices": "One by one",
    "pairs": "Two at a time",
    "parallel": "All together",
    "partitions": "Partitions",
    "time": "Over time",
}
METHODS = {
    "ped-anova": ("PED-ANOVA", "which parameters tell the best tenth of the trials from all"),
    "fanova": ("fANOVA", "how much of the variance each parameter explains by itself"),
}
ENOUGH = 10  # measured trials, before anything is said about importance


def importance_page() -> None:
    """The page, drawn again while its study runs."""
    url = store_url()
    frame.live(lambda: _body(url), is_running=lambda: is_anything_running(url))


def _body(url: str) -> None:
    with frame.store_errors():
        top = st.container(horizontal=True, vertical_alignment="bottom", gap="medium")
        with top, st.container(width=320):
            study = frame.choose_study(url)
        objectives, table, version = _read(url, study)
    options = [*objectives, *(name for name in METRICS if name not in objectives)]
    with top, st.container(width=290):
        metric = frame.choose(
            "Metric", "metric", options, options[0], show=formats.label, help=_HELP
        )
    if not len(table):
        _nothing_yet(table)
        return
    ranked = _importance(url, study, version, objectives, table)
    st.subheader("How they matter", anchor=False)
    chosen = frame.pick_one("View", "look", VIEWS)
    if chosen != "partitions":
        marked_row(study, table, metric, objectives)
    draw: dict[str, Callable[[TrialTable, list[str], str, tuple[str, ...]], None]] = {
        "slices": _slices,
        "pairs": _pairs,
        "parallel": _parallel,
        "partitions": _partitions,
        "time": _time,
    }
    draw[chosen](table, ranked, metric, objectives)


_HELP = "What the figures below are drawn against: each trial at the operating point it sampled."


def _read(url: str, study: str) -> tuple[tuple[str, ...], TrialTable, str]:
    store = open_store(url)
    version = store.version(study)
    return store.stored_study(study).objectives, _table(url, study, version), version


@st.cache_resource(show_spinner=False, max_entries=8)
def _table(url: str, study: str, version: str) -> TrialTable:
    return trial_table(trials_of(url, study))


def _nothing_yet(table: TrialTable) -> None:
    st.subheader("Nothing was measured yet", anchor=False)
    if table.finished:
        st.text(
            f"{table.finished} trials ended, none of them with a measurement: "
            "they failed or were stopped. The Network page says why."
        )
    else:
        st.text("Parameters show what they matter as soon as trials are complete.")


def _importance(
    url: str, study: str, version: str, objectives: tuple[str, ...], table: TrialTable
) -> list[str]:
    """The table of importances; returns the parameters, the most important first."""
    st.subheader("What matters", anchor=False)
    names = list(table.params)
    if not names:
        st.text("Nothing varied between the measured trials, so nothing can matter.")
        return names
    if len(table) < ENOUGH:
        st.text(f"{len(table)} trials were measured; from {ENOUGH} on, importances are shown here.")
        return names
    method = frame.pick_one("Method", "by", {name: words[0] for name, words in METHODS.items()})
    found = _importances(url, study, version, objectives, method)
    if not found:
        st.text("The objectives have too few finite values to tell what matters.")
        return names
    st.html(importance_table.table(found, {n: table.share_with(n) for n in names}, frame.mode()))
    looked_at = max(each.trials for each in found)
    thinned = f" of {len(table):,}" if looked_at < len(table) else ""
    st.caption(
        f"Shares of what the parameters decide, per objective: {METHODS[method][1]}. "
        f"From {looked_at:,}{thinned} trials."
    )
    ranked = importance_table.order(found)
    return [*ranked, *(name for name in names if name not in ranked)]


@st.cache_resource(show_spinner="Weighing the parameters", max_entries=16)
def _importances(
    url: str, study: str, version: str, objectives: tuple[str, ...], method: str
) -> list["Importance"]:
    from search.samplers import importance  # with Optuna, which takes a second to load

    stored = open_store(url).stored_study(study)
    asked: Study | None
    try:
        asked = study_from_toml(stored.toml, study)
    except StudyError:
        asked = None
    return importance.importances(
        trials_of(url, study),
        objectives,
        asked.space if asked else None,
        method="fanova" if method == "fanova" else "ped-anova",
    )


def _grid(names: list[str], draw: Callable[[str], None]) -> None:
    for start in range(0, len(names), 3):
        for column, name in zip(st.columns(3, gap="large"), names[start : start + 3], strict=False):
            with column:
                st.markdown(f"**{formats.verbatim(formats.label(name))}**", help=_meaning(name))
                draw(name)


def _meaning(name: str) -> str | None:
    return formats.meaning(name) or None


def _dots(figure: Figure, *, key: str, alt: str) -> None:
    """A figure whose dots are trials, to be marked by a click."""
    st.plotly_chart(
        figure,
        key=key,
        theme=None,
        config=frame.PLOT,
        on_select=marking(key),
        selection_mode="points",
        alt=alt,
    )


def _slices(table: TrialTable, names: list[str], metric: str, objectives: tuple[str, ...]) -> None:
    st.caption(
        f"{formats.label(metric)} along each parameter: a dot is a trial, the line the median, "
        "the band holds four fifths of the trials. Click a dot to mark its trial."
    )
    mark = marked(table)

    def draw(name: str) -> None:
        _dots(
            matters_figures.slice_of(table, name, metric, frame.mode(), mark=mark),
            key=f"slice-{name}",
            alt=f"{formats.label(metric)} along {formats.label(name)}",
        )

    _grid(names, draw)


def _time(table: TrialTable, names: list[str], metric: str, objectives: tuple[str, ...]) -> None:
    st.caption(
        f"Values that the sampler tried, trial after trial; the stronger the colour, the better "
        f"the {formats.label(metric).lower()}. The line is the median. "
        "Click a dot to mark its trial."
    )
    mark = marked(table)

    def draw(name: str) -> None:
        _dots(
            matters_figures.tried(table, name, metric, frame.mode(), mark=mark),
            key=f"tried-{name}",
            alt=f"Values of {formats.label(name)} over the trials",
        )

    _grid(names, draw)


def _pairs(table: TrialTable, names: list[str], metric: str, objectives: tuple[str, ...]) -> None:
    if len(names) < 2:
        st.text("Fewer than two parameters varied.")
        return
    with st.container(horizontal=True, gap="small"):
        with st.container(width=290):
            across = frame.choose("Across", "across", names, names[0], show=formats.label)
        others = [name for name in names if name != across]
        with st.container(width=290):
            up = frame.choose("Up", "up", others, others[0], show=formats.label)
    st.caption(
        f"{formats.label(metric)} over two parameters, smoothed over the trials around each place "
        "where both are numbers, otherwise the median in each cell. Empty where nothing was tried. "
        "Click a dot to mark its trial."
    )
    _dots(
        matters_figures.pair(table, across, up, metric, frame.mode(), mark=marked(table)),
        key="pair",
        alt=f"{formats.label(metric)} over {formats.label(across)} and {formats.label(up)}",
    )


def _parallel(
    table: TrialTable, names: list[str], metric: str, objectives: tuple[str, ...]
) -> None:
    metrics = list(dict.fromkeys((*objectives, metric)))
    shown = min(len(names), parallel_figure.MOST_AXES)
    left_out = f" The {shown} most important parameters are shown." if shown < len(names) else ""
    st.caption(
        f"A line is a trial, stronger the better its {formats.label(metric).lower()}. Drag along "
        f"an axis to keep the lines that pass there; click the axis to let go.{left_out}"
    )
    with frame.scrolling("parallel"):
        st.plotly_chart(
            parallel_figure.parallel(
                table, names, metrics, metric, frame.mode(), mark=marked(table)
            ),
            key="parallel",
            theme=None,
            config=frame.PLOT,
            alt="Parallel coordinates of all parameters and objectives",
        )


def _partitions(
    table: TrialTable, names: list[str], metric: str, objectives: tuple[str, ...]
) -> None:
    if not any(table.partitions):
        st.text("How the networks were cut into blocks is not known for these trials.")
        return
    statistic = frame.pick_one("Colour by", "statistic", {"best": "Best", "mean": "Mean"})
    st.caption(
        "Partitions by the blocks that they begin with, as wide as they were tried often. "
        f"Colour: the {statistic} {formats.label(metric).lower()} of all networks that begin so. "
        "Click a branch to look closer."
    )
    st.plotly_chart(
        partition_figure.partitions(table, metric, frame.mode(), statistic=statistic),
        key="partitions",
        theme=None,
        config=frame.PLOT,
        alt=f"{formats.label(metric)} by partition, as a tree of first blocks",
    )


importance_page()
