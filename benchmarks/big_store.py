"""A store as large as a laboratory's: a thousand studies, one of them with ten thousand trials.

Made of seeded random numbers and written straight into the tables, as fast as they
take it; no network is trained. Accuracies rise with operations and memory, so that there
is a front of some hundred points before a broad cloud.
"""

import datetime
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import sqlalchemy

from search.front.front import pareto_mask
from search.store.schema import HypervolumeRow, OperatingPointRow, StudyRow, TrialRow
from search.store.store import Store
from search.study.study import study_from_toml
from search.trial.trial import TrialState
from snn.settings.config import RunConfig
from snn.settings.measurement import METRICS

OBJECTIVES = ("accuracy", "synaptic_ops", "training_memory_bytes")
LARGE = "large"  # name of the study with the most trials

TOML = """# What does the front of accuracy, operations and memory look like over {trials} trials?
name = "{name}"
objectives = ["accuracy", "synaptic_ops", "training_memory_bytes"]

[constraints]
model_bytes = {{ max = 900_000 }}

[budget]
trials = {trials}

[run]
dataset = "digits"
backbone = "resnet9"

[space]
partition = {{ max_blocks = 3 }}
width = {{ low = 4, high = 32, log = true }}
dropout = {{ low = 0.0, high = 0.3, step = 0.05 }}
timesteps = {{ low = 2, high = 8 }}
surrogate = ["atan", "triangular"]
learning_rate = {{ low = 1e-3, high = 3e-2, log = true }}
"""
PARTITIONS = ("4", "2+2", "3+1", "2+1+1")
LEVELS = (0.6, 0.8, 0.9, 0.95, 0.99)  # of exit thresholds
START = datetime.datetime(2026, 3, 14, 9, 26, 53, tzinfo=datetime.UTC)


@dataclass(frozen=True, kw_only=True)
class Size:
    """How large the store is."""

    studies: int = 1_000  # the large one among them
    trials: int = 10_000  # of the large study
    points: int = 200_000  # of the large study
    others_trials: int = 24  # of each other study
    others_points: int = 240


def fill(url: str, size: Size, seed: int = 0) -> None:
    """Write the whole store to `url`, where there must be none yet."""
    with Store(url) as store:
        for number in range(1, size.studies):
            store.create_study(_study(f"study-{number:04d}", size.others_trials))
        store.create_study(_study(LARGE, size.trials))
    engine = sqlalchemy.create_engine(url)
    with engine.begin() as connection:
        found = connection.execute(sqlalchemy.select(StudyRow.id, StudyRow.name).order_by("id"))
        next_trial = 1
        for study_id, name in found.all():
            is_large = name == LARGE
            trials = size.trials if is_large else size.others_trials
            points = size.points if is_large else size.others_points
            rng = np.random.default_rng((seed, study_id))
            _fill_study(connection, study_id, next_trial, trials, points, rng)
            next_trial += trials
    engine.dispose()


def _study(name: str, trials: int) -> Any:
    return study_from_toml(TOML.format(name=name, trials=trials), name)


def _fill_study(
    connection: sqlalchemy.Connection,
    study_id: int,
    first_trial: int,
    trials: int,
    points: int,
    rng: np.random.Generator,
) -> None:
    params = [_params(rng) for _ in range(trials)]
    rows = list(_trial_rows(study_id, first_trial, params))
    connection.execute(sqlalchemy.insert(TrialRow), rows)
    each = points // trials
    table = _point_table(params, each, rng)
    costs = np.column_stack([METRICS[name].sign * table[name] for name in OBJECTIVES])
    is_feasible = table["model_bytes"] <= 900_000
    on_front = np.zeros(len(costs), dtype=bool)
    on_front[is_feasible] = pareto_mask(costs[is_feasible])
    connection.execute(
        sqlalchemy.insert(OperatingPointRow),
        list(_point_rows(study_id, first_trial, params, table, on_front)),
    )
    values = np.maximum.accumulate(0.9 - 0.4 * rng.random(trials) ** 0.3)
    connection.execute(
        sqlalchemy.insert(HypervolumeRow),
        [
            {"study_id": study_id, "trial": number, "epochs": 8 * (number + 1), "value": value}
            for number, value in enumerate(values.tolist())
        ],
    )


