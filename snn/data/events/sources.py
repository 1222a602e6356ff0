"""Data sets of recordings by name, in the layouts that they are distributed in."""

import functools
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np

from snn.data.events import formats, plain, sound
from snn.data.events.aedat import aedat
from snn.data.events.braille import Braille
from snn.data.events.events import Events, Form, Int64, events_of
from snn.data.events.saccades import Saccades
from snn.data.events.store import Item, Layout
from snn.data.image_files import DataError, MissingDataError
from snn.settings.datasets import DATASETS

Read = Callable[[Path], Events]
EVERY = 5
"""Without an official split, every fifth recording of a class, in the order of names, is a test."""


class RecordingSource(Protocol):
    """The files of a data set of recordings under a root folder."""

    def layout(self, root: Path) -> Layout:
        """Return the files, which are listed and not read. Raises DataError."""


def natural(path: Path) -> list[tuple[int, str]]:
    """Return a key that sorts names by the numbers in them: 2 before 10, on every system."""
    parts = re.findall(r"\d+|\D+", path.name)
    return [(int(part), "") if part.isdigit() else (-1, part) for part in parts]


def listed(folder: Path, suffixes: Sequence[str]) -> list[Path]:
    """Return the files of a folder with one of the suffixes, in natural order, not hidden ones."""
    found = [path for path in folder.iterdir() if path.suffix.lower() in suffixes]
    return sorted((p for p in found if p.is_file() and p.name[0] not in "._"), key=natural)


def class_folders(folder: Path) -> list[Path]:
    """Return the sub-folders of a folder in natural order, without hidden ones."""
    found = [path for path in folder.iterdir() if path.is_dir() and path.name[0] not in "._"]
    return sorted(found, key=natural)


def first_of(root: Path, folders: Sequence[str], needs: str, title: str, origin: str) -> Path:
    """Return the first of `folders` that contains `needs`. Raises DataError."""
    for name in folders:
        if (root / name / needs).exists():
            return root / name
    place = Path(folders[0], needs)
    raise MissingDataError(
        f"{root / place}: not found; put {title} there ({origin}), or point --data "
        f"or SPIKEFRONT_DATA at the folder that contains {place.parts[0]}/"
    )


@dataclass(frozen=True, kw_only=True)
class ByFolder:
    """Recordings in folders of their classes, with or without folders of the two parts."""

    name: str
    title: str
    origin: str
    folders: tuple[str, ...]
    suffixes: tuple[str, ...]
    parts: tuple[str, str] | None = None  # names of the training and the test folder
    inner: str = ""  # a folder between
    starts_at_zero: bool = False
    read: Read = formats.read

    def layout(self, root: Path) -> Layout:
        needs = self.parts[0] if self.parts else self.inner
        folder = first_of(root, self.folders, needs or ".", self.title, self.origin)
        shape, classes = DATASETS[self.name]
        halves = [folder / part for part in self.parts] if self.parts else [folder / self.inner]
        names = [path.name for path in class_folders(halves[0])]
        if len(names) != classes:
            raise DataError(
                f"{halves[0]}: must have the {classes} class folders of {self.title}, "
                f"got {len(names)}"
            )
        form = Form(shape=shape, starts_at_zero=self.starts_at_zero)
        return folder_layout(
            self.name, form, names, halves, functools.partial(listed, suffixes=self.suffixes),
            self.read,
        )  # fmt: skip


def folder_layout(
    name: str,
    form: Form,
    classes: Sequence[str],
    halves: Sequence[Path],
    files_of: Callable[[Path], list[Path]],
    read: Read,
    groups: str = "",
) -> Layout:
    """Return the layout of folders of classes; one half is split, every fifth file to the test.

    `groups` is a pattern of which the first match in a file's name is its group; with groups
    every fifth of them is in the test.
    """
    by_part: list[list[tuple[Path, int]]] = [[], []]
    for half, folder in enumerate(halves):
        if not folder.is_dir():
            raise DataError(f"{folder}: not found; recordings of the other part are there")
        foreign = sorted({p.name for p in class_folders(folder)} - set(classes))
        if foreign:
            raise DataError(f"{folder / foreign[0]}: is no class of the training part")
        for label, title in enumerate(classes):
            found = files_of(folder / title) if (folder / title).is_dir() else []
            if not found and half == 0:
                raise DataError(f"{folder / title}: has no recordings of a known format")
            for number, path in enumerate(found):
                by_file = not groups and len(halves) == 1 and number % EVERY == EVERY - 1
                by_part[half == 1 or by_file].append((path, label))
    if groups and len(halves) == 1:
        names = {path: group_of(path, groups) for path, _ in by_part[0]}
        chosen = test_groups(sorted(set(names.values())), halves[0])
        by_part[1] = [(path, label) for path, label in by_part[0] if names[path] in chosen]
        by_part[0] = [(path, label) for path, label in by_part[0] if names[path] not in chosen]

    def items(part: list[tuple[Path, int]]) -> list[Item]:
        return [
            Item(str(path), label, functools.partial(read, path), group_of(path, groups))
            for path, label in part
        ]

    return Layout(
        name=name,
        form=form,
        classes=tuple(classes),
        files=tuple(path for part in by_part for path, _ in part),
        parts=lambda: (items(by_part[0]), items(by_part[1])),
    )


