"""Seconds from typing a command to its end: `spikefront --help`, and the front of a study.

The same from Python: `import search`, and `search.open_store` with the front of 10,000 trials.

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


IMPORT = "import time; b = time.perf_counter(); import search; print(time.perf_counter() - b)"
FRONT = """
import sys, time, search
begun = time.perf_counter()
front = search.open_store(sys.argv[1], read_only=True).front(sys.argv[2])
assert len(front)
print(time.perf_counter() - begun)
"""


def in_python(program: str, *words: str) -> float:
    """Return the seconds that a program prints, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", program, *words], check=True, capture_output=True, text=True
    )
    return float(done.stdout)


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
        many = f"sqlite:///{Path(folder) / 'many.db'}"
        trials = 500 if options.quick else 10_000
        fill(many, Size(studies=1, trials=trials, points=2 * trials))
        programs = {
            "import_search_s": (IMPORT, (), 0.15),
            "open_and_front_s": (FRONT, (many, LARGE), 0.5),
        }
        for name, (program, given, aim) in programs.items():
            in_python(program, *given)
            value = statistics.median(in_python(program, *given) for _ in range(runs))
            report.add(Figure(name=name, value=value, unit="s", better="lower", aim=aim))
    report.show(as_json=options.json)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
