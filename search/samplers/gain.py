"""Proposals where the front is expected to gain most per trained epoch.

A model of all measured exits (`search.samplers.chain_model`), those of trials that were stopped
included, predicts the family of operating points of a network. Networks are drawn at random and
near those of the front; what each is expected to add to the hypervolume is divided by the epochs
that it would train, in which blocks that were trained before cost nothing.
"""

import heapq
import math
import random
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from search.front.archive import FrontArchive
from search.front.indicators import in_box, reference_point
from search.samplers import optuna_sampler
from search.samplers.chain_model import MOST_EXAMPLES, ChainModel, Example, Volume
from search.samplers.chains import Chain, Chains, Key
from search.samplers.optuna_sampler import OptunaSampler
from search.samplers.prefixes import is_operating
from search.study.axes import Value
from search.study.feedback import is_measured, is_penalised
from search.study.space import RandomSuggest
from search.study.study import Study
from search.trial.rejected import SamplerState, rejected_of
from search.trial.rung import RungReport
from search.trial.trial import FrontPoint, Params, Trial
from snn.settings.config import ConfigError
from snn.settings.measurement import OperatingPoint

FIRST = 5  # trials at random, each
CHEAPEST = 4  # the one of so many that trains the fewest epochs
MODELLED = 5  # proposals for one trial; the others are random: those before were infeasible
RANDOM, NEAR = 60, 60  # networks that are compared for a trial
ROUNDS, PARENTS, CHILDREN = 2, 10, 4  # and more, near the best of these
FINALISTS = 20  # of which the expected gain is computed
WIDTHS = (0.05, 0.15, 0.4)  # deviations of a change, as shares of a range


def make_sampler(
    study: Study,
    history: Sequence[Trial],
    *,
    prior: Sequence[Trial],
    shared: Mapping[int, Sequence[Trial]],
    families: Mapping[int, Sequence[OperatingPoint]],
) -> "GainSampler | AutoSampler":
    """See `search.samplers.sampler.make_sampler`."""
    others = OptunaSampler(study, history, prior, shared)
    if study.search.sampler != "auto":
        return GainSampler(study, history, prior, families, others)
    if any(trial.number >= optuna_sampler.GAIN_TRIALS for trial in history):
        return AutoSampler(others, None)
    return AutoSampler(others, GainSampler(study, history, prior, families, others))


