"""The overhead of the platform per trial, measured with short trials in three loops.

Trials sleep for a fixed time and report one epoch and 20 operating points. They run one at a time
on one worker, each loop in its own process:

1. a bare loop that draws random configurations and runs them;
2. `run_study`, as in `spikefront run`: Ray, SQLite, TPE, front and hypervolume;
3. Ray Tune with OptunaSearch, as in its documentation, with the same axes, objectives and
   resources, and TPE, its default;
4. `search.run` with a training of the user's own, which takes 10 ms and not the fixed time.

Seconds per trial are measured between the end of an early trial and that of the last one, without
start-up, minus those of the bare loop. Start-up is a separate run of the command line on the
digits with a minimal network, from process start until the first epoch is in the store.
"""

import argparse
import json
import os
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import search
from benchmarks.own_training import SECONDS
from benchmarks.report import Figure, Report, arguments
from benchmarks.scale import resident_mb
from benchmarks.stand_in import StandIn, study_text
from search.runners.progress import Silent, StudyProgress
from search.runners.run import run_study
from search.store.store import Store
from search.study.space import RandomSuggest
from search.study.study import study_from_toml
from search.trial.trial import Outcome
from search.worker.context import WorkerContext
from search.worker.job import Job, run_config
from snn.settings.config import RunConfig

TRIAL_S = 0.1
TRIALS, QUICK_TRIALS = 300, 40
THEIR_TRIALS, QUICK_THEIR_TRIALS = 25, 8  # each starts a new process
WARM = 5  # trials before the measurement
STARTS, QUICK_STARTS = 3, 1
DIGITS = """
name = "first"
objectives = ["accuracy", "synaptic_ops"]
[budget]
trials = 1
workers = 1
[run]
dataset = "digits"
train_images = 60
backbone = "mlp"
width = 1
epochs = 1
timesteps = 2
[space]
learning_rate = { low = 1e-3, high = 3e-2, log = true }
"""


