"""What this process may use of its machine."""

import math
import os
from collections.abc import Iterator
from pathlib import Path


def allowed_processors(root: Path = Path("/")) -> float:
    """Return how many processors this process may use.

    `taskset` and the like allow fewer than there are, and a container may allow a part of one.
    """
    has_affinity = hasattr(os, "sched_getaffinity")
    least: float = len(os.sched_getaffinity(0)) if has_affinity else os.cpu_count() or 1
    for folder in control_groups(root):
        limit, _, period = text(folder / "cpu.max").partition(" ")
        if limit.isdigit() and period.isdigit():
            least = min(least, int(limit) / int(period))
    return least


def usual_threads(root: Path = Path("/")) -> int:
    """Return the threads of a training that names none: OMP_NUM_THREADS, or one a processor."""
    asked = os.environ.get("OMP_NUM_THREADS", "")
    if asked.isdecimal() and int(asked) > 0:
        return int(asked)
    return math.ceil(allowed_processors(root))


def control_groups(root: Path = Path("/")) -> Iterator[Path]:
    """Yield the control groups (v2) of this process, from its own to the outermost."""
    top = root / "sys/fs/cgroup"
    own = text(root / "proc/self/cgroup").rpartition("::/")[2]
    folder = top / own
    yield folder
    while folder != top and top in folder.parents:
        folder = folder.parent
        yield folder


def text(path: Path) -> str:
    """Return the text of a file of the system; empty if it cannot be read."""
    try:
        return path.read_text().strip()
    except OSError:
        return ""
