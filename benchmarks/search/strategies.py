"""The strategies that are compared, by name."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from benchmarks.search.model_peers import AxSearch, SmacSearch
from benchmarks.search.ours import Ours
from benchmarks.search.peers import OptunaSearch, RayAsha, SyneMoasha
from benchmarks.search.problem import Problem
from benchmarks.search.replay import Strategy
from search.study.study import Study
from search.study.units import PER_BLOCK

Maker = Callable[[Problem, int], Strategy]  # from a record and a seed


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One search strategy of the comparison, and which of its points count for the front."""

    kind: str  # peer, ours, ablation, or what is shown beside them and competes with nobody
    meaning: str
    search: str  # the name under which its replays are made, in SEARCHES
    has_family: bool  # a finished trial adds all its operating points to the front


def can_grow(study: Study) -> bool:
    """Whether the units of a study vary, block by block."""
    return PER_BLOCK in study.space.axes


OURS = "spikefront"
GROW = "spikefront-grow"
GAIN = "spikefront-gain"
SLOW = frozenset({"ax"})  # searches of which a replay takes minutes

_PEERS: Mapping[str, tuple[str, Maker]] = {
    "random": ("points at random", partial(OptunaSearch, sampler="random")),
    "optuna-tpe": ("Optuna's TPE, as it comes", partial(OptunaSearch, sampler="tpe")),
    "optuna-nsga2": (
        "Optuna's NSGA-II, as it comes: its first 50 trials are random",
        partial(OptunaSearch, sampler="nsga2"),
    ),
    "optuna-gp": (
        "Optuna's Gaussian process, as it comes: expected hypervolume, 10 random trials first",
        partial(OptunaSearch, sampler="gp"),
    ),
    "ax": ("Ax as it comes: Sobol points, then qLogNEHVI of BoTorch", AxSearch),
    "smac": ("SMAC3's facade for hyperparameters with ParEGO, 10 Sobol points first", SmacSearch),
    "ray-asha": ("Ray Tune's ASHA on accuracy alone, points at random", RayAsha),
    "syne-tune-moasha": ("Syne Tune's MOASHA as it is, points at random", SyneMoasha),
    "syne-tune-moasha-patched": (
        "Syne Tune's MOASHA with the order of its priorities mended, points at random",
        partial(SyneMoasha, is_patched=True),
    ),
}

_ABLATIONS: Mapping[str, tuple[str, Maker]] = {
    "without-stopping": ("every trial is trained to its end", partial(Ours, stopping="none")),
    "without-family-at-rungs": (
        "trials are judged by their sampled operating point",
        partial(Ours, judged="sampled"),
    ),
    "without-extension": (
        "no trial is made to keep blocks of the front",
        partial(Ours, extend_prefixes=0.0),
    ),
    "without-reuse": ("every block is trained again", partial(Ours, reuse_blocks=False)),
    "without-tpe": ("points at random", partial(Ours, sampler="random")),
    "with-half-stopped": (
        "half of the trials are stopped at a rung, not two thirds (`reduction_factor = 2`)",
        partial(Ours, reduction_factor=2.0),
    ),
    "with-family-told": (
        "the sampler learns from all operating points (`share_operating_points = true`)",
        partial(Ours, family=True),
    ),
}

SEARCHES: Mapping[str, Maker] = {
    **{name: make for name, (_, make) in _PEERS.items()},
    OURS: Ours,
    GROW: partial(Ours, sampler="grow"),
    GAIN: partial(Ours, sampler="gain", reduction_factor=2.0),
    **{name: make for name, (_, make) in _ABLATIONS.items()},
}

STRATEGIES: Mapping[str, Entry] = {
    **{
        name: Entry(kind="peer", meaning=meaning, search=name, has_family=False)
        for name, (meaning, _) in _PEERS.items()
    },
    OURS: Entry(
        kind="ours", meaning='as it comes, with `stopping = "moasha"`', search=OURS, has_family=True
    ),
    GROW: Entry(
        kind="ours",
        meaning='`spikefront` with `sampler = "grow"`, where units vary',
        search=GROW,
        has_family=True,
    ),
    GAIN: Entry(
        kind="ours",
        meaning='`spikefront` with `sampler = "gain"` and `reduction_factor = 2`',
        search=GAIN,
        has_family=True,
    ),
    "without-family-in-front": Entry(
        kind="ablation",
        meaning="a trial adds its sampled operating point alone",
        search=OURS,
        has_family=False,
    ),
    **{
        name: Entry(kind="ablation", meaning=meaning, search=name, has_family=True)
        for name, (meaning, _) in _ABLATIONS.items()
    },
    **{
        f"{name}+family": Entry(
            kind="beside",
            meaning=f"{meaning}; operating points free",
            search=name,
            has_family=True,
        )
        for name, (meaning, _) in _PEERS.items()
    },
}
