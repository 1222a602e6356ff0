"""Writers of each format, for tests that read back what was written."""

import struct
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Table = npt.NDArray[np.int64]  # rows of t, x, y, p, sorted by t


def five_bytes(table: Table) -> bytes:
    t, x, y, p = table.T
    rows = np.stack([x, y, p << 7 | t >> 16, t >> 8 & 255, t & 255], axis=1)
    return rows.astype(np.uint8).tobytes()


def bs1(table: Table) -> bytes:
    t, _, y, _ = table.T
    rows = np.stack([y >> 8, y & 255, t >> 16, t >> 8 & 255, t & 255], axis=1)
    return rows.astype(np.uint8).tobytes()


def dat(table: Table) -> bytes:
    t, x, y, p = table.T
    body = np.stack([t, x | y << 14 | p << 28], axis=1).astype("<u4").tobytes()
    return b"% Version 2\n" + bytes([0, 8]) + body


def evt2(table: Table) -> bytes:
    words = []
    for t, x, y, p in table.tolist():
        words += [8 << 28 | t >> 6, p << 28 | (t & 63) << 22 | x << 11 | y]
    return b"% evt 2.0\n" + np.array(words, dtype=np.int64).astype("<u4").tobytes()


def evt3(table: Table) -> bytes:
    """Single events, and each event again as a vector of one bit would be another event."""
    words = []
    for t, x, y, p in table.tolist():
        words += [8 << 12 | t >> 12, 6 << 12 | t & 4095, y, 3 << 12 | p << 11 | x, 4 << 12 | 1]
    return b"% evt 3.0\n" + np.array(words, dtype=np.int64).astype("<u2").tobytes()


def es(table: Table) -> bytes:
    data = bytearray(b"Event Stream" + bytes([2, 0, 0, 1]) + struct.pack("<HH", 128, 128))
    now = 0
    for t, x, y, p in table.tolist():
        data += b"\xff" * ((t - now) // 127)
        data += struct.pack("<BHH", (t - now) % 127 << 1 | p, x, y)
        now = t
    return bytes(data)


def aedat2(table: Table) -> bytes:
    t, x, y, p = table.T
    address = (127 - x) << 1 | y << 8 | (1 - p)
    return b"#!AER-DAT2.0\r\n# DVS128\r\n" + np.stack([address, t], 1).astype(">u4").tobytes()


def aedat31(table: Table) -> bytes:
    t, x, y, p = table.T
    body = np.stack([x << 17 | y << 2 | p << 1 | 1, t], axis=1).astype("<u4").tobytes()
    head = struct.pack("<hhiiiiii", 1, 0, 8, 4, 0, len(table), len(table), len(table))
    other = struct.pack("<hhiiiiii", 2, 0, 4, 4, 0, 1, 1, 1) + b"\0" * 4
    return b"#!AER-DAT3.1\r\n#!END-HEADER\r\n" + other + head + body


def csv(table: Table) -> bytes:
    return (
        "t,x,y,p\n" + "".join(",".join(map(str, row)) + "\n" for row in table.tolist())
    ).encode()


def structured(table: Table) -> npt.NDArray[Any]:
    made = np.empty(len(table), [("x", "i2"), ("y", "i2"), ("p", "?"), ("t", "i8")])
    for name, column in zip("txyp", table.T, strict=True):
        made[name] = column
    return made


def npy(table: Table, path: Path) -> None:
    np.save(path, structured(table))


WRITERS = {
    ".bin": five_bytes,
    ".bs2": five_bytes,
    ".dat": dat,
    ".evt2.raw": evt2,
    ".evt3.raw": evt3,
    ".es": es,
    ".2.aedat": aedat2,
    ".3.aedat": aedat31,
    ".csv": csv,
}
