"""What every benchmark prints: a table for people, or one JSON document."""

import argparse
import contextlib
import ctypes
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

LOOKS_S = 2.0  # between looks at the processes of a benchmark


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One published number. `aim` is what it is meant to reach, where there is an aim."""

    name: str
    value: float
    unit: str
    better: Literal["higher", "lower"]
    aim: float | None = None


class Watch:
    """Time since it was made, and what others did to the machine meanwhile."""

    def __init__(self) -> None:
        _FAMILY.watch()
        self._started = time.perf_counter()
        self._cpu = busy_seconds()

    def seconds(self) -> float:
        """Wall time."""
        return time.perf_counter() - self._started

    def foreign_load(self) -> float | None:
        """Cores that other processes kept busy on average; None if unknown.

        The system counts in hundredths of a second.
        """
        now = busy_seconds()
        if now is None or self._cpu is None:
            return None
        total, own = now[0] - self._cpu[0], now[1] - self._cpu[1]
        return max(total - own, 0) / self.seconds()


class Report:
    """Collects lines for people on stderr while it runs, and figures for the end."""

    def __init__(
        self,
        benchmark: str,
        *,
        against: Sequence[str] = ("torch",),
        setting: Mapping[str, object] | None = None,
    ) -> None:
        self.benchmark, self.against = benchmark, against
        self.setting = dict(setting or {})  # what was run: options, data set, seeds
        self.figures: list[Figure] = []
        self._watch = Watch()

    def line(self, text: str) -> None:
        """Show a step as soon as it is known."""
        print(text, file=sys.stderr, flush=True)

    def add(self, figure: Figure) -> None:
        """Publish a figure."""
        self.figures.append(figure)

    def document(self) -> Mapping[str, object]:
        """The JSON document."""
        return {
            "benchmark": self.benchmark,
            "commit": commit(),
            "machine": machine(),
            "foreign_load": self.foreign_load(),
            "setting": self.setting,
            "against": {name: importlib.metadata.version(name) for name in self.against},
            "figures": [asdict(figure) for figure in self.figures],
        }

    def foreign_load(self) -> float | None:
        """Cores that other processes kept busy on average since the start; None if unknown."""
        load = self._watch.foreign_load()
        return None if load is None else round(load, 2)

    @property
    def is_busy(self) -> bool:
        """Whether other processes had so much of the machine that timings say nothing."""
        return (self.foreign_load() or 0) > 0.2

    def show(self, *, as_json: bool) -> None:
        """Print everything."""
        document = self.document()
        if as_json:
            print(json.dumps(document, indent=2))
            return
        width = max((len(figure.name) for figure in self.figures), default=0)
        print(f"{self.benchmark}, commit {document['commit']}, {document['machine']}")
        print(", ".join(f"{name} {value}" for name, value in self.setting.items()))
        print(f"against {document['against']}, foreign load {document['foreign_load']} cores")
        for figure in self.figures:
            aim = "" if figure.aim is None else f"   aim {figure.aim:g}"
            print(f"{figure.name:<{width}}  {figure.value:.4g} {figure.unit}{aim}")
        if self.is_busy:
            print("other programs were busy: timings are not to be quoted")


def arguments(purpose: str, *, has_quick: bool = True) -> argparse.ArgumentParser:
    """The options that benchmarks have in common."""
    parser = argparse.ArgumentParser(description=purpose)
    if has_quick:
        parser.add_argument("--quick", action="store_true", help="fewer and shorter runs")
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")
    return parser


def data_dir() -> Path:
    """Where data sets are looked for, as on the command line."""
    return Path(os.environ.get("SPIKEFRONT_DATA", "data"))


def commit() -> str:
    """The commit that is checked out, with a + when files differ from it."""
    try:
        git = ["git", "-C", str(Path(__file__).parent)]
        head = subprocess.check_output([*git, "rev-parse", "--short", "HEAD"], text=True).strip()
        changed = subprocess.check_output([*git, "status", "--porcelain"], text=True).strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return head + ("+" if changed else "")


def machine() -> str:
    """Processor and cores."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        model = names[0].split(":", 1)[1].strip() if names else model
    return f"{model}, {os.cpu_count()} cores, Python {platform.python_version()}"


def busy_seconds() -> tuple[float, float] | None:
    """Busy seconds of the whole machine, and of this process with its descendants."""
    stat = Path("/proc/stat")
    if not stat.exists():
        return None
    fields = [int(field) for field in stat.read_text().splitlines()[0].split()[1:]]
    idle = fields[3] + fields[4]
    tick = os.sysconf("SC_CLK_TCK")
    return (sum(fields[:8]) - idle) / tick, _FAMILY.ticks() / tick


def _adopt_orphans() -> None:
    """Become the parent of descendants that leave theirs, such as the daemons of Ray.

    They would go to the system's first process, and their time would count as foreign.
    """
    set_child_subreaper = 36  # <linux/prctl.h>
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(set_child_subreaper, 1, 0, 0, 0)


class _Family:
    """The processor time of this process and its descendants, also of those that have ended.

    The system adds the time of a process to that of the parent that waits for it. Some do not
    wait, as Ray's node for its workers: so descendants are also looked at every now and then.
    """

    def __init__(self) -> None:
        self._seen: dict[tuple[int, str], int] = {}  # own ticks by process and its start
        self._is_watched = False
        self._one_looks = threading.Lock()

    def ticks(self) -> int:
        """Return what is known by now."""
        with self._one_looks:
            counted = 0
            for process, start, own, waited in self._members():
                self._seen[process, start] = own
                counted += own + waited
            return max(counted, sum(self._seen.values()))

    def watch(self) -> None:
        """Look at the descendants from now on."""
        _adopt_orphans()
        if not self._is_watched:
            self._is_watched = True
            threading.Thread(target=self._look, daemon=True).start()

    def _look(self) -> None:
        while True:
            time.sleep(LOOKS_S)
            self.ticks()

    def _members(self) -> list[tuple[int, str, int, int]]:
        """Return process, start, ticks, and those of the children that it waited for."""
        found: dict[int, tuple[int, str, int, int]] = {}
        parents: dict[int, int] = {}
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):  # it ended while we looked
                fields = stat.read_text().rpartition(")")[2].split()
                process, ticks = int(stat.parent.name), [int(field) for field in fields[11:15]]
                parents[process] = int(fields[1])
                found[process] = (process, fields[19], sum(ticks[:2]), sum(ticks[2:]))
        family, before = {os.getpid()}, 0
        while len(family) > before:
            before = len(family)
            family |= {process for process, parent in parents.items() if parent in family}
        return [found[process] for process in family if process in found]


_FAMILY = _Family()
