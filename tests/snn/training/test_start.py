"""Training that begins from a network without time (DIET-SNN)."""

from typing import Any

import pytest
import torch
from torch import Tensor

from snn.evaluation.evaluate import evaluate
from snn.network.blocks import layers_of
from snn.network.layers import ForwardContext
from snn.network.network import Network
from snn.rules.conversion import Activations
from snn.settings.config import ConfigError, RunConfig
from snn.training.checkpoint import load, save
from snn.training.stage import Stage
from snn.training.train import Training
from tests.snn.network.test_network import DIGITS
from tests.snn.training.test_conversion import _images
from tests.snn.training.test_train import split_of, trained

ANN = RunConfig(
    backbone="vgg5",
    width=6,
    head_hidden=16,
    norm="none",
    train_images=400,
    epochs=1,
    timesteps=8,
    leak=1.0,
    neuron="learned",
    start="ann",
    start_epochs=4,
    learning_rate=3e-3,
)

LONGER = ANN.replace(start_epochs=15, start_scale=0.6)


def stage_of(config: RunConfig) -> Stage:
    return Stage(Network(config, DIGITS), split_of(config), range(10), device="cpu")


@torch.no_grad()
def spikes_of(stage: Stage, steps: int) -> tuple[list[Tensor], Tensor]:
    """Spikes of every layer and mean outputs on 50 training images, before the training."""
    found: list[Tensor] = []

    class Watch:
        def layer(self, layer: Any, inputs: Any, spikes: Tensor) -> None:
            found.append(spikes)

        def readout(self, connections: Any, inputs: Tensor) -> None:
            pass

    stage.runner.eval()
    batch = stage.examples.batch(torch.arange(50), torch.Generator())
    outputs = stage.runner.run(
        batch.drive, ForwardContext(observer=Watch()), timesteps=steps, wants=("logits",)
    )
    return found, outputs.logits[-1].mean(dim=0)


def test_it_begins_as_the_network_without_time() -> None:
    """After many timesteps without leak its outputs are those of the converted network."""
    stage = stage_of(ANN.replace(start_percentile=100.0))
    ann = stage_of(ANN.replace(start_percentile=100.0).start_config)
    for _ in ann.epochs(0):
        pass
    batch = stage.examples.batch(torch.arange(50), torch.Generator())
    ann.runner.eval()
    expected = (
        ann.runner.run(
            batch.drive, ForwardContext(dynamics=Activations()), timesteps=1, wants=("logits",)
        )
        .logits[-1][0]
        .detach()
    )
    apart = [
        float((spikes_of(stage, steps)[1] - expected).abs().max() / expected.abs().max())
        for steps in (16, 512)
    ]
    assert apart[1] < 0.05
    assert apart[1] < apart[0]


def test_fixed_neurons_have_the_thresholds_in_their_weights() -> None:
    """The same spikes, up to potentials that rounding puts at a threshold."""
    (learned, _), (fixed, _) = (
        spikes_of(stage_of(ANN.replace(neuron=neuron)), 8) for neuron in ("learned", "fixed")
    )
    differing = sum(int((a != b).sum()) for a, b in zip(learned, fixed, strict=True))
    assert differing < 1e-3 * sum(spikes.numel() for spikes in learned)
    assert sum(float(spikes.sum()) for spikes in learned) > 0


def test_the_scale_is_that_of_thresholds() -> None:
    usual, lower = (
        [float(layer.threshold.detach()) for layer in layers_of(stage_of(config).runner)]  # type: ignore[union-attr]
        for config in (ANN, ANN.replace(start_scale=0.25))
    )
    assert lower == pytest.approx([0.25 * value for value in usual], rel=1e-6)
    assert len({round(value, 4) for value in usual}) == len(usual)


def test_it_learns_faster_than_from_random_weights() -> None:
    losses = [
        next(iter(Training(config, split_of(config)))).loss
        for config in (LONGER, LONGER.replace(start="random"))
    ]
    assert losses[0] < 0.8 * losses[1]


def test_it_repeats_and_is_stored(tmp_path: Any) -> None:
    first, second = (trained(ANN).trained for _ in range(2))
    for name, tensor in first.network.state_dict().items():
        assert torch.equal(tensor, second.network.state_dict()[name])
    save(first, tmp_path / "w")
    ours = evaluate(first, _images(ANN)).sampled.metrics
    assert evaluate(load(tmp_path / "w"), _images(ANN)).sampled.metrics == ours


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"norm": "batch-over-time"}, "norm 'batch-over-time' .* start 'ann'.* use 'none'"),
        ({"partition": "1+2"}, "start 'ann' .* space_rule 'end-to-end'"),
        ({"readout": "spiking"}, "readout 'spiking' is not possible with start 'ann'"),
        ({"encoding": "poisson"}, "encoding does not fit start 'ann'"),
        ({"pooling": "max"}, "pooling does not fit start 'ann'"),
        ({"backbone": "resnet11"}, "rate_map does not fit start 'ann'.* skips without weights"),
    ],
)
def test_what_has_no_network_without_time_is_refused(changes: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ANN.replace(**changes)


def test_settings_of_the_start_apply_with_it_only() -> None:
    assert RunConfig(start_epochs=9, start_scale=0.5) == RunConfig()
    conversion = RunConfig(time_rule="conversion")
    assert conversion.replace(start="ann") == conversion
