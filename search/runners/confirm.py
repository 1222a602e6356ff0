"""Confirm a front: train its members again with new seeds and evaluate them on test images.

The front is selected by validation metrics, which are therefore too optimistic. Test metrics go
into tables of their own, which no sampler, pruner or front reads.
"""

import dataclasses
import math
import time
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from search.runners.confirmation_runs import (
    ConfirmationRun,
    chosen,
    confirmation_runs_of,
    fresh_seeds,
)
from search.runners.leased_run import MAX_FAILURES, LeasedRun
from search.runners.progress import Progress, RunningTrial, StudyProgress
from search.runners.run import block_folder, run_jobs, trainable_of
from search.store.store import Store, StoredPoint
from search.study.study import Study
from search.text import log
from search.text.artifacts import inside, is_there, located
from search.text.units import duration, figure, percent
from search.trial.confirmation import Confirmed, SeedRun
from search.trial.function_config import Config, FunctionConfig
from search.trial.rung import RungReport
from search.trial.trial import Outcome, TrialState
from search.worker.context import WorkerContext
from search.worker.engine import TEST
from search.worker.function_run import FunctionTrainable
from search.worker.job import Continuation, Job, Trainable
from search.worker.trial_run import ConfirmationTrainable
from snn.settings.measurement import Measurement, Metrics
from snn.settings.setting import counted

LOG = log.logger("confirm")

FOLDER = "confirm"  # of weights, in the artifacts folder of the study


@dataclass(frozen=True, kw_only=True)
class ConfirmationJob(Job):
    """One training with a new seed, and the front members that it confirms."""

    points: tuple[StoredPoint, ...]

    @property
    def title(self) -> str:
        """Return the trials of its front members, and its seed."""
        trials = sorted({member.trial for member in self.points})
        numbers = ", ".join(str(number) for number in trials)
        return f"trial{'s' if len(trials) > 1 else ''} {numbers} with seed {self.config.seed}"


@dataclass(frozen=True, kw_only=True)
class ConfirmationContext(WorkerContext):
    """A context whose jobs are evaluated on the test images at the points of the job."""

    def trainable_for(self, job: Job) -> Trainable:
        """Return a trainable for the points of the job."""
        assert isinstance(job, ConfirmationJob)
        if isinstance(self.trainable, FunctionTrainable):
            labels = tuple(member.point.label for member in job.points)
            return dataclasses.replace(self.trainable, labels=labels)
        return ConfirmationTrainable(points=tuple(member.point for member in job.points))


@dataclass(frozen=True, kw_only=True)
class ConfirmReport:
    """The results of one call of `confirm_study`, and all test runs of its points."""

    points: tuple[StoredPoint, ...]  # requested
    confirmed: Mapping[int, Confirmed]  # by the id of the point
    seeds: tuple[int, ...]  # requested
    trainings: Mapping[TrialState, int]  # of this call, by state
    stopped: str  # why it ended early; "" if it is complete
    training_s: float  # sum over all workers
    evaluation_s: float
    total_s: float


def confirm_study(
    name: str | Study,
    *,
    store: Store,
    artifacts: Path | str,
    data_dir: Path,
    seeds: int,
    picks: Sequence[str] = (),
    workers: int | None = None,
    ray_address: str | None = None,
    device: str | None = None,
    progress: Progress | None = None,
) -> ConfirmReport:
    """Train front members of a stored study again until each has test runs of `seeds` seeds.

    Of an own training, the name of the study finds the function where the study file was when
    it was run last; a Study knows it itself.
    `picks` name members as `search.front.picks.pick` does; without any it is all of
    them. Test runs of earlier calls are not repeated. The other arguments are those
    of `search.runners.run.run_study`. Raises PickError, StoreError (LeaseHeldError while
    the study is being searched) or DataError.
    """
    begun = time.monotonic()
    study = stored_with_code(store, name) if isinstance(name, str) else name
    name = study.name
    budget = study.budget
    place = ConfirmationContext(
        trainable=trainable_of(study, part=TEST),
        data_dir=data_dir.resolve(),
        device=device or ("auto" if budget.gpus_per_trial else "cpu"),
        threads=max(1, int(budget.cpus_per_trial)),
        blocks=block_folder(study, artifacts),
        trial_s=budget.trial_minutes and budget.trial_minutes * 60,
    )
    confirmer = ConfirmationDriver(
        study, store=store, artifacts=artifacts, seeds=seeds, picks=picks, progress=progress
    )
    with confirmer:
        if confirmer.is_open:
            run_jobs(
                confirmer,
                place,
                budget=budget,
                workers=budget.workers if workers is None else workers,
                address=ray_address,
            )
    return ConfirmReport(
        points=confirmer.members,
        confirmed=store.confirmed(name),
        seeds=confirmer.seeds,
        trainings=dict(confirmer.finished_here),
        stopped=confirmer.stopped,
        training_s=confirmer.training_s,
        evaluation_s=confirmer.evaluation_s,
        total_s=time.monotonic() - begun,
    )


