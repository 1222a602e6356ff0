"""Problems that are computed: no search exhausts them, and nobody has trained for them.

Error after k blocks: floor + (chance - floor) exp(-q (s_1 + ... + s_k)). The strength s of a block
grows with its size, times a number for its word behind the word before it, most of which are
small; q is 1 at a hidden optimum of the shared settings and falls like a normal density around it,
whose place depends on the depth. Both are drawn with SEED. An epoch goes an exponential way from
the error of the block before, faster with a larger learning rate, so that curves cross. Images
have a difficulty that is uniform from 0 to 1: an exit is right about those below its accuracy, and
sure of those below its accuracy times 1.75 - 1.3 threshold. The accuracy has the noise of 1,000
images, which the configuration decides.

Limits: settings of inference besides exit thresholds are left out; the cost of an epoch is the
same for all blocks; the strength of a block depends on no block but the one before it. How real
networks behave is in the records.
"""

import functools
import itertools
import math
import random
from collections.abc import Mapping
from typing import Any

import numpy as np

from benchmarks.search.grid import study_of
from search.front.front import pareto_mask
from search.study.axes import Integer, PlainAxis, Real
from search.study.space import EXIT_THRESHOLD, RandomSuggest
from search.study.units import place_of
from search.trial.trial import Params
from snn.settings.measurement import METRICS, OperatingPoint

SYNTHETIC = ("units", "tuning")
SEED = 0  # of the hidden values; no other was tried
CHANCE, FLOOR = 0.9, 0.02  # errors
WIDTH = 0.3  # of the optimum of each shared setting, as a share of its range
IMAGES = 1_000  # of which the accuracy has the noise
SAMPLE = 200  # random configurations, for means and references
_TUNED = ("learning_rate", "leak", "dropout", "threshold")
_SIDE = 64  # pixels of a map


