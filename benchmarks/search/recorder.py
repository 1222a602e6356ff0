"""Recording: every training of a grid for real, every epoch evaluated."""

import itertools
import json
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.finished import Finished
from benchmarks.search.grid import PARTITION, Grid
from search.front.front import pareto_mask
from search.study.axes import Value
from search.study.space import run_values
from search.study.study import Study
from snn.data import dataset
from snn.evaluation.evaluate import sampled_setting
from snn.evaluation.operating_points import OperatingPointEvaluator, OperatingSetting, keep
from snn.evaluation.recording import record
from snn.network.trained import Images, Trained
from snn.settings.config import RunConfig
from snn.settings.measurement import METRICS, Measurement, OperatingPoint
from snn.settings.partition import format_partition
from snn.training.block_cache import BlockCache
from snn.training.environment import engine
from snn.training.train import DivergedError, Training

KEPT = ("accuracy", "synaptic_ops", "latency_steps", "model_bytes", "training_memory_bytes")
"""Metrics of which a family's points have to be better in one to be recorded."""

_CACHE_BYTES = 100_000_000


def stamp() -> dict[str, str]:
    """Return all that decides the bits of a recording, except its study."""
    return {"engine": engine(), "torch": torch.__version__}


def record_study(
    study: Study,
    *,
    data_dir: Path,
    finished: Finished,
    say: Callable[[str], None],
) -> Iterator[Mapping[str, Any]]:
    """What every setting of the grid gave, in the grid's order, from `finished` where it is there.

    By chain: an entry per epoch of its last block, as JSON can hold it.
    """
    torch.set_num_threads(1)
    grid = Grid.of(study)
    split: dataset.Split | None = None
    settings = grid.settings()
    for number, setting in enumerate(settings):
        key = json.dumps([study.question_fingerprint, setting])
        known = finished.get(key)
        if known is None:
            if split is None:
                split = _split(study, data_dir)
            known = _record(study, grid, setting, split)
            finished.put(key, known)
            say(f"{study.name}: {number + 1} of {len(settings)} settings")
        yield known


def config_of(study: Study, setting: Mapping[str, Value], partition: str) -> RunConfig:
    """Return the run config of a setting; exits do not change its training."""
    return RunConfig.from_mapping(run_values(study.run, {**setting, PARTITION: partition}))


def images_of(study: Study, data_dir: Path) -> int:
    """Return the number of validation images of a study."""
    return len(_split(study, data_dir).validation_labels)


def _split(study: Study, data_dir: Path) -> dataset.Split:
    config = RunConfig.from_mapping(dict(study.run))
    return dataset.split(
        dataset.load(config.dataset, data_dir),
        validation_fraction=config.validation_fraction,
        train_images=config.train_images,
        seed=config.seed,
        device="cpu",
    )


def _record(
    study: Study, grid: Grid, setting: Mapping[str, Value], split: dataset.Split
) -> dict[str, Any]:
    images = Images(
        images=split.validation_images,
        labels=split.validation_labels,
        mean=split.mean,
        std=split.std,
    )
    chains: dict[str, list[dict[str, Any]]] = {}
    with tempfile.TemporaryDirectory() as folder:  # partitions of a setting share their prefixes
        cache = BlockCache(Path(folder), limit_bytes=_CACHE_BYTES)
        for partition in grid.partitions:
            config = config_of(study, setting, partition)
            training = Training(config, split, cache=cache)
            try:
                for measured in training:
                    if not measured.is_reused:
                        blocks = config.blocks[: max(measured.block, 1)]
                        entries = chains.setdefault(format_partition(blocks), [])
                        entries.append(_entry(training.snapshot(), measured, images, grid))
            except DivergedError:
                continue  # the epochs until then stay; the others are missing
    return {"chains": chains}


def _entry(trained: Trained, measured: Measurement, images: Images, grid: Grid) -> dict[str, Any]:
    counter = OperatingPointEvaluator(trained, record(trained.network, images))
    depth, config = len(trained.network.blocks), trained.config
    full = sampled_setting(config, depth)
    sampled = [
        counter.point(
            OperatingSetting(
                timesteps=full.timesteps,
                exit_thresholds=thresholds,
                detector_threshold=full.detector_threshold,
            )
        )
        for thresholds in itertools.product(grid.thresholds, repeat=depth - 1)
    ]
    family = keep(list(counter.family()))
    signs = np.array([METRICS[name].sign for name in KEPT])
    values = signs * np.array([[p.metrics[name] for name in KEPT] for p in family])
    kept = [p for p, is_kept in zip(family, pareto_mask(values).tolist(), strict=True) if is_kept]
    return {
        "measured": [getattr(measured, name) for name in MEASURED],
        "model_bytes": int(sampled[0].metrics["model_bytes"]),
        "memory_bytes": int(sampled[0].metrics["training_memory_bytes"]),
        "parameters": int(sampled[0].metrics["parameters"]),
        "sampled": [_figures(p, counter.images) for p in sampled],
        "family": [[p.blocks, p.timesteps, *_figures(p, counter.images)] for p in kept],
    }


MEASURED = ("loss", "train_accuracy", "accuracy", "connectivity", "spike_rate")
"""Of each epoch's measurement."""


def _figures(point: OperatingPoint, images: int) -> list[float]:
    """Return correct images, and accumulates and layer updates per image."""
    metrics = point.metrics
    right = round(metrics["accuracy"] * images)
    return [right, round(metrics["synaptic_ops"], 2), round(metrics["latency_steps"], 3)]
