"""The prefixes of a study: trained first blocks as a tree, and what each further block brought.

A prefix is a network's first blocks, with what the exit behind them measured. Networks that have
it in common train it once; each block that follows is an extension.
"""

import functools
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from dashboard.data.points import Axis, Bools, Floats, Integers, PointTable, metric_axis
from search.front.front import pareto_mask
from search.trial.trial import Trial, TrialState
from snn.settings.prefix import block_units, prefix_keys

NONE = -1  # no row: the parent of a first block, the exit of a prefix that was not measured


@dataclass(frozen=True, kw_only=True, eq=False)
class SearchTree:
    """Prefixes in the order in which they were trained; every column has one entry per prefix."""

    trials: Integers  # number of the first trial that has it
    depths: Integers  # blocks
    parents: Integers  # row of the prefix of one block less; NONE for a first block
    units: tuple[str, ...]  # of its last block
    exits: Integers  # row in `table` of the exit behind it; NONE where not measured
    epochs: Integers  # that its last block was trained, in all trials together
    spent: Integers  # epochs of the whole study until the trial that has it first had ended
    networks: Integers  # trials that have it
    on_front: Bools  # whether an operating point of so many blocks is on the front
    ends: Mapping[int, int]  # row of all blocks of a trial, by its number
    table: PointTable

    def __len__(self) -> int:
        return len(self.trials)

    def figure(self, name: str) -> Floats:
        """Return a metric of the exit behind each prefix; NaN where it is not known."""
        values: Floats = np.full(len(self), np.nan)
        known = self.exits != NONE
        values[known] = self.table.figures[name][self.exits[known]]
        return values

    def metric(self, name: str) -> Axis:
        """Return a metric of the prefixes as an axis."""
        return metric_axis(name, self.figure(name), self.table.metrics)

    @functools.cached_property
    def extensions(self) -> Integers:
        """How many different blocks were trained behind each prefix."""
        return np.bincount(self.parents[self.parents != NONE], minlength=len(self))

    @functools.cached_property
    def is_measured(self) -> Bools:
        """Whether all objectives of the exit behind it are known."""
        known = np.ones(len(self), dtype=np.bool_)
        for name in self.table.objectives:
            known &= np.isfinite(self.figure(name))
        return known

    @functools.cached_property
    def is_kept(self) -> Bools:
        """Whether no other prefix of as many blocks is better in all objectives.

        The sampler `grow` extends these, see `search.samplers.grow`.
        """
        kept = np.zeros(len(self), dtype=np.bool_)
        metrics = self.table.metrics
        columns = np.column_stack(
            [metrics[name].sign * self.figure(name) for name in self.table.objectives]
        )
        for depth in np.unique(self.depths):
            rows = np.flatnonzero((self.depths == depth) & self.is_measured)
            kept[rows] = pareto_mask(columns[rows])
        return kept

    @functools.cached_property
    def leads(self) -> Bools:
        """Whether it is on the front, or a network that begins with it is."""
        leading = self.on_front.copy()
        for row in reversed(range(len(self))):
            if leading[row] and self.parents[row] != NONE:
                leading[self.parents[row]] = True
        return leading

    @functools.cached_property
    def before(self) -> Integers:
        """Row of the longest measured prefix that each one extends, or NONE."""
        found = self.parents.copy()
        for row, parent in enumerate(self.parents):  # parents come first
            if parent != NONE and not self.is_measured[parent]:
                found[row] = found[parent]
        return found

    def change(self, name: str) -> Floats:
        """Return what each extension changed in a metric; NaN for a first block."""
        values = self.figure(name)
        changes: Floats = np.where(self.before == NONE, np.nan, values - values[self.before])
        return changes

    def path(self, trial: int | None) -> list[int]:
        """Return the rows of a trial's prefixes, the shortest first; none for an unknown trial."""
        row, rows = self.ends.get(-1 if trial is None else trial, NONE), []
        while row != NONE:
            rows.append(row)
            row = int(self.parents[row])
        return rows[::-1]


