"""The block cache: a folder of trained blocks, named by everything that determines them.

An entry is one file, written to a draft, flushed to disk and renamed, so that it is never
incomplete. Its first line is the SHA-256 of the rest: a line of JSON and the tensors. There
is no index that could differ from the folder, and no lock: two processes that train the
same block write the same file.
"""

import contextlib
import hashlib
import json
import os
import secrets
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from snn.settings.measurement import LayerConnectivity, Measurement
from snn.training.sealed import DamagedError, seal, unseal

MAGIC = b"spikefront block 1 "  # of this format; another one gets another number
SUFFIX = ".block"
DRAFT = ".writing-"
STALE_S = 600.0  # age at which a draft is taken to be abandoned


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A trained block, and the measurements of its training."""

    description: Mapping[str, Any]  # everything that determines it, as JSON values
    tensors: Mapping[str, Tensor]
    measurements: tuple[Measurement, ...]
    training_s: float
    memory_bytes: int
    training_ops: float
    parameters: int


class BlockCache:
    """A folder of entries of at most `limit_bytes`; the least recently used are removed first.

    Concurrent writers may each exceed the limit by one entry while they write. A fault never
    ends a training: a damaged entry is removed and trained again, and after a disk error
    nothing more is written. Each fault adds a line to `notes`.
    """

    def __init__(self, folder: Path, *, limit_bytes: int, notes: list[str] | None = None) -> None:
        self.folder, self.limit_bytes = folder, limit_bytes
        self.notes = [] if notes is None else notes
        self._is_off = False

    def get(self, description: Mapping[str, Any]) -> Entry | None:
        """Return the entry of a description, or None if it is missing or damaged."""
        path = self._path(description)
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            self._fail(error)
            return None
        try:
            entry = _decode(data)
            if entry.description != _plain(description):
                raise DamagedError("holds a different block than its name says")
        except DamagedError as error:
            self.notes.append(f"block cache: {path.name} {error}; removed, trained again")
            with contextlib.suppress(OSError):
                path.unlink()
            return None
        with contextlib.suppress(OSError):  # the folder may be read-only
            os.utime(path)
        return entry

    def put(self, entry: Entry) -> None:
        """Store the entry, and remove others to keep the limit."""
        if self._is_off:
            return
        data = _encode(entry)
        if len(data) > self.limit_bytes:
            self._stop(f"a block of {len(data):,} bytes exceeds the limit of {self.limit_bytes:,}")
            return
        draft = self.folder / f"{DRAFT}{secrets.token_hex(8)}"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._make_room(len(data))
            try:
                _write(draft, data)
                os.replace(draft, self._path(entry.description))
            finally:
                with contextlib.suppress(OSError):
                    draft.unlink()
            _flush_folder(self.folder)
            self._make_room(0)  # other processes may have written meanwhile
        except OSError as error:
            self._fail(error)

    def size_bytes(self) -> int:
        """Return the size of all entries and drafts in the folder."""
        return sum(status.st_size for _, status in self._files())

    def _path(self, description: Mapping[str, Any]) -> Path:
        text = json.dumps(_plain(description), sort_keys=True)
        return self.folder / (hashlib.sha256(text.encode()).hexdigest()[:32] + SUFFIX)

    def _files(self) -> Iterator[tuple[Path, os.stat_result]]:
        for path in self.folder.iterdir():
            if path.suffix == SUFFIX or path.name.startswith(DRAFT):
                with contextlib.suppress(FileNotFoundError):  # another worker removed it
                    yield path, path.stat()

    def _make_room(self, size: int) -> None:
        """Remove abandoned drafts, and the least recently used entries above the limit."""
        entries, total = [], size
        for path, status in self._files():
            is_draft = path.name.startswith(DRAFT)
            if is_draft and time.time() - status.st_mtime > STALE_S:
                path.unlink(missing_ok=True)
                continue
            total += status.st_size
            if not is_draft:
                entries.append((status.st_mtime_ns, path, status.st_size))
        for _, path, of_entry in sorted(entries):
            if total <= self.limit_bytes:
                return
            path.unlink(missing_ok=True)
            total -= of_entry

    def _fail(self, error: OSError) -> None:
        self._stop(error.strerror or type(error).__name__)

    def _stop(self, why: str) -> None:
        """Stop writing; the note is the same every time, so that it can be shown once."""
        self._is_off = True
        self.notes.append(f"block cache: {self.folder} is not written to: {why}")


def _plain(description: Mapping[str, Any]) -> Any:
    """Return the description as JSON would return it."""
    return json.loads(json.dumps(description))


def _encode(entry: Entry) -> bytes:
    header = {
        "description": entry.description,
        "measurements": [asdict(measurement) for measurement in entry.measurements],
        "training_s": entry.training_s,
        "memory_bytes": entry.memory_bytes,
        "training_ops": entry.training_ops,
        "parameters": entry.parameters,
    }
    return seal(MAGIC, header, entry.tensors)


def _decode(data: bytes) -> Entry:
    """Return the entry in a file's bytes. Raises DamagedError."""
    values, tensors = unseal(MAGIC, data)
    return Entry(
        description=values["description"],
        tensors=tensors,
        measurements=tuple(measurement_of(measured) for measured in values["measurements"]),
        training_s=values["training_s"],
        memory_bytes=values["memory_bytes"],
        training_ops=values["training_ops"],
        parameters=values["parameters"],
    )


def measurement_of(values: Mapping[str, Any]) -> Measurement:
    """Return the measurement that `dataclasses.asdict` made a mapping of."""
    layers = tuple(LayerConnectivity(**layer) for layer in values["layers"])
    return Measurement(**{**values, "layers": layers})


def _write(path: Path, data: bytes) -> None:
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _flush_folder(folder: Path) -> None:
    """Flush the folder, so that a new name survives a power cut, where the system supports it."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
