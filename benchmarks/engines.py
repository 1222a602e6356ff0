"""One small convolutional spiking network, in our engine and in others.

    convolution 2 -> 32, 3x3              28x28, leaky integrate-and-fire
    convolution 32 -> 64, 3x3, stride 2   14x14, leaky integrate-and-fire
    all-to-all 12,544 -> 10               cross-entropy of the mean over time

Neurons: h = 0.5 v + x, a spike where h >= 1, v = h - s with no gradient through
the reset, ATan with slope 2. Inputs are random spikes that change over time.

Every engine gets the same parameters and inputs, on the same device, and is used as
its documentation says; SpikingJelly chooses its kernel for a device by itself. It
computes the same loss and gradients as ours. Norse the same loss: its input is scaled
by 1 - leak, so its weights are doubled, and it has no ATan. snnTorch has no neuron
with these equations (its reset comes one timestep later): the same work, not the
same numbers.
"""

import dataclasses
import functools
import importlib.util
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

BATCH, CHANNELS, SIDE, CLASSES = 64, 2, 28, 10
INPUT_RATE = 0.3
# on the customary uniform weights of +-1 / sqrt(fan-in): hidden layers fire at 13 and 12.5 %
GAINS = (2.8, 3.45, 1.0)
SHAPES = ((32, CHANNELS, 3, 3), (64, 32, 3, 3), (CLASSES, 64 * 14 * 14))


@dataclass(frozen=True, kw_only=True)
class Problem:
    """What every engine is given: `drive` (time, batch, channels, height, width), weights."""

    drive: Tensor
    labels: Tensor  # (batch,)
    weights: tuple[Tensor, ...]  # of the two convolutions and the readout
    biases: tuple[Tensor, ...]


def problem(timesteps: int, *, dtype: torch.dtype = torch.float32, device: str = "cpu") -> Problem:
    """The same at every call and on every device; more timesteps begin with the same weights."""
    draws = torch.Generator().manual_seed(0)
    weights, biases = [], []
    for shape, gain in zip(SHAPES, GAINS, strict=True):
        bound = 1 / math.sqrt(math.prod(shape[1:]))
        weights.append(gain * bound * (2 * torch.rand(shape, generator=draws) - 1))
        biases.append(bound * (2 * torch.rand(shape[0], generator=draws) - 1))
    labels = torch.randint(0, CLASSES, (BATCH,), generator=draws)
    drive = torch.rand(timesteps, BATCH, CHANNELS, SIDE, SIDE, generator=draws) < INPUT_RATE
    return Problem(
        drive=drive.to(device, dtype),
        labels=labels.to(device),
        weights=tuple(weight.to(device, dtype) for weight in weights),
        biases=tuple(bias.to(device, dtype) for bias in biases),
    )


@dataclass(frozen=True, kw_only=True)
class Trainee:
    """A network ready to be trained."""

    learn: Callable[[Tensor, Tensor], Tensor]  # (drive, labels) -> loss; leaves gradients behind
    parameters: tuple[nn.Parameter, ...]  # weight and bias, layer by layer


@dataclass(frozen=True, kw_only=True)
class Engine:
    """A way to train the network. `library` is what has to be installed for it, `ours` if None."""

    name: str
    library: str | None
    build: Callable[[Problem], Trainee]
    is_compiled: bool = False
    is_spiking: bool = True

    @property
    def is_peer(self) -> bool:
        """Whether it is another library's."""
        return self.library is not None

    @property
    def is_ours(self) -> bool:
        """Whether it is our engine, not bare convolutions."""
        return self.library is None and self.is_spiking

    @property
    def is_installed(self) -> bool:
        """Whether its library is there."""
        return self.library is None or importlib.util.find_spec(self.library) is not None


