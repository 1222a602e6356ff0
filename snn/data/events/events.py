"""Events: what every reader returns, and the checks that every recording passes."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from snn.data.image_files import DataError
from snn.settings.setting import counted

Int64 = npt.NDArray[np.int64]

OUTSIDE_SHARE = 0.001
"""Largest share of events outside of the sensor that is dropped; more are an error."""

LONGEST_US = 2**32 - 1


class Events(NamedTuple):
    """The events of one recording, in the order of its file; all arrays int64 (events,)."""

    time: Int64  # ticks of the source's clock, microseconds unless it says otherwise
    x: Int64
    y: Int64
    on: Int64  # 1 ON, 0 OFF; 0 where there is one polarity


def events_of(time: Any, x: Any, y: Any, on: Any) -> Events:
    """Return events from arrays of any integer or boolean type."""
    return Events(*(np.asarray(part).astype(np.int64, copy=False) for part in (time, x, y, on)))


class Recording(NamedTuple):
    """One recording as the store keeps it, sorted by time."""

    time: npt.NDArray[np.uint32]  # microseconds since the recording's start
    place: npt.NDArray[np.uint32]  # (channel * height + y) * width + x
    outside: int  # events outside of the sensor, which are dropped
    is_sorted: bool  # whether the file was in order


@dataclass(frozen=True, kw_only=True)
class Form:
    """What a source declares about its recordings."""

    shape: tuple[int, int, int]  # channels (polarities), height, width
    unit_us: float = 1.0  # microseconds of a tick
    starts_at_zero: bool = False  # the clock starts with the recording, else at the first event
    flips: tuple[bool, bool] = (False, False)  # of y, of x
    on: int = 1  # the polarity value that means ON


def recording(events: Events, form: Form, where: Path | str) -> Recording:
    """Return a checked recording. Raises DataError: foreign times, or a wrong sensor size."""
    channels, height, width = form.shape
    count = len(events.time)
    if any(len(part) != count for part in events):
        lengths = ", ".join(str(len(part)) for part in events)
        raise DataError(f"{where}: t, x, y and p must be of one length, got {lengths}")
    time, x, y, on = events
    if count and on.min() == -1 and not (on == 0).any():
        on = (on + 1) // 2  # OFF is -1
    if form.on == 0:
        on = 1 - on
    if channels == 1:
        on = np.zeros_like(on)
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height) & (on >= 0) & (on < channels)
    outside = count - int(inside.sum())
    if outside > OUTSIDE_SHARE * count:
        raise DataError(
            f"{where}: {outside} of {count} events are outside of {width}x{height} pixels and "
            f"{counted(channels, 'polarity', 'polarities')} (x to {x.max()}, y to {y.max()}, "
            f"p {on.min()} to {on.max()}); correct the sensor's size, or the format that the "
            "suffix says"
        )
    if outside:
        time, x, y, on = (part[inside] for part in (time, x, y, on))
    y = height - 1 - y if form.flips[0] else y
    x = width - 1 - x if form.flips[1] else x
    is_sorted = bool((np.diff(time) >= 0).all())
    if not is_sorted:
        order = np.argsort(time, kind="stable")
        time, x, y, on = (part[order] for part in (time, x, y, on))
    if len(time) and not form.starts_at_zero:
        time = time - time[0]
    if len(time) and time[0] < 0:
        raise DataError(
            f"{where}: must have no event before time 0, got {time[0]}; the clock of own data may "
            "start with the first event: start = 'first-event'"
        )
    if form.unit_us != 1:
        time = np.floor(time * form.unit_us + 1e-6).astype(np.int64)
    if len(time) and time[-1] > LONGEST_US:
        raise DataError(
            f"{where}: must be shorter than 71 minutes, got {time[-1] / 6e7:.0f} minutes; "
            "check the unit of time"
        )
    place = (on * height + y) * width + x
    return Recording(time.astype(np.uint32), place.astype(np.uint32), outside, is_sorted)


LIKELY_US = (1e3, 6e8)


def check_lengths(lengths: npt.NDArray[np.int64], where: Path | str) -> None:
    """Raise DataError if the median length (microseconds) cannot be that of recordings."""
    median = float(np.median(lengths)) if len(lengths) else 0.0
    if not LIKELY_US[0] <= median <= LIKELY_US[1]:
        raise DataError(
            f"{where}: recordings of a median length of {median / 1000:g} ms (expected 1 ms to "
            "10 minutes): the unit of time is probably another one; declare it as time_unit"
        )
