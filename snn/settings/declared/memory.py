"""What neurons and connections remember beside the membrane potential."""

from dataclasses import dataclass

from snn.settings.declared.recordings import RECORDED
from snn.settings.setting import AboveZero, fraction, real

ADAPTIVE = {"adaptation": AboveZero()}


@dataclass(frozen=True, kw_only=True)
class MemorySettings:
    """What neurons and connections remember beside the membrane potential."""

    synaptic_leak: float = fraction(
        0.0,
        "decay factor of the synaptic current per timestep, which the potential integrates in "
        "place of its input (CuBa-LIF); 0 = no synaptic current, LIF",
        without=0.0,
    )
    synaptic_leak_ms: float = real(
        0.0,
        "time constant of the synaptic current, milliseconds, with which synaptic_leak follows "
        "from the length of a timestep; 0 = synaptic_leak says it",
        low=0,
        high=1e6,
        without=0.0,
        only_with=RECORDED,
    )
    adaptation: float = real(
        0.0,
        "rise of a neuron's threshold with each of its spikes, which decays by adaptation_leak "
        "(ALIF); 0 = none, LIF",
        low=0,
        high=1000,
        without=0.0,
    )
    adaptation_leak: float = fraction(
        0.9,
        "decay factor of the rise of the threshold per timestep",
        without=0.9,
        only_with=ADAPTIVE,
    )
    adaptation_leak_ms: float = real(
        0.0,
        "time constant of the rise of the threshold, milliseconds, with which adaptation_leak "
        "follows from the length of a timestep; 0 = adaptation_leak says it",
        low=0,
        high=1e6,
        without=0.0,
        only_with={**RECORDED, **ADAPTIVE},
    )
