"""Readers of AEDAT files; the version is read from the header, never from the suffix.

Coordinates of AEDAT 2.0 (DVS128) are those of jAER: x counts from the right, ON is a cleared
bit. Other programs turn and invert them; `flip_x`, `flip_y` and `on` of own data do, too.
"""

from pathlib import Path

import numpy as np

from snn.data.events.binary import contents, records, text_header
from snn.data.events.events import Events, events_of
from snn.data.events.plain import DAMAGE, damaged, library
from snn.data.image_files import DataError

PACKET = np.dtype(
    [
        ("kind", "<i2"),
        ("source", "<i2"),
        *((name, "<i4") for name in ("size", "offset", "overflow", "capacity", "number", "valid")),
    ]
)
POLARITY = 1  # kind of a packet of events


def aedat(path: Path) -> Events:
    """Read AEDAT 2.0, 3.1 or 4. Raises DataError."""
    try:
        with path.open("rb") as file:
            start = file.read(16)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None
    if start.startswith(b"#!AER-DAT4"):
        return _aedat4(path)
    data = contents(path)
    if start.startswith(b"#!AER-DAT3.1"):
        return _aedat31(path, data)
    if start.startswith(b"#!AER-DAT2"):
        return _aedat2(path, data)
    raise DataError(f"{path}: must begin with #!AER-DAT2.0, 3.1 or 4, got {start[:12]!r}")


def _aedat2(path: Path, data: bytes) -> Events:
    lines, place = text_header(path, data, b"#")
    if any("davis" in line.lower() for line in lines):
        raise DataError(f"{path}: is of a DAVIS; of AEDAT 2.0 only DVS128 is read")
    rows = records(path, data[place:], 8, "events of AEDAT 2.0")
    words = np.ascontiguousarray(rows).view(">u4").astype(np.int64)
    address = words[words[:, 0] & 0x8000 == 0, 0]  # without external events
    time = words[words[:, 0] & 0x8000 == 0, 1]
    return events_of(time, 127 - (address >> 1 & 127), address >> 8 & 127, 1 - (address & 1))


def _aedat31(path: Path, data: bytes) -> Events:
    end = data.find(b"#!END-HEADER\r\n")
    if end < 0:
        raise DataError(f"{path}: has no line #!END-HEADER; the file was cut short")
    place, parts = end + len(b"#!END-HEADER\r\n"), []
    while place < len(data):
        if len(data) - place < PACKET.itemsize:
            raise DataError(f"{path}: ends within the packet at byte {place}; it was cut short")
        head = np.frombuffer(data, PACKET, count=1, offset=place)[0]
        size, number = int(head["size"]), int(head["number"])
        body = place + PACKET.itemsize
        if size <= 0 or number < 0 or body + size * number > len(data):
            raise DataError(
                f"{path}: the packet at byte {place} must end within the file; "
                "it was cut short or is damaged"
            )
        if head["kind"] == POLARITY and size == 8:
            words = np.frombuffer(data, "<u4", count=2 * number, offset=body).reshape(-1, 2)
            wide = words[words[:, 0] & 1 == 1].astype(np.int64)  # valid events
            wide[:, 1] += int(head["overflow"]) << 31
            parts.append(wide)
        place = body + size * number
    wide = np.concatenate(parts) if parts else np.empty((0, 2), np.int64)
    address = wide[:, 0]
    return events_of(wide[:, 1], address >> 17 & 0x7FFF, address >> 2 & 0x7FFF, address >> 1 & 1)


def _aedat4(path: Path) -> Events:
    decoder = library("aedat", "AEDAT 4")
    try:
        parts = [packet["events"] for packet in decoder.Decoder(str(path)) if "events" in packet]
    except DAMAGE as error:
        raise DataError(f"{path}: {damaged(error)}") from None
    fields = [
        np.concatenate([part[name] for part in parts]) if parts else np.empty(0, np.int64)
        for name in ("t", "x", "y", "on")
    ]
    return events_of(*fields)