def group_of(path: Path, pattern: str) -> str:
    """Return the first match in a file's name; empty without a pattern. Raises DataError."""
    if not pattern:
        return ""
    match = re.search(pattern, path.stem)
    if match is None or not match[0]:
        raise DataError(f"{path}: its name has no group, which is {pattern!r} in dataset.toml")
    return match[0]


def test_groups(names: Sequence[str], where: Path) -> set[str]:
    """Return the groups of the test: every fifth, or the last of fewer. Raises DataError."""
    if len(names) < 2:
        raise DataError(
            f"{where}: has the one group {', '.join(names)}, which cannot be in both parts; "
            "make folders train and test, or declare other groups"
        )
    return set(names[EVERY - 1 :: EVERY] or names[-1:])


@dataclass(frozen=True, kw_only=True)
class Heidelberg:
    """SHD and SSC: one HDF5 file per part, units of a cochlea as rows."""

    name: str
    title: str
    folders: tuple[str, ...]
    train: tuple[str, ...]  # joined
    test: str
    origin: str = "zenkelab.org/datasets, unzipped"

    def layout(self, root: Path) -> Layout:
        folder = first_of(
            root, self.folders, self.train[0], f"{self.title}'s .h5 files", self.origin
        )
        names = (*self.train, self.test)
        files = tuple(folder / name for name in names)
        for path in files:
            if not path.is_file():
                raise DataError(f"{path}: not found; it belongs to {self.title} ({self.origin})")
        shape, classes = DATASETS[self.name]
        return Layout(
            name=self.name,
            form=Form(shape=shape, starts_at_zero=True),
            classes=tuple(str(label) for label in range(classes)),
            files=files,
            parts=lambda: (
                [item for path in files[:-1] for item in spoken_items(path, classes)],
                spoken_items(files[-1], classes),
            ),
        )


def spoken_items(path: Path, classes: int) -> list[Item]:
    """Return the recordings of a file as those of SHD are. Raises DataError."""
    found, labels, speakers = plain.spoken(path)
    if len(labels) and (labels.min() < 0 or labels.max() >= classes):
        worst = labels.min() if labels.min() < 0 else labels.max()
        raise DataError(f"{path}: labels must be from 0 to {classes - 1}, got {worst}")

    def events(time: Int64, unit: Int64) -> Events:
        none = np.zeros_like(unit)
        return events_of(time, none, unit, none)

    return [
        Item(f"{path}: recording {number}", int(label), functools.partial(events, *pair), by)
        for number, (pair, label, by) in enumerate(zip(found, labels, speakers, strict=True))
    ]


@dataclass(frozen=True, kw_only=True)
class Gesture:
    """DVS128 Gesture: IBM's AEDAT 3.1 files with lists of trials, or Tonic's .npy files."""

    name: str = "dvs-gesture"
    folders: tuple[str, ...] = ("DVSGesture", "DvsGesture", "dvs-gesture")

    def layout(self, root: Path) -> Layout:
        _, classes = DATASETS[self.name]
        for name in self.folders:
            if (root / name / "ibmGestureTrain").is_dir():
                return self._tonic(root / name, classes)
        folder = first_of(
            root, self.folders, "trials_to_train.txt", "DVS128 Gesture",
            "IBM's DvsGesture.tar.gz unpacked, or Tonic's ibmGestureTrain and ibmGestureTest",
        )  # fmt: skip
        return self._ibm(folder, classes)

    def _layout(
        self, form: Form, classes: int, files: Iterable[Path], parts: Sequence[list[Item]]
    ) -> Layout:
        return Layout(
            name=self.name, form=form, classes=tuple(str(n) for n in range(classes)),
            files=tuple(files), parts=lambda: (parts[0], parts[1]),
        )  # fmt: skip

    def _tonic(self, folder: Path, classes: int) -> Layout:
        parts: list[list[Item]] = []
        files = []
        for name in ("ibmGestureTrain", "ibmGestureTest"):
            found = sorted(
                (folder / name).rglob("*.npy"), key=lambda p: (p.parent.name, natural(p))
            )
            items = []
            for path in found:
                if not path.stem.isdigit() or int(path.stem) >= classes:
                    raise DataError(f"{path}: must be named by its class, 0 to {classes - 1}")
                read = functools.partial(formats.read, path, columns="xypt")
                items.append(Item(str(path), int(path.stem), read))
            files += found
            parts.append(items)
        shape = DATASETS[self.name][0]
        return self._layout(Form(shape=shape, unit_us=1000.0), classes, files, parts)

    def _ibm(self, folder: Path, classes: int) -> Layout:
        parts: list[list[Item]] = []
        files = []
        for name in ("trials_to_train.txt", "trials_to_test.txt"):
            trials = (folder / name).read_text().split() if (folder / name).is_file() else []
            items = []
            for trial in trials:
                path = folder / trial
                labels = path.with_name(f"{path.stem}_labels.csv")
                for needed in (path, labels):
                    if not needed.is_file():
                        raise DataError(f"{needed}: not found; {folder / name} lists {trial}")
                files += [path, labels]
                items += _slices(path, labels, classes)
            parts.append(items)
        return self._layout(Form(shape=DATASETS[self.name][0]), classes, files, parts)


