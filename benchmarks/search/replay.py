"""Replays: a strategy searches on recorded trainings instead of real ones.

One worker, trial after trial. What counts is trained epochs; a block that the
strategy has trained before costs nothing where it reuses blocks, and a trial
that is stopped costs the epochs until then.
"""

import itertools
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, runtime_checkable

from benchmarks.search.problem import Problem
from search.front.front import front_of
from search.front.indicators import normalised_hypervolume
from search.study.space import EXIT_THRESHOLD
from search.trial.trial import Params
from snn.settings.measurement import OperatingPoint

TRIALS_PER_EPOCH = 4  # trials at most per epoch of the budget: reused blocks cost none


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """A trial after one of its epochs."""

    record: Problem = field(repr=False)
    setting: Any
    chain: str  # the blocks so far, the one in training included
    epoch: int  # of that block
    thresholds: tuple[float, ...]  # of all exits of the trial
    done: int  # epochs of all its blocks
    total: int
    is_reused: bool  # the block was trained before, and is the finished one

    @property
    def sampled(self) -> OperatingPoint:
        """The network so far at the given exit thresholds."""
        exits = self.chain.count("+")
        return self.record.sampled(
            self.setting, self.chain, self._evaluated, self.thresholds[:exits]
        )

    @property
    def family(self) -> tuple[OperatingPoint, ...]:
        """All operating points of the network so far that no other dominates."""
        points: tuple[OperatingPoint, ...] = self.record.family(
            self.setting, self.chain, self._evaluated
        )
        return points

    @property
    def on_grid(self) -> list[OperatingPoint]:
        """The network so far at all exit thresholds of the grid: those that are in the space."""
        exits = self.chain.count("+")
        found = []
        for thresholds in itertools.product(self.record.thresholds, repeat=exits):
            point = self.record.sampled(self.setting, self.chain, self._evaluated, thresholds)
            found.append(replace(point, is_sampled=thresholds == self.thresholds[:exits]))
        return found

    @property
    def accuracy(self) -> float:
        """The measurement of the epoch."""
        return self.record.accuracy(self.setting, self.chain, self.epoch)

    @property
    def ends_block(self) -> bool:
        """Whether its block is finished."""
        return self.epoch == self.record.epochs

    @property
    def _evaluated(self) -> int:
        return self.record.epochs if self.is_reused else self.epoch


@dataclass(frozen=True, kw_only=True)
class Ended:
    """The end of a trial."""

    last: Epoch | None  # None: it diverged in its first epoch
    is_complete: bool  # otherwise it was stopped, or diverged
    trained: int  # epochs
    reused: int

    @property
    def is_diverged(self) -> bool:
        """Whether an epoch after its last is missing."""
        if self.last is None:
            return True
        length = self.last.record.length(self.last.setting, self.last.chain)
        return not self.is_complete and self.last.epoch == length < self.last.record.epochs


@runtime_checkable
class Strategy(Protocol):
    """Proposes trials, stops some, and learns from all."""

    reuses_blocks: bool

    def ask(self, number: int) -> Params | None:
        """Return the configuration of trial `number`; None if there is none left."""

    def stops(self, number: int, epoch: Epoch) -> bool:
        """Whether the trial stops; called after every epoch but the last."""

    def tell(self, number: int, ended: Ended) -> None:
        """Learn the result of a trial."""


@dataclass(frozen=True, kw_only=True)
class Curve:
    """The hypervolume of a replay after each trial."""

    epochs: tuple[int, ...]  # trained by then, rising
    sampled: tuple[float, ...]  # hypervolume of the operating points that were sampled
    family: tuple[float, ...]  # of all operating points of the trials
    trials: int
    complete: int
    reused: int  # epochs that cost nothing
    seconds: float = field(default=0.0, compare=False)  # processor time of asks and tells


@dataclass(frozen=True, kw_only=True)
class _Member:
    """An operating point with its trial; see search.front.front.HasPoint."""

    trial: int
    point: OperatingPoint


