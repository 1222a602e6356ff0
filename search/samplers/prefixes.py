"""Prefixes: configurations that reuse the first blocks of a network on the front.

Blocks that are trained one after another do not depend on later blocks. A configuration
that agrees with an earlier one in everything its first blocks depend on takes these from
the block cache and trains only the rest. Such configurations are proposed here: a
finished trial of the front, with another partition after its first blocks, and new values
of exit thresholds and other settings of inference.
"""

import random
from collections.abc import Callable, Iterator, Sequence

from search.front.archive import FrontArchive
from search.study.axes import Value
from search.study.dimension import Drawn
from search.study.feedback import is_measured
from search.study.space import EXIT_THRESHOLD, RandomSuggest
from search.study.study import Study
from search.trial.trial import FrontPoint, Params, Trial
from search.worker.job import run_config
from snn.settings.config import SETTINGS, ConfigError, RunConfig
from snn.settings.partition import parse_partition
from snn.settings.prefix import is_chain, shared_blocks

BASES = 8  # most trials of the front that are varied


class Prefixes:
    """The front of a study's sampled points, and proposals that keep their first blocks."""

    def __init__(self, study: Study) -> None:
        self._study = study
        self._share = study.prefix_share
        self._trials: dict[int, Trial] = {}  # of the front, by number
        self._front: FrontArchive[FrontPoint] = FrontArchive(
            study.objectives, study.constraints, study.metrics
        )

    def add(self, trial: Trial) -> None:
        """Add a finished trial."""
        if not self._share or trial.engine_config is None or not is_measured(self._study, trial):
            return
        assert trial.sampled is not None
        point = FrontPoint(
            trial=trial.number, params=trial.params, point=trial.sampled, on_front=True
        )
        change = self._front.add([point])
        if change:
            self._trials[trial.number] = trial
        for left in change.left:
            del self._trials[left.trial]

    def proposal(self, number: int, is_new: Callable[[RunConfig], bool]) -> Params | None:
        """Return a configuration for trial `number`; None if it is not to extend a prefix.

        Of the new ones of a base, the one with the largest share of already trained blocks.
        """
        generator = random.Random(f"prefix {self._study.search.seed} {number}")
        if generator.random() >= self._share:
            return None
        bases = [t for t in self._trials.values() if t.engine_config and is_chain(t.engine_config)]
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
    """Yield every other partition that keeps the first block of `base`, with the blocks it shares.

    Settings of inference are drawn anew.
    """
    own = base.engine_config
    assert own is not None
    axis = study.space.dimensions().get("partition")
    for value in axis.values if axis is not None else ():
        partition = str(value)
        first = parse_partition(partition)[0]
        if partition == own.partition or first != own.blocks[0]:
            continue
        kept = {name: v for name, v in base.params.items() if not is_operating(name)}
        kept["partition"] = partition
        if kept.get("space_rule") == "end-to-end":  # possible with a single block only
            kept["space_rule"] = "block-local"
        params = study.space.sample(Kept(kept, suggest))
        try:
            config = run_config(study, params)
            study.space.validate(params)
        except ConfigError:
            continue
        shared = shared_blocks(own, config)
        if shared > 0:
            yield params, config, shared


def is_operating(name: str) -> bool:
    """Whether a name of params is a setting of inference."""
    setting = SETTINGS.get(name)
    return setting.operating if setting else name.startswith(f"{EXIT_THRESHOLD}_")


class Kept:
    """Suggests values that are kept, and random ones for the others."""

    def __init__(self, values: Params, other: RandomSuggest) -> None:
        self._values, self._drawn, self._other = values, Drawn(values), other

    def integer(self, name: str, low: int, high: int, step: int, log: bool) -> int:
        source = self._drawn if name in self._values else self._other
        return source.integer(name, low, high, step, log)

    def real(self, name: str, low: float, high: float, step: float | None, log: bool) -> float:
        source = self._drawn if name in self._values else self._other
        return source.real(name, low, high, step, log)

    def choice(self, name: str, values: Sequence[Value]) -> Value:
        source = self._drawn if name in self._values else self._other
        return source.choice(name, values)
