"""A believable study made of seeded random numbers: what the pages are tried and shown with."""

import datetime
import itertools
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from search.front.front import front_of
from search.front.indicators import normalised_hypervolume, reference_point
from search.store.store import Store
from search.study.study import Study, study_from_toml
from search.trial.trial import HypervolumeRecord, Outcome, Params, Timings, Trial, TrialState
from snn.settings.config import RunConfig
from snn.settings.measurement import (
    Evaluation,
    ExitReport,
    LayerReport,
    Measurement,
    OperatingPoint,
)

TOML = """# What does the front of accuracy against operations and memory look like on 8x8 digits,
# when every block learns on its own?
name = "{name}"
objectives = ["accuracy", "synaptic_ops", "training_memory_bytes"]

[constraints]
model_bytes = {{ max = 300_000 }}

[budget]
trials = {trials}
workers = 2

[run]
dataset = "digits"
backbone = "resnet9"
epochs = 8

[space]
partition = {{ max_blocks = 3 }}
exit_threshold = {{ low = 0.5, high = 0.99 }}
width = {{ low = 4, high = 32, log = true }}
dropout = {{ low = 0.0, high = 0.3, step = 0.05 }}
timesteps = {{ low = 2, high = 8 }}
target_sparsity = {{ low = 0.5, high = 0.98 }}
surrogate = ["atan", "triangular"]
learning_rate = {{ low = 1e-3, high = 3e-2, log = true }}
"""

OBJECTIVES = ["accuracy", "synaptic_ops", "training_memory_bytes"]
PARTITIONS = ("4", "2+2", "3+1", "1+3", "2+1+1", "1+2+1", "1+1+2")
TRACEBACK = """Traceback (most recent call last):
  File "snn/training/train.py", line 118, in step
    loss = criterion(network(images), labels)
  File "snn/network/layers.py", line 64, in forward
    return self.convolve(spikes * self.mask)
RuntimeError: The size of tensor a (<b>16</b>) must match the size of tensor b (32) at dimension 1
"""
START = datetime.datetime(2026, 3, 14, 9, 26, 53, tzinfo=datetime.UTC)


@dataclass(frozen=True, kw_only=True)
class ExampleTrial:
    """A trial with everything that running it gave; `outcome` is None while it runs."""

    trial: Trial
    measurements: tuple[Measurement, ...]
    outcome: Outcome | None


def example_trials(count: int = 40, seed: int = 0) -> Iterator[ExampleTrial]:
    """`count` trials: the seventh failed, the twelfth was pruned, the last is running."""
    for number in range(count):
        rng = np.random.default_rng((seed, number))
        params = _params(rng)
        config = _config(params)
        state = {
            6: TrialState.FAILED,
            11: TrialState.PRUNED,
            count - 1: TrialState.RUNNING,
        }.get(number, TrialState.COMPLETE)
        share = {
            TrialState.FAILED: 0.3,
            TrialState.PRUNED: 0.45,
            TrialState.RUNNING: 0.6,
        }
        epochs = max(1, round(config.total_epochs * share.get(state, 1.0)))
        started = START + datetime.timedelta(seconds=47 * number)
        trial = Trial(
            number=number,
            params=params,
            state=TrialState.RUNNING,
            config=config,
            epochs_done=epochs,
            created_at=started,
            started_at=started,
        )
        yield ExampleTrial(
            trial=trial,
            measurements=tuple(_measurements(config, epochs, rng)),
            outcome=_outcome(config, state, rng),
        )


def _params(rng: np.random.Generator) -> Params:
    partition = str(rng.choice(PARTITIONS))
    params: dict[str, int | float | str] = {
        "partition": partition,
        "width": round(float(np.exp(rng.uniform(math.log(4), math.log(32))))),
        "dropout": round(0.05 * int(rng.integers(0, 7)), 2),
        "timesteps": int(rng.integers(2, 9)),
        "target_sparsity": round(float(rng.uniform(0.5, 0.98)), 3),
        "surrogate": str(rng.choice(("atan", "triangular"))),
        "learning_rate": float(f"{np.exp(rng.uniform(math.log(1e-3), math.log(3e-2))):.3g}"),
    }
    for exit_number in range(1, len(partition.split("+"))):
        params[f"exit_threshold_{exit_number}"] = round(float(rng.uniform(0.5, 0.99)), 3)
    return params


