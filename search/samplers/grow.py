"""Growing: blocks are added to networks where the front is expected to gain most per epoch.

Blocks that are trained one after another do not depend on later ones, and come from the block
cache. A space of K choices for each of B blocks is a tree of prefixes, in which each extension
trains one block. Of each depth the prefixes are kept that no other of that depth beats in all
objectives (a beam without a width). Blocks for them are drawn at random; a model of all trained
blocks predicts what each would measure (`search.samplers.extension_model`), and the one with the
largest expected gain of hypervolume per trained epoch is next. The other trials are proposed by
TPE, which learns from all of them.
"""

import random
from collections.abc import Mapping, Sequence

import numpy as np

from search.front.archive import FrontArchive
from search.front.front import front_of
from search.front.indicators import in_box, reference_point
from search.samplers.block_tree import ROOT, BlockTree, Key, Node
from search.samplers.extension_model import Extension, ExtensionModel
from search.samplers.optuna_sampler import OptunaSampler
from search.samplers.prefixes import Kept
from search.study.feedback import is_measured, is_penalised
from search.study.space import RandomSuggest
from search.study.study import Study
from search.trial.rejected import SamplerState
from search.trial.trial import FrontPoint, Params, Trial
from search.worker.job import run_config
from snn.settings.config import ConfigError, RunConfig
from snn.settings.measurement import OperatingPoint
from snn.settings.prefix import shared_blocks

ROOTS = 8  # networks of the fewest units before any is extended
ROOT_SHARE = 0.15  # of the grown trials afterwards
CANDIDATES = 150  # extensions that are compared for a trial
BEAM = 40  # prefixes at most that candidates are made of
GROWN = "grown"  # part of a sampler state: the trial that is extended, or -1 for a root


def make_sampler(
    study: Study,
    history: Sequence[Trial],
    *,
    prior: Sequence[Trial],
    shared: Mapping[int, Sequence[Trial]],
    families: Mapping[int, Sequence[OperatingPoint]],
) -> "GrowSampler":
    """See `search.samplers.sampler.make_sampler`."""
    return GrowSampler(study, history, prior, shared, families)


