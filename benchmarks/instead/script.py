"""A search without this platform, as the documentation of Optuna shows it.

TPE over two objectives, a study in SQLite that several processes share, and a network
in snnTorch or SpikingJelly. Run by `python -m benchmarks.instead`; by itself:

    python -m benchmarks.instead.script snntorch sqlite:///study.db 3600 0
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import optuna
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.report import data_dir
from snn.data.dataset import load, normalise, split

STUDY = "instead"
IMAGES, VALIDATION, BATCH, EPOCHS = 10_000, 0.1, 128, 4
CLASSES, MAP = 10, 7 * 7  # neurons of a channel after two strides of 2


def snntorch(width: int, timesteps: int, leak: float, dropout: float) -> nn.Module:
    """Two convolutions and a readout, in the loop over time of snnTorch's tutorials."""
    import snntorch as snn
    from snntorch import surrogate

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            atan = surrogate.atan(alpha=2.0)
            self.conv1 = nn.Conv2d(1, width, 5, stride=2, padding=2)
            self.norm1 = nn.BatchNorm2d(width)
            self.lif1 = snn.Leaky(beta=leak, spike_grad=atan)
            self.conv2 = nn.Conv2d(width, 2 * width, 5, stride=2, padding=2)
            self.norm2 = nn.BatchNorm2d(2 * width)
            self.lif2 = snn.Leaky(beta=leak, spike_grad=atan)
            self.drop = nn.Dropout(dropout)
            self.linear = nn.Linear(2 * width * MAP, CLASSES)

        def forward(self, images: Tensor) -> Tensor:
            mem1, mem2 = self.lif1.reset_mem(), self.lif2.reset_mem()
            readouts = []
            for _ in range(timesteps):
                spikes, mem1 = self.lif1(self.norm1(self.conv1(images)), mem1)
                spikes, mem2 = self.lif2(self.norm2(self.conv2(spikes)), mem2)
                readouts.append(self.linear(self.drop(spikes).flatten(1)))
            return torch.stack(readouts).mean(0)

    return Net()


def spikingjelly(width: int, timesteps: int, leak: float, dropout: float) -> nn.Module:
    """The same in SpikingJelly's multi-step mode, its faster one."""
    from spikingjelly.activation_based import functional, layer, neuron, surrogate

    def lif() -> Any:
        return neuron.LIFNode(
            tau=1 / (1 - leak),  # keeps the share `leak` of the potential
            decay_input=False,
            surrogate_function=surrogate.ATan(2.0),
            detach_reset=True,
        )

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.Sequential(
                layer.Conv2d(1, width, 5, stride=2, padding=2),
                layer.BatchNorm2d(width),
                lif(),
                layer.Conv2d(width, 2 * width, 5, stride=2, padding=2),
                layer.BatchNorm2d(2 * width),
                lif(),
                layer.Dropout(dropout),
                layer.Flatten(),
                layer.Linear(2 * width * MAP, CLASSES),
            )
            functional.set_step_mode(self, "m")

        def forward(self, images: Tensor) -> Tensor:
            functional.reset_net(self)
            drive = images.unsqueeze(0).expand(timesteps, *images.shape)
            return self.layers(drive).mean(0)  # type: ignore[no-any-return]

    return Net()


Build = Callable[[int, int, float, float], nn.Module]
LIBRARIES: dict[str, Build] = {
    "snntorch": snntorch,
    "spikingjelly": spikingjelly,
}


@contextmanager
def counted(net: nn.Module) -> Iterator[list[float]]:
    """Count one addition per spike and existing connection; the first layer has no spikes.

    A list of one number, which grows while `net` runs.
    """
    total = [0.0]

    def add(linear: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        weight = linear.weight
        assert isinstance(weight, Tensor)
        connections = (weight != 0).sum(0, keepdim=True).float()
        if isinstance(linear, nn.Conv2d):
            spikes = inputs[0].reshape(-1, *inputs[0].shape[-3:])
            reached = F.conv2d(
                spikes,
                connections,
                stride=linear.stride,
                padding=linear.padding,
            )
        else:
            reached = inputs[0] @ connections.T
        total[0] += float(reached.sum())

    layers = [part for part in net.modules() if isinstance(part, nn.Conv2d | nn.Linear)]
    hooks = [part.register_forward_pre_hook(add) for part in layers[1:]]
    try:
        yield total
    finally:
        for hook in hooks:
            hook.remove()


def fit(net: nn.Module, images: Tensor, labels: Tensor, learning_rate: float) -> None:
    """Train with Adam and a cosine course."""
    optimizer = torch.optim.Adam(net.parameters(), lr=learning_rate)
    batches = -(-len(labels) // BATCH)
    course = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS * batches)
    net.train()
    for _ in range(EPOCHS):
        for batch in torch.randperm(len(labels)).split(BATCH):
            optimizer.zero_grad()
            F.cross_entropy(net(images[batch]), labels[batch]).backward()
            optimizer.step()
            course.step()


@torch.no_grad()
def judge(net: nn.Module, images: Tensor, labels: Tensor) -> tuple[float, float]:
    """The share of right answers, and synaptic operations per image."""
    net.eval()
    with counted(net) as operations:
        answers = torch.cat([net(batch).argmax(1) for batch in images.split(BATCH)])
    return float((answers == labels).float().mean()), operations[0] / len(labels)


@dataclass(frozen=True, kw_only=True)
class Given:
    """Images (images, 1, 28, 28) of mean 0 and deviation 1, and labels (images,)."""

    images: Tensor
    labels: Tensor
    validation_images: Tensor
    validation_labels: Tensor


def mnist() -> Given:
    """The images that the platform's study trains and validates on."""
    whole = load("mnist", data_dir())
    parts = split(whole, validation_fraction=VALIDATION, train_images=IMAGES, seed=0, device="cpu")
    return Given(
        images=normalise(torch.as_tensor(parts.train_images), parts.mean, parts.std),
        labels=parts.train_labels,
        validation_images=normalise(
            torch.as_tensor(parts.validation_images), parts.mean, parts.std
        ),
        validation_labels=parts.validation_labels,
    )


def objective(trial: optuna.Trial, build: Build, given: Given) -> tuple[float, float]:
    """Train what Optuna suggests: accuracy on the validation images, and operations."""
    net = build(
        trial.suggest_int("width", 2, 16, log=True),
        trial.suggest_int("timesteps", 1, 8),
        trial.suggest_float("leak", 0.3, 0.95),
        trial.suggest_float("dropout", 0.0, 0.3, step=0.05),
    )
    learning_rate = trial.suggest_float("learning_rate", 1e-3, 3e-2, log=True)

    fit(net, given.images, given.labels, learning_rate)
    return judge(net, given.validation_images, given.validation_labels)


def main(library: str, storage: str, seconds: str, seed: str) -> None:
    """Search until the time is over."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    torch.set_num_threads(1)
    torch.manual_seed(int(seed))
    given = mnist()
    study = optuna.create_study(
        study_name=STUDY,
        storage=storage,
        sampler=optuna.samplers.TPESampler(seed=int(seed)),
        directions=["maximize", "minimize"],
        load_if_exists=True,
    )
    build = LIBRARIES[library]
    study.optimize(lambda trial: objective(trial, build, given), timeout=float(seconds))


if __name__ == "__main__":
    main(*sys.argv[1:])
