"""Pickles with arrays, as those of CIFAR and Braille: read without a call of what they name."""

import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt


class _PickledDtype(str):
    """Replacement of numpy.dtype: its name."""

    def __new__(cls, name: str, *_: object) -> "_PickledDtype":
        return super().__new__(cls, name)

    def __setstate__(self, state: object) -> None:
        """Ignore the byte order, which is that of the machine."""


class PickledArray:
    """Replacement of a numpy array in unpickling: stores its state, checked by `array`."""

    def __init__(self, *_: object) -> None:
        self._state: object = None

    def __setstate__(self, state: object) -> None:
        self._state = state

    def array(self, dtype: str, otherwise: str) -> npt.NDArray[Any]:
        """Return the array, of type `dtype` like "u1".

        Raises UnpicklingError, ValueError or TypeError: no such state, or with the message
        `otherwise`, in which {} is the type, an array of another type.
        """
        match self._state:
            case (_, _, _PickledDtype() as kind, _, _) if kind != dtype:
                raise pickle.UnpicklingError(otherwise.format(repr(str(kind))))
            case (_, tuple() as shape, _PickledDtype(), order, str() | bytes() as raw):
                data = raw.encode("latin1") if isinstance(raw, str) else raw
                flat = np.frombuffer(data, dtype)
                return flat.reshape(shape, order="F" if order else "C").copy()
        raise pickle.UnpicklingError("an array without its values")


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
    """Unpickler of plain values and arrays; it calls nothing that the file names."""

    def find_class(self, module: str, name: str) -> Callable[..., object]:
        try:
            return _STAND_INS[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"it would call {module}.{name}") from None
