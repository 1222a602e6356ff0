"""The block cache: trained blocks in a folder, each named by all that it depends on.

An entry is one file, whole or not there: written beside its place, flushed to
the disk and renamed. Its first line holds the SHA-256 of all that follows, a
line of JSON and the tensors. There is no index that could disagree with the
folder, and no lock: who trains the same block at the same time writes the same.
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

import safetensors
import safetensors.torch
from torch import Tensor

from snn.settings.measurement import LayerConnectivity, Measurement

MAGIC = b"spikefront block 1 "  # of this format; another one gets another number
SUFFIX = ".block"
DRAFT = ".writing-"
STALE_S = 600.0  # a draft as old as this has lost its writer


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A trained block, and what its training showed."""

    description: Mapping[str, Any]  # all that it depends on, as JSON can hold it
    tensors: Mapping[str, Tensor]
    measurements: tuple[Measurement, ...]
    training_s: float
    memory_bytes: int
    parameters: int


class BlockCache:
    """A folder of entries, of `limit_bytes` at most; the least recently used go first.

    Writers at the same time may each exceed the limit by their entry until they
    are done. What goes wrong never ends a training: a damaged entry is removed
    and counts as missing, and after a failure of the disk nothing is written
    any more. Both are said in `notes`, a line each.
    """

    def __init__(self, folder: Path, *, limit_bytes: int, notes: list[str] | None = None) -> None:
        self.folder, self.limit_bytes = folder, limit_bytes
        self.notes = [] if notes is None else notes
        self._is_off = False

    def get(self, description: Mapping[str, Any]) -> Entry | None:
        """The entry of that description; None where there is none that is whole."""
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
                raise DamagedError("holds another block than its name says")
        except DamagedError as error:
            self.notes.append(f"block cache: {path.name} {error}; removed, trained again")
            with contextlib.suppress(OSError):
                path.unlink()
            return None
        with contextlib.suppress(OSError):  # a folder that can only be read still serves
            os.utime(path)
        return entry

    def put(self, entry: Entry) -> None:
        """Keep the entry, and remove others as far as the limit asks for it."""
        if self._is_off:
            return
        data = _encode(entry)
        if len(data) > self.limit_bytes:
            self._stop(f"a block of {len(data):,} bytes is over its limit of {self.limit_bytes:,}")
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
            self._make_room(0)  # others have written meanwhile
        except OSError as error:
            self._fail(error)

    def size_bytes(self) -> int:
        """What the folder holds now, drafts included."""
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
        """Remove drafts without a writer, and the least recently used entries as need be."""
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
        """Write no more; the same words every time, so that they need to be said only once."""
        self._is_off = True
        self.notes.append(f"block cache: {self.folder} is not written to: {why}")


class DamagedError(ValueError):
    """A file that is no whole entry."""


def _plain(description: Mapping[str, Any]) -> Any:
    """As it comes back from JSON."""
    return json.loads(json.dumps(description))


def _encode(entry: Entry) -> bytes:
    header = {
        "description": entry.description,
        "measurements": [asdict(measurement) for measurement in entry.measurements],
        "training_s": entry.training_s,
        "memory_bytes": entry.memory_bytes,
        "parameters": entry.parameters,
    }
    tensors = {name: t.detach().cpu().contiguous() for name, t in entry.tensors.items()}
    body = json.dumps(header, sort_keys=True).encode() + b"\n" + safetensors.torch.save(tensors)
    return MAGIC + hashlib.sha256(body).hexdigest().encode() + b"\n" + body


def _decode(data: bytes) -> Entry:
    """Raises DamagedError."""
    first, _, body = data.partition(b"\n")
    if not first.startswith(MAGIC):
        raise DamagedError("is no entry of this format")
    if first[len(MAGIC) :] != hashlib.sha256(body).hexdigest().encode():
        raise DamagedError("is damaged (its checksum differs)")
    header, _, tensors = body.partition(b"\n")
    values = json.loads(header)
    return Entry(
        description=values["description"],
        tensors=safetensors.torch.load(tensors),
        measurements=tuple(_measurement(measured) for measured in values["measurements"]),
        training_s=values["training_s"],
        memory_bytes=values["memory_bytes"],
        parameters=values["parameters"],
    )


def _measurement(values: Mapping[str, Any]) -> Measurement:
    layers = tuple(LayerConnectivity(**layer) for layer in values["layers"])
    return Measurement(**{**values, "layers": layers})


def _write(path: Path, data: bytes) -> None:
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _flush_folder(folder: Path) -> None:
    """So that the name survives a power cut too; not every system can."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
