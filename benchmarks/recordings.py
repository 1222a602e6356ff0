"""Event recordings: frames, waiting, memory and reading, against other libraries in one run.

1. Frames: recordings are drawn with the numbers of events of N-MNIST (4,108 on 34x34 pixels) and
   of a gesture (360,000 on 128x128); N-MNIST itself is used where its files are in the data
   folder. Tonic's ToFrame and a plain SpikingJelly-like split by numbers get the same arrays.
2. Waiting: the share of a training step that makes frames, where they are made for each batch, on
   a small network (vgg5 of width 8, T = 10, batches of 64).
3. Memory: what a process has of its own at most, over its start, when it makes batches of a store
   of 1 GB, and how much of the store two such processes have in memory together.
4. Reading: a file of 500,000 events of each format that another library reads, too.
"""

import importlib
import itertools
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.report import Figure, Report, arguments, data_dir
from snn.data import dataset
from snn.data.events import clips, formats
from snn.data.events.binning import Cut, frames
from snn.data.events.own import SOURCES
from snn.data.events.store import ARRAYS, Part, Store, gathered, open_store
from snn.data.image_files import DataError
from snn.settings.config import RunConfig
from snn.training.train import Training

STEPS = 10
BATCH = {"nmnist": 64, "gesture": 4}
EVENTS = {"nmnist": 4_108, "gesture": 360_000}
SIDE = {"nmnist": 34, "gesture": 128}
CLIP_US = {"nmnist": 315_000, "gesture": 6_000_000}
SHAPE = {kind: (2, side, side) for kind, side in SIDE.items()}
CUT = Cut(
    timesteps=STEPS, binning="window", clip_us=CLIP_US["nmnist"], event_value="counts",
    polarity="two", shrink=1,
)  # fmt: skip
WORKERS = 2

Batch = tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], np.ndarray[Any, Any]]


def drawn(kind: str) -> Batch:
    """Return times, places and counts of a batch of random recordings, as a store has them."""
    draws = np.random.default_rng(0)
    count, events = BATCH[kind], EVENTS[kind]
    time_us = np.sort(draws.integers(0, CLIP_US[kind], (count, events)), axis=1)
    place = draws.integers(0, 2 * SIDE[kind] ** 2, (count, events))
    wide = np.full(count, events)
    return time_us.ravel().astype(np.uint32), place.ravel().astype(np.uint32), wide


def real() -> Batch | None:
    """Return a batch of N-MNIST, or None where its files are missing."""
    try:
        store = open_store(SOURCES["n-mnist"].layout(data_dir()))
    except DataError:
        return None
    time_us, place, counts = gathered(
        store.train, np.arange(min(BATCH["nmnist"], len(store.train)))
    )
    return time_us.astype(np.uint32), place.astype(np.uint32), counts


def ours(kind: str, batch: Batch) -> Callable[[], object]:
    """Return the making of frames of counts."""
    cut = replace(CUT, clip_us=CLIP_US[kind])
    return lambda: frames(*batch, SHAPE[kind], cut)


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
            place = batch[1][start:end].astype(np.int64)
            edges = np.linspace(0, len(place), STEPS + 1).astype(int)
            for left, right in itertools.pairwise(edges):
                part = place[left:right]
                on = part >= side**2
                for own in (part[~on], part[on] - side**2):
                    made.append(np.bincount(own, minlength=side**2))
        return made

    return run


def seconds(work: Callable[[], object], repeats: int) -> float:
    """Return the median processor time of a call, after one that is not timed."""
    work()
    found = []
    for _ in range(repeats):
        begun = time.process_time()
        work()
        found.append(time.process_time() - begun)
    return statistics.median(found)


def main(argv: Sequence[str] | None = None) -> int:
    """Time, and print."""
    options = arguments(__doc__.splitlines()[0]).parse_args(argv)
    repeats = 1 if options.quick else 15
    report = Report("recordings", against=("numpy",), setting={"repeats": repeats, "T": STEPS})
    frames_against_peers(report, repeats)
    waiting(report, recordings=128 if options.quick else 1280)
    with tempfile.TemporaryDirectory() as folder:
        memory(report, Path(folder), megabytes=50 if options.quick else 1000)
        reading(report, Path(folder), repeats, events=20_000 if options.quick else 500_000)
    report.show(as_json=options.json)
    return 0


def frames_against_peers(report: Report, repeats: int) -> None:
    """Frames of N-MNIST and of a gesture."""
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


def part_of(recordings: int, seed: int) -> Part:
    """Return recordings like those of N-MNIST, with labels 0 to 9 in turn."""
    draws = np.random.default_rng(seed)
    events = EVENTS["nmnist"]
    time_us = np.sort(draws.integers(0, CLIP_US["nmnist"], (recordings, events)), axis=1)
    return Part(
        start=np.arange(recordings + 1) * events,
        time=time_us.ravel().astype(np.uint32),
        place=draws.integers(0, 2 * SIDE["nmnist"] ** 2, recordings * events).astype(np.uint32),
        value=np.empty((0, 0), np.float32),
        label=np.arange(recordings) % 10,
        group=np.full(recordings, -1),
    )


