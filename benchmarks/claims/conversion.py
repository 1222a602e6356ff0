"""What conversion claims (Ding et al. 2021; Bu et al. 2022): accuracy by timesteps, and spikes."""

from collections.abc import Mapping
from typing import Any

import torch

from benchmarks.claims.claim import Claim, Place, Published, Results, Row, Run, Scale, Values, sizes
from benchmarks.claims.tested import held_out, split_for
from snn.evaluation.operating_points import OperatingPointEvaluator, OperatingSetting
from snn.evaluation.recording import record
from snn.network.layers import ForwardContext
from snn.network.network import Network
from snn.network.trained import Images
from snn.rules.conversion import Activations
from snn.settings.config import RunConfig
from snn.training.train import Training

SHOWN_STEPS = (2, 4, 8, 16, 32)
POINT = 0.01  # of accuracy, that may be lost

FORMS: Mapping[str, Mapping[str, Any]] = {
    "max-norm": {"rate_map": "relu", "calibration": "max", "initial_potential": 0.0},
    "robust norm": {
        "rate_map": "relu",
        "calibration": "percentile",
        "initial_potential": 0.0,
        "timesteps": 32,
    },
    "rate-norm, inference loss": {
        "rate_map": "rate-norm",
        "rate_inference": 0.03,
        "initial_potential": 0.0,
        "timesteps": 32,
    },
    "qcfs": {"rate_map": "qcfs", "quantisation_steps": 4, "timesteps": 32},
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
            backbone="vgg9",
            width=8 if scale.quick else 32,
            head_hidden=64 if scale.quick else 256,
            epochs=1 if scale.quick else 60,
            train_images=500 if scale.quick else 0,
            timesteps=16 if scale.quick else 256,
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


def convert_and_test(config: RunConfig, place: Place) -> Values:
    """Test accuracy of the converted network by timesteps, and what it costs.

    `steps_to_ann` are the timesteps after which the accuracy stays within a point of that
    without time; 1 more than was run if it never does.
    """
    torch.set_num_threads(place.threads)
    split = split_for(config, place)
    training = Training(config, split, device=place.device)
    for _ in training:
        pass
    trained = training.trained
    images = held_out(split, config.dataset, place)
    evaluator = OperatingPointEvaluator(trained, record(trained.network, images))
    points = [
        evaluator.point(OperatingSetting(timesteps=t, exit_thresholds=(), detector_threshold=0.5))
        for t in range(1, config.timesteps + 1)
    ]
    accuracy = [point.metrics["accuracy"] for point in points]
    ann = _accuracy_without_time(trained.network, images)
    enough = config.timesteps + 1
    while enough > 1 and accuracy[enough - 2] >= ann - POINT:
        enough -= 1
    at = points[min(enough, config.timesteps) - 1].metrics
    return {
        "ann": ann,
        "snn": accuracy[-1],
        "steps_to_ann": float(enough),
        "spikes_to_ann": at["spikes_per_inference"],
        "ops_to_ann": at["synaptic_ops"],
        "training_memory_bytes": at["training_memory_bytes"],
        **{f"accuracy_{t}": accuracy[t - 1] for t in SHOWN_STEPS if t <= config.timesteps},
    }


def conversion(scale: Scale) -> Claim:
    """Ding et al. 2021, Bu et al. 2022."""
    config = network_for(scale)
    quick = ("max-norm", "rate-norm, inference loss")
    forms = {name: FORMS[name] for name in quick} if scale.quick else FORMS
    runs = [
        Run(name=name, config=config.replace(seed=seed, **changes), measure=convert_and_test)
        for name, changes in forms.items()
        for seed in range(scale.seeds)
    ]
    if not scale.quick:
        runs += [
            Run(
                name="qcfs, residual",
                config=config.replace(backbone="resnet7", seed=seed, **FORMS["qcfs"]),
                measure=convert_and_test,
            )
            for seed in range(scale.seeds)
        ]
    network = f"{config.backbone.upper()}, {scale.dataset}"

    def rows(results: Results) -> list[Row]:
        made = []
        for name in dict.fromkeys(run.name for run in runs):
            label = name.replace(", ", "_").replace(" ", "_").replace("/", "_")

            def row(
                key: str, what: str, kind: Any, better: Any, *, name: str = name, label: str = label
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
                row("steps_to_ann", "timesteps to stay within a point", "count", "lower"),
                row("spikes_to_ann", "spikes per image there", "count", "lower"),
            ]
        fast, slow = "rate-norm, inference loss", "max-norm"
        if all(results.has(name, "steps_to_ann") for name in (fast, slow)):
            made.append(
                Row(
                    name="speedup_rate_inference",
                    what=f"{network}: timesteps of max-norm over those of {fast}",
                    kind="times",
                    values=results.ratios(slow, fast, "steps_to_ann"),
                    published=Published(value=8.6, label="paper", of="VGG-16, CIFAR-10"),
                    is_aim=True,
                )
            )
        return made

    return Claim(
        name="conversion",
        title="Conversion",
        about="A network trained without time, converted in four ways. Its accuracy without time "
        "is that of the converted network's activations, so that of max-norm is the trained "
        "network's. Timesteps to stay within a point are those from which on the accuracy is never "
        "more than a point below it; one more than were run where that is never so.",
        source="Ding, Yu, Tian, Huang, IJCAI 2021; Bu and others, ICLR 2022",
        runs=tuple(runs),
        rows=rows,
        deviations=(
            f"{config.backbone.upper()} of width {config.width}, {sizes(config)} instead of VGG-16 "
            "and 200 to 300 epochs",
            "Adam with a cosine course instead of gradient descent",
            "calibration on 512 training images",
            "one factor of thresholds and connections from a grid, instead of thresholds alone by "
            "gradients",
        ),
    )
