"""The GPU, and the compiled code that neurons run in."""

import importlib.util
import os
import shutil
from collections.abc import Iterator
from types import ModuleType

from search.doctor.check import Check
from search.doctor.packages import BREAKAGES
from search.doctor.places import unwritable
from snn.settings.user_folders import cache_folder

CUDA_BUILD = "to use a GPU, install a CUDA build of torch, see https://pytorch.org/get-started"
COMPILER = "install one: apt install gcc, dnf install gcc, or on macOS xcode-select --install"


def examine() -> Iterator[Check]:
    """Yield the checks that need torch; a torch that cannot be imported is reported elsewhere."""
    try:
        import torch
    except BREAKAGES:
        yield Check(
            name="gpu", status="missing", finding="not checked, because torch cannot be imported"
        )
        return
    yield _gpu(torch)
    if torch.cuda.is_available():
        yield _triton()
    yield _neurons()
    yield _precision()


def _gpu(torch: ModuleType) -> Check:
    if torch.cuda.is_available():
        return _gpu_at_work(torch)
    if torch.version.cuda is None:
        finding = "torch is a build for CPUs only; everything runs on the CPU"
        if shutil.which("nvidia-smi"):
            finding = "nvidia-smi is installed, so there may be a GPU, but " + finding
            return Check(name="gpu", status="warning", finding=finding, remedy=CUDA_BUILD)
        return Check(name="gpu", status="missing", finding=finding, remedy=CUDA_BUILD)
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
    remedy = "if this machine has a GPU, check its driver with nvidia-smi"
    if hidden is not None:
        remedy = f"CUDA_VISIBLE_DEVICES is {hidden!r}, which may hide the GPU: unset it"
    return Check(
        name="gpu",
        status="missing" if hidden is None else "warning",
        finding=f"torch is built for CUDA {torch.version.cuda} but finds no GPU; "
        "everything runs on the CPU",
        remedy=remedy,
    )


def _gpu_at_work(torch: ModuleType) -> Check:
    """Check whether a GPU computes: it may be too new or too old for this build of torch."""
    names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    try:
        for index in range(len(names)):
            torch.ones(2, device=f"cuda:{index}").sum().item()
    except RuntimeError as error:
        return Check(
            name="gpu",
            status="problem",
            finding=f"{', '.join(names)} does not compute: {str(error).splitlines()[0]}",
            remedy="install a build of torch for this GPU and its driver, or use --device cpu",
        )
    return Check(name="gpu", finding=", ".join(names))


def _triton() -> Check:
    if importlib.util.find_spec("triton") is None:
        return Check(
            name="triton",
            status="warning",
            finding="not installed; neurons run as many small operations on the GPU, slower",
            remedy="pip install triton",
        )
    return Check(name="triton", finding="installed; on the GPU, neurons run as one kernel")


def _precision() -> Check:
    """Say what `precision = "auto"` is here, on the GPU if it computes, else on the processor."""
    from search.worker.engine import fastest_precision

    chosen, reason = fastest_precision("auto")
    return Check(name="precision", finding=f"auto is {chosen}: {reason}")


def _neurons() -> Check:
    """Check whether neurons run in compiled C on the CPU, and whether that code is kept."""
    from search.worker.engine import why_no_native_body

    reason = why_no_native_body()
    if reason:
        return Check(
            name="neurons",
            status="warning",
            finding=f"run as torch operations, with the same results but slower: {reason}",
            remedy=_remedy(reason),
        )
    try:
        folder = cache_folder()
        fault = unwritable(folder)
    except OSError as error:
        fault = str(error)
    if fault:
        return Check(
            name="neurons",
            status="warning",
            finding=f"compiled again in every process, which takes seconds: {fault}",
            remedy="set XDG_CACHE_HOME to a folder that can be written",
        )
    return Check(name="neurons", finding=f"compiled for this machine, in {folder}")


def _remedy(reason: str) -> str:
    if reason.startswith("SPIKEFRONT_NATIVE"):
        return "unset SPIKEFRONT_NATIVE"
    if reason.startswith("no C compiler"):
        return COMPILER
    return "set CC to another compiler: it must be able to make shared libraries"