def _config(params: Params) -> RunConfig:
    values = {n: v for n, v in params.items() if not n.startswith("exit_threshold")}
    exits = [v for n, v in sorted(params.items()) if n.startswith("exit_threshold")]
    run = {"dataset": "digits", "backbone": "resnet9", "epochs": 8}
    return RunConfig.from_mapping({**run, **values, **({"exit_threshold": exits} if exits else {})})


def _final_accuracy(config: RunConfig, timesteps: int, depth: float) -> float:
    """Rises with time, width and depth; falls with sparsity and a bad step size."""
    lost = (
        0.012
        + 0.16 * math.exp(-timesteps / 1.6)
        + 0.10 * math.exp(-config.width / 7)
        + 0.05 * config.target_sparsity**14
        + 0.012 * abs(math.log10(config.learning_rate / 8e-3))
        + 0.09 * (1 - depth) ** 1.5
        + 0.05 * max(0.0, config.dropout - 0.15) ** 1.2
    )
    return max(0.1, 1 - lost)


def _measurements(
    config: RunConfig, epochs: int, rng: np.random.Generator
) -> Iterator[Measurement]:
    kept = 1 - config.target_sparsity
    for done in range(1, epochs + 1):
        block, epoch = divmod(done - 1, config.epochs)
        progress = (epoch + 1) / config.epochs
        depth = (block + 1) / config.exits if config.stages > 1 else 1.0
        reached = _final_accuracy(config, config.timesteps, depth)
        accuracy = reached - (reached - 0.1) * math.exp(-4.5 * progress) + rng.normal(0, 0.006)
        yield Measurement(
            block=block + 1 if config.stages > 1 else 0,
            epoch=epoch + 1,
            epochs_done=done,
            epochs_total=config.total_epochs,
            loss=2.3 * math.exp(-3.2 * progress) + 0.12 * (1 - depth) + abs(rng.normal(0.03, 0.01)),
            train_accuracy=min(1.0, accuracy + 0.012 * progress),
            accuracy=min(1.0, max(0.0, accuracy)),
            connectivity=kept + (1 - kept) * max(0.0, 1 - progress / 0.75) ** 3,
            spike_rate=0.12 + 0.05 * progress,
            regrown=int(rng.integers(0, 200)),
            training_memory_bytes=_training_memory(config),
            wall_s=float(1.1 + 0.04 * config.width * config.timesteps / 8),
        )


def _training_memory(config: RunConfig) -> int:
    largest = max(config.blocks) / sum(config.blocks) if config.stages > 1 else 1.0
    return int(1.1e5 * config.width**1.25 * config.timesteps**0.9 * largest**0.8)


def _outcome(config: RunConfig, state: TrialState, rng: np.random.Generator) -> Outcome | None:
    if state is TrialState.RUNNING:
        return None
    if state is TrialState.FAILED:
        reason = "RuntimeError: The size of tensor a must match the size of tensor b"
        return Outcome(state=state, reason=reason, error=TRACEBACK)
    if state is TrialState.PRUNED:
        return Outcome(state=state, reason="diverged: the loss was not finite in epoch 4")
    evaluation = _evaluation(config, rng)
    timings = Timings(training_s=evaluation.sampled.metrics["training_s"], evaluation_s=0.8)
    violation = max(0.0, evaluation.sampled.metrics["model_bytes"] / 300_000 - 1)
    return Outcome(
        state=state,
        evaluation=evaluation,
        timings=timings,
        constraint_violation=violation,
    )


