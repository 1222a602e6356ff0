"""The strategies that are compared, by name."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from benchmarks.search.ours import Ours
from benchmarks.search.peers import OptunaSearch, RayAsha, SyneMoasha
from benchmarks.search.record import Record
from benchmarks.search.replay import Strategy

Maker = Callable[[Record, int], Strategy]  # from a record and a seed


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A strategy in the comparison."""

    kind: str  # peer, ours, ablation, or what is shown beside them and competes with nobody
    meaning: str
    make: Maker


def _freed(make: Maker) -> Maker:
    """The strategy, with the operating points of its trials in the front for nothing."""

    def made(record: Record, seed: int) -> Strategy:
        strategy = make(record, seed)
        strategy.has_family = True
        return strategy

    return made


_PEERS: Mapping[str, tuple[str, Maker]] = {
    "random": ("points at random", partial(OptunaSearch, sampler="random")),
    "optuna-tpe": ("Optuna's TPE, as it comes", partial(OptunaSearch, sampler="tpe")),
    "optuna-nsga2": ("Optuna's NSGA-II, as it comes", partial(OptunaSearch, sampler="nsga2")),
    "ray-asha": ("Ray Tune's ASHA on accuracy alone, points at random", RayAsha),
    "syne-tune-moasha": ("Syne Tune's MOASHA as it is, points at random", SyneMoasha),
    "syne-tune-moasha-patched": (
        "the same with the order of its priorities mended",
        partial(SyneMoasha, is_patched=True),
    ),
}

OURS = "spikefront"

ABLATIONS: Mapping[str, tuple[str, Maker]] = {
    "without-stopping": ("every trial is trained to its end", partial(Ours, stops=False)),
    "without-family-in-front": (
        "a trial adds its sampled operating point alone",
        partial(Ours, has_family=False),
    ),
    "without-family-at-rungs": (
        "trials are judged by their sampled operating point",
        partial(Ours, judged="sampled"),
    ),
    "without-reuse": ("every block is trained again", partial(Ours, reuses_blocks=False)),
    "without-tpe": ("points at random", partial(Ours, sampler="random")),
}

STRATEGIES: Mapping[str, Entry] = {
    **{n: Entry(kind="peer", meaning=m, make=make) for n, (m, make) in _PEERS.items()},
    OURS: Entry(kind="ours", meaning="everything, as it comes", make=Ours),
    **{n: Entry(kind="ablation", meaning=m, make=make) for n, (m, make) in ABLATIONS.items()},
    **{
        f"{n}+family": Entry(
            kind="beside", meaning=f"{m}; operating points free", make=_freed(make)
        )
        for n, (m, make) in _PEERS.items()
    },
}
