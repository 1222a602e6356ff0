"""A driver in a process of its own, for tests that interrupt or kill it."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from search.progress import Lines
from search.run import run_study
from search.store import Store
from search.study import study_from_toml
from tests.search.fake_engine import FakeEngine

ROOT = Path(__file__).parents[2]


def start(
    folder: Path, study: str, *, workers: int, fifo: Path | None = None, ray: str = ""
) -> "subprocess.Popen[str]":
    """A driver of `study`, with a store and everything else in `folder`.

    With `fifo` each trial stops in its second epoch, having written its process there. `ray` is
    the address of a cluster to join.
    """
    words = [str(folder), study, str(workers), str(fifo or ""), ray]
    return subprocess.Popen(
        [sys.executable, "-m", "tests.search.driver", *words],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def main(folder: str, text: str, workers: str, fifo: str, ray: str) -> int:
    engine = FakeEngine(hang_at_epoch=2, hung=Path(fifo)) if fifo else FakeEngine()
    with Store(f"sqlite:///{folder}/store.db") as store:
        try:
            report = run_study(
                study_from_toml(text),
                store=store,
                artifacts=Path(folder),
                data_dir=Path(folder),
                workers=int(workers),
                ray_address=ray or None,
                progress=Lines(sys.stderr),
                engine=engine,
            )
        except KeyboardInterrupt:
            return 130
    values: dict[str, Any] = dataclasses.asdict(report)
    print(json.dumps(values))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
