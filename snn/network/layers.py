"""Layers: populations of neurons and the connections that drive them.

Every tensor has time first: `time batch channels height width`, or
`time batch features`. Time may be 1 for a constant current.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from snn.network.connections import Connections, SubSample
from snn.network.encoder.eligibility import Eligibility
from snn.network.memory.synapse import Synapse
from snn.network.neurons import Lif
from snn.network.packing import Levels
from snn.network.rate_maps import RateMap

PACKED_SPIKES_PER_UNIT = 4
"""Inputs with more spikes per value of 1 are not packed, because unpacking may round."""

LEAST_PACKED_BYTES = 2**20
"""Spikes of finished blocks are packed from this size on: below, an operation costs more."""

LEAST_THRESHOLD = 1 / 64
"""Lower bound of a learned threshold, as a share of its initial value."""


class Observer(Protocol):
    """Receives inputs and outputs of every layer, one chunk of timesteps at a time."""

    def layer(self, layer: "Layer", inputs: Sequence[Tensor], spikes: Tensor) -> None:
        """Receive `inputs`, one per set of connections, and the spikes before dropout.

        Inputs of delayed connections begin earlier, see `Delays.joined`.
        """

    def readout(self, connections: "Connections", inputs: Tensor) -> None:
        """Receive `inputs` of connections to integrators, or of recurrent connections."""


class Dynamics(Protocol):
    """Replaces the forward pass of layers for a learning rule, one timestep at a time.

    Signals are linear in spikes: pools, skips and dropout masks act on them as on spikes.
    """

    def enter(self, x: Tensor) -> Tensor:
        """Begin a timestep with spikes or an image (1, batch, ...); return the first input."""

    def layer(self, layer: "Layer", inputs: list[Tensor], batch: "ForwardContext") -> Tensor:
        """Return the output signal of the layer, (1, batch, ...)."""

    def readout(self, readout: Any, x: Tensor, batch: "ForwardContext") -> Tensor:
        """Return the input of integrators for the signal `x`, (1, batch, classes)."""

    def held(self) -> list[Tensor]:
        """Return the tensors kept from one timestep to the next."""


class Firing(Protocol):
    """Replaces `Lif` for a learning rule that defines its own derivative of a spike."""

    def __call__(self, layer: "Layer", current: Tensor, v: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return spikes and state, equal to those of `layer.lif`."""


class Feedback(Protocol):
    """Turns the previous output of a block into input of its first layer."""

    def __call__(self, x: Tensor | None, like: Tensor) -> Tensor:
        """Return the input of the feedback connections; `x` is None at the first timestep."""


@dataclass
class ForwardContext:
    """State and options of one batch on its way through the network."""

    weights: dict["Connections", Tensor] = field(default_factory=dict)
    masks: dict["Layer", Tensor] = field(default_factory=dict)
    # (batch, ...), of layers their potentials before the last reset, and what their parts keep
    states: dict[nn.Module, Tensor] = field(default_factory=dict)
    is_constant: bool = False  # the drive is the same at every timestep
    constant: dict["Layer", Tensor] = field(default_factory=dict)  # constant currents
    returning: dict["Layer", Tensor] = field(default_factory=dict)  # feedback by first layer
    observer: Observer | None = None
    generator: torch.Generator | None = None  # draws dropout masks
    dynamics: Dynamics | None = None  # None: ordinary neurons
    fire: Firing | None = None  # None: the surrogate of the network
    is_packed: bool = False  # spikes are stored as bits for the backward pass
    spike: float = 1.0  # value of a spike: above 1 after dropout
    border_spike: float = 1.0  # value of a spike that enters a block
    gain: float = 1.0  # of the image and the biases: 1 / threshold_scale
    potentials: dict["Layer", list[Tensor]] = field(
        default_factory=dict
    )  # of code neurons, by chunk

    def weight(self, connections: "Connections") -> Tensor:
        """Return the effective weight, computed once per batch."""
        if connections not in self.weights:
            weight = connections.effective_weight()
            if weight.dim() == 4:
                # channels last: the output has the same order, so convolutions do not reorder it
                if weight.shape[1] == 1:  # fits both memory orders; torch assumes the other one
                    weight = weight.clone(memory_format=torch.channels_last)
                weight = weight.contiguous(memory_format=torch.channels_last)
            if connections.delays is not None and connections.delays.kind == "connections":
                weight = connections.delays.kernel(weight)
            self.weights[connections] = weight
        return self.weights[connections]

    def levels(self, connections: "Connections", x: Tensor) -> Levels | None:
        """Return the levels that inputs `x` are packed to, or None if they are not packed.

        Spikes that enter a block from finished ones are always packed, if they are large: no
        gradient goes back to them.
        """
        kind = connections.kind
        is_packed = self.is_packed or (
            kind == "border"
            and torch.is_grad_enabled()
            and not x.requires_grad
            and self.dynamics is None
            and x.nbytes >= LEAST_PACKED_BYTES
        )
        if not is_packed or kind == "image" or connections.spikes_per_unit > PACKED_SPIKES_PER_UNIT:
            return None
        spike = {"neurons": self.spike, "border": self.border_spike, "pool": 1.0}[kind]
        return Levels(spikes_per_unit=connections.spikes_per_unit, spike=spike)


