"""What spike-based backpropagation claims (Lee et al. 2020)."""

from collections.abc import Mapping
from typing import Any

from benchmarks.claims.claim import Claim, Elsewhere, Published, Results, Row, Run, Scale, sizes
from benchmarks.claims.tested import train_and_test
from snn.settings.config import RunConfig

NEURONS: Mapping[str, Any] = {
    "pooling": "spiking",
    "encoding": "poisson",
    "norm": "none",
    "leak": 0.99,
    "readout_leak": 0.99,
    "reset": "hard",
    "time_rule": "spike-bp",
}


def lenet(scale: Scale) -> RunConfig:
    """The LeNet of Lee et al. 2020."""
    config = RunConfig(
        dataset="mnist",
        backbone="lenet",
        width=10,
        head_hidden=200,
        head_grid=7,
        **NEURONS,
        timesteps=100,
        validation_fraction=1 / 300,
        epochs=125,
        batch_size=32,
        learning_rate=1e-3,
    )
    if not scale.published:
        config = config.replace(timesteps=20, train_images=2_000, epochs=2)
    if scale.quick:
        config = config.replace(timesteps=10, train_images=500, epochs=1)
    return scale.sized(config)


def resnet9_spike_bp(scale: Scale) -> RunConfig:
    """ResNet-9 with the settings that Lee et al. 2020 released for their ResNet-11."""
    config = RunConfig(
        dataset="cifar10",
        backbone="resnet9",
        width=64,
        head_hidden=1024,
        head_grid=4,
        **NEURONS,
        dropout=0.25,
        timesteps=100,
        epochs=150,
        validation_fraction=0.02,
        augmentation="crop-flip",
        batch_size=16,
        optimizer="sgd",
        learning_rate=0.00025,
        weight_decay=5e-4,
    )
    if not scale.published:
        config = config.replace(
            width=16,
            head_hidden=256,
            timesteps=20,
            epochs=6,
            batch_size=32,
            optimizer="adam",
            learning_rate=1e-3,
            weight_decay=0.0,
            precision="auto",
        )
    return scale.sized(config.replace(epochs=1, train_images=2_000) if scale.quick else config)


def spike_bp(scale: Scale) -> Claim:
    """Lee et al. 2020."""
    is_mnist = scale.dataset == "mnist"
    config = lenet(scale) if is_mnist else resnet9_spike_bp(scale)
    network = "LeNet" if is_mnist else "ResNet-9"
    rules = ("spike-bp", "bptt")
    seeds = min(scale.seeds, 2) if is_mnist else scale.seeds
    runs = [
        Run(name=rule, config=config.replace(time_rule=rule, seed=seed), measure=train_and_test)
        for rule in rules
        for seed in range(seeds)
    ]
    published = Published(
        value=0.9959 if is_mnist else 0.9035,
        label="secondary",
        of="LeNet, MNIST, T = 100, 125 epochs" if is_mnist else "ResNet-9, CIFAR-10, T = 100",
    )

    def rows(results: Results) -> list[Row]:
        made = []
        for rule in rules:
            name = f"{network.lower().replace('-', '')}_{rule.replace('-', '_')}"
            made.append(
                Row(
                    name=f"accuracy_{name}",
                    what=f"{network}, `{rule}`: test accuracy",
                    kind="fraction",
                    values=results.over_seeds(rule, "accuracy"),
                    published=published if rule == "spike-bp" else None,
                    is_aim=True,
                )
            )
            made.append(
                Row(
                    name=f"spikes_{name}",
                    what=f"{network}, `{rule}`: spikes per image",
                    kind="count",
                    values=results.over_seeds(rule, "spikes_per_inference"),
                    better="lower",
                )
            )
        return made

    common = (
        "biases are trained, where the released networks have none",
        "the spikes of the test images are drawn once",
        f"{config.batch_size} images a batch and a cosine course of the step size, without the "
        "released steps down",
    )
    own: tuple[str, ...]
    sized = f"T = {config.timesteps} instead of 100, {sizes(config)}"
    if is_mnist:
        own = (
            f"{sized} instead of 125 of 60,000",
            f"Adam at {config.learning_rate:g} instead of gradient descent without momentum at "
            "0.0085 with a weight decay of 5e-4: ours always has a momentum of 0.9, and is too "
            "slow for so few steps",
            "pixels fire at the rate of their brightness, not at half of it",
            f"{seeds} seeds",
        )
    else:
        own = ("initial weights have twice the released variance",)
        if scale.published:
            own += (
                "gradient descent has a momentum of 0.9, so that its step size is a tenth of the "
                f"released 0.0025: {config.learning_rate:g}",
            )
        else:
            own += (
                f"width {config.width} instead of 64, {sized} instead of 150",
                f"Adam at {config.learning_rate:g} instead of gradient descent at 0.0025",
            )
    return Claim(
        name="spike-bp",
        title="Spike-based backpropagation",
        about=f"{network} with pooling neurons, spikes as input and the leak-corrected derivative "
        "of a spike; the same network by `bptt` with its own usual loss and surrogate beside it.",
        source="Lee, Sarwar, Panda, Srinivasan, Roy, Frontiers in Neuroscience 14:119, 2020",
        runs=tuple(runs),
        rows=rows,
        deviations=own + common,
        elsewhere=(
            Elsewhere(
                what="test accuracy",
                kind="fraction",
                published=Published(value=0.9035, label="secondary", of="ResNet-9, CIFAR-10"),
            ),
        )
        if is_mnist
        else (),
    )
