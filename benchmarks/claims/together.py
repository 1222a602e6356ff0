"""All at once: one operating point with little training memory, few operations and connections."""

from functools import partial
from typing import Literal

import torch

from benchmarks.bloctrain import finish
from benchmarks.claims.block_local import block_setup
from benchmarks.claims.claim import (
    Claim,
    Kind,
    Place,
    Published,
    Results,
    Row,
    Run,
    Scale,
    Values,
    sizes,
)
from benchmarks.claims.tested import held_out, split_for
from search.worker.engine import plan
from snn.evaluation.operating_points import OperatingPointEvaluator, OperatingSetting
from snn.evaluation.recording import record
from snn.network.trained import Images, Trained
from snn.settings.config import RunConfig
from snn.settings.measurement import OperatingPoint

FEWER_OPS = 1.89  # BlocTrain's ratio, which the operating point has at least
CONNECTED = 0.1  # at most


def sparse_blocks(scale: Scale) -> RunConfig:
    """ResNet-9 with a block for each unit, rewired to a tenth of its connections."""
    config = block_setup(scale).config
    units = sum(config.blocks)
    return config.replace(
        partition="+".join("1" * units),
        head_hidden=config.head_hidden // 2,
        target_sparsity=1 - CONNECTED,
    )


def end_to_end(config: RunConfig, head_hidden: int) -> RunConfig:
    """The dense network of one block that the other is held against."""
    return config.replace(
        partition=str(sum(config.blocks)), head_hidden=head_hidden, target_sparsity=0.0
    )


def chosen(points: list[OperatingPoint], most_ops: float) -> OperatingPoint:
    """The most accurate point with so many operations at most, or the one with the fewest."""
    allowed = [point for point in points if point.metrics["synaptic_ops"] <= most_ops]
    if not allowed:
        return min(points, key=lambda point: point.metrics["synaptic_ops"])
    return max(allowed, key=lambda point: point.metrics["accuracy"])


def compare_all(head_hidden: int, config: RunConfig, place: Place) -> Values:
    """The sparse blocks against the dense network end to end, on the test images.

    The operating point is chosen on the validation images. Raises DivergedError, DataError.
    """
    torch.set_num_threads(place.threads)
    split = split_for(config, place)
    tests = held_out(split, config.dataset, place)
    validation = Images(
        images=split.validation_images,
        labels=split.validation_labels,
        mean=split.mean,
        std=split.std,
    )

    def trained(settings: RunConfig) -> Trained:
        return finish(settings, split, device=place.device, folder=place.folder).trained

    def judged(network: Trained, images: Images) -> OperatingPointEvaluator:
        return OperatingPointEvaluator(network, record(network.network, images))

    whole = trained(end_to_end(config, head_hidden))
    full = OperatingSetting(
        timesteps=config.timesteps, exit_thresholds=(), detector_threshold=config.detector_threshold
    )
    reference = judged(whole, tests).point(full).metrics
    ops = judged(whole, validation).point(full).metrics["synaptic_ops"]
    ours = trained(config)
    point = chosen(list(judged(ours, validation).family()), ops / FEWER_OPS)
    setting = OperatingSetting(
        timesteps=point.timesteps,
        exit_thresholds=point.exit_thresholds,
        detector_threshold=point.detector_threshold,
    )
    found = judged(ours, tests).point(setting).metrics
    same = plan(end_to_end(config, config.head_hidden)).training_memory_bytes
    return {
        "accuracy": found["accuracy"],
        "accuracy_end_to_end": reference["accuracy"],
        "memory": reference["training_memory_bytes"] / found["training_memory_bytes"],
        "memory_same_heads": same / found["training_memory_bytes"],
        "ops": reference["synaptic_ops"] / found["synaptic_ops"],
        "connectivity": found["connectivity"],
        "timesteps": point.timesteps,
        "blocks": found["mean_blocks"],
        "bytes": reference["model_bytes"] / found["model_bytes"],
    }


def together(scale: Scale) -> Claim:
    """What BlocTrain and rewiring save, in one network."""
    config, heads = sparse_blocks(scale), block_setup(scale).config.head_hidden
    runs = tuple(
        Run(
            name=f"all at once, against heads of {heads}",
            config=config.replace(seed=seed),
            measure=partial(compare_all, heads),
        )
        for seed in range(scale.seeds)
    )
    network, of = f"ResNet-9, {scale.dataset}", "ResNet-9 in three blocks, CIFAR-10"

    def rows(results: Results) -> list[Row]:
        def row(
            key: str,
            what: str,
            kind: Kind,
            published: float | None = None,
            better: Literal["higher", "lower"] = "higher",
        ) -> Row:
            return Row(
                name=f"together_{key}",
                what=f"{network}, all at once: {what}",
                kind=kind,
                values=results.over_seeds(runs[0].name, key),
                better=better,
                published=None
                if published is None
                else Published(value=published, label="paper", of=of),
                is_aim=key in ("memory", "ops"),
            )

        return [
            row("accuracy", "test accuracy", "fraction", 0.864),
            row("accuracy_end_to_end", "end to end and dense: test accuracy", "fraction"),
            row("memory", "training memory end to end over the largest block", "times", 2.95),
            row("memory_same_heads", "the same, end to end with equal heads", "times"),
            row("ops", "accumulates end to end over ours", "times", 1.89),
            row("connectivity", "connections that exist", "fraction", None, "lower"),
            row("bytes", "stored bytes end to end over ours", "times"),
            row("timesteps", "timesteps", "count", None, "lower"),
            row("blocks", "blocks run per image, mean", "count", None, "lower"),
        ]

    return Claim(
        name="together",
        title="All at once",
        about="One network with a block for each unit, trained block by block and rewired to "
        f"{100 * CONNECTED:g} % of its connections, at the operating point that is most accurate "
        f"on the validation images with {FEWER_OPS:g} times fewer accumulates than the dense "
        "network end to end. The published figures are those of dense blocks.",
        source="Srinivasan, Roy, Frontiers in Neuroscience 15:603433, 2021",
        runs=runs,
        rows=rows,
        deviations=(
            "nobody published this combination; the figures beside ours are of BlocTrain's "
            "conditional form, whose connections all exist",
            f"ResNet-9 of width {config.width} instead of 64, a block for each of "
            f"{sum(config.blocks)} units instead of three blocks; T = {config.timesteps}, "
            f"{sizes(config)}",
            f"exits have {config.head_hidden} hidden neurons, the network end to end {heads}",
        ),
    )
