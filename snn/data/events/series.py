"""Series: values sampled at equal intervals, from .ts files, and their events.

send on delta    an event ON (OFF) for each threshold by which a value has risen (fallen)
                 since the last event of its channel
"""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from snn.data.events.store import Part
from snn.data.image_files import DataError

Float32 = npt.NDArray[np.float32]


def ts(path: Path) -> tuple[list[Float32], list[str]]:
    """Return the series (samples, channels) of a UCR or UEA .ts file, and their class names."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read ({error})") from None
    series: list[Float32] = []
    labels: list[str] = []
    is_data = False
    for number, raw in enumerate(lines, 1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        if line.startswith("@"):
            is_data = line.lower() == "@data"
            if line.lower().replace(" ", "") == "@timestampstrue":
                raise DataError(f"{path}: line {number}: time stamps are not read; sample evenly")
            continue
        if not is_data:
            raise DataError(f"{path}: line {number}: must be after @data; it is no .ts file")
        *channels, label = line.split(":")
        try:
            columns = [np.array(part.split(","), dtype=np.float32) for part in channels]
            found = np.stack(columns, axis=1)
        except ValueError:
            raise DataError(
                f"{path}: line {number}: must be numbers, as many for each channel, and a class"
            ) from None
        if not np.isfinite(found).all():
            raise DataError(f"{path}: line {number}: values must be finite")
        if series and found.shape[1] != series[0].shape[1]:
            raise DataError(
                f"{path}: line {number}: must have {series[0].shape[1]} channels, "
                f"got {found.shape[1]}"
            )
        series.append(found)
        labels.append(label.strip())
    if not series:
        raise DataError(f"{path}: has no series after @data; it is no .ts file or was cut short")
    return series, labels


def deviation(part: Part) -> float:
    """Return the standard deviation of all values, each channel around its own mean."""
    values = part.value.astype(np.float64)
    return float(np.sqrt(((values - values.mean(axis=0)) ** 2).mean()))


def send_on_delta(part: Part, threshold: float, interval_us: float) -> Part:
    """Return the events of series: places are (ON, channel), times those of the samples."""
    channels = part.value.shape[1]
    counts = np.diff(part.start)
    longest = int(counts.max())
    last = part.value[part.start[:-1]].astype(np.float64)
    found = []
    for sample in range(1, longest):
        alive = np.flatnonzero(counts > sample)
        value = part.value[part.start[alive] + sample].astype(np.float64)
        steps = np.trunc((value - last[alive]) / threshold).astype(np.int64)
        last[alive] += steps * threshold
        row, channel = np.nonzero(steps)
        many = steps[row, channel]
        place = np.where(many > 0, channels, 0) + channel
        times = np.full(len(row), int(sample * interval_us))
        found.append(np.repeat(np.stack([alive[row], times, place]), np.abs(many), axis=1))
    owner, time, place = np.concatenate(found, axis=1) if found else np.empty((3, 0), np.int64)
    order = np.argsort(owner, kind="stable")
    start = np.concatenate([[0], np.cumsum(np.bincount(owner, minlength=len(part)))])
    return Part(
        start=start.astype(np.int64),
        time=time[order].astype(np.uint32),
        place=place[order].astype(np.uint32),
        value=np.empty((0, 0), np.float32),
        label=part.label,
        group=part.group,
    )
