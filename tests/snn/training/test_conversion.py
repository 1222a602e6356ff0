"""Conversion: the laws of integrate-and-fire neurons, and the thresholds of converted networks."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from snn.evaluation.evaluate import evaluate
from snn.network.blocks import connections_of, fold_for_inference, layers_of
from snn.network.layers import ForwardContext, Layer
from snn.network.network import Network, Task
from snn.network.neurons import Lif
from snn.network.rate_maps import Clipped, RateNorm
from snn.network.trained import Images
from snn.rules.conversion import Activations
from snn.settings.config import ConfigError, RunConfig
from snn.training.checkpoint import load, save
from snn.training.conversion import SCALES, convert
from snn.training.examples import Examples
from snn.training.plan import plan
from tests.snn.network.test_network import fresh
from tests.snn.training.test_train import split_of, trained

TASK = Task(image_shape=(2, 8, 8), classes=10)
MAPS = ("relu", "rate-norm", "qcfs")
NETWORKS: dict[str, dict[str, Any]] = {
    "dense": {"backbone": "mlp2", "width": 24},
    "pools": {"backbone": "vgg5", "width": 4},
    "skips": {"backbone": "resnet7", "width": 4},
    "padded pools": {"backbone": "vgg7", "width": 3, "head_grid": 3},
}


def rates(current: Tensor, *, steps: int, share: float = 1.0, threshold: float = 1.0) -> Tensor:
    """Spike counts after each timestep of neurons without leak, (steps, ...)."""
    lif = Lif(leak=1.0, threshold=threshold, firing_share=share)
    drive = current if current.shape[0] == steps else current.expand(steps, *current.shape[1:])
    return lif(drive, None)[0].cumsum(dim=0)


@pytest.mark.parametrize("share", [0.0, 0.25, 0.5])
def test_spikes_are_counted_by_a_floor(share: float, draws: torch.Generator) -> None:
    """floor((z T + v) / V) for 0 <= z <= V; none below; one per timestep above."""
    steps, threshold = 64, 1.5
    z = torch.empty(1, 500, dtype=torch.float64).uniform_(-0.5, 2.5, generator=draws)
    counts = rates(z, steps=steps, share=1 - share, threshold=threshold)
    times = torch.arange(1, steps + 1, dtype=torch.float64).unsqueeze(1)
    expected = (z * times / threshold + share).floor().clamp(min=0)
    assert torch.equal(counts, torch.minimum(expected, times))
    inside = (z >= 0) & (z <= threshold)
    error = (z / threshold - counts / times)[:, inside[0]]
    assert float((error * times).min()) >= -share - 1e-9
    assert float((error * times).max()) < 1 - share + 1e-9


def test_rates_telescope_for_any_input(draws: torch.Generator) -> None:
    x = torch.randn(50, 200, dtype=torch.float64, generator=draws)
    spikes, h = Lif(leak=1.0, threshold=0.7)(x, None)
    left = h - 0.7 * spikes[-1]
    assert torch.allclose(spikes.sum(dim=0), (x.sum(dim=0) - left) / 0.7, atol=1e-12)


def test_an_initial_potential_is_early_firing(draws: torch.Generator) -> None:
    """The equality that `initial_potential` is built on; values on a grid, so that it is exact."""
    x = torch.randint(-8, 9, (40, 300), generator=draws).double() / 8
    begun = Lif(leak=1.0)(torch.cat([x[:1] + 0.5, x[1:]]), None)[0]
    assert torch.equal(Lif(leak=1.0, firing_share=0.5)(x, None)[0], begun)


def test_the_rate_of_qcfs_is_exact_at_as_many_timesteps_as_levels(draws: torch.Generator) -> None:
    """One layer: exact. Two layers: spikes arrive unevenly, and it is not."""
    threshold = torch.tensor(1.3, dtype=torch.float64)
    for levels in (2, 4, 7, 16):
        z = torch.empty(1, 999, dtype=torch.float64).uniform_(-1, 3, generator=draws)
        counts = rates(z, steps=levels, share=0.5, threshold=1.3)
        assert torch.equal(counts[-1] / levels, Clipped(levels)(z, threshold)[0])
    network = converted(rate_map="qcfs", quantisation_steps=4, timesteps=4)[1]
    ann, snn = logits_of(network), logits_of(network, steps=4)
    assert float((ann - snn).abs().max()) > 1e-3


@pytest.mark.parametrize("levels", [0, 4])
def test_gradients_of_rate_maps(levels: int, draws: torch.Generator) -> None:
    """1 / V inside and 0 outside, -z / V^2 for the threshold; of RNL against differences."""
    z = torch.empty(400, dtype=torch.float64).uniform_(-2, 4, generator=draws).requires_grad_()
    threshold = torch.tensor(1.7, dtype=torch.float64, requires_grad=True)
    Clipped(levels)(z, threshold).sum().backward()
    inside = ((z > 0) & (z < threshold)).detach().double()
    assert z.grad is not None
    assert threshold.grad is not None
    assert torch.allclose(z.grad, inside / 1.7, atol=1e-12)
    assert torch.allclose(threshold.grad, -(inside * z.detach()).sum() / 1.7**2, atol=1e-9)
    if levels == 0:
        normed = RateNorm(1.7).double().eval()
        spread = z.detach()[(z - 1.7).abs().gt(1e-3) & z.abs().gt(1e-3)].requires_grad_()
        assert torch.autograd.gradcheck(lambda x: normed(x, None), (spread,))


def test_the_running_maximum_moves_in_training_only() -> None:
    normed = RateNorm(1.0)
    normed(torch.tensor([3.0, -1.0]), None)
    assert float(normed.peak) == pytest.approx(0.9 * 1 + 0.1 * 3)
    normed.eval()(torch.tensor([9.0]), None)
    assert float(normed.peak) == pytest.approx(1.2)


@contextmanager
def double() -> Iterator[None]:
    """Build networks in double precision."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@double()
