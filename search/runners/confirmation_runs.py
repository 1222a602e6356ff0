"""Trainings: which networks have to be trained anew to confirm members of a front."""

import itertools
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from search.front.picks import PickError, pick
from search.store.store import StoredPoint
from search.study.study import Study
from search.trial.confirmation import Confirmed
from snn.settings.config import RunConfig

FIRST_SEED = 1000  # far from those that people give studies


@dataclass(frozen=True, kw_only=True)
class ConfirmationRun:
    """A config with a fresh seed, and the points whose figures it gives."""

    config: RunConfig
    points: tuple[StoredPoint, ...]


def chosen(front: Sequence[StoredPoint], picks: Sequence[str], study: Study) -> list[StoredPoint]:
    """The members of the front that are picked, each once; all without a pick."""
    if not picks:
        if not front:
            raise PickError(f"{study.name} has no front yet, so there is nothing to confirm")
        return list(front)
    found = [pick(front, spec, study.objectives) for spec in picks]
    return list({member.id: member for member in found}.values())


def fresh_seeds(count: int, taken: Collection[int]) -> tuple[int, ...]:
    """The first `count` seeds from FIRST_SEED on with which the study has trained nothing."""
    seeds = (seed for seed in itertools.count(FIRST_SEED) if seed not in taken)
    return tuple(itertools.islice(seeds, count))


def confirmation_runs_of(
    members: Sequence[StoredPoint],
    configs: Mapping[int, RunConfig],
    seeds: Sequence[int],
    done: Mapping[int, Confirmed],
) -> list[ConfirmationRun]:
    """What is left to train, by seed and then by depth.

    One training serves all points of a trial, and of trials that train alike. Of
    a network that is trained block by block only the blocks that some member
    needs are trained; members of fewer blocks are measured on their part of it,
    which is what training that part alone would give. Deeper ones come first, so that
    others find their blocks in the block cache.
    """
    together: dict[str, tuple[RunConfig, list[StoredPoint]]] = {}
    by_trial = sorted(members, key=lambda member: (member.trial, member.id))
    for trial, group in itertools.groupby(by_trial, key=lambda member: member.trial):
        points, config = list(group), configs[trial]
        if config.space_rule == "block-local":
            config = config.prefix(max(member.point.blocks for member in points))
        _, of_training = together.setdefault(config.training_fingerprint, (config, []))
        of_training.extend(points)
    deepest_first = sorted(together.values(), key=lambda one: -one[0].exits)
    trainings = []
    for seed in seeds:
        for config, points in deepest_first:
            left = tuple(member for member in points if not _is_done(member, seed, done))
            if left:
                trainings.append(ConfirmationRun(config=config.replace(seed=seed), points=left))
    return trainings


def _is_done(member: StoredPoint, seed: int, done: Mapping[int, Confirmed]) -> bool:
    runs = done[member.id].runs if member.id in done else ()
    return any(run.seed == seed and run.is_settled for run in runs)
