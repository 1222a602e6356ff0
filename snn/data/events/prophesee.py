"""Readers of Prophesee's .raw files: EVT 2.0 and EVT 3.0, told apart by their header.

Formats: Prophesee, "EVT 2.0 format" and "EVT 3.0 format" (Metavision SDK documentation). Words
are decoded in C (`prophesee.c`), or without a compiler in numpy, with the same result.
"""

import ctypes
import functools
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from snn.data.events.binary import contents, records, text_header
from snn.data.events.events import Events, Int64, events_of
from snn.data.image_files import DataError
from snn.settings import compiled


def raw(path: Path) -> Events:
    """Read a .raw file. Raises DataError."""
    data = contents(path)
    lines, place = text_header(path, data, b"% ")
    version = _version(lines)
    if version in ("2", "3"):
        size = 4 if version == "2" else 2
        rows = records(path, data[place:], size, "words of this .raw file")
        words = rows.view(f"<u{size}").ravel()
        if (library := _library()) is not None:
            return _decoded(library, version, words)
        return (_evt2 if version == "2" else _evt3)(words.astype(np.int64))
    got = f"version {version}" if version else f"no header line `% evt` ({data[:12]!r})"
    raise DataError(f"{path}: must be EVT 2.0 or EVT 3.0, got {got}")


def _version(lines: list[str]) -> str:
    for line in lines:
        words = line.lstrip("% ").split()
        if words and words[0] == "evt" and len(words) > 1:
            return words[1].split(".")[0] if words[1] in ("2.0", "3.0") else words[1]
        if words and words[0] == "format" and len(words) > 1:
            kind = words[1].partition(";")[0]
            return {"EVT2": "2", "EVT3": "3"}.get(kind, kind)
    return ""


@functools.cache
def _library() -> ctypes.CDLL | None:
    """Return the compiled decoders, or None without a compiler."""
    found = compiled.library(Path(__file__).with_name("prophesee.c"), "prophesee")
    if isinstance(found, str):
        return None
    for decode in (found.evt2, found.evt3):
        decode.argtypes = [ctypes.c_void_p, ctypes.c_int64, ctypes.c_void_p, ctypes.c_int64]
        decode.restype = ctypes.c_int64
    return found


def _decoded(library: ctypes.CDLL, version: str, words: npt.NDArray[Any]) -> Events:
    decode = library.evt2 if version == "2" else library.evt3
    words = words.astype(words.dtype.newbyteorder("="), copy=False)
    count = decode(words.ctypes.data, len(words), None, 0)
    out = np.empty((4, count), np.int64)
    decode(words.ctypes.data, len(words), out.ctypes.data, count)
    return Events(*out)


def _unwrapped(values: Int64, bits: int) -> Int64:
    """Return a counter of so many bits without its overflows: large steps back."""
    is_wrap = np.diff(values, prepend=values[:1]) < -(1 << bits - 1)
    return values + (np.cumsum(is_wrap) << bits)


def _last(is_set: npt.NDArray[np.bool_], values: Int64, default: int = 0) -> Int64:
    """Return for each word the value of the last word that `is_set`."""
    place = np.maximum.accumulate(np.where(is_set, np.arange(len(values)), -1))
    return np.where(place >= 0, values[np.maximum(place, 0)], default)


def _evt2(words: Int64) -> Events:
    kind = words >> 28
    is_high, is_event = kind == 8, kind <= 1
    high = np.zeros_like(words)
    high[is_high] = _unwrapped(words[is_high] & 0xFFFFFFF, 28)
    time = _last(is_high, high) << 6 | words >> 22 & 63
    return _chosen(is_event & _is_timed(is_high), time, words >> 11 & 2047, words & 2047, kind)


def _evt3(words: Int64) -> Events:
    kind, value = words >> 12, words & 4095
    is_high, is_y, is_base = kind == 8, kind == 0, kind == 3
    high = np.zeros_like(words)
    high[is_high] = _unwrapped(value[is_high], 12)
    time = _last(is_high, high) << 12 | _last(kind == 6, value)
    y = _last(is_y, value & 2047)
    is_timed = _is_timed(is_high)
    single = (kind == 2) & is_timed
    # a vector word continues where the last one, or the base, ended
    length = np.where(kind == 4, 12, np.where(kind == 5, 8, 0))
    before = np.cumsum(length) - length
    start = _last(is_base, (value & 2047) - before) + before
    on = _last(is_base, value >> 11)
    vectors = np.flatnonzero((length > 0) & is_timed)
    bits = value[vectors, None] >> np.arange(12) & 1
    bits &= np.arange(12) < length[vectors, None]
    row, bit = np.nonzero(bits)
    many = vectors[row]
    place = np.concatenate([np.flatnonzero(single), many])
    x = np.concatenate([value[single] & 2047, start[many] + bit])
    ons = np.concatenate([value[single] >> 11, on[many]])
    order = np.argsort(place, kind="stable")  # bits of a word stay in their order
    place = place[order]
    return events_of(time[place], x[order], y[place], ons[order])


def _is_timed(is_high: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Return which words come after the first word of high time bits; others have no time."""
    timed: npt.NDArray[np.bool_] = np.maximum.accumulate(is_high)
    return timed


def _chosen(is_event: Any, *parts: Int64) -> Events:
    return events_of(*(part[is_event] for part in parts))
