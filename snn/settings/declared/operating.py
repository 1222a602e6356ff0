"""The sampled operating point, which no training depends on."""

import dataclasses
from dataclasses import dataclass

from snn.settings.declared.time_rules import CONVERTED
from snn.settings.setting import Setting, choice, fraction, integer, real


@dataclass(frozen=True, kw_only=True)
class OperatingSettings:
    """The sampled operating point, which no training depends on."""

    exit_threshold: tuple[float, ...] = dataclasses.field(
        default=(0.9,),
        metadata={
            "setting": Setting(
                kind="reals",
                low=0,
                high=1,
                operating=True,
                meaning="confidence threshold of each exit before the last: an image exits if its "
                "highest class probability after all timesteps is at least this; 1 = never",
            )
        },
    )
    detector_threshold: float = fraction(
        0.5, "highest probability of being hard at which an image may exit", operating=True
    )
    exit_combination: str = choice(
        "nested",
        ("nested", "last", "maximum", "mean"),
        "class probabilities of an image from its visited exits: each exit redistributes the "
        "probability of the hard classes (nested), the last exit alone, the most confident exit "
        "(maximum), or the mean of all",
        operating=True,
    )
    time_threshold: float = fraction(
        1.0,
        "confidence at which the last exit answers before the last timestep; below 1, each exit "
        "answers at the first timestep at which it is confident enough. 1 = never",
        operating=True,
        without=1.0,
    )
    threshold_scale: float = real(
        1.0,
        "factor of all thresholds of a converted network and of the connections between its "
        "neurons: rates rise by its inverse",
        low=0,
        open_low=True,
        high=100,
        operating=True,
        without=1.0,
        only_with=CONVERTED,
    )
    initial_potential: float = fraction(
        0.5,
        "membrane potential of a converted network before the first timestep, as a fraction of "
        "the threshold",
        open_high=True,
        operating=True,
        without=0.5,
        only_with=CONVERTED,
    )
    inference_timesteps: int = integer(
        None,
        "timesteps at inference, the same for every image; at most timesteps",
        low=1,
        operating=True,
    )
