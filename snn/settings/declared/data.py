"""The data set, its split and how images become input."""

from dataclasses import dataclass

from snn.settings import extensions
from snn.settings.datasets import DATASETS
from snn.settings.setting import choice, fraction, integer, real

OF_EXTENSION = f"; if an extension defines it, name the extension in {extensions.VARIABLE}"


@dataclass(frozen=True, kw_only=True)
class DataSettings:
    """The data set, its split and how images become input."""

    dataset: str = choice(
        "digits", DATASETS, "data set of images or recordings to classify", unknown=OF_EXTENSION
    )
    train_images: int = integer(
        0, "training images to use, a class-stratified subset; 0 = all", low=0
    )
    validation_fraction: float = real(
        0.2,
        "fraction of the training images held out for validation; a search decides on these",
        low=0,
        high=0.9,
        open_low=True,
    )
    augmentation: str = choice(
        "none",
        ("none", "shift", "crop-flip", "drop-events", "jitter", "shift-drop-jitter"),
        "random change of each training image: moved by up to an eighth of its side, of a row of "
        "channels along the row (shift), or by up to 4 pixels and half of them mirrored "
        "(crop-flip); of a recording also a share of its events dropped, up to a half "
        "(drop-events), each event moved in time by about a hundredth of the clip (jitter), or "
        "all three (shift-drop-jitter)",
    )
    encoding: str = choice(
        "",
        ("direct", "poisson", "latency", "rank", "events", "delta"),
        "input encoding: of images as a constant current at every timestep (direct) or as signed "
        "random spikes (poisson), one spike per pixel, earlier the brighter it is (latency), or "
        "one per contrast, ON and OFF, in the order of their strength (rank); of recordings their "
        "events (events), of series an event for each delta_threshold that a "
        "value moves (delta). Default: what the time rule needs, else direct, events or delta, as "
        "the data set needs",
    )
    latency_share: float = fraction(
        0.5,
        "share of the timesteps during which the input spikes with encoding latency",
        open_low=True,
        without=0.5,
        only_with={"encoding": ("latency",)},
    )
