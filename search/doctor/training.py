"""What trains: torch's threads, the GPU, and the bodies that neurons run in."""

import importlib.util
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from search.doctor.check import Check
from search.doctor.packages import BREAKAGES
from search.doctor.places import unwritable

CUDA_BUILD = "for a GPU install a CUDA build of torch, see https://pytorch.org/get-started"
COMPILER = "install one: apt install gcc, dnf install gcc, or on macOS xcode-select --install"


def examine() -> Iterator[Check]:
    """All that needs torch; nothing where it cannot be imported, which has been said."""
    try:
        import torch
    except BREAKAGES:
        yield Check(name="gpu", status="missing", finding="no torch to ask")
        return
    yield _gpu(torch)
    if torch.cuda.is_available():
        yield _triton()
    yield _neurons()


def _gpu(torch: ModuleType) -> Check:
    if torch.cuda.is_available():
        return _gpu_at_work(torch)
    if torch.version.cuda is None:
        finding = "this torch is a build for processors only; everything runs on them"
        if shutil.which("nvidia-smi"):
            finding = "there is nvidia-smi, so perhaps a GPU, but " + finding
            return Check(name="gpu", status="warning", finding=finding, mend=CUDA_BUILD)
        return Check(name="gpu", status="missing", finding=finding, mend=CUDA_BUILD)
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
    mend = "if there is one, check its driver with nvidia-smi"
    if hidden is not None:
        mend = f"CUDA_VISIBLE_DEVICES is {hidden!r}, which may hide it: unset it"
    return Check(
        name="gpu",
        status="missing" if hidden is None else "warning",
        finding=f"torch is built for CUDA {torch.version.cuda} but sees no GPU; "
        "everything runs on the processor",
        mend=mend,
    )


def _gpu_at_work(torch: ModuleType) -> Check:
    """A GPU that is seen may still be too new or too old for this build of torch."""
    names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    try:
        for index in range(len(names)):
            torch.ones(2, device=f"cuda:{index}").sum().item()
    except RuntimeError as error:
        return Check(
            name="gpu",
            status="problem",
            finding=f"{', '.join(names)} does not compute: {str(error).splitlines()[0]}",
            mend="install a build of torch for this GPU and its driver; --device cpu does without",
        )
    return Check(name="gpu", finding=", ".join(names))


def _triton() -> Check:
    if importlib.util.find_spec("triton") is None:
        return Check(
            name="triton",
            status="warning",
            finding="not installed; neurons run as many small operations on the GPU, slower",
            mend="pip install triton",
        )
    return Check(name="triton", finding="there; neurons run as one kernel on the GPU")


def _neurons() -> Check:
    """Whether neurons run in C on the processor, and whether that has to be compiled every time."""
    from search.worker.engine import why_no_native_body

    reason = why_no_native_body()
    if reason:
        return Check(
            name="neurons",
            status="warning",
            finding=f"plain torch operations, which are slower, and give the same: {reason}",
            mend=_mend(reason),
        )
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "spikefront"
    fault = unwritable(folder)
    if fault:
        return Check(
            name="neurons",
            status="warning",
            finding=f"compiled anew in every process, which takes seconds: {fault}",
            mend="name a folder that can be written in XDG_CACHE_HOME",
        )
    return Check(name="neurons", finding=f"compiled for this machine, kept in {folder}")


def _mend(reason: str) -> str:
    if reason.startswith("SPIKEFRONT_NATIVE"):
        return "unset SPIKEFRONT_NATIVE"
    if reason.startswith("no C compiler"):
        return COMPILER
    return "name another compiler in CC, or mend this one: it must make shared libraries"
