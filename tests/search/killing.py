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
    artifacts: str = "",
    after: int = 1,
) -> int:
    """Return how many drivers of `study` were killed before its last trial had ended.

    The store is in `folder`, and so are the weights unless another place is named. Each driver is
    killed up to `within_s` after it has begun a trial, or after more progress: the first of its
    events is the begin; `times` at the most. Trials train for real where `epoch_s` is None.
    """
    words = [str(folder), study, str(times), str(within_s), json.dumps(epoch_s)]
    words += [artifacts or str(folder), str(after)]
    return int(quick.Module("tests.search.killing", *words).output())


def main(
    folder: Path,
    text: str,
    times: int,
    within_s: float,
    epoch_s: float | None,
    artifacts: str,
    after: int,
) -> int:
    chance = random.Random(0)
    if epoch_s is None:
        _load_engine()
    parent = os.getpid()
    killed = 0
    for number in range(times + 1):
        process = os.fork()
        if process == 0:
            quick.end_with(parent)
            node = folder / f"node{number}"
            node.mkdir()
            os.chdir(node)
            os.environ["XDG_CACHE_HOME"] = str(node)
            _drive(folder, text, epoch_s, artifacts, after)
        if number < times and _kill(process, folder, chance.uniform(0, within_s)):
            killed += not _all_trials_ended(folder, text)
            continue
        _, status = os.waitpid(process, 0)
        assert status == 0, status
        return killed
    raise AssertionError("the last one is not killed")


def _load_engine() -> None:
    import snn.data.dataset
    import snn.evaluation.evaluate
    import snn.training.block_cache
    import snn.training.plan
    import snn.training.train  # noqa: F401
    from snn.training import stage_checkpoint

    stage_checkpoint.SHARE, stage_checkpoint.FIRST_S = math.inf, 0.0


class Ready(Silent):
    """Creates a file at an event of a driver: its first trial has started, or an epoch is over."""

    def __init__(self, path: Path, after: int) -> None:
        self._path, self._left = path, after

    def update(self, progress: StudyProgress) -> None:
        self._left -= 1
        if self._left == 0:
            self._path.touch()


def _drive(folder: Path, text: str, epoch_s: float | None, artifacts: str, after: int) -> None:
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
                progress=Ready(folder / "ready", after),
                engine=None if epoch_s is None else FakeEngine(epoch_s=epoch_s),
            )
        code = 0
    finally:
        os._exit(code)


def _kill(process: int, folder: Path, after_s: float) -> bool:
    """Return whether the driver was killed before its end."""
    until = time.monotonic() + 60
    while not (folder / "ready").exists():
        if _has_ended(process):
            return False
        assert time.monotonic() < until, "the driver does not start"
        time.sleep(0.002)
    (folder / "ready").unlink()
    time.sleep(after_s)
    if _has_ended(process):
        return False
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)
    return True


def _all_trials_ended(folder: Path, text: str) -> bool:
    study = study_from_toml(text)
    with Store(f"sqlite:///{folder}/store.db", read_only=True) as store:
        states = [trial.state for trial in store.trials(study.name)]
    return len(states) == study.budget.trials and all(state.is_finished for state in states)


def _has_ended(process: int) -> bool:
    return os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


if __name__ == "__main__":
    folder, text, times, within, epoch, artifacts, after = sys.argv[1:]
    print(
        main(
            Path(folder),
            text,
            int(times),
            float(within),
            json.loads(epoch),
            artifacts,
            int(after),
        )
    )
