"""The grid of a recorded study: settings that are trained, chains of blocks, exit thresholds."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from search.study.axes import Choice, PlainAxis, Value
from search.study.space import EXIT_THRESHOLD
from search.study.study import Study, load_study
from snn.settings.partition import format_partition, parse_partition

PARTITION = "partition"
STUDIES = ("digits", "mnist")  # of which there are records


def study_of(name: str) -> Study:
    """Return the study of a recorded data set."""
    return load_study(Path(__file__).with_name(f"{name}.toml"))


@dataclass(frozen=True, kw_only=True)
class Grid:
    """All points of a study whose axes are grids, by what has to be trained for them.

    A setting is a value for each trained axis but the partition. A chain is a
    prefix of some partition, like `1+2`: its last block is trained behind the others.
    """

    axes: Mapping[str, tuple[Value, ...]]  # trained, without the partition; choices first
    partitions: tuple[str, ...]
    chains: tuple[str, ...]
    thresholds: tuple[float, ...]  # of each exit

    @classmethod
    def of(cls, study: Study) -> "Grid":
        """Raises ValueError if an axis is continuous."""
        dimensions = study.space.dimensions()
        exits = [name for name in dimensions if name.startswith(EXIT_THRESHOLD)]
        trained = [n for n in dimensions if n not in exits and n != PARTITION]
        trained.sort(key=lambda name: not isinstance(dimensions[name], Choice))
        axes = {name: _values(name, dimensions[name]) for name in trained}
        partitions = tuple(str(v) for v in _values(PARTITION, dimensions[PARTITION]))
        prefixes = {prefix for partition in partitions for prefix in prefixes_of(partition)}
        thresholds = _values(exits[0], dimensions[exits[0]])
        return cls(
            axes=axes,
            partitions=partitions,
            chains=tuple(sorted(prefixes, key=lambda chain: (chain.count("+"), chain))),
            thresholds=tuple(float(value) for value in thresholds),
        )

    def settings(self) -> list[dict[str, Value]]:
        """Return every combination; the first axis changes slowest."""
        names = list(self.axes)
        return [
            dict(zip(names, values, strict=True))
            for values in itertools.product(*self.axes.values())
        ]

    def setting_index(self, values: Mapping[str, object]) -> int:
        """The position in `settings` of the setting with these values; others are passed over.

        Raises ValueError for what is not on the grid.
        """
        index = 0
        for name, known in self.axes.items():
            index = index * len(known) + known.index(values[name])
        return index

    def threshold_index(self, thresholds: tuple[float, ...]) -> int:
        """Return the position of exit thresholds among all combinations for their exits."""
        index = 0
        for threshold in thresholds:
            index = index * len(self.thresholds) + self.thresholds.index(threshold)
        return index


def prefixes_of(partition: str) -> list[str]:
    """`1`, `1+2`, ... up to the partition itself."""
    blocks = parse_partition(partition)
    return [format_partition(blocks[:count]) for count in range(1, len(blocks) + 1)]


def _values(name: str, axis: PlainAxis) -> tuple[Value, ...]:
    values = tuple(axis.values)
    if not values:
        raise ValueError(f"{name} must be a grid to be recorded whole: give it a step, or choices")
    return values
