"""The recurrence in C, compiled for this machine at first use.

Without a compiler, or if SPIKEFRONT_NATIVE is 0, the eager body runs instead.
"""

import ctypes
import functools
from pathlib import Path

import torch
from torch import Tensor

from snn.lif.constants import SURROGATE_IDS, Constants, factors
from snn.lif.layout import aligned, each_aligned, like_one, time_outermost
from snn.settings import compiled

SOURCE = Path(__file__).with_name("native.c")
SUFFIX = {torch.float32: "f", torch.float64: "d"}
BLOCK = 2048  # neurons per block, as in native.c


def load() -> ctypes.CDLL | None:
    """Return the compiled library, or None if there is none; see `why_not`."""
    library = _load()
    return library if isinstance(library, ctypes.CDLL) else None


def why_not() -> str:
    """Return the reason why there is no compiled library; empty if there is one."""
    library = _load()
    return "" if isinstance(library, ctypes.CDLL) else library


def forget() -> None:
    """Look for a compiler again at the next call."""
    compiled.library.cache_clear()
    _load.cache_clear()


@functools.cache
def _load() -> ctypes.CDLL | str:
    found = compiled.library(SOURCE, "lif")
    return found if isinstance(found, str) else _declared(found)


def _declared(library: ctypes.CDLL) -> ctypes.CDLL:
    pointer, count, real, flag = ctypes.c_void_p, ctypes.c_int64, ctypes.c_double, ctypes.c_int
    for suffix in SUFFIX.values():
        forward = getattr(library, f"forward_{suffix}")
        forward.argtypes = [
            *(pointer, count, pointer, pointer, pointer),
            *(count, count, count, real, real, real, flag, pointer, count, count, flag),
        ]
        forward.restype = None
        backward = getattr(library, f"backward_{suffix}")
        backward.argtypes = [
            *(pointer, count, pointer, pointer, pointer, pointer),
            *(count, count, count, real, real, real, real, flag, flag, real, real, pointer),
            *(pointer, count, count, pointer, flag),
        ]
        backward.restype = None
        decaying = getattr(library, f"decaying_{suffix}")
        decaying.argtypes = [*(pointer, count, pointer, pointer, count, count, real, flag, flag)]
        decaying.restype = None
        adaptive = getattr(library, f"adaptive_forward_{suffix}")
        adaptive.argtypes = [
            *(pointer, count, pointer, pointer, pointer, pointer),
            *(count, count, real, real, real, real, real, flag, flag),
        ]
        adaptive.restype = None
        adaptive = getattr(library, f"adaptive_backward_{suffix}")
        adaptive.argtypes = [
            *(pointer, count, pointer, pointer, pointer, pointer),
            *(count, count, real, real, real, real, flag, flag, real, real, flag),
        ]
        adaptive.restype = None
    return library


def supports(current: Tensor, surrogate: str) -> bool:
    """Return whether this body can run on such a tensor with such a surrogate."""
    is_known = current.dtype in SUFFIX and surrogate in SURROGATE_IDS
    return is_known and not current.is_meta and load() is not None


def _each(leaks: Tensor | None, one: Tensor) -> tuple[int | None, int, int]:
    """Return the address of leaks, their number, and neurons in a row that share one.

    The neuron at place i in memory has leak i / in_a_row % channels, in every dense layout.
    """
    if leaks is None:
        return None, 1, 1
    assert leaks.dtype is one.dtype
    assert leaks.is_contiguous()
    return leaks.data_ptr(), len(leaks), max(one.stride(1), 1)


def forward(
    current: Tensor, before: Tensor | None, by: Constants, *, leaks: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """C version of `eager.forward`: the same arguments and results."""
    library = load()
    assert library is not None
    steps, neurons = current.shape[0], current[0].numel()
    current = time_outermost(current)
    one = current[0]
    potentials = like_one(one, steps, current.dtype)
    spikes = like_one(one, steps, current.dtype)
    before = aligned(before, one)
    run = library.forward_f if current.dtype is torch.float32 else library.forward_d
    run(
        current.data_ptr(),
        current.stride(0),
        None if before is None else before.data_ptr(),
        potentials.data_ptr(),
        spikes.data_ptr(),
        *(neurons, steps, neurons),
        *(by.leak, by.threshold, by.fire, by.is_hard),
        *(*_each(leaks, one), torch.get_num_threads()),
    )
    return spikes, potentials


def backward(
    grad_spikes: Tensor,
    carried: Tensor | None,
    potentials: Tensor,
    by: Constants,
    *,
    before: Tensor | None,
    leaks: Tensor | None = None,
    with_constants: bool,
) -> tuple[Tensor, Tensor]:
    """C version of `eager.backward`, and of the gradients of constants for `with_constants`."""
    library = load()
    assert library is not None
    steps, one = potentials.shape[0], potentials[0]
    neurons = one.numel()
    gradient = torch.empty_strided(potentials.shape, potentials.stride(), dtype=potentials.dtype)
    grad_spikes = each_aligned(grad_spikes, one)
    carried, before = aligned(carried, one), aligned(before, one)
    has_sums, has_each = with_constants and leaks is None, with_constants and leaks is not None
    sums = torch.zeros(-(-neurons // BLOCK) if has_sums else 1, 2, dtype=torch.float64)
    each = like_one(one, 1, torch.float64)[0] if has_each else None
    run = library.backward_f if potentials.dtype is torch.float32 else library.backward_d
    run(
        grad_spikes.data_ptr(),
        grad_spikes.stride(0),
        None if carried is None else carried.data_ptr(),
        potentials.data_ptr(),
        None if before is None else before.data_ptr(),
        gradient.data_ptr(),
        *(neurons, steps, neurons),
        *(by.leak, by.threshold, by.fire, by.scale, by.is_hard),
        *(SURROGATE_IDS[by.surrogate], *factors(by)),
        sums.data_ptr() if has_sums else None,
        *(*_each(leaks, one), None if each is None else each.data_ptr(), torch.get_num_threads()),
    )
    if leaks is None:
        return gradient, sums.sum(dim=0)
    if each is None:
        return gradient, sums.new_zeros(len(leaks))
    return gradient, each.sum(dim=[axis for axis in range(each.dim()) if axis != 1])