def stored_with_code(store: Store, name: str) -> Study:
    """Return a stored study; of an own training with its function. Raises StudyError."""
    stored = store.stored_study(name)
    study = stored.study()
    if study.train is None:
        return study
    return study.with_code(Path(stored.code_folder) if stored.code_folder else None)


class ConfirmationDriver(LeasedRun):
    """Creates trainings with new seeds and stores their test runs, as a context manager.

    Holds the lease of the study, so that the front does not change. Unfinished trainings continue
    in the next call.
    """

    log = LOG

    def __init__(
        self,
        study: Study,
        *,
        store: Store,
        artifacts: Path | str,
        seeds: int,
        picks: Sequence[str] = (),
        progress: Progress | None = None,
        holder: str | None = None,
    ) -> None:
        super().__init__(study, store, progress=progress, holder=holder)
        self.members: tuple[StoredPoint, ...] = ()
        self.seeds: tuple[int, ...] = ()
        self._count, self._picks = seeds, picks
        self._artifacts = located(artifacts)
        self._open: deque[ConfirmationJob] = deque()
        self._asked = 0
        self._running: dict[int, tuple[ConfirmationJob, RunningTrial]] = {}
        self._epochs = 0
        self._started = time.monotonic()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._take_lease(stack)
            self._plan()
            self._exit = stack.pop_all()
        return self

    def _plan(self) -> None:
        name = self._study.name
        self._folder = inside(self._artifacts, self._store.stored_study(name).folder, FOLDER)
        front = self._store.operating_points(name, front_only=True)
        self.members = tuple(chosen(front, self._picks, self._study))
        configs = {t.number: t.config for t in self._store.trials(name) if t.config is not None}
        if self._study.train is not None:
            configs = self._with_current_code(configs)
        self.seeds = fresh_seeds(self._count, {config.seed for config in configs.values()})
        done = self._store.confirmed(name)
        trainings = confirmation_runs_of(self.members, configs, self.seeds, done)
        self._open = deque(self._job(*one) for one in enumerate(trainings))
        self._asked = len(trainings)
        self.say(
            f"{counted(len(self.members), 'point')}, {counted(len(self.seeds), 'seed')}: "
            f"{counted(self._asked, 'training')} to do"
        )

    def _with_current_code(self, configs: Mapping[int, Config]) -> dict[int, Config]:
        """Return configs of an own training with the code that is there now."""
        found: dict[int, Config] = {}
        changed = []
        for number, config in configs.items():
            assert isinstance(config, FunctionConfig)
            if config.code not in ("", self._study.code):
                changed.append(number)
            found[number] = dataclasses.replace(config, code=self._study.code)
        if any(member.trial in changed for member in self.members):
            self.warn(
                f"the code of {self._study.train} was changed since the search: what is "
                "confirmed is the code as it is now"
            )
        return found

    def _job(self, number: int, training: ConfirmationRun) -> ConfirmationJob:
        config = training.config
        name = config.training_fingerprint
        is_own = self._study.train is not None  # which has checkpoints of its own
        return ConfirmationJob(
            number=number,
            config=config,
            weights=inside(self._folder, f"{name}.{'zip' if is_own else 'safetensors'}"),
            checkpoint=None if is_own else inside(self._folder, f"{name}.checkpoint"),
            points=training.points,
        )

    @property
    def is_open(self) -> bool:
        """Return whether there are trainings left."""
        return bool(self._open)

    # the JobSource protocol

    def next(self) -> Job | None:
        """Return the next training; it reuses weights of an earlier call."""
        if not self._open or self.should_halt():
            return None
        if self._failures >= MAX_FAILURES:
            self.stopped = f"{self._failures} trainings in a row have failed"
            return None
        job = self._open.popleft()
        is_there_already = job.weights is not None and is_there(job.weights)
        if is_there_already and self._study.train is None:
            job = dataclasses.replace(job, reuse=job.weights)
        running = RunningTrial(number=job.points[0].trial, epochs_total=job.config.total_epochs)
        self._running[job.number] = (job, running)
        self._display.update(self.progress())
        return job

    def is_ready(self) -> bool:
        """Return True: `next` always returns at once."""
        return True

    def is_running(self, number: int) -> bool:
        """Return whether a training was started here and has no outcome yet."""
        return number in self._running

    def resume(self, number: int, continuation: Continuation) -> None:
        """Say that a training continues where an earlier call was interrupted, or why not."""
        job, _ = self._running[number]
        self._say_continued(job.title, None, continuation)
        if continuation.measurements:
            self.record(number, continuation.measurements[-1])

    def record(self, number: int, measurement: Measurement) -> None:
        """Show the measurement of an epoch; it is not stored."""
        job, running = self._running[number]
        running = dataclasses.replace(running, measurement=measurement)
        self._running[number] = (job, running)
        self._display.update(self.progress())

    def judge(self, number: int, report: RungReport) -> bool:
        """Return False: confirmations are not stopped early."""
        return False

    def retry(self, number: int, message: str) -> None:
        """Record that the worker of a training was lost; another one starts it again."""
        job, _ = self._running[number]
        self._store.add_event(self._study.name, "retry", f"{job.title}: {message}")
        self.warn(f"{job.title}  {message}")

    def finish(self, number: int, outcome: Outcome) -> None:
        """Store the test run of a training at each of its points."""
        self._lease.check()
        job, running = self._running.pop(number)
        self._epochs += running.epochs_trained
        runs = seed_runs(job, outcome)
        self._store.record_test_runs(self._study.name, runs)
        self._remove_checkpoint(job)
        level = self._add_result(outcome)
        for note in self._new_notes(outcome.notes):
            self.warn(f"{job.title}  {note}")
        done = self.finished_here.total()
        result = f"{job.title}  {_result(runs, outcome, self._study.metrics)}"
        self._say(f"{result}  [{done}/{counted(self._asked, 'training')}]", level)
        self._display.update(self.progress())

    def progress(self) -> StudyProgress:
        """Return the progress of the confirmation."""
        elapsed, done = time.monotonic() - self._started, self.finished_here.total()
        left = (self._asked - done) * elapsed / done if done else None
        running = tuple(running for _, running in self._running.values())
        return StudyProgress(
            study=f"confirming {self._study.name}",
            counts={**self.finished_here, TrialState.RUNNING: len(running)},
            running=running,
            trials_asked=self._asked,
            epochs_done=self._epochs,
            front_size=None,
            hypervolume=None,
            best_accuracy=None,
            elapsed_s=elapsed,
            left_s=left,
            noun="training",
            metrics=self._study.metrics,
        )


