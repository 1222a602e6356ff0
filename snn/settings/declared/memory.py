"""What neurons and connections remember beside the membrane potential."""

from dataclasses import dataclass

from snn.settings.declared.recordings import RECORDED
from snn.settings.setting import AboveZero, choice, fraction, integer, real

DELAYED = {"delays": ("connections", "axons")}
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
    recurrence: str = choice(
        "none",
        ("none", "1x1", "3x3"),
        "recurrent connections within each layer, delayed by one timestep, which start at zero: "
        "none, or from all neurons to all, in maps from all channels of the same pixel (1x1) or "
        "of its neighbours too (3x3); outputs have none",
        without="none",
    )
    delays: str = choice(
        "none",
        ("none", "connections", "axons"),
        "learned delays of spikes on their way into a layer, in timesteps: none, one for each "
        "connection (in convolutions for each pair of channels), or one for each input neuron or "
        "channel (axons); a constant image and outputs have none",
        without="none",
    )
    max_delay: int = integer(
        0,
        "longest delay, timesteps; 0 = a quarter of timesteps, rounded up",
        low=0,
        high=100_000,
        without=0,
        only_with=DELAYED,
    )