class Synthetic:
    """See Problem."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.study = study_of(name)
        self.epochs = int(self.study.run["epochs"])
        dimensions = self.study.space.dimensions()
        self._axes = {n: axis for n, axis in dimensions.items() if n in _TUNED}
        exits = [axis for n, axis in dimensions.items() if n.startswith(EXIT_THRESHOLD)]
        self._thresholds = tuple(float(value) for value in exits[0].values)
        self._best = {n: 0.2 + 0.6 * self._drawn(f"best {n}") for n in self._axes}
        suggest = RandomSuggest(SEED)
        self._sample = [self.study.space.sample(suggest) for _ in range(SAMPLE)]
        self.family = functools.lru_cache(maxsize=4096)(self._family)
        self._error = functools.lru_cache(maxsize=65_536)(self._final_error)

    @property
    def about(self) -> str:
        """See Problem."""
        return f"computed, continuous, up to {self.longest} epochs"

    @property
    def made_by(self) -> Mapping[str, str]:
        """See Problem."""
        return {"seed": str(SEED)}

    @property
    def thresholds(self) -> tuple[float, ...]:
        """See Problem."""
        return self._thresholds

    @property
    def longest(self) -> int:
        """See Problem."""
        return max(self._lengths)

    @property
    def mean_epochs(self) -> float:
        """See Problem."""
        return sum(self._lengths) / len(self._lengths)

    @functools.cached_property
    def _lengths(self) -> list[int]:
        return [len(self.place(params)[1].split("+")) * self.epochs for params in self._sample]

    def reference(self, kind: str) -> dict[str, float]:
        """Return the worst of SAMPLE random configurations (`default`), or their median."""
        found: dict[str, list[float]] = {name: [] for name in self.study.objectives}
        for params in self._sample:
            setting, chain = self.place(params)
            highest = (self.thresholds[-1],) * chain.count("+")
            metrics = self.sampled(setting, chain, self.epochs, highest).metrics
            for name, values in found.items():
                values.append(metrics[name])
        if kind == "typical":
            return {name: sorted(values)[len(values) // 2] for name, values in found.items()}
        return {n: 0.0 if n == "accuracy" else max(values) for n, values in found.items()}

    def place(self, params: Params) -> tuple[tuple[tuple[str, Any], ...], str]:
        """See Problem."""
        shared = {n: v for n, v in params.items() if place_of(n) is None}
        whole = str(shared.pop("partition", "")) or "+".join(_words(params))
        trained = (
            (name, value)
            for name, value in shared.items()
            if not name.startswith((EXIT_THRESHOLD, "units"))
        )
        return tuple(trained), whole

    def length(self, setting: Any, chain: str) -> int:
        """Return the epochs of a block: none diverges."""
        del setting, chain
        return self.epochs

    def accuracy(self, setting: Any, chain: str, epoch: int) -> float:
        """See Problem."""
        return 1 - self._error_at(setting, chain, epoch)

    def sampled(
        self, setting: Any, chain: str, epoch: int, thresholds: tuple[float, ...]
    ) -> OperatingPoint:
        """See Problem."""
        chains = _prefixes(chain)
        left = right = ops = cost = 0.0
        for depth, part in enumerate(chains):
            is_last = depth == len(chains) - 1
            correct = self.accuracy(setting, part, epoch if is_last else self.epochs)
            cost += self._ops(setting, part)
            sure = 1.0 if is_last else correct * (1.75 - 1.3 * thresholds[depth])
            until = max(left, min(sure, 1.0))
            right += max(0.0, min(until, correct) - left)
            ops += (until - left) * cost
            left = until
        memory = max(self._memory(setting, part) for part in chains)
        metrics = dict.fromkeys(METRICS, 0.0)
        metrics |= {"accuracy": right, "synaptic_ops": ops, "training_memory_bytes": memory}
        return OperatingPoint(
            timesteps=int(dict(setting).get("timesteps", 4)),
            exit_thresholds=thresholds,
            detector_threshold=0.5,
            blocks=len(chains),
            metrics=metrics,
            is_sampled=True,
        )

    def _family(self, setting: Any, chain: str, epoch: int) -> tuple[OperatingPoint, ...]:
        """Return the non-dominated points of all depths, with one threshold for all exits."""
        found = []
        for part in _prefixes(chain):
            last = epoch if part == chain else self.epochs
            exits = part.count("+")
            for threshold in self.thresholds if exits else self.thresholds[:1]:
                found.append(self.sampled(setting, part, last, (threshold,) * exits))
        names = self.study.objectives
        values = [[METRICS[n].sign * point.metrics[n] for n in names] for point in found]
        mask = pareto_mask(np.array(values)).tolist()
        return tuple(point for point, is_kept in zip(found, mask, strict=True) if is_kept)

    def _error_at(self, setting: Any, chain: str, epoch: int) -> float:
        before, _, _ = chain.rpartition("+")
        first = self._error(setting, before) if before else CHANCE
        rate = 0.5 + _share(self._axes["learning_rate"], float(dict(setting)["learning_rate"]))
        last = self._error(setting, chain)
        return last + (first - last) * math.exp(-4 * rate * epoch / self.epochs)

    def _final_error(self, setting: Any, chain: str) -> float:
        words = chain.split("+")
        strength = sum(
            self._strength(setting, before, word)
            for before, word in itertools.pairwise(["", *words])
        )
        quality = 1.0
        for name, axis in self._axes.items():
            best = self._best[name] - (0.05 * len(words) if name == "learning_rate" else 0.0)
            away = (_share(axis, float(dict(setting)[name])) - best) / WIDTH
            quality *= math.exp(-0.5 * away**2)
        error = FLOOR + (CHANCE - FLOOR) * math.exp(-quality * strength)
        noise = random.Random(f"{self.name} {SEED} noise {setting} {chain}").gauss(0, 1)
        return min(max(error + noise * math.sqrt(error * (1 - error) / IMAGES), 0.001), CHANCE)

    def _strength(self, setting: Any, before: str, word: str) -> float:
        """Return how much a block does behind another one."""
        if word[0].isdigit():  # units of a partition
            values = dict(setting)
            size = int(word) * math.log2(float(values["width"])) / 7
            return 0.8 * size * (1 - math.exp(-float(values["timesteps"]) / 4))
        size = math.log2(float(word[1:].partition("k")[0])) / 4
        return 2.0 * size * self._drawn(f"{before} {word}") ** 2

    def _ops(self, setting: Any, chain: str) -> float:
        """Return the synaptic operations of the last block of a chain."""
        before, _, word = chain.rpartition("+")
        values = dict(setting)
        if word[0].isdigit():
            return int(word) * float(values["width"]) ** 2 * float(values["timesteps"]) * 0.1
        last = before.rpartition("+")[2]
        channels, kernel = (float(part) for part in word[1:].split("k"))
        inputs = float(last[1:].partition("k")[0]) if last else 1.0
        times = {"c": 1.0, "r": 2.0, "s": 0.7}[word[0]]
        return 0.4 * _SIDE * times * inputs * channels * kernel**2

    def _memory(self, setting: Any, chain: str) -> float:
        word = chain.rpartition("+")[2]
        if not word[0].isdigit():
            return 0.0
        values = dict(setting)
        width = float(values["width"])
        return int(word) * (4 * width**2 + 256 * width * float(values["timesteps"]))

    def _drawn(self, what: str) -> float:
        """Return a hidden number from 0 to 1."""
        return random.Random(f"{self.name} {SEED} {what}").random()


def _words(params: Params) -> list[str]:
    """Return a word for each unit: kind, channels and kernel."""
    found = []
    for place in range(1, int(params["units"]) + 1):
        kind, channels, kernel = (
            params[f"unit_{place}_{name}"] for name in ("kind", "channels", "kernel")
        )
        found.append(f"{kind}{channels}k{kernel}")
    return found


def _prefixes(chain: str) -> list[str]:
    words = chain.split("+")
    return ["+".join(words[: k + 1]) for k in range(len(words))]


def _share(axis: PlainAxis, value: float) -> float:
    assert isinstance(axis, Real | Integer)
    low, high = float(axis.low), float(axis.high)
    if axis.log:
        low, high, value = math.log(low), math.log(high), math.log(value)
    return (value - low) / (high - low)