def _evaluation(config: RunConfig, rng: np.random.Generator) -> Evaluation:
    skill = float(rng.normal(0, 0.006))
    training_s = 1.3 * config.total_epochs * (1 + config.width * config.timesteps / 90)
    points = []
    levels = (0.55, 0.7, 0.8, 0.9, 0.96, 1.0)
    for timesteps in range(1, config.timesteps + 1):
        for exits in itertools.product(levels, repeat=config.exits - 1):
            points.append(_point(config, timesteps, exits, skill, training_s))
    sampled = _point(
        config,
        config.timesteps,
        config.exit_threshold,
        skill,
        training_s,
        is_sampled=True,
    )
    kept = _undominated(points)
    return Evaluation(
        points=(sampled, *kept[:60]),
        layers=tuple(_layers(config)),
        exits=tuple(_exits(config, sampled, rng)),
        points_evaluated=len(points) + 1,
        wall_s=0.8,
        images=359,
    )


def _undominated(points: list[OperatingPoint]) -> list[OperatingPoint]:
    """Those that no other beats in accuracy and operations."""
    kept, best = [], 0.0
    for point in sorted(points, key=lambda p: (p.metrics["synaptic_ops"], -p.metrics["accuracy"])):
        if point.metrics["accuracy"] > best:
            kept.append(point)
            best = point.metrics["accuracy"]
    return kept


def _leaving(config: RunConfig, exits: tuple[float, ...], timesteps: int) -> list[float]:
    """Share of images that leave at each exit, the last takes the rest."""
    shares, left = [], 1.0
    for number, threshold in enumerate(exits, 1):
        confident = 0.0 if threshold >= 1 else (1 - threshold**6) * number / config.exits
        share = left * min(0.97, confident * (0.7 + 0.3 * timesteps / config.timesteps))
        shares.append(share)
        left -= share
    return [*shares, left]


def _point(
    config: RunConfig,
    timesteps: int,
    exits: tuple[float, ...],
    skill: float,
    training_s: float,
    *,
    is_sampled: bool = False,
) -> OperatingPoint:
    leaving = _leaving(config, exits, timesteps)
    blocks = config.blocks
    depth = [sum(blocks[: k + 1]) / 4 for k in range(len(blocks))]
    quality = [
        _final_accuracy(config, timesteps, share) - 0.02 * (1 - (exits[k] if k < len(exits) else 1))
        for k, share in enumerate(depth)
    ]
    accuracy = sum(s * q for s, q in zip(leaving, quality, strict=True)) + skill
    mean_depth = sum(s * d for s, d in zip(leaving, depth, strict=True))
    kept = 1 - config.target_sparsity
    weights = 380 * config.width**1.9
    ops = 9 * weights * (0.04 + kept) * timesteps * mean_depth**1.6 * 0.11
    macs = 64.0 * 9 * config.width
    metrics = {
        "accuracy": min(0.994, max(0.1, round(accuracy * 359) / 359)),
        "synaptic_ops": ops,
        "macs": macs,
        "est_energy_nj": (0.9 * ops + 4.6 * macs) / 1000,
        "spikes_per_inference": 210.0 * config.width * timesteps * mean_depth * 0.14,
        "latency_steps": timesteps * 8 * mean_depth,
        "mean_timesteps": float(timesteps),
        "mean_blocks": sum(s * (k + 1) for k, s in enumerate(leaving)),
        "training_memory_bytes": float(_training_memory(config)),
        "training_ops": 3e3 * (ops + macs) * len(blocks),
        "model_bytes": weights * (4 * kept + 1 / 8),
        "connectivity": kept,
        "parameters": float(int(weights)),
        "training_s": training_s,
        "latency_ms": math.nan,
        "input_events": 0.0,
        "code_bits": math.nan,
        "distortion": math.nan,
    }
    return OperatingPoint(
        timesteps=timesteps,
        exit_thresholds=exits,
        detector_threshold=0.5,
        blocks=len(blocks),
        metrics=metrics,
        is_sampled=is_sampled,
    )


