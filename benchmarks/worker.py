"""One engine in a process of its own, told what to do line by line.

`python -m benchmarks.worker DEVICE ENGINE TIMESTEPS` reads a JSON request per line
on stdin and answers each with a JSON line on stdout. `python -m benchmarks.worker
trial DEVICE ENGINE TIMESTEPS STEPS OTHER_TIMESTEPS` trains once, from nothing, and
ends. Threads are as many as OMP_NUM_THREADS says.
"""

import functools
import gc
import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any


def _read_kib(field: str) -> int:
    """A figure of this process's memory, KiB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1])
    raise LookupError(f"/proc/self/status has no {field}")


def compilations() -> int:
    """Graphs that torch has compiled in this process, and libraries of ours in the cache."""
    own = sum(1 for _ in Path(os.environ["XDG_CACHE_HOME"]).rglob("*.so"))
    if "torch._dynamo" not in sys.modules:
        return own
    from torch._dynamo.utils import counters

    return own + int(counters["stats"]["unique_graphs"])


class Worker:
    """An engine and its problem. Every method answers one request."""

    def __init__(self, device: str, engine: str, timesteps: int) -> None:
        from benchmarks.engines import ENGINES, HALVES, MODES, problem

        self._given = problem(timesteps, device=device)
        self._trainee = (ENGINES | MODES | HALVES)[engine].build(self._given)

    def _iterate(self) -> float:
        """Forward and backward once; the loss, which a device is waited for."""
        for parameter in self._trainee.parameters:
            parameter.grad = None
        return float(self._trainee.learn(self._given.drive, self._given.labels))

    def warm(self, *, iterations: int) -> Mapping[str, float]:
        """Compile, fill caches; the seconds it took."""
        started = time.perf_counter()
        for _ in range(iterations):
            self._iterate()
        return {"seconds": time.perf_counter() - started}

    def measure(self, *, iterations: int) -> Mapping[str, Any]:
        """Seconds of each iteration, and cores that others kept busy meanwhile."""
        from benchmarks.report import busy_seconds

        before, own = busy_seconds(), time.process_time()
        begun, seconds = time.perf_counter(), []
        for _ in range(iterations):
            started = time.perf_counter()
            self._iterate()
            seconds.append(time.perf_counter() - started)
        elapsed, after = time.perf_counter() - begun, busy_seconds()
        foreign = None
        if before is not None and after is not None:
            busy = after[0] - before[0] - (time.process_time() - own)
            foreign = max(busy, 0.0) / elapsed
        return {"seconds": seconds, "foreign": foreign}

    def gradients(self, *, path: str) -> Mapping[str, float]:
        """Write the gradients to a file."""
        import torch

        loss = self._iterate()
        grads = (parameter.grad for parameter in self._trainee.parameters)
        torch.save([None if grad is None else grad.cpu() for grad in grads], path)
        return {"loss": loss}

    def memory(self) -> Mapping[str, float]:
        """Bytes kept for backward, and growth of the peak over one iteration.

        The peak is of resident memory, or of what torch allocates on a GPU.
        """
        import torch

        from snn.network.cost import SavedBytes

        with SavedBytes(self._trainee.parameters) as saved:
            self._iterate()
        self._iterate()
        for parameter in self._trainee.parameters:
            parameter.grad = None
        gc.collect()
        if self._given.drive.is_cuda:
            torch.cuda.reset_peak_memory_stats()
            standing = torch.cuda.memory_allocated()
            self._iterate()
            return {"saved": saved.peak, "growth": torch.cuda.max_memory_allocated() - standing}
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
        before = _read_kib("VmRSS")
        self._iterate()
        return {"saved": saved.peak, "growth": 1024 * (_read_kib("VmHWM") - before)}


def trial(
    device: str, engine: str, timesteps: int, steps: int, other_timesteps: int
) -> Mapping[str, float]:
    """Train with Adam, then go on with other timesteps. `ended` is on the system's clock."""
    import torch

    from benchmarks.engines import ENGINES, problem

    given, other = (problem(count, device=device) for count in (timesteps, other_timesteps))
    trainee = ENGINES[engine].build(given)
    optimizer = torch.optim.Adam(trainee.parameters, lr=1e-3)

    def step(drive: Any) -> None:
        trainee.learn(drive, given.labels)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if given.drive.is_cuda:
            torch.cuda.synchronize()

    for _ in range(steps):
        step(given.drive)
    ended, compiled = time.monotonic(), compilations()
    seconds = []
    for _ in range(3):
        started = time.perf_counter()
        step(other.drive)
        seconds.append(time.perf_counter() - started)
    return {
        "ended": ended,
        "compiled": compiled,
        "compiled_anew": compilations() - compiled,
        "seconds_lost": seconds[0] - min(seconds[1:]),
    }


def main(arguments: list[str]) -> int:
    """Answer until stdin ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer

    def answer(make: Callable[[], Mapping[str, Any]]) -> bool:
        try:
            reply = make()
        except Exception as error:  # whatever a library throws: the benchmark goes on without it
            reply = {"error": f"{type(error).__name__}: {error}"[:500]}
        print(json.dumps(reply), file=answers, flush=True)
        return "error" not in reply

    if arguments[0] == "trial":
        device, engine, *numbers = arguments[1:]
        return 0 if answer(lambda: trial(device, engine, *map(int, numbers))) else 1
    device, engine, timesteps = arguments
    worker: Worker

    def start() -> Mapping[str, Any]:
        nonlocal worker
        worker = Worker(device, engine, int(timesteps))
        return {}

    if not answer(start):
        return 1
    for line in sys.stdin:
        request = json.loads(line)
        answer(functools.partial(getattr(worker, request.pop("do")), **request))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
