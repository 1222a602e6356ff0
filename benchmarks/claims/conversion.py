"""What conversion claims (Ding et al. 2021; Bu et al. 2022): accuracy by timesteps, and spikes."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from benchmarks.bloctrain import finish
from benchmarks.claims.claim import Claim, Place, Published, Results, Row, Run, Scale, Values, sizes
from benchmarks.claims.tested import held_out, split_for
from snn.evaluation.operating_points import OperatingPointEvaluator, OperatingSetting
from snn.evaluation.recording import record
from snn.network.layers import ForwardContext
from snn.network.network import Network
from snn.network.trained import Images, Trained
from snn.rules.conversion import Activations
from snn.settings.config import RunConfig

SHOWN_STEPS = (2, 4, 8, 16, 32, 128)
AT_ONCE = 64_000  # images times timesteps that are recorded: 256,000 of CIFAR-10 take 5 GB
POINT = 0.01  # of accuracy, that may be lost

SLOW, FAST = "max-norm", "rate-norm, inference loss"
FORMS: Mapping[str, Mapping[str, Any]] = {
    SLOW: {"rate_map": "relu", "calibration": "max", "initial_potential": 0.0},
    "robust norm": {
        "rate_map": "relu",
        "calibration": "percentile",
        "initial_potential": 0.0,
        "timesteps": 32,
    },
    FAST: {
        "rate_map": "rate-norm",
        "rate_inference": 0.03,
        "initial_potential": 0.0,
        "timesteps": 32,
    },
    "qcfs": {"rate_map": "qcfs", "quantisation_steps": 4, "timesteps": 32},
}
RESIDUAL: Mapping[str, Mapping[str, Any]] = {
    "rate-norm, residual": {"backbone": "resnet7", "rate_map": "rate-norm", "timesteps": 64},
    "qcfs, residual": {"backbone": "resnet7", **FORMS["qcfs"]},
}


def network_for(scale: Scale) -> RunConfig:
    """The network that every form trains."""
    if scale.dataset == "mnist":
        config = RunConfig(
            dataset="mnist",
            backbone="vgg5",
            width=8,
            head_hidden=64,
            epochs=1 if scale.quick else 4,
            train_images=500 if scale.quick else 10_000,
            timesteps=16 if scale.quick else 64,
            learning_rate=5e-3,
        )
    else:
        config = RunConfig(
            dataset="cifar10",
            backbone="vgg7",
            width=8 if scale.quick else 16,
            head_hidden=64,
            epochs=1 if scale.quick else 10,
            train_images=500 if scale.quick else 10_000,
            timesteps=16 if scale.quick else 128,
            learning_rate=5e-3,
        )
    if scale.published:
        config = config.replace(
            backbone="vgg9",
            width=32,
            head_hidden=256,
            epochs=60,
            train_images=0,
            timesteps=256,
            augmentation="crop-flip",
            learning_rate=2e-3,
        )
    return scale.sized(
        config.replace(time_rule="conversion", norm="batch-over-time", batch_size=128)
    )


@torch.no_grad()
def _accuracy_without_time(network: Network, images: Images) -> float:
    correct = 0
    for drive, labels in images.batches(network.config):
        state = ForwardContext(dynamics=Activations())
        outputs = network.run(drive, state, timesteps=1, wants=("logits",)).logits[-1][0]
        correct += int((outputs.argmax(dim=1) == labels).sum())
    return correct / len(images.labels)


def _tested(config: RunConfig) -> int:
    """The number of test images: long runs of large images take hours of a processor."""
    return 2_000 if config.dataset == "cifar10" and config.train_images else 10_000


def _first(images: Images, count: int) -> Images:
    return next(_parts(images, count))


def _by_timesteps(trained: Trained, images: Images) -> list[dict[str, float]]:
    """Return mean metrics of the images after each number of timesteps from 1."""
    steps = range(1, trained.config.timesteps + 1)
    means = [dict[str, float]() for _ in steps]
    for part in _parts(images, AT_ONCE // trained.config.timesteps):
        evaluator = OperatingPointEvaluator(trained, record(trained.network, part))
        for t, mean in zip(steps, means, strict=True):
            setting = OperatingSetting(timesteps=t, exit_thresholds=(), detector_threshold=0.5)
            for name, value in evaluator.point(setting).metrics.items():
                mean[name] = mean.get(name, 0.0) + value * len(part.labels) / len(images.labels)
    return means


def _parts(images: Images, most: int) -> Iterator[Images]:
    assert isinstance(images.images, Tensor)
    for some, labels in zip(images.images.split(most), images.labels.split(most), strict=True):
        yield replace(images, images=some, labels=labels)


def convert_and_test(config: RunConfig, place: Place) -> Values:
    """Test accuracy of the converted network by timesteps, and what it costs.

    `steps_to_ann` are the timesteps after which the accuracy stays within a point of that
    without time; 1 more than was run if it never does.
    """
    torch.set_num_threads(place.threads)
    split = split_for(config, place)
    trained = finish(config, split, device=place.device, folder=place.folder).trained
    images = _first(held_out(split, config.dataset, place), _tested(config))
    points = _by_timesteps(trained, images)
    accuracy = [point["accuracy"] for point in points]
    ann = _accuracy_without_time(trained.network, images)
    enough = config.timesteps + 1
    while enough > 1 and accuracy[enough - 2] >= ann - POINT:
        enough -= 1
    at = points[min(enough, config.timesteps) - 1]
    return {
        "ann": ann,
        "snn": accuracy[-1],
        "lost": 100 * (ann - accuracy[-1]),
        "steps_to_ann": float(enough),
        "spikes_to_ann": at["spikes_per_inference"],
        "ops_to_ann": at["synaptic_ops"],
        "training_memory_bytes": at["training_memory_bytes"],
        **{f"accuracy_{t}": accuracy[t - 1] for t in SHOWN_STEPS if t <= config.timesteps},
    }


def conversion(scale: Scale) -> Claim:
    """Ding et al. 2021, Bu et al. 2022."""
    config = network_for(scale)
    forms = {**FORMS, **RESIDUAL}
    if scale.dataset != "mnist":
        del forms["robust norm"]
        for name, steps in ((SLOW, 512), (FAST, 128)):
            forms[name] = {**forms[name], "timesteps": steps}
    if scale.quick:
        forms = {name: FORMS[name] for name in (SLOW, FAST)}
    runs = [
        Run(name=name, config=config.replace(seed=seed, **changes), measure=convert_and_test)
        for name, changes in forms.items()
        for seed in range(scale.seeds)
    ]
    networks = {run.name: f"{run.config.backbone.upper()}, {scale.dataset}" for run in runs}

    def rows(results: Results) -> list[Row]:
        made = []
        for name, network in networks.items():
            label = name.replace(", ", "_").replace(" ", "_").replace("/", "_")

            def row(
                key: str,
                what: str,
                kind: Any,
                better: Any,
                *,
                name: str = name,
                label: str = label,
                network: str = network,
            ) -> Row:
                return Row(
                    name=f"conversion_{key}_{label}",
                    what=f"{network}, {name}: {what}",
                    kind=kind,
                    values=results.over_seeds(name, key),
                    better=better,
                )

            made.append(row("ann", "test accuracy without time", "fraction", "higher"))
            made += [
                row(f"accuracy_{t}", f"at T = {t}", "fraction", "higher")
                for t in SHOWN_STEPS
                if results.has(name, f"accuracy_{t}")
            ]
            made += [
                row("snn", "at the last timestep", "fraction", "higher"),
                row("lost", "points lost there", "points", "lower"),
                row("steps_to_ann", "timesteps to stay within a point", "count", "lower"),
                row("spikes_to_ann", "spikes per image there", "count", "lower"),
            ]
        if all(results.has(name, "steps_to_ann") for name in (FAST, SLOW)):
            made.append(
                Row(
                    name="speedup_rate_inference",
                    what=f"{networks[SLOW]}: timesteps of {SLOW} over those of {FAST}",
                    kind="times",
                    values=results.ratios(SLOW, FAST, "steps_to_ann"),
                    published=Published(value=8.6, label="paper", of="VGG-16, CIFAR-10"),
                    is_aim=True,
                )
            )
        return made

    return Claim(
        name="conversion",
        title="Conversion",
        about="A network trained without time, converted in several ways, and a residual network "
        "in two. Its accuracy without time is that of the converted network's activations, so "
        "that of max-norm is the trained network's. Timesteps to stay within a point are those "
        "from which on the accuracy is never more than a point below it; one more than were run "
        "where that is never so.",
        source="Ding, Yu, Tian, Huang, IJCAI 2021; Bu and others, ICLR 2022",
        runs=tuple(runs),
        rows=rows,
        deviations=(
            f"{config.backbone.upper()} of width {config.width}, {sizes(config)} instead of VGG-16 "
            "and 200 to 300 epochs",
            "Adam with a cosine course instead of gradient descent",
            f"calibration on 512 training images; the first {_tested(config):,} test images",
            "one factor of thresholds and connections from a grid, instead of thresholds alone by "
            "gradients",
        ),
    )
