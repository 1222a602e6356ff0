"""Binning: events become frames, by integers only; every event in the clip is in exactly one bin.

    window   bin = min(T - 1, floor(T * t / clip))               causal: bins end at fixed times
    whole    bin = min(T - 1, floor(T * (t - first) / (last - first)))        of each recording
    count    bin = floor(T * i / n)                              of the i-th of n events

A clip is the part of a recording up to `clip_us`, its end included.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from snn.settings.config import RunConfig
from snn.settings.datasets import frame_shape

Int64 = npt.NDArray[np.int64]
Frames = npt.NDArray[np.uint8] | npt.NDArray[np.int8]

LARGEST_COUNT = 255
"""Events of one input and bin that are counted; more count as many."""


@dataclass(frozen=True, kw_only=True)
class Cut:
    """How time, polarities and pixels are cut; the values are those of RunConfig."""

    timesteps: int
    binning: str
    clip_us: int
    event_value: str
    polarity: str  # "" for one polarity
    shrink: int


def cut_of(config: RunConfig) -> Cut:
    """Return how a config cuts recordings."""
    return Cut(
        timesteps=config.timesteps,
        binning=config.binning,
        clip_us=max(round(config.used_ms * 1000), 1),
        event_value=config.event_value,
        polarity=config.polarity,
        shrink=config.shrink,
    )


def bins(time: Int64, counts: Int64, cut: Cut) -> Int64:
    """Return the bin of each event, -1 for events after the clip.

    `time` are those of several recordings with `counts` events each, one after another, sorted
    within each.
    """
    steps, inside = cut.timesteps, time <= cut.clip_us
    if cut.binning == "window":
        found = np.minimum(time * steps // cut.clip_us, steps - 1)
        return np.where(inside, found, -1)
    ends = np.cumsum(counts)
    owner = np.repeat(np.arange(len(counts)), counts)
    kept = np.bincount(owner[inside], minlength=len(counts))  # events in the clip come first
    first = ends - counts
    if cut.binning == "count":
        rank = np.arange(len(time)) - first[owner]
        return np.where(inside, rank * steps // np.maximum(kept[owner], 1), -1)
    filled = kept > 0
    start, length = np.zeros(len(counts), np.int64), np.ones(len(counts), np.int64)
    start[filled] = time[first[filled]]
    length[filled] = np.maximum(time[(first + kept - 1)[filled]] - start[filled], 1)
    found = np.minimum((time - start[owner]) * steps // length[owner], steps - 1)
    return np.where(inside, found, -1)


def frames(
    time: Int64, place: Int64, counts: Int64, shape: tuple[int, int, int], cut: Cut
) -> Frames:
    """Return frames (recordings, time, channels, height, width), as uint8; int8 if signed.

    `place` is (channel * height + y) * width + x on a sensor of `shape`.
    """
    out = frame_shape(shape, polarity=cut.polarity, shrink=cut.shrink)
    size = out[0] * out[1] * out[2]
    total = len(counts) * cut.timesteps * size
    found = bins(time, counts, cut)
    owner = np.repeat(np.arange(len(counts)), counts)
    target, is_off = places(shape, cut)
    flat = (owner * cut.timesteps + found) * size + target[place]
    inside = found >= 0
    of_all = (len(counts), cut.timesteps, *out)
    if cut.polarity == "signed":
        off = is_off[place]
        ons = np.bincount(flat[inside & ~off], minlength=total)
        offs = np.bincount(flat[inside & off], minlength=total)
        signed: Frames = np.sign(ons - offs).astype(np.int8).reshape(of_all)
        return signed
    if cut.event_value == "binary":
        binary = np.zeros(total, np.uint8)
        binary[flat[inside]] = 1
        return binary.reshape(of_all)
    counted = np.bincount(flat[inside], minlength=total)
    return np.minimum(counted, LARGEST_COUNT).astype(np.uint8).reshape(of_all)


def places(shape: tuple[int, int, int], cut: Cut) -> tuple[Int64, npt.NDArray[np.bool_]]:
    """Return for each place of the sensor its place in a frame, and whether it is OFF."""
    out = frame_shape(shape, polarity=cut.polarity, shrink=cut.shrink)
    channel, y, x = np.meshgrid(*map(np.arange, shape), indexing="ij")
    kept = channel if out[0] == shape[0] else np.zeros_like(channel)
    target = (kept * out[1] + y // cut.shrink) * out[2] + x // cut.shrink
    return target.ravel(), (channel == 0).ravel()
