"""Speed of training against SpikingJelly, snnTorch and Norse, on one small network.

The network is in benchmarks/engines.py. Every engine runs in a process of its
own, with two threads, with glibc's allocator as it is and with one that keeps
what it has (`+kept`); the better of the two counts for everybody. First all
engines run one after the other; then the fastest take turns, and each one's
best iteration counts. Iterations during which other programs kept more than
0.12 cores busy count only where an engine has no others.

`bfloat16_vs_...` has ours with precision bfloat16, and peers in torch's bfloat16
autocast, over float32 of ours and over the fastest of those peers.

`trial_time_vs_fastest_peer` is what a search pays: a fresh process that
imports, builds, compiles into an empty cache and trains 100 steps with Adam at
T = 8. Figures in bytes are of one iteration of forward and backward.

With `--device cuda` all of this is on a GPU: every iteration is waited for, growth
is of what torch allocates there, and SpikingJelly runs whatever kernel it chooses.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from benchmarks.engines import ENGINES, HALVES, Engine
from benchmarks.report import Figure, Report, arguments
from search.worker.engine import environment as environment_of

THREADS = 2
QUIET = 0.12  # cores that others may keep busy
PEERS = ("spikingjelly", "snntorch", "norse")
LARGE = str(8 * 2**30)
ALLOCATORS = {
    "": {},
    "+kept": {"MALLOC_MMAP_THRESHOLD_": LARGE, "MALLOC_TRIM_THRESHOLD_": LARGE},
}
MAPPED = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
AIMS = {"eager_peer": 0.55, "peer": 0.9, "trial": 0.7, "convolutions": 1.25}
GPU_AIMS = {"spikingjelly": 1 / 1.2}  # of its fastest mode
TRIAL_TIMESTEPS = (8, 12)  # the second to see whether anything is compiled anew


class WorkerError(RuntimeError):
    """An engine could not do what it was asked."""


def command(*arguments: object) -> list[str]:
    """Of a worker process."""
    return [sys.executable, "-m", "benchmarks.worker", *map(str, arguments)]


def environment(allocator: Mapping[str, str], cache: Path) -> dict[str, str]:
    """Of a worker process; `cache` is where torch and we keep what was compiled."""
    return {
        **os.environ,
        **allocator,
        "OMP_NUM_THREADS": str(THREADS),
        "MKL_NUM_THREADS": str(THREADS),
        "TORCHINDUCTOR_CACHE_DIR": str(cache / "inductor"),
        "XDG_CACHE_HOME": str(cache / "user"),
    }


ROOT = Path(__file__).parent.parent


class Worker:
    """The other end of a process with one engine in it."""

    def __init__(
        self,
        engine: Engine,
        timesteps: int,
        allocator: Mapping[str, str],
        cache: Path,
        *,
        device: str = "cpu",
    ) -> None:
        self._process = subprocess.Popen(
            command(device, engine.name, timesteps),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            cwd=ROOT,
            env=environment(allocator, cache),
        )
        self._read()

    def ask(self, do: str, **options: object) -> Mapping[str, Any]:
        """One request. Raises WorkerError when it fails."""
        assert self._process.stdin is not None
        print(json.dumps({"do": do, **options}), file=self._process.stdin, flush=True)
        return self._read()

    def _read(self) -> Mapping[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise WorkerError(f"the process ended with status {self._process.wait()}")
        reply: Mapping[str, Any] = json.loads(line)
        if "error" in reply:
            raise WorkerError(reply["error"])
        return reply

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


@dataclass
class Timing:
    """An engine under one allocator, and how long its iterations took."""

    engine: Engine
    allocator: str
    worker: Worker
    warm_s: float
    passes: list[tuple[float, float | None]] = field(default_factory=list)  # best, foreign

    @property
    def name(self) -> str:
        """Engine and allocator."""
        return self.engine.name + self.allocator

    def measure(self, iterations: int) -> None:
        """One more pass."""
        seen = self.worker.ask("measure", iterations=iterations)
        self.passes.append((min(seen["seconds"]), seen["foreign"]))

    @property
    def quiet(self) -> list[float]:
        """Best iterations of passes that nobody disturbed."""
        return [best for best, foreign in self.passes if foreign is None or foreign < QUIET]

    @property
    def best(self) -> float:
        """Seconds."""
        return min(self.quiet or [best for best, _ in self.passes])

    def row(self) -> str:
        """For people."""
        times = [1000 * best for best, _ in self.passes]
        busy = "" if self.quiet else "   others were busy"
        span = f"{min(times):.0f}-{max(times):.0f}"
        return (
            f"  {self.name:<36} {1000 * self.best:7.1f} ms   passes {span}, "
            f"warm-up {self.warm_s:.0f} s{busy}"
        )


def fastest(timings: Iterable[Timing], count: int = 1) -> list[Timing]:
    """The `count` fastest."""
    return sorted(timings, key=lambda timing: timing.best)[:count]


def contenders(timings: Sequence[Timing]) -> list[Timing]:
    """Who may still be the fastest of its kind: all of ours, three of every other kind."""
    peers = [timing for timing in timings if timing.engine.is_peer]
    kept = [timing for timing in timings if timing.engine.is_ours]
    kept += fastest((timing for timing in timings if not timing.engine.is_spiking), 2)
    kept += fastest((timing for timing in peers if not timing.engine.is_compiled), 3)
    kept += [timing for timing in fastest(peers, 3) if timing not in kept]
    return kept


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where engines run, and where they keep what they compiled."""

    cache: Path
    device: str = "cpu"

    @property
    def allocators(self) -> Mapping[str, Mapping[str, str]]:
        """Those that are tried; a GPU has torch's."""
        return ALLOCATORS if self.device == "cpu" else {"": {}}

    def worker(self, engine: Engine, timesteps: int, allocator: Mapping[str, str]) -> Worker:
        """A process of its own. Raises WorkerError."""
        return Worker(engine, timesteps, allocator, self.cache, device=self.device)