def converted(*, seed: int = 0, **changes: Any) -> tuple[Network, Network]:
    """A random network without time, and its converted form."""
    settings = {**NETWORKS["pools"], "norm": "none", "head_hidden": 12, **changes}
    config = RunConfig(time_rule="conversion", seed=seed, initial_potential=0.5, **settings)
    network = fresh(config, TASK)
    draws = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.endswith("bias"):
                parameter.normal_(0.1, 0.3, generator=draws)
    network.eval()
    if config.rate_map != "relu":  # thresholds at the size of the currents
        scales = _Largest()
        network.run(IMAGES, ForwardContext(dynamics=scales), timesteps=1)
    folded = [
        fold_for_inference(config, index, network.block(index)) for index in range(config.exits)
    ]
    convert(network, folded, examples(config))
    plain = Network(config, TASK)
    plain.blocks.extend(folded)
    return network, plain.eval()


IMAGES = torch.randn(
    1, 40, *TASK.image_shape, dtype=torch.float64, generator=torch.Generator().manual_seed(3)
)


class _Drive(Examples):
    """Examples whose inputs are IMAGES."""

    def batch(self, index: Tensor, draws: torch.Generator, *, augmentation: str = "none") -> Any:
        del draws, augmentation
        return type("B", (), {"drive": IMAGES[:, index]})()


def examples(config: RunConfig) -> Examples:
    nothing: Any = None
    return _Drive(
        config=config,
        split=nothing,
        images=IMAGES[0],
        labels=torch.zeros(IMAGES.shape[1], dtype=torch.int64),
        border=None,
        spikes_per_unit=1,
        frozen=0,
    )


class _Largest(Activations):
    """Sets the threshold of each layer to its largest current."""

    def layer(self, layer: Layer, inputs: list[Tensor], batch: ForwardContext) -> Tensor:
        peak = layer.current(inputs, batch).detach().amax()
        with torch.no_grad():
            if isinstance(layer.rate_map, RateNorm):
                layer.rate_map.peak.copy_(peak)
            else:
                assert layer.threshold is not None
                layer.threshold.copy_(peak)
        return super().layer(layer, inputs, batch)


