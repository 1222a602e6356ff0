"""Seconds from typing a command to its end: `spikefront --help`, and the front of a study.

Each in a process of its own, as from a terminal; the median over several runs, after
one that fills the system's caches. The store has a study of 200 trials.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.big_store import LARGE, Size, fill
from benchmarks.report import Figure, Report, arguments

COMMANDS: Mapping[str, tuple[tuple[str, ...], float]] = {  # words, aim in seconds
    "help_s": (("--help",), 0.5),
    "front_s": (("front", LARGE), 1.5),
    "studies_s": (("studies",), 1.5),
}


def seconds(words: Sequence[str], store: str) -> float:
    """Of one run. Raises CalledProcessError."""
    command = [sys.executable, "-m", "search.commands.cli", *words]
    environment = {**os.environ, "SPIKEFRONT_STORE": store}
    begun = time.perf_counter()
    subprocess.run(command, env=environment, check=True, capture_output=True)
    return time.perf_counter() - begun


def main(argv: Sequence[str] | None = None) -> int:
    """Time, and print."""
    options = arguments(__doc__.splitlines()[0]).parse_args(argv)
    runs = 3 if options.quick else 11
    report = Report("startup", setting={"quick": options.quick, "runs": runs})
    with tempfile.TemporaryDirectory() as folder:
        store = f"sqlite:///{Path(folder) / 'store.db'}"
        fill(store, Size(studies=20, trials=200, points=4_000))
        for name, (words, aim) in COMMANDS.items():
            seconds(words, store)
            seen = [seconds(words, store) for _ in range(runs)]
            report.line(f"  spikefront {' '.join(words)}: {min(seen):.2f} to {max(seen):.2f} s")
            value = statistics.median(seen)
            report.add(Figure(name=name, value=value, unit="s", better="lower", aim=aim))
    report.show(as_json=options.json)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
