"""A process that makes batches of a store of recordings and says how much memory it has.

    python -m benchmarks.recorded_worker FOLDER BATCHES

FOLDER has the arrays of `benchmarks.recordings.big_part`. It prints one JSON object: bytes of its
own at the start and at most, and its share of the pages of files after a line was read from stdin.
"""

import json
import sys
from pathlib import Path

import numpy as np

from benchmarks.recordings import CUT, SHAPE, mapped
from snn.data.events.binning import frames

BATCH = 64


def kilobytes(file: str, name: str) -> int:
    """Return a figure that the kernel keeps of this process, in kilobytes."""
    lines = Path(f"/proc/self/{file}").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(name)).split()[1])


def main() -> None:
    """Make batches, measure, wait for a line, measure what is shared."""
    folder, batches = Path(sys.argv[1]), int(sys.argv[2])
    before = most = kilobytes("status", "RssAnon")
    part = mapped(folder)
    order = np.random.default_rng(0).permutation(len(part))
    for number in range(batches):
        chosen = np.take(order, range(BATCH * number, BATCH * (number + 1)), mode="wrap")
        start = part.start[chosen]
        counts = part.start[chosen + 1] - start
        frames(part.time, part.place, counts, SHAPE["nmnist"], CUT, start)
        most = max(most, kilobytes("status", "RssAnon"))
    print("made", flush=True)
    sys.stdin.readline()  # until all workers hold their pages
    shared = kilobytes("smaps_rollup", "Pss_File")
    print(json.dumps({"before": 1024 * before, "most": 1024 * most, "file": 1024 * shared}))


if __name__ == "__main__":
    main()