class GainSampler:
    """See `search.samplers.sampler.Listener`."""

    def __init__(
        self,
        study: Study,
        history: Sequence[Trial],
        prior: Sequence[Trial],
        families: Mapping[int, Sequence[OperatingPoint]],
        random_trials: OptunaSampler,
    ) -> None:
        self._study = study
        self._random = random_trials
        self._chains = Chains(study)
        self._networks: dict[int, Chain] = {}  # of each trial, by its number
        self._running: set[int] = set()  # trials whose ends are not known
        # with the first trial that has it, a report at a rung before a result: as they come
        self._examples: dict[Key, tuple[tuple[int, bool], Example]] = {}
        self._failed: dict[Key, tuple[int, Chain]] = {}  # with nothing that could be measured
        self._trained: set[Key] = set()  # blocks, by what they depend on
        self._rejected: set[Key] = set()  # networks that are infeasible
        self._heard: set[int] = set()  # trials of which there are examples
        self._points: dict[int, FrontPoint] = {}  # sampled ones, for the reference
        self._front: FrontArchive[FrontPoint] = FrontArchive(
            study.objectives, study.constraints, study.metrics
        )
        self._fits: dict[str, tuple[object, np.ndarray]] = {}
        for place, trial in enumerate(prior):
            self._learn_exits(place - len(prior), trial, ())
        for trial in sorted(history, key=lambda trial: trial.number):
            for _, rejected in rejected_of(trial):
                self._rejected.add(self._chains.of(rejected.params).keys[-1])
            self._note(trial.number, trial.params)
            if trial.state.is_finished:
                self._running.discard(trial.number)
            self._add(trial, families.get(trial.number, ()))

    def ask(self, number: int, attempt: int = 0) -> tuple[Params, SamplerState]:
        """Raises ValueError for a number that was asked before."""
        params, state = self._random.ask(number, attempt)
        if self._points and len(self._heard) >= FIRST and attempt < MODELLED:
            draws = random.Random(f"gain {self._study.search.seed} {number} {attempt}")
            found = self._best(draws, number)
            if found is not None:
                params = found
                state = self._random.replace(number, params, state)
        elif attempt < MODELLED:
            suggest = RandomSuggest(hash((self._study.search.seed, number, attempt)))
            drawn = [params, *(self._study.space.sample(suggest) for _ in range(CHEAPEST - 1))]
            params = min(drawn, key=lambda values: self._epochs(self._chains.of(values)))
            state = self._random.replace(number, params, state)
        self._note(number, params)
        return params, state

    def replace(self, number: int, params: Params, state: SamplerState) -> SamplerState:
        """Raises KeyError for a trial that is not running."""
        self._note(number, params)
        return self._random.replace(number, params, state)

    def reject(self, number: int, violation: float) -> None:
        """Raises KeyError for a trial that is not running."""
        self._rejected.add(self._networks.pop(number).keys[-1])
        self._running.discard(number)
        self._random.reject(number, violation)

    def hear(self, number: int, report: RungReport) -> None:
        """Raises KeyError for a trial that was not asked for."""
        chain = self._networks[number]
        if not chain.is_whole:
            return
        epochs = report.epochs_total // len(chain.keys)
        depth = -(-report.epochs_done // epochs)
        point = max(report.points, key=lambda p: (p.metrics.get("accuracy", 0.0), p.is_sampled))
        part = report.epochs_done / epochs - depth + 1
        self._learn(number, chain, depth, part, point.metrics, is_rung=True)

    def tell(
        self,
        trial: Trial,
        shared: Sequence[Trial] = (),
        family: Sequence[OperatingPoint] = (),
    ) -> None:
        """Raises ValueError for a trial that is not finished, or was told before."""
        self._random.tell(trial, shared)
        self._note(trial.number, trial.params)
        self._running.discard(trial.number)
        self._add(trial, family)

    def _note(self, number: int, params: Params) -> None:
        self._networks[number] = self._chains.of(params)
        self._running.add(number)

    def _add(self, trial: Trial, family: Sequence[OperatingPoint]) -> None:
        self._learn_exits(trial.number, trial, family)
        if not trial.state.is_finished or not is_measured(self._study, trial):
            return
        assert trial.sampled is not None
        points = [
            FrontPoint(trial=trial.number, params=trial.params, point=point, on_front=True)
            for point in (trial.sampled, *family)
        ]
        self._points[trial.number] = points[0]
        self._front.add(points)

    def _learn_exits(self, number: int, trial: Trial, family: Sequence[OperatingPoint]) -> None:
        """Learn from a trial under a number, below 0 for one of another study."""
        chain = self._chains.of(trial.params)
        last = len(chain.keys)
        if is_penalised(trial):  # no early stop, of which the rungs have told
            if "accuracy" in (*self._study.objectives, *self._study.constraints):
                self._learn(number, chain, last, 1.0, {"accuracy": 0.0})
            else:
                self._heard.add(number)
                self._failed.setdefault(chain.keys[-1], (number, chain))
        if not trial.state.is_finished or not is_measured(self._study, trial):
            return
        assert trial.sampled is not None
        exits = _exits([*family, trial.sampled])
        exits = exits | {last: exits[max(exits)]}
        if not chain.is_whole:
            exits = {last: exits[last]}
        for depth, metrics in exits.items():
            if depth <= last:
                self._learn(number, chain, depth, 1.0, metrics)

    def _learn(
        self,
        number: int,
        chain: Chain,
        depth: int,
        part: float,
        metrics: Mapping[str, float],
        *,
        is_rung: bool = False,
    ) -> None:
        study = self._study
        named = {n: metrics[n] for n in (*study.objectives, *study.constraints) if n in metrics}
        if named and all(map(math.isfinite, named.values())):
            example = Example(chain=chain, depth=depth, part=part, metrics=named)
            self._heard.add(number)
            if part == 1 and number >= 0:
                self._trained.add(chain.keys[depth - 1])
            place = number, not is_rung
            if example.key not in self._examples or place < self._examples[example.key][0]:
                self._examples[example.key] = place, example

    def _best(self, draws: random.Random, asked: int) -> Params | None:
        """Return the network that is expected to gain most per epoch; None if none is new.

        What other trials that run now are expected to measure counts as measured: what is asked
        for at the same time should differ.
        """
        study = self._study
        points = list(self._points.values())
        reference = reference_point(points, study.objectives, study.search.reference, study.metrics)
        front = in_box(self._front.values, study.objectives, reference, study.metrics)
        model = ChainModel(study, self._known(), self._fits)
        running = [self._networks[k] for k in sorted(self._running) if k != asked]
        if running:
            front = np.concatenate([front, model.expected(running, reference)])
        suggest = RandomSuggest(draws.randrange(2**32))
        numbers = np.random.default_rng(draws.randrange(2**32))
        volume = Volume(front, numbers)
        seen = self._rejected | {chain.keys[-1] for chain in self._networks.values()}
        found: list[tuple[float, Params, Chain]] = []

        def consider(candidates: Iterable[Params]) -> None:
            new = {}
            for params in candidates:
                chain = self._chains.of(params)
                if chain.keys[-1] not in seen:
                    new[chain.keys[-1]] = params, chain
            if new:
                seen.update(new)
                chains = [chain for _, chain in new.values()]
                gains = model.gains(chains, volume, reference, None)
                for (params, chain), gain in zip(new.values(), gains.tolist(), strict=True):
                    found.append((gain / self._epochs(chain), params, chain))
                found.sort(key=lambda entry: -entry[0])

        # while nothing is within the constraints, near anything that was measured
        members = {p.trial: p.params for p in self._front.members or points}
        parents = [members[number] for number in sorted(members)]
        space = study.space
        consider(space.sample(suggest) for _ in range(RANDOM))
        consider(space.sample(Varied(draws.choice(parents), draws)) for _ in range(NEAR))
        for _ in range(ROUNDS):
            best = [params for _, params, _ in found[:PARENTS]]
            consider(space.sample(Varied(p, draws)) for p in best for _ in range(CHILDREN))
        if not found:
            return None
        last = found[:FINALISTS]
        gains = model.gains([chain for _, _, chain in last], volume, reference, numbers)
        costs = [self._epochs(chain) for _, _, chain in last]
        order = np.argsort(-gains / np.array(costs), kind="stable").tolist()
        return next((last[k][1] for k in order if self._is_valid(last[k][1])), None)

    def _known(self) -> list[Example]:
        """Return the newest examples in the order of their trials."""

        def place(entry: tuple[int, Example]) -> tuple[int, int, float]:
            return entry[0], entry[1].depth, entry[1].part

        known = [(number, example) for (number, _), example in self._examples.values()]
        worst = self._worst()
        known += [
            (number, Example(chain=chain, depth=len(chain.keys), part=1.0, metrics=worst))
            for number, chain in self._failed.values()
        ]
        newest = heapq.nlargest(MOST_EXAMPLES, known, key=place)
        return [example for _, example in reversed(newest)]

    def _worst(self) -> dict[str, float]:
        """Return the worst measured value of each objective."""
        metrics = self._study.metrics
        measured = [point.point.metrics for point in self._points.values()]
        return {
            name: max((m[name] for m in measured), key=lambda value: metrics[name].sign * value)
            for name in self._study.objectives
        }

    def _epochs(self, chain: Chain) -> float:
        """Return the epochs that a network would train; half of a block's if none."""
        is_kept = self._study.search.reuse_blocks
        blocks = sum(not (is_kept and key in self._trained) for key in chain.keys)
        return max(blocks, 0.5) * chain.epochs

    def _is_valid(self, params: Params) -> bool:
        try:
            self._study.config(params)
        except ConfigError:
            return False
        return True


class AutoSampler:
    """Gain for the first trials of a study, then TPE, then NSGA-II, as `OptunaSampler` chooses."""

    def __init__(self, optuna: OptunaSampler, gain: GainSampler | None) -> None:
        """`gain` proposes the first trials, and tells `optuna` of all that it is told."""
        self._optuna = optuna
        self._gain = gain

    def ask(self, number: int, attempt: int = 0) -> tuple[Params, SamplerState]:
        """Raises ValueError for a number that was asked before."""
        if number >= optuna_sampler.GAIN_TRIALS:
            self._gain = None
        return self._current.ask(number, attempt)

    def replace(self, number: int, params: Params, state: SamplerState) -> SamplerState:
        """Raises KeyError for a trial that is not running."""
        return self._current.replace(number, params, state)

    def reject(self, number: int, violation: float) -> None:
        """Raises KeyError for a trial that is not running."""
        self._current.reject(number, violation)

    def hear(self, number: int, report: RungReport) -> None:
        """Raises KeyError for a trial that was not asked for."""
        if self._gain is not None:
            self._gain.hear(number, report)

    def tell(
        self,
        trial: Trial,
        shared: Sequence[Trial] = (),
        family: Sequence[OperatingPoint] = (),
    ) -> None:
        """Raises ValueError for a trial that is not finished, or was told before."""
        self._current.tell(trial, shared, family)

    @property
    def _current(self) -> GainSampler | OptunaSampler:
        return self._optuna if self._gain is None else self._gain


class Varied(RandomSuggest):
    """Suggests the values of a configuration, one or two of them changed, and random others."""

    def __init__(self, values: Params, draws: random.Random) -> None:
        super().__init__(draws.randrange(2**32))
        self._values, self._draws = values, draws
        trained = sum(not is_operating(name) for name in values)
        self._rate = draws.choice((1.0, 2.0)) / max(trained, 1)

    def integer(self, name: str, low: int, high: int, step: int, log: bool) -> int:
        if name not in self._values:
            return super().integer(name, low, high, step, log)
        if self._keeps():
            return int(self._values[name])
        return low + step * round((self._near(name, low, high, log) - low) / step)

    def real(self, name: str, low: float, high: float, step: float | None, log: bool) -> float:
        if name not in self._values:
            return super().real(name, low, high, step, log)
        if self._keeps():
            return float(self._values[name])
        return min(max(self._near(name, low, high, log), low), high)

    def choice(self, name: str, values: Sequence[Value]) -> Value:
        if self._values.get(name) in values and self._keeps():
            return self._values[name]
        return super().choice(name, values)

    def _keeps(self) -> bool:
        return self._draws.random() >= self._rate

    def _near(self, name: str, low: float, high: float, log: bool) -> float:
        """Return a number of a normal distribution that ends at `low` and `high`."""
        center, first, last = float(self._values[name]), float(low), float(high)
        if log:
            center, first, last = math.log(center), math.log(low), math.log(high)
        width = self._draws.choice(WIDTHS) * (last - first)
        value = self._draws.gauss(center, width)
        while not first <= value <= last and last > first:
            value = self._draws.gauss(center, width)
        return math.exp(value) if log else value


def _exits(points: Sequence[OperatingPoint]) -> dict[int, Mapping[str, float]]:
    """Return the metrics of the most accurate point of each number of blocks."""
    best: dict[int, OperatingPoint] = {}
    for point in points:
        held = best.get(point.blocks)
        if held is None or _accuracy(point) > _accuracy(held):
            best[point.blocks] = point
    return {depth: point.metrics for depth, point in best.items()}


def _accuracy(point: OperatingPoint) -> float:
    return point.metrics.get("accuracy", 0.0)
