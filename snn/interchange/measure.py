"""Metrics of a NIR graph on labelled images, counted as for our own networks."""

import math
import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from snn.data.encoding import CONSTANT
from snn.evaluation.recording import input_spikes
from snn.interchange.description import CODE, KEY, Description, InterchangeError, Measured
from snn.interchange.nodes import INTEGRATING, kind_of
from snn.interchange.simulation import Simulation, Spent
from snn.network.cost import bias_bytes, weight_bytes
from snn.network.readout import integrated
from snn.network.trained import Images
from snn.settings.config import RunConfig
from snn.settings.measurement import LayerReport, energy_nj
from snn.settings.setting import counted


def description_of(graph: Any) -> Description | None:
    """Return how to run a graph of ours; None for another graph. Raises InterchangeError."""
    text = (graph.metadata or {}).get(KEY)
    if text is None:
        return None
    return Description.from_json(text.decode() if isinstance(text, bytes) else str(text))


def run_settings(about: Description) -> RunConfig:
    """Return a config with the images and the encoding that a graph is run on."""
    return RunConfig(
        dataset=about.dataset,
        encoding=about.encoding,
        timesteps=about.trained_timesteps,
        seed=about.seed,
        validation_fraction=about.validation_fraction,
        train_images=about.train_images,
        **about.cut,
    )


def measure(graph: Any, images: Images, about: Description) -> Measured:
    """Run a graph on images as `about` says. Raises InterchangeError."""
    if about.readout == CODE:
        raise InterchangeError(
            "is an encoder: its outputs are potentials of code neurons, which fire at random and "
            "are read by a decoder, for which NIR has no nodes; evaluate the exported folder"
        )
    simulation = Simulation(graph, dt_s=about.dt_s)
    shape = tuple(int(side) for side in simulation.nodes[simulation.input].input_type["input"])
    is_flat = _is_flat(shape, tuple(images.images.shape[-3:]), about.dataset)
    tally, correct, events = _Tally(simulation), 0, 0.0
    is_constant = about.encoding in CONSTANT
    for drive, labels in images.batches(run_settings(about)):
        x = drive[: about.timesteps]
        events += float(input_spikes(x, len(x), is_constant)[-1].sum())
        x = x.flatten(2) if is_flat else x
        outputs, are_spikes, spent = _run(simulation, x, about.timesteps)
        decided = _decided(outputs, about, are_spikes=are_spikes)
        correct += int((decided == labels).sum())
        tally.add(spent)
    count = len(images.labels)
    metrics = {
        "accuracy": correct / count,
        "input_events": events / count,
        "latency_ms": float(images.seen_ms(run_settings(about))[about.timesteps - 1].mean()),
        "code_bits": math.nan,  # an encoder is not measured
        "distortion": math.nan,
        **tally.metrics(count, about),
    }
    notes = []
    if simulation.populations and metrics["spikes_per_inference"] == 0:
        notes.append(
            f"no neuron spiked in {counted(about.timesteps, 'timestep')} of {about.dt_s:g} s; the "
            "graph may need another timestep: set it with --dt"
        )
    layers = tally.layers(count, about)
    return Measured(images=count, metrics=metrics, layers=layers, notes=tuple(notes))


def _run(simulation: Simulation, x: Tensor, timesteps: int) -> tuple[Tensor, bool, Spent]:
    try:
        with warnings.catch_warnings():  # torch's hints on speed name lines of ours
            warnings.simplefilter("ignore", UserWarning)
            return simulation.run(x, timesteps=timesteps)
    except RuntimeError as error:  # of torch, for shapes that do not match
        reason = (str(error).splitlines() or [""])[0]
        raise InterchangeError(f"it cannot be run: {reason}") from error


def _is_flat(shape: tuple[int, ...], image: tuple[int, ...], dataset: str) -> bool:
    """Return whether images enter as vectors. Raises InterchangeError for other shapes."""
    if shape == image:
        return False
    if shape == (math.prod(image),):
        return True
    raise InterchangeError(
        f"its input has shape {_times(shape)}, but images of {dataset} have shape "
        f"{_times(image)}; choose the data set that it was made for with --dataset"
    )


def _times(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))