def _slices(path: Path, labels: Path, classes: int) -> list[Item]:
    """Return the labelled parts of a long recording: rows of class (from 1), start, end in us."""
    items = []
    whole = functools.lru_cache(maxsize=1)(aedat)
    for number, line in enumerate(labels.read_text().splitlines()[1:], 2):
        try:
            label, start, end = (int(word) for word in line.split(","))
        except ValueError:
            raise DataError(f"{labels}: line {number} must be class,start,end: {line!r}") from None
        if not 1 <= label <= classes or end <= start:
            raise DataError(
                f"{labels}: line {number}: must be a class of 1 to {classes}, and times"
            )
        read = functools.partial(cut_out, whole, path, start, end)
        items.append(Item(f"{path} ({start} to {end} us)", label - 1, read))
    return items


def cut_out(read: Read, path: Path, start: int, end: int) -> Events:
    """Return the events of a recording from `start` to before `end`, on its clock."""
    events = read(path)
    inside = (events.time >= start) & (events.time < end)
    return Events(*(part[inside] for part in events))


@dataclass(frozen=True, kw_only=True)
class SpokenDigits:
    """The Free Spoken Digit Dataset; recordings 0 to 4 of each digit and speaker are the test."""

    name: str = "spoken-digits"
    folders: tuple[str, ...] = field(
        default=(".", "spoken-digits", "free-spoken-digit-dataset", "FSDD")
    )

    def layout(self, root: Path) -> Layout:
        folder = first_of(
            root, self.folders, "recordings", "the Free Spoken Digit Dataset's .wav files",
            "github.com/Jakobovski/free-spoken-digit-dataset",
        )  # fmt: skip
        shape, classes = DATASETS[self.name]
        parts: list[list[Item]] = [[], []]
        files = listed(folder / "recordings", (".wav",))
        for path in files:
            match = re.fullmatch(r"(\d)_([a-z]+)_(\d+)", path.stem)
            if match is None:
                raise DataError(f"{path}: must be named <digit>_<speaker>_<index>.wav")
            read = functools.partial(sound.wav, path)
            parts[int(match[3]) < 5].append(Item(str(path), int(match[1]), read, match[2]))
        return Layout(
            name=self.name,
            form=Form(shape=shape, starts_at_zero=True),
            classes=tuple(str(digit) for digit in range(classes)),
            files=tuple(files),
            parts=lambda: (parts[0], parts[1]),
        )


NAMED: dict[str, RecordingSource] = {
    "n-mnist": ByFolder(
        name="n-mnist", title="N-MNIST", origin="garrickorchard.com/datasets/n-mnist, unzipped",
        folders=("NMNIST", "N-MNIST", "n-mnist"), suffixes=(".bin",), parts=("Train", "Test"),
        starts_at_zero=True,
    ),
    "n-caltech101": ByFolder(
        name="n-caltech101", title="N-Caltech101", inner="Caltech101",
        origin="garrickorchard.com/datasets/n-caltech101, unzipped",
        folders=("NCALTECH101", "N-Caltech101", "n-caltech101"), suffixes=(".bin",),
        starts_at_zero=True,
    ),
    "cifar10-dvs": ByFolder(
        name="cifar10-dvs", title="CIFAR10-DVS", origin="figshare 4724671, unzipped",
        folders=("CIFAR10DVS", "CIFAR10-DVS", "cifar10-dvs"), suffixes=(".aedat", ".aedat4"),
    ),
    "dvs-gesture": Gesture(),
    "shd": Heidelberg(
        name="shd", title="SHD", folders=("SHD", "shd", "hdspikes"), train=("shd_train.h5",),
        test="shd_test.h5",
    ),
    "ssc": Heidelberg(
        name="ssc", title="SSC", folders=("SSC", "ssc"), train=("ssc_train.h5", "ssc_valid.h5"),
        test="ssc_test.h5",
    ),
    "spoken-digits": SpokenDigits(),
    "braille": Braille(),
    "digits-saccades": Saccades(name="digits-saccades", images="digits"),
    "mnist-saccades": Saccades(name="mnist-saccades", images="mnist"),
}  # fmt: skip
"""Data sets that are known by name. The validation part of SSC counts to its training part."""
