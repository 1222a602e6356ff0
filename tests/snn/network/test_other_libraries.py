"""Losses, gradients, surrogates and counts against other libraries; NeuroBench in test_cost."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from snn.evaluation.operation_counter import operations_of
from snn.lif.surrogate import SURROGATES, spike
from snn.network.blocks import layers_of
from snn.network.connections import Connections
from snn.network.cost import OperationCounter
from snn.network.layers import ForwardContext
from snn.network.network import Network, Task
from snn.rules import TIME_RULES, Batch
from snn.settings.backbones import BACKBONES, Backbone, ConvUnit, DenseUnit
from snn.settings.config import RunConfig
from tests.snn.network.test_network import fresh

pytest.importorskip(
    "spikingjelly.activation_based.neuron", reason="SpikingJelly is not installed: make setup"
)
from spikingjelly.activation_based import layer, neuron, op_counter, surrogate

TASK = Task(image_shape=(2, 9, 9), classes=5)
IMAGES = 6

THEIR_SURROGATES = {
    # ours: theirs, and how their alpha follows from our slope (they are one function each)
    "atan": (surrogate.ATan, lambda slope: slope),
    "sigmoid": (surrogate.Sigmoid, lambda slope: slope),
    "triangular": (surrogate.PiecewiseQuadratic, lambda slope: slope),
}


@pytest.fixture(autouse=True)
def plain_backbone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two convolutions and an all-to-all layer without pooling, under the name `vgg5`."""
    units = (ConvUnit(channels=1), ConvUnit(channels=2), DenseUnit(neurons=3))
    judged = Backbone(name="vgg5", units=units, meaning="without pooling")
    monkeypatch.setitem(BACKBONES, "vgg5", judged)


def network_of(**changes: Any) -> Network:
    """Float64, with weights large enough that every layer fires."""
    settings = {"backbone": "vgg5", "width": 4, "head_hidden": 7, "norm": "none"}
    network = fresh(RunConfig(**{**settings, **changes}), TASK).double()
    with torch.no_grad():
        for part in layers_of(network):
            assert part.bias is not None
            part.bias.normal_(0.2, 0.1)
            part.sources[0].weight.mul_(2)
        network.block(0).head.readout.bias.normal_(0, 0.1)
    return network


