"""Other people's simulators of NIR graphs, each through its own importer, on this processor.

A run gives the outputs (time, batch, ...) and what each node of the graph sent at each
timestep, by name, like `snn.interchange.simulation` does.
"""

import contextlib
import importlib.util
import io
import logging
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

DT_S = 1e-4

Sent = dict[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class Simulator:
    """A library that imports NIR."""

    name: str
    packages: tuple[str, ...]
    load: Callable[[Any], nn.Module]

    @property
    def missing(self) -> tuple[str, ...]:
        """Packages that are not installed."""
        return tuple(p for p in self.packages if importlib.util.find_spec(p) is None)

    @torch.no_grad()
    def run(self, graph: Any, drive: Tensor, *, timesteps: int) -> tuple[Tensor, Sent]:
        """Drive a graph by `drive`, (time, batch, ...) or (1, batch, ...) where it is constant.

        Raises whatever the library raises of graphs that it cannot run.
        """
        with _quiet():
            network = self.load(graph)
            sent: dict[str, list[Tensor]] = defaultdict(list)
            for name, part in network.named_children():
                part.register_forward_hook(_keeper(sent[name]))
            state, outputs = None, []
            for step in range(timesteps):
                x = drive[min(step, len(drive) - 1)]
                output, state = network(x) if state is None else network(x, state)
                outputs.append(output)
        return torch.stack(outputs), {name: torch.stack(x) for name, x in sent.items() if x}


def _keeper(into: list[Tensor]) -> Callable[[nn.Module, Any, Any], None]:
    def keep(module: nn.Module, inputs: Any, output: Any) -> None:
        value = output[0] if isinstance(output, tuple) else output
        into.append(value.detach().clone())

    return keep


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without what importers print and log."""
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            with contextlib.suppress(ImportError):
                from loguru import logger

                logger.disable("spikingjelly")
            yield
    finally:
        logging.disable(logging.NOTSET)


def _snntorch(graph: Any) -> nn.Module:
    from snntorch.import_nir import import_from_nir

    network: nn.Module = import_from_nir(graph)
    return network


def _spikingjelly(graph: Any) -> nn.Module:
    from spikingjelly.activation_based import nir_exchange

    network: nn.Module = nir_exchange.import_from_nir(graph, dt=DT_S)
    return network


def _norse(graph: Any) -> nn.Module:
    import norse.torch

    network: nn.Module = norse.torch.from_nir(graph, dt=DT_S)
    return network


def _norse_by_nirtorch(graph: Any) -> nn.Module:
    """Norse's neurons, in NIRTorch's newer executor, which Norse 1.1.0 does not use yet."""
    import nir
    import nirtorch
    from norse.torch.utils.import_nir import _import_norse_module

    kinds = (nir.LIF, nir.CubaLIF, nir.Affine, nir.Linear, nir.Conv2d, nir.Flatten)
    network: nn.Module = nirtorch.nir_to_torch(
        graph, dict.fromkeys(kinds, lambda node: _import_norse_module(node, dt=DT_S))
    )
    return network


SIMULATORS = {
    simulator.name: simulator
    for simulator in (
        Simulator(name="snntorch", packages=("nir", "nirtorch", "snntorch"), load=_snntorch),
        Simulator(
            name="spikingjelly", packages=("nir", "nirtorch", "spikingjelly"), load=_spikingjelly
        ),
        Simulator(name="norse", packages=("nir", "nirtorch", "norse"), load=_norse),
        Simulator(
            name="norse-nirtorch",
            packages=("nir", "nirtorch", "norse"),
            load=_norse_by_nirtorch,
        ),
    )
}
