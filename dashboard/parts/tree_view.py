"""The search tree of the importance page: figure, a row per number of blocks, all prefixes."""

import numpy as np
import streamlit as st

from dashboard.data import formats, frames
from dashboard.data.search_tree import SearchTree, search_tree
from dashboard.data.trial_table import TrialTable
from dashboard.figures import block_trees as figures
from dashboard.parts import frame
from dashboard.parts.marked_trial import marked, marking
from dashboard.parts.store_cache import open_store, study_view, trials_of

CHART = "search-tree"


def tree_of(url: str, study: str) -> SearchTree:
    """Return the prefixes of a study."""
    return _tree(url, study, open_store(url).version(study))


@st.cache_resource(show_spinner=False, max_entries=4)
def _tree(url: str, study: str, version: str) -> SearchTree:
    return search_tree(trials_of(url, study), study_view(url, study).table)


def tree_section(tree: SearchTree, table: TrialTable, metric: str) -> None:
    """Draw the tree over an axis of choice, and its tables."""
    others = [name for name in (*tree.table.objectives, *tree.table.metrics) if name != metric]
    options = list(dict.fromkeys((figures.BLOCKS, figures.EPOCHS, *others)))
    words = {figures.BLOCKS: "Blocks", figures.EPOCHS: "Epochs trained by the study"}
    with st.container(width=290):
        x = frame.choose_or_default(
            "Horizontal axis", "tree", options, show=lambda name: words.get(name) or _label(name)
        )
    _told(tree, metric, x)
    row = marked(table)
    mark = None if row is None else int(table.numbers[row])
    frame.chart(
        figures.search_tree(tree, metric, frame.mode(), x=x, mark=mark),
        CHART,
        f"{_label(metric)} of the {len(tree):,} prefixes; the tables below have the same figures",
        on_select=marking(CHART),
    )
    _tables(tree, metric)


def _label(name: str) -> str:
    return formats.label(name)


def _told(tree: SearchTree, metric: str, x: str) -> None:
    shown = figures.shown_rows(tree, x, metric).size
    words = [
        f"Dot: a prefix, the first blocks of a network, with the {_label(metric).lower()} of the "
        "exit behind them. Line: a further block, trained behind a prefix that stays as it is."
    ]
    if x == figures.BLOCKS:
        words.append("Each column from the first trained (left) to the last.")
    words.append(
        "Kept: no other prefix of as many blocks is better in all objectives"
        " (the sampler grow extends these). Click a dot to mark its trial."
    )
    known = int(np.isfinite(tree.figure(metric)).sum())
    if shown < known:
        words.append(
            f"Drawn: {shown:,} of {known:,} prefixes, those that lead to the front or were kept "
            "first, the others evenly. The table has all of them."
        )
    st.caption(" ".join(words))


def _tables(tree: SearchTree, metric: str) -> None:
    number = st.column_config.NumberColumn
    format_ = "percent" if metric in formats.FRACTIONS else "compact"
    label = formats.label_with_unit(metric, tree.table.metrics)
    figures_ = {
        "best": number(f"Best {label[:1].lower()}{label[1:]}", format=format_),
        "change": number("Median change", format=format_, help=_CHANGE),
    }
    frame.table(
        frames.depths(tree, metric),
        width="stretch",
        column_config=figures_,
        alt=f"Prefixes, epochs and {_label(metric)} for each number of blocks",
    )
    with st.expander(f"All {len(tree):,} prefixes as a table"):
        frame.table(
            frames.prefixes(tree),
            width="stretch",
            column_config={
                name: number(
                    formats.label_with_unit(name, tree.table.metrics),
                    format="percent" if name in formats.FRACTIONS else "compact",
                )
                for name in tree.table.objectives
            },
            alt="All prefixes",
        )


_CHANGE = "Median over all blocks of this depth of what a block changed against the exit before it."