def _decided(outputs: Tensor, about: Description, *, are_spikes: bool) -> Tensor:
    """Return labels (batch,) from outputs (time, batch, outputs)."""
    leak = 1.0 if are_spikes else about.readout_leak
    total = integrated(outputs.flatten(2), leak=leak)
    needed = len(about.classes) * about.votes
    if total.shape[1] != needed:
        raise InterchangeError(
            f"it has {total.shape[1]} outputs, but {about.dataset} needs {needed}, "
            f"{about.votes} for each of {len(about.classes)} classes; choose the data set that it "
            "was made for with --dataset"
        )
    if not bool(torch.isfinite(total).all()):
        raise InterchangeError("its outputs become infinite or nan, so that no class is predicted")
    votes = total.unflatten(1, (len(about.classes), about.votes)).mean(dim=2)
    return torch.tensor(about.classes)[votes.argmax(dim=1)]


class _Tally:
    """Sums of operations and spikes over batches."""

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation
        self._accumulates: dict[str, float] = {}
        self._spikes: dict[str, float] = {}
        self._macs: dict[str, float] = {}
        self._sizes = {
            name: _size(simulation.nodes[name].output_type) for name in simulation.populations
        }

    def add(self, spent: Spent) -> None:
        """Add the operations and spikes of one batch."""
        for sums, more in (
            (self._accumulates, spent.accumulates),
            (self._spikes, spent.spikes),
        ):
            for name, values in more.items():
                sums[name] = sums.get(name, 0.0) + float(values.sum())
        self._macs.update(spent.macs)

    def metrics(self, count: int, about: Description) -> dict[str, float]:
        """Return the metrics of operations, spikes and connections."""
        weights = self._simulation.connections.values()
        possible = sum(part.weight.numel() for part in weights)
        alive = sum(int(torch.count_nonzero(part.weight)) for part in weights)
        biases = [part.bias for part in weights if part.bias is not None]
        stored = about.constant_bytes + sum(weight_bytes(part.weight) for part in weights)
        stored += sum(bias_bytes(bias) for bias in biases)
        ops = sum(self._accumulates.values()) / count
        macs = sum(self._macs.values())
        steps = about.timesteps
        return {
            "synaptic_ops": ops,
            "macs": macs,
            "est_energy_nj": energy_nj(ops, macs),
            "spikes_per_inference": sum(self._spikes.values()) / count,
            "latency_steps": float(steps * len(self._sizes)),
            "mean_timesteps": float(steps),
            "mean_blocks": float(about.exit),
            "model_bytes": float(stored),
            "connectivity": alive / possible if possible else 1.0,
            "parameters": float(possible + sum(bias.numel() for bias in biases)),
        }

    def layers(self, count: int, about: Description) -> tuple[LayerReport, ...]:
        """Return a report per node of neurons, with the weights into it; and of the readout."""
        return tuple(
            self._layer(name, self._driving(name), count, about)
            for name in (*self._simulation.populations, self._simulation.output)
            if name in self._sizes or self._driving(name)
        )

    def _driving(self, name: str) -> list[str]:
        """Return the connections into a node, through synapses of its own if it has any."""
        simulation = self._simulation
        arriving = [s for node in (name, *self._synapses(name)) for s in simulation.sources[node]]
        return [source for source in arriving if source in simulation.connections]

    def _synapses(self, name: str) -> list[str]:
        nodes, sources = self._simulation.nodes, self._simulation.sources[name]
        return [source for source in sources if kind_of(nodes[source]) in INTEGRATING]

    def _layer(
        self, name: str, driving: Sequence[str], count: int, about: Description
    ) -> LayerReport:
        weights = [self._simulation.connections[source].weight for source in driving]
        neurons = self._sizes.get(name) or _size(self._simulation.nodes[name].input_type)
        spikes = self._spikes.get(name, 0.0) / count
        nodes = [*driving, *self._synapses(name), name]
        return LayerReport(
            block=about.exit,
            name=name,
            neurons=neurons,
            weights=sum(weight.numel() for weight in weights),
            connections=sum(int(torch.count_nonzero(weight)) for weight in weights),
            spikes_per_inference=spikes,
            spike_rate=spikes / (neurons * about.timesteps),
            synaptic_ops=sum(self._accumulates.get(node, 0.0) for node in nodes) / count,
            macs=sum(self._macs.get(node, 0.0) for node in nodes),
        )


def _size(shaped: Any) -> int:
    return math.prod(int(side) for side in next(iter(shaped.values())))
