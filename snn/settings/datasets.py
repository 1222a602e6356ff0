"""Data sets by name: shape of one input (channels, height, width) and number of classes.

The readers are in `snn.data`; they load numpy, this module does not.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

DATASETS: dict[str, tuple[tuple[int, int, int], int]] = {
    "digits": ((1, 8, 8), 10),
    "mnist": ((1, 28, 28), 10),
    "fashion-mnist": ((1, 28, 28), 10),
    "kmnist": ((1, 28, 28), 10),
    "cifar10": ((3, 32, 32), 10),
    "cifar100": ((3, 32, 32), 100),
    "n-mnist": ((2, 34, 34), 10),
    "n-caltech101": ((2, 180, 240), 101),
    "cifar10-dvs": ((2, 128, 128), 10),
    "dvs-gesture": ((2, 128, 128), 11),
    "shd": ((1, 700, 1), 20),
    "ssc": ((1, 700, 1), 35),
    "spoken-digits": ((1, 64, 1), 10),
    "braille": ((2, 12, 1), 27),
    "digits-saccades": ((2, 10, 10), 10),
    "mnist-saccades": ((2, 34, 34), 10),
}
"""For recordings, channels are polarities: OFF and ON of a camera, or one of a row of channels."""


@dataclass(frozen=True, kw_only=True)
class RecordingSet:
    """What settings depend on, of a data set whose inputs are recordings.

    `clip_ms` is the part of each recording that is used, from its start. `kind`: events, or
    series of sampled values, which become events by `delta_threshold`. `folder`: of own data.
    `is_grouped`: no group (speaker, session) is in both the training and the validation part.
    """

    clip_ms: float
    kind: Literal["events", "series"] = "events"
    folder: Path | None = None
    is_grouped: bool = False


RECORDINGS: dict[str, RecordingSet] = {
    "n-mnist": RecordingSet(clip_ms=315.0),  # three saccades of 105 ms
    "n-caltech101": RecordingSet(clip_ms=300.0),
    "cifar10-dvs": RecordingSet(clip_ms=1300.0),
    "dvs-gesture": RecordingSet(clip_ms=6000.0),
    "shd": RecordingSet(clip_ms=1000.0),
    "ssc": RecordingSet(clip_ms=1000.0),
    "spoken-digits": RecordingSet(clip_ms=800.0),
    "braille": RecordingSet(clip_ms=1900.0, kind="series"),  # 76 intervals of 25 ms
    "digits-saccades": RecordingSet(clip_ms=315.0),
    "mnist-saccades": RecordingSet(clip_ms=315.0),
}
"""The data sets of recordings; all others are images."""


def is_recorded(name: str) -> bool:
    """Return whether the inputs of a data set are recordings over time."""
    return name in RECORDINGS


def sample_of(name: str) -> str:
    """Return the word for one input of a data set: image or recording."""
    return "recording" if is_recorded(name) else "image"


def frame_shape(shape: tuple[int, int, int], *, polarity: str, shrink: int) -> tuple[int, int, int]:
    """Return channels, height and width of a frame of a sensor of `shape`."""
    channels, height, width = shape
    kept = 1 if polarity in ("merged", "signed") else channels
    return kept, -(-height // shrink), -(-width // shrink)