def main() -> None:
    """Run the benchmark."""
    parser = arguments(__doc__ or "")
    parser.add_argument("--loop", nargs=2, metavar=("NAME", "TRIALS"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.loop:
        name, trials = options.loop
        print(json.dumps(LOOPS[name](int(trials))), flush=True)
        return
    trials = QUICK_TRIALS if options.quick else TRIALS
    setting = {"trial_s": TRIAL_S, "trials": trials}
    report = Report("overhead", against=("ray", "optuna"), setting=setting)
    bare = in_a_process("bare", trials)
    ours = in_a_process("ours", trials)
    theirs = in_a_process("optunasearch", QUICK_THEIR_TRIALS if options.quick else THEIR_TRIALS)
    for name, loop in (("bare", bare), ("ours", ours), ("OptunaSearch", theirs)):
        report.line(f"{name}: {loop['seconds_per_trial']:.4f} s a trial of {TRIAL_S} s")
    our_cost = ours["seconds_per_trial"] - bare["seconds_per_trial"]
    their_cost = theirs["seconds_per_trial"] - bare["seconds_per_trial"]
    starts = [start_s() for _ in range(QUICK_STARTS if options.quick else STARTS)]
    add(report, "seconds_per_trial", our_cost, "s", aim=0.05)
    add(report, "start_to_first_trial_s", statistics.median(starts), "s", aim=8.0)
    add(report, "seconds_per_trial_vs_optunasearch", our_cost / their_cost, "ratio")
    add(report, "optunasearch_seconds_per_trial", their_cost, "s")
    own = in_a_process("own", trials)
    add(report, "own_training_seconds_per_trial", own["seconds_per_trial"], "s", aim=0.05)
    add(report, "driver_memory_kb_per_trial", ours["memory_kb_per_trial"], "kB")
    report.show(as_json=options.json)


def add(report: Report, name: str, value: float, unit: str, *, aim: float | None = None) -> None:
    """Add a figure of which lower values are better."""
    report.add(Figure(name=name, value=value, unit=unit, better="lower", aim=aim))


def in_a_process(loop: str, trials: int) -> Mapping[str, Any]:
    """Return the measurements of one loop, run in its own process."""
    words = [sys.executable, "-m", "benchmarks.overhead", "--loop", loop, str(trials)]
    # Ray prints to stdout too; the result is the last line
    done = subprocess.run(words, check=True, capture_output=True)
    answer: Mapping[str, Any] = json.loads(done.stdout.decode().splitlines()[-1])
    return answer


def bare(trials: int) -> dict[str, float]:
    """Run random configurations one after another."""
    study = study_from_toml(study_text(trials=trials))
    place = WorkerContext(data_dir=Path(), trainable=StandIn(seconds=TRIAL_S))
    suggest = RandomSuggest(0)
    ends = []
    for number in range(trials):
        config = run_config(study, study.space.sample(suggest))
        for _ in place.run(Job(number=number, config=config, weights=None)):
            pass
        ends.append(time.perf_counter())
    return {"seconds_per_trial": steady_state(ends)}


class Ends(Silent):
    """Records the end of each trial and the memory of the driver."""

    def __init__(self) -> None:
        self.at: list[float] = []
        self.memory_mb: list[float] = []

    def finished(self, number: int, outcome: Outcome, progress: StudyProgress) -> None:
        """Record a finished trial."""
        self.at.append(time.perf_counter())
        self.memory_mb.append(resident_mb())


def ours(trials: int) -> dict[str, float]:
    """Run a study as `spikefront run` does."""
    ends = Ends()
    with tempfile.TemporaryDirectory() as folder, Store(f"sqlite:///{folder}/store.db") as store:
        run_study(
            study_from_toml(study_text(trials=trials, sampler="tpe")),
            store=store,
            artifacts=Path(folder),
            data_dir=Path(folder),
            workers=1,
            engine=StandIn(seconds=TRIAL_S),
            progress=ends,
        )
    early = trials // 3
    grown = ends.memory_mb[-1] - ends.memory_mb[early]
    return {
        "seconds_per_trial": steady_state(ends.at),
        "memory_kb_per_trial": 1e3 * grown / (trials - 1 - early),
    }


def own(trials: int) -> dict[str, float]:
    """Run a training of the user's own on a Ray worker; its own time is not counted."""
    ends = Ends()
    study = search.Study(
        name="own",
        objectives=["accuracy", "cost"],
        metrics={"cost": {"better": "lower"}},
        run={"train": "benchmarks.own_training:train"},
        space={
            "width": {"low": 1, "high": 64},
            "rate": {"low": 1e-3, "high": 1.0, "log": True},
            "kind": ["a", "b", "c"],
        },
        budget={"trials": trials},
    )
    with (
        tempfile.TemporaryDirectory() as folder,
        search.open_store(f"sqlite:///{folder}/store.db") as store,
    ):
        search.run(study, store=store, artifacts=folder, workers=1, progress=ends)
    return {"seconds_per_trial": steady_state(ends.at) - SECONDS}


def optunasearch(trials: int) -> dict[str, float]:
    """Run Ray Tune with OptunaSearch, as in the documentation of OptunaSearch."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    import ray
    from ray import tune
    from ray.tune.search.optuna import OptunaSearch

    study = study_from_toml(study_text(trials=trials))
    engine, ends = StandIn(seconds=TRIAL_S), []

    def objective(config: dict[str, Any]) -> None:
        blocks = config.pop("partition")
        thresholds = (config.pop("exit_threshold"),) * (blocks.count("+") or 1)
        params = {**study.run, **config, "partition": blocks, "exit_threshold": thresholds}
        place = WorkerContext(data_dir=Path(), trainable=engine)
        job = Job(number=0, config=RunConfig.from_mapping(params), weights=None)
        *_, outcome = place.run(job)
        assert isinstance(outcome, Outcome), outcome
        assert outcome.evaluation is not None, outcome.error
        metrics = outcome.evaluation.sampled.metrics
        tune.report({name: metrics[name] for name in study.objectives})

    class Watch(tune.Callback):
        def on_trial_complete(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
            ends.append(time.perf_counter())

    ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        tuner = tune.Tuner(
            tune.with_resources(objective, {"cpu": 1}),
            tune_config=tune.TuneConfig(
                search_alg=OptunaSearch(metric=list(study.objectives), mode=["max", "min", "min"]),
                num_samples=trials,
            ),
            run_config=tune.RunConfig(storage_path=folder, callbacks=[Watch()], verbose=0),
            param_space={
                "partition": tune.choice(["3", "2+1", "1+2", "1+1+1"]),
                "exit_threshold": tune.uniform(0.5, 0.99),
                "dropout": tune.quniform(0.0, 0.3, 0.05),
                "timesteps": tune.randint(2, 17),
                "target_sparsity": tune.uniform(0.5, 0.98),
                "learning_rate": tune.loguniform(1e-3, 3e-2),
                "width": tune.randint(4, 65),
            },
        )
        tuner.fit()
    ray.shutdown()
    assert len(ends) == trials
    return {"seconds_per_trial": steady_state(ends)}


def steady_state(ends: list[float]) -> float:
    """Return the seconds per trial after the first WARM trials."""
    return (ends[-1] - ends[WARM - 1]) / (len(ends) - WARM)


LOOPS = {"bare": bare, "ours": ours, "own": own, "optunasearch": optunasearch}


def start_s() -> float:
    """Return the seconds from the start of `spikefront run` until an epoch is in the store."""
    with tempfile.TemporaryDirectory() as folder:
        file, database = Path(folder, "first.toml"), Path(folder, "store.db")
        file.write_text(DIGITS)
        words = ["run", str(file), "--store", f"sqlite:///{database}", "--artifacts", folder]
        begun = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-m", "search.commands.cli", *words],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        while process.poll() is None and not _epochs(database):
            time.sleep(0.02)
        seconds = time.perf_counter() - begun
        assert process.wait() == 0
        return seconds


def _epochs(database: Path) -> int:
    """Return the number of measurements in a store; 0 if it does not exist yet."""
    if not database.exists():
        return 0
    try:
        with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as reader:
            count: int = reader.execute("SELECT COUNT(*) FROM measurements").fetchone()[0]
    except sqlite3.OperationalError:  # it is being created
        return 0
    return count


if __name__ == "__main__":
    main()
