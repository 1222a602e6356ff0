"""Pickles of Python 2 with arrays of bytes, as CIFAR's: read without a call of what they name."""

import pickle
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]


class _PickledDtype:
    """Replacement of numpy.dtype: these files need only uint8."""

    def __init__(self, name: str, *_: object) -> None:
        if name != "u1":
            raise pickle.UnpicklingError(f"an array of {name!r} instead of bytes")

    def __setstate__(self, state: object) -> None:
        """Ignore the byte order and the like, which bytes do not have."""


class PickledArray:
    """Replacement of a numpy array in unpickling: stores its state, checked by `array`."""

    def __init__(self, *_: object) -> None:
        self._state: object = None

    def __setstate__(self, state: object) -> None:
        self._state = state

    def array(self) -> Bytes:
        """Return the array. Raises UnpicklingError, ValueError or TypeError: no such state."""
        match self._state:
            case (_, (int(rows), int(columns)), _PickledDtype(), order, str() | bytes() as raw):
                data = raw.encode("latin1") if isinstance(raw, str) else raw
                flat = np.frombuffer(data, np.uint8)
                return flat.reshape((rows, columns), order="F" if order else "C").copy()
        raise pickle.UnpicklingError("an array that is not a table of bytes")


def _encode(text: str, encoding: str) -> bytes:
    """Replacement of codecs.encode: Python 3 writes bytes with it in old pickles."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"text in {encoding!r}")
    return text.encode("latin1")


_STAND_INS: dict[tuple[str, str], Callable[..., object]] = {
    ("numpy", "dtype"): _PickledDtype,
    ("numpy", "ndarray"): PickledArray,
    ("numpy.core.multiarray", "_reconstruct"): PickledArray,
    ("numpy._core.multiarray", "_reconstruct"): PickledArray,
    ("_codecs", "encode"): _encode,
}

# All that unpickling raises for damaged input, found with truncated and altered files.
PICKLE_ERRORS = (
    pickle.UnpicklingError,
    EOFError,
    ValueError,
    TypeError,
    AttributeError,
    IndexError,
    KeyError,
    ImportError,
    MemoryError,
    OverflowError,
)


class ArrayUnpickler(pickle.Unpickler):
    """Unpickler of plain values and arrays of bytes; it calls nothing that the file names."""

    def find_class(self, module: str, name: str) -> Callable[..., object]:
        try:
            return _STAND_INS[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"it would call {module}.{name}") from None
