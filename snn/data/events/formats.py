"""Files of one recording each, by suffix."""

from collections.abc import Callable
from pathlib import Path

from snn.data.events import aedat, binary, plain, prophesee
from snn.data.events.events import Events
from snn.data.image_files import DataError
from snn.settings.config import nearest

PACKED: dict[str, Callable[[Path], Events]] = {
    ".bin": binary.bin_,
    ".bs1": binary.bs1,
    ".bs2": binary.bs2,
    ".dat": binary.dat,
    ".es": binary.es,
    ".raw": prophesee.raw,
    ".aedat": aedat.aedat,
    ".aedat4": aedat.aedat,
}
"""Readers of formats that say all of themselves."""

PLAIN = {
    ".npy": plain.npy,
    ".npz": plain.npz,
    ".csv": plain.csv,
    ".txt": plain.csv,
    ".mat": plain.mat,
    ".h5": plain.h5,
    ".hdf5": plain.h5,
}
"""Readers of arrays, which need the order of columns, and whether times are in seconds."""

SUFFIXES = (*PACKED, *PLAIN)


def read(path: Path, *, columns: str = "txyp", in_seconds: bool = False) -> Events:
    """Return the events in a file; times in seconds become microseconds. Raises DataError."""
    suffix = path.suffix.lower()
    if suffix in PACKED:
        return PACKED[suffix](path)
    if suffix in PLAIN:
        return PLAIN[suffix](path, columns=columns, seconds=1e6 if in_seconds else 1.0)
    hint = nearest(suffix, SUFFIXES) or f"; known: {', '.join(SUFFIXES)}"
    raise DataError(f"{path}: {suffix or 'a file without suffix'} is no format of events{hint}")
