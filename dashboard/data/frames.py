"""Tables of the pages, as pandas frames."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from dashboard.data import formats
from dashboard.data.comparison import GOAL, Comparison
from dashboard.data.points import PointTable
from dashboard.data.search_tree import NONE, SearchTree
from dashboard.data.study_view import StudyCard
from search.trial.confirmation import Confirmed
from search.trial.trial import Trial
from snn.settings.config import SETTINGS, RunConfig


def studies(cards: Sequence[StudyCard], histories: Mapping[str, Sequence[float]]) -> pd.DataFrame:
    """Return one row per study; a long history of hypervolumes is thinned."""
    return pd.DataFrame(
        {
            "Study": [card.summary.name for card in cards],
            "State": [card.state for card in cards],
            "Progress": [card.progress for card in cards],
            "Trials": [card.finished for card in cards],
            "Front": [card.summary.front_size for card in cards],
            "Hypervolume": [card.summary.hypervolume for card in cards],
            "History": [_few(histories.get(card.summary.name, ())) for card in cards],
            "Wall time": [formats.duration(card.elapsed_s) for card in cards],
            "Last change": [card.summary.last_change_at for card in cards],
            "Question": [formats.question(card.summary.question) for card in cards],
        }
    )


def comparison(compared: Comparison) -> pd.DataFrame:
    """Return one row per study: what it spent and reached."""
    goal = GOAL * compared.best
    nothing = 0.0 if compared.objectives else math.nan  # no trial, or nothing to measure
    rows = []
    for study in compared.studies:
        history = study.history
        ends = history.values.size > 0
        rows.append(
            {
                "Study": study.name,
                "Sampler": study.sampler or formats.NOTHING,
                "Trials": int(history.trials[-1]) if ends else 0,
                "Epochs": int(history.epochs[-1]) if ends else 0,
                "Hours": float(history.hours[-1]) if ends else 0.0,
                "Front": int(study.front.size),
                "Hypervolume": float(history.values[-1]) if ends else nothing,
                "Of the ceiling": _share(history.values.tolist(), compared.ceiling),
                f"Epochs to {GOAL:.0%}": history.first_at(goal, "epochs") if goal > 0 else None,
                **{name: study.best.get(name, math.nan) for name in compared.objectives},
            }
        )
    return pd.DataFrame(rows)


def _share(values: Sequence[float], ceiling: float) -> float:
    return float(values[-1]) / ceiling if len(values) and ceiling > 0 else math.nan


def _few(values: Sequence[float], count: int = 40) -> list[float]:
    step = max(1, len(values) // count)
    return [round(value, 4) for value in values[::step] if math.isfinite(value)]


def points(
    table: PointTable, rows: Sequence[int], confirmed: Mapping[int, Confirmed] | None = None
) -> pd.DataFrame:
    """Return one row per point: trial, objectives, operating point, parameters.

    `confirmed` holds the results of fresh seeds on the test images, by id of the point.
    """
    exits = table.exit_thresholds(rows)
    columns: dict[str, list[object]] = {"Trial": [int(table.trials[row]) for row in rows]}
    shared = [table.shared.get(int(table.ids[row]), ()) for row in rows]
    if any(shared):
        columns["Same training"] = [", ".join(map(str, trials[1:])) for trials in shared]
    for name in table.objectives:
        columns[name] = [table.figure(name, row) for row in rows]
    known = [(confirmed or {}).get(int(table.ids[row])) for row in rows]
    if any(each is not None and each.seeds for each in known):
        spreads = [each.spread("accuracy") if each else None for each in known]
        columns["Test accuracy"] = [each.mean if each else math.nan for each in spreads]
        columns["Test spread"] = [each.std if each else math.nan for each in spreads]
    if table.has_settings:
        columns |= {
            "Partition": [table.partition(row) for row in rows],
            "Timesteps run": [int(table.timesteps[row]) for row in rows],
            "Exit thresholds": [formats.thresholds(each) for each in exits],
        }
    others = ("accuracy", "model_bytes", "latency_steps") if table.has_settings else table.metrics
    for name in others:
        columns.setdefault(name, [table.figure(name, row) for row in rows])
    for name, values in table.trial_params.items():
        if name != "partition" and not name.startswith("exit_threshold"):
            columns[f"param:{name}"] = [values[table.places[row]] for row in rows]
    return pd.DataFrame(columns)


def depths(tree: SearchTree, metric: str) -> pd.DataFrame:
    """Return a row per number of blocks: what was trained, kept, led to the front, and brought."""
    values, changes = tree.figure(metric), tree.change(metric)
    best = np.fmax if tree.metric(metric).better == "higher" else np.fmin
    rows = []
    for depth in np.unique(tree.depths):
        here = tree.depths == depth
        known = changes[here & np.isfinite(changes)]
        rows.append(
            {
                "Blocks": int(depth),
                "Prefixes": int(here.sum()),
                "Not measured": int((here & ~tree.is_measured).sum()),
                "Kept": int((here & tree.is_kept).sum()),
                "Lead to the front": int((here & tree.leads).sum()),
                "On the front": int((here & tree.on_front).sum()),
                "Epochs": int(tree.epochs[here].sum()),
                "best": float(best.reduce(values[here])),
                "change": float(np.median(known)) if known.size else math.nan,
            }
        )
    return pd.DataFrame(rows)


def prefixes(tree: SearchTree) -> pd.DataFrame:
    """Return a row per prefix: its last block, what it cost and brought, and what became of it."""
    objectives = {name: tree.figure(name) for name in tree.table.objectives}
    return pd.DataFrame(
        {
            "Trial": tree.trials,
            "Blocks": tree.depths,
            "Last block": tree.units,
            "Extends trial": [
                None if parent == NONE else int(tree.trials[parent]) for parent in tree.parents
            ],
            **objectives,
            "Epochs": tree.epochs,
            "Extensions": tree.extensions,
            "Kept": tree.is_kept,
            "Leads to the front": tree.leads,
            "On the front": tree.on_front,
        }
    )


def fixed_settings(config: RunConfig, trial: Trial) -> dict[str, object]:
    """Return the settings of the run that are not search parameters."""
    searched = {"exit_threshold" if n.startswith("exit_threshold") else n for n in trial.params}
    return {n: v for n, v in config.to_mapping().items() if n not in searched}


def settings(values: Mapping[str, object], *, is_own: bool = False) -> pd.DataFrame:
    """Return a row per setting: name, value, meaning.

    `is_own`: settings of an own training, whose meaning only their author knows.
    """
    items = values.items()
    columns = {
        "Setting": [formats.label(name) for name, _ in items],
        "Value": [_shown(name, value) for name, value in items],
        "Meaning": [formats.meaning(name) for name, _ in items],
    }
    if is_own:
        del columns["Meaning"]
    return pd.DataFrame(columns)


def _shown(name: str, value: object) -> str:
    if isinstance(value, list | tuple):
        return formats.thresholds(value)
    if name in SETTINGS and value == "":
        return "–"
    return formats.quantity(name, value)
