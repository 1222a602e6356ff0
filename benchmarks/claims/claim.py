"""A claim: what a paper says, what is run to hold it against, and the rows that come of it."""

import hashlib
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from benchmarks.report import Figure
from snn.settings.config import RunConfig

Values = Mapping[str, float]
Kind = Literal["fraction", "points", "times", "ratio", "count"]
Label = Literal["paper", "secondary", "recalled"]

LABELS: dict[Label, str] = {
    "paper": "read in the paper itself: its abstract or a table of it",
    "secondary": "read in a later paper's comparison or in a public review, not in the paper",
    "recalled": "from memory of the literature and confirmed in no source: a hint, no claim",
}
UNITS: dict[Kind, str] = {
    "fraction": "",
    "points": "points",
    "times": "times",
    "ratio": "",
    "count": "",
}


@dataclass(frozen=True, kw_only=True)
class Published:
    """A figure as published, in the unit of the row beside which it stands."""

    value: float
    label: Label
    of: str  # network and data


@dataclass(frozen=True, kw_only=True)
class Elsewhere:
    """A claim of the same paper on data or a network that is not run here."""

    what: str
    kind: Kind
    published: Published


@dataclass(frozen=True, kw_only=True)
class Scale:
    """How much is run. `epochs` replaces every run's own where it is given.

    `published` asks for the settings of the papers, which want a GPU; without it a claim takes
    minutes on two processor cores for MNIST, and two hours at most for CIFAR-10.
    """

    dataset: Literal["mnist", "cifar10"] = "mnist"
    seeds: int = 3
    quick: bool = False
    epochs: int | None = None
    published: bool = False

    def sized(self, config: RunConfig) -> RunConfig:
        """The config with the epochs that were asked for."""
        return config if self.epochs is None else config.replace(epochs=self.epochs)


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where runs run; in `folder`, if there is one, an interrupted training is continued."""

    data: Path
    device: str = "cpu"
    threads: int = 2
    folder: Path | None = None


@dataclass(frozen=True, kw_only=True)
class Run:
    """One training, or one thing that is planned or timed; kept by its fingerprint.

    `name` tells runs of a claim apart that differ in more than the seed, and
    names whatever decides the result beside the config.
    """

    name: str
    config: RunConfig
    measure: Callable[[RunConfig, Place], Values]
    is_trained: bool = True  # or planned, or a few steps of it timed

    @property
    def fingerprint(self) -> str:
        """16 hex digits."""
        text = f"{self.name} {self.config.fingerprint}"
        return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True, kw_only=True)
class Done:
    """What came of a run, and how."""

    name: str
    seed: int
    values: Values
    seconds: float
    foreign_load: float | None
    commit: str


class Results:
    """The finished runs of a claim."""

    def __init__(self, runs: Sequence[Done]) -> None:
        self.runs = tuple(runs)

    def has(self, run: str, value: str) -> bool:
        """Whether any run of that name has the value."""
        return any(done.name == run and value in done.values for done in self.runs)

    def over_seeds(self, run: str, value: str) -> tuple[float, ...]:
        """One value of all runs of that name, by seed."""
        found = sorted((done.seed, done.values[value]) for done in self.runs if done.name == run)
        return tuple(number for _, number in found)

    def ratios(self, run: str, over: str, value: str) -> tuple[float, ...]:
        """One value of a run over that of another, by seed."""
        pairs = zip(self.over_seeds(run, value), self.over_seeds(over, value), strict=True)
        return tuple(a / b for a, b in pairs)


@dataclass(frozen=True, kw_only=True)
class Row:
    """A figure of ours, one value per seed, beside the published one if there is any.

    `is_aim` where the published figure is of the same thing on the same data,
    or a ratio that should not depend on them.
    """

    name: str  # of the figure
    what: str
    kind: Kind
    values: tuple[float, ...]
    better: Literal["higher", "lower"] = "higher"
    published: Published | None = None
    is_aim: bool = False

    @property
    def mean(self) -> float:
        """Over seeds."""
        return statistics.mean(self.values)

    def figures(self) -> list[Figure]:
        """The mean, and with several seeds the distance from the lowest to the highest."""
        is_claim = self.published is not None and self.published.label != "recalled"
        aim = self.published.value if self.published and self.is_aim and is_claim else None
        unit = UNITS[self.kind]
        made = [
            Figure(name=self.name, value=self.mean, unit=unit, better=self.better, aim=aim),
        ]
        if len(self.values) > 1:
            spread = max(self.values) - min(self.values)
            made.append(Figure(name=f"{self.name}_spread", value=spread, unit=unit, better="lower"))
        return made


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A method's claims on a data set."""

    name: str
    title: str
    about: str  # what is run, for people
    source: str
    runs: tuple[Run, ...]
    rows: Callable[[Results], list[Row]]
    deviations: tuple[str, ...]  # from what was published
    elsewhere: tuple[Elsewhere, ...] = ()


def sizes(config: RunConfig) -> str:
    """Epochs and images, for people."""
    images = f"{config.train_images:,}" if config.train_images else "all other"
    return f"{config.epochs} epochs of {images} training images"
