"""Results of replays: means over seeds, bands, and how soon one curve reaches another."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.search.replay import Curve

Floats = NDArray[np.float64]

RESAMPLES = 400  # of the bootstrap over seeds
LEVEL = 0.9  # of its intervals


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """The curves of a strategy's seeds on one record, read at the same epochs."""

    values: Floats  # (seeds, budget): hypervolume after 1, 2, ... epochs

    @classmethod
    def of(cls, curves: Sequence[Curve], budget: int, *, has_family: bool = True) -> "Bundle":
        """Read every curve after each epoch of the budget; 0 before the first trial is over."""
        rows = np.zeros((len(curves), budget))
        for row, curve in zip(rows, curves, strict=True):
            values = curve.family if has_family else curve.sampled
            for spent, value in zip(curve.epochs, values, strict=True):
                row[max(spent, 1) - 1 :] = value
        return cls(values=rows)

    @property
    def mean(self) -> Floats:
        """Mean over seeds after each epoch."""
        mean: Floats = self.values.mean(axis=0)
        return mean

    @property
    def error(self) -> Floats:
        """Standard error of the mean after each epoch."""
        seeds = len(self.values)
        if seeds < 2:
            return np.zeros(self.values.shape[1])
        error: Floats = self.values.std(axis=0, ddof=1) / math.sqrt(seeds)
        return error

    def resampled(self, draws: np.random.Generator) -> "Bundle":
        """Return as many seeds, drawn with replacement."""
        rows = draws.integers(len(self.values), size=len(self.values))
        return Bundle(values=self.values[rows])


def fraction_to_reach(ours: Bundle, target: float) -> float:
    """Return the share of the budget after which the mean reaches `target`; inf if never."""
    reached = np.flatnonzero(ours.mean >= target)
    return math.inf if len(reached) == 0 else float(reached[0] + 1) / len(ours.mean)


def best_of(bundles: Mapping[str, Bundle]) -> str:
    """Return the strategy with the best mean at the end of the budget."""
    return max(bundles, key=lambda name: float(bundles[name].mean[-1]))


@dataclass(frozen=True, kw_only=True)
class Reached:
    """Return how soon a strategy reaches the best peer's final hypervolume."""

    fraction: float
    low: float  # of the interval, by resampling seeds of both
    high: float


def reached(ours: Bundle, peers: Mapping[str, Bundle], seed: int = 0) -> Reached:
    """Return the fraction of the budget with its interval; each resample has its own best peer."""
    draws = np.random.default_rng(seed)
    fractions = []
    for _ in range(RESAMPLES):
        target = max(float(peer.resampled(draws).mean[-1]) for peer in peers.values())
        fractions.append(fraction_to_reach(ours.resampled(draws), target))
    ordered = sorted(fractions)
    edge = (1 - LEVEL) / 2
    target = max(float(peer.mean[-1]) for peer in peers.values())
    return Reached(
        fraction=fraction_to_reach(ours, target),
        low=ordered[int(edge * (len(ordered) - 1))],
        high=ordered[math.ceil((1 - edge) * (len(ordered) - 1))],
    )