def replay(
    strategy: Strategy,
    record: Problem,
    *,
    budget: int,
    objectives: Sequence[str],
    reference: Mapping[str, float],
) -> Curve:
    """Let the strategy spend `budget` trained epochs.

    A trial in the middle when they are spent adds nothing. What goes into the
    front changes nothing of what a strategy does, so that both ways are one replay.
    """
    trained_before: set[tuple[Any, str]] = set()
    fronts = {"sampled": _Front(objectives, reference), "family": _Front(objectives, reference)}
    epochs = []
    spent = number = complete = reused = 0
    seconds = 0.0
    while spent < budget and number < budget * TRIALS_PER_EPOCH:
        begun = time.process_time()
        params = strategy.ask(number)
        seconds += time.process_time() - begun
        if params is None:
            break
        cache = trained_before if strategy.reuses_blocks else set()
        ended = _run(strategy, record, number, params, cache, left=budget - spent)
        if ended is None:
            spent = budget
            break
        spent += ended.trained
        reused += ended.reused
        if ended.is_complete:
            complete += 1
            assert ended.last is not None
            epochs.append(spent)
            fronts["sampled"].add(number, [ended.last.sampled])
            fronts["family"].add(number, [ended.last.sampled, *ended.last.family])
        begun = time.process_time()
        strategy.tell(number, ended)
        seconds += time.process_time() - begun
        number += 1
    return Curve(
        epochs=tuple(epochs),
        sampled=tuple(fronts["sampled"].hypervolume),
        family=tuple(fronts["family"].hypervolume),
        trials=number,
        complete=complete,
        reused=reused,
        seconds=seconds,
    )


class _Front:
    """The front of finished trials, and its hypervolume after each of them."""

    def __init__(self, objectives: Sequence[str], reference: Mapping[str, float]) -> None:
        self._objectives, self._reference = objectives, reference
        self._members: list[_Member] = []
        self.hypervolume: list[float] = []

    def add(self, trial: int, points: Sequence[OperatingPoint]) -> None:
        """Add a finished trial."""
        new = [_Member(trial=trial, point=point) for point in points]
        self._members = list(front_of([*self._members, *new], self._objectives))
        value = normalised_hypervolume(self._members, self._objectives, self._reference)
        self.hypervolume.append(value)


def _run(
    strategy: Strategy,
    record: Problem,
    number: int,
    params: Params,
    cache: set[tuple[Any, str]],
    *,
    left: int,
) -> Ended | None:
    """Train until the end or a stop; None if the budget ends before."""
    trained = reused = 0
    last: Epoch | None = None
    is_complete = False
    for epoch in epochs_of(record, params, cache):
        if epoch.is_reused:
            reused += 1
        elif trained == left:
            return None
        else:
            trained += 1
        last = epoch
        if epoch.ends_block:
            cache.add((epoch.setting, epoch.chain))
        is_complete = epoch.done == epoch.total
        if not is_complete and strategy.stops(number, epoch):
            break
    return Ended(last=last, is_complete=is_complete, trained=trained, reused=reused)


def epochs_of(
    record: Problem, params: Params, cache: set[tuple[Any, str]] | frozenset[tuple[Any, str]]
) -> Iterator[Epoch]:
    """Yield the epochs of a trial in order; they end early if it diverged.

    Blocks that are in `cache`, by setting and chain, come reused.
    """
    setting, whole = record.place(params)
    blocks = whole.split("+")
    chains = ["+".join(blocks[: k + 1]) for k in range(len(blocks))]
    thresholds = thresholds_of(params)
    for index, chain in enumerate(chains):
        length = record.length(setting, chain)
        for epoch in range(1, length + 1):
            yield Epoch(
                record=record,
                setting=setting,
                chain=chain,
                epoch=epoch,
                thresholds=thresholds,
                done=index * record.epochs + epoch,
                total=len(chains) * record.epochs,
                is_reused=(setting, chain) in cache,
            )
        if length < record.epochs:
            return


def thresholds_of(params: Params) -> tuple[float, ...]:
    """Return the exit thresholds of a configuration, in the order of the exits."""
    names = sorted(name for name in params if name.startswith(EXIT_THRESHOLD))
    return tuple(float(params[name]) for name in names)
