"""Binning: events become frames, by integers only; every event in the clip is in exactly one bin.

    window   bin = min(T - 1, floor(T * t / clip))               causal: bins end at fixed times
    whole    bin = min(T - 1, floor(T * (t - first) / (last - first)))        of each recording
    count    bin = floor(T * i / n)                              of the i-th of n events

A clip is the part of a recording up to `clip_us`, its end included.
"""

import ctypes
import functools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from snn.settings import compiled
from snn.settings.config import RunConfig
from snn.settings.datasets import frame_shape

Int64 = npt.NDArray[np.int64]
Times = npt.NDArray[np.int64] | npt.NDArray[np.uint32]  # uint32 as in a store: the compiled body
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


def borders(time: Times, start: Int64, counts: Int64, cut: Cut) -> Int64:
    """Return where the bins of recordings begin and end in `time`, (recordings, bins + 1).

    `time` has those of recording i from start[i] on, counts[i] of them, sorted. A bin begins at
    the first event with T * (t - t0) >= bin * length, a comparison of integers.
    """
    steps = cut.timesteps
    step = np.arange(steps + 1)
    found = np.empty((len(counts), steps + 1), np.int64)
    edges = -(-step * cut.clip_us // steps)
    edges[steps] = cut.clip_us + 1
    edges = edges.astype(time.dtype)  # of another type searchsorted would copy all times
    for row, (first, count) in enumerate(zip(start.tolist(), counts.tolist(), strict=True)):
        own = time[first : first + count]
        if cut.binning == "window":
            found[row] = first + np.searchsorted(own, edges)
            continue
        kept = int(np.searchsorted(own, edges[steps:])[0])
        if cut.binning == "count":
            found[row] = first - (-step * kept // steps)
        elif kept == 0:
            found[row] = first
        else:
            begin = int(own[0])
            length = max(int(own[kept - 1]) - begin, 1)
            inner = (begin - (-step[:-1] * length // steps)).astype(time.dtype)
            found[row, :-1] = first + np.searchsorted(own[:kept], inner)
            found[row, -1] = first + kept
    return found


def bins(time: Times, counts: Int64, cut: Cut) -> Int64:
    """Return the bin of each event, -1 for events after the clip.

    `time` are those of several recordings with `counts` events each, one after another, sorted
    within each.
    """
    found = np.full(len(time), -1, np.int64)
    for own in borders(time, np.cumsum(counts) - counts, counts, cut):
        found[own[0] : own[-1]] = np.repeat(np.arange(cut.timesteps), np.diff(own))
    return found


def frames(
    time: Times,
    place: Times,
    counts: Int64,
    shape: tuple[int, int, int],
    cut: Cut,
    start: Int64 | None = None,
) -> Frames:
    """Return frames (recordings, time, channels, height, width), as uint8; int8 if signed.

    `place` is (channel * height + y) * width + x on a sensor of `shape`; recording i has
    counts[i] events from start[i] on (default: one recording after another).
    """
    # views of maps are made slowly
    time, place = time.view(np.ndarray), place.view(np.ndarray)
    out = frame_shape(shape, polarity=cut.polarity, shrink=cut.shrink)
    size = out[0] * out[1] * out[2]
    found = borders(time, np.cumsum(counts) - counts if start is None else start, counts, cut)
    of_all = (len(counts), cut.timesteps, *out)
    made: Frames = np.zeros(of_all, np.uint8)
    if cut.polarity == "signed":
        made = np.zeros(of_all, np.int8)
    target, is_off = places(shape, cut)
    library = _library()
    if library is not None and cut.polarity != "signed" and place.dtype == np.uint32:
        first, last = (np.ascontiguousarray(part) for part in (found[:, :-1], found[:, 1:]))
        is_whole = library.fill(
            place.ctypes.data, first.ctypes.data, last.ctypes.data, first.size, target.size,
            target.ctypes.data if size < target.size else None, size,
            cut.event_value == "binary", made.ctypes.data,
        )  # fmt: skip
        if not is_whole:
            raise IndexError("an event is outside of the sensor")
        return made
    for own, frame in zip(found, made.reshape(len(counts), -1), strict=True):
        events = place[own[0] : own[-1]]
        flat = np.repeat(np.arange(cut.timesteps) * size, np.diff(own)) + target[events]
        if cut.polarity == "signed":
            signs = np.where(is_off[events], -1, 1)
            frame[:] = np.sign(np.bincount(flat, signs, cut.timesteps * size))
        elif cut.event_value == "binary":
            frame[flat] = 1
        else:
            counted = np.bincount(flat, minlength=cut.timesteps * size)
            frame[:] = np.minimum(counted, LARGEST_COUNT)
    return made


@functools.cache
def _library() -> ctypes.CDLL | None:
    """Return the compiled body of `frames`, or None without a compiler."""
    found = compiled.library(Path(__file__).with_name("frames.c"), "frames")
    if isinstance(found, str):
        return None
    pointer, count = ctypes.c_void_p, ctypes.c_int64
    found.fill.argtypes = [
        *(pointer, pointer, pointer, count),
        *(ctypes.c_uint32, pointer, count, ctypes.c_int, pointer),
    ]
    return found


@functools.lru_cache(maxsize=8)
def places(
    shape: tuple[int, int, int], cut: Cut
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.bool_]]:
    """Return for each place of the sensor its place in a frame, and whether it is OFF."""
    out = frame_shape(shape, polarity=cut.polarity, shrink=cut.shrink)
    channel, y, x = np.meshgrid(*map(np.arange, shape), indexing="ij")
    kept = channel if out[0] == shape[0] else np.zeros_like(channel)
    target = (kept * out[1] + y // cut.shrink) * out[2] + x // cut.shrink
    return target.ravel().astype(np.int32), (channel == 0).ravel()
