"""Wiring: a trained network as NIR graphs, one per exit.

Weights are written with the norm folded in; removed connections are zero. Average pools
stay pools. Several currents into one node are several edges, which NIR sums. Neurons with
a hard reset are LIF nodes. NIR has no soft reset; it is built from nodes that every tested
simulator runs:

    h[t] = leak * h[t-1] + x[t] - leak * threshold * s[t-1]        s[t] = h[t] > threshold

is a CubaLIF whose synaptic current is h (tau_syn from the leak; a spike resets only the
membrane) and whose membrane equals the current (tau_mem = dt), with a connection of each
neuron to itself of weight -leak * threshold. It acts a timestep later, as every loop does.
A synaptic current is that of the CubaLIF if the reset is hard; before the soft reset, whose
CubaLIF has another use for it, it is a node LI.

Of an encoder the graph ends with the potentials of its code neurons, an LI: NIR has neither random
spikes nor decoders.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from snn.interchange.description import CODE, CUT, DT_S, KEY, Description, InterchangeError
from snn.interchange.files import nir_library
from snn.network.connections import Connections
from snn.network.cost import constant_bytes
from snn.network.encoder.code import CodeLayer
from snn.network.heads import Head
from snn.network.layers import Layer
from snn.network.network import Network
from snn.network.pooling import Size, SpikePool
from snn.network.readout import Readout
from snn.network.units import UnitModule
from snn.settings.config import RunConfig
from snn.settings.datasets import is_recorded
from snn.settings.first_spikes import FIRST_SPIKES
from snn.settings.units import INPUT

ENDLESS_STEPS = 2.0**40
"""Time constant without leak, in timesteps: 1 - 2^-40 rounds to 1 in single precision."""

Form = Literal["plain", "norse"]
"""`norse` avoids nodes that Norse does not run: average pools become convolutions, and neurons
with a hard reset become CubaLIF, because Norse takes R of a LIF for 1."""


@dataclass(frozen=True, kw_only=True)
class Tap:
    """A node of a graph and the shape of its output."""

    node: str
    shape: tuple[int, ...]


def inexpressible(config: RunConfig) -> list[str]:
    """Return a line for each part that NIR has no node for, with what to use instead."""
    found = []
    if config.time_rule in FIRST_SPIKES:
        found.append(
            f"time_rule {config.time_rule!r} has no NIR node (neurons that fire once); use "
            "time_rule 'conversion'"
        )
    if config.time_rule == "encoder" and config.recurrence != "none":
        found.append(
            f"recurrence {config.recurrence!r} of code neurons has no NIR node (they fire at "
            "random); use recurrence 'none'"
        )
    if config.lateral_inhibition > 0:
        found.append(
            "lateral_inhibition is not written as NIR (it acts within a timestep, a loop one "
            "later); use lateral_inhibition 0"
        )
    if config.pooling == "max":
        found.append(
            "pooling 'max' has no NIR node (a maximum of spikes); use pooling 'average' or "
            "'spiking'"
        )
    if config.feedback != "none":
        found.append(
            f"feedback {config.feedback!r} has no NIR node (nearest-neighbour upsampling); "
            "use feedback 'none'"
        )
    if config.adaptation > 0:
        found.append(
            "adaptation has no NIR node (a threshold that rises with each spike), got "
            f"{config.adaptation:g}; use adaptation 0"
        )
    if config.exits > 1 and config.detector == "head" and config.detector_threshold < 1:
        found.append(
            "detector 'head' needs a second readout, but a graph has one output; use "
            "detector 'mass' or 'predicted', which need only the outputs, or detector_threshold 1"
        )
    return found


@dataclass(frozen=True, kw_only=True)
class ExitGraph:
    """The graph of a network up to one of its exits."""

    graph: Any
    about: Description
    reads: str  # the node that the exit takes its input from


def graphs(
    network: Network,
    *,
    mean: Sequence[float] | None,
    std: Sequence[float] | None,
    form: Form = "plain",
) -> list[ExitGraph]:
    """Return a graph per exit of a folded network, the first exit first.

    `mean` and `std` of the training pixels are stored for programs that prepare the input;
    None if unknown. Raises InterchangeError with every part that NIR cannot express.
    """
    faults = inexpressible(network.config)
    if faults:
        raise InterchangeError("\n".join(faults))
    made = []
    for index in range(len(network.blocks)):
        step_s = step_of(network.config)
        wiring = Wiring(form=form, gain=1 / network.config.threshold_scale, dt_s=step_s)
        signal = wiring.input(network.task.image_shape)
        for block in range(index + 1):
            for unit in network.block(block).units:
                assert isinstance(unit, UnitModule)
                signal = wiring.unit(unit, signal)
        head = network.block(index).head
        wiring.head(head, signal)
        about = _described(network, index, mean, std)
        made.append(ExitGraph(graph=wiring.graph(about), about=about, reads=signal.node))
    return made


def _described(
    network: Network, index: int, mean: Sequence[float] | None, std: Sequence[float] | None
) -> Description:
    config, head = network.config, network.block(index).head
    return Description(
        dataset=config.dataset,
        encoding=config.encoding,
        mean=None if mean is None else tuple(mean),
        std=None if std is None else tuple(std),
        timesteps=config.inference_timesteps,
        trained_timesteps=config.timesteps,
        readout=CODE if config.time_rule == "encoder" else config.readout,
        readout_leak=config.readout_leak,
        classes=head.classes,
        votes=head.votes,
        exit=index + 1,
        seed=config.seed,
        validation_fraction=config.validation_fraction,
        train_images=config.train_images,
        dt_s=step_of(config),
        cut={name: getattr(config, name) for name in CUT} if is_recorded(config.dataset) else {},
        constant_bytes=constant_bytes(layer for layer, _ in neuron_names(network, index + 1)),
    )


def step_of(config: RunConfig) -> float:
    """Return the seconds of a timestep: of images there is no time, and DT_S is usual."""
    return DT_S if config.step_ms is None else config.step_ms / 1000


class Wiring:
    """Builder of a graph. Names of nodes have no dots, because simulators replace them."""

    def __init__(self, *, form: Form, gain: float = 1.0, dt_s: float = DT_S) -> None:
        self._nir, self._form, self._dt = nir_library(), form, dt_s
        self._gain = gain  # of a converted network, see `ForwardContext.gain`
        self._nodes: dict[str, Any] = {}
        self._edges: list[tuple[str, str]] = []

    def graph(self, about: Description) -> Any:
        """Return the graph; nir checks its types."""
        metadata = {"dt": about.dt_s, "timesteps": about.timesteps, KEY: about.to_json()}
        return self._nir.NIRGraph(nodes=self._nodes, edges=self._edges, metadata=metadata)

    def input(self, shape: tuple[int, ...]) -> Tap:
        """Add the input node for images."""
        node = self._nir.Input(input_type={"input": np.array(shape)})
        return self._add("input", node, [], shape)

    def unit(self, unit: UnitModule, signal: Tap) -> Tap:
        """Add a unit of a backbone after `signal`."""
        taps = {INPUT: signal}
        for layer, name, sources in unit.parts():
            signal = self._layer(layer, [taps[source] for source in sources])
            taps[name] = signal
        if unit.pool is not None:
            signal = self._pool(unit.pool, signal)
        return signal if unit.pooled is None else self._neurons(unit.pooled, [signal])

    def head(self, head: Head, signal: Tap) -> None:
        """Add an exit and the output node."""
        signal = self._pool(head.pool, signal)
        if isinstance(head.hidden, CodeLayer):
            signal = self._potentials(head.hidden, signal)
        else:
            signal = self._answers(head, signal)
        node = self._nir.Output(output_type={"output": np.array(signal.shape)})
        self._add("output", node, [signal], signal.shape)

    def _answers(self, head: Head, signal: Tap) -> Tap:
        """Add the hidden layer of an exit, if it has one, and its readout."""
        if head.hidden is not None:
            signal = self._layer(head.hidden, [signal])
        if not isinstance(head.readout, Readout):
            return self._layer(head.readout, [signal])
        name, bias = "readout", head.readout.bias
        conn = head.readout.connections
        (signal,) = self._connections(name, conn, signal, bias, factor=1 / self._gain)
        return signal

    def _add(self, name: str, node: Any, sources: Sequence[Tap], shape: tuple[int, ...]) -> Tap:
        self._nodes[name] = node
        self._edges.extend((source.node, name) for source in sources)
        return Tap(node=name, shape=shape)

    def _layer(self, layer: Layer, inputs: Sequence[Tap]) -> Tap:
        name = _plain(layer.name)
        bias = layer.bias if layer.bias is None else layer.bias * self._gain
        sources = [
            tap
            for place, (conn, signal) in enumerate(zip(layer.sources, inputs, strict=False))
            for tap in self._connections(
                f"{name}_in{place}",
                conn,
                signal,
                bias if place == 0 else None,
                factor=self._gain if conn.kind == "image" else 1.0,
            )
        ]
        if layer.skip is not None:
            sources.append(self._sampled(f"{name}_skip", inputs[-1], layer.skip.stride))
        return self._neurons(layer, sources)

    def _potentials(self, code: CodeLayer, signal: Tap) -> Tap:
        """Add code neurons as integrators; their outputs are potentials."""
        name, (conn,) = _plain(code.name), code.sources
        sources = self._connections(f"{name}_in0", conn, signal, code.bias, factor=1.0)
        return self._integrated(name, sources, _steps(code.lif.leak))

    def _connections(
        self, name: str, conn: Connections, signal: Tap, bias: Tensor | None, *, factor: float
    ) -> list[Tap]:
        """Add connections; those with delays of their own as a node for each delay."""
        weight = _array(conn.weight * factor)
        if conn.delays is None:
            return [self._mapped(name, conn, weight, signal, bias)]
        whole = conn.delays.whole().cpu().numpy()
        signal = self._flat(signal) if weight.ndim == 2 else signal
        if conn.delays.kind == "axons":
            each = np.broadcast_to(_trailing(whole, len(signal.shape)), signal.shape)
            late = self._late(f"{name}_delay", signal, each)
            return [self._mapped(name, conn, weight, late, bias)]
        taps: list[Tap] = []
        for steps in np.unique(whole):
            own = weight * _trailing(whole == steps, weight.ndim)
            late, each = signal, np.full(signal.shape, steps)
            if steps > 0:
                late = self._late(f"{name}_delay{steps}", signal, each)
            given = None if taps else bias
            taps.append(self._mapped(f"{name}_after{steps}", conn, own, late, given))
        return taps

    def _late(self, name: str, signal: Tap, steps: Any) -> Tap:
        """Delay each value by its own number of timesteps."""
        return self._add(name, self._nir.Delay(delay=steps * self._dt), [signal], signal.shape)

    def _mapped(
        self, name: str, conn: Connections, weight: Any, signal: Tap, bias: Tensor | None
    ) -> Tap:
        if weight.ndim == 2:
            flat, shape = self._flat(signal), (weight.shape[0],)
            if bias is None:
                return self._add(name, self._nir.Linear(weight=weight), [flat], shape)
            node = self._nir.Affine(weight=weight, bias=_array(bias))
            return self._add(name, node, [flat], shape)
        given = np.zeros(len(weight), np.float32) if bias is None else _array(bias)
        return self._convolved(
            *(name, weight, given, signal),
            stride=(conn.stride,) * 2,
            padding=(weight.shape[-1] // 2,) * 2,
            groups=conn.groups,
        )

    def _convolved(
        self,
        name: str,
        weight: Any,
        bias: Any,
        signal: Tap,
        *,
        stride: Size,
        padding: Size,
        groups: int = 1,
    ) -> Tap:
        node = self._nir.Conv2d(
            input_shape=tuple(signal.shape[1:]),
            weight=weight,
            stride=stride,
            padding=padding,
            dilation=(1, 1),
            groups=groups,
            bias=bias,
        )
        sides = _sides(signal, weight.shape[2:], stride, padding)
        return self._add(name, node, [signal], (weight.shape[0], *sides))

    def _flat(self, signal: Tap) -> Tap:
        """Flatten the last three axes, so that a batch axis in front stays."""
        if len(signal.shape) == 1:
            return signal
        name = f"{signal.node}_flat"
        size = int(np.prod(signal.shape))
        if name in self._nodes:
            return Tap(node=name, shape=(size,))
        node = self._nir.Flatten(
            start_dim=-3, end_dim=-1, input_type={"input": np.array(signal.shape)}
        )
        return self._add(name, node, [signal], (size,))

    def _pool(self, pool: SpikePool, signal: Tap) -> Tap:
        if not pool.is_pooling:
            return signal
        # a square window is named by its side
        window = "x".join(map(str, dict.fromkeys(pool.kernel)))
        name = f"{signal.node}_pool{window}"
        return self._averaged(
            name, signal, kernel=pool.kernel, stride=pool.kernel, padding=pool.padding
        )

    def _sampled(self, name: str, signal: Tap, stride: int) -> Tap:
        """Take every `stride`-th pixel, as an average over single pixels."""
        if stride == 1:
            return signal
        return self._averaged(name, signal, kernel=(1, 1), stride=(stride,) * 2, padding=(0, 0))

    def _averaged(
        self, name: str, signal: Tap, *, kernel: Size, stride: Size, padding: Size
    ) -> Tap:
        channels = signal.shape[0]
        if self._form == "norse":
            weight = np.zeros((channels, channels, *kernel), np.float32)
            weight[range(channels), range(channels)] = 1 / (kernel[0] * kernel[1])
            bias = np.zeros(channels, np.float32)
            return self._convolved(name, weight, bias, signal, stride=stride, padding=padding)
        node = self._nir.AvgPool2d(
            kernel_size=np.array(kernel), stride=np.array(stride), padding=np.array(padding)
        )
        sides = _sides(signal, kernel, stride, padding)
        return self._add(name, node, [signal], (channels, *sides))

    def _neurons(self, layer: Layer, sources: Sequence[Tap]) -> Tap:
        name, shape = _plain(layer.name), sources[0].shape
        leak: Any = layer.lif.leak
        if layer.leak is not None:
            leak = layer.leak.detach().cpu().to(torch.float64).numpy()
        if layer.leak is not None and layer.leak.dim() > 0:
            leak = _trailing(leak, len(shape))
        threshold = layer.lif.threshold if layer.threshold is None else float(layer.threshold)
        fire = layer.lif.firing_share * threshold
        limit = _next_to(fire, above=layer.lif.strict)
        steps = _steps(leak)
        given = {"v_leak": 0.0, "v_threshold": float(limit), "v_reset": 0.0}
        is_soft = layer.lif.reset == "soft" and bool(np.any(leak > 0))
        of_synapse = 1.0 if layer.synapse is None else _steps(layer.synapse.decay)
        if is_soft and layer.synapse is not None:
            sources = [self._integrated(f"{name}_synapse", sources, of_synapse)]
        is_leaky = bool(np.all(leak > 0))
        if not is_soft and is_leaky and layer.synapse is None and self._form == "plain":
            given |= {"tau": steps * self._dt, "r": steps}
            spikes = self._add(name, self._nir.LIF(**_filled(given, shape)), sources, shape)
            self._return(layer, spikes, into=name)
            return spikes
        of_current, of_membrane = (steps, 1.0) if is_soft else (of_synapse, steps)
        given |= {"tau_syn": of_current * self._dt, "w_in": of_current}
        given |= {"tau_mem": of_membrane * self._dt, "r": of_membrane}
        spikes = self._add(name, self._nir.CubaLIF(**_filled(given, shape)), sources, shape)
        if is_soft:
            self._subtract(spikes, -leak * threshold)
        has_synapse = is_soft and layer.synapse is not None
        self._return(layer, spikes, into=sources[0].node if has_synapse else name)
        return spikes

    def _return(self, layer: Layer, spikes: Tap, *, into: str) -> None:
        """Add recurrent connections; like every loop into neurons they act a timestep later."""
        conn, name = layer.recurrence, f"{spikes.node}_recurrent"
        if conn is None:
            return
        if conn.weight.dim() == 2:
            spikes = self._again(f"{spikes.node}_sent", spikes)
        back = self._mapped(name, conn, _array(conn.weight), spikes, None)
        self._edges.append((back.node, into))

    def _again(self, name: str, spikes: Tap) -> Tap:
        """Put a node between neurons and their loop.

        snnTorch takes a LIF and a Linear in a loop for its own recurrent layer, and then connects
        the input to the Linear.
        """
        between = self._nir.Flatten(
            start_dim=-1, end_dim=-1, input_type={"input": np.array(spikes.shape)}
        )
        return self._add(name, between, [spikes], spikes.shape)

    def _integrated(self, name: str, sources: Sequence[Tap], steps: Any) -> Tap:
        """Sum up currents with a decay, in a membrane that never fires."""
        shape = sources[0].shape
        given = {"tau": steps * self._dt, "r": steps, "v_leak": 0.0}
        return self._add(name, self._nir.LI(**_filled(given, shape)), sources, shape)

    def _subtract(self, spikes: Tap, weight: Any) -> None:
        """Add the soft reset: each spike subtracts from its neuron a timestep later.

        `weight` is a number, or one for each neuron or channel.
        """
        units = spikes.shape[0]
        own = np.eye(units, dtype=np.float32) * np.float32(weight).reshape(-1, 1)
        if len(spikes.shape) == 3:
            bias = np.zeros(units, np.float32)
            own = own[:, :, None, None]
            back = self._convolved(
                f"{spikes.node}_reset", own, bias, spikes, stride=(1, 1), padding=(0, 0)
            )
        else:
            again = self._again(f"{spikes.node}_again", spikes)
            linear = self._nir.Linear(weight=own)
            back = self._add(f"{spikes.node}_reset", linear, [again], spikes.shape)
        self._edges.append((back.node, spikes.node))


def _steps(decay: Any) -> Any:
    """Return the time constants of decays per timestep, in timesteps."""
    return 1 / np.maximum(1 - decay, 1 / ENDLESS_STEPS)


def _sides(signal: Tap, kernel: Sequence[int], stride: Size, padding: Size) -> list[int]:
    """Return height and width after windows of `kernel`."""
    axes = zip(signal.shape[1:], kernel, stride, padding, strict=True)
    return [(side + 2 * pad - window) // step + 1 for side, window, step, pad in axes]


def _trailing(values: Any, axes: int) -> Any:
    """Return values with axes of length 1 behind theirs."""
    return values.reshape(*values.shape, *[1] * (axes - values.ndim))


def _plain(name: str) -> str:
    return name.replace(".", "_")


def _array(tensor: Tensor) -> Any:
    return tensor.detach().cpu().to(torch.float32).contiguous().numpy()


def _filled(parameters: dict[str, Any], shape: tuple[int, ...]) -> dict[str, Any]:
    """Return one value per neuron, which nir's type check needs."""
    return {name: np.full(shape, value) for name, value in parameters.items()}


def _next_to(value: float, *, above: bool) -> Any:
    """Return the float32 just above (neurons fire above the threshold) or below (at it).

    By NIR a neuron fires above its threshold; in some simulators also at it. With this
    number both are right, except for a potential equal to it.
    """
    return np.nextafter(np.float32(value), np.float32(np.inf if above else -np.inf))


def neuron_names(network: Network, depth: int) -> Iterator[tuple[Layer, str]]:
    """Yield the layers of the graph of exit `depth`, each with the node of its neurons."""
    for index in range(depth):
        block = network.block(index)
        parts = [*block.units, block.head] if index + 1 == depth else [*block.units]
        for part in parts:
            for layer in part.modules():
                if isinstance(layer, Layer):
                    yield layer, _plain(layer.name)
