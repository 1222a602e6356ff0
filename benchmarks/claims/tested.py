"""Networks trained on training images and judged once, at the end, on test images."""

import tempfile
from pathlib import Path

import torch

from benchmarks.bloctrain import (
    CACHE_BYTES,
    GRID,
    Bench,
    Reading,
    Setup,
    efficiency,
    finish,
    memory_savings,
)
from benchmarks.claims.claim import Place, Values
from benchmarks.report import Report
from snn.data import dataset as data
from snn.data.events.clips import Clips
from snn.evaluation.evaluate import sampled_setting
from snn.evaluation.operating_points import OperatingPointEvaluator
from snn.evaluation.recording import record
from snn.network.trained import Images
from snn.settings.config import RunConfig
from snn.training.block_cache import BlockCache


def held_out(split: data.Split, dataset: str, place: Place) -> Images:
    """The test images, or the test recordings, cut as those of the split."""
    recordings, tests = split.train_images, data.named(dataset, place.data)
    if isinstance(tests, data.Dataset):
        images: data.Samples = tests.test_images.to(place.device)
    else:
        assert isinstance(recordings, Clips)
        images = recordings.whole_test()
    labels = tests.test_labels.to(place.device)
    return Images(images=images, labels=labels, mean=split.mean, std=split.std)


def split_for(config: RunConfig, place: Place) -> data.Split:
    """The training and validation part of a config. Raises DataError."""
    return data.split_for(config, place.data, place.device)


def evaluator_of(config: RunConfig, place: Place) -> OperatingPointEvaluator:
    """A network trained by the config, recorded on the test images.

    Raises DivergedError, DataError.
    """
    torch.set_num_threads(place.threads)
    split = split_for(config, place)
    trained = finish(config, split, device=place.device, folder=place.folder).trained
    recording = record(trained.network, held_out(split, config.dataset, place))
    return OperatingPointEvaluator(trained, recording)


def train_and_test(config: RunConfig, place: Place) -> Values:
    """Metrics on the test images at full depth and time. Raises DivergedError, DataError."""
    return at_full_depth(evaluator_of(config, place))


def at_full_depth(evaluator: OperatingPointEvaluator) -> Values:
    """Metrics at full depth and time."""
    trained = evaluator.trained
    setting = sampled_setting(trained.config, len(trained.network.blocks))
    return dict(evaluator.point(setting).metrics)


def threshold_at_full_accuracy(validation: Reading) -> float:
    """The exit threshold with fewest operations that loses no accuracy; on validation images."""
    points = {threshold: validation.metrics(threshold) for threshold in GRID}
    full = points[1.0]["accuracy"]
    enough = [threshold for threshold in GRID if points[threshold]["accuracy"] >= full]
    return min(enough, key=lambda threshold: points[threshold]["synaptic_ops"])


def compare_blocks(setup: Setup, place: Place) -> Values:
    """End to end against block-local training, base and conditional, on the test images.

    Exit thresholds are chosen on the validation images.
    """
    torch.set_num_threads(place.threads)
    config = setup.config
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(
            setup,
            config.seed,
            place.device,
            Report("seeds"),
            BlockCache(place.folder or Path(folder), limit_bytes=CACHE_BYTES),
            data_dir=place.data,
            folder=place.folder,
        )
        tests = held_out(bench.split, config.dataset, place)
        alone = bench.train("end-to-end, one exit", partition=str(sum(config.blocks)))
        networks = {"conditional": bench.conditional(), "base": bench.train("base")}
        (end_to_end,) = bench.read(alone, images=tests)
        whole = end_to_end.metrics(1.0)
        values = {"accuracy_end_to_end": whole["accuracy"]}
        values |= memory_savings(
            int(whole["training_memory_bytes"]), networks["base"].history.memory_bytes
        )
        for name, trained in networks.items():
            threshold = threshold_at_full_accuracy(bench.read(trained)[0])
            (reading,) = bench.read(trained, images=tests)
            full, usual = reading.metrics(1.0), reading.metrics(threshold)
            found = {
                "accuracy": full["accuracy"],
                "accuracy_with_exits": usual["accuracy"],
                "blocks_with_exits": usual["mean_blocks"],
                "ops_with_exits": usual["synaptic_ops"] / full["synaptic_ops"],
                "threshold": threshold,
                **efficiency(reading, end_to_end, threshold),
            }
            values |= {f"{kind}_{name}": value for kind, value in found.items()}
    return values
