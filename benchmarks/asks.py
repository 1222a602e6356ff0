"""Delay of the results of running trials by a slow sampler, on two Ray workers.

The sampler sleeps before each proposal. Trials sleep too, and report an epoch
every so often; how late an epoch comes to the store shows as a gap between two
of the same trial that is longer than an epoch takes. Once as studies are run,
with the sampler in a thread of its own, and once with every proposal made when
it is needed, which is how it was before and how it is with one worker.
"""

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest import mock

from benchmarks.report import Figure, Report, arguments
from benchmarks.stand_in import StandIn, StandInRun, study_text
from search.runners.driver import StudyDriver
from search.runners.run import run_jobs
from search.samplers.proposals import Proposal, Proposals
from search.store.store import Store
from search.study.study import study_from_toml
from search.worker.context import WorkerContext
from snn.settings.config import RunConfig
from snn.settings.measurement import Measurement

WORKERS = 2
EPOCH_S = 0.1
EPOCHS = 10  # of each block
ASK_S, QUICK_ASK_S = 2.0, 1.0
TRIALS, QUICK_TRIALS = 12, 6


def main() -> None:
    """Run the benchmark."""
    options = arguments(__doc__ or "").parse_args()
    ask_s = QUICK_ASK_S if options.quick else ASK_S
    trials = QUICK_TRIALS if options.quick else TRIALS
    setting = {"ask_s": ask_s, "epoch_s": EPOCH_S, "trials": trials, "workers": WORKERS}
    report = Report("asks", against=("ray",), setting=setting)
    beside = delay_s(trials, ask_s, ask_ahead=True)
    between = delay_s(trials, ask_s, ask_ahead=False)
    report.line(f"an epoch is late by at most {beside:.3f} s beside, {between:.3f} s between asks")
    for name, value, unit in (
        ("result_delay_s", beside, "s"),
        ("result_delay_vs_asking_between", beside / between, "ratio"),
    ):
        report.add(Figure(name=name, value=value, unit=unit, better="lower"))
    report.show(as_json=options.json)


def delay_s(trials: int, ask_s: float, *, ask_ahead: bool) -> float:
    """Return the longest delay of an epoch, seconds."""
    study = study_from_toml(study_text(trials=trials, sampler="random", epochs=EPOCHS))
    engine = Steady()
    with (
        tempfile.TemporaryDirectory() as folder,
        Store(f"sqlite:///{folder}/store.db") as store,
        slowed(ask_s) as arrivals,
        StudyDriver(study, store=store, artifacts=folder, ask_ahead=ask_ahead) as driver,
    ):
        place = WorkerContext(data_dir=Path(folder), trainable=engine)
        run_jobs(driver, place, budget=study.budget, workers=WORKERS)
    gaps = [later - earlier for times in arrivals.values() for earlier, later in pairwise(times)]
    return max(gaps) - EPOCH_S


class Steady:
    """A stand-in that takes EPOCH_S for each epoch."""

    def __call__(self, config: RunConfig, **given: Any) -> StandInRun:
        """Return a trial with the epochs of the config."""
        return StandIn(seconds=EPOCH_S * config.total_epochs)(config, **given)


@contextmanager
def slowed(ask_s: float) -> Iterator[dict[int, list[float]]]:
    """Run with a sampler that sleeps; return the times of stored epochs by trial."""
    arrivals: dict[int, list[float]] = {}
    propose, record = Proposals.propose, StudyDriver.record

    def slowly(proposals: Proposals, number: int) -> Proposal | None:
        time.sleep(ask_s)
        return propose(proposals, number)

    def noted(driver: StudyDriver, number: int, measurement: Measurement) -> None:
        record(driver, number, measurement)
        arrivals.setdefault(number, []).append(time.monotonic())

    with (
        mock.patch.object(Proposals, "propose", slowly),
        mock.patch.object(StudyDriver, "record", noted),
    ):
        yield arrivals


if __name__ == "__main__":
    main()
