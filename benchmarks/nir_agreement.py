"""Whether our networks spike alike in other people's simulators, read from NIR files.

Each network is trained for a moment on the handwritten digits, written as NIR, read by
each simulator's own importer and run on the same images; then its spikes are laid
beside ours, layer by layer. A cell of the table is the number of spikes that differ, of
all that we send, or why there are none.
"""

import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.report import Figure, Report, arguments
from benchmarks.simulators import SIMULATORS, Simulator
from snn.data import dataset
from snn.interchange import files
from snn.interchange.wiring import Form, graphs, neuron_names
from snn.network.layers import ForwardContext, Layer
from snn.network.network import Network
from snn.network.trained import Images
from snn.settings.config import RunConfig
from snn.training.train import Training

SMALL: Mapping[str, Any] = {
    "dataset": "digits",
    "width": 4,
    "head_hidden": 16,
    "head_grid": 2,
    "timesteps": 6,
    "epochs": 1,
    "train_images": 200,
    "learning_rate": 0.02,
}

NETWORKS: Mapping[str, Mapping[str, Any]] = {
    "mlp2": {"backbone": "mlp2", "width": 32},
    "mlp2 hard reset": {"backbone": "mlp2", "width": 32, "reset": "hard"},
    "mlp2 poisson": {"backbone": "mlp2", "width": 32, "encoding": "poisson"},
    "lenet": {"backbone": "lenet"},
    "vgg5": {"backbone": "vgg5"},
    "vgg5 hard reset": {"backbone": "vgg5", "reset": "hard"},
    "vgg5 hard reset, leak 0.9": {"backbone": "vgg5", "reset": "hard", "leak": 0.9},
    "vgg5 saf-e, leak 0.9": {"backbone": "vgg5", "time_rule": "saf-e", "leak": 0.9},
    "vgg5 leak 1": {"backbone": "vgg5", "leak": 1.0},
    "vgg5 early firing": {"backbone": "vgg5", "firing_share": 0.7},
    "vgg5 converted": {
        "backbone": "vgg5",
        "time_rule": "conversion",
        "threshold_scale": 0.75,
        "initial_potential": 0.5,
    },
    "vgg5 spiking pools": {"backbone": "vgg5", "pooling": "spiking"},
    "vgg5 spiking readout": {"backbone": "vgg5", "readout": "spiking", "votes": 2},
    "vgg7 batch norm": {"backbone": "vgg7", "norm": "batch-over-time"},
    "vgg9 learned neurons": {"backbone": "vgg9", "neuron": "learned"},
    "vgg11 without norm": {"backbone": "vgg11", "norm": "none"},
    "6conv-2fc spike-bp": {"backbone": "6conv-2fc", "time_rule": "spike-bp", "reset": "hard"},
    "resnet5 sparse": {
        "backbone": "resnet5",
        "norm": "batch-over-time",
        "target_sparsity": 0.8,
        "rewiring_every": 1,
    },
    "resnet7 exits": {"backbone": "resnet7", "partition": "1+1+1", "head_hidden": 0},
    "resnet7 hard reset": {"backbone": "resnet7", "reset": "hard"},
    "resnet9": {"backbone": "resnet9", "norm": "batch-over-time"},
    "resnet11": {"backbone": "resnet11"},
}
QUICK = ("mlp2", "vgg5", "vgg5 hard reset", "resnet7 exits")


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """How far a simulator's run of a network is from ours."""

    spikes: int  # that we send
    differing: int  # neurons and timesteps that are not alike
    layers: Mapping[str, int]  # the same by layer
    output_distance: float  # largest difference of any output at any timestep


def trained(changes: Mapping[str, Any]) -> tuple[Network, Images]:
    """A small network that has been trained for a moment, and images that it has not seen."""
    config = RunConfig(**{**SMALL, **changes})
    split = dataset.split(
        dataset.load(config.dataset, Path()),
        validation_fraction=config.validation_fraction,
        train_images=config.train_images,
        seed=config.seed,
        device="cpu",
    )
    training = Training(config, split)
    for _ in training:
        pass
    images = Images(
        images=split.validation_images,
        labels=split.validation_labels,
        mean=split.mean,
        std=split.std,
    )
    return training.network.eval(), images


