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
"""Readers of arrays, which need the order of columns and the unit of time."""

SUFFIXES = (*PACKED, *PLAIN)

BEGINNINGS: dict[bytes, tuple[str, ...]] = {
    b"\x93NUMPY": (".npy",),
    b"PK\x03\x04": (".npz",),
    b"\x89HDF": (".h5", ".hdf5", ".mat"),
    b"MATLAB 5": (".mat",),
    b"#!AER-DAT": (".aedat", ".aedat4"),
    b"Event Stream": (".es",),
    b"% evt ": (".raw",),
    b"% camera_": (".raw",),
    b"% Data file": (".dat",),
}
"""How files begin, and the suffixes that they may have: .bin, .bs1 and .bs2 have no header."""


def read(path: Path, *, columns: str = "txyp", unit_us: float = 1.0) -> Events:
    """Return the events in a file, times in microseconds: a tick is `unit_us`. Raises DataError."""
    suffix = path.suffix.lower()
    _check_beginning(path, suffix)
    if suffix in PACKED:
        found = PACKED[suffix](path)
        return found if unit_us == 1 else found._replace(time=found.time * int(unit_us))
    if suffix in PLAIN:
        return PLAIN[suffix](path, columns=columns, unit_us=unit_us)
    hint = nearest(suffix, SUFFIXES) or f"; known: {', '.join(SUFFIXES)}"
    raise DataError(f"{path}: {suffix or 'a file without suffix'} is no format of events{hint}")


def _check_beginning(path: Path, suffix: str) -> None:
    """Raise DataError if a file without a header of its own begins as another format."""
    if suffix not in (".bin", ".bs1", ".bs2", ".csv", ".txt"):
        return
    try:
        with path.open("rb") as file:
            start = file.read(16)
    except OSError:
        return  # the reader says why
    for mark, suffixes in BEGINNINGS.items():
        if start.startswith(mark):
            raise DataError(
                f"{path}: begins as a {' or '.join(suffixes)} file, not as its suffix says; "
                "give it the right suffix"
            )