@dataclass(kw_only=True)
class _Prefix:
    """A row that is being made."""

    trial: int
    depth: int
    parent: int
    units: str
    spent: int
    epochs: int = 0
    networks: int = 0


def has_shared_blocks(trials: Sequence[Trial]) -> bool:
    """Return whether a trial took over the first blocks of another one and trained the rest."""
    return any(trial.epochs_reused and trial.epochs_done for trial in trials)


def search_tree(trials: Sequence[Trial], table: PointTable) -> SearchTree:
    """Return the prefixes of the finished trials whose blocks are trained one after another.

    `table` has the operating points of these trials: of each number of blocks the most accurate
    one is the exit behind them.
    """
    rows: dict[Hashable, int] = {}
    made: list[_Prefix] = []
    ends: dict[int, int] = {}
    of_trial: dict[tuple[int, int], int] = {}  # row by number of the trial and blocks
    spent = 0
    for trial in sorted(trials, key=_moment):
        spent += trial.epochs_done
        config = trial.engine_config
        if config is None or not trial.state.is_finished:
            continue
        parent = NONE
        trained = _trained(trial, config.epochs, config.exits)
        pairs = zip(prefix_keys(config), block_units(config), trained, strict=False)
        for depth, (key, units, epochs) in enumerate(pairs, 1):
            if epochs is None:
                break
            row = rows.setdefault(key, len(made))
            if row == len(made):
                made.append(
                    _Prefix(
                        trial=trial.number, depth=depth, parent=parent, units=units, spent=spent
                    )
                )
            made[row].epochs += epochs
            made[row].networks += 1
            of_trial[trial.number, depth] = ends[trial.number] = parent = row
    exits, on_front = _exits(table, of_trial, len(made))
    return SearchTree(
        trials=_column([each.trial for each in made]),
        depths=_column([each.depth for each in made]),
        parents=_column([each.parent for each in made]),
        units=tuple(each.units for each in made),
        exits=exits,
        epochs=_column([each.epochs for each in made]),
        spent=_column([each.spent for each in made]),
        networks=_column([each.networks for each in made]),
        on_front=on_front,
        ends=ends,
        table=table,
    )


def _moment(trial: Trial) -> tuple[float, int]:
    ended = trial.finished_at
    return (ended.timestamp() if ended else np.inf, trial.number)


def _trained(trial: Trial, epochs: int, blocks: int) -> list[int | None]:
    """Return the epochs that the trial trained each block; None for blocks it did not come to."""
    reused = trial.epochs_reused
    whole = trial.state is TrialState.COMPLETE
    found: list[int | None] = []
    for block in range(blocks):
        first = epochs * block
        done = min(max(reused + trial.epochs_done - first, 0), epochs)
        kept = min(max(reused - first, 0), epochs)
        found.append(done - kept if done or whole else None)
    return found


def _exits(
    table: PointTable, of_trial: Mapping[tuple[int, int], int], count: int
) -> tuple[Integers, Bools]:
    """Return the point behind each of `count` prefixes, and which have one on the front."""
    pairs = zip(table.trials.tolist(), table.blocks.tolist(), strict=True)
    places = _column([of_trial.get(pair, NONE) for pair in pairs])
    on_front = np.zeros(count, dtype=np.bool_)
    on_front[places[table.on_front & (places != NONE)]] = True
    accuracy = np.nan_to_num(table.figures["accuracy"], nan=-np.inf)
    order = np.lexsort((-accuracy, places))  # stable: of equal ones the first
    order = order[places[order] != NONE]
    known, first = np.unique(places[order], return_index=True)
    exits = np.full(count, NONE)
    exits[known] = order[first]
    return exits, on_front


def _column(values: Sequence[int]) -> Integers:
    return np.asarray(values, dtype=np.int64)
