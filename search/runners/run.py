"""The door through which studies are run: by the command line, the dashboard, and scripts."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from search.pruners.moasha import rule_of
from search.runners.driver import StudyDriver
from search.runners.progress import Progress, Silent
from search.store.store import Store
from search.study.study import Budget, Study
from search.text.artifacts import inside, is_remote, located
from search.trial.trial import TrialState
from search.worker.context import WorkerContext
from search.worker.job import BlockFolder, JobSource, Trainable
from search.worker.trial_run import TrialRun

BLOCKS = "blocks"  # the folder among the artifacts


@dataclass(frozen=True, kw_only=True)
class RunReport:
    """What one run of a study did, earlier runs not included, and where its time went."""

    trials: Mapping[TrialState, int]  # finished by this run, by state
    stopped: str  # why it ended, a sentence
    has_given_up: bool  # because trials kept failing
    epochs_reused: int  # of blocks that were trained before
    ray_start_s: float  # until the first worker had taken an job; 0 without Ray
    training_s: float  # of all workers together
    evaluation_s: float  # of all workers together
    sampler_s: float  # choosing points
    sampler_waited_s: float  # of these, while nothing else was done; the rest beside running trials
    store_s: float  # writing, and keeping the front
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
    """Run `study`, or continue it, until its budget is spent.

    `workers` are Ray workers (None: the study's), 0 is the loop in this process.
    Trained weights go to `artifacts`/STUDY, blocks for other trials to
    `artifacts`/blocks if the study reuses them. `artifacts` is a folder, or a URI that
    pyarrow can open; blocks are then kept by each machine for itself. With
    `ray_address` that folder, and `data_dir`, must be where all machines of the
    cluster see them. `device` is
    by default whatever GPU there is if the study asks for one, else the CPU.
    Ctrl-C is a KeyboardInterrupt from here, after trials under way have been put
    back to waiting. Raises StudyError, StoreError (LeaseHeldError) or DataError
    for what is wrong with the input.
    """
    begun = time.monotonic()
    budget = study.budget
    workers = budget.workers if workers is None else workers
    context = WorkerContext(
        data_dir=data_dir.resolve(),
        device=device or ("auto" if budget.gpus_per_trial else "cpu"),
        threads=max(1, int(budget.cpus_per_trial)),
        constraints=study.constraints,
        blocks=block_folder(study, artifacts),
        trial_s=budget.trial_minutes and budget.trial_minutes * 60,
        stopping=rule_of(study),
        trainable=engine or TrialRun,
    )
    ray_start_s = 0.0
    with StudyDriver(
        study,
        store=store,
        artifacts=artifacts,
        progress=progress or Silent(),
        ask_ahead=workers > 1,
    ) as driver:
        if not driver.is_spent():
            ray_start_s = run_jobs(
                driver, context, budget=budget, workers=workers, address=ray_address
            )
    return RunReport(
        trials=dict(driver.finished_here),
        stopped=driver.stopped,
        has_given_up=driver.has_given_up,
        epochs_reused=driver.epochs_reused,
        ray_start_s=ray_start_s,
        training_s=driver.training_s,
        evaluation_s=driver.evaluation_s,
        sampler_s=driver.sampler_s,
        sampler_waited_s=driver.sampler_waited_s,
        store_s=driver.store_s,
        total_s=time.monotonic() - begun,
    )


def run_jobs(
    jobs: JobSource,
    context: WorkerContext,
    *,
    budget: Budget,
    workers: int,
    address: str | None = None,
) -> float:
    """Carry out all jobs: on Ray workers, or with 0 in this process.

    Returns the seconds until the first Ray worker had started.
    """
    if not workers:
        from search.runners import local

        local.run(jobs, context)
        return 0.0
    from search.runners import ray_tune  # which takes seconds

    return ray_tune.run(jobs, context, budget=budget, workers=workers, address=address)


def block_folder(study: Study, artifacts: Path | str) -> BlockFolder | None:
    """One folder for all studies: what a block depends on is in its name, the study is not.

    Beside weights that lie in a folder; otherwise each machine has its own.
    """
    if not study.search.reuse_blocks:
        return None
    limit_bytes = study.search.block_cache_mb * 1_000_000
    place = located(artifacts)
    path = None if is_remote(place) else Path(inside(place, BLOCKS))
    return BlockFolder(path=path, limit_bytes=limit_bytes)