def steady(
    engines: Sequence[Engine], timesteps: int, place: Place, report: Report, *, quick: bool
) -> list[Timing]:
    """Everybody once, then the contenders in turn."""
    warm, iterations, rounds = (1, 2, 1) if quick else (2, 5, 4)
    allocators = [""] if quick else list(place.allocators)
    timings: list[Timing] = []
    alive: list[Timing] = []
    for engine, allocator in ((e, a) for e in engines for a in allocators):
        try:
            worker = place.worker(engine, timesteps, ALLOCATORS[allocator])
            warmed = worker.ask("warm", iterations=warm)["seconds"]
            timing = Timing(engine, allocator, worker, warmed)
            timing.measure(iterations)
        except WorkerError as error:
            report.line(f"  {engine.name}{allocator}: left out, {error}")
            continue
        timings.append(timing)
        alive = contenders([*alive, timing])  # idle ones would only hold memory
        for loser in timings:
            if loser not in alive:
                loser.worker.close()
    for _ in range(rounds):
        for timing in alive:
            timing.measure(iterations)
    for timing in alive:
        timing.worker.close()
    report.line(f"T = {timesteps}: forward and backward, best iteration")
    for timing in fastest(timings, len(timings)):
        report.line(timing.row())
    return timings


def report_steady(
    timings: Sequence[Timing], timesteps: int, report: Report, *, device: str = "cpu"
) -> None:
    """The ratios of one number of timesteps."""
    mine = [timing for timing in timings if timing.engine.name == "ours"]
    peers = [timing for timing in timings if timing.engine.is_peer]
    eager = [timing for timing in peers if not timing.engine.is_compiled]
    bare = [timing for timing in timings if not timing.engine.is_spiking]
    # without a compiled peer the fastest of all is not known
    every = peers if len(eager) < len(peers) else []
    against = {"fastest_eager_peer": eager, "fastest_peer": every, "convolutions": bare}
    aims = AIMS
    if device != "cpu":
        aims = GPU_AIMS
        against["spikingjelly"] = [t for t in peers if t.engine.library == "spikingjelly"]
    for name, group in against.items():
        if not mine or not group:
            continue
        (best,), (own,) = fastest(group), fastest(mine)
        report.line(f"  {name}: {best.name}")
        report.add(
            Figure(
                name=f"time_vs_{name}_T{timesteps}",
                value=own.best / best.best,
                unit="",
                better="lower",
                aim=aims.get(name.removeprefix("fastest_")),
            )
        )


