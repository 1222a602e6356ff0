"""A study whose driver is killed at random moments and started again each time.

In a process of its own, which loads everything once: each driver is forked from it, so that
twenty of them take seconds. Each has a working folder and a cache folder of its own, as on
another machine. What trains for real writes a checkpoint after every epoch.
"""

import json
import math
import os
import random
import signal
import sys
import threading
import time
from pathlib import Path

import alembic.command  # noqa: F401
import optuna  # noqa: F401

from search.runners import local  # noqa: F401
from search.runners.progress import Silent, StudyProgress
from search.runners.run import run_study
from search.samplers import proposals, sampler  # noqa: F401
from search.store.store import Store
from search.study.study import study_from_toml
from tests import quick
from tests.search.fake_engine import FakeEngine


def kill(
    folder: Path,
    study: str,
    *,
    times: int,
    within_s: float,
    epoch_s: float | None,
    last: int,
    artifacts: str = "",
    after: int = 1,
) -> None:
    """Kill drivers of `study` `times` times, then let one run to the end.

    The store is in `folder`, and so are the weights unless another place is named. Each driver is
    killed up to `within_s` after its event number `after`, and at its event number `last` it waits
    for that: however slow or quick the machine is, none ends before. Begins, continuations and
    epochs of trials are events. Trials train for real where `epoch_s` is None.
    """
    words = [str(folder), study, str(times), str(within_s), json.dumps(epoch_s)]
    words += [artifacts or str(folder), str(after), str(last)]
    quick.Module("tests.search.killing", *words).output()


def main(
    folder: Path,
    text: str,
    times: int,
    within_s: float,
    epoch_s: float | None,
    artifacts: str,
    after: int,
    last: int,
) -> None:
    chance = random.Random(0)
    if epoch_s is None:
        _load_engine()
    parent = os.getpid()
    for number in range(times + 1):
        process = os.fork()
        if process == 0:
            quick.end_with(parent)
            node = folder / f"node{number}"
            node.mkdir()
            os.chdir(node)
            os.environ["XDG_CACHE_HOME"] = str(node)
            _drive(folder, text, epoch_s, artifacts, after, last if number < times else 0)
        if number < times:
            _kill(process, folder, chance.uniform(0, within_s))
        _, status = os.waitpid(process, 0)
        assert status == (signal.SIGKILL if number < times else 0), (number, status)


def _load_engine() -> None:
    import snn.data.dataset
    import snn.evaluation.evaluate
    import snn.training.block_cache
    import snn.training.plan
    import snn.training.train  # noqa: F401
    from snn.training import stage_checkpoint

    stage_checkpoint.SHARE, stage_checkpoint.FIRST_S = math.inf, 0.0


class Ready(Silent):
    """Creates a file at one event of a driver, and waits for its end at a later one."""

    def __init__(self, path: Path, after: int, last: int) -> None:
        self._path, self._after, self._last, self._events = path, after, last, 0

    def update(self, progress: StudyProgress) -> None:
        self._events += 1
        if self._events == self._after:
            self._path.touch()
        if self._events == self._last:
            threading.Event().wait()


def _drive(
    folder: Path, text: str, epoch_s: float | None, artifacts: str, after: int, last: int
) -> None:
    """Run the driver; does not return."""
    code = 1
    try:
        os.setpgid(0, 0)
        with Store(f"sqlite:///{folder}/store.db") as store:
            run_study(
                study_from_toml(text),
                store=store,
                artifacts=artifacts,
                data_dir=folder,
                workers=0,
                progress=Ready(folder / "ready", after, last),
                engine=None if epoch_s is None else FakeEngine(epoch_s=epoch_s),
            )
        code = 0
    finally:
        os._exit(code)


def _kill(process: int, folder: Path, after_s: float) -> None:
    until = time.monotonic() + 120
    while not (folder / "ready").exists():
        assert not _has_ended(process), "the driver has ended before its first events"
        assert time.monotonic() < until, "the driver does not start"
        time.sleep(0.002)
    (folder / "ready").unlink()
    time.sleep(after_s)
    os.kill(process, signal.SIGKILL)


def _has_ended(process: int) -> bool:
    return os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


if __name__ == "__main__":
    folder, text, times, within, epoch, artifacts, after, last = sys.argv[1:]
    main(
        Path(folder),
        text,
        int(times),
        float(within),
        json.loads(epoch),
        artifacts,
        int(after),
        int(last),
    )