def ours(given: Problem, **settings: Any) -> Trainee:
    """Our engine as the trainer runs it: a batch through `bptt` on a network of one block."""
    from snn.network.blocks import Block, builder_of
    from snn.network.connections import Connections
    from snn.network.heads import Head
    from snn.network.layers import ForwardContext, Layer
    from snn.network.network import Network, Task
    from snn.network.units import SignalSpec
    from snn.rules import Batch
    from snn.rules import learn as train
    from snn.settings.config import RunConfig
    from snn.training.allocator import keep_memory
    from snn.training.stage import deterministic

    keep_memory()  # as every trial does

    class Unit(nn.Module):
        def __init__(self, layer: Layer) -> None:
            super().__init__()
            self.layer = layer

        def forward(self, x: Tensor, steps: int, batch: ForwardContext) -> Tensor:
            spikes: Tensor = self.layer([x], steps, batch)
            return spikes

    config = RunConfig(
        backbone="vgg5",  # at this width its largest layer is the largest here
        width=32,
        head_hidden=0,
        head_grid=14,  # no pooling
        timesteps=given.drive.shape[0],
        batch_size=BATCH,
        encoding="poisson",
        norm="none",
        loss="mean-readout",
        leak=0.5,
        threshold=1.0,
        surrogate="atan",
        surrogate_slope=2.0,
        partition="3",
        **settings,
    )
    builder = builder_of(config, block=0)
    layers = [
        Layer("conv1", [Connections(SHAPES[0])], lif=builder.lif),
        Layer("conv2", [Connections(SHAPES[1], stride=2)], lif=builder.lif),
    ]
    for layer in layers:  # as the trainer builds them
        layer.sources[0].trained_in = getattr(torch, config.precision)
    source = SignalSpec(shape=(CHANNELS, SIDE, SIDE))
    signal = SignalSpec(shape=(64, 14, 14))
    head = Head(signal, config, range(CLASSES), builder, "exit1")
    network = Network(config, Task(image_shape=(CHANNELS, SIDE, SIDE), classes=CLASSES))
    network.blocks.append(Block([Unit(layer) for layer in layers], head, source, signal))
    network.to(given.drive.device, given.drive.dtype).train()
    biased: list[tuple[Any, Any]] = [(layer.sources[0].weight, layer.bias) for layer in layers]
    biased.append((head.readout.connections.weight, head.readout.bias))
    parameters = [p for pair in biased for p in pair if isinstance(p, nn.Parameter)]
    _fill(parameters, given)

    def learn(drive: Tensor, labels: Tensor) -> Tensor:
        batch = Batch(
            drive=drive, labels=labels, frozen=0, timesteps=drive.shape[0], loss="mean-readout"
        )
        with deterministic():
            return train(network, batch, ForwardContext(), apply=lambda: None).loss

    return Trainee(learn=learn, parameters=tuple(parameters))


@torch.no_grad()
def _fill(parameters: Sequence[nn.Parameter], given: Problem) -> None:
    pairs = zip(given.weights, given.biases, strict=True)
    values = [tensor for pair in pairs for tensor in pair]
    for parameter, value in zip(parameters, values, strict=True):
        parameter.data = value.clone()


def _maps(given: Problem, layer: Any = nn.Module, **options: Any) -> tuple[Any, Any, Any]:
    """The three linear maps, of `layer` (torch.nn, or a module with its names)."""
    maps = (
        layer.Conv2d(CHANNELS, 32, 3, padding=1, **options),
        layer.Conv2d(32, 64, 3, stride=2, padding=1, **options),
        layer.Linear(64 * 14 * 14, CLASSES, **options),
    )
    _fill([p for part in maps for p in (part.weight, part.bias)], given)
    return maps


def _trainee(
    maps: tuple[Any, Any, Any],
    forward: Callable[[Tensor], Tensor],
    *,
    after: Callable[[], None] = lambda: None,
    half: bool = False,
) -> Trainee:
    """`forward` gives the mean readout (batch, classes); `after` runs behind the backward pass.

    With `half` forward runs in torch's bfloat16 autocast.
    """

    def learn(drive: Tensor, labels: Tensor) -> Tensor:
        with torch.autocast(drive.device.type, torch.bfloat16, enabled=half):
            loss = F.cross_entropy(forward(drive), labels)
        loss.backward()
        after()
        return loss.detach()

    return Trainee(learn=learn, parameters=tuple(p for m in maps for p in (m.weight, m.bias)))


def convolutions(given: Problem) -> Trainee:
    """The linear maps alone, one timestep after the other."""
    conv1, conv2, linear = maps = _maps(given, nn)

    def forward(drive: Tensor) -> Tensor:
        return torch.stack([linear(conv2(conv1(x)).flatten(1)) for x in drive.unbind(0)]).mean(0)

    return _trainee(maps, forward)


def convolutions_at_once(given: Problem) -> Trainee:
    """The linear maps alone, all timesteps in one call."""
    conv1, conv2, linear = maps = _maps(given, nn)

    def forward(drive: Tensor) -> Tensor:
        logits = linear(conv2(conv1(drive.flatten(0, 1))).flatten(1))
        return logits.unflatten(0, drive.shape[:2]).mean(0)  # type: ignore[no-any-return]

    return _trainee(maps, forward)


def spikingjelly(
    given: Problem, step_mode: str, mode: str = "eager", *, half: bool = False
) -> Trainee:
    """SpikingJelly, `step_mode` s (one timestep at a time) or m (all of them)."""
    from spikingjelly.activation_based import functional, layer, neuron, surrogate

    def lif() -> Any:
        return neuron.LIFNode(
            tau=2.0,
            decay_input=False,
            v_reset=None,
            surrogate_function=surrogate.ATan(2.0),
            detach_reset=True,
            step_mode=step_mode,
        )

    conv1, conv2, linear = maps = _maps(given, layer, step_mode=step_mode)
    net = nn.Sequential(conv1, lif(), conv2, lif(), layer.Flatten(step_mode=step_mode), linear)
    step = torch.compile(net) if mode == "compiled-step" else net

    def forward(drive: Tensor) -> Tensor:
        if step_mode == "m":
            return net(drive).mean(0)  # type: ignore[no-any-return]
        return sum(step(x) for x in drive.unbind(0)) / drive.shape[0]  # type: ignore[no-any-return]

    run = torch.compile(forward) if mode == "compiled" else forward
    return _trainee(maps, run, after=lambda: functional.reset_net(net), half=half)


