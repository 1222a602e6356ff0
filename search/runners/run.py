"""Run a study: the entry point of the command line, the dashboard and scripts."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from search.pruners.rungs import rule_of
from search.runners import precision
from search.runners.driver import StudyDriver
from search.runners.progress import Progress, Silent
from search.store.store import Store
from search.study.study import Budget, Study
from search.text.artifacts import inside, is_remote, located
from search.trial.trial import TrialState
from search.worker.context import WorkerContext
from search.worker.function_run import FunctionTrainable
from search.worker.job import BlockFolder, JobSource, Trainable
from search.worker.trial_run import TrialRun

BLOCKS = "blocks"  # the folder of the block cache in the artifacts folder


@dataclass(frozen=True, kw_only=True)
class RunReport:
    """The results and times of one run of a study, without earlier runs."""

    trials: Mapping[TrialState, int]  # finished in this run, by state
    stopped: str  # why it ended, as a sentence
    has_given_up: bool  # after many failed trials in a row
    epochs_reused: int  # of reused blocks
    without_weights: int  # complete trials whose weights could not be saved
    ray_start_s: float  # until the first worker started a job; 0 without Ray
    training_s: float  # sum over all workers
    evaluation_s: float  # sum over all workers
    sampler_s: float  # spent on proposals
    sampler_waited_s: float  # of these, the seconds in which the driver waited
    store_s: float  # spent on the store and the front
    total_s: float


def run_study(
    study: Study,
    *,
    store: Store,
    artifacts: Path | str,
    data_dir: Path,
    workers: int | None = None,
    ray_address: str | None = None,
    device: str | None = None,
    progress: Progress | None = None,
    engine: Trainable | None = None,
) -> RunReport:
    """Run `study`, or continue it, until its budget is used up.

    `workers` is the number of Ray workers (None: that of the study); 0 runs trials in this
    process. `artifacts` is a folder or a URI that pyarrow can open: weights are saved in
    `artifacts`/STUDY-ID, cached blocks in `artifacts`/blocks (with a URI in a cache folder on each
    machine). With `ray_address`, all machines of the cluster must see `artifacts` and `data_dir`.
    `device` is by default the GPU if the study asks for one, else the CPU. Ctrl-C raises
    KeyboardInterrupt after running trials are requeued. Raises StudyError, StoreError
    (LeaseHeldError) or DataError for invalid input.
    """
    begun = time.monotonic()
    budget = study.budget
    workers = budget.workers if workers is None else workers
    device = precision.device_of(study, device)
    study, why = precision.settled(study, device, store)
    context = WorkerContext(
        data_dir=data_dir.resolve(),
        device=device,
        threads=max(1, int(budget.cpus_per_trial)),
        constraints=study.constraints,
        blocks=block_folder(study, artifacts),
        trial_s=budget.trial_minutes and budget.trial_minutes * 60,
        stopping=rule_of(study),
        trainable=engine or trainable_of(study),
    )
    ray_start_s = 0.0
    with StudyDriver(
        study,
        store=store,
        artifacts=artifacts,
        progress=progress or Silent(),
        ask_ahead=workers > 1,
    ) as driver:
        if why:
            precision.record(driver, store, study.name, why)
        if driver.has_jobs:
            ray_start_s = run_jobs(
                driver, context, budget=budget, workers=workers, address=ray_address
            )
    return RunReport(
        trials=dict(driver.finished_here),
        stopped=driver.stopped,
        has_given_up=driver.has_given_up,
        epochs_reused=driver.epochs_reused,
        without_weights=driver.without_weights,
        ray_start_s=ray_start_s,
        training_s=driver.training_s,
        evaluation_s=driver.evaluation_s,
        sampler_s=driver.sampler_s,
        sampler_waited_s=driver.sampler_waited_s,
        store_s=driver.store_s,
        total_s=time.monotonic() - begun,
    )


def trainable_of(study: Study, **of_confirmation: Any) -> Trainable:
    """Return what trains the study: the engine, or the function of an own training."""
    if study.train is None:
        return TrialRun
    return FunctionTrainable(
        train=study.train,
        folder=study.folder,
        function=study.function,
        objectives=study.objectives,
        metrics=study.metrics,
        **of_confirmation,
    )


def run_jobs(
    jobs: JobSource,
    context: WorkerContext,
    *,
    budget: Budget,
    workers: int,
    address: str | None = None,
) -> float:
    """Run all jobs on Ray workers, or with 0 workers in this process.

    Returns the seconds until the first Ray worker started.
    """
    if not workers:
        from search.runners import local

        local.run(jobs, context)
        return 0.0
    from search.runners import ray_tune  # slow to import

    return ray_tune.run(jobs, context, budget=budget, workers=workers, address=address)


def block_folder(study: Study, artifacts: Path | str) -> BlockFolder | None:
    """Return the folder of the block cache, or None if the study reuses no blocks.

    All studies share it, because the key of a block contains everything that it depends on.
    With remote artifacts each machine has its own.
    """
    if not study.search.reuse_blocks or study.train is not None:
        return None
    limit_bytes = study.search.block_cache_mb * 1_000_000
    place = located(artifacts)
    path = None if is_remote(place) else Path(inside(place, BLOCKS))
    return BlockFolder(path=path, limit_bytes=limit_bytes)
