"""All strategies on one record: replays, kept as they finish, and what they came to."""

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.finished import Finished
from benchmarks.search.curves import Bundle, Reached, best_of, reached
from benchmarks.search.record import Record
from benchmarks.search.replay import Curve, default_reference, replay, typical_reference
from benchmarks.search.strategies import OURS, STRATEGIES

REFERENCES = {"default": default_reference, "typical": typical_reference}


@dataclass(frozen=True, kw_only=True)
class Result:
    """Every strategy on one record."""

    name: str  # of the record
    record: Record
    budget: int
    objectives: tuple[str, ...]
    reference: Mapping[str, float]
    curves: Mapping[str, tuple[Curve, ...]]  # by strategy, a curve per seed

    @property
    def bundles(self) -> dict[str, Bundle]:
        """Their curves, read at the same epochs."""
        return {name: Bundle.of(curves, self.budget) for name, curves in self.curves.items()}

    def of_kind(self, kind: str) -> dict[str, Bundle]:
        """Those of one kind."""
        return {n: b for n, b in self.bundles.items() if STRATEGIES[n].kind == kind}

    @property
    def best_peer(self) -> str:
        """The one with the best mean at the end."""
        return best_of(self.of_kind("peer"))

    def reached(self, name: str) -> Reached:
        """How soon a strategy has what the best peer ends with."""
        return reached(self.bundles[name], self.of_kind("peer"))


def budget_of(record: Record, trainings: float) -> int:
    """Epochs of that many trainings of mean length over all partitions."""
    blocks = [1 + partition.count("+") for partition in record.grid.partitions]
    return round(trainings * record.epochs * sum(blocks) / len(blocks))


def compare(
    name: str,
    record: Record,
    *,
    strategies: Sequence[str],
    seeds: int,
    budget: int,
    reference: str,
    finished: Finished,
    say: Callable[[str], None],
) -> Result:
    """Replay every strategy with every seed, but for those that `finished` has."""
    objectives = record.study.objectives
    point = REFERENCES[reference](record, objectives)
    curves: dict[str, tuple[Curve, ...]] = {}
    for strategy in strategies:
        begun = time.perf_counter()
        found = []
        for seed in range(seeds):
            key = f"{name} {strategy} {seed} {budget} {reference}"
            known = finished.get(key)
            if known is None:
                made = STRATEGIES[strategy].make(record, seed)
                curve = replay(made, record, budget=budget, objectives=objectives, reference=point)
                finished.put(key, asdict(curve))
            else:
                curve = Curve(
                    epochs=tuple(known["epochs"]),
                    hypervolume=tuple(known["hypervolume"]),
                    trials=known["trials"],
                    complete=known["complete"],
                    reused=known["reused"],
                )
            found.append(curve)
        curves[strategy] = tuple(found)
        ended = Bundle.of(found, budget).mean[-1]
        trials = sum(curve.trials for curve in found) / seeds
        complete = sum(curve.complete for curve in found) / seeds
        say(
            f"{name:<8} {strategy:<32} hypervolume {ended:.4f}, {trials:.0f} trials, "
            f"{complete:.0f} complete, {time.perf_counter() - begun:.1f} s"
        )
    return Result(
        name=name,
        record=record,
        budget=budget,
        objectives=objectives,
        reference=point,
        curves=curves,
    )


def digest(path: Path) -> str:
    """Names a file by its bytes."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


__all__ = ["OURS", "REFERENCES", "Result", "budget_of", "compare", "digest"]
