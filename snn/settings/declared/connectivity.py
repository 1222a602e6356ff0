"""Dropout and sparse training."""

from dataclasses import dataclass

from snn.settings.setting import choice, fraction, integer, real


@dataclass(frozen=True, kw_only=True)
class ConnectivitySettings:
    """Dropout and sparse training."""

    dropout: float = fraction(
        0.0,
        "fraction of neurons set silent per image in training, the same ones at all timesteps",
        open_high=True,
        per_block=True,
    )
    target_sparsity: float = fraction(
        0.0,
        "fraction of connections that are removed at the end of training",
        open_high=True,
        per_block=True,
    )
    rewiring: str = choice(
        "closed-loop",
        (
            "closed-loop",
            "open-loop",
            "deep-r",
            "deep-r-soft",
            "magnitude",
            "stds",
            "stdp-count",
            "stdp-quantile",
            "stdp-final",
        ),
        "method of sparse training: Grad R with a threshold controlled to reach the target "
        "(closed-loop) or with its published prior (open-loop); Deep R, hard or soft; magnitude "
        "pruning without regrowth; a soft threshold controlled to reach the "
        "target (stds); of time_rule stdp weights that fell below 0.2 (stdp-count), the smallest "
        "while it learns (stdp-quantile) or at its end (stdp-final)",
    )
    rewiring_ramp: float = fraction(
        0.75,
        "fraction of the training over which sparsity rises to the target; Deep R is sparse from "
        "the start, open-loop follows its prior",
        open_low=True,
    )
    rewiring_every: int = integer(10, "optimizer steps from one rewiring to the next", low=1)
    prior_strength: float = real(
        1e-3, "alpha of open-loop's Laplace prior, and of Deep R's drift towards zero", low=0
    )
    rewiring_temperature: float = real(
        1e-4, "temperature of Deep R's random walk, squared weight per step size", low=0
    )