class Layer(nn.Module):
    """A population of neurons and the connections whose summed currents drive it.

    The population has its own leak, threshold or both if `own` names them, starting from those
    of `lif`; they are trained (DIET-SNN, Rathi & Roy 2020) or set by a conversion. With `leaks`
    (neurons,) every neuron (in maps: every channel) has a leak of its own, which begins there.
    With a `rate_map` the layer can also run without time.

    With `own_thresholds` every neuron (in maps: every channel) has a threshold, relative to that
    of the population. They divide the currents, which is the same, so that a folded layer has
    them in its weights. They are trained, and with `balance` above 0 also moved by activity.

    A `synapse` stands between the current and the neurons. Through connections `recurrence` the
    spikes of the layer return to it a timestep later, so that it runs one timestep at a time.
    """

    leak: nn.Parameter | None
    threshold: nn.Parameter | None
    thresholds: Tensor | None

    def __init__(
        self,
        name: str,
        connections: Sequence[Connections],
        *,
        lif: Lif,
        skip: SubSample | None = None,
        dropout: float = 0.0,
        has_bias: bool = True,
        own: Collection[str] = (),
        leaks: Tensor | None = None,
        rate_map: RateMap | None = None,
        own_thresholds: bool = False,
        is_trained: bool = False,
        balance: float = 0.0,
        synapse: Synapse | None = None,
        recurrence: Connections | None = None,
    ) -> None:
        super().__init__()
        self.name, self.lif, self.dropout = name, lif, dropout
        self.synapse, self.recurrence = synapse, recurrence
        self.connections = nn.ModuleList(connections)
        self.skip = skip
        self.feedback: Feedback | None = None
        self.eligibility: Eligibility | None = None
        self.bias: nn.Parameter | None = None
        if has_bias:
            self.bias = nn.Parameter(torch.zeros(connections[0].weight.shape[0]))
        self.rate_map = rate_map
        self.balance = balance
        self._activity: Tensor | None = None  # of each neuron or channel since the last step
        thresholds = torch.ones(connections[0].weight.shape[0]) if own_thresholds else None
        if thresholds is not None and is_trained:
            self.thresholds = nn.Parameter(thresholds)
        else:
            self.register_buffer("thresholds", thresholds)
        if leaks is None and "leak" in own:
            leaks = torch.tensor(lif.leak)
        self.leak = None if leaks is None else nn.Parameter(leaks)
        self.threshold = nn.Parameter(torch.tensor(lif.threshold)) if "threshold" in own else None

    @property
    def sources(self) -> list[Connections]:
        """The sets of connections, feedback last."""
        return [part for part in self.connections if isinstance(part, Connections)]

    @property
    def arriving(self) -> list[Connections]:
        """All sets of connections into the layer, recurrent ones last."""
        return self.sources if self.recurrence is None else [*self.sources, self.recurrence]

    def forward(self, inputs: Sequence[Tensor], steps: int, batch: ForwardContext) -> Tensor:
        """Return the spikes of `steps` timesteps.

        `inputs`: one per set of connections, then one for the skip.
        """
        if self.feedback is not None:
            inputs = [*inputs, self.feedback(batch.returning.get(self), inputs[0])]
        if batch.dynamics is None:
            signal = self._fire(inputs, steps, batch)
        else:
            signal = batch.dynamics.layer(self, list(inputs), batch)
        if self.training and self.balance > 0:
            self._watch(signal)
        if self.training and self.dropout > 0:
            signal = signal * self._mask(signal, batch)
        if self.recurrence is not None and batch.dynamics is not None:
            batch.states[self.recurrence] = signal[0].detach()
        return signal

    def driving(
        self, inputs: Sequence[Tensor], batch: ForwardContext
    ) -> list[tuple[Connections, Tensor]]:
        """Return the sets of connections with their inputs (1, batch, ...), for a `Dynamics`.

        Recurrent ones have the signal of a timestep ago, without a gradient; at the first timestep
        they are left out.
        """
        pairs = list(zip(self.sources, inputs, strict=False))
        if self.recurrence is not None and self.recurrence in batch.states:
            pairs.append((self.recurrence, batch.states[self.recurrence].unsqueeze(0)))
        return pairs

    def _fire(self, inputs: Sequence[Tensor], steps: int, batch: ForwardContext) -> Tensor:
        inputs = self._joined(inputs, batch)
        current = self.current(inputs, batch)
        if current.shape[0] != steps:  # a constant current
            current = self._repeated(current, steps)
        if self.recurrence is None:
            spikes = self._spikes(current, batch)
        else:
            spikes = self._returning(self.recurrence, current, batch)
        if batch.observer is not None:
            batch.observer.layer(self, inputs, spikes)
        return spikes

    def _repeated(self, current: Tensor, steps: int) -> Tensor:
        """Return a constant current (1, batch, ...) for every timestep.

        In half precision its gradient keeps channels last. Single precision keeps what torch
        makes of it, channels first, with which batch norm is slow but has the sums, bit for bit,
        that earlier trainings had.
        """
        if current.dim() == 5 and self.sources and self.sources[0].trained_in != torch.float32:
            repeated: Tensor = _Repeated.apply(current, steps)  # type: ignore[no-untyped-call]
            return repeated
        return current.expand(steps, *current.shape[1:])

    def _spikes(self, current: Tensor, batch: ForwardContext) -> Tensor:
        """Return the spikes for a current (time, batch, ...), and keep the states."""
        if self.synapse is not None:
            before = batch.states.get(self.synapse)
            current, batch.states[self.synapse] = self.synapse(current, before)
        left = batch.states.get(self)
        if batch.fire is None:
            spikes, left = self.lif(current, left, leak=self.leak, threshold=self.threshold)
        else:
            spikes, left = batch.fire(self, current, left)
        batch.states[self] = left
        return spikes

    def _returning(self, conn: Connections, current: Tensor, batch: ForwardContext) -> Tensor:
        """Return the same where the spikes of a timestep return with the next current.

        A neuron that dropout silences is silent for its own layer too.
        """
        weight, spikes, returned = batch.weight(conn), [], []
        sent = batch.states.get(conn)  # (batch, ...) at the last timestep; None: at rest
        for x in current.split(1):
            returned.append(torch.zeros_like(x) if sent is None else sent.unsqueeze(0))
            if sent is not None:
                back = returned[-1]
                x = x + self.scaled(conn(back, weight, levels=batch.levels(conn, back)))
            spikes.append(self._spikes(x, batch))
            masked = self.training and self.dropout > 0
            sent = (spikes[-1] * self._mask(spikes[-1], batch) if masked else spikes[-1])[0]
        assert sent is not None
        batch.states[conn] = sent
        if batch.observer is not None:
            batch.observer.readout(conn, torch.cat(returned))
        return torch.cat(spikes)

    def _joined(self, inputs: Sequence[Tensor], batch: ForwardContext) -> list[Tensor]:
        """Return inputs, those of delayed connections after what is still on its way."""
        joined = list(inputs)
        for place, conn in enumerate(self.sources):
            if conn.delays is not None:
                before = batch.states.get(conn.delays)
                joined[place], batch.states[conn.delays] = conn.delays.joined(inputs[place], before)
        return joined

    @torch.no_grad()
    def _watch(self, signal: Tensor) -> None:
        active = signal.detach().sum(dim=(0, 1, *range(3, signal.dim())))
        self._activity = active if self._activity is None else self._activity + active

    def scaled(self, current: Tensor) -> Tensor:
        """Return a current (..., neurons) or (..., channels, height, width) over thresholds."""
        if self.thresholds is None:
            return current
        return current / self.thresholds.view(-1, *[1] * (self.sources[0].weight.dim() - 2))

    @torch.no_grad()
    def _balance(self) -> None:
        """Raise the thresholds of busy neurons and lower those of silent ones.

        A neuron with the share p of the spikes of its N neurons moves by balance * (N p - 1):
        the sum is conserved (Lee, Delbruck & Pfeiffer 2016, here as the mean over the spikes
        since the last step).
        """
        if self._activity is None or self.thresholds is None:
            return
        total = self._activity.sum()
        share = self._activity / total.clamp(min=1e-30) * len(self.thresholds) - 1
        self.thresholds.add_(share * (total > 0), alpha=self.balance)
        self._activity = None

    @torch.no_grad()
    def confine(self) -> None:
        """Balance thresholds; clamp learned leak and thresholds to their valid range."""
        if self.thresholds is not None:
            self._balance()
            self.thresholds.clamp_(min=LEAST_THRESHOLD)
        if self.leak is not None:
            self.leak.clamp_(0, 1)
        if self.threshold is not None:
            self.threshold.clamp_(min=LEAST_THRESHOLD * self.lif.threshold)

    def current(self, inputs: Sequence[Tensor], batch: ForwardContext) -> Tensor:
        """Return the current of the neurons; time is 1 if all inputs are constant."""
        if self.feedback is None:
            return self.scaled(self._driven(inputs, batch))
        conn = self.sources[-1]
        returned: Tensor = conn(inputs[-1], batch.weight(conn))
        return self.scaled(self._driven(inputs[:-1], batch) + returned)

    def _driven(self, inputs: Sequence[Tensor], batch: ForwardContext) -> Tensor:
        """Return the current without feedback."""
        if self in batch.constant:
            return batch.constant[self]
        first, *others = self.sources
        current = self._from(first, inputs[0], batch, self.bias)
        for conn, x in zip(others, inputs[1:], strict=False):
            current = current + self._from(conn, x, batch)
        if self.skip is not None:
            current = current + self.skip(inputs[-1])
        if batch.is_constant and self.sources[0].is_constant:
            batch.constant[self] = current
        return current

    def _from(
        self, conn: Connections, x: Tensor, batch: ForwardContext, bias: Tensor | None = None
    ) -> Tensor:
        if batch.gain != 1:
            x = x * batch.gain if conn.kind == "image" else x
            bias = None if bias is None else bias * batch.gain
        current: Tensor = conn(x, batch.weight(conn), bias, levels=batch.levels(conn, x))
        return current

    def _mask(self, spikes: Tensor, batch: ForwardContext) -> Tensor:
        """Return the dropout mask, one per image for all timesteps (Lee et al. 2020)."""
        if self not in batch.masks:
            kept = torch.empty_like(spikes[0]).bernoulli_(
                1 - self.dropout, generator=batch.generator
            )
            batch.masks[self] = kept / (1 - self.dropout)
        return batch.masks[self]


class _Repeated(torch.autograd.Function):
    """Maps (1, batch, channels, height, width) at every timestep, with a gradient channels last."""

    @staticmethod
    def forward(ctx: Any, current: Tensor, steps: int) -> Tensor:
        return current.expand(steps, *current.shape[1:])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        last = grad.permute(0, 1, 3, 4, 2).sum(dim=0, keepdim=True)
        return last.permute(0, 1, 4, 2, 3), None


class PoolNeurons(Layer):
    """Neurons that turn a pooled map into spikes again, one per value (Lee et al. 2020).

    They have no leak and no connections: the pooled value is the current. Each spike that
    arrives costs one accumulate.
    """

    def __init__(self, name: str, *, lif: Lif, spikes_per_unit: int) -> None:
        super().__init__(name, [], lif=lif, has_bias=False)
        self.spikes_per_unit = spikes_per_unit

    def current(self, inputs: Sequence[Tensor], batch: ForwardContext) -> Tensor:
        """Return the pooled map."""
        del batch
        return inputs[0]
