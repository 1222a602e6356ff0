"""Running a NIR graph, whoever wrote it, by NIR's equations in Euler steps.

What arrives over a loop arrives a timestep later: a loop is cut where it enters
neurons. Beside every value goes the number of spikes that it is made of, through pools
and sums, so that operations are counted spike by spike as in our own networks.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from snn.interchange.description import InterchangeError
from snn.interchange.files import nir_library
from snn.interchange.nodes import (
    INTEGRATING,
    KNOWN,
    LINEAR,
    SPIKING,
    State,
    Weights,
    kind_of,
    state_of,
)


@dataclass(frozen=True, kw_only=True)
class Signal:
    """What a node sends at one timestep."""

    value: Tensor  # (batch, ...)
    spikes: Tensor | None  # spikes in each value; None where values are no spikes
    is_constant: bool = False  # the same at every timestep


@dataclass
class Spent:
    """What one batch cost, per node; sums over timesteps."""

    accumulates: dict[str, Tensor] = field(default_factory=dict)  # (batch,)
    spikes: dict[str, Tensor] = field(default_factory=dict)  # (batch,)
    macs: dict[str, float] = field(default_factory=dict)  # per image


class Simulation:
    """A graph made ready to run. Raises InterchangeError naming all that cannot be."""

    def __init__(self, graph: Any, *, dt_s: float) -> None:
        self.dt_s = dt_s
        self.nodes, edges = _flattened(graph)
        unknown = sorted({k for k in map(kind_of, self.nodes.values()) if k not in KNOWN})
        if unknown:
            raise InterchangeError(
                f"it has nodes that are not run here: {', '.join(unknown)}; "
                f"those that are: {', '.join(KNOWN)}"
            )
        self.sources: dict[str, list[str]] = {name: [] for name in self.nodes}
        for source, target in edges:
            self.sources[target].append(source)
        self.output = self._single("Output")
        self.input = self._single("Input")
        self.order = self._ordered()
        self.resets = frozenset(self._resets())
        self._weights = {
            name: Weights(node) for name, node in self.nodes.items() if kind_of(node) in LINEAR
        }
        self._places = {name: place for place, name in enumerate(self.order)}

    def _single(self, kind: str) -> str:
        names = [name for name, node in self.nodes.items() if kind_of(node) == kind]
        if len(names) != 1:
            raise InterchangeError(f"it must have one {kind} node, got {len(names)}")
        return names[0]

    @property
    def populations(self) -> list[str]:
        """Nodes that are spiking neurons, in the order in which a spike meets them."""
        return [name for name in self.order if kind_of(self.nodes[name]) in SPIKING]

    @property
    def connections(self) -> dict[str, Weights]:
        """Nodes with weights, what only resets neurons left away."""
        return {name: w for name, w in self._weights.items() if name not in self.resets}

    def targets(self, name: str) -> list[str]:
        """Nodes that read `name`."""
        return [target for target, sources in self.sources.items() if name in sources]

    def _ordered(self) -> list[str]:
        """Every node behind what it reads; loops are cut where they enter neurons."""
        waiting = {name: set(sources) for name, sources in self.sources.items()}
        order: list[str] = []
        while waiting:
            ready = [name for name, of in waiting.items() if not of]
            if not ready:
                ready = self._cut(waiting, order)
            for name in ready:
                del waiting[name]
                order.append(name)
            for of in waiting.values():
                of.difference_update(ready)
        return order

    def _cut(self, waiting: Mapping[str, set[str]], done: Sequence[str]) -> list[str]:
        """The neurons that have to wait only for what they send themselves."""
        stateful = (*SPIKING, *INTEGRATING, "Delay")
        for name in waiting:
            begun = any(source in done for source in self.sources[name])
            if begun and kind_of(self.nodes[name]) in stateful:
                return [name]
        for name in waiting:
            if kind_of(self.nodes[name]) in stateful:
                return [name]
        raise InterchangeError(
            f"it has a loop without neurons, of {', '.join(sorted(waiting))}, so that nothing can "
            "be computed first"
        )

    def _resets(self) -> Iterator[str]:
        """Connections of neurons each with itself alone: what a spike takes off its own neuron."""
        for name, node in self.nodes.items():
            if kind_of(node) not in LINEAR or len(self.sources[name]) != 1:
                continue
            if not _is_diagonal(node):
                continue
            (source,) = self.sources[name]
            while kind_of(self.nodes[source]) == "Flatten" and len(self.sources[source]) == 1:
                (source,) = self.sources[source]
            if kind_of(self.nodes[source]) in SPIKING and self.targets(name) == [source]:
                yield name

    @torch.no_grad()
    def run(
        self,
        drive: Tensor,
        *,
        timesteps: int,
        watch: Callable[[str, Tensor], None] | None = None,
    ) -> tuple[Tensor, bool, Spent]:
        """Outputs (time, batch, ...), whether they are spikes, and what was spent.

        `drive` is (time, batch, ...) or (1, batch, ...) where it never changes; whole
        numbers in it are spikes. `watch` sees the value of every node at every timestep.
        """
        batch, spent = drive.shape[1], Spent()
        counted = bool((drive == drive.round()).all())
        states = {name: state_of(node, self.dt_s) for name, node in self.nodes.items()}
        last: dict[str, Signal] = {}
        outputs = []
        for step in range(timesteps):
            x = drive[min(step, len(drive) - 1)]
            now: dict[str, Signal] = {}
            for name in self.order:
                if name == self.input:
                    spikes = x.abs() if counted else None
                    now[name] = Signal(value=x, spikes=spikes, is_constant=len(drive) == 1)
                else:
                    arriving = self._arriving(name, now, last)
                    now[name] = self._sent(name, arriving, states[name], spent, batch)
                if watch is not None:
                    watch(name, now[name].value)
            last = now
            outputs.append(now[self.output].value)
        sent = kind_of(self.nodes[self.sources[self.output][0]]) in SPIKING
        return torch.stack(outputs), sent, spent

    def _arriving(
        self, name: str, now: Mapping[str, Signal], last: Mapping[str, Signal]
    ) -> list[tuple[str, Signal]]:
        found = []
        for source in self.sources[name]:
            if self._places[source] < self._places[name]:
                found.append((source, now[source]))
            elif source in last:  # over a loop, a timestep later
                found.append((source, last[source]))
        return found

    def _sent(
        self,
        name: str,
        arriving: Sequence[tuple[str, Signal]],
        state: State,
        spent: Spent,
        batch: int,
    ) -> Signal:
        kind = kind_of(self.nodes[name])
        total = _summed([signal for _, signal in arriving])
        if kind in LINEAR:
            return self._mapped(name, total, spent, batch)
        if kind in (*SPIKING, *INTEGRATING):
            for _, signal in arriving:  # without weights: an accumulate per spike
                if signal.spikes is not None:
                    _add(spent.accumulates, name, signal.spikes.flatten(1).sum(dim=1))
            value = state(total.value)
            if kind in INTEGRATING:
                return Signal(value=value, spikes=None)
            _add(spent.spikes, name, value.flatten(1).sum(dim=1, dtype=torch.float64))
            return Signal(value=value, spikes=value)
        if kind == "Output":
            return total
        spikes = None if total.spikes is None else state.counted(total.spikes)
        is_constant = total.is_constant and kind != "Delay"
        return Signal(value=state(total.value), spikes=spikes, is_constant=is_constant)

    def _mapped(self, name: str, total: Signal, spent: Spent, batch: int) -> Signal:
        weights = self._weights[name]
        value = weights(total.value)
        if name not in self.resets:
            if total.spikes is not None:
                _add(spent.accumulates, name, weights.reached(total.spikes))
            elif not (total.is_constant and name in spent.macs):
                used = float(weights.reached(torch.ones_like(total.value[:1]))[0])
                spent.macs[name] = spent.macs.get(name, 0.0) + used
                _add(spent.accumulates, name, torch.zeros(batch, dtype=torch.float64))
        return Signal(value=value, spikes=None, is_constant=total.is_constant)


def _summed(signals: Sequence[Signal]) -> Signal:
    """The sum of what arrives; spikes where all of it is."""
    value, counts = signals[0].value, signals[0].spikes
    for signal in signals[1:]:
        value = value + signal.value
        counts = None if counts is None or signal.spikes is None else counts + signal.spikes
    return Signal(value=value, spikes=counts, is_constant=all(s.is_constant for s in signals))


def _add(sums: dict[str, Tensor], name: str, more: Tensor) -> None:
    more = more.to(torch.float64)
    sums[name] = sums[name] + more if name in sums else more


def _flattened(graph: Any) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """Nodes and edges with the graphs inside opened."""
    nir = nir_library()
    nodes: dict[str, Any] = {}
    edges: list[tuple[str, str]] = []
    ends: dict[str, tuple[str, str]] = {}  # of a graph inside: its input and its output
    for name, node in graph.nodes.items():
        if not isinstance(node, nir.NIRGraph):
            nodes[name] = node
            continue
        inner, inner_edges = _flattened(node)
        into = [n for n, part in inner.items() if kind_of(part) == "Input"]
        out = [n for n, part in inner.items() if kind_of(part) == "Output"]
        if len(into) != 1 or len(out) != 1:
            raise InterchangeError(f"its graph {name!r} must have one Input and one Output node")
        for inside, part in inner.items():
            passing = inside in (into[0], out[0])
            nodes[f"{name}.{inside}"] = nir.Scale(scale=np.ones(1)) if passing else part
        edges += [(f"{name}.{a}", f"{name}.{b}") for a, b in inner_edges]
        ends[name] = (f"{name}.{into[0]}", f"{name}.{out[0]}")
    for source, target in graph.edges:
        start = ends[source][1] if source in ends else source
        end = ends[target][0] if target in ends else target
        edges.append((start, end))
    return nodes, list(dict.fromkeys(edges))


def _is_diagonal(node: Any) -> bool:
    """Whether each output depends on the input of the same place alone, without a bias."""
    weight = np.asarray(node.weight)
    if np.any(np.asarray(getattr(node, "bias", 0.0))):
        return False
    if weight.ndim > 2:
        if any(side != 1 for side in weight.shape[2:]) or np.any(np.asarray(node.stride) != 1):
            return False
        weight = weight.reshape(weight.shape[:2])
    is_square = weight.shape[0] == weight.shape[1]
    return bool(is_square and not np.any(weight - np.diag(np.diag(weight))))
