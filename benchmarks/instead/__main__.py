"""What a user would do instead: our search against a script of Optuna and a spiking library.

Each searches MNIST (10,000 training images) for the same time on two cores: `spikefront run`
on study.toml, and script.py in snnTorch and in SpikingJelly, two processes that share a study
in SQLite. Accuracy is that on the same 6,000 validation images; operations are additions, one
per spike and existing connection, counted alike. Hypervolume is that of (accuracy, logarithm
of the operations), as a share of the box from 1 and 1,000 operations to the reference.
Nothing else should run meanwhile.
"""

import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import optuna

from benchmarks.finished import Finished
from benchmarks.instead.script import LIBRARIES, STUDY
from benchmarks.report import Figure, Report, Watch, arguments, commit, machine
from search.front.indicators import hypervolume
from search.library import open_store

HERE = Path(__file__).parent
OURS = "spikefront"
WORST_ACCURACY, WORST_OPS, LEAST_OPS = 0.8, 1e7, 1e3
SHOWN = (0.1, 0.25, 0.5, 0.75, 1.0)  # of the time
HYPERVOLUME_DIGITS = 4


@dataclass(frozen=True, kw_only=True)
class Found:
    """An operating point that a search had after some seconds."""

    seconds: float
    accuracy: float
    operations: float


def share_of_box(found: Sequence[Found]) -> float:
    """Return the dominated share of the box between 1, LEAST_OPS and WORST_ACCURACY, WORST_OPS."""
    values = np.array(
        [
            (
                (1 - point.accuracy) / (1 - WORST_ACCURACY),
                max(math.log(max(point.operations, 1) / LEAST_OPS), 0)
                / math.log(WORST_OPS / LEAST_OPS),
            )
            for point in found
        ]
    )
    return hypervolume(values, np.ones(2))


def until(found: Sequence[Found], seconds: float) -> list[Found]:
    """The points that were there by then."""
    return [point for point in found if point.seconds <= seconds]


def ours(seconds: float, seed: int, folder: Path) -> list[Found]:
    """`spikefront run` until the time is over."""
    study = folder / "study.toml"
    text = (HERE / "study.toml").read_text(encoding="utf-8")
    study.write_text(f"{text}\n[search]\nseed = {seed}\n", encoding="utf-8")
    url = f"sqlite:///{folder / 'store.db'}"
    command = ["-m", "search.commands.cli", "run", str(study), "--store", url, "-q"]
    options = ["--hours", str(seconds / 3600), "--artifacts", str(folder / "artifacts")]
    started = time.time()
    subprocess.run(
        [sys.executable, *command, *options],
        check=True,
        stdout=subprocess.DEVNULL,
        env=_one_thread(),
    )
    with open_store(url) as store:
        ended = {
            trial.number: trial.finished_at.timestamp() - started
            for trial in store.trials(STUDY, configs=False)
            if trial.finished_at is not None
        }
        return [
            Found(
                seconds=ended[stored.trial],
                accuracy=stored.point.metrics["accuracy"],
                operations=stored.point.metrics["synaptic_ops"],
            )
            for stored in store.operating_points(STUDY)
        ]


def theirs(library: str, seconds: float, seed: int, folder: Path) -> list[Found]:
    """Two processes of the script until the time is over."""
    url = f"sqlite:///{folder / 'study.db'}"
    started = time.time()
    optuna.create_study(study_name=STUDY, storage=url, directions=["maximize", "minimize"])
    command = [sys.executable, "-m", "benchmarks.instead.script", library, url, str(seconds)]
    running = [
        subprocess.Popen([*command, str(2 * seed + which)], env=_one_thread()) for which in (0, 1)
    ]
    for process in running:
        if process.wait():  # ends with the trial that runs when the time is over
            raise RuntimeError(f"{library} ended with {process.returncode}")
    return [
        Found(
            seconds=trial.datetime_complete.timestamp() - started,
            accuracy=trial.values[0],
            operations=trial.values[1],
        )
        for trial in optuna.load_study(study_name=STUDY, storage=url).trials
        if trial.values and trial.datetime_complete
    ]


def _one_thread() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1"}


def searched(name: str, seconds: float, seed: int) -> dict[str, Any]:
    """What a search found, as a line of `--resume`."""
    watch = Watch()
    with tempfile.TemporaryDirectory() as folder:
        run: Callable[..., list[Found]] = ours if name == OURS else theirs
        given = () if name == OURS else (name,)
        found = until(run(*given, seconds, seed, Path(folder)), seconds)
    return {
        "found": [[point.seconds, point.accuracy, point.operations] for point in found],
        "foreign_load": watch.foreign_load(),
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Run, and print the curves and figures."""
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, help="of each search (default 60)")
    parser.add_argument("--repeats", type=int, help="of each search (default 3)")
    parser.add_argument("--resume", type=Path, metavar="FILE", help="keep finished searches there")
    options = parser.parse_args(argv)
    minutes = options.minutes or (1 if options.quick else 60)
    repeats = options.repeats or (1 if options.quick else 3)
    report = Report(
        "instead",
        against=("torch", "optuna", "snntorch", "spikingjelly"),
        setting={"minutes": minutes, "repeats": repeats},
    )
    finished = Finished(options.resume, {"machine": machine(), "commit": commit()})
    curves: dict[str, list[list[Found]]] = {}
    for seed in range(repeats):  # in turn, so that a machine that changes changes for all
        for name in (OURS, *LIBRARIES):
            key = f"{name} {minutes} {seed}"
            known = finished.get(key)
            if known is None:
                known = searched(name, 60 * minutes, seed)
                finished.put(key, known)
            found = [Found(seconds=s, accuracy=a, operations=o) for s, a, o in known["found"]]
            curves.setdefault(name, []).append(found)
            shares = [share_of_box(until(found, 60 * minutes * at)) for at in SHOWN]
            shown = "  ".join(f"{share:.{HYPERVOLUME_DIGITS}f}" for share in shares)
            report.line(
                f"{name:<13} seed {seed}, {len(found)} points, hypervolume {shown}, "
                f"foreign load {known['foreign_load']:.2f}"
            )
    _figures(report, curves, 60 * minutes)
    report.show(as_json=options.json)
    return 0


def _figures(report: Report, curves: dict[str, list[list[Found]]], seconds: float) -> None:
    ends = {name: [share_of_box(found) for found in runs] for name, runs in curves.items()}
    for name in LIBRARIES:
        ratio = mean(ends[OURS]) / mean(ends[name])
        report.add(
            Figure(name=f"hypervolume_vs_{name}", value=ratio, unit="ratio", better="higher")
        )
    goal = max(mean(ends[name]) for name in LIBRARIES)
    shares = [_time_to(goal, found) / seconds for found in curves[OURS]]
    if math.isinf(max(shares)):
        report.line("time_to_their_hypervolume: not reached in every repeat")
        return
    report.add(
        Figure(
            name="time_to_their_hypervolume", value=mean(shares), unit="fraction", better="lower"
        )
    )


def _time_to(goal: float, found: Sequence[Found]) -> float:
    """Seconds until the points had that share of the box; infinite if they never had."""
    for seconds in sorted({point.seconds for point in found}):
        if share_of_box(until(found, seconds)) >= goal:
            return seconds
    return math.inf


if __name__ == "__main__":
    sys.exit(main())
