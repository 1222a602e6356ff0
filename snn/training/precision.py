"""The number type that `precision = "auto"` stands for on this machine.

A processor with AVX512-BF16 or AMX, and most GPUs, multiply bfloat16 faster than float32; others
imitate it, slower. Trainings record the type that was chosen, never `auto`: the same config on
another machine may stand for another training.
"""

from dataclasses import dataclass
from pathlib import Path

import torch

from snn.settings.config import ConfigError, RunConfig

INSTRUCTIONS = {"amx_bf16": "AMX", "avx512_bf16": "AVX512-BF16"}
"""Names of processor flags in Linux, and of the instructions that they stand for."""


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The number type that a machine multiplies fastest, and why."""

    precision: str  # as in RunConfig, never "auto"
    reason: str

    def __str__(self) -> str:
        return f"{self.precision}: {self.reason}"


def fastest(device: str) -> Choice:
    """Return the number type that a device (`cpu`, `cuda`, `cuda:1`) multiplies fastest."""
    if torch.device(device).type == "cuda":
        name = torch.cuda.get_device_name(device)
        with torch.cuda.device(device):
            is_fast = torch.cuda.is_bf16_supported(including_emulation=False)
        if is_fast:
            return Choice(precision="bfloat16", reason=f"{name} multiplies it")
        return Choice(precision="float32", reason=f"{name} has no bfloat16")
    found = [name for flag, name in INSTRUCTIONS.items() if _has(flag)]
    if not found:
        names = " nor ".join(reversed(INSTRUCTIONS.values()))
        return Choice(precision="float32", reason=f"the processor has neither {names}")
    if not torch.backends.mkldnn.is_available():
        return Choice(precision="float32", reason="this build of torch has no oneDNN")
    return Choice(precision="bfloat16", reason=f"the processor has {' and '.join(found)}")


def settled(config: RunConfig, device: str) -> tuple[RunConfig, Choice | None]:
    """Return the config with a number type in place of `auto`, and the choice; None: no auto.

    float32 where the other settings exclude bfloat16.
    """
    if config.precision != "auto":
        return config, None
    choice = fastest(device)
    try:
        return config.replace(precision=choice.precision), choice
    except ConfigError as error:
        choice = Choice(precision="float32", reason=error.faults[0].message)
        return config.replace(precision=choice.precision), choice


def _has(flag: str) -> bool:
    """Whether the processor has an instruction, according to torch or else to the system."""
    ask = {"amx_bf16": "_is_amx_tile_supported", "avx512_bf16": "_is_avx512_bf16_supported"}[flag]
    supported = getattr(torch.cpu, ask, None)  # not part of torch's promised interface
    if supported is not None:
        return bool(supported())
    return flag in _flags()


def _flags(cpuinfo: Path = Path("/proc/cpuinfo")) -> frozenset[str]:
    try:
        lines = cpuinfo.read_text().splitlines()
    except OSError:
        return frozenset()
    flags = (line.partition(":")[2].split() for line in lines if line.startswith("flags"))
    return frozenset(next(flags, ()))
