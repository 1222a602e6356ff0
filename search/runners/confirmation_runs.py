"""The trainings needed to confirm front members."""

import itertools
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from search.front.picks import PickError, pick
from search.store.store import StoredPoint
from search.study.study import Study
from search.trial.confirmation import Confirmed
from search.trial.function_config import Config
from snn.settings.config import RunConfig

FIRST_SEED = 1000  # far from the seeds in study files


@dataclass(frozen=True, kw_only=True)
class ConfirmationRun:
    """A config with a new seed, and the operating points that it confirms."""

    config: Config
    points: tuple[StoredPoint, ...]


def chosen(front: Sequence[StoredPoint], picks: Sequence[str], study: Study) -> list[StoredPoint]:
    """Return the selected front members, each once; all without a pick."""
    if not picks:
        if not front:
            raise PickError(f"{study.name} has no front yet, so there is nothing to confirm")
        return list(front)
    found = [pick(front, spec, study.objectives, study.metrics) for spec in picks]
    return list({member.id: member for member in found}.values())


def fresh_seeds(count: int, taken: Collection[int]) -> tuple[int, ...]:
    """Return the first `count` seeds from FIRST_SEED that the study has not used."""
    seeds = (seed for seed in itertools.count(FIRST_SEED) if seed not in taken)
    return tuple(itertools.islice(seeds, count))


def confirmation_runs_of(
    members: Sequence[StoredPoint],
    configs: Mapping[int, Config],
    seeds: Sequence[int],
    done: Mapping[int, Confirmed],
) -> list[ConfirmationRun]:
    """Return the missing trainings by seed, deepest network first.

    One training confirms all points of a trial, and of trials with equal training. A network
    trained block by block is trained only up to the deepest block that a member uses; its first
    blocks equal a training of these blocks alone. Deep networks come first, so that shallow ones
    find their blocks in the block cache.
    """
    together: dict[str, tuple[Config, list[StoredPoint]]] = {}
    by_trial = sorted(members, key=lambda member: (member.trial, member.id))
    for trial, group in itertools.groupby(by_trial, key=lambda member: member.trial):
        points, config = list(group), configs[trial]
        if isinstance(config, RunConfig) and config.space_rule == "block-local":
            config = config.prefix(max(member.point.blocks for member in points))
        _, of_training = together.setdefault(config.training_fingerprint, (config, []))
        of_training.extend(points)
    deepest_first = sorted(together.values(), key=lambda one: -_depth(one[0]))
    trainings = []
    for seed in seeds:
        for config, points in deepest_first:
            left = tuple(member for member in points if not _is_done(member, seed, done))
            if left:
                trainings.append(ConfirmationRun(config=config.replace(seed=seed), points=left))
    return trainings


def _depth(config: Config) -> int:
    return config.exits if isinstance(config, RunConfig) else 1


def _is_done(member: StoredPoint, seed: int, done: Mapping[int, Confirmed]) -> bool:
    runs = done[member.id].runs if member.id in done else ()
    return any(run.seed == seed and run.is_settled for run in runs)
