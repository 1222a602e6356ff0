"""All strategies on one record: replays, stored as they finish, and their results."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.finished import Finished
from benchmarks.search.curves import Bundle, Reached, best_of, reached
from benchmarks.search.problem import Problem
from benchmarks.search.replay import Curve, replay
from benchmarks.search.strategies import OURS, SEARCHES, SLOW, STRATEGIES
from snn.settings.setting import counted

REFERENCES = ("default", "typical")


@dataclass(frozen=True, kw_only=True)
class Result:
    """The curves of every strategy on one record."""

    name: str  # of the record
    record: Problem
    budget: int
    reference: Mapping[str, float]
    curves: Mapping[str, tuple[Curve, ...]]  # by strategy, a curve per seed

    @property
    def bundles(self) -> dict[str, Bundle]:
        """The curves, read at the same epochs."""
        return {
            name: Bundle.of(curves, self.budget, has_family=STRATEGIES[name].has_family)
            for name, curves in self.curves.items()
        }

    @property
    def seeds(self) -> int:
        """Seeds of the strategies that have most."""
        return max(map(len, self.curves.values()))

    def called(self, name: str, mark: str = "") -> str:
        """Return the name of a strategy in `mark`, with its seeds if it has fewer than others."""
        count = len(self.curves[name])
        return f"{mark}{name}{mark}" + (
            f" ({counted(count, 'seed')})" if count < self.seeds else ""
        )

    def of_kind(self, kind: str) -> dict[str, Bundle]:
        """Return the strategies of one kind."""
        return {n: b for n, b in self.bundles.items() if STRATEGIES[n].kind == kind}

    @property
    def best_peer(self) -> str:
        """The peer with the best mean at the end."""
        return best_of(self.of_kind("peer"))

    def reached(self, name: str) -> Reached:
        """Return how soon a strategy reaches the best peer's final hypervolume."""
        return reached(self.bundles[name], self.of_kind("peer"))


def budget_of(record: Problem, trainings: float) -> int:
    """Return the epochs of that many trainings of mean length."""
    return round(trainings * record.mean_epochs)


def compare(
    name: str,
    record: Problem,
    *,
    digest: str,
    strategies: Sequence[str],
    seeds: range,
    slow_seeds: int | None = None,
    budget: int,
    reference: str,
    finished: Finished,
    say: Callable[[str], None],
) -> Result:
    """Replay every strategy with every seed, but for those that `finished` has.

    `digest` names the record there. SLOW searches have the first `slow_seeds` alone.
    """
    point = record.reference(reference)
    curves: dict[str, tuple[Curve, ...]] = {}
    for strategy in strategies:
        search = STRATEGIES[strategy].search
        own = seeds[:slow_seeds] if search in SLOW else seeds
        found = []
        for seed in own:
            key = f"{digest} {search} {seed} {budget} {reference}"
            known = finished.get(key)
            if known is None:
                known = asdict(_replayed(record, search, seed, budget, point))
                finished.put(key, known)
            found.append(_curve(known))
        curves[strategy] = tuple(found)
        bundle = Bundle.of(found, budget, has_family=STRATEGIES[strategy].has_family)
        say(
            f"{name:<8} {strategy:<32} hypervolume {bundle.mean[-1]:.4f}, "
            f"{sum(curve.trials for curve in found) / len(own):.0f} trials, "
            f"{sum(curve.seconds for curve in found) / len(own):.1f} s of sampling"
        )
    return Result(name=name, record=record, budget=budget, reference=point, curves=curves)


def _curve(kept: Mapping[str, Any]) -> Curve:
    """Return the value read from JSON with its tuples."""
    return Curve(
        epochs=tuple(kept["epochs"]),
        sampled=tuple(kept["sampled"]),
        family=tuple(kept["family"]),
        trials=kept["trials"],
        complete=kept["complete"],
        reused=kept["reused"],
        seconds=kept.get("seconds", 0.0),
    )


def _replayed(
    record: Problem, search: str, seed: int, budget: int, reference: Mapping[str, float]
) -> Curve:
    return replay(
        SEARCHES[search](record, seed),
        record,
        budget=budget,
        objectives=record.study.objectives,
        reference=reference,
    )


def digest(path: Path) -> str:
    """Return the fingerprint of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


__all__ = ["OURS", "REFERENCES", "Result", "budget_of", "compare", "digest"]