def _params(rng: np.random.Generator) -> dict[str, Any]:
    partition = str(rng.choice(PARTITIONS))
    exits = {
        f"exit_threshold_{number}": round(float(rng.uniform(0.5, 0.99)), 3)
        for number in range(1, len(partition.split("+")))
    }
    return {
        "partition": partition,
        "width": round(float(np.exp(rng.uniform(math.log(4), math.log(32))))),
        "dropout": round(0.05 * int(rng.integers(0, 7)), 2),
        "timesteps": int(rng.integers(2, 9)),
        "surrogate": str(rng.choice(("atan", "triangular"))),
        "learning_rate": float(f"{np.exp(rng.uniform(math.log(1e-3), math.log(3e-2))):.3g}"),
        **exits,
    }


def _trial_rows(
    study_id: int, first: int, params: list[dict[str, Any]]
) -> Iterator[dict[str, Any]]:
    base = RunConfig.from_mapping({"dataset": "digits", "backbone": "resnet9"}).to_mapping()
    for number, values in enumerate(params):
        shared = {name: value for name, value in values.items() if name in base}
        exits = [value for name, value in values.items() if name.startswith("exit_threshold")]
        began = START + datetime.timedelta(seconds=20 * number)
        shared["inference_timesteps"] = values["timesteps"]
        yield {
            "id": first + number,
            "study_id": study_id,
            "number": number,
            "state": TrialState.COMPLETE.value,
            "params": values,
            "config": {**base, **shared, "exit_threshold": exits},
            "reason": "",
            "error": "",
            "epochs_done": 8,
            "epochs_total": 8,
            "sampler_state": {},
            "training_s": 17.0,
            "evaluation_s": 1.0,
            "validation_images": 359,
            "points_evaluated": 100,
            "created_at": began,
            "started_at": began,
            "finished_at": began + datetime.timedelta(seconds=18),
        }


def _point_table(
    params: list[dict[str, Any]], each: int, rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """Metrics of `each` operating points per trial, trial by trial."""
    count = len(params) * each
    width = np.repeat([float(values["width"]) for values in params], each)
    trained = np.repeat([float(values["timesteps"]) for values in params], each)
    rate = np.repeat([float(values["learning_rate"]) for values in params], each)
    timesteps = np.ceil(trained * (np.tile(np.arange(each), len(params)) + 1) / each)
    depth = rng.uniform(0.4, 1.0, count)
    lost = 0.012 + 0.2 * np.exp(-timesteps / 1.6) + 0.12 * np.exp(-width / 7)
    lost += 0.1 * (1 - depth) ** 1.5 + 0.02 * np.abs(np.log10(rate / 8e-3))
    lost += rng.exponential(0.01, count)
    ops = 380 * width**1.9 * timesteps * depth
    table = {name: np.ones(count) for name in METRICS}
    table |= {
        "accuracy": np.clip(1 - lost, 0.1, 0.999),
        "synaptic_ops": ops,
        "macs": 576.0 * width,
        "est_energy_nj": 0.0009 * ops + 0.0026 * width,
        "spikes_per_inference": 30.0 * width * timesteps * depth,
        "latency_steps": timesteps * 8 * depth,
        "mean_timesteps": timesteps,
        "mean_blocks": 3 * depth,
        "training_memory_bytes": 1.1e5 * width**1.25 * trained**0.9,
        "model_bytes": 1_500 * width**1.9,
        "connectivity": rng.uniform(0.02, 1, count),
        "parameters": np.round(380 * width**1.9),
        "training_s": 1.3 * width,
    }
    return table


def _point_rows(
    study_id: int,
    first: int,
    params: list[dict[str, Any]],
    table: dict[str, np.ndarray],
    on_front: np.ndarray,
) -> Iterator[dict[str, Any]]:
    each = len(on_front) // len(params)
    metrics = {name: values.tolist() for name, values in table.items()}
    for row, is_member in enumerate(on_front.tolist()):
        trial, place = divmod(row, each)
        exits = len(params[trial]["partition"].split("+")) - 1
        yield {
            "study_id": study_id,
            "trial_id": first + trial,
            "timesteps": int(metrics["mean_timesteps"][row]),
            "exit_thresholds": [LEVELS[(place + k) % len(LEVELS)] for k in range(exits)],
            "detector_threshold": 0.5,
            "blocks": exits + 1,
            "is_sampled": place == each - 1,
            "on_front": is_member,
            **{name: values[row] for name, values in metrics.items()},
        }


def described(size: Size) -> str:
    """The size in words, for a report."""
    return json.dumps(vars(size))
