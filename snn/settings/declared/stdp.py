"""Plasticity without labels: who learns, and how fast."""

from dataclasses import dataclass

from snn.settings.setting import integer, real

PLASTIC = {"time_rule": ("stdp",)}


@dataclass(frozen=True, kw_only=True)
class StdpSettings:
    """Plasticity without labels: who learns, and how fast."""

    stdp_rate: float = real(
        0.004,
        "move of the logit of a weight for each winner of time_rule stdp; in the first layer at "
        "first, where it doubles every 500 images up to 0.15",
        low=0,
        open_low=True,
        high=1,
        per_block=True,
        without=0.004,
        only_with=PLASTIC,
    )
    stdp_winners: int = integer(
        5,
        "neurons of a layer that learn from one image with time_rule stdp",
        low=1,
        high=1000,
        without=5,
        only_with=PLASTIC,
    )
    stdp_radius: int = integer(
        2,
        "distance in pixels up to which a winner of time_rule stdp excludes others",
        low=0,
        high=1000,
        without=2,
        only_with=PLASTIC,
    )
