"""dataset.toml: what a folder declares about the recordings in it."""

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FILE = "dataset.toml"
LABELS = "labels.csv"
SPOKEN = ("train.h5", "test.h5")  # a file for each part, in the layout of SHD
KEYS: dict[str, tuple[type, ...]] = {
    "name": (str,),
    "kind": (str,),
    "size": (list,),
    "channels": (int,),
    "clip_ms": (int, float),
    "interval_ms": (int, float),
    "time_unit": (str,),
    "start": (str,),
    "flip_x": (bool,),
    "flip_y": (bool,),
    "on": (int,),
    "columns": (str,),
    "classes": (list,),
    "groups": (str,),
}
CHOICES = {
    "kind": ("events", "series"),
    "time_unit": ("us", "ms", "s"),
    "start": ("first-event", "zero"),
}


class DeclarationError(ValueError):
    """An invalid dataset.toml; the message is one line."""


@dataclass(frozen=True, kw_only=True)
class Declared:
    """The declaration of one folder; `size` is channels, height, width."""

    name: str
    folder: Path
    size: tuple[int, int, int]
    clip_ms: float
    classes: tuple[str, ...]
    kind: str = "events"
    interval_ms: float = 0.0  # of series
    time_unit: str = "us"
    start: str = "first-event"
    flip_x: bool = False
    flip_y: bool = False
    on: int = 1
    columns: str = "txyp"
    groups: str = ""  # pattern of which the first match in a file's name is its group

    @property
    def is_grouped(self) -> bool:
        """Whether validation recordings are of other groups than those of the training."""
        return bool(self.groups) or (self.folder / LABELS).is_file()


def read(path: Path) -> Declared:
    """Return the declaration in a dataset.toml. Raises DeclarationError."""
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise DeclarationError(f"{path}: is no TOML file ({error})") from None
    for key, value in values.items():
        if key not in KEYS:
            raise DeclarationError(f"{path}: unknown key {key!r}; known: {', '.join(KEYS)}")
        if not isinstance(value, KEYS[key]) or (type(value) is bool and bool not in KEYS[key]):
            wanted = " or ".join(kind.__name__ for kind in KEYS[key])
            raise DeclarationError(f"{path}: {key} must be {wanted}, got {value!r}")
        if key in CHOICES and value not in CHOICES[key]:
            listed = ", ".join(CHOICES[key])
            raise DeclarationError(f"{path}: {key} must be one of {listed}, got {value!r}")
    return _declared(path, values)


def _declared(path: Path, values: dict[str, Any]) -> Declared:
    folder, kind = path.parent, values.get("kind", "events")
    needs = ("interval_ms", "channels", "clip_ms", "classes") if kind == "series" else (
        "size", "clip_ms",
    )  # fmt: skip
    for key in needs:
        if key not in values:
            raise DeclarationError(f"{path}: needs {key} for kind {kind!r}")
    size = [2, values["channels"], 1] if kind == "series" else values["size"]
    are_counts = all(type(side) is int and side > 0 for side in size)
    if len(size) != 3 or not are_counts or size[0] not in (1, 2):
        raise DeclarationError(
            f"{path}: size must be [polarities (1 or 2), height, width], got {size}"
        )
    for key in ("clip_ms", "interval_ms"):
        if not values.get(key, 1) > 0:
            raise DeclarationError(f"{path}: {key} must be above 0, got {values[key]}")
    if values.get("on", 1) not in (0, 1):
        raise DeclarationError(f"{path}: on must be 0 or 1, got {values['on']}")
    if sorted(values.get("columns", "txyp")) not in (["t", "x"], sorted("txy"), sorted("txyp")):
        raise DeclarationError(
            f"{path}: columns must be the letters t, x, y, p in their order, "
            f"got {values['columns']!r}"
        )
    try:
        re.compile(values.get("groups", ""))
    except re.error as error:
        raise DeclarationError(f"{path}: groups must be a regular expression ({error})") from None
    if kind == "events" and has_one_file_a_part(folder):
        _check_spoken(path, values)
    given = {key: values[key] for key in values.keys() - {"size", "channels", "name", "classes"}}
    return Declared(
        name=values.get("name", folder.name),
        folder=folder,
        size=(size[0], size[1], size[2]),
        classes=tuple(map(str, values["classes"])) if "classes" in values else _classes(folder),
        **given,
    )


def has_one_file_a_part(folder: Path) -> bool:
    """Return whether the folder has files of all training and all test recordings."""
    return all((folder / name).is_file() for name in SPOKEN)


def _check_spoken(path: Path, values: dict[str, Any]) -> None:
    files = " and ".join(SPOKEN)
    if not values.get("classes"):
        raise DeclarationError(f"{path}: needs classes, the names of the labels in {files}")
    if values["size"][0] != 1 or values["size"][2] != 1:
        raise DeclarationError(
            f"{path}: size must be [1, units, 1] with {files}, got {values['size']}"
        )
    if values.get("time_unit") != "s":
        raise DeclarationError(
            f'{path}: time_unit must be "s" with {files}, whose times are seconds as those of SHD'
        )
    if unused := {"columns", "groups", "on"} & values.keys():
        raise DeclarationError(f"{path}: {min(unused)} has no meaning with {files}; remove it")


def _classes(folder: Path) -> tuple[str, ...]:
    """Return the class names of a folder: of labels.csv, or its sub-folders."""
    labels = folder / LABELS
    if labels.is_file():
        return tuple(sorted({row["class"] for _, row in rows_of(labels)}))
    inside = folder / "train" if (folder / "train").is_dir() else folder
    names = [path.name for path in inside.iterdir() if path.is_dir() and path.name[0] not in "._"]
    if not names:
        raise DeclarationError(
            f"{inside}: must have a folder of recordings for each class, or {LABELS} beside them"
        )
    return tuple(sorted(names))


NEEDED = ("file", "start", "end", "class")
COLUMNS = (*NEEDED, "part", "group")


def rows_of(labels: Path) -> list[tuple[int, dict[str, str]]]:
    """Return the rows of labels.csv with their line numbers, by the names of its columns.

    Raises DeclarationError: no such columns, or a row of another length.
    """
    try:
        lines = labels.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DeclarationError(f"{labels}: cannot be read ({error})") from None
    names = [word.strip() for word in lines[0].split(",")] if lines else []
    if not set(NEEDED) <= set(names) or not set(names) <= set(COLUMNS):
        raise DeclarationError(
            f"{labels}: the first line must name the columns {', '.join(NEEDED)}, and part or "
            f"group if there are any, got {','.join(names) or 'nothing'}"
        )
    rows = []
    for number, line in enumerate(lines[1:], 2):
        if not line.strip():
            continue
        words = [word.strip() for word in line.split(",")]
        if len(words) != len(names):
            raise DeclarationError(
                f"{labels}: line {number} must be {','.join(names)}, got {line.strip()}"
            )
        row = dict(zip(names, words, strict=True))
        for name in ("file", "class"):
            if not row[name]:
                raise DeclarationError(f"{labels}: line {number} has no {name}: {line.strip()}")
        rows.append((number, row))
    return rows
