"""The environment of a training: data, engine, torch and machine.

Two trainings with equal config and equal environment give equal weights, bit for bit. With
different environments they may differ.
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


def environment_of(split: Split, device: str) -> dict[str, str]:
    """Return the environment of a training on `split` that starts now, as readable text.

    Thread count, instruction set and processor are included because they may change the
    order of additions, and with it the last bit.
    """
    return {
        "data": split.fingerprint,
        "engine": engine(),
        "torch": torch.__version__,
        "build": _digest(torch.__config__.show()),
        "machine": f"{platform.machine()}, {processor()}, "
        f"{torch.backends.cpu.get_cpu_capability()}",
        "device": _device(device),
        "neurons": body_of(device.split(":")[0]),  # they differ in the last bit of one surrogate
        "threads": str(torch.get_num_threads()),
        "arithmetic": f"{torch.get_default_dtype()}, {torch.get_float32_matmul_precision()}",
    }


def fingerprint(environment: Mapping[str, str]) -> str:
    """Return the name of an environment: 16 hex digits."""
    return _digest(json.dumps(environment, sort_keys=True))


@functools.cache
def engine() -> str:
    """Return the name of this engine: 16 hex digits over all its source files and extensions.

    `snn/interchange` is left out, because no training runs through it. A hash, not a version
    number: a change of results that nobody noticed would not raise a number.
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
    """Return the model of the processor as the system reports it."""
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
