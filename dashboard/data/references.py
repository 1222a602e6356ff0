"""Published results to compare a front with: TOML files in `studies/references/`.

    [[reference]]
    name = "BlocTrain, ResNet-9 in 3 blocks"
    dataset = "cifar10"
    source = "Srinivasan and Roy, Front. Neurosci. 15:603433, 2021"
    accuracy = 0.864
    note = "later blocks see images of hard classes only"

Any metric may be given, in its own unit (`accuracy` as a fraction, `model_bytes` in
bytes). Figures of studies of the same data set show a reference: as a star if it has the metrics of
both axes, as a line if it has one of them.

    [[curve]]
    name = "Optuna, TPE"
    dataset = "digits"
    source = "python -m benchmarks.search, 20 seeds"
    epochs = [60, 120, 240]            # trained until then
    hypervolume = [0.61, 0.72, 0.78]   # after them
    reference = { accuracy = 0.0, synaptic_ops = 812_000, training_memory_bytes = 301_000 }

Compare draws the hypervolume of another search beside those of studies, and one number without
`epochs` as a ceiling. Hypervolumes depend on objectives and reference point (`reference`), so both
must be those of the studies.
"""

import contextlib
import itertools
import math
import os
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeVar

from dashboard.data import formats
from dashboard.data.points import is_number
from snn.settings.config import nearest
from snn.settings.measurement import METRICS
from snn.settings.setting import LARGEST, shown

FOLDER = Path("studies") / "references"
FOLDER_VARIABLE = "SPIKEFRONT_REFERENCES"
WORDS = ("name", "dataset", "source", "note")
NEEDED = ("name", "dataset", "source")
CURVE_KEYS = ("epochs", "hypervolume", "reference")
LONGEST = 200  # characters of a word
MOST = 100  # tables of one kind in a file
MOST_VALUES = 2_000  # of a curve
SAME = 1e-6  # relative difference of equal reference points, which files give with fewer digits
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Reference:
    """A published result, or a result of another program."""

    name: str
    dataset: str
    source: str
    note: str
    metrics: Mapping[str, float]  # the given ones


@dataclass(frozen=True, kw_only=True)
class Curve:
    """The hypervolume of another search against its trained epochs, or a ceiling."""

    name: str
    dataset: str
    source: str
    note: str
    epochs: tuple[float, ...]  # none of a ceiling, which has one value
    values: tuple[float, ...]  # after these epochs, 0 to 1
    reference: Mapping[str, float]  # the reference point, by objective

    @property
    def is_ceiling(self) -> bool:
        """Whether this is one hypervolume, whatever was trained."""
        return not self.epochs

    def is_measured_from(self, reference: Mapping[str, float]) -> bool:
        """Return whether the hypervolumes can be compared with those above this reference point."""
        return self.reference.keys() == reference.keys() and all(
            math.isclose(value, reference[name], rel_tol=SAME)
            for name, value in self.reference.items()
        )


class Published(NamedTuple):
    """What files of references have, and a line for each fault in them."""

    references: tuple[Reference, ...] = ()
    curves: tuple[Curve, ...] = ()
    faults: tuple[str, ...] = ()


def folder() -> Path:
    """Return the folder of references: SPIKEFRONT_REFERENCES, or the default."""
    return Path(os.environ.get(FOLDER_VARIABLE) or FOLDER)


def stamp(path: Path) -> tuple[tuple[str, int], ...]:
    """Return names and times of the files, which change when a file does."""
    return tuple(_times(path))


def _times(path: Path) -> Iterator[tuple[str, int]]:
    for file in sorted(path.glob("*.toml")):
        with contextlib.suppress(OSError):  # deleted meanwhile, or a link to nowhere
            yield file.name, file.stat().st_mtime_ns


def load_references(path: Path) -> Published:
    """Return what a folder's TOML files have, and a line for each fault in them."""
    if path.exists() and not path.is_dir():
        return Published(faults=(f"{path} must be a folder of published results, got a file",))
    found = Published()
    for file in sorted(path.glob("*.toml")):
        name = os.fsencode(file.name).decode("utf-8", "backslashreplace")
        more = _read(file)
        found = Published(
            references=(*found.references, *more.references),
            curves=(*found.curves, *more.curves),
            faults=(*found.faults, *(f"{name}: {' '.join(each.split())}" for each in more.faults)),
        )
    return found


