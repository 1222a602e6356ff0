"""A driver in a separate process, for tests that interrupt or kill it."""

import dataclasses
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from search.runners.progress import Lines
from search.runners.run import run_study
from search.store.store import Store
from search.study.study import study_from_toml
from tests import quick
from tests.search.fake_engine import CountingEngine, FakeEngine


def start(
    folder: Path,
    study: str,
    *,
    workers: int,
    fifo: Path | None = None,
    ray: str = "",
    store: str = "",
    artifacts: str = "",
    trains: bool = False,
    epoch_s: float = 0.0,
    gate: Path | None = None,
    environment: Mapping[str, str] = {},
) -> quick.Module:
    """Start a driver of `study`, with data in `folder`, and the store unless another is named.

    With `fifo` each trial stops in its second epoch, having written its process there. `ray` is
    the address of a cluster to join. What trains for real notes how often data were read.
    """
    engine: dict[str, object] = {"epoch_s": epoch_s}
    if fifo is not None:
        engine |= {"hang_at_epoch": 2, "hung": str(fifo)}
    if gate is not None:
        engine["gate"] = str(gate)
    fields = json.dumps(None if trains else engine)
    url = store or f"sqlite:///{folder}/store.db"
    words = [folder, study, workers, ray, url, artifacts or folder]
    return quick.Module("tests.search.driver", *words, fields, environment=environment)


def main(
    folder: str, text: str, workers: str, ray: str, url: str, artifacts: str, fields: str
) -> int:
    given = json.loads(fields)
    for name in {"hung", "gate"} & (given or {}).keys():
        given[name] = Path(given[name])
    engine = CountingEngine() if given is None else FakeEngine(**given)
    with Store(url) as store:
        try:
            report = run_study(
                study_from_toml(text),
                store=store,
                artifacts=artifacts,
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
