"""Simulation of a NIR graph of any origin: NIR's equations in Euler steps.

Connections of a loop into neurons act a timestep later. With each value goes the number of
spikes that it contains, through pools and sums, so that operations are counted spike by
spike, as in our own networks.
"""

import functools
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
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
    STATEFUL,
    State,
    Weights,
    faults_of,
    kind_of,
    state_of,
)

Edge = tuple[str, str]  # source and target


@dataclass(frozen=True, kw_only=True)
class Signal:
    """The output of a node at one timestep."""

    value: Tensor  # (batch, ...)
    spikes: Tensor | None  # number of spikes in each value; None if values are not spikes
    is_constant: bool = False  # the same at every timestep


@dataclass
class Spent:
    """The operations and spikes of one batch by node, summed over timesteps."""

    accumulates: dict[str, Tensor] = field(default_factory=dict)  # (batch,)
    spikes: dict[str, Tensor] = field(default_factory=dict)  # (batch,)
    macs: dict[str, float] = field(default_factory=dict)  # per image


class Simulation:
    """A graph that can run. Raises InterchangeError with every fault of it."""

    def __init__(self, graph: Any, *, dt_s: float) -> None:
        self.dt_s = dt_s
        self.nodes, edges = _flattened(graph)
        self._check_nodes()
        self.sources: dict[str, list[str]] = {name: [] for name in self.nodes}
        for source, target in edges:
            self.sources[target].append(source)
        self.output = self._single("Output")
        self.input = self._single("Input")
        self._delayed = frozenset(self._loop_edges(self.nodes))
        self.order = self._ordered()
        self.resets = frozenset(self._resets())
        self._returning = frozenset(
            name
            for name, node in self.nodes.items()
            if kind_of(node) in LINEAR
            and (own := self.targets(name))
            and all((name, t) in self._delayed for t in own)
        )
        self._weights = {
            name: Weights(node) for name, node in self.nodes.items() if kind_of(node) in LINEAR
        }

    def _check_nodes(self) -> None:
        unknown = sorted({k for k in map(kind_of, self.nodes.values()) if k not in KNOWN})
        if unknown:
            raise InterchangeError(
                f"it has nodes of kinds that cannot be run: {', '.join(unknown)}; "
                f"known: {', '.join(KNOWN)}"
            )
        faults = [
            f"node {name!r}: {fault}"
            for name, node in self.nodes.items()
            for fault in faults_of(node, self.dt_s)
        ]
        if faults:
            raise InterchangeError("\n".join(faults))

    def _single(self, kind: str) -> str:
        names = [name for name, node in self.nodes.items() if kind_of(node) == kind]
        if len(names) != 1:
            listed = f" ({', '.join(names)})" if names else ""
            end = "target" if kind == "Output" else "source"
            raise InterchangeError(
                f"it must have one {kind} node, got {len(names)}{listed}; a node without a {end} "
                f"counts as one: connect it or remove it"
            )
        return names[0]

    @property
    def populations(self) -> list[str]:
        """Nodes of spiking neurons, in the order in which a spike reaches them."""
        return [name for name in self.order if kind_of(self.nodes[name]) in SPIKING]

    @property
    def connections(self) -> dict[str, Weights]:
        """Nodes with weights, without those that only reset neurons."""
        return {name: w for name, w in self._weights.items() if name not in self.resets}

    def targets(self, name: str) -> list[str]:
        """Return the nodes that `name` sends to."""
        return [target for target, sources in self.sources.items() if name in sources]

    def _loop_edges(self, part: Collection[str]) -> Iterator[Edge]:
        """Yield the edges within `part` that act a timestep later, by structure and no name.

        Loops lie within strongly connected components. Each is cut in front of the stateful
        nodes that the rest of the graph reaches first; the components that then remain are
        cut in the same way.
        """
        reached = {name: self._reached(name, part) for name in part}
        done: set[str] = set()
        for name in part:
            if name in done or name not in reached[name]:
                continue
            component = {other for other in reached[name] if name in reached[other]}
            done |= component
            heads = self._heads(component)
            yield from (
                (source, head)
                for head in heads
                for source in self.sources[head]
                if source in component
            )
            yield from self._loop_edges(component - heads)

    def _reached(self, start: str, part: Collection[str]) -> set[str]:
        """Return the nodes of `part` with a path of at least one edge from `start`."""
        found: set[str] = set()
        waiting = [start]
        while waiting:
            new = [n for n in self._targets[waiting.pop()] if n in part and n not in found]
            found.update(new)
            waiting += new
        return found

    @functools.cached_property
    def _targets(self) -> dict[str, list[str]]:
        return {name: self.targets(name) for name in self.nodes}

    def _heads(self, component: set[str]) -> set[str]:
        """Return the stateful nodes of a component with the fewest edges from outside of it."""
        stateful = {n for n in component if kind_of(self.nodes[n]) in STATEFUL}
        if not stateful:
            raise InterchangeError(
                f"it has a loop without neurons ({', '.join(sorted(component))}), so that no "
                "node can be computed first"
            )
        level = {n for n in component if not component.issuperset(self.sources[n])}
        seen = set(level)
        while level and not level & stateful:
            level = {t for n in level for t in self._targets[n] if t in component} - seen
            seen |= level
        return level & stateful or stateful

    def _ordered(self) -> list[str]:
        """Return the nodes, each after its sources of the same timestep."""
        waiting = {
            name: {source for source in sources if (source, name) not in self._delayed}
            for name, sources in self.sources.items()
        }
        order: list[str] = []
        while waiting:
            ready = [name for name, sources in waiting.items() if not sources]
            for name in ready:
                del waiting[name]
            for sources in waiting.values():
                sources.difference_update(ready)
            order += ready
        return order

    def _resets(self) -> Iterator[str]:
        """Yield connections of each neuron only with itself: the soft reset of our graphs."""
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
        """Return the outputs (time, batch, ...), whether they are spikes, and the operations.

        `drive` is (time, batch, ...), or (1, batch, ...) if it is constant; if all of its
        values are whole numbers they are spikes. `watch` is called with the name and the
        value of every node at every timestep.
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
                    arriving = self._arriving(name, now, last) or [self._silence(name, batch)]
                    # what returns after the last timestep is never added
                    is_lost = step + 1 == timesteps and name in self._returning
                    into = Spent() if is_lost else spent
                    now[name] = self._sent(name, arriving, states[name], into, batch)
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
            if (source, name) not in self._delayed:
                found.append((source, now[source]))
            elif source in last:
                found.append((source, last[source]))
        return found

    def _silence(self, name: str, batch: int) -> tuple[str, Signal]:
        """Return the input of a node without any, as at the first timestep of a loop."""
        shape = [int(side) for side in np.atleast_1d(self.nodes[name].input_type["input"])]
        zeros = torch.zeros(batch, *shape)
        return name, Signal(value=zeros, spikes=zeros)

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
            for _, signal in arriving:  # no weights between: an accumulate per spike
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
    """Return the sum of signals; it counts spikes if all of them do."""
    value, counts = signals[0].value, signals[0].spikes
    for signal in signals[1:]:
        value = value + signal.value
        counts = None if counts is None or signal.spikes is None else counts + signal.spikes
    return Signal(value=value, spikes=counts, is_constant=all(s.is_constant for s in signals))


def _add(sums: dict[str, Tensor], name: str, more: Tensor) -> None:
    more = more.to(torch.float64)
    sums[name] = sums[name] + more if name in sums else more


def _flattened(graph: Any) -> tuple[dict[str, Any], list[Edge]]:
    """Return the nodes and edges of a graph, those of nested graphs included."""
    nir = nir_library()
    nodes: dict[str, Any] = {}
    edges: list[Edge] = []
    ends: dict[str, Edge] = {}  # input and output node of each nested graph
    taken = set(graph.nodes)
    for name, node in graph.nodes.items():
        if not isinstance(node, nir.NIRGraph):
            nodes[name] = node
            continue
        inner, inner_edges = _flattened(node)
        into = [n for n, part in inner.items() if kind_of(part) == "Input"]
        out = [n for n, part in inner.items() if kind_of(part) == "Output"]
        if len(into) != 1 or len(out) != 1:
            raise InterchangeError(
                f"its graph {name!r} must have one Input and one Output node, got {len(into)} "
                f"and {len(out)}"
            )
        prefix = f"{name}."
        while any(prefix + inside in taken for inside in inner):
            prefix += "."
        taken.update(prefix + inside for inside in inner)
        for inside, part in inner.items():
            passing = inside in (into[0], out[0])
            nodes[prefix + inside] = nir.Scale(scale=np.ones(1)) if passing else part
        edges += [(prefix + a, prefix + b) for a, b in inner_edges]
        ends[name] = (prefix + into[0], prefix + out[0])
    for source, target in graph.edges:
        start = ends[source][1] if source in ends else source
        end = ends[target][0] if target in ends else target
        edges.append((start, end))
    return nodes, list(dict.fromkeys(edges))


def _is_diagonal(node: Any) -> bool:
    """Return whether each output depends only on the input with its index, without a bias."""
    weight = np.asarray(node.weight)
    if np.any(np.asarray(getattr(node, "bias", 0.0))):
        return False
    if weight.ndim > 2:
        if any(side != 1 for side in weight.shape[2:]) or np.any(np.asarray(node.stride) != 1):
            return False
        weight = weight.reshape(weight.shape[:2])
    is_square = weight.shape[0] == weight.shape[1]
    if not is_square or not np.all(np.diag(weight)):
        return False
    return not np.any(weight - np.diag(np.diag(weight)))