class Theirs(nn.Module):
    """The same network of SpikingJelly's neurons, with the very same parameters."""

    def __init__(self, network: Network, step_mode: str) -> None:
        super().__init__()
        config = network.config
        self.step_mode, parts = step_mode, []
        own = {"soft": None, "hard": 0.0}
        shape, alpha = THEIR_SURROGATES[config.surrogate]
        for ours in layers_of(network):
            (connections,) = ours.sources
            if connections.weight.dim() == 2:
                parts.append(layer.Flatten(step_mode=step_mode))
            parts.append(self._map(connections, ours.bias))
            parts.append(
                neuron.LIFNode(
                    tau=1 / (1 - config.leak),  # h = v - v / tau + x
                    decay_input=False,
                    v_threshold=config.threshold,
                    v_reset=own[config.reset],
                    surrogate_function=shape(alpha(config.surrogate_slope)),
                    detach_reset=True,
                    step_mode=step_mode,
                )
            )
            if config.dropout > 0:
                parts.append(layer.Dropout(config.dropout, step_mode=step_mode))
        readout = network.block(0).head.readout
        parts.append(self._map(readout.connections, readout.bias))
        self.parts = nn.Sequential(*parts)

    def _map(self, connections: Connections, bias: Tensor | None) -> nn.Module:
        weight = connections.weight
        made: Any
        if weight.dim() == 4:
            side = weight.shape[-1]
            options = {"stride": connections.stride, "padding": side // 2}
            made = layer.Conv2d(
                weight.shape[1], weight.shape[0], side, **options, step_mode=self.step_mode
            )
        else:
            made = layer.Linear(weight.shape[1], weight.shape[0], step_mode=self.step_mode)
        made.weight, made.bias = weight, bias
        return made  # type: ignore[no-any-return]

    def forward(self, drive: Tensor) -> Tensor:
        """Readouts, (time, batch, classes)."""
        if self.step_mode == "m":
            return self.parts(drive)  # type: ignore[no-any-return]
        return torch.stack([self.parts(x) for x in drive.unbind(0)])

    def dropouts(self) -> list[Any]:
        return [part for part in self.parts if isinstance(part, layer.Dropout)]


def drive_of(steps: int, draws: torch.Generator, *, rate: float = 0.4) -> Tensor:
    shape = (steps, IMAGES, *TASK.image_shape)
    return (torch.rand(shape, generator=draws) < rate).double()


def labels_of(draws: torch.Generator) -> Tensor:
    return torch.randint(0, TASK.classes, (IMAGES,), generator=draws)


def taken(network: Network) -> list[Tensor]:
    """The gradients, taken away."""
    found = []
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        found.append(parameter.grad.clone())
        parameter.grad = None
    return found


def apart(ours: list[Tensor], theirs: list[Tensor]) -> float:
    """Largest difference of any parameter's gradient, relative to that gradient's largest."""
    pairs = list(zip(ours, theirs, strict=True))
    assert all(b.abs().max() > 0 for _, b in pairs)
    return max(float((a - b).abs().max() / b.abs().max()) for a, b in pairs)


@pytest.mark.parametrize("step_mode", ["s", "m"])
@pytest.mark.parametrize("reset", ["soft", "hard"])
@pytest.mark.parametrize("steps", [1, 4, 9])
@pytest.mark.parametrize(
    ("name", "leak", "threshold"), [("atan", 0.5, 1.0), ("atan", 0.9, 0.8), ("sigmoid", 0.75, 1.0)]
)
def test_loss_and_gradients_are_spikingjelly_s(
    name: str,
    leak: float,
    threshold: float,
    steps: int,
    reset: str,
    step_mode: str,
    draws: torch.Generator,
) -> None:
    network = network_of(
        timesteps=steps,
        reset=reset,
        leak=leak,
        threshold=threshold,
        surrogate=name,
        surrogate_slope=2.0,
        encoding="poisson",
        loss="mean-readout",
    )
    drive, labels = drive_of(steps, draws), labels_of(draws)
    batch = Batch(drive=drive, labels=labels, frozen=0, timesteps=steps, loss="mean-readout")
    result = TIME_RULES["bptt"](network, batch, ForwardContext(), apply=lambda: None)
    ours = taken(network)

    loss = F.cross_entropy(Theirs(network, step_mode)(drive).mean(dim=0), labels)
    loss.backward()
    assert result.loss.item() == pytest.approx(loss.item(), rel=1e-13)
    assert apart(ours, taken(network)) < 1e-10


@pytest.mark.parametrize("step_mode", ["s", "m"])
def test_held_dropout_is_spikingjelly_s_dropout_with_the_same_mask(
    step_mode: str, draws: torch.Generator
) -> None:
    """Its mask, too, is drawn once and kept for all timesteps, until the net is reset."""
    network = network_of(timesteps=5, dropout=0.3, encoding="poisson", loss="mean-readout")
    drive, labels = drive_of(5, draws), labels_of(draws)
    batch = Batch(drive=drive, labels=labels, frozen=0, timesteps=5, loss="mean-readout")
    state = ForwardContext(generator=draws)
    result = TIME_RULES["bptt"](network.train(), batch, state, apply=lambda: None)
    ours = taken(network)

    theirs = Theirs(network, step_mode).train()
    for dropout, part in zip(theirs.dropouts(), layers_of(network), strict=True):
        dropout.mask = state.masks[part]
    loss = F.cross_entropy(theirs(drive).mean(dim=0), labels)
    loss.backward()
    assert result.loss.item() == pytest.approx(loss.item(), rel=1e-13)
    assert apart(ours, taken(network)) < 1e-10


def test_masks_are_drawn_as_spikingjelly_draws_them(draws: torch.Generator) -> None:
    """One per image and neuron, 0 or 1 / (1 - rate)."""
    network, state = network_of(timesteps=2, width=60, dropout=0.2), ForwardContext(generator=draws)
    network.train().run(drive_of(2, draws), state, timesteps=2)
    ours = state.masks[layers_of(network)[0]]
    theirs = layer.Dropout(0.2).train()(torch.ones_like(ours))
    assert ours.shape == (IMAGES, 60, 9, 9)
    for mask in (ours, theirs):
        assert set(mask.unique().tolist()) == {0.0, 1 / 0.8}
        # 29,160 draws: the standard deviation of the share kept is 0.0023
        assert (mask > 0).double().mean().item() == pytest.approx(0.8, abs=0.0023 * 5)


@pytest.mark.parametrize("slope", [0.7, 2.0, 4.0])
@pytest.mark.parametrize("name", THEIR_SURROGATES)
def test_surrogates_are_spikingjelly_s(name: str, slope: float) -> None:
    """Our slope is their alpha; PiecewiseQuadratic's derivative is the triangle."""
    x = torch.linspace(-3, 3, 601, dtype=torch.float64)  # 0 included: both fire there
    shape, alpha = THEIR_SURROGATES[name]
    seen = []
    for fire in (lambda x: spike(x, name, slope), shape(alpha(slope))):
        at = x.clone().requires_grad_()
        fired = fire(at)
        (grad,) = torch.autograd.grad(fired.sum(), at)
        seen.append((fired.detach(), grad))
    (ours, our_grad), (theirs, their_grad) = seen
    assert torch.equal(ours, theirs)
    assert (our_grad - their_grad).abs().max() < 1e-14
    assert our_grad.max() > 0.1


def test_fast_sigmoid_is_spikingjelly_s_super_spike_only_at_slope_1() -> None:
    """Theirs scales the height, alpha / (1 + |x|)^2; ours the width, 1 / (1 + slope |x|)^2."""
    x = torch.linspace(-3, 3, 601, dtype=torch.float64)
    differences = []
    for slope in (1.0, 2.0):
        at = x.clone().requires_grad_()
        (grad,) = torch.autograd.grad(surrogate.SuperSpike(slope)(at).sum(), at)
        ours = SURROGATES["fast-sigmoid"].derivative(x, slope)
        differences.append(float((grad - ours).abs().max()))
    assert differences[0] < 1e-15
    assert differences[1] == pytest.approx(1.0)  # at the threshold: 2 against 1


def test_operations_without_pruning_are_spikingjelly_s(draws: torch.Generator) -> None:
    """Every spike through every connection that it has, borders included."""
    network = network_of(timesteps=4, encoding="poisson").eval()
    drive, ours = drive_of(4, draws), OperationCounter()
    with torch.no_grad():
        network.run(drive, ForwardContext(observer=ours), timesteps=4)
        counter = op_counter.SynOpCounter()
        with op_counter.DispatchCounterMode([counter]):
            Theirs(network, "s")(drive)
    counted = float(operations_of(ours, network.block(0)).accumulates.sum())
    assert counted == counter.get_total()
    assert counted > 0
