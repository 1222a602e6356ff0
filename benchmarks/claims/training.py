"""Three ways to begin and to steer a training, each beside the network without it."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from benchmarks.claims.claim import Claim, Place, Published, Results, Row, Run, Scale, Values, sizes
from benchmarks.claims.tested import at_full_depth, held_out, split_for, train_and_test
from snn.data.dataset import Split
from snn.evaluation.operating_points import OperatingPointEvaluator
from snn.evaluation.recording import record
from snn.network.connections import Connections
from snn.network.layers import ForwardContext, Layer
from snn.network.network import Network, Task
from snn.network.trained import Trained
from snn.settings.backbones import BACKBONES
from snn.settings.config import RunConfig
from snn.training.growth import gradient_sizes, growth
from snn.training.stage import Stage
from snn.training.train import DivergedError, Training

Forms = Mapping[str, Mapping[str, Any]]

WIDE, CALIBRATED = {"surrogate_slope": 0.5}, {"gradient_growth": 0.8}
DEEP: Forms = {
    "slope 0.5": WIDE,
    "slope 0.5, growth 0.8": {**WIDE, **CALIBRATED},
    "slope 2, growth 0.8": {"surrogate_slope": 2.0, **CALIBRATED},
    "slope 10": {"surrogate_slope": 10.0},
    "random weights, growth 0.8": {**WIDE, **CALIBRATED, "identity_share": 0.0},
}
RESIDUAL: Forms = {
    "slope 2, growth 0.9": {"surrogate_slope": 2.0, "gradient_growth": 0.9},
    "slope 0.5": WIDE,
    "slope 10": {"surrogate_slope": 10.0},
    "random weights, growth 0.9": {
        "surrogate_slope": 2.0,
        "gradient_growth": 0.9,
        "identity_share": 0.0,
    },
}
RATES = (1e-3, 1e-2, 1e-1)
PROBED = 1_000  # images to fit a linear readout to, and as many to test it
RIDGE = 1.0  # spikes squared
TRACES: Forms = {
    "saf-f": {"time_rule": "saf-f"},
    "membrane-trace": {"time_rule": "membrane-trace"},
    "membrane-trace, thresholds": {"time_rule": "membrane-trace", "neuron": "thresholds"},
    "membrane-trace, balance": {"time_rule": "membrane-trace", "threshold_balance": 0.01},
}
RECORDED: Mapping[str, Any] = {
    "dataset": "n-mnist",
    "shrink": 2,
    "timesteps": 10,
    "leak_ms": 300.0,  # a whole recording is there at the last timestep, from which traces learn
    "train_images": 0,
    "validation_fraction": 0.1,
    "epochs": 20,
}
"""Settings for recordings of N-MNIST, 17x17 pixels."""
FORGETFUL: Forms = {
    "bptt": {},  # learns from all timesteps
    "bptt, leak of 60 ms": {"leak_ms": 60.0},
    "membrane-trace, leak of 60 ms": {"time_rule": "membrane-trace", "leak_ms": 60.0},
}
"""What tells how much of a recording the neurons must remember, beside TRACES."""
STARTS: Forms = {
    "random start": {},
    "random start, norm": {"norm": "weight-standardised"},
    "start from an ANN": {"start": "ann", "start_epochs": 6, "start_scale": 0.6},
}


def grown_and_tested(config: RunConfig, place: Place) -> Values:
    """Metrics on the test images, and the growth of gradients per layer before the training.

    The learning rate is the one of `RATES` with the highest accuracy on validation images. A form
    that diverges with each of them has the accuracy of chance.
    """
    torch.set_num_threads(place.threads)
    split = split_for(config, place)
    task = Task(image_shape=split.image_shape, classes=split.classes)
    stage = Stage(Network(config, task), split, range(split.classes), device=place.device)
    batch = stage.examples.batch(torch.arange(64), torch.Generator())
    sizes_found = gradient_sizes(stage.runner, batch)
    before = {"growth": growth(sizes_found), "readable": readable(stage)}
    best = _best_of_rates(config, split, place)
    if best is None:
        return {**before, "accuracy": 1 / split.classes}
    recording = record(best.network, held_out(split, config.dataset, place))
    metrics = at_full_depth(OperatingPointEvaluator(best, recording))
    return {**before, **metrics, "rate": best.config.learning_rate}


def _best_of_rates(config: RunConfig, split: Split, place: Place) -> Trained | None:
    """Return the trained network with the highest accuracy on validation images, if any."""
    found: dict[float, Trained] = {}
    for rate in RATES:
        training = Training(config.replace(learning_rate=rate), split, device=place.device)
        try:
            *_, last = training
        except DivergedError:
            continue
        found.setdefault(last.accuracy, training.trained)
    return found[max(found)] if found else None


@torch.no_grad()
def readable(stage: Stage) -> float:
    """The accuracy of a linear readout of the last layer's spike counts, by ridge regression.

    Of training images: half of them for the fit, the others for the accuracy.
    """
    count = min(2 * PROBED, len(stage.examples))
    batch = stage.examples.batch(torch.arange(count), torch.Generator())
    last = _LastSpikes()
    network = copy.deepcopy(stage.runner).train()
    network.run(batch.drive, ForwardContext(observer=last), timesteps=batch.timesteps)
    x = torch.cat([last.counts, torch.ones(count, 1)], dim=1).double()
    y = torch.nn.functional.one_hot(batch.labels).double()
    fit, rest = slice(0, count // 2), slice(count // 2, count)
    inner = x[fit].T @ x[fit] + RIDGE * torch.eye(x.shape[1], dtype=x.dtype)
    decided = (x[rest] @ torch.linalg.solve(inner, x[fit].T @ y[fit])).argmax(dim=1)
    return float((decided == batch.labels[rest]).double().mean())


class _LastSpikes:
    """Keeps the spike counts of the last layer that ran; see Observer."""

    def __init__(self) -> None:
        self.counts = torch.empty(0)

    def layer(self, layer: Layer, inputs: Sequence[Tensor], spikes: Tensor) -> None:
        """See Observer."""
        del layer, inputs
        self.counts = spikes.sum(dim=0).flatten(1)

    def readout(self, connections: Connections, inputs: Tensor) -> None:
        """See Observer."""
        del connections, inputs


def _runs(forms: Forms, config: RunConfig, scale: Scale, measure: Any) -> tuple[Run, ...]:
    return tuple(
        Run(name=name, config=config.replace(seed=seed, **changes), measure=measure)
        for name, changes in forms.items()
        for seed in range(scale.seeds)
    )


def _rows(
    forms: Forms,
    network: str,
    results: Results,
    shown: Mapping[str, tuple[str, Any, Any]],
    *,
    published: Mapping[str, Published],
) -> list[Row]:
    """Return a row for each form and shown value: what it is, its kind, and what is better.

    `published` are accuracies by form.
    """
    return [
        Row(
            name=f"{key}_{name.replace(', ', '_').replace(' ', '_')}",
            published=published.get(name) if key == "accuracy" else None,
            what=f"{network}, {name}: {what}",
            kind=kind,
            values=results.over_seeds(name, key),
            better=better,
        )
        for name in forms
        for key, (what, kind, better) in shown.items()
    ]


ACCURACY = {"accuracy": ("test accuracy", "fraction", "higher")}
SPIKES = {"spikes_per_inference": ("spikes per image", "count", "lower")}
MEMORY = {"training_memory_bytes": ("training memory, bytes", "count", "lower")}


def _sized(scale: Scale, **settings: Any) -> RunConfig:
    small = {"epochs": 1, "train_images": 200} if scale.quick else {}
    return scale.sized(
        RunConfig(
            dataset=scale.dataset, **{**settings, **(BIGGER if scale.published else {}), **small}
        )
    )


BIGGER: Mapping[str, Any] = {"epochs": 30, "train_images": 0, "augmentation": "crop-flip"}


def surrogates(scale: Scale) -> Claim:
    """Ledinauskas et al. 2020."""
    if scale.dataset == "cifar10":
        forms, network = RESIDUAL, "ResNet-50"
        architecture = BACKBONES["resnet50"].text.replace("c1w", "c1wp", 1)
        size = {"width": 4, "head_grid": 1, "epochs": 6, "train_images": 2_000}
        kept, held_out_share = 0.99, 0.02
    else:
        forms, network = DEEP, "20 layers"
        architecture = " ".join(["d64"] * 20)
        size = {"epochs": 8, "train_images": 1_000}
        kept, held_out_share = 0.95, 0.01
    config = _sized(
        scale,
        architecture=architecture,
        **size,
        head_hidden=0,
        norm="batch-over-time",
        surrogate="fast-sigmoid",
        identity_share=kept,
        leak=0.9,
        timesteps=10,
        validation_fraction=held_out_share,
        batch_size=32,
        optimizer="sgd",
        learning_rate=RATES[1],
    )
    return Claim(
        name="surrogates",
        title="Surrogates of a deep network",
        about="Twenty dense layers of 64 neurons without skips (MNIST) or a ResNet-50 (CIFAR-10), "
        "trained by `bptt` and stochastic gradient descent with surrogates of several widths, as "
        "they are and with a height that was calibrated on one batch. Each has the best of three "
        f"learning rates ({', '.join(f'{rate:g}' for rate in RATES)}) by validation images; a form "
        "that diverges with each of them has the accuracy of chance. The growth is that of the "
        "gradients from a layer to the layer before it, before training. Initial weights repeat "
        f"the layer below, or the skip, with {kept:g} of their variance, or with nothing (random "
        "weights): of these a linear readout of the last layer, also before training, tells what "
        "is left of the image.",
        source="Ledinauskas, Ruseckas, Juršėnas, Buračas, arXiv 2006.04436, 2020",
        runs=_runs(forms, config, scale, grown_and_tested),
        rows=lambda results: _rows(
            forms,
            f"{network}, {scale.dataset}",
            results,
            {
                "growth": ("growth of gradients per layer", "ratio", "lower"),
                "readable": ("linear readout of the untrained last layer", "fraction", "higher"),
                **ACCURACY,
            },
            published={
                "slope 2, growth 0.8": Published(
                    value=0.902, label="secondary", of="ResNet-11, CIFAR-10"
                ),
                "slope 2, growth 0.9": Published(
                    value=0.585, label="recalled", of="ResNet-50, CIFAR-100"
                ),
            },
        ),
        deviations=(
            f"T = {config.timesteps}, {sizes(config)}; the published networks are residual, of "
            "full width, trained on all images",
            "no gradient passes a reset",
            "the height is found by calibration, where the paper tunes width and height by hand",
        ),
    )


def membrane_trace(scale: Scale) -> Claim:
    """Lee, Delbruck & Pfeiffer 2016."""
    config = _sized(
        scale,
        backbone="mlp",
        width=300,
        head_hidden=0,
        leak=0.9,
        timesteps=20,
        epochs=4,
        train_images=5_000,
        learning_rate=3e-3,
    )
    network = f"784-300-10, {scale.dataset}"
    small = {"epochs": 1, "train_images": 50} if scale.quick else {}
    recorded = {
        f"n-mnist, {name}": {**RECORDED, **small, **changes}
        for name, changes in {**TRACES, **FORGETFUL}.items()
    }
    shown = {**ACCURACY, **SPIKES, **MEMORY}
    is_mnist = scale.dataset == "mnist"  # recordings stand on one page
    recalled = Published(value=0.9877, label="recalled", of="784-300-300-10, MNIST")

    return Claim(
        name="membrane-trace",
        title="Membrane potentials as signals",
        about="One hidden layer, trained from the last timestep alone: by accumulated spikes with "
        "a surrogate (`saf-f`), by traces of neurons that have fired (`membrane-trace`), with "
        "thresholds of neurons trained, and with thresholds in balance. On recordings of N-MNIST "
        "`bptt` stands beside them, which learns from all timesteps.",
        source="Lee, Delbruck, Pfeiffer, Frontiers in Neuroscience 10:508, 2016",
        runs=(
            *_runs(TRACES, config, scale, train_and_test),
            *(_runs(recorded, config, scale, train_and_test) if is_mnist else ()),
        ),
        rows=lambda results: [
            *_rows(
                TRACES, network, results, shown, published={"membrane-trace, thresholds": recalled}
            ),
            *_rows(
                {name: some for name, some in recorded.items() if results.has(name, "accuracy")},
                f"{config.width} hidden neurons",
                results,
                shown,
                published={},
            ),
        ],
        deviations=(
            f"T = {config.timesteps}, {sizes(config)}; one hidden layer; of N-MNIST 17x17 pixels, "
            f"T = {RECORDED['timesteps']}, {RECORDED['epochs']} epochs, a leak of "
            f"{RECORDED['leak_ms']:g} ms",
            "the image as a constant current instead of Poisson spikes",
            "cross-entropy of integrators instead of relative spike counts, Adam, weight "
            "standardisation; no lateral inhibition and no penalty of weights",
        ),
    )


def start(scale: Scale) -> Claim:
    """Rathi & Roy 2020."""
    config = _sized(
        scale,
        backbone="vgg5",
        width=8,
        head_hidden=64,
        norm="none",
        leak=1.0,
        neuron="learned",
        timesteps=4,
        epochs=2,
        train_images=5_000,
        learning_rate=2e-3,
    )
    return Claim(
        name="start",
        title="Start from a network without time",
        about="A small VGG with leak and threshold trained per layer, few timesteps and epochs: "
        "from random weights, from random weights with a norm, and from the weights and "
        "activations of the same network trained without time first.",
        source="Rathi, Roy, arXiv 2008.03658, 2020",
        runs=_runs(STARTS, config, scale, train_and_test),
        rows=lambda results: _rows(
            STARTS,
            f"VGG-5, {scale.dataset}",
            results,
            {**ACCURACY, **SPIKES},
            published={
                "start from an ANN": Published(value=0.69, label="paper", of="ImageNet, T = 5")
            },
        ),
        deviations=(
            f"T = {config.timesteps}, {sizes(config)} after 6 epochs without time",
            "the network without time has biases",
            "thresholds are 0.6 times the 99.7th percentile of activations; published are "
            "percentiles of currents",
        ),
    )