class _Spikes:
    """Keeps what layers send."""

    def __init__(self) -> None:
        self.sent: dict[Layer, list[Tensor]] = {}

    def layer(self, layer: Layer, inputs: Any, spikes: Tensor) -> None:
        """See snn.network.layers.Observer."""
        self.sent.setdefault(layer, []).append(spikes.clone())

    def readout(self, connections: Any, inputs: Any) -> None:
        """See snn.network.layers.Observer."""


@torch.no_grad()
def agreements(
    network: Network,
    images: Images,
    simulator: Simulator,
    *,
    form: Form = "plain",
    count: int = 64,
) -> list[Agreement]:
    """One per exit, the graph of that exit run by the simulator. Raises what the simulator does."""
    drive, _ = next(images.batches(network.config))
    drive = drive[:, :count]
    steps, spy = network.config.timesteps, _Spikes()
    ours = network.run(drive, ForwardContext(observer=spy), timesteps=steps).logits
    found = []
    for index, made in enumerate(graphs(network, mean=None, std=None, form=form)):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "network.nir"
            files.write(made.graph, path)
            output, sent = simulator.run(files.read(path), drive, timesteps=steps)
        layers, spikes = {}, 0
        for layer, node in neuron_names(network, index + 1):
            own = torch.cat(spy.sent[layer])
            spikes += int(own.sum())
            layers[node] = int((own != sent[node]).sum())
        head = network.block(index).head
        votes = output.unflatten(-1, (len(head.classes), head.votes)).mean(dim=-1)
        found.append(
            Agreement(
                spikes=spikes,
                differing=sum(layers.values()),
                layers=layers,
                output_distance=float((votes - ours[index]).abs().max()),
            )
        )
    return found


def measure(report: Report, *, quick: bool) -> None:
    """Every network in every simulator that is installed, in the forms that there are."""
    columns: list[tuple[Simulator, Form]] = [
        (SIMULATORS["snntorch"], "plain"),
        (SIMULATORS["spikingjelly"], "plain"),
        (SIMULATORS["norse"], "norse"),
        (SIMULATORS["norse-nirtorch"], "norse"),
    ]
    here = [(simulator, form) for simulator, form in columns if not simulator.missing]
    report.line(f"{'network':24}" + "".join(f"{s.name + ', ' + f:>26}" for s, f in here))
    for name in QUICK if quick else NETWORKS:
        network, images = trained(NETWORKS[name])
        cells = [_cell(report, name, network, images, s, form) for s, form in here]
        report.line(f"{name:24}" + "".join(f"{cell:>26}" for cell in cells))


def _cell(
    report: Report, name: str, network: Network, images: Images, simulator: Simulator, form: Form
) -> str:
    try:
        found = agreements(network, images, simulator, form=form)
    except Exception as error:  # whatever a foreign importer makes of a graph
        return f"not run: {type(error).__name__}"
    spikes = sum(exit_graph.spikes for exit_graph in found)
    differing = sum(exit_graph.differing for exit_graph in found)
    figure = f"differing_{simulator.name}_{name.replace(' ', '_').replace(',', '')}"
    report.add(Figure(name=figure, value=float(differing), unit="spikes", better="lower", aim=0))
    return f"{differing} of {spikes}"


def main() -> int:
    """Run it."""
    options = arguments(__doc__ or "").parse_args()
    here = [simulator for simulator in SIMULATORS.values() if not simulator.missing]
    installed = sorted({package for simulator in here for package in simulator.packages})
    if not installed:
        print("no simulator that reads NIR is installed: make setup", file=sys.stderr)
        return 1
    torch.set_num_threads(1)
    report = Report("nir_agreement", against=("torch", *installed), setting=SMALL)
    measure(report, quick=options.quick)
    report.show(as_json=options.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