def snntorch(given: Problem, mode: str = "eager", *, half: bool = False) -> Trainee:
    """snnTorch with its usual loop over time."""
    import snntorch as snn
    from snntorch import surrogate

    conv1, conv2, linear = maps = _maps(given, nn)
    lif1, lif2 = (
        snn.Leaky(beta=0.5, threshold=1.0, spike_grad=surrogate.atan(alpha=2.0)) for _ in range(2)
    )

    def one(x: Tensor, mem1: Tensor, mem2: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        spikes, mem1 = lif1(conv1(x), mem1)
        spikes, mem2 = lif2(conv2(spikes), mem2)
        return linear(spikes.flatten(1)), mem1, mem2

    step = torch.compile(one) if mode == "compiled-step" else one

    def forward(drive: Tensor) -> Tensor:
        mem1, mem2 = lif1.reset_mem(), lif2.reset_mem()
        logits = []
        for x in drive.unbind(0):
            readout, mem1, mem2 = step(x, mem1, mem2)
            logits.append(readout)
        return torch.stack(logits).mean(0)

    run = torch.compile(forward) if mode == "compiled" else forward
    return _trainee(maps, run, half=half)


def norse(given: Problem, mode: str = "eager", *, half: bool = False) -> Trainee:
    """Norse's neuron without a synaptic current, in a loop over time."""
    from norse.torch import LIFBoxCell, LIFBoxParameters
    from norse.torch.functional.reset import reset_subtract

    constants = LIFBoxParameters(
        tau_mem_inv=torch.as_tensor(500.0),  # keeps half of the potential in a step of 1 ms
        alpha=torch.as_tensor(math.pi),  # about as wide as ATan with slope 2
        reset_method=reset_subtract,
    )
    conv1, conv2, linear = maps = _maps(given, nn)
    with torch.no_grad():
        for part in (conv1, conv2):
            part.weight.mul_(2)
            part.bias.mul_(2)
    lif1, lif2 = LIFBoxCell(constants), LIFBoxCell(constants)

    def one(x: Tensor, state1: Any, state2: Any) -> tuple[Tensor, Any, Any]:
        spikes, state1 = lif1(conv1(x), state1)
        spikes, state2 = lif2(conv2(spikes), state2)
        return linear(spikes.flatten(1)), state1, state2

    step = torch.compile(one) if mode == "compiled-step" else one

    def forward(drive: Tensor) -> Tensor:
        state1 = state2 = None
        logits = []
        for x in drive.unbind(0):
            readout, state1, state2 = step(x, state1, state2)
            logits.append(readout)
        return torch.stack(logits).mean(0)

    run = torch.compile(forward) if mode == "compiled" else forward
    return _trainee(maps, run, half=half)


def _engines() -> list[Engine]:
    def peer(library: str, name: str, build: Any, **options: Any) -> list[Engine]:
        modes = ["eager", "compiled"]
        if options.get("step_mode") != "m":
            modes.append("compiled-step")
        return [
            Engine(
                name=name if mode == "eager" else f"{name}-{mode}",
                library=library,
                build=functools.partial(build, **options, mode=mode),
                is_compiled=mode != "eager",
            )
            for mode in modes
        ]

    return [
        Engine(name="ours", library=None, build=ours),
        Engine(name="convolutions", library=None, build=convolutions, is_spiking=False),
        Engine(
            name="convolutions-at-once", library=None, build=convolutions_at_once, is_spiking=False
        ),
        *peer("spikingjelly", "spikingjelly-s", spikingjelly, step_mode="s"),
        *peer("spikingjelly", "spikingjelly-m", spikingjelly, step_mode="m"),
        *peer("snntorch", "snntorch", snntorch),
        *peer("norse", "norse", norse),
    ]


ENGINES = {engine.name: engine for engine in _engines()}

_SETTINGS: dict[str, dict[str, Any]] = {
    "ours-packed": {"memory_mode": "packed"},
    "ours-checkpointed": {"memory_mode": "checkpointed"},
    "ours-parts-of-16": {"micro_batch": 16},
    "ours-parts-of-4": {"micro_batch": 4},
}
MODES = {
    name: Engine(name=name, library=None, build=functools.partial(ours, **settings))
    for name, settings in _SETTINGS.items()
}
"""Our engine where it keeps less for backward; the gradients are the same."""

HALVES = {
    f"{engine.name}-bfloat16": dataclasses.replace(
        engine,
        name=f"{engine.name}-bfloat16",
        build=functools.partial(
            engine.build, **({"half": True} if engine.is_peer else {"precision": "bfloat16"})
        ),
    )
    for engine in ENGINES.values()
    if engine.is_spiking
}
"""Ours and peers in half precision: peers in torch's autocast, as their users have it."""