def _layers(config: RunConfig) -> Iterator[LayerReport]:
    units = iter(("stem", "residual1", "residual2", "residual3"))
    inputs = 1
    for block, size in enumerate(config.blocks, 1):
        for _ in range(size):
            unit = next(units)
            names = [unit] if unit == "stem" else [f"{unit}.first", f"{unit}.second"]
            for name in names:
                outputs = config.width * {"stem": 1, "residual1": 2}.get(unit, 4)
                weights = 9 * inputs * outputs
                kept = int(
                    weights
                    * min(
                        1.0,
                        (1 - config.target_sparsity) * (1.6 if unit == "stem" else 1),
                    )
                )
                neurons = outputs * (64 if unit in ("stem", "residual1") else 16)
                rate = 0.16 / (1 + 0.4 * block)
                yield LayerReport(
                    block=block,
                    name=name,
                    neurons=neurons,
                    weights=weights,
                    connections=kept,
                    spikes_per_inference=neurons * rate * config.timesteps,
                    spike_rate=rate,
                    synaptic_ops=0.0 if unit == "stem" else kept * 40 * rate * config.timesteps,
                    macs=kept * 64.0 if unit == "stem" else 0.0,
                )
                inputs = outputs
        yield LayerReport(
            block=block,
            name="head",
            neurons=config.head_hidden,
            weights=inputs * 16 * config.head_hidden,
            connections=int(inputs * 16 * config.head_hidden * (1 - config.target_sparsity)),
            spikes_per_inference=config.head_hidden * 0.2 * config.timesteps,
            spike_rate=0.2,
            synaptic_ops=inputs * 30.0 * config.timesteps,
            macs=0.0,
        )


def _exits(
    config: RunConfig, point: OperatingPoint, rng: np.random.Generator
) -> Iterator[ExitReport]:
    shares = np.asarray(_leaving(config, point.exit_thresholds, point.timesteps))
    for label in range(10):
        is_hard = label in (3, 8, 9)
        images = 35 + label % 3
        tilt = shares * np.linspace(0.5 if is_hard else 1.2, 1.0, len(shares)) + 1e-3
        counts = rng.multinomial(images, tilt / tilt.sum())
        for number, count in enumerate(counts, 1):
            correct = rng.binomial(int(count), 0.9 if is_hard else 0.98)
            yield ExitReport(
                exit=number,
                label=label,
                images=int(count),
                correct=int(correct),
                is_hard=(is_hard and number < len(counts)) or (label == 8),
            )


def fill(
    url: str,
    *,
    name: str = "digits",
    count: int = 40,
    is_running: bool = True,
    objectives: Sequence[str] = OBJECTIVES,
) -> None:
    """Write the example study to the store at `url`, as a driver would have done."""
    store = Store(url)
    text = TOML.format(name=name, trials=count)
    study = study_from_toml(text.replace(json.dumps(OBJECTIVES), json.dumps(list(objectives))))
    store.create_study(study)
    epochs = 0
    for example in example_trials(count):
        number = example.trial.number
        store.add_trial(name, example.trial)
        for measurement in example.measurements:
            store.record_measurement(name, number, measurement)
        epochs += len(example.measurements)
        if example.outcome is None and is_running:
            continue
        outcome = example.outcome or Outcome(state=TrialState.PRUNED, reason="stopped")
        store.finish_trial(name, number, outcome)
        _update_front(store, study, number, epochs)
    if is_running:
        store.acquire_lease(name, "example", seconds=3600)
    store.close()


def _update_front(store: Store, study: Study, number: int, epochs: int) -> None:
    points = store.operating_points(study.name)
    members = front_of(points, study.objectives, study.constraints)
    given = {"accuracy": 0.0, "synaptic_ops": 2.5e5, "training_memory_bytes": 4e7}
    reference = reference_point(points, study.objectives, given)
    value = normalised_hypervolume(members, study.objectives, reference)
    record = HypervolumeRecord(trial=number, epochs=epochs, value=value)
    ids = {point.id for point in members}
    store.update_front(study.name, ids, reference=reference, hypervolume=[record])
