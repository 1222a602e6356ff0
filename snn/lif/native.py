"""The recurrence in C, compiled for this machine at first use.

The compiled library is in the user's cache folder; its name is a hash of source, compiler
and processor. Without a compiler, or if SPIKEFRONT_NATIVE is 0, the eager body runs instead.
"""

import ctypes
import functools
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from pathlib import Path

import torch
from torch import Tensor

from snn.lif.constants import SURROGATE_IDS, Constants, factors
from snn.lif.layout import aligned, each_aligned, like_one, time_outermost
from snn.settings.user_folders import cache_folder

SOURCE = Path(__file__).with_name("native.c")
FLAGS = (
    *("-O2", "-ftree-vectorize", "-march=native", "-ffp-contract=off"),
    *("-fno-math-errno", "-fno-trapping-math", "-fPIC"),
)
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
    _load.cache_clear()


@functools.cache
def _load() -> ctypes.CDLL | str:
    if os.environ.get("SPIKEFRONT_NATIVE") == "0":
        return "SPIKEFRONT_NATIVE is 0"
    compiler = shutil.which(os.environ.get("CC", "cc"))
    if compiler is None:
        return "no C compiler: install gcc or clang, or name one in CC"
    try:
        version = subprocess.run(
            [compiler, "--version"], capture_output=True, text=True, timeout=30, check=True
        ).stdout
        return _opened(compiler, version)
    except (OSError, subprocess.SubprocessError) as error:
        return f"{compiler} did not compile it: {error}"


def _opened(compiler: str, version: str) -> ctypes.CDLL:
    source = SOURCE.read_bytes()
    # the processor counts: machines may share the folder, and -march=native differs
    words = "\0".join([*FLAGS, compiler, version, platform.machine(), _processor()])
    name = hashlib.sha256(source + words.encode()).hexdigest()[:24]
    try:
        folder = cache_folder()
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"lif-{name}.so"
        if not path.exists():
            _compile(compiler, path)
    except OSError:  # read-only home: compile for this process only
        folder = Path(tempfile.mkdtemp(prefix="spikefront-"))
        path = folder / f"lif-{name}.so"
        _compile(compiler, path)
    return _declared(ctypes.CDLL(str(path)))


def _compile(compiler: str, path: Path) -> None:
    """Compile to a draft and rename it, because other processes may compile the same."""
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".compiling-") as folder:
        draft = Path(folder) / "lif"
        # not linked to a second OpenMP library: torch has loaded one, and two would have
        # two sets of threads on the same cores
        for threads in (["-fopenmp"], []):
            objects = draft.with_suffix(".o")
            _run([compiler, *FLAGS, *threads, "-c", str(SOURCE), "-o", str(objects)])
            _run([compiler, "-shared", str(objects), "-o", str(draft), "-lm"])
            if _opens(draft):
                break
        os.replace(draft, path)


def _run(command: list[str]) -> None:
    subprocess.run(command, capture_output=True, timeout=120, check=True)


def _opens(library: Path) -> bool:
    try:
        ctypes.CDLL(str(library), mode=os.RTLD_NOW)
    except OSError:
        return False
    return True


def _processor() -> str:
    """Return model and features of the processor."""
    info = Path("/proc/cpuinfo")
    if not info.exists():
        return platform.processor()
    lines = info.read_text().splitlines()
    return "\n".join(
        sorted({x for x in lines if x.startswith(("model name", "flags", "Features"))})
    )


def _declared(library: ctypes.CDLL) -> ctypes.CDLL:
    pointer, count, real, flag = ctypes.c_void_p, ctypes.c_int64, ctypes.c_double, ctypes.c_int
    for suffix in SUFFIX.values():
        forward = getattr(library, f"forward_{suffix}")
        forward.argtypes = [
            *(pointer, count, pointer, pointer, pointer),
            *(count, count, count, real, real, real, flag, flag),
        ]
        forward.restype = None
        backward = getattr(library, f"backward_{suffix}")
        backward.argtypes = [
            *(pointer, count, pointer, pointer, pointer, pointer),
            *(count, count, count, real, real, real, real, flag, flag, real, real, pointer, flag),
        ]
        backward.restype = None
        decaying = getattr(library, f"decaying_{suffix}")
        decaying.argtypes = [*(pointer, count, pointer, pointer, count, count, real, flag, flag)]
        decaying.restype = None
    return library


def supports(current: Tensor, surrogate: str) -> bool:
    """Return whether this body can run on such a tensor with such a surrogate."""
    is_known = current.dtype in SUFFIX and surrogate in SURROGATE_IDS
    return is_known and not current.is_meta and load() is not None


def forward(current: Tensor, before: Tensor | None, by: Constants) -> tuple[Tensor, Tensor]:
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
        torch.get_num_threads(),
    )
    return spikes, potentials


def backward(
    grad_spikes: Tensor,
    carried: Tensor | None,
    potentials: Tensor,
    by: Constants,
    *,
    before: Tensor | None,
    with_constants: bool,
) -> tuple[Tensor, Tensor]:
    """C version of `eager.backward`, and of `constants_gradient` for `with_constants`."""
    library = load()
    assert library is not None
    steps, one = potentials.shape[0], potentials[0]
    neurons = one.numel()
    gradient = torch.empty_strided(potentials.shape, potentials.stride(), dtype=potentials.dtype)
    grad_spikes = each_aligned(grad_spikes, one)
    carried, before = aligned(carried, one), aligned(before, one)
    blocks = -(-neurons // BLOCK) if with_constants else 1
    sums = torch.zeros(blocks, 2, dtype=torch.float64)
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
        sums.data_ptr() if with_constants else None,
        torch.get_num_threads(),
    )
    return gradient, sums.sum(dim=0)
