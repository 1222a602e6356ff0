"""Readers of formats that are arrays: .npy, .npz, .csv, .txt, .mat, .h5."""

import importlib
import math
import tokenize
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from snn.data.events.events import Events, Int64, events_of
from snn.data.image_files import DataError

NAMES = {
    "t": ("t", "time", "times", "timestamp", "timestamps", "ts"),
    "x": ("x", "units", "addr", "address"),
    "y": ("y",),
    "p": ("p", "pol", "polarity", "on"),
}
"""Names by which fields and columns are known."""

LARGEST_BYTES = 2**33
"""Most bytes that an archive may declare to unpack to."""

DAMAGE = (
    ValueError, OSError, EOFError, KeyError, TypeError, IndexError, SyntaxError, OverflowError,
    zipfile.BadZipFile, tokenize.TokenError, RuntimeError, MemoryError, NotImplementedError,
)  # fmt: skip
"""What libraries raise for damaged files."""


def from_fields(fields: Mapping[str, Any], where: Path, unit_us: float = 1.0) -> Events:
    """Return events from named arrays; `y` and `p` may be missing. Raises DataError."""
    found = {name: _field(fields, known) for name, known in NAMES.items()}
    for name in ("t", "x"):
        if found[name] is None:
            have = ", ".join(map(str, fields)) or "none"
            raise DataError(f"{where}: must have a field {name!r}, has {have}")
    time = whole(found["t"], where, "t", unit_us)
    none = np.zeros_like(time)
    rest = (whole(found[n], where, n) if found[n] is not None else none for n in ("x", "y", "p"))
    return events_of(time, *rest)


def _field(fields: Mapping[str, Any], known: Sequence[str]) -> Any:
    return next((fields[name] for name in fields if str(name).lower() in known), None)


def whole(values: Any, where: Path, name: str, factor: float = 1.0) -> Int64:
    """Return numbers as integers, of times after multiplication. Raises DataError."""
    array = np.asarray(values)
    if array.ndim != 1 or array.dtype.kind not in "iufb":
        raise DataError(f"{where}: {name} must be numbers in one dimension, got {_form(array)}")
    if array.dtype.kind == "f":
        array = array.astype(np.float64)
        if not np.isfinite(array).all():
            number = int(np.flatnonzero(~np.isfinite(array))[0])
            raise DataError(
                f"{where}: {name} of event {number + 1} must be finite, got {array[number]}; leave "
                "such events out"
            )
        if factor == 1 and (array != np.floor(array)).any():
            got = array[array != np.floor(array)][0]
            raise DataError(
                f"{where}: {name} must be whole numbers, got {got:g}"
                + ("; for seconds declare time_unit = 's', else 'ms'" if name == "t" else "")
            )
        return np.floor(_bounded(array * factor, where, name) + 1e-6).astype(np.int64)
    array = _bounded(array, where, name)
    return array.astype(np.int64) if factor == 1 else (array * factor).astype(np.int64)


def _bounded(array: npt.NDArray[Any], where: Path, name: str) -> npt.NDArray[Any]:
    """Return numbers that fit int64. Raises DataError."""
    if array.size and float(np.abs(array.astype(np.float64)).max()) >= 2.0**62:
        raise DataError(f"{where}: {name} must be below 2^62, got {array.max()}; it is damaged")
    return array


def _form(array: npt.NDArray[Any]) -> str:
    return f"{array.dtype} of shape {array.shape}"


def from_table(table: npt.NDArray[Any], columns: str, where: Path, unit_us: float = 1.0) -> Events:
    """Return events from a structured array, or from the columns of a matrix."""
    if table.dtype.names:
        return from_fields({name: table[name] for name in table.dtype.names}, where, unit_us)
    if table.ndim != 2 or table.shape[1] != len(columns):
        raise DataError(
            f"{where}: must be a structured array with fields t, x, y, p, or a matrix with the "
            f"columns {columns!r}, got {_form(table)}"
        )
    return from_fields(dict(zip(columns, table.T, strict=True)), where, unit_us)


def npy(path: Path, *, columns: str, unit_us: float) -> Events:
    """Read a .npy file; nothing in it can be executed."""
    try:
        with path.open("rb") as file:
            if file.read(6) != b"\x93NUMPY":
                raise DataError(f"{path}: is damaged or of another format: it is no .npy file")
        table = np.load(path, allow_pickle=False)
    except DataError:
        raise
    except DAMAGE as error:
        raise DataError(f"{path}: {damaged(error)}") from None
    return from_table(table, columns, path, unit_us)


def npz(path: Path, *, columns: str, unit_us: float) -> Events:
    """Read a .npz file with arrays t, x, y, p, or with one array as in a .npy file."""
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(member.file_size for member in archive.infolist())
        if size > LARGEST_BYTES:
            raise DataError(f"{path}: declares {size / 1e9:.0f} GB unpacked; not read")
        with np.load(path, allow_pickle=False) as archive:
            fields = {name: archive[name] for name in archive.files}
    except DataError:
        raise
    except DAMAGE as error:
        raise DataError(f"{path}: {damaged(error)}") from None
    if len(fields) == 1:
        return from_table(next(iter(fields.values())), columns, path, unit_us)
    return from_fields(fields, path, unit_us)