@torch.no_grad()
def logits_of(network: Network, *, steps: int = 0, gain: float = 1.0) -> Tensor:
    """Outputs of the last exit: without time, or means over `steps` timesteps."""
    state = ForwardContext(gain=gain)
    state.dynamics = None if steps else Activations()
    outputs = network.run(IMAGES, state, timesteps=steps or 1, wants=("logits",))
    return outputs.logits[-1].mean(dim=0)


@pytest.mark.parametrize("partition", ["", "1+1"])
@pytest.mark.parametrize("name", NETWORKS)
def test_a_relu_network_in_rates_is_the_same_function(name: str, partition: str) -> None:
    """With maxima as scales no activation is clipped, whatever pools and skips are between."""
    network, plain = converted(**NETWORKS[name], partition=partition, calibration="max")
    before, after = logits_of(network), logits_of(plain)
    assert float((before - after).abs().max()) < 1e-12 * float(before.abs().max())
    peaks = _Peaks()
    plain.run(IMAGES, ForwardContext(dynamics=peaks), timesteps=1)
    assert all(peak == pytest.approx(1.0, abs=1e-12) for peak in peaks.found)


class _Peaks(Activations):
    def __init__(self) -> None:
        self.found: list[float] = []

    def layer(self, layer: Layer, inputs: list[Tensor], batch: ForwardContext) -> Tensor:
        rate = super().layer(layer, inputs, batch)
        self.found.append(float(rate.amax()))
        return rate


@pytest.mark.parametrize("name", ["pools", "skips"])
@pytest.mark.parametrize(
    "changes",
    [
        {"rate_map": "relu", "calibration": "max"},
        {"rate_map": "relu", "calibration": "spike-norm", "timesteps": 8},
        {"rate_map": "rate-norm"},
    ],
    ids=lambda changes: "-".join(str(value) for value in changes.values()),
)
def test_outputs_of_many_timesteps_are_those_without_time(
    changes: dict[str, Any], name: str
) -> None:
    network, plain = converted(**NETWORKS[name], **changes)
    ann = logits_of(network)
    apart = [
        float((logits_of(plain, steps=steps) - ann).abs().max() / ann.abs().max())
        for steps in (64, 1024)
    ]
    assert apart[1] < 0.02
    assert apart[1] < apart[0]


def test_thresholds_and_weights_scale_alike() -> None:
    """Weight normalisation and threshold balancing: identical spike trains."""
    _, plain = converted(calibration="percentile", calibration_percentile=99.0)
    watched = [_spikes(plain)]
    with torch.no_grad():
        for layer in layers_of(plain):
            assert layer.threshold is not None
            scale = 2.0 ** round(float(layer.threshold.log2()) + 2)  # exact in binary
            for conn in layer.sources:
                conn.weight.div_(scale)
            assert layer.bias is not None
            layer.bias.div_(scale)
            layer.threshold.div_(scale)
    watched.append(_spikes(plain))
    assert all(torch.equal(a, b) for a, b in zip(*watched, strict=True))
    assert any(bool(spikes.any()) for spikes in watched[0])


class _Watch:
    def __init__(self) -> None:
        self.found: list[Tensor] = []

    def layer(self, layer: Layer, inputs: Any, spikes: Tensor) -> None:
        self.found.append(spikes)

    def readout(self, connections: Any, inputs: Tensor) -> None:
        pass


def _spikes(network: Network, steps: int = 12) -> list[Tensor]:
    watch = _Watch()
    network.run(IMAGES, ForwardContext(observer=watch), timesteps=steps)
    return watch.found


@pytest.mark.parametrize("scale", [0.5, 2.0])
def test_the_threshold_scale_is_that_of_thresholds_and_connections(scale: float) -> None:
    """At an operating point, against the same network with everything multiplied by hand."""
    _, plain = converted(**NETWORKS["skips"], calibration="max")
    config = plain.config.replace(threshold_scale=scale)
    operated = Network(config, TASK)
    operated.blocks.extend(plain.blocks)
    ours, outputs = _spikes(operated.eval()), logits_of(operated, steps=12)
    with torch.no_grad():
        for layer in layers_of(plain):
            assert layer.threshold is not None
            layer.threshold.mul_(scale)
            for conn in layer.sources:
                conn.weight.mul_(1.0 if conn.kind == "image" else scale)
        plain.block(0).head.readout.connections.weight.mul_(scale)
    assert all(torch.equal(a, b) for a, b in zip(ours, _spikes(plain), strict=True))
    assert torch.allclose(outputs, logits_of(plain, steps=12), atol=1e-12)