def seed_runs(job: ConfirmationJob, outcome: Outcome) -> dict[int, SeedRun]:
    """Return the test runs of a training by point id."""
    evaluation = outcome.evaluation
    figures = [point.metrics for point in evaluation.points] if evaluation else None
    run = SeedRun(
        seed=job.config.seed,
        state=outcome.state,
        training_fingerprint=job.config.training_fingerprint,
        images=(evaluation.images or None) if evaluation else None,
        reason=outcome.reason,
        error=outcome.error,
    )
    if figures is None:
        return {member.id: run for member in job.points}
    pairs = zip(job.points, figures, strict=True)
    return {member.id: dataclasses.replace(run, metrics=metrics) for member, metrics in pairs}


def _result(runs: Mapping[int, SeedRun], outcome: Outcome, metrics: Metrics) -> str:
    if outcome.evaluation is None:
        return f"{outcome.state.value}  {outcome.reason}"
    accuracies = sorted(run.metrics.get("accuracy", math.nan) for run in runs.values())
    if math.isnan(accuracies[0]):
        first = next(iter(runs.values()))
        shown = ", ".join(f"{n} {figure(n, v, metrics)}" for n, v in [*first.metrics.items()][:2])
        return f"test {shown}  trained {duration(outcome.timings.training_s)}"
    shown = percent(accuracies[-1])
    if len(accuracies) > 1:
        least = percent(accuracies[0])
        shown = f"{least} to {shown}" if least != shown else shown
        shown += f" at {len(accuracies)} points"
    return f"test accuracy {shown}  trained {duration(outcome.timings.training_s)}"