def report_half(timings: Sequence[Timing], timesteps: int, report: Report) -> None:
    """Ours in bfloat16 against ours in float32, and against the fastest peer in bfloat16."""
    (half,) = fastest(timing for timing in timings if timing.engine.name == "ours-bfloat16")
    against = {
        "float32": [timing for timing in timings if timing.engine.name == "ours"],
        "fastest_peer_bfloat16": [timing for timing in timings if timing.engine.is_peer],
    }
    for name, group in against.items():
        if group:
            (best,) = fastest(group)
            report.line(f"  {name}: {best.name}")
            value = half.best / best.best
            name = f"bfloat16_vs_{name}_T{timesteps}"
            report.add(Figure(name=name, value=value, unit="", better="lower"))


def gradient_error(timesteps: int, place: Place, report: Report) -> float:
    """Largest difference of a parameter's gradient, relative to that gradient's largest."""
    found = {}
    for name in ("ours", "spikingjelly-s"):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "gradients.pt"
            worker = place.worker(ENGINES[name], timesteps, {})
            loss = worker.ask("gradients", path=str(path))["loss"]
            worker.close()
            found[name] = loss, torch.load(path)
    (loss, grads), (their_loss, theirs) = found["ours"], found["spikingjelly-s"]
    pairs = zip(grads, theirs, strict=True)
    error = max(float((a - b).abs().max() / b.abs().max()) for a, b in pairs)
    report.line(f"T = {timesteps}: loss {loss:.7g}, SpikingJelly's {their_loss:.7g}")
    return error


