"""C sources that are compiled for this machine at first use.

The compiled library is in the user's cache folder; its name is a hash of source, compiler
and processor. Without a compiler, or if SPIKEFRONT_NATIVE is 0, there is none.
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

from snn.settings.user_folders import cache_folder

FLAGS = (
    *("-O2", "-ftree-vectorize", "-march=native", "-ffp-contract=off"),
    *("-fno-math-errno", "-fno-trapping-math", "-fPIC"),
)


@functools.cache
def library(source: Path, name: str) -> ctypes.CDLL | str:
    """Return the compiled library of a source, or the reason why there is none."""
    if os.environ.get("SPIKEFRONT_NATIVE") == "0":
        return "SPIKEFRONT_NATIVE is 0"
    compiler = shutil.which(os.environ.get("CC", "cc"))
    if compiler is None:
        return "no C compiler: install gcc or clang, or name one in CC"
    try:
        version = subprocess.run(
            [compiler, "--version"], capture_output=True, text=True, timeout=30, check=True
        ).stdout
        return _opened(source, name, compiler, version)
    except (OSError, subprocess.SubprocessError) as error:
        return f"{compiler} did not compile it: {error}"


def _opened(source: Path, name: str, compiler: str, version: str) -> ctypes.CDLL:
    # the processor counts: machines may share the folder, and -march=native differs
    words = "\0".join([*FLAGS, compiler, version, platform.machine(), _processor()])
    digest = hashlib.sha256(source.read_bytes() + words.encode()).hexdigest()[:24]
    try:
        folder = cache_folder()
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{name}-{digest}.so"
        if not path.exists():
            _compile(source, compiler, path)
    except OSError:  # read-only home: compile for this process only
        folder = Path(tempfile.mkdtemp(prefix="spikefront-"))
        path = folder / f"{name}-{digest}.so"
        _compile(source, compiler, path)
    return ctypes.CDLL(str(path))


def _compile(source: Path, compiler: str, path: Path) -> None:
    """Compile to a draft and rename it, because other processes may compile the same."""
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".compiling-") as folder:
        draft = Path(folder) / "library"
        # not linked to a second OpenMP library: torch has loaded one, and two would have
        # two sets of threads on the same cores
        for threads in (["-fopenmp"], []):
            objects = draft.with_suffix(".o")
            _run([compiler, *FLAGS, *threads, "-c", str(source), "-o", str(objects)])
            _run([compiler, "-shared", str(objects), "-o", str(draft), "-lm"])
            if _opens(draft):
                break
        os.replace(draft, path)


def _run(command: list[str]) -> None:
    subprocess.run(command, capture_output=True, timeout=120, check=True)


def _opens(path: Path) -> bool:
    try:
        ctypes.CDLL(str(path), mode=os.RTLD_NOW)
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
