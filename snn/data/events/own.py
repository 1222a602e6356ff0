"""Own recordings: a folder with dataset.toml, or a Python sequence of (events, label)."""

import functools
import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from snn.data.events import formats, plain, series
from snn.data.events.events import Form
from snn.data.events.sources import (
    NAMED,
    RecordingSource,
    cut_out,
    folder_layout,
    group_of,
    listed,
    spoken_items,
    test_groups,
)
from snn.data.events.store import Item, Layout
from snn.data.image_files import DataError, MissingDataError
from snn.settings import extensions, own_recordings
from snn.settings.datasets import DATASETS, RECORDINGS
from snn.settings.own_recordings import Declared

UNITS_US = {"us": 1.0, "ms": 1000.0, "s": 1e6}


@dataclass(frozen=True, kw_only=True)
class OwnFolder:
    """A folder of recordings that its dataset.toml declares."""

    name: str
    declared: Declared

    def layout(self, root: Path) -> Layout:
        del root
        given = self.declared
        folder = given.folder
        if given.kind == "series":
            return self._series()
        if not folder.is_dir():
            raise DataError(f"{folder}: not found")
        form = Form(
            shape=DATASETS[self.name][0],
            starts_at_zero=given.start == "zero",
            flips=(given.flip_y, given.flip_x),
            on=given.on,
        )
        if own_recordings.has_one_file_a_part(folder):
            return self._one_file_a_part(form)
        unit_us = UNITS_US[given.time_unit]
        read = functools.partial(formats.read, columns=given.columns, unit_us=unit_us)
        files_of = functools.partial(listed, suffixes=formats.SUFFIXES)
        if (folder / own_recordings.LABELS).is_file():
            return self._labelled(form, read)
        halves = [folder / "train", folder / "test"]
        if not halves[0].is_dir():
            halves = [folder]
        found = folder_layout(self.name, form, given.classes, halves, files_of, read, given.groups)
        return replace(found, unread=tuple(_unread(halves, given.classes)))

    def _one_file_a_part(self, form: Form) -> Layout:
        classes = self.declared.classes
        train, test = (self.declared.folder / name for name in own_recordings.SPOKEN)
        return Layout(
            name=self.name, form=form, classes=classes, files=(train, test),
            parts=lambda: (spoken_items(train, len(classes)), spoken_items(test, len(classes))),
        )  # fmt: skip

    def _series(self) -> Layout:
        given = self.declared
        files = []
        for part in ("train", "test"):
            found = [p for p in listed(given.folder, (".ts",)) if p.stem.lower().endswith(part)]
            if len(found) != 1:
                raise DataError(f"{given.folder}: must have one file *_{part.upper()}.ts")
            files += found
        channels = DATASETS[self.name][0][1]

        def parts() -> tuple[Iterable[Item], Iterable[Item]]:
            return self._items(files[0], channels), self._items(files[1], channels)

        return Layout(
            name=self.name,
            form=Form(shape=DATASETS[self.name][0]),
            classes=given.classes,
            files=tuple(files),
            parts=parts,
            interval_us=given.interval_ms * 1000,
        )

    def _items(self, path: Path, channels: int) -> list[Item]:
        values, labels = series.ts(path)
        if values[0].shape[1] != channels:
            raise DataError(
                f"{path}: must have the {channels} channels that dataset.toml declares, "
                f"got {values[0].shape[1]}"
            )
        places = {name: number for number, name in enumerate(self.declared.classes)}
        items = []
        for number, (value, label) in enumerate(zip(values, labels, strict=True), 1):
            if label not in places:
                raise DataError(f"{path}: series {number} has class {label!r}, not in dataset.toml")
            read = functools.partial(np.asarray, value)
            items.append(Item(f"{path}: series {number}", places[label], read))
        return items

    def _labelled(self, form: Form, read: Any) -> Layout:
        """Return the parts of long files that labels.csv lists; a file is a group unless it says.

        Without a column `part` every fifth group is in the test.
        """
        path = self.declared.folder / own_recordings.LABELS
        try:
            rows = own_recordings.rows_of(path)
        except own_recordings.DeclarationError as error:
            raise DataError(str(error)) from None
        places = {name: number for number, name in enumerate(self.declared.classes)}
        groups = {n: row.get("group") or group_of_file(row["file"], self) for n, row in rows}
        tests: set[str] = set()
        if not any(row.get("part") for _, row in rows):
            tests = test_groups(sorted(set(groups.values())), path)
        parts: list[list[Item]] = [[], []]
        used: dict[str, str] = {}
        whole = functools.lru_cache(maxsize=1)(read)
        for number, row in rows:
            where = f"{path}: line {number}"
            part = row.get("part") or ("test" if groups[number] in tests else "train")
            try:
                start, end = float(row["start"]), float(row["end"])
            except ValueError:
                start = end = 0.0
            is_span = math.isfinite(start) and math.isfinite(end) and start < end
            if part not in ("train", "test") or row["class"] not in places or not is_span:
                raise DataError(
                    f"{where} must have numbers start and end, the end after the start, a class "
                    f"of {', '.join(places)}, and part train or test, got {','.join(row.values())}"
                )
            if used.setdefault(row["file"], part) != part:
                raise DataError(f"{where}: {row['file']} is in both parts; one file, one part")
            file = path.parent / row["file"]
            if not file.is_file():
                raise DataError(f"{file}: not found; {where} lists it")
            unit_us = UNITS_US[self.declared.time_unit]
            cut = functools.partial(cut_out, whole, file, int(start * unit_us), int(end * unit_us))
            parts[part == "test"].append(Item(where, places[row["class"]], cut, groups[number]))
        return Layout(
            name=self.name, form=form, classes=self.declared.classes,
            files=(path, *(path.parent / name for name in sorted(used))),
            parts=lambda: (parts[0], parts[1]),
        )  # fmt: skip


