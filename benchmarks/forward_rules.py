"""Rules in time against each other: planned memory, and steps timed in turn in one process.

The network is VGG-11 with scaled weight standardisation, T = 6, as published with
OTTT (Xiao et al. 2022) and SAF (Saiin et al. 2023). Memory is planned for it as
it is, batches of 128; steps are timed at a smaller width and batch, on random
images. A step is forward, backward and optimizer, of the rules that learn at
every timestep all T of them.
"""

import statistics
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch

from benchmarks.report import Watch
from search.worker.engine import plan
from snn.network.blocks import build_block
from snn.network.layers import ForwardContext
from snn.network.network import Network, Task, input_signal
from snn.network.seeding import generator
from snn.rules import ONLINE_RULES, TIME_RULES, Batch
from snn.settings.config import DATASETS, RunConfig
from snn.training.plan import StageMemory

RULES = ("ottt-o", "ottt-a", "saf-e", "saf-f", "dsr", "bptt")
QUIET = 0.12  # cores that others may keep busy
PUBLISHED_NETWORK = RunConfig(
    dataset="cifar10",
    backbone="vgg11",
    width=64,
    head_hidden=0,
    head_grid=1,
    surrogate="sigmoid",
    surrogate_slope=4.0,
    timesteps=6,
    batch_size=128,
    optimizer="sgd",
    learning_rate=0.1,
    epochs=300,
    augmentation="crop-flip",
)
TIMED_NETWORK = PUBLISHED_NETWORK.replace(width=16, batch_size=32)


def whole(config: RunConfig, rule: str) -> RunConfig:
    """The config with another rule and whole batches, which some rules need."""
    parts = 0 if rule in ONLINE_RULES else config.batch_size
    return config.replace(time_rule=rule, micro_batch=parts)


def needs(
    config: RunConfig = PUBLISHED_NETWORK, rules: Sequence[str] = RULES
) -> Mapping[str, StageMemory]:
    """Bytes that training by each rule needs, planned and not run."""
    return {rule: plan(whole(config, rule)).stages[0] for rule in rules}


@dataclass
class Timings:
    """Seconds of one training step by each rule, a turn after another."""

    turns: dict[str, list[tuple[float, float | None]]] = field(default_factory=dict)

    def quiet(self, rule: str) -> list[float]:
        """Turns that nobody disturbed, or all where there are no such."""
        turns = self.turns[rule]
        undisturbed = [s for s, foreign in turns if foreign is None or foreign < QUIET]
        return undisturbed or [seconds for seconds, _ in turns]

    def best(self, rule: str) -> float:
        """Seconds of the fastest of them."""
        return min(self.quiet(rule))

    def ratio(self, ours: str, other: str) -> float:
        """Of the fastest turns."""
        return self.best(ours) / self.best(other)

    @property
    def foreign_load(self) -> float | None:
        """Cores that others kept busy, mean over all turns; None if unknown."""
        loads = [load for turns in self.turns.values() for _, load in turns if load is not None]
        return statistics.mean(loads) if loads else None


def time_rules(
    config: RunConfig = TIMED_NETWORK,
    rules: Sequence[str] = RULES,
    *,
    rounds: int = 5,
    threads: int = 2,
) -> Timings:
    """Steps by each rule in turn, `rounds` times after one to warm up."""
    timings = Timings({rule: [] for rule in rules})
    with _threads(threads):
        trainees = {rule: _Trainee(whole(config, rule)) for rule in rules}
        for trainee in trainees.values():
            trainee.step()
        for _ in range(rounds):
            for rule, trainee in trainees.items():
                watch = Watch()
                trainee.step()
                timings.turns[rule].append((watch.seconds(), watch.foreign_load()))
    return timings


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class _Trainee:
    """A network with its optimizer, and one batch."""

    def __init__(self, config: RunConfig) -> None:
        shape, classes = DATASETS[config.dataset]
        task = Task(image_shape=shape, classes=classes)
        self._network = Network(config, task)
        signal = input_signal(config, task)
        for index in range(config.exits):
            block = build_block(config, index, signal, range(classes))
            self._network.blocks.append(block)
            signal = block.signal
        self._network.train()
        self._rule = TIME_RULES[config.time_rule]
        self._optimizer = torch.optim.SGD(
            self._network.parameters(), lr=config.learning_rate, momentum=0.9
        )
        draws = generator(config.seed, "benchmark", 0)
        self._batch = Batch(
            drive=torch.randn(1, config.batch_size, *shape, generator=draws),
            labels=torch.randint(0, classes, (config.batch_size,), generator=draws),
            frozen=0,
            timesteps=config.timesteps,
            loss=config.loss,
        )

    def step(self) -> None:
        """Learn from the batch once."""
        self._rule(self._network, self._batch, ForwardContext(), apply=self._apply)

    def _apply(self) -> None:
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