def _read(file: Path) -> Published:
    if not file.is_file():  # a pipe would be waited for
        return Published(faults=("is no file",))
    try:
        document = tomllib.loads(file.read_text(encoding="utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        return Published(faults=(str(error),))
    except (ValueError, RecursionError):
        return Published(faults=("has a number with too many digits, or tables nested too deeply",))
    return read_references(document)


def read_references(document: Mapping[str, object]) -> Published:
    """Return the valid tables of one file, and a line for each fault."""
    faults = [
        f"{key} is unknown; a file has [[reference]] and [[curve]] tables"
        for key in document
        if key not in ("reference", "curve")
    ]
    references = _tables(document, "reference", _faults, _reference, faults)
    curves = _tables(document, "curve", _curve_faults, _curve, faults)
    return Published(references=references, curves=curves, faults=tuple(faults))


def _tables(
    document: Mapping[str, object],
    kind: str,
    faults_of: Callable[[Mapping[str, object]], list[str]],
    make: Callable[[Mapping[str, object]], T],
    faults: list[str],
) -> tuple[T, ...]:
    """Return the valid tables of one kind; add a line to `faults` for every other one."""
    tables = document.get(kind, [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        faults.append(f"{kind} must be tables, written [[{kind}]]")
        return ()
    if len(tables) > MOST:
        faults.append(f"at most {MOST} [[{kind}]] tables, got {len(tables)}")
    found = []
    for place, table in enumerate(tables[:MOST], 1):
        wrong = [f"{kind} {place}: {fault}" for fault in faults_of(table)]
        faults += wrong
        if not wrong:
            found.append(make(table))
    return tuple(found)


def _reference(table: Mapping[str, object]) -> Reference:
    metrics = {name: _number(table[name]) for name in METRICS if name in table}
    return Reference(**_words(table), metrics=metrics)


def _curve(table: Mapping[str, object]) -> Curve:
    reference = table["reference"]
    assert isinstance(reference, dict)
    return Curve(
        **_words(table),
        epochs=_numbers(table.get("epochs", [])),
        values=_numbers(table["hypervolume"]),
        reference={name: _number(value) for name, value in reference.items()},
    )


def _words(table: Mapping[str, object]) -> dict[str, str]:
    return {name: " ".join(str(table.get(name, "")).split()) for name in WORDS}


def _number(value: object) -> float:
    """Return a finite number as float. Raises ValueError."""
    if isinstance(value, int | float) and is_number(value) and abs(value) <= LARGEST["real"]:
        return float(value)
    raise ValueError(f"must be a finite number, got {shown(value)[:LONGEST]}")


def _numbers(value: object) -> tuple[float, ...]:
    """Return one number or a list of them as floats. Raises ValueError."""
    values = value if isinstance(value, list) else [value]
    if len(values) > MOST_VALUES:
        raise ValueError(f"must be at most {MOST_VALUES} numbers, got {len(values)}")
    return tuple(map(_number, values))


def _faults(table: Mapping[str, object]) -> list[str]:
    faults = list(_word_faults(table))
    for name, value in table.items():
        if name in WORDS:
            continue
        if name not in METRICS:
            hint = nearest(name, [*WORDS, *METRICS]) or f"; metrics: {', '.join(METRICS)}"
            faults.append(f"{name[:LONGEST]} is not a metric{hint}")
        else:
            faults += _metric_faults(name, value)
    if not any(name in METRICS for name in table):
        faults.append("at least one metric must be given")
    return faults


def _word_faults(table: Mapping[str, object]) -> Iterator[str]:
    for name in WORDS:
        value = table.get(name, "")
        if not isinstance(value, str) or len(value) > LONGEST:
            yield f"{name} must be text of at most {LONGEST} characters"
        elif name in NEEDED and not value:
            yield f"{name} is missing"


def _curve_faults(table: Mapping[str, object]) -> list[str]:
    known = (*WORDS, *CURVE_KEYS)
    others, hint = [name for name in table if name not in known], f"; known: {', '.join(known)}"
    return [
        *(f"{n[:LONGEST]} is unknown{nearest(n, known) or hint}" for n in others),
        *_word_faults(table),
        *_value_faults(table),
        *_point_faults(table),
    ]


def _value_faults(table: Mapping[str, object]) -> Iterator[str]:
    """Yield what is wrong with the values of a curve or of a ceiling."""
    read: dict[str, tuple[float, ...]] = {}
    for name in ("epochs", "hypervolume"):
        if name in table:
            try:
                read[name] = _numbers(table[name])
            except ValueError as error:
                yield f"{name} {error}"
                return
    values, epochs = read.get("hypervolume", ()), read.get("epochs", ())
    if not values:
        yield "hypervolume is missing"
    elif not all(0 <= value <= 1 for value in values):
        yield "hypervolume must be between 0 and 1"
    elif "epochs" not in read and len(values) > 1:
        yield f"epochs is missing; only one hypervolume is a ceiling, got {len(values)}"
    elif "epochs" in read and len(epochs) != len(values):
        yield f"epochs must be as many as hypervolume, got {len(epochs)} and {len(values)}"
    elif any(after <= before for before, after in itertools.pairwise((-1.0, *epochs))):
        yield "epochs must rise, from 0 on"


def _point_faults(table: Mapping[str, object]) -> Iterator[str]:
    """Yield what is wrong with the reference point of a curve."""
    point = table.get("reference")
    if not isinstance(point, dict) or not point:
        yield "reference must be the worst value of each objective, like { accuracy = 0.0 }"
        return
    for name, value in point.items():
        if name not in METRICS:
            yield f"reference.{name[:LONGEST]} is not a metric{nearest(name, METRICS)}"
        else:
            yield from (f"reference.{fault}" for fault in _metric_faults(name, value))


def _metric_faults(name: str, value: object) -> Iterator[str]:
    try:
        number = _number(value)
    except ValueError as error:
        yield f"{name} {error}"
        return
    if name in formats.FRACTIONS and not 0 <= number <= 1:
        yield f"{name} must be a fraction between 0 and 1, got {value!r}"