def _unread(halves: Iterable[Path], classes: Iterable[str]) -> Iterable[Path]:
    """Yield the files in folders of classes that have no suffix of a known format."""
    for folder in (half / title for half in halves for title in classes):
        for path in sorted(folder.iterdir()) if folder.is_dir() else ():
            is_known = path.suffix.lower() in formats.SUFFIXES
            if path.is_file() and not is_known and not path.name.startswith("."):
                yield path


def group_of_file(name: str, folder: OwnFolder) -> str:
    """Return the group of a file of labels.csv: that of its name, or the file itself."""
    return group_of(Path(name), folder.declared.groups) or name


@dataclass(frozen=True, kw_only=True, eq=False)
class OwnSequence:
    """Recordings that an extension's function yields as (events, label); `files` name the data."""

    name: str
    reader: extensions.ReadEvents

    def layout(self, root: Path) -> Layout:
        shape, classes = DATASETS[self.name]
        try:
            files, train, test = self.reader(root)
            paths = tuple(Path(path) for path in files)
        except (Exception, SystemExit) as error:  # foreign code may raise anything
            kind = MissingDataError if isinstance(error, FileNotFoundError) else DataError
            raise kind(
                f"{self.name}: cannot be read from {root}: {extensions.described(error)}"
            ) from error
        for path in paths:
            if not path.exists():
                raise DataError(f"{path}: not found; `read` of {self.name} names it")
        if not paths:
            raise DataError(f"{self.name}: `read` must name the files that it reads")
        return Layout(
            name=self.name,
            form=Form(shape=shape),
            classes=tuple(str(label) for label in range(classes)),
            files=paths,
            parts=lambda: (self._items(train, "training"), self._items(test, "test")),
        )

    def _items(self, pairs: Any, part: str) -> Iterable[Item]:
        classes = DATASETS[self.name][1]
        for number in range(len(pairs)):
            where = f"{self.name}: {part} recording {number}"
            try:
                table, label = pairs[number]
                known = np.asarray(table)
                wanted = int(label)
            except (Exception, SystemExit) as error:
                raise DataError(f"{where}: {extensions.described(error)}") from error
            if not 0 <= wanted < classes:
                raise DataError(f"{where}: label must be 0 to {classes - 1}, got {wanted}")
            read = functools.partial(plain.from_table, known, "txyp", Path(where))
            yield Item(where, wanted, read)


SOURCES: dict[str, RecordingSource] = {
    **NAMED,
    **{
        name: OwnFolder(name=name, declared=declared)
        for name, declared in extensions.DECLARED.items()
    },
    **{
        name: OwnSequence(name=name, reader=reader)
        for name, reader in extensions.EVENT_READERS.items()
    },
}
"""All data sets of recordings, by name."""

assert SOURCES.keys() == RECORDINGS.keys()
