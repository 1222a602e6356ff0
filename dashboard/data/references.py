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
"""

import contextlib
import os
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from dashboard.data import formats
from dashboard.data.points import is_number
from snn.settings.config import nearest
from snn.settings.measurement import METRICS
from snn.settings.setting import LARGEST, shown

FOLDER = Path("studies") / "references"
FOLDER_VARIABLE = "SPIKEFRONT_REFERENCES"
WORDS = ("name", "dataset", "source", "note")
NEEDED = ("name", "dataset", "source")
LONGEST = 200  # characters of a word
MOST = 50  # references of one file


@dataclass(frozen=True, kw_only=True)
class Reference:
    """A published result, or a result of another program."""

    name: str
    dataset: str
    source: str
    note: str
    metrics: Mapping[str, float]  # the given ones


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


def load_references(path: Path) -> tuple[tuple[Reference, ...], tuple[str, ...]]:
    """Return all references of a folder's TOML files, and a line for each fault in them."""
    found: list[Reference] = []
    faults: list[str] = []
    if path.exists() and not path.is_dir():
        return (), (f"{path} must be a folder of published results, got a file",)
    for file in sorted(path.glob("*.toml")):
        name = os.fsencode(file.name).decode("utf-8", "backslashreplace")
        references, wrong = _read(file)
        found += references
        faults += [f"{name}: {' '.join(fault.split())}" for fault in wrong]
    return tuple(found), tuple(faults)


def _read(file: Path) -> tuple[list[Reference], list[str]]:
    """Return the valid references of a file, and a line for each fault."""
    if not file.is_file():  # a pipe would be waited for
        return [], ["is no file"]
    try:
        document = tomllib.loads(file.read_text(encoding="utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        return [], [str(error)]
    except (ValueError, RecursionError):
        return [], ["has a number with too many digits, or tables nested too deeply"]
    return read_references(document)


def read_references(document: Mapping[str, object]) -> tuple[list[Reference], list[str]]:
    """Return the valid references of one file, and a line for each fault."""
    faults = [
        f"{key} is unknown; a file has [[reference]] tables"
        for key in document
        if key != "reference"
    ]
    tables = document.get("reference", [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        return [], [*faults, "reference must be tables, written [[reference]]"]
    if len(tables) > MOST:
        faults.append(f"at most {MOST} references, got {len(tables)}")
    found = []
    for place, table in enumerate(tables[:MOST], 1):
        wrong = [f"reference {place}: {fault}" for fault in _faults(table)]
        if wrong:
            faults += wrong
        else:
            found.append(_reference(table))
    return found, faults


def _reference(table: Mapping[str, object]) -> Reference:
    words = {name: " ".join(str(table.get(name, "")).split()) for name in WORDS}
    metrics = {name: _number(table[name]) for name in METRICS if name in table}
    return Reference(**words, metrics=metrics)


def _number(value: object) -> float:
    """Return a finite number as float. Raises ValueError."""
    if isinstance(value, int | float) and is_number(value) and abs(value) <= LARGEST["real"]:
        return float(value)
    raise ValueError(f"must be a finite number, got {shown(value)[:LONGEST]}")


def _faults(table: Mapping[str, object]) -> list[str]:
    faults = [f"{name} is missing" for name in NEEDED if not table.get(name)]
    for name, value in table.items():
        if name in WORDS:
            if not isinstance(value, str) or len(value) > LONGEST:
                faults.append(f"{name} must be text of at most {LONGEST} characters")
        elif name not in METRICS:
            hint = nearest(name, [*WORDS, *METRICS]) or f"; metrics: {', '.join(METRICS)}"
            faults.append(f"{name[:LONGEST]} is not a metric{hint}")
        else:
            faults += _metric_faults(name, value)
    if not any(name in METRICS for name in table):
        faults.append("at least one metric must be given")
    return faults


def _metric_faults(name: str, value: object) -> Iterator[str]:
    try:
        number = _number(value)
    except ValueError as error:
        yield f"{name} {error}"
        return
    if name in formats.FRACTIONS and not 0 <= number <= 1:
        yield f"{name} must be a fraction between 0 and 1, got {value!r}"
