"""What scores of a random network are worth: rank correlation with accuracy, and what they save.

Networks are drawn at random, screened (`snn.training.screening`), and trained. Half of them
differ in their architecture alone, the other half in threshold, leak, surrogate and timesteps
too. Printed: Spearman's correlation of each score with the validation accuracy, beside that of
counts that cost nothing and of the accuracy after the first epoch; and a replay of random
search in which the networks with the worst scores of those drawn are not trained.
"""

import argparse
import math
import random
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr  # type: ignore[import-untyped]

from benchmarks.finished import Finished
from benchmarks.report import Figure, Report, arguments, data_dir
from benchmarks.results import table
from search.front.front import front_of
from search.front.indicators import normalised_hypervolume
from search.study.space import RandomSuggest
from search.study.study import Study, study_from_toml
from search.trial.trial import TrialState
from search.worker.engine import load_split
from search.worker.job import run_config
from search.worker.trial_run import TrialRun
from snn.settings.config import ConfigError, RunConfig
from snn.settings.measurement import Measurement, OperatingPoint
from snn.training.screening import screen

DATASETS = {
    "digits": {"train_images": 400, "epochs": 8, "channels": [2, 4, 8, 16]},
    "mnist": {"train_images": 1_000, "epochs": 2, "channels": [2, 4]},
}
KINDS = ("architecture", "neurons too")
NETWORKS, QUICK_NETWORKS = 100, 4  # of each kind, on each data set
SHARES = (0.1, 0.25, 0.5)  # of the networks drawn that are not trained
ORDERS = 200  # of the replay
TRAINED = 30  # networks that random search trains in the replay
SCORES = ("distance", "imbalance", "silent", "saturated", "together")
BESIDE = ("parameters", "synaptic_ops", "first_epoch")
LESS_IS_BETTER = ("imbalance", "silent", "saturated")
OBJECTIVES = ("accuracy", "synaptic_ops")
STUDY = """
name = "screen"
objectives = ["accuracy", "synaptic_ops"]
[run]
dataset = "{dataset}"
train_images = {train_images}
epochs = {epochs}
learning_rate = 0.01
head_hidden = 0
{fixed}
[space]
{varied}
[space.units]
count = {{ low = 1, high = 5 }}
kind = ["c", "s", "r", "d"]
channels = {channels}
neurons = [16, 64]
kernel = [3, 5]
stride = [1, 2]
{first}
"""
FIRST = """[space.units.1]
stride = 2
"""  # of MNIST, so that a training takes a second
NEURONS = """
threshold = { low = 0.25, high = 4.0, log = true }
leak = [0.0, 0.25, 0.5, 0.75, 0.9, 1.0]
surrogate_slope = { low = 0.5, high = 20.0, log = true }
timesteps = { low = 1, high = 6 }
"""

INTRODUCTION = """What one batch tells of a random network before it is trained
([how](explanation/deep-networks.md#before-training)), and what a search saves by it.
`python -m benchmarks.screen --markdown` writes this page; do not edit it.

Networks of one to five units are drawn at random, screened and trained. The first table has
Spearman's rank correlation of each score with the validation accuracy, with 90 % intervals of a
bootstrap, beside that of counts and of the accuracy after the first epoch. The second has what the
setting `screen` saves: which share of the networks and of the time of all trainings it leaves out,
the best accuracy among those, and the share of the hypervolume (accuracy against synaptic
operations) that is kept. The third is a replay of random search: the worst share of the networks
drawn is not trained, and their time goes to others. Each cell: hypervolume over that of plain
random search with as many trainings, and how often the best network of the plain search is lost."""
RULES = (1.0, 0.9, 0.75, 0.5)  # values of `screen`

Row = Mapping[str, Any]
Floats = NDArray[np.float64]


def main() -> int:
    """Run the benchmark."""
    options = _options()
    count = QUICK_NETWORKS if options.quick else NETWORKS
    setting = {"networks": count * len(KINDS), "datasets": " ".join(DATASETS)}
    report = Report("screen", against=("torch", "scipy"), setting=setting)
    finished = Finished(options.resume, {})
    parts = []
    for name in DATASETS:
        rows = {kind: measured(name, kind, count, finished, report) for kind in KINDS}
        parts.append(section(name, rows, report))
    if options.markdown:
        options.markdown.write_text(page(parts, report), encoding="utf-8")
    report.show(as_json=options.json)
    return 0


def _options() -> argparse.Namespace:
    parser = arguments(__doc__ or "")
    parser.add_argument("--resume", type=Path, help="a file that keeps what is finished")
    parser.add_argument("--markdown", type=Path, help="write the page of results there")
    return parser.parse_args()