def memory(engines: Sequence[Engine], timesteps: int, place: Place, report: Report) -> None:
    """A table of bytes; every tensor has pages of its own while it is taken."""
    report.line(f"T = {timesteps}: kept for backward, growth of the peak")
    for engine in engines:
        try:
            worker = place.worker(engine, timesteps, MAPPED)
            worker.ask("warm", iterations=2)
            seen = worker.ask("memory")
            worker.close()
        except WorkerError as error:
            report.line(f"  {engine.name}: left out, {error}")
            continue
        saved, growth = seen["saved"] / 2**20, seen["growth"] / 2**20
        report.line(f"  {engine.name:<36} {saved:7.1f} MiB {growth:7.1f} MiB")


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A training from nothing."""

    seconds: float
    compiled: int
    compiled_anew: int  # after the timesteps changed


def run_trial(engine: Engine, allocator: str, steps: int, *, device: str = "cpu") -> Trial:
    """Raises WorkerError."""
    with tempfile.TemporaryDirectory() as cache:
        started = time.monotonic()
        done = subprocess.run(
            command("trial", device, engine.name, TRIAL_TIMESTEPS[0], steps, TRIAL_TIMESTEPS[1]),
            capture_output=True,
            text=True,
            cwd=ROOT,
            env=environment(ALLOCATORS[allocator], Path(cache)),
        )
    lines = done.stdout.splitlines()
    reply: Mapping[str, Any] = {"error": f"status {done.returncode}"}
    if lines:
        reply = json.loads(lines[-1])
    if "error" in reply:
        raise WorkerError(reply["error"])
    return Trial(
        seconds=reply["ended"] - started,
        compiled=reply["compiled"],
        compiled_anew=reply["compiled_anew"],
    )


def trials(
    engines: Sequence[Engine],
    allocators: Mapping[str, str],
    report: Report,
    *,
    device: str = "cpu",
    quick: bool,
) -> None:
    """Each engine with the allocator that suits it; ours and the two fastest three times."""
    steps = 10 if quick else 100
    seen: dict[str, Trial] = {}

    def run(engine: Engine) -> None:
        try:
            trial = run_trial(engine, allocators.get(engine.name, ""), steps, device=device)
        except WorkerError as error:
            report.line(f"  {engine.name}: left out, {error}")
            return
        before = seen.get(engine.name, trial)
        seen[engine.name] = min(before, trial, key=lambda each: each.seconds)
        report.line(
            f"  {engine.name:<36} {trial.seconds:6.1f} s, {trial.compiled} compiled, "
            f"{trial.compiled_anew} more after T changed"
        )

    report.line(f"a fresh process, {steps} steps at T = {TRIAL_TIMESTEPS[0]}")
    for engine in engines:
        if engine.is_spiking:
            run(engine)
    peers = [name for name in seen if ENGINES[name].is_peer]
    if "ours" not in seen or not peers:
        return
    peers.sort(key=lambda name: seen[name].seconds)
    for _ in range(0 if quick else 2):
        for name in ("ours", *peers[:2]):
            run(ENGINES[name])
    best = min(seen[name].seconds for name in peers)
    report.add(
        Figure(
            name="trial_time_vs_fastest_peer",
            value=seen["ours"].seconds / best,
            unit="",
            better="lower",
            aim=AIMS["trial"] if device == "cpu" else None,
        )
    )
    report.add(
        Figure(
            name="compiled_when_T_changes",
            value=seen["ours"].compiled_anew,
            unit="",
            better="lower",
            aim=0,
        )
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, and print."""
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument(
        "--engines", nargs="+", choices=ENGINES, default=list(ENGINES), metavar="NAME",
        help=f"only these: {', '.join(ENGINES)}",
    )  # fmt: skip
    parser.add_argument("--timesteps", nargs="+", type=int, default=[8, 32], metavar="T")
    parts = ("gradients", "steady", "half", "memory", "trial")
    parser.add_argument("--parts", nargs="+", choices=parts, default=list(parts), help="only these")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    options = parser.parse_args(argv)
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error(
            "--device cuda needs a GPU that torch sees; spikefront doctor says what it has"
        )
    engines = [ENGINES[name] for name in options.engines if ENGINES[name].is_installed]
    missing = {ENGINES[name].library for name in options.engines} - {e.library for e in engines}
    if missing:
        print(f"not installed: {', '.join(map(str, missing))}; `make setup`", file=sys.stderr)
    against = [library for library in PEERS if any(e.library == library for e in engines)]
    report = Report(
        "engine",
        against=("torch", *against),
        setting={
            "timesteps": options.timesteps,
            "threads": THREADS,
            "quick": options.quick,
            "device": environment_of(options.device)["device"],
            "parts": " ".join(options.parts),
            "engines": " ".join(engine.name for engine in engines),
        },
    )
    allocators: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as folder:
        place = Place(cache=Path(folder), device=options.device)
        if "gradients" in options.parts and ENGINES["spikingjelly-s"].is_installed:
            errors = [gradient_error(steps, place, report) for steps in options.timesteps]
            report.add(
                Figure(
                    name="gradient_error_vs_spikingjelly",
                    value=max(errors),
                    unit="",
                    better="lower",
                    aim=1e-5,
                )
            )
        for steps in options.timesteps:
            if "steady" in options.parts:
                timings = steady(engines, steps, place, report, quick=options.quick)
                report_steady(timings, steps, report, device=options.device)
                for timing in fastest(timings, len(timings)):
                    allocators.setdefault(timing.engine.name, timing.allocator)
            if "half" in options.parts:
                peers = [HALVES[f"{e.name}-bfloat16"] for e in engines if e.is_peer]
                ours = [ENGINES["ours"], HALVES["ours-bfloat16"]]
                timings = steady([*ours, *peers], steps, place, report, quick=options.quick)
                report_half(timings, steps, report)
            if "memory" in options.parts:
                memory(engines, steps, place, report)
        if "trial" in options.parts:
            trials(engines, allocators, report, device=options.device, quick=options.quick)
    report.show(as_json=options.json)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
