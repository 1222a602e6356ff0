"""Prefixes: points that let stand the first blocks of a network which is on the front.

Blocks that are trained one after another do not depend on those behind them.
A point that agrees with an earlier one on all that its first blocks depend on
takes these as they are, and trains only the rest. This proposes such points:
a finished trial of the front, its units cut otherwise behind its first blocks,
and with new exit thresholds and whatever else is only decided at inference.
"""

import random
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from search.study.axes import Value
from search.study.dimension import Drawn
from search.study.feedback import is_measured
from search.study.space import EXIT_THRESHOLD, RandomSuggest
from search.study.study import Study
from search.trial.trial import Params, Trial
from search.worker.job import run_config
from snn.settings.config import SETTINGS, ConfigError, RunConfig
from snn.settings.measurement import METRICS
from snn.settings.partition import parse_partition
from snn.settings.prefix import is_chain, shared_blocks

BASES = 8  # trials of the front that are looked at for something new to be made of them


class Prefixes:
    """Knows the front of a study's sampled points, and what can be made of their first blocks."""

    def __init__(self, study: Study) -> None:
        self._study = study
        self._share = study.prefix_share
        self._front: list[Trial] = []
        self._values: NDArray[np.float64] = np.empty((0, len(study.objectives)))

    def learn(self, trial: Trial) -> None:
        """A trial has finished."""
        if not self._share or trial.config is None or not is_measured(self._study, trial):
            return
        assert trial.sampled is not None
        metrics = trial.sampled.metrics
        bounds = self._study.constraints.items()
        if any(bound.violation(metrics[name]) > 0 for name, bound in bounds):
            return
        signs = [METRICS[name].sign * metrics[name] for name in self._study.objectives]
        row = np.array(signs, dtype=np.float64)
        if bool(_dominates(self._values, row).any()):
            return
        stays = ~_dominates(row, self._values)
        self._front = [t for t, is_kept in zip(self._front, stays, strict=True) if is_kept]
        self._front.append(trial)
        self._values = np.vstack([self._values[stays], row])

    def proposal(self, number: int, is_new: Callable[[RunConfig], bool]) -> Params | None:
        """What trial `number` should try, if it is one that extends a prefix.

        Of what can be made of a trial, that of which the largest share is trained already.
        """
        generator = random.Random(f"prefix {self._study.search.seed} {number}")
        if generator.random() >= self._share:
            return None
        bases = [t for t in self._front if t.config is not None and is_chain(t.config)]
        bases.sort(key=lambda trial: trial.number)
        generator.shuffle(bases)
        suggest = RandomSuggest(generator.randrange(2**32))
        for base in bases[:BASES]:
            found = [
                (shared / config.exits, params)
                for params, config, shared in extensions(self._study, base, suggest)
                if is_new(config)
            ]
            if found:
                generator.shuffle(found)
                return max(found, key=lambda pair: pair[0])[1]
        return None


def extensions(
    study: Study, base: Trial, suggest: RandomSuggest
) -> Iterator[tuple[Params, RunConfig, int]]:
    """Every other partition that lets a first block of `base` stand, with the blocks it shares.

    What is decided only at inference is drawn anew.
    """
    assert base.config is not None
    axis = study.space.dimensions().get("partition")
    for value in axis.values if axis is not None else ():
        partition = str(value)
        first = parse_partition(partition)[0]
        if partition == base.config.partition or first != base.config.blocks[0]:
            continue
        kept = {name: v for name, v in base.params.items() if not _is_operating(name)}
        kept["partition"] = partition
        if kept.get("space_rule") == "end-to-end":  # of a single block there is no other
            kept["space_rule"] = "block-local"
        params = study.space.sample(_Kept(kept, suggest))
        try:
            config = run_config(study, params)
            study.space.validate(params)
        except ConfigError:
            continue
        shared = shared_blocks(base.config, config)
        if shared > 0:
            yield params, config, shared


def _is_operating(name: str) -> bool:
    setting = SETTINGS.get(name)
    return setting.operating if setting else name.startswith(f"{EXIT_THRESHOLD}_")


def _dominates(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Row for row, whether `first` is nowhere worse and somewhere better."""
    no_worse = np.logical_and.reduce(first <= second, axis=-1)
    better = np.logical_or.reduce(first < second, axis=-1)
    answer: NDArray[np.bool_] = no_worse & better
    return answer


class _Kept:
    """Answers a space with values that stay, and draws the others."""

    def __init__(self, values: Params, other: RandomSuggest) -> None:
        self._values, self._drawn, self._other = values, Drawn(values), other

    def integer(self, name: str, low: int, high: int, step: int, log: bool) -> int:
        who = self._drawn if name in self._values else self._other
        return who.integer(name, low, high, step, log)

    def real(self, name: str, low: float, high: float, step: float | None, log: bool) -> float:
        who = self._drawn if name in self._values else self._other
        return who.real(name, low, high, step, log)

    def choice(self, name: str, values: Sequence[Value]) -> Value:
        who = self._drawn if name in self._values else self._other
        return who.choice(name, values)
