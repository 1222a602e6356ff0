"""Tables of the pages, as pandas frames."""

from collections.abc import Mapping, Sequence

import pandas as pd

from dashboard import formats
from dashboard.points import PointTable
from search.trial import Trial
from snn.config import SETTINGS, RunConfig


def points(table: PointTable, rows: Sequence[int]) -> pd.DataFrame:
    """One row per point: who it is, its objectives, how it is run, its parameters."""
    columns: dict[str, list[object]] = {
        "Trial": [int(table.trials[row]) for row in rows],
        "Partition": [table.partitions[row] for row in rows],
        "Timesteps run": [int(table.timesteps[row]) for row in rows],
        "Exit thresholds": [formats.thresholds(table.exit_thresholds[row]) for row in rows],
    }
    for name in dict.fromkeys((*table.objectives, "model_bytes", "latency_steps")):
        columns[name] = [float(table.metrics[name][row]) for row in rows]
    for name, values in table.params.items():
        if name != "partition" and not name.startswith("exit_threshold"):
            columns[f"param:{name}"] = [values[row] for row in rows]
    return pd.DataFrame(columns)


def fixed_settings(config: RunConfig, trial: Trial) -> dict[str, object]:
    """The settings of the run that the sampler had no say in."""
    searched = {"exit_threshold" if n.startswith("exit_threshold") else n for n in trial.params}
    return {n: v for n, v in config.to_mapping().items() if n not in searched}


def settings(values: Mapping[str, object]) -> pd.DataFrame:
    """Names, values and meanings as rows."""
    items = values.items()
    return pd.DataFrame(
        {
            "Setting": [formats.label(name) for name, _ in items],
            "Value": [_shown(name, value) for name, value in items],
            "Meaning": [formats.meaning(name) for name, _ in items],
        }
    )


def _shown(name: str, value: object) -> str:
    if isinstance(value, list | tuple):
        return formats.thresholds(value)
    if name in SETTINGS and value == "":
        return "–"
    return formats.quantity(name, value)