class GrowSampler:
    """See `search.samplers.sampler.Sampler`."""

    def __init__(
        self,
        study: Study,
        history: Sequence[Trial],
        prior: Sequence[Trial],
        shared: Mapping[int, Sequence[Trial]],
        families: Mapping[int, Sequence[OperatingPoint]],
    ) -> None:
        self._study = study
        self._other = OptunaSampler(study, history, prior, shared)
        self._tree = BlockTree(study)
        self._front: FrontArchive[FrontPoint] = FrontArchive(
            study.objectives, study.constraints, study.metrics
        )
        self._first: list[FrontPoint] = []  # sampled points, for the reference
        self._asked: dict[int, Key] = {}  # what each trial trains last, by its number
        for trial in sorted(history, key=lambda trial: trial.number):
            self._note(trial.number, trial.params)
            self._add(trial, families.get(trial.number, ()))

    def ask(self, number: int, attempt: int = 0) -> tuple[Params, SamplerState]:
        """Raises ValueError for a number that was asked before."""
        params, state = self._other.ask(number, attempt)
        draws = random.Random(f"grow {self._study.search.seed} {number} {attempt}")
        if draws.random() < self._study.search.grow_share:
            found = self._grown(draws)
            if found is not None:
                params = found.params
                state = {**self._other.replace(number, params, state), GROWN: found.base.trial}
        self._note(number, params)
        return params, state

    def replace(self, number: int, params: Params, state: SamplerState) -> SamplerState:
        """Raises KeyError for a trial that is not running."""
        self._note(number, params)
        kept = {part: notes for part, notes in state.items() if part != GROWN}
        return self._other.replace(number, params, kept)

    def reject(self, number: int, violation: float) -> None:
        """Raises KeyError for a trial that is not running."""
        self._asked.pop(number, None)
        self._other.reject(number, violation)

    def tell(
        self,
        trial: Trial,
        shared: Sequence[Trial] = (),
        family: Sequence[OperatingPoint] = (),
    ) -> None:
        """Raises ValueError for a trial that is not finished, or was told before."""
        self._other.tell(trial, shared)
        self._note(trial.number, trial.params)
        self._add(trial, family)

    def _note(self, number: int, params: Params) -> None:
        self._asked[number] = self._tree.key(params, self._tree.depth(params))

    def _add(self, trial: Trial, family: Sequence[OperatingPoint]) -> None:
        if is_penalised(trial):  # no early stop, which says little
            self._tree.fail(trial)
        if not trial.state.is_finished or not is_measured(self._study, trial):
            return
        assert trial.sampled is not None
        self._tree.add(trial, family)
        points = [
            FrontPoint(trial=trial.number, params=trial.params, point=point, on_front=True)
            for point in (trial.sampled, *family)
        ]
        self._first.append(points[0])
        self._front.add(points)

    def _grown(self, draws: random.Random) -> Extension | None:
        """Return the extension that is expected to gain most; None if there is none."""
        suggest = RandomSuggest(draws.randrange(2**32))
        if len(self._first) < ROOTS:
            roots = self._candidates([ROOT], suggest)
            return next(filter(self._is_possible, roots), None)
        found: list[Extension] = []
        if draws.random() < ROOT_SHARE:
            found = self._candidates([ROOT], suggest)
        found = found or self._candidates(self._beam(draws), suggest)
        if not found:
            return None
        objectives, metrics = self._study.objectives, self._study.metrics
        reference = reference_point(self._first, objectives, self._study.search.reference, metrics)
        front = in_box(self._front.values, objectives, reference, metrics)
        model = ExtensionModel(self._study, self._tree)
        gains = model.gains(found, front, reference)
        order = np.argsort(-gains, kind="stable").tolist()
        return next((found[k] for k in order if self._is_possible(found[k])), None)

    def _beam(self, draws: random.Random) -> list[Node]:
        """Return prefixes on the front of their depth, and the root."""
        kept = []
        depths = sorted({node.depth for node in self._tree.nodes.values()})
        for depth in depths:
            members = {
                node.trial: node for node in self._tree.nodes.values() if node.depth == depth
            }
            points = [_Exit(node) for node in members.values()]
            kept += [p.node for p in front_of(points, self._study.objectives)]
        draws.shuffle(kept)
        return [ROOT, *kept[:BEAM]]

    def _candidates(self, beam: Sequence[Node], suggest: RandomSuggest) -> list[Extension]:
        """Return extensions of the prefixes of the beam whose last block is new."""
        seen = {*self._tree.nodes, *self._asked.values()}
        found = []
        for place in range(CANDIDATES):
            extension = self._extension(beam[place % len(beam)], suggest)
            if extension is None:
                continue
            key = self._tree.key(extension.params, self._tree.depth(extension.params))
            if key not in seen:
                seen.add(key)
                found.append(extension)
        return found

    def _extension(self, base: Node, suggest: RandomSuggest) -> Extension | None:
        """Return a network of one more block than a prefix, drawn at random."""
        blocks = 1 if base.depth else -(-min(self._tree.counts) // self._tree.step)
        kept = self._tree.start(base, blocks)
        if kept is None:
            return None
        params = self._study.space.sample(Kept(kept, suggest))
        return Extension(base=base, params=params, blocks=blocks)

    def _is_possible(self, extension: Extension) -> bool:
        """Whether the network is valid and really reuses the blocks of its prefix."""
        try:
            config = run_config(self._study, extension.params)
        except ConfigError:
            return False
        if extension.base.depth == 0:
            return True
        before = run_config(self._study, extension.base.params)
        assert isinstance(config, RunConfig)
        return (
            config.exits
            > extension.base.depth
            == min(shared_blocks(before, config), extension.base.depth)
        )


class _Exit:
    """A node as a point; see search.front.front.HasPoint."""

    def __init__(self, node: Node) -> None:
        self.node, self.trial = node, node.trial
        self.point = OperatingPoint(
            timesteps=0,
            exit_thresholds=(),
            detector_threshold=0.0,
            blocks=node.depth,
            metrics=node.metrics,
        )