def waiting(report: Report, recordings: int) -> None:
    """The share of a training that is spent on frames of single batches."""
    config = RunConfig(
        dataset="n-mnist", backbone="vgg5", width=8, timesteps=STEPS, epochs=1, batch_size=64
    )
    store = Store(
        name="n-mnist", shape=SHAPE["nmnist"], classes=tuple("0123456789"), groups=(),
        train=part_of(recordings, 0), test=part_of(10, 1), fingerprint="drawn", unsorted=0,
        outside=0, unread=(), interval_us=0.0,
    )  # fmt: skip
    known = dataset.Recorded(
        name="n-mnist",
        store=store,
        train_labels=torch.from_numpy(store.train.label),
        test_labels=torch.from_numpy(store.test.label),
    )
    kept, made, waited = clips.RESIDENT_BYTES, clips.Clips._made, 0.0

    def timed(self: clips.Clips, places: Any) -> Any:
        nonlocal waited
        begun = time.perf_counter()
        found = made(self, places)
        waited += time.perf_counter() - begun
        return found

    split = dataset.split(
        known, validation_fraction=0.2, train_images=0, seed=0, device="cpu", config=config
    )
    try:
        clips.RESIDENT_BYTES, clips.Clips._made = 0, timed  # type: ignore[method-assign]
        begun = time.perf_counter()
        list(Training(config, split))
        took = time.perf_counter() - begun
    finally:
        clips.RESIDENT_BYTES, clips.Clips._made = kept, made  # type: ignore[method-assign]
    report.line(f"waiting: {waited:.3f} s of {took:.2f} s for {recordings} recordings")
    report.add(
        Figure(name="data_wait_share", value=waited / took, unit="", better="lower", aim=0.05)
    )


def mapped(folder: Path) -> Part:
    """Return the arrays in a folder, mapped as those of a store."""
    return Part(**{name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in ARRAYS})


def memory(report: Report, folder: Path, megabytes: int) -> None:
    """Peak memory of processes that make batches of one store, and the store's pages of both."""
    part = part_of(max(megabytes * 10**6 // (8 * EVENTS["nmnist"]), 64), 0)
    for name in ARRAYS:
        np.save(folder / f"{name}.npy", getattr(part, name))
    batches = len(part) // BATCH["nmnist"] + 1  # all recordings once
    size = sum((folder / f"{name}.npy").stat().st_size for name in ARRAYS)
    del part
    command = [sys.executable, "-m", "benchmarks.recorded_worker", str(folder), str(batches)]
    root = Path(__file__).parent.parent
    workers = [
        subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=root
        )
        for _ in range(WORKERS)
    ]
    for worker in workers:
        assert worker.stdout is not None
        worker.stdout.readline()
    said: list[dict[str, int]] = []
    for worker in workers:  # the others are waiting, their pages in memory
        assert worker.stdin is not None
        assert worker.stdout is not None
        worker.stdin.write("\n")
        worker.stdin.flush()
        said.append(json.loads(worker.stdout.readline()))
    for worker in workers:
        worker.communicate()
    own = max(one["most"] - one["before"] for one in said)
    # a worker that ended leaves its pages to the others: the first one's share counts for all
    together = WORKERS * said[0]["file"] / size
    report.line(f"memory: store of {size / 1e6:.0f} MB, {own / 1e6:.0f} MB of a worker's own")
    report.add(Figure(name="worker_memory_mb", value=own / 1e6, unit="MB", better="lower", aim=300))
    name = "store_pages_of_two_workers"
    report.add(Figure(name=name, value=together, unit="stores", better="lower", aim=1.2))


def reading(report: Report, folder: Path, repeats: int, events: int) -> None:
    """Files of other libraries' formats, written by expelliarmus or by hand, read by both."""
    draws = np.random.default_rng(0)
    time_us = np.sort(draws.integers(0, 2**23, events))
    x, y = draws.integers(0, 240, (2, events))
    on = draws.integers(0, 2, events)
    for kind, suffix, judge in judges(folder, (time_us, x, y, on)):
        path = folder / f"events-{kind}{suffix}"
        found, theirs = formats.read(path), judge(path)
        if len(found.time) != len(theirs):
            raise RuntimeError(f"{kind}: {len(found.time)} events, the judge has {len(theirs)}")
        own = seconds(lambda path=path: formats.read(path), repeats)  # type: ignore[misc]
        peer = seconds(lambda path=path, judge=judge: judge(path), repeats)  # type: ignore[misc]
        report.line(f"reading {kind}: {1000 * own:.2f} ms, the judge {1000 * peer:.2f} ms")
        report.add(
            Figure(
                name=f"reading_vs_judge_{kind}", value=own / peer, unit="of its time",
                better="lower",
            )
        )  # fmt: skip


def judges(
    folder: Path, columns: tuple[Any, Any, Any, Any]
) -> Sequence[tuple[str, str, Callable[[Path], Any]]]:
    """Write a file of each format that an installed library reads; return name, suffix, reader."""
    time_us, x, y, on = columns
    found: list[tuple[str, str, Callable[[Path], Any]]] = []
    try:
        tonic_io = importlib.import_module("tonic.io")
        wide = np.stack([x, y, on << 7 | time_us >> 16, time_us >> 8 & 255, time_us & 255], axis=1)
        (folder / "events-nmnist.bin").write_bytes(wide.astype(np.uint8).tobytes())

        def n_mnist(path: Path) -> Any:
            kind = np.dtype([("x", int), ("y", int), ("t", int), ("p", int)])
            return tonic_io.read_mnist_file(str(path), kind)

        found.append(("nmnist", ".bin", n_mnist))
    except ImportError:
        pass
    try:
        wizard = importlib.import_module("expelliarmus").Wizard
    except ImportError:
        return found
    kind = np.dtype([("t", "<i8"), ("x", "<i2"), ("y", "<i2"), ("p", "u1")])
    table = np.zeros(len(x), kind)
    table["t"], table["x"], table["y"], table["p"] = time_us, x, y, on
    for name, suffix in (("dat", ".dat"), ("evt2", ".raw"), ("evt3", ".raw")):
        one = wizard(encoding=name)
        one.save(fpath=str(folder / f"events-{name}{suffix}"), arr=table)
        found.append((name, suffix, lambda path, one=one: one.read(str(path))))  # type: ignore[misc]
    return found


if __name__ == "__main__":
    raise SystemExit(main())