@pytest.mark.parametrize("rate_map", ["rate-norm", "qcfs"])
def test_conversion_of_rates_changes_no_weight(rate_map: str) -> None:
    network, plain = converted(rate_map=rate_map)
    for before, after in zip(connections_of(network), connections_of(plain), strict=True):
        assert torch.equal(before.weight, after.weight)
    for before, after in zip(layers_of(network), layers_of(plain), strict=True):
        of_map = before.rate_map.peak if isinstance(before.rate_map, RateNorm) else before.threshold
        assert of_map == after.threshold


def test_a_folded_batch_norm_is_the_batch_norm() -> None:
    network, plain = converted(norm="batch-over-time", rate_map="rate-norm")
    assert torch.allclose(logits_of(network), logits_of(plain), atol=1e-12)


def _errors(plain: Network, steps: int) -> list[tuple[float, float]]:
    """K and omega of each layer after `steps` timesteps."""
    rates = _Rates()
    plain.run(IMAGES, ForwardContext(dynamics=rates), timesteps=1)
    counted = _spikes(plain, steps)
    per_layer = [torch.cat(counted[k :: len(rates.found)]) for k in range(len(rates.found))]
    return [
        (
            float((spikes.sum(dim=0) / steps - rate[0]).square().sum() / rate.square().sum()),
            float(rate.sum() / rate.square().sum()),
        )
        for spikes, rate in zip(per_layer, rates.found, strict=True)
    ]


class _Rates(Activations):
    def __init__(self) -> None:
        self.found: list[Tensor] = []

    def layer(self, layer: Layer, inputs: list[Tensor], batch: ForwardContext) -> Tensor:
        self.found.append(super().layer(layer, inputs, batch))
        return self.found[-1]


def test_the_fit_of_rates_is_bounded_by_omega(monkeypatch: pytest.MonkeyPatch) -> None:
    """K <= omega / T in the first layer; deeper K falls with T. From rest, as in the proof."""
    _, plain = converted(calibration="max")
    for layer in layers_of(plain):
        layer.lif = replace(layer.lif, firing_share=1.0)
    monkeypatch.setattr(Network, "chunk_steps", 1000)
    by_steps = {steps: _errors(plain, steps) for steps in (4, 16, 64, 256)}
    for steps, errors in by_steps.items():
        assert errors[0][0] <= errors[0][1] / steps
        assert all(omega >= 1 for _, omega in errors)
    for layer in range(1, len(by_steps[4])):
        falling = [by_steps[steps][layer][0] for steps in (16, 64, 256)]
        assert falling == sorted(falling, reverse=True)


def test_rate_inference_lowers_thresholds_and_keeps_the_function() -> None:
    """A weight of zero keeps p at 1; a large one lowers it; without clipping nothing changes."""
    _, plain = converted(calibration="max")
    same = logits_of(converted(calibration="max", rate_inference=1e-9)[1])
    assert torch.allclose(same, logits_of(plain), atol=1e-12)
    _, lower = converted(calibration="max", rate_inference=10.0)
    omegas = [sum(omega for _, omega in _errors(network, 4)) for network in (plain, lower)]
    assert omegas[1] < omegas[0]
    assert 1.0 in SCALES


def test_sparse_wide_and_local_trainings_convert() -> None:
    config = RunConfig(
        time_rule="conversion",
        rate_map="qcfs",
        norm="batch-over-time",
        backbone="vgg5",
        width=8,
        partition="1+2",
        head_hidden=16,
        epochs=4,
        train_images=512,
        target_sparsity=0.5,
        dropout=0.1,
        timesteps=6,
    )
    training = trained(config)
    evaluation = evaluate(training.trained, _images(config))
    assert evaluation.sampled.metrics["accuracy"] > 0.5
    assert {point.timesteps for point in evaluation.points} <= set(range(1, 7))
    assert evaluation.sampled.metrics["connectivity"] < 0.6


