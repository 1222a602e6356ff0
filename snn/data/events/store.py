"""The store of a data set of recordings: ragged arrays, built once, mapped into memory.

A store is a folder of .npy files in the user's cache. Its name is a digest of the files that it
was made of (path, size, time of change), what was declared of them and the version of the
readers. It is written aside, flushed and renamed, under a lock, so that a store that exists is
complete; every process maps the same pages. While one is built, stderr says how far it is.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from snn.data.events.events import Events, Form, check_lengths, recording
from snn.data.image_files import DataError
from snn.settings.user_folders import cache_folder

VERSION = 4  # of stores and readers together: another number builds all stores anew
HEADER = "store.json"
PARTS = ("train", "test")
ARRAYS = ("start", "time", "place", "value", "label", "group")
LEAST_ALIKE = 5  # events or samples from which equal recordings are the same one
TOLD_S = 5.0  # from one line about a store that is built to the next


class Item(NamedTuple):
    """One recording to be: where it lies, its label, the function that reads it, and its group.

    A series is read as float32 (samples, channels), the others as Events. A group is a speaker
    or a session; without a name it is unknown.
    """

    where: str
    label: int
    read: Callable[[], Events | npt.NDArray[np.float32]]
    group: str = ""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """The files of a data set, found but not read."""

    name: str
    form: Form
    classes: tuple[str, ...]
    files: tuple[Path, ...]
    parts: Callable[[], tuple[Iterable[Item], Iterable[Item]]]  # training, test
    interval_us: float = 0.0  # of a series: time from one sample to the next
    unread: tuple[Path, ...] = ()  # files beside the recordings, of no known format


@dataclass(frozen=True, kw_only=True, eq=False)
class Part:
    """The recordings of one part, one after another; recording i is start[i] to start[i + 1].

    Of events `time` (microseconds) and `place`, of series `value` (samples, channels).
    """

    start: npt.NDArray[np.int64]
    time: npt.NDArray[np.uint32]
    place: npt.NDArray[np.uint32]
    value: npt.NDArray[np.float32]
    label: npt.NDArray[np.int64]
    group: npt.NDArray[np.int64]  # place in the store's groups, -1: unknown

    def __len__(self) -> int:
        return len(self.label)


@dataclass(frozen=True, kw_only=True, eq=False)
class Store:
    """A data set of recordings; arrays are mapped, read-only."""

    name: str
    shape: tuple[int, int, int]
    classes: tuple[str, ...]
    train: Part
    test: Part
    groups: tuple[str, ...]  # in the order of their first recording
    fingerprint: str  # 16 hex digits over all arrays: the name of the data
    unsorted: int  # recordings whose file was not in the order of time
    outside: int  # events outside of the sensor, which were dropped
    unread: tuple[str, ...]  # files beside the recordings, of no known format
    interval_us: float


def stores_folder() -> Path:
    """Return the folder of all stores."""
    return cache_folder() / "recordings"


def open_store(layout: Layout, folder: Path | None = None) -> Store:
    """Return the store of a data set, which is built if there is none.

    Raises DataError for damaged recordings, or a place that cannot be written.
    """
    try:
        folder = folder or stores_folder()
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{layout.name}-{_key(layout)}"
        if not (path / HEADER).is_file():
            with _locked(path.with_suffix(".lock")):
                if not (path / HEADER).is_file():
                    _build(layout, path)
        return _mapped(path)
    except OSError as error:
        raise DataError(
            f"{layout.name}: its store cannot be written in {folder or 'the cache'}: "
            f"{error.strerror or error}; set XDG_CACHE_HOME to a folder with space"
        ) from None


def _key(layout: Layout) -> str:
    digest = hashlib.sha256(f"{VERSION} {layout.name} {layout.classes}".encode())
    digest.update(json.dumps([asdict(layout.form), layout.interval_us]).encode())
    for path in (*layout.files, *layout.unread):
        known = path.stat()
        digest.update(f"{path}\0{known.st_size}\0{known.st_mtime_ns}\0".encode())
    return digest.hexdigest()[:16]


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Wait until no other process builds the same store; the system frees a dead one's lock."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _build(layout: Layout, path: Path) -> None:
    draft = path.with_name(f".writing-{path.name}")
    shutil.rmtree(draft, ignore_errors=True)  # of a builder that died
    draft.mkdir()
    try:
        digest = hashlib.sha256(repr((layout.form.shape, layout.classes)).encode())
        header: dict[str, Any] = {"unsorted": 0, "outside": 0, "groups": []}
        seen: dict[bytes, str] = {}
        for name, items in zip(PARTS, layout.parts(), strict=True):
            arrays = _arrays(layout, items, header, seen, is_test=name == "test")
            for kind, array in zip(ARRAYS, arrays, strict=True):
                digest.update(f"{name} {kind} {array.shape}".encode() + array.tobytes())
                with (draft / f"{name}-{kind}.npy").open("wb") as file:
                    np.save(file, array)
                    file.flush()
                    os.fsync(file.fileno())
        header |= {
            "name": layout.name,
            "shape": layout.form.shape,
            "classes": layout.classes,
            "interval_us": layout.interval_us,
            "unread": [str(path) for path in layout.unread],
            "fingerprint": digest.hexdigest()[:16],
        }
        with (draft / HEADER).open("w") as text:
            json.dump(header, text)
            text.flush()
            os.fsync(text.fileno())
        shutil.rmtree(path, ignore_errors=True)  # a folder without header
        os.replace(draft, path)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _arrays(
    layout: Layout, items: Iterable[Item], header: dict[str, Any], seen: dict[bytes, str],
    *, is_test: bool,
) -> tuple[npt.NDArray[Any], ...]:  # fmt: skip
    """Return the arrays of one part, in the order of ARRAYS."""
    part = "test" if is_test else "training"
    lengths, times, places, values, labels, spans = [], [], [], [], [], []
    groups, known = [], {name: place for place, name in enumerate(header["groups"])}
    for where, label, read, group in _counted(items, f"{layout.name}: {part} part"):
        found = read()
        if isinstance(found, Events):
            made = recording(found, layout.form, where)
            header["unsorted"] += not made.is_sorted
            header["outside"] += made.outside
            times.append(made.time)
            places.append(made.place)
            lengths.append(len(made.time))
            spans.append(int(made.time[-1]) if len(made.time) else 0)
            content = made.time.tobytes() + made.place.tobytes()
        else:
            values.append(found)
            lengths.append(len(found))
            spans.append(int(len(found) * layout.interval_us))
            content = found.tobytes()
        key = hashlib.sha256(content).digest()
        if is_test and lengths[-1] >= LEAST_ALIKE and key in seen:
            raise DataError(
                f"{where}: is the same recording as {seen[key]} of the training part; keep it in "
                "one of them"
            )
        if not is_test:
            seen[key] = where
        labels.append(label)
        groups.append(known.setdefault(group, len(known)) if group else -1)
    header["groups"] = list(known)
    label_array = np.array(labels, np.int64)
    if not labels:
        raise DataError(f"{layout.name}: the {part} part has no recordings")
    if not sum(lengths):
        raise DataError(f"{layout.name}: no {part} recording has any event")
    if not is_test and len(np.unique(label_array)) < 2:
        only = layout.classes[labels[0]]
        raise DataError(f"{layout.name}: all training recordings have the one class {only!r}")
    used = np.array(spans, np.int64)
    check_lengths(used[used > 0], layout.name)
    start = np.concatenate([[0], np.cumsum(np.array(lengths, np.int64))])
    none = np.empty(0, np.uint32)
    return (
        start.astype(np.int64),
        np.concatenate(times) if times else none,
        np.concatenate(places) if places else none,
        np.concatenate(values) if values else np.empty((0, 0), np.float32),
        label_array,
        np.array(groups, np.int64),
    )


def _counted(items: Iterable[Item], title: str) -> Iterator[Item]:
    """Yield the items, and say from time to time how many there have been."""
    total = f" of {len(items):,}" if isinstance(items, Sized) else ""
    told = time.monotonic()
    for number, item in enumerate(items):
        if time.monotonic() - told >= TOLD_S:
            told = time.monotonic()
            print(
                f"spikefront: {title}: {number:,}{total} recordings are read and kept for all "
                "later runs",
                file=sys.stderr,
            )
        yield item


def _mapped(path: Path) -> Store:
    try:
        header = json.loads((path / HEADER).read_text())
        parts = [
            Part(**{kind: _array(path / f"{name}-{kind}.npy") for kind in ARRAYS}) for name in PARTS
        ]
        channels, height, width = header["shape"]
        return Store(
            name=header["name"],
            shape=(channels, height, width),
            classes=tuple(header["classes"]),
            train=parts[0],
            test=parts[1],
            groups=tuple(header["groups"]),
            fingerprint=header["fingerprint"],
            unsorted=header["unsorted"],
            outside=header["outside"],
            unread=tuple(header["unread"]),
            interval_us=header["interval_us"],
        )
    except (ValueError, KeyError, TypeError, EOFError) as error:
        raise DataError(f"{path}: is damaged ({error}); delete this folder") from None


def _array(path: Path) -> npt.NDArray[Any]:
    array = np.load(path, mmap_mode="r", allow_pickle=False)
    assert isinstance(array, np.ndarray)
    return array


def gathered(part: Part, index: Sequence[int] | npt.NDArray[np.int64]) -> tuple[
    npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]
]:  # fmt: skip
    """Return times, places and numbers of events of some recordings, one after another."""
    chosen = np.asarray(index, np.int64)
    counts = part.start[chosen + 1] - part.start[chosen]
    before = np.cumsum(counts) - counts
    places = np.repeat(part.start[chosen] - before, counts) + np.arange(int(counts.sum()))
    return part.time[places].astype(np.int64), part.place[places].astype(np.int64), counts
