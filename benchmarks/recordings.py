"""Event recordings: frames, against Tonic and SpikingJelly in one run.

Recordings are drawn with the numbers of events of N-MNIST (4,108 on 34x34 pixels) and of a
gesture (360,000 on 128x128); N-MNIST itself is used where its files are in the data folder.
Tonic's ToFrame and a plain SpikingJelly-like split by numbers are run on the same arrays.
"""

import importlib
import itertools
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from benchmarks.report import Figure, Report, arguments, data_dir
from snn.data.events.binning import Cut, frames
from snn.data.events.own import SOURCES
from snn.data.events.store import gathered, open_store
from snn.data.image_files import DataError

STEPS = 10
BATCH = {"nmnist": 64, "gesture": 4}
EVENTS = {"nmnist": 4_108, "gesture": 360_000}
SIDE = {"nmnist": 34, "gesture": 128}
CLIP_US = {"nmnist": 315_000, "gesture": 6_000_000}

Batch = tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], np.ndarray[Any, Any]]


def drawn(kind: str) -> Batch:
    """Return times, places and counts of a batch of random recordings."""
    draws = np.random.default_rng(0)
    count, events = BATCH[kind], EVENTS[kind]
    time_us = np.sort(draws.integers(0, CLIP_US[kind], (count, events)), axis=1)
    place = draws.integers(0, 2 * SIDE[kind] ** 2, (count, events))
    return time_us.ravel(), place.ravel(), np.full(count, events)


def real() -> Batch | None:
    """Return a batch of N-MNIST, or None where its files are missing."""
    try:
        store = open_store(SOURCES["n-mnist"].layout(data_dir()))
    except DataError:
        return None
    return gathered(store.train, np.arange(min(BATCH["nmnist"], len(store.train))))


def ours(kind: str, batch: Batch) -> Callable[[], object]:
    """Return the making of frames of counts."""
    cut = Cut(
        timesteps=STEPS, binning="window", clip_us=CLIP_US[kind], event_value="counts",
        polarity="two", shrink=1,
    )  # fmt: skip
    shape = (2, SIDE[kind], SIDE[kind])
    return lambda: frames(*batch, shape, cut)


def tonic(kind: str, batch: Batch) -> Callable[[], object] | None:
    """Return Tonic's making of the same frames, or None where it is not installed."""
    try:
        functional = importlib.import_module("tonic.functional")
    except ImportError:
        return None
    side, parts = SIDE[kind], []
    ends = np.cumsum(batch[2])
    for start, end in zip(ends - batch[2], ends, strict=True):
        made = np.empty(end - start, [("x", "i2"), ("y", "i2"), ("t", "i8"), ("p", "i1")])
        place = batch[1][start:end]
        made["t"], made["x"] = batch[0][start:end], place % side
        made["y"], made["p"] = place // side % side, place // side**2
        parts.append(made)
    size = (side, side, 2)

    def run() -> object:
        return [functional.to_frame_numpy(p, sensor_size=size, n_time_bins=STEPS) for p in parts]

    return run


def spikingjelly(kind: str, batch: Batch) -> Callable[[], object]:
    """Return the frames as SpikingJelly makes them, one recording and one frame at a time.

    Its function cannot be imported without torchvision; this restates
    `integrate_events_segment_to_frame`, which counts each polarity with `numpy.bincount`.
    """
    side = SIDE[kind]
    ends = np.cumsum(batch[2])

    def run() -> object:
        made = []
        for start, end in zip(ends - batch[2], ends, strict=True):
            place = batch[1][start:end]
            edges = np.linspace(0, len(place), STEPS + 1).astype(int)
            for left, right in itertools.pairwise(edges):
                part = place[left:right]
                on = part >= side**2
                for own in (part[~on], part[on] - side**2):
                    made.append(np.bincount(own, minlength=side**2))
        return made

    return run


def seconds(work: Callable[[], object], repeats: int) -> float:
    """Return the median time of a call, after one that is not timed."""
    work()
    found = []
    for _ in range(repeats):
        begun = time.perf_counter()
        work()
        found.append(time.perf_counter() - begun)
    return statistics.median(found)


def main(argv: Sequence[str] | None = None) -> int:
    """Time, and print."""
    options = arguments(__doc__.splitlines()[0]).parse_args(argv)
    repeats = 1 if options.quick else 15
    report = Report("recordings", against=("numpy",), setting={"repeats": repeats, "T": STEPS})
    for kind in BATCH:
        batch = (real() if kind == "nmnist" else None) or drawn(kind)
        own = seconds(ours(kind, batch), repeats)
        peers = {"spikingjelly": spikingjelly(kind, batch), "tonic": tonic(kind, batch)}
        timed = {n: seconds(work, repeats) for n, work in peers.items() if work is not None}
        for name, value in {"ours": own, **timed}.items():
            report.line(f"{kind}: {name} {1000 * value:.2f} ms for {len(batch[2])} recordings")
        report.add(
            Figure(
                name=f"frames_vs_fastest_peer_{kind}",
                value=own / min(timed.values()),
                unit="of its time",
                better="lower",
                aim=0.2,
            )
        )
    report.show(as_json=options.json)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