def study_of(dataset: str, kind: str) -> Study:
    """Return the study whose space the networks are drawn from."""
    of_neurons = kind == KINDS[1]
    text = STUDY.format(
        dataset=dataset,
        fixed="" if of_neurons else "timesteps = 4",
        varied=NEURONS if of_neurons else "",
        first=FIRST if dataset == "mnist" else "",
        **DATASETS[dataset],
    )
    return study_from_toml(text)


def measured(
    dataset: str, kind: str, count: int, finished: Finished, report: Report
) -> Sequence[Row]:
    """Return the scores and results of `count` networks; those in `finished` are not trained."""
    study = study_of(dataset, kind)
    rows: list[Row] = []
    for seed in range(count):
        key = f"{dataset} {kind} {seed}"
        row = finished.get(key)
        if row is None:
            row = measure(drawn(study, seed))
            finished.put(key, row)
        rows.append(row)
        if (seed + 1) % 20 == 0:
            report.line(f"{key}: accuracy {row['accuracy']:.3f}, trained {row['training_s']:.2f} s")
    return rows


def drawn(study: Study, seed: int) -> RunConfig:
    """Return a random network."""
    suggest = RandomSuggest(seed)
    while True:
        try:
            return run_config(study, study.space.sample(suggest))
        except ConfigError:
            continue


def measure(config: RunConfig) -> dict[str, Any]:
    """Screen and train a network."""
    split = load_split(config, data_dir(), "cpu", 1)
    begun = time.process_time()
    screening = screen(config, split)
    screened = time.process_time()
    run = TrialRun(config, data_dir=data_dir())
    curve = [message.accuracy for message in run if isinstance(message, Measurement)]
    outcome = run.outcome
    points: list[dict[str, float]] = []
    accuracy = 1 / split.classes  # of a network that was given up: no better than chance
    if outcome.state is TrialState.COMPLETE:
        assert outcome.evaluation is not None
        accuracy = outcome.evaluation.sampled.metrics["accuracy"]
        points = [{n: p.metrics[n] for n in OBJECTIVES} for p in outcome.evaluation.points]
        sampled = outcome.evaluation.sampled.metrics
    counts = {n: sampled[n] if points else 0.0 for n in ("parameters", "synaptic_ops")}
    return {
        "config": config.fingerprint,
        "architecture": config.architecture or config.backbone,
        **asdict(screening),
        "imbalance": screening.imbalance,
        **counts,
        "first_epoch": curve[0] if curve else accuracy,
        "accuracy": accuracy,
        "points": points,
        "screening_s": screened - begun,
        "training_s": time.process_time() - screened,
    }


def score(rows: Sequence[Row], name: str) -> Floats:
    """Return a score of each network; more is better."""
    if name == "together":  # the mean rank of the other scores
        mean: Floats = np.mean([_ranks(score(rows, n)) for n in SCORES[:-1]], axis=0)
        return mean
    values = np.array([row[name] for row in rows], dtype=np.float64)
    values = -values if name in LESS_IS_BETTER else values
    return np.nan_to_num(values, neginf=-1e9, posinf=1e9, nan=-1e9)


def _ranks(values: Floats) -> Floats:
    """Return ranks from 0 to 1; equal values have equal ranks."""
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    ranks: Floats = (ends - counts / 2)[places] / len(values)
    return ranks


def correlation(rows: Sequence[Row], name: str) -> tuple[float, float, float]:
    """Return Spearman's correlation with accuracy and its 90 % interval by a bootstrap."""
    values = score(rows, name)
    accuracy = np.array([row["accuracy"] for row in rows])
    draws = np.random.default_rng(0)
    found = sorted(
        _spearman(values[index], accuracy[index])
        for index in (draws.integers(len(rows), size=len(rows)) for _ in range(400))
    )
    return _spearman(values, accuracy), found[20], found[380]


def _spearman(one: Floats, other: Floats) -> float:
    if len(set(one)) < 2 or len(set(other)) < 2:
        return 0.0  # a score that does not vary orders nothing
    return float(spearmanr(one, other).statistic)


def replay(rows: Sequence[Row], name: str, share: float) -> tuple[float, float]:
    """Return what random search loses by not training the worst `share` of what it draws.

    Mean over orders, ratios: of the hypervolume after as many trained networks (and their
    screening, in the time of a training), and of the networks drawn whose best is not trained.
    """
    values, draws = score(rows, name), random.Random(0)
    reference = {"accuracy": 0.0, "synaptic_ops": _largest(rows)}
    costs = [row["screening_s"] for row in rows], [row["training_s"] for row in rows]
    price = sum(costs[0]) / sum(costs[1])
    ratios, lost = [], []
    for _ in range(ORDERS):
        order = draws.sample(range(len(rows)), len(rows))
        plain = order[:TRAINED]
        budget, kept, seen = float(TRAINED), [], []
        for index in order:
            if budget < 1:
                break
            budget -= price
            seen.append(values[index])
            if sum(v < values[index] for v in seen) < math.floor(share * len(seen)):
                continue
            budget -= 1
            kept.append(index)
        before = _hypervolume([rows[k] for k in plain], reference)
        ratios.append(_hypervolume([rows[k] for k in kept], reference) / before)
        best = max(range(TRAINED), key=lambda k: rows[order[k]]["accuracy"])
        lost.append(order[best] not in kept)
    return float(np.mean(ratios)), float(np.mean(lost))


