"""The dynamics of the neurons, the surrogate derivative and the normalisation."""

from dataclasses import dataclass

from snn.settings.declared.recordings import RECORDED
from snn.settings.declared.time_rules import SURROGATE_RULES
from snn.settings.setting import choice, fraction, real

OWN_LEAKS = {"neuron": ("leaks", "individual")}
SURROGATE_SLOPES = {"atan": 2.0, "triangular": 1.0, "sigmoid": 4.0, "fast-sigmoid": 2.0}


@dataclass(frozen=True, kw_only=True)
class NeuronSettings:
    """The dynamics of the neurons, the surrogate derivative and the normalisation."""

    neuron: str = choice(
        "fixed",
        ("fixed", "learned", "thresholds", "leaks", "individual"),
        "leak and threshold of the neurons: fixed at their settings, both learned per layer from "
        "there, or of every neuron (in maps of every channel) its threshold learned (thresholds), "
        "its leak (leaks), or both (individual)",
    )
    leak_spread: float = real(
        1.0,
        "largest factor between the initial time constant of a neuron and that of leak, by which "
        "it is drawn longer or shorter, log-uniformly; 1 = the same for all",
        low=1,
        high=100,
        without=1.0,
        only_with=OWN_LEAKS,
    )
    threshold_balance: float = real(
        0.0,
        "change of a neuron's relative threshold at each optimizer step, times its share of its "
        "layer's spikes over the mean share, less 1: busy neurons become harder to fire, silent "
        "ones easier, and the sum is conserved. 0 = none",
        low=0,
        high=1,
        without=0.0,
    )
    leak: float = fraction(
        None,
        "decay factor of the membrane potential per timestep; 1 = no leak. Default: 1 with "
        "time_rule conversion, else 0.5",
        per_block=True,
    )
    threshold: float = real(
        1.0, "membrane potential at which a neuron fires", low=0, open_low=True, per_block=True
    )
    leak_ms: float = real(
        0.0,
        "time constant of the membrane potential, milliseconds, with which leak follows from the "
        "length of a timestep; 0 = leak says it",
        low=0,
        high=1e6,
        without=0.0,
        only_with=RECORDED,
    )
    firing_share: float = fraction(
        1.0,
        "fraction of the threshold at which a neuron fires; reset subtracts the whole threshold",
        open_low=True,
    )
    reset: str = choice(
        "soft",
        ("soft", "hard"),
        "reset after a spike: subtract the threshold (soft), or set the potential to zero (hard)",
    )
    readout_leak: float = fraction(
        1.0,
        "decay factor of the output integrators per timestep; 1 = no leak, a running mean",
        open_low=True,
    )
    surrogate: str = choice("atan", SURROGATE_SLOPES, "surrogate derivative of the spike function")
    surrogate_slope: float = real(
        None, "steepness of the surrogate derivative", low=0, open_low=True, high=1000
    )
    surrogate_height: float = real(
        0.0,
        "largest value of the surrogate derivative, that at the threshold; 0 = that of the "
        "surrogate at its slope",
        low=0,
        high=1000,
        without=0.0,
        only_with=SURROGATE_RULES,
    )
    gradient_growth: float = real(
        0.0,
        "growth of the gradients of the currents from one layer to the layer before it, which the "
        "height of the surrogate is calibrated to on one batch before the training; 1 = gradients "
        "of equal size, 0 = no calibration",
        low=0,
        high=10,
        without=0.0,
        only_with={"time_rule": ("bptt",)},
    )
    norm: str = choice(
        "weight-standardised",
        ("weight-standardised", "batch-over-time", "none"),
        "normalisation of the input currents",
    )
