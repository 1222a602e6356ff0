"""Exact times of single spikes: closed forms, derivatives, and the clock at inference."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from snn.data.encoding import latency
from snn.evaluation.evaluate import evaluate, infer
from snn.evaluation.operating_points import (
    OperatingPointEvaluator,
    OperatingSetting,
    first_spike,
)
from snn.evaluation.recording import record
from snn.interchange.wiring import inexpressible
from snn.network.first_spike import FirstSpike, lambert
from snn.network.layers import ForwardContext
from snn.network.network import Network, Task
from snn.rules.rule import Batch
from snn.rules.spike_time import (
    SpikeTimes,
    after_the_end,
    answers_at_end,
    crossing,
    first_times,
    spike_time,
)
from snn.settings.config import ConfigError, RunConfig
from snn.training.checkpoint import load, save
from snn.training.plan import plan
from snn.training.train import Training
from tests.snn.network.test_network import DIGITS, fresh
from tests.snn.training.test_conversion import _images
from tests.snn.training.test_train import split_of, trained

STEPS = 40
KERNEL = ("mostafa", "lif1", "lif2")
LIF = FirstSpike(leak=1.0, threshold=1.3, tau=7.0)
TIMED = {"time_rule": "spike-time", "norm": "none", "readout": "spiking"}
SMALL = RunConfig(
    **TIMED, architecture="d48", head_hidden=0, train_images=400, epochs=3, timesteps=16
)


def inputs(draws: torch.Generator, *, images: int = 6, count: int = 12) -> tuple[Tensor, Tensor]:
    """Arrival times on the clock, some never, and weights of 9 neurons."""
    times = torch.randint(0, STEPS // 2, (images, count), generator=draws).to(torch.float64)
    times[torch.rand(times.shape, generator=draws) < 0.2] = math.inf
    weight = torch.randn(9, count, dtype=torch.float64, generator=draws) * 0.6 + 0.25
    return times, weight


def kernel(since: Tensor, lif: FirstSpike) -> Tensor:
    """The response to an input, as published and scaled to a highest value of 1."""
    x = since / lif.tau
    if lif.spike_kernel == "mostafa":
        return 1 - torch.exp(-x)
    if lif.spike_kernel == "lif1":
        return math.e * x * torch.exp(-x)
    return 4 * (torch.exp(-x / 2) - torch.exp(-x))


def potential(t: float, times: Tensor, row: Tensor, lif: FirstSpike = LIF) -> float:
    """V at any time, by the sum over inputs."""
    since = (t - times).clamp(min=0)
    return float((row * kernel(since, lif)).sum().detach())


def first_crossing(
    times: Tensor, row: Tensor, lif: FirstSpike = LIF, *, last: int = STEPS - 1
) -> float:
    """The first time with V at the threshold: the clock, then bisection; inf for none."""
    clock = (float(t) for t in range(last + 1))
    high = next((t for t in clock if potential(t, times, row, lif) >= lif.threshold), None)
    if high is None:
        return math.inf
    low = high - 1
    for _ in range(80):
        middle = (low + high) / 2
        if potential(middle, times, row, lif) >= lif.threshold:
            high = middle
        else:
            low = middle
    return high


@pytest.mark.parametrize("name", KERNEL)
def test_times_are_those_at_which_the_potential_reaches_the_threshold(
    name: str, draws: torch.Generator
) -> None:
    lif = replace(LIF, spike_kernel=name)
    times, weight = inputs(draws)
    found = crossing(times, weight, lif, steps=STEPS)
    fired = found.isfinite()
    assert 10 < int(fired.sum()) < fired.numel()
    for image, neuron in np.ndindex(*found.shape):
        expected = first_crossing(times[image], weight[neuron], lif)
        assert float(found[image, neuron]) == pytest.approx(expected, abs=1e-9)
        if math.isfinite(expected):
            after = potential(expected + 1e-6, times[image], weight[neuron], lif)
            assert after > potential(expected, times[image], weight[neuron], lif)


@pytest.mark.parametrize("name", KERNEL)
def test_derivatives_are_exact(name: str, draws: torch.Generator) -> None:
    """Against finite differences of the time found by bisection."""
    lif = replace(LIF, spike_kernel=name)
    times, weight = inputs(draws, images=4, count=8)
    times.requires_grad_()
    weight.requires_grad_()
    found = crossing(times, weight, lif, steps=STEPS)
    compared = 0
    for image, neuron in np.ndindex(*found.shape):
        out = float(found[image, neuron].detach())
        # away from changes of the causal set, the end, and the bound of the slope
        with torch.no_grad():
            row = weight[neuron]
            ends = [potential(out + e, times[image], row, lif) for e in (1e-6, -1e-6)]
            slope = (ends[0] - ends[1]) / 2e-6 * lif.tau
        if not math.isfinite(out) or slope < 0.2 or out > STEPS - 2 or abs(out % 1 - 0.5) > 0.45:
            continue
        of_times, of_weight = torch.autograd.grad(
            found[image, neuron], [times, weight], retain_graph=True
        )
        for j in range(times.shape[1]):
            for of, exact in (("weight", of_weight[neuron, j]), ("time", of_times[image, j])):
                if of == "time" and not math.isfinite(float(times[image, j].detach())):
                    assert float(exact) == 0
                    continue
                ends = []
                for step in (1e-5, -1e-5):
                    t, w = times[image].detach().clone(), row.clone()
                    (w if of == "weight" else t)[j] += step
                    ends.append(first_crossing(t, w, lif))
                assert float(exact) == pytest.approx((ends[0] - ends[1]) / 2e-5, abs=1e-4)
                compared += 1
    assert compared > 60


@pytest.mark.parametrize("name", KERNEL)
def test_what_arrives_after_a_spike_changes_nothing(name: str, draws: torch.Generator) -> None:
    lif = replace(LIF, spike_kernel=name)
    times, weight = inputs(draws)
    before = crossing(times, weight, lif, steps=STEPS)
    late = times.clone()
    late[:, 0] = STEPS - 5.0
    early = crossing(late, weight, lif, steps=STEPS)
    other = weight.clone()
    other[:, 0] = 5.0
    fired = early <= STEPS - 5.0
    assert bool(fired.any())
    assert torch.equal(crossing(late, other, lif, steps=STEPS)[fired], early[fired])
    assert not torch.equal(before, early)


@pytest.mark.parametrize("name", KERNEL)
def test_a_shift_of_the_inputs_shifts_the_spikes(name: str, draws: torch.Generator) -> None:
    lif = replace(LIF, spike_kernel=name)
    times, weight = inputs(draws)
    first, later = (crossing(times + c, weight, lif, steps=3 * STEPS) for c in (0.0, 9.0))
    assert torch.allclose(later, first + 9, atol=1e-10)
    assert bool(first.isfinite().any())


def test_a_latency_is_the_brightness() -> None:
    """To half a step, the first timestep being white."""
    image, steps = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16), 20
    spikes = latency(image, torch.zeros(1), torch.ones(1), timesteps=steps)
    counts = spikes.sum(dim=0)
    assert int(counts[0, 0, 0, 0]) == 0
    assert torch.equal(counts.flatten()[1:], torch.ones(255))
    back = 1 - first_times(spikes).flatten()[1:] / (steps - 1)
    apart = (back - torch.arange(1, 256) / 255).abs()
    assert float(apart.max()) <= 1 / (2 * (steps - 1)) + 1e-6


def network_of(**changes: Any) -> Network:
    config = SMALL.replace(architecture="d30 d20", head_hidden=15, timesteps=STEPS, **changes)
    return fresh(config, Task(image_shape=(1, 8, 8), classes=10)).double()


def drive_of(draws: torch.Generator, *, images: int = 40) -> Tensor:
    pixels = torch.randint(0, 256, (images, 1, 8, 8), dtype=torch.uint8, generator=draws)
    spikes = latency(pixels, torch.zeros(1), torch.ones(1), timesteps=STEPS // 2).double()
    return torch.cat([spikes, torch.zeros_like(spikes)])


def test_kernels_are_those_of_leaky_membranes(draws: torch.Generator) -> None:
    """V of both LIF kernels against a membrane and a current integrated in small steps."""
    times, weight = inputs(draws, images=1)
    for name, constant in (("lif1", LIF.tau), ("lif2", 2 * LIF.tau)):
        lif, dt = replace(LIF, spike_kernel=name), 1e-3
        # the current of a unit weight, scaled so that the response has a highest value of 1
        peak = {"lif1": math.e / LIF.tau, "lif2": 2 / LIF.tau}[name]
        v, current = torch.zeros(2, 9, dtype=torch.float64)
        for index in range(round(25 / dt)):
            if index % 1000 == 0:
                current = current + weight @ (times[0] == index // 1000).to(torch.float64)
            v = v + dt * (peak * current - v / constant)
            current = current - dt * current / LIF.tau
        ours = torch.tensor([potential(25.0, times[0], row, lif) for row in weight])
        assert torch.allclose(v, ours.to(v), atol=2e-3)
        kernel = lif.kernel
        slow = fast = torch.zeros(9, dtype=torch.float64)
        for step in range(26):
            arrived = weight @ (times[0] == step).to(torch.float64)
            slow, fast = kernel.arrive(*kernel.advance(slow, fast), arrived)
        assert torch.allclose(kernel.potential(slow, fast), ours.to(v), atol=1e-12)


def test_lambert_is_the_inverse_of_w_exp_w() -> None:
    w = torch.linspace(-1, 0, 1001, dtype=torch.float64)
    assert torch.allclose(lambert(w * torch.exp(w)), w, atol=1e-7)
    assert torch.allclose(lambert((w * torch.exp(w))[5:]), w[5:], atol=1e-12)


@pytest.mark.parametrize("name", KERNEL)
@torch.no_grad()
def test_the_clock_has_the_spikes_that_training_has(name: str, draws: torch.Generator) -> None:
    """Every neuron of every layer, once at most; and the same outputs at the end."""
    network, drive = network_of(spike_kernel=name), drive_of(draws)
    ours: list[Tensor] = []
    clocked: list[Tensor] = []
    dynamics = SpikeTimes(network)
    layer_times = dynamics.layer

    def watched(*parts: Any) -> Tensor:
        ours.append(layer_times(*parts))
        return ours[-1]

    dynamics.layer = watched  # type: ignore[method-assign]

    class Watch:
        def layer(self, layer: Any, inputs: Any, spikes: Tensor) -> None:
            assert float(spikes.sum(dim=0).max()) <= 1
            clocked.append(first_times(spikes))

        def readout(self, connections: Any, inputs: Tensor) -> None:
            pass

    block, state = network.block(0), ForwardContext(dynamics=dynamics)
    x = block(first_times(drive).unsqueeze(0), 1, state)
    block.head(x, 1, state)
    plain = ForwardContext(observer=Watch())
    logits = network.run(drive, plain, timesteps=STEPS, wants=("logits",)).logits[0]
    steps = len(clocked) // len(ours)
    by_layer = [clocked[index :: len(ours)] for index in range(len(ours))]
    assert steps >= 1
    for times, chunks in zip(ours, by_layer, strict=True):
        length = STEPS // len(chunks)
        whole = torch.stack([c + k * length for k, c in enumerate(chunks)]).amin(dim=0)
        spoken = times[0].masked_fill(times[0] >= STEPS, math.inf)  # outputs after the end
        assert torch.equal(spoken, whole)
        assert 0.1 < float(spoken.isfinite().double().mean()) <= 1
    answers = answers_at_end(ours[-1][0], block.head.readout.lif, STEPS)  # type: ignore[union-attr, arg-type]
    assert torch.allclose(logits.mean(dim=0), answers.clamp(min=0), atol=1e-12)


def test_a_network_that_cannot_fire_is_woken_by_the_penalty(draws: torch.Generator) -> None:
    network, drive = network_of(silence_penalty=2.0), drive_of(draws)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.fill_(1e-6)
    batch = Batch(
        drive=drive,
        labels=torch.arange(40) % 10,
        frozen=0,
        timesteps=STEPS,
        loss="mean-readout",
    )
    result = spike_time(network, batch, ForwardContext(), apply=lambda: None)
    assert float(result.loss) == pytest.approx(math.log(10))
    for parameter in network.parameters():
        assert parameter.grad is not None
        assert torch.allclose(parameter.grad, torch.full_like(parameter, -2.0), atol=1e-12)


def test_a_silent_output_learns_from_its_last_potential(draws: torch.Generator) -> None:
    """The time that stands for no spike is later the more is missing, with that derivative."""
    times, weight = inputs(draws)
    weight = (0.1 * weight.abs()).requires_grad_()
    assert not bool(crossing(times, weight, LIF, steps=STEPS).isfinite().any())
    after = after_the_end(times, weight, LIF, steps=STEPS)
    for image, neuron in np.ndindex(*after.shape):
        missing = 1 - potential(STEPS - 1, times[image], weight[neuron].detach()) / LIF.threshold
        expected = STEPS + LIF.tau * missing
        assert float(after[image, neuron].detach()) == pytest.approx(expected, rel=1e-12)
    (found,) = torch.autograd.grad(after.sum(), weight)
    assert bool((found[:, times.isfinite().any(dim=0)] < 0).all())


def test_the_first_output_spike_decides_at_an_operating_point() -> None:
    training = trained(SMALL)
    network, images = training.trained.network, _images(SMALL)
    threshold = first_spike(SMALL, network.block(0))
    setting = OperatingSetting(
        timesteps=16, exit_thresholds=(), detector_threshold=0.5, time_threshold=threshold
    )
    decided = infer(network, images, setting)
    drive = torch.cat([batch for batch, _ in images.batches(SMALL)], dim=1)
    found: list[Tensor] = []

    class Watch:
        def layer(self, layer: Any, inputs: Any, spikes: Tensor) -> None:
            if layer.name == "exit1.readout":
                found.append(spikes)

        def readout(self, connections: Any, inputs: Tensor) -> None:
            pass

    network.run(drive, ForwardContext(observer=Watch()), timesteps=16)
    times = first_times(torch.cat(found))
    first = times.amin(dim=1)
    # ten spikes at once are no answer
    spoken = first.isfinite() & (times > first.unsqueeze(1)).any(dim=1)
    assert int(spoken.sum()) > 50
    assert np.array_equal(decided.timesteps[spoken], (first[spoken] + 1).numpy())
    alone = spoken & ((times == first.unsqueeze(1)).sum(dim=1) == 1)
    assert np.array_equal(decided.labels[alone], times.argmin(dim=1)[alone].numpy())
    evaluator = OperatingPointEvaluator(training.trained, record(network, images))
    counted = evaluator.decisions(setting)
    for name in ("labels", "timesteps", "accumulates", "spikes"):
        assert np.array_equal(getattr(counted, name), getattr(decided, name)), name
    points = evaluate(training.trained, images).points
    early = [p for p in points if p.time_threshold == pytest.approx(threshold, abs=1e-6)]
    assert early
    assert early[0].metrics["mean_timesteps"] < 16


def test_it_learns_and_fires_once_and_is_stored(tmp_path: Path) -> None:
    config = SMALL.replace(epochs=6, train_images=0, learning_rate=5e-3)
    training = trained(config)
    evaluation = evaluate(training.trained, _images(config))
    assert evaluation.sampled.metrics["accuracy"] > 0.85
    assert evaluation.sampled.metrics["spikes_per_inference"] <= 48 + 10
    assert evaluation.sampled.metrics["macs"] == 0
    save(training.trained, tmp_path / "w")
    again = evaluate(load(tmp_path / "w"), _images(config))
    assert again.sampled.metrics == evaluation.sampled.metrics


def test_it_learns_block_by_block_and_sparse() -> None:
    config = SMALL.replace(
        architecture="d60 d40",
        partition="1+1",
        target_sparsity=0.5,
        epochs=5,
        train_images=600,
        learning_rate=5e-3,
    )
    training = Training(config, split_of(config))
    measured = list(training)
    for block in (1, 2):
        losses = [m.loss for m in measured if m.block == block]
        assert losses[-1] < 0.8 * losses[0]
    assert measured[-1].connectivity == pytest.approx(0.5, abs=0.01)
    assert plan(config, DIGITS).stage_memory_bytes == pytest.approx(
        [m.training_memory_bytes for m in measured[:: config.epochs]], rel=0.01
    )


def test_memory_does_not_grow_with_the_timesteps() -> None:
    """But for the input, which is kept as it comes."""
    sizes = [
        plan(SMALL.replace(timesteps=steps), DIGITS).stage_memory_bytes[0] for steps in (8, 128)
    ]
    assert sizes[0] == sizes[1]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"encoding": "direct"}, "encoding 'direct' is not possible.* use 'latency'"),
        ({"norm": "weight-standardised"}, "norm 'weight-standardised'.* use 'none'"),
        ({"readout": "integrator"}, "readout 'integrator'.* use 'spiking'"),
        ({"votes": 2}, "votes must be 1 with time_rule 'spike-time'.* got 2"),
        ({"leak": 0.9}, "leak must be 1 with time_rule 'spike-time'.* got 0.9"),
        ({"dropout": 0.1}, "dropout must be 0 with time_rule 'spike-time'.* got 0.1"),
        ({"neuron": "learned"}, "neuron 'learned' .* use 'fixed'"),
        ({"architecture": "c4 d10"}, "architecture 'c4 d10' is not possible.* use dense units"),
        ({"architecture": "", "backbone": "vgg5"}, "backbone 'vgg5' is not possible"),
        ({"precision": "bfloat16"}, "precision 'bfloat16' .* use 'float32'"),
        ({"memory_mode": "packed"}, "use 'full'"),
    ],
)
def test_what_has_no_spike_time_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        SMALL.replace(**changes)


def test_nir_has_no_neuron_that_fires_once() -> None:
    (line,) = inexpressible(SMALL)
    assert line.startswith("time_rule 'spike-time' has no NIR node")


def test_settings_of_the_rule_apply_with_it_only() -> None:
    assert RunConfig(current_share=0.5, silence_penalty=3.0, latency_share=0.9) == RunConfig()
