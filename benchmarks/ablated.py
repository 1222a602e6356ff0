"""The networks of `benchmarks.ablations`, one for each data set, and what is changed in them."""

from collections.abc import Mapping
from typing import Any

from snn.settings.config import RunConfig

LETTERS = RunConfig(
    dataset="braille", backbone="mlp2", width=128, timesteps=38, leak_ms=300.0, dropout=0.1,
    delta_threshold=0.144, event_value="counts", epochs=12, learning_rate=5e-3,
)  # fmt: skip
DIGITS = RunConfig(
    dataset="spoken-digits", backbone="mlp2", width=128, timesteps=20, leak_ms=100.0, dropout=0.3,
    event_value="counts", epochs=12, learning_rate=3e-3,
)  # fmt: skip
SACCADES = RunConfig(
    dataset="n-mnist", backbone="vgg5", width=8, timesteps=10, leak_ms=60.0, dropout=0.1,
    shrink=2, epochs=8, learning_rate=1e-2,
)  # fmt: skip
NETWORKS = {config.dataset: config for config in (LETTERS, DIGITS, SACCADES)}
"""Networks that were chosen by hand, by data set: those of the studies, smaller and shorter."""

SLOW_MS = {"braille": (100.0, 500.0), "spoken-digits": (50.0, 300.0), "n-mnist": (30.0, 150.0)}
"""Time constants of synaptic currents and of adaptive thresholds, milliseconds."""

AS_IT_IS = "as it is"
RULES = ("ottt-a", "saf-e", "saf-f", "dsr")


def changes(base: RunConfig) -> Mapping[str, Mapping[str, Any]]:
    """Return what is changed in a network, by the name of the change; first nothing."""
    synapse_ms, adaptation_ms = SLOW_MS[base.dataset]
    uneven = {"leak_ms": 0.0, "leak": round(base.leak, 3)}  # bins of no fixed length
    other = {"counts": "binary", "binary": "counts"}[base.event_value]
    found: dict[str, Mapping[str, Any]] = {
        AS_IT_IS: {},
        "neurons without memory": {"leak_ms": 0.0, "leak": 0.0},
        "neurons without leak": {"leak_ms": 0.0, "leak": 1.0},
        "leak and threshold of layers learned": {"neuron": "learned"},
        "leaks of neurons learned": {"neuron": "leaks"},
        "leaks and thresholds of neurons learned": {"neuron": "individual"},
        "the same, time constants spread by 3": {"neuron": "individual", "leak_spread": 3.0},
        f"synaptic current, {synapse_ms:.0f} ms (CuBa)": {"synaptic_leak_ms": synapse_ms},
        f"adaptive threshold, {adaptation_ms:.0f} ms (ALIF)": {
            "adaptation": 0.2,
            "adaptation_leak_ms": adaptation_ms,
        },
        "delays of axons": {"delays": "axons"},
        "delays of connections": {"delays": "connections"},
        "recurrence, surrogate of height 0.3": {"recurrence": "1x1", "surrogate_height": 0.3},
        **{_bins(base, steps): {"timesteps": steps} for steps in _steps(base)},
        {"binary": "one spike a bin at most", "counts": "counts"}[other]: {"event_value": other},
        "bins of each one's own length": {"binning": "whole", **uneven},
        "bins of equal counts": {"binning": "count", **uneven},
    }
    if base.polarity == "two":
        found["polarities merged"] = {"polarity": "merged"}
    return found | {f"rule {rule}": {"time_rule": rule} for rule in RULES}


def _steps(base: RunConfig) -> tuple[int, int]:
    return base.timesteps // 2, 2 * base.timesteps


def _bins(base: RunConfig, steps: int) -> str:
    return f"{steps} bins of {base.used_ms / steps:.3g} ms"


def described(config: RunConfig) -> str:
    """Return a network in words."""
    bins = _bins(config, config.timesteps)
    pixels = f", every {config.shrink}x{config.shrink} pixels as one" if config.shrink > 1 else ""
    return (
        f"`{config.backbone}` of width {config.width}{pixels}, {bins}, leak of "
        f"{config.leak_ms:.0f} ms, `{config.time_rule}`"
    )
