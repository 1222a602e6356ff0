"""What decides the bits of a training beside its run config: data, engine, torch, machine.

Two trainings of equal config and equal origin give equal bits. Where an origin
differs they may still do so, but nobody promises it.
"""

import functools
import hashlib
import json
import platform
from collections.abc import Mapping
from pathlib import Path

import torch

import snn
from snn.data.dataset import Split
from snn.lif import body_of
from snn.settings import extensions


def origin_of(split: Split, device: str) -> dict[str, str]:
    """The origin of a training on `split` that would begin now, in words that people can compare.

    Between counts of threads, instruction sets and processors sums may be
    made in another order, and so differ in the last bit.
    """
    return {
        "data": split.fingerprint,
        "engine": engine(),
        "torch": torch.__version__,
        "build": _digest(torch.__config__.show()),
        "machine": f"{platform.machine()}, {processor()}, "
        f"{torch.backends.cpu.get_cpu_capability()}",
        "device": _device(device),
        "neurons": body_of(device.split(":")[0]),  # bits of one surrogate differ
        "threads": str(torch.get_num_threads()),
        "arithmetic": f"{torch.get_default_dtype()}, {torch.get_float32_matmul_precision()}",
    }


def fingerprint(origin: Mapping[str, str]) -> str:
    """Names an origin: 16 hex digits."""
    return _digest(json.dumps(origin, sort_keys=True))


@functools.cache
def engine() -> str:
    """Names this engine: 16 hex digits over the text of every file of it and of its extensions.

    Graphs for other simulators are left out: no training goes through them.

    Not a number to be raised by hand: a change of bits that nobody noticed
    would leave it as it is.
    """
    root = Path(snn.__file__).parent
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*")):
        if "interchange" in path.relative_to(root).parts:
            continue
        if path.is_file() and path.suffix in (".py", ".c", ".cpp", ".cu", ".h"):
            digest.update(path.relative_to(root).as_posix().encode() + b"\0")
            digest.update(path.read_bytes() + b"\0")
    digest.update(extensions.fingerprint().encode())
    return digest.hexdigest()[:16]


@functools.cache
def processor() -> str:
    """The model of the processor, as far as the system says."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor())


def _device(device: str) -> str:
    kind = torch.device(device)
    if kind.type != "cuda":
        return kind.type
    versions = f"CUDA {torch.version.cuda}, cuDNN {torch.backends.cudnn.version()}"
    return f"{torch.cuda.get_device_name(kind)}, {versions}, tf32 {torch.backends.cudnn.allow_tf32}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
