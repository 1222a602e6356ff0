"""Training: from a run config to measurements, epoch by epoch, and a network.

Block-local training (BlocTrain, Srinivasan & Roy 2021) is a schedule of stages:
each trains one block and its exit head behind the blocks before it, which are
baked and run without a graph. End-to-end training is the same with one stage
that holds all blocks and averages the losses of their exits.
"""

from collections.abc import Iterator, Sequence

from snn.config import RunConfig
from snn.data import Split
from snn.measurement import Measurement
from snn.network import Network, Task
from snn.stage import DivergedError, Stage
from snn.trained import History, Trained

__all__ = ["DivergedError", "Training", "train"]


class Training:
    """Iterate to train: one measurement per epoch; stop iterating to stop training.

    Once exhausted, `network` holds the trained blocks in the form in which they
    are evaluated and stored. Raises DivergedError when the loss is not finite.
    """

    def __init__(self, config: RunConfig, split: Split, *, device: str = "cpu") -> None:
        self.config, self.split, self.device = config, split, device
        self.task = Task(image_shape=split.image_shape, classes=split.classes)
        self.network = Network(config, self.task)
        self.training_s: list[float] = []  # per stage
        self.memory_bytes: list[int] = []  # per stage
        self.parameters: list[int] = []  # per block

    @property
    def trained(self) -> Trained:
        """The network with its history, once training is over."""
        history = History(
            memory_bytes=tuple(self.memory_bytes),
            training_s=tuple(self.training_s),
            parameters=tuple(self.parameters),
        )
        return Trained(network=self.network, history=history)

    def __iter__(self) -> Iterator[Measurement]:
        classes: Sequence[int] = range(self.task.classes)
        epochs = 0
        while len(self.network.blocks) < self.config.exits:
            stage = Stage(self.network, self.split, classes, device=self.device)
            yield from stage.epochs(epochs)
            epochs += self.config.epochs
            self.network.blocks.extend(stage.finish())
            self.training_s.append(stage.training_s)
            self.memory_bytes.append(stage.memory_bytes)
            self.parameters.extend(stage.parameters)
            if self.config.block_classes == "hard":
                classes = self.network.block(len(self.network.blocks) - 1).head.hard
                if len(classes) < 2:  # nothing left to tell apart
                    return


def train(config: RunConfig, split: Split, *, device: str = "cpu") -> Training:
    """A training that runs as it is iterated."""
    return Training(config, split, device=device)