def ruled(rows: Sequence[Row], rule: float) -> list[str]:
    """Return what the setting `screen` leaves out: networks, time, best accuracy; and keeps."""
    out = [row for row in rows if row["silent"] >= rule]
    kept = [row for row in rows if row["silent"] < rule]
    reference = {"accuracy": 0.0, "synaptic_ops": _largest(rows)}
    left = _hypervolume(kept, reference) / _hypervolume(rows, reference)
    spent = sum(row["training_s"] for row in out) / sum(row["training_s"] for row in rows)
    best = max((row["accuracy"] for row in out), default=0.0)
    whole = max(row["accuracy"] for row in rows)
    return [
        f"{len(out) / len(rows):.0%}",
        f"{spent:.0%}",
        f"{best:.3f} of {whole:.3f}",
        f"{left:.4f}",
    ]


def _largest(rows: Sequence[Row]) -> float:
    return max(float(point["synaptic_ops"]) for row in rows for point in row["points"])


class _Member:
    """A point with its trial; see search.front.front.HasPoint."""

    def __init__(self, trial: int, metrics: Mapping[str, float]) -> None:
        self.trial = trial
        self.point = OperatingPoint(
            blocks=1,
            timesteps=1,
            exit_thresholds=(),
            detector_threshold=0.0,
            metrics=metrics,
            is_sampled=False,
        )


def _hypervolume(rows: Sequence[Row], reference: Mapping[str, float]) -> float:
    members = [_Member(k, p) for k, row in enumerate(rows) for p in row["points"]]
    front = list(front_of(members, OBJECTIVES))
    return normalised_hypervolume(front, OBJECTIVES, reference)


def section(dataset: str, rows: Mapping[str, Sequence[Row]], report: Report) -> str:
    """Return the tables of a data set, and add its figures to the report."""
    parts = [f"## {dataset}"]
    every = [row for some in rows.values() for row in some]
    groups = {**rows, "all": every}
    header = ("Score", *(f"{kind}, {len(some)} networks" for kind, some in groups.items()))
    lines = []
    for name in (*SCORES, *BESIDE):
        found = {kind: correlation(some, name) for kind, some in groups.items()}
        lines.append(
            [f"`{name}`", *(f"{v:.2f} ({a:.2f} to {b:.2f})" for v, a, b in found.values())]
        )
        report.add(
            Figure(
                name=f"rank_correlation_{dataset}_{name}",
                value=found["all"][0],
                unit="Spearman",
                better="higher",
            )
        )
    parts.append(table(header, lines))
    heads = [f"{kind}: {what}" for kind in rows for what in ("left out", "time", "best", "kept")]
    lines = [[f"{r:g}", *(c for some in rows.values() for c in ruled(some, r))] for r in RULES]
    parts.append(table(("`screen`", *heads), lines))
    saved = []
    for name in SCORES:
        cells = [f"`{name}`"]
        for some in rows.values():
            for share in SHARES:
                ratio, lost = replay(some, name, share)
                cells.append(f"{ratio:.3f}, {lost:.0%}")
        saved.append(cells)
    heads = [f"{kind}, worst {share:.0%}" for kind in rows for share in SHARES]
    parts.append(table(("Not trained by", *heads), saved))
    seconds = [
        sum(row[f"{part}_s"] for row in every) / len(every) for part in ("screening", "training")
    ]
    parts.append(
        f"A screening takes {seconds[0]:.3f} s of processor time, a training {seconds[1]:.2f} s "
        f"(means of {len(every)} networks, one thread)."
    )
    return "\n\n".join(parts)


def page(parts: Sequence[str], report: Report) -> str:
    """Return the page of results."""
    head = report.document()
    versions = ", ".join(f"{name} {v}" for name, v in head["against"].items())  # type: ignore[attr-defined]
    return (
        "\n\n".join(
            [
                "# Results: what screening is worth",
                INTRODUCTION,
                *parts,
                f"## Where and when\n\nCommit `{head['commit']}`, {versions}.",
            ]
        )
        + "\n"
    )


if __name__ == "__main__":
    sys.exit(main())