def _images(config: RunConfig) -> Images:
    split = split_of(config)
    images, labels = split.validation_images, split.validation_labels
    return Images(images=images, labels=labels, mean=split.mean, std=split.std)


@pytest.mark.parametrize("rate_map", MAPS)
def test_a_stored_network_runs_at_every_operating_point(tmp_path: Any, rate_map: str) -> None:
    config = RunConfig(
        time_rule="conversion",
        rate_map=rate_map,
        backbone="mlp",
        width=16,
        head_hidden=0,
        epochs=1,
        train_images=128,
        timesteps=8,
    )
    network = trained(config).trained
    save(network, tmp_path / "w")
    ours = evaluate(network, _images(config)).sampled
    assert evaluate(load(tmp_path / "w"), _images(config)).sampled.metrics == ours.metrics
    other = config.replace(threshold_scale=0.5, initial_potential=0.0)
    assert other.training_fingerprint == config.training_fingerprint
    found = evaluate(load(tmp_path / "w", config=other), _images(config)).sampled.metrics
    assert found["spikes_per_inference"] > ours.metrics["spikes_per_inference"]


def test_training_memory_does_not_depend_on_timesteps() -> None:
    config = RunConfig(time_rule="conversion", backbone="vgg5", width=8, timesteps=2)
    few, many = (plan(config.replace(timesteps=t), TASK).training_memory_bytes for t in (2, 200))
    spiking = plan(config.replace(time_rule="bptt", timesteps=8), TASK).training_memory_bytes
    assert few == many < spiking


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"leak": 0.5}, r"leak must be 1 with time_rule 'conversion', .* never decay, got 0.5"),
        ({"reset": "hard"}, "reset 'hard' .* use 'soft'"),
        ({"neuron": "learned"}, "neuron 'learned' .* use 'fixed'"),
        ({"pooling": "max"}, "pooling 'max' .* linear pools; use 'average'"),
        ({"pooling": "spiking"}, "pooling 'spiking' .* use 'average'"),
        ({"feedback": "last-to-first"}, "feedback .* use 'none'"),
        ({"encoding": "poisson"}, "encoding .* use 'direct'"),
        ({"readout": "spiking"}, "readout .* use 'integrator'"),
        ({"readout_leak": 0.9}, "readout_leak must be 1"),
        ({"firing_share": 0.5}, "firing_share must be 1 .* initial_potential"),
        ({"loss": "each-step"}, "loss 'each-step' has no meaning"),
        ({"block_classes": "hard", "partition": "1+1"}, "block_classes .* use 'all'"),
        ({"threshold": 2.0}, "threshold must be 1 with rate_map 'relu'"),
        ({"rate_map": "rate-norm", "micro_batch": 8}, "micro_batch must be 0"),
        ({"backbone": "resnet11"}, "rate_map is not possible with skips without weights"),
        (
            {"backbone": "resnet11", "rate_map": "qcfs", "rate_inference": 0.1},
            "rate_inference is not possible with skips",
        ),
        ({"memory_mode": "packed"}, "memory_mode 'packed'"),
        ({"precision": "bfloat16"}, "precision 'bfloat16' .* maps rates"),
    ],
)
def test_what_has_no_meaning_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        RunConfig(time_rule="conversion", **changes)


def test_settings_that_do_not_apply_have_no_effect_on_names() -> None:
    plain = RunConfig()
    assert plain.replace(rate_map="qcfs", threshold_scale=0.5, calibration="max") == plain
    assert plain.fingerprint == "86c5462866a681ec" or plain.leak == 0.5
    relu = RunConfig(time_rule="conversion")
    assert relu.leak == 1.0
    assert relu.replace(quantisation_steps=9) == relu
    assert relu.replace(time_rule="bptt").leak == 0.5
    with pytest.raises(ConfigError, match="threshold_scale must be above 0"):
        plain.replace(threshold_scale=0.0)
