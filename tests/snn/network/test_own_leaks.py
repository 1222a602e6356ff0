"""Leaks and thresholds of single neurons and channels against those of whole layers."""

import math
from typing import Any, Literal

import pytest
import torch
from torch import Tensor

from snn.lif import native
from snn.lif.surrogate import SURROGATES, spike
from snn.network.blocks import fold_for_inference, layers_of
from snn.network.cost import model_bytes
from snn.network.layers import LEAST_THRESHOLD, ForwardContext
from snn.network.network import Network, Task
from snn.network.neurons import Lif
from snn.settings.config import RunConfig
from snn.training.stage import Stage
from tests.snn.network.test_network import DIGITS, fresh
from tests.snn.rules.test_rules import batch_of, gradients, network_of
from tests.snn.training.test_train import SMALL, split_of

Reset = Literal["soft", "hard"]
SHAPES = {"dense": (5, 6), "maps": (3, 6, 2, 4)}  # batch, neurons or channels, ...


@pytest.fixture(params=["native", "eager"])
def body(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each body of the operator in turn."""
    if request.param == "eager":
        monkeypatch.setattr(native, "supports", lambda current, surrogate: False)
    elif native.load() is None:
        pytest.skip(native.why_not())
    return str(request.param)


def drawn(
    shape: tuple[int, ...], draws: torch.Generator, dtype: torch.dtype = torch.float64
) -> tuple[Tensor, Tensor]:
    """Currents of 7 timesteps, and what the loss weighs spikes with."""
    made = [torch.randn(7, *shape, generator=draws, dtype=torch.float64) for _ in range(2)]
    return made[0].to(dtype).requires_grad_(), made[1].to(dtype)


def in_chunks(lif: Lif, current: Tensor, chunk: int, **constants: Tensor) -> Tensor:
    state, parts = None, []
    for part in current.split(chunk):
        spikes, state = lif(part, state, **constants)
        parts.append(spikes)
    return torch.cat(parts)


def plain(lif: Lif, current: Tensor, leak: Tensor) -> Tensor:
    """The recurrence as it stands in the docstring, differentiated by autograd."""
    spikes, v = [], torch.zeros_like(current[0])
    each = leak.view(-1, *[1] * (current.dim() - 3))
    for x in current:
        h = each * v + x
        s = spike(h - lif.firing_share * lif.threshold, lif.surrogate, lif.slope, lif.height)
        spikes.append(s)
        v = h - lif.threshold * s.detach() if lif.reset == "soft" else h * (1 - s.detach())
    return torch.stack(spikes)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("chunk", [1, 3, 7])
@pytest.mark.parametrize("name", SURROGATES)
@pytest.mark.parametrize("reset", ["soft", "hard"])
def test_each_leak_has_the_gradient_of_the_recurrence(
    reset: Reset, name: str, chunk: int, shape: tuple[int, ...], draws: torch.Generator, body: str
) -> None:
    lif = Lif(
        threshold=0.8, reset=reset, surrogate=name, slope=1.5, firing_share=0.9, height=1.3
    )  # fmt: skip
    current, weight = drawn(shape, draws)
    leak = torch.linspace(0, 1, 6, dtype=torch.float64).requires_grad_()
    ours, theirs = in_chunks(lif, current, chunk, leak=leak), plain(lif, current, leak)
    assert torch.equal(ours, theirs)
    assert ours.detach().sum() > 20
    grads = torch.autograd.grad((ours * weight).sum(), (current, leak))
    exact = torch.autograd.grad((theirs * weight).sum(), (current, leak))
    for mine, other in zip(grads, exact, strict=True):
        assert (mine - other).abs().max() < 1e-12
    assert exact[1].abs().min() > 1e-4


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("reset", ["soft", "hard"])
def test_equal_leaks_are_the_leak_of_the_layer_bit_for_bit(
    reset: Reset, shape: tuple[int, ...], dtype: torch.dtype, draws: torch.Generator, body: str
) -> None:
    """Spikes and gradients of currents; those of the leaks add up to that of the layer."""
    lif, (current, weight) = Lif(reset=reset, leak=0.7), drawn(shape, draws, dtype)
    each = torch.full((6,), 0.7, dtype=dtype, requires_grad=True)
    of_layer = torch.tensor(0.7, dtype=dtype, requires_grad=True)
    grads = []
    for given in ({"leak": each}, {"leak": of_layer}, {}):
        spikes = in_chunks(lif, current, 3, **given)
        wanted = (current, *given.values())
        grads.append((spikes, *torch.autograd.grad((spikes * weight).sum(), wanted)))
    (ours, grad, own), (learned, of_learned, common), (fixed, of_fixed) = grads
    assert torch.equal(ours, fixed)
    assert torch.equal(ours, learned)
    assert torch.equal(grad, of_fixed)
    assert torch.equal(grad, of_learned)
    assert own.shape == (6,)
    tolerance = 1e-12 if dtype is torch.float64 else 1e-4
    assert math.isclose(float(own.sum()), float(common), abs_tol=tolerance)


@pytest.mark.parametrize("layout", ["rows", "channels last", "constant", "one channel"])
@pytest.mark.parametrize("reset", ["soft", "hard"])
def test_both_bodies_make_the_same_bits(
    reset: Reset, layout: str, draws: torch.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Maps of more neurons than a block has, so that a channel begins within one."""
    if native.load() is None:
        pytest.skip(native.why_not())
    channels = 1 if layout == "one channel" else 6
    current = torch.randn(4, 5, channels, 11, 13, generator=draws)
    if layout == "channels last":
        current = current.flatten(0, 1).contiguous(memory_format=torch.channels_last)
        current = current.unflatten(0, (4, 5))
    elif layout == "constant":
        current = current[:1].expand(4, -1, -1, -1, -1)
    assert channels == 1 or current[0].numel() > 2 * native.BLOCK
    current = current.detach().requires_grad_()
    weight = torch.randn(4, 5, channels, 11, 13, generator=draws)
    leak = torch.linspace(0.2, 0.95, channels).requires_grad_()
    seen = []
    for supports in (native.supports, lambda current, surrogate: False):
        monkeypatch.setattr(native, "supports", supports)
        spikes = in_chunks(Lif(reset=reset), current, 2, leak=leak)
        seen.append((spikes, *torch.autograd.grad((spikes * weight).sum(), (current, leak))))
    (ours, grad, own), (theirs, other, exact) = seen
    assert torch.equal(ours, theirs)
    assert torch.equal(grad, other)
    # the reference rounds each product to single precision before it adds
    assert (own - exact).abs().max() < 1e-5 * float(exact.abs().max())


CHANGES: dict[str, dict[str, Any]] = {
    "dense": {"backbone": "mlp2", "width": 30},
    "conv": {"backbone": "vgg5", "width": 4},
    "class neurons": {"backbone": "vgg5", "width": 4, "readout": "spiking", "votes": 2},
    "hard reset": {"backbone": "vgg5", "width": 4, "reset": "hard"},
    "synapses": {"backbone": "mlp2", "width": 30, "synaptic_leak": 0.5},
    "recurrence": {"backbone": "mlp2", "width": 30, "recurrence": "1x1"},
    "delays": {"backbone": "mlp2", "width": 30, "delays": "axons", "max_delay": 2},
    "standardised": {"backbone": "vgg5", "width": 4, "norm": "weight-standardised"},
}


@pytest.mark.parametrize("changes", CHANGES.values(), ids=CHANGES)
def test_constants_of_a_layer_learn_what_those_of_its_neurons_learn_together(
    changes: dict[str, Any],
) -> None:
    """At threshold 1 and before the first step the networks are the same."""
    batch = batch_of(is_constant=False, loss="mean-readout")
    found = {}
    for neuron in ("fixed", "learned", "leaks", "individual"):
        network = network_of({**changes, "time_rule": "bptt", "neuron": neuron})
        found[neuron] = gradients(network, "bptt", batch)
    weights = found["fixed"].keys()
    assert weights
    for neuron in ("learned", "leaks", "individual"):
        for name in weights:
            assert torch.equal(found[neuron][name], found["fixed"][name]), (neuron, name)
    for name, wanted in found["learned"].items():
        if name.endswith(".leak"):
            for neuron in ("leaks", "individual"):
                own = found[neuron][name]
                assert own.dim() == 1
                assert float((own.sum() - wanted).abs()) < 1e-12 * max(1, float(own.abs().sum()))
        elif name.endswith(".threshold") and "readout" not in name:  # class neurons have no own
            own = found["individual"][f"{name}s"]
            assert float((own.sum() - wanted).abs()) < 1e-12 * max(1, float(own.abs().sum()))
    assert found["individual"].keys() - found["leaks"].keys() == {
        name for name in found["individual"] if name.endswith("thresholds")
    }


def test_time_constants_start_within_a_factor_of_the_leaks() -> None:
    config = RunConfig(backbone="mlp2", width=400, leak=0.9, neuron="leaks", leak_spread=4.0)
    network = fresh(config, DIGITS)
    same, other = (fresh(config.replace(seed=seed), DIGITS) for seed in (config.seed, 1))
    equal = fresh(config.replace(leak_spread=1.0), DIGITS)
    for layer, again, apart, even in zip(
        *(layers_of(one) for one in (network, same, other, equal)), strict=True
    ):
        leak = layer.leak
        assert leak is not None
        factor = math.log(0.9) / leak.detach().double().log()
        assert 1 / 4 <= factor.min() < 0.3
        assert 3.3 < factor.max() <= 4
        assert abs(factor.log().mean()) < 0.2  # as many longer as shorter
        assert torch.equal(leak, again.leak)  # type: ignore[arg-type]
        assert not torch.equal(leak, apart.leak)  # type: ignore[arg-type]
        assert torch.equal(even.leak, torch.full_like(leak, 0.9))  # type: ignore[arg-type]
        assert torch.equal(layer.sources[0].weight, even.sources[0].weight)


def test_leaks_and_thresholds_stay_where_they_have_a_meaning() -> None:
    config = SMALL.replace(neuron="individual", leak=0.9, learning_rate=5.0, schedule="constant")
    stage = Stage(Network(config, DIGITS), split_of(config), range(10), device="cpu")
    next(stage.epochs(0))
    leaks = torch.cat([layer.leak.detach() for layer in stage.layers if layer.leak is not None])
    low = [layer.thresholds.min() for layer in stage.layers if layer.thresholds is not None]
    assert len(leaks) >= 20
    assert leaks.min() >= 0
    assert leaks.max() <= 1
    assert {0.0, 1.0} <= set(leaks.tolist())  # a step of 5 leaves the range
    assert min(low) == LEAST_THRESHOLD


@pytest.mark.parametrize("neuron", ["leaks", "individual"])
@pytest.mark.parametrize("reset", ["soft", "hard"])
def test_a_folded_block_keeps_leaks_and_has_thresholds_in_its_weights(
    reset: str, neuron: str, draws: torch.Generator
) -> None:
    task = Task(image_shape=(1, 8, 8), classes=10)
    config = RunConfig(
        backbone="vgg5", width=4, timesteps=6, neuron=neuron, reset=reset, leak_spread=3.0, leak=0.8
    )
    network = fresh(config, task).double().eval()
    with torch.no_grad():
        for layer in layers_of(network):
            if layer.thresholds is not None:
                layer.thresholds.uniform_(0.5, 0.8, generator=draws)
    drive = torch.randn(1, 16, 1, 8, 8, generator=draws, dtype=torch.float64)
    folded = Network(config, task)
    folded.blocks.append(fold_for_inference(config, 0, network.block(0)).double())
    for layer, kept in zip(layers_of(network), layers_of(folded), strict=True):
        assert kept.thresholds is None
        if layer.leak is not None:
            assert torch.equal(layer.leak.float(), kept.leak.float())  # type: ignore[union-attr]
    ours, theirs = (n.run(drive, ForwardContext(), timesteps=6) for n in (folded, network))
    assert theirs.features[0].sum() > 20
    # weights were folded in single precision
    assert (ours.features[0] != theirs.features[0]).double().mean() < 1e-3


def test_each_leak_takes_four_bytes_and_thresholds_none() -> None:
    config = RunConfig(backbone="mlp2", width=20, head_hidden=0)
    sizes = {}
    for neuron in ("fixed", "thresholds", "leaks", "individual"):
        own = config.replace(neuron=neuron)
        sizes[neuron] = model_bytes([fold_for_inference(own, 0, fresh(own, DIGITS).block(0))])
    assert sizes["fixed"] == sizes["thresholds"]
    assert sizes["leaks"] == sizes["individual"] == sizes["fixed"] + 4 * (20 + 20)