def damaged(error: BaseException) -> str:
    """Return the message of a library's error, after the name of a file."""
    if "allow_pickle" in str(error) or "pickle" in str(error).lower():
        return "contains a pickle, which is not read because it can run code; save plain arrays"
    lines = str(error).splitlines() or [type(error).__name__]
    return f"is damaged or of another format ({lines[0]})"


def csv(path: Path, *, columns: str, unit_us: float) -> Events:
    """Read numbers separated by commas, semicolons or blanks, with or without a line of names."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: {damaged(error)}") from None
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    names = list(columns)
    if lines and not _are_numbers(_words(lines[0])):
        names = [word.strip().strip('"') for word in _words(lines.pop(0))]
    try:
        table = np.array([[float(word) for word in _words(line)] for line in lines])
    except ValueError:
        bad = next(n for n, line in enumerate(lines, 1) if not _is_row(line, len(names)))
        raise DataError(
            f"{path}: row {bad} must be {len(names)} numbers ({', '.join(names)}), "
            f"got {lines[bad - 1]!r}"
        ) from None
    if len(lines) == 0:
        table = np.empty((0, len(names)))
    if table.shape[1] != len(names):
        raise DataError(
            f"{path}: must have {len(names)} columns ({', '.join(names)}), got {table.shape[1]}"
        )
    return from_fields(dict(zip(names, table.T, strict=True)), path, unit_us)


def _words(line: str) -> list[str]:
    return line.replace(";", ",").replace(",", " ").split()


def _is_row(line: str, count: int) -> bool:
    words = _words(line)
    return len(words) == count and _are_numbers(words)


def _are_numbers(words: Sequence[str]) -> bool:
    try:
        return len([float(word.strip('"')) for word in words]) > 0
    except ValueError:
        return False


def mat(path: Path, *, columns: str, unit_us: float) -> Events:
    """Read a .mat file: fields t, x, y, p, or a raster `spiketrain` (units, bins of 1 ms).

    The raster is that of ST-MNIST: its last row holds the times.
    """
    scipy_io = library("scipy.io", ".mat")
    try:
        fields = {n: v for n, v in scipy_io.loadmat(path).items() if not n.startswith("__")}
    except Exception as error:  # its own class of error, which is not public
        raise DataError(f"{path}: {damaged(error)}") from None
    if "spiketrain" in fields:
        raster = np.asarray(fields["spiketrain"])
        units, bins = np.nonzero(raster[:-1])
        time = np.floor(raster[-1, bins].astype(np.float64) * 1e6 + 0.5).astype(np.int64)
        order = np.argsort(time, kind="stable")
        on = (raster[units, bins] > 0).astype(np.int64)[order]
        return events_of(time[order], units[order] % 10, units[order] // 10, on)
    return from_fields({n: np.ravel(v) for n, v in fields.items()}, path, unit_us)


def library(name: str, kind: str) -> Any:
    """Return an optional library. Raises DataError that names the extra."""
    try:
        return importlib.import_module(name)
    except ImportError:
        package = name.partition(".")[0]
        raise DataError(
            f"{kind} files need {package}, which is not installed: pip install 'spikefront[events]'"
        ) from None


def h5(path: Path, *, columns: str, unit_us: float) -> Events:
    """Read a .h5 file with data sets t, x, y, p, alone or in a group `events`."""
    h5py = library("h5py", ".h5")
    try:
        with h5py.File(path) as file:
            group = file.get("events", file)
            if isinstance(group, h5py.Dataset):
                return from_table(group[()], columns, path, unit_us)
            fields = {n: group[n][()] for n in group if isinstance(group[n], h5py.Dataset)}
    except DataError:
        raise
    except DAMAGE as error:
        raise DataError(f"{path}: {damaged(error)}") from None
    return from_fields(fields, path, unit_us)


def spoken(path: Path) -> tuple[list[tuple[Int64, Int64]], Int64, list[str]]:
    """Return (times in microseconds, units) of each recording of an SHD file, labels, speakers.

    Speakers that the file does not name are empty.
    """
    h5py = library("h5py", ".h5")
    try:
        with h5py.File(path) as file:
            labels = np.asarray(file["labels"][()]).astype(np.int64)
            # float16 seconds: to float64 first, because float16 ends at 65,504
            seconds = [np.asarray(t, np.float64) for t in file["spikes/times"]]
            units = [np.asarray(u).astype(np.int64) for u in file["spikes/units"]]
            known = np.asarray(file["extra/speaker"][()]) if "extra/speaker" in file else None
    except DAMAGE as error:
        raise DataError(f"{path}: {damaged(error)}") from None
    if not len(seconds) == len(units) == len(labels):
        counts = f"{len(seconds)} times, {len(units)} units and {len(labels)} labels"
        raise DataError(f"{path}: must have as many of each, got {counts}")
    if any(not math.isfinite(float(t.sum())) for t in seconds):
        raise DataError(f"{path}: times must be finite")
    times = [np.floor(t * 1e6 + 0.5).astype(np.int64) for t in seconds]
    speakers = [""] * len(labels) if known is None else [str(speaker) for speaker in known]
    if len(speakers) != len(labels):
        raise DataError(f"{path}: must have a speaker for each of {len(labels)} recordings")
    return list(zip(times, units, strict=True)), labels, speakers
