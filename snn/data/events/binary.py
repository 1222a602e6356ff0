"""Readers of packed formats: ATIS .bin, SLAYER .bs1 and .bs2, Prophesee .dat, Event Stream .es."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from snn.data.events.events import Events, Int64, events_of
from snn.data.image_files import DataError

Bytes = npt.NDArray[np.uint8]

OVERFLOW_Y = 240
"""Row of a .bin event that marks an overflow of the camera's clock: 2^13 microseconds."""


def contents(path: Path) -> bytes:
    """Return the bytes of a file. Raises DataError."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None


def records(path: Path, data: bytes, size: int, what: str) -> Bytes:
    """Return bytes (records, size). Raises DataError if the last record is incomplete."""
    left = len(data) % size
    if left:
        raise DataError(
            f"{path}: {what} have {size} bytes each, but {left} bytes are left at "
            f"{len(data) - left}: the file was cut short, or is of another format"
        )
    return np.frombuffer(data, np.uint8).reshape(-1, size)


def _time_of(last: Bytes) -> Int64:
    """Return 23 bits of time in the last three bytes, big-endian; the first bit is ON."""
    wide = last.astype(np.int64)
    return (wide[:, 0] & 127) << 16 | wide[:, 1] << 8 | wide[:, 2]


def bin_(path: Path) -> Events:
    """Read x, y (a byte each), ON (a bit) and 23 bits of microseconds (N-MNIST, N-Caltech101)."""
    rows = records(path, contents(path), 5, "events of a .bin file")
    time, is_marker = _time_of(rows[:, 2:]), rows[:, 1] == OVERFLOW_Y
    if is_marker.any():
        time = time + (np.cumsum(is_marker) << 13)
        rows, time = rows[~is_marker], time[~is_marker]
    return events_of(time, rows[:, 0], rows[:, 1], rows[:, 2] >> 7)


def bs2(path: Path) -> Events:
    """Read the same as .bin, without markers (SLAYER, two-dimensional)."""
    rows = records(path, contents(path), 5, "events of a .bs2 file")
    return events_of(_time_of(rows[:, 2:]), rows[:, 0], rows[:, 1], rows[:, 2] >> 7)


def bs1(path: Path) -> Events:
    """Read a unit of 16 bits, big-endian, a bit and 23 bits of time (SLAYER, one-dimensional).

    Units are rows: a cochlea with 64 units has the shape (1, 64, 1).
    """
    rows = records(path, contents(path), 5, "spikes of a .bs1 file")
    unit = rows[:, 0].astype(np.int64) << 8 | rows[:, 1]
    return events_of(_time_of(rows[:, 2:]), np.zeros_like(unit), unit, np.zeros_like(unit))


def text_header(path: Path, data: bytes, mark: bytes) -> tuple[list[str], int]:
    """Return the lines at the beginning that start with `mark`, and where they end."""
    lines, place = [], 0
    while data[place : place + len(mark)] == mark:
        end = data.find(b"\n", place)
        if end < 0:
            raise DataError(f"{path}: ends within its header; the file was cut short")
        lines.append(data[place:end].decode("latin-1").strip())
        place = end + 1
    return lines, place


def dat(path: Path) -> Events:
    """Read Prophesee's .dat: 32 bits of microseconds, then x (14 bits), y (14) and ON (4)."""
    data = contents(path)
    _, place = text_header(path, data, b"%")
    kind = data[place : place + 2]
    if len(kind) < 2 or kind[0] not in (0, 12) or kind[1] != 8:
        raise DataError(
            f"{path}: must have events of type 0 or 12 and 8 bytes after its header, "
            f"got {list(kind)}; it is no .dat file of events"
        )
    rows = records(path, data[place + 2 :], 8, "events of a .dat file")
    words = np.ascontiguousarray(rows).view("<u4").astype(np.int64)
    where = words[:, 1]
    return events_of(words[:, 0], where & 0x3FFF, where >> 14 & 0x3FFF, where >> 28 & 1)


ES_KINDS = {0: "generic", 2: "ATIS", 3: "colour"}


def es(path: Path) -> Events:
    """Read an Event Stream file of a DVS, version 2.

    An event is a byte (7 bits of waiting time in microseconds, ON) and x and y of 16 bits,
    little-endian; a byte 0xff waits 127 microseconds, and 0xfe resets nothing here.
    """
    data = contents(path)
    if data[:12] != b"Event Stream":
        raise DataError(f"{path}: must begin with 'Event Stream', got {data[:12]!r}")
    if len(data) < 20:
        raise DataError(f"{path}: ends within its header; the file was cut short")
    if data[12] != 2 or data[15] != 1:
        version = ".".join(map(str, data[12:15]))
        kind = ES_KINDS.get(data[15], "DVS" if data[15] == 1 else str(data[15]))
        raise DataError(
            f"{path}: must be DVS events of Event Stream version 2, got {kind} of {version}"
        )
    body = np.frombuffer(data, np.uint8)[20:]
    parts, waits, place, pending, ahead = [], [], 0, 0, 64
    while place < len(body):
        window = body[place : place + 5 * ahead]
        if window[0] >= 0xFE:  # a run of markers
            others = np.flatnonzero(window < 0xFE)
            run = int(others[0]) if len(others) else len(window)
            pending += 127 * int((window[:run] == 0xFF).sum())
            place += run
            continue
        rows = window[: len(window) // 5 * 5].reshape(-1, 5)
        marks = np.flatnonzero(rows[:, 0] >= 0xFE)
        count = int(marks[0]) if len(marks) else len(rows)
        if count == 0:
            raise DataError(f"{path}: ends within an event; the file was cut short")
        wait = rows[:count, 0].astype(np.int64) >> 1
        wait[0] += pending
        parts.append(rows[:count])
        waits.append(wait)
        pending = 0
        place += 5 * count
        ahead = 64 if len(marks) else min(2 * ahead, 2**20)  # few are looked at twice
    rows = np.concatenate(parts) if parts else np.empty((0, 5), np.uint8)
    wide = rows.astype(np.int64)
    time = np.cumsum(np.concatenate(waits)) if waits else np.empty(0, np.int64)
    return events_of(
        time, wide[:, 1] | wide[:, 2] << 8, wide[:, 3] | wide[:, 4] << 8, wide[:, 0] & 1
    )
