"""The same loop as `search.runners.local`, on the workers of Ray Tune.

The jobs stays with this process, the driver. Tune asks it for jobs through
a Searcher and brings messages back through a Callback; the worker function only
carries jobs out. What Tune keeps of an experiment is thrown away: the store
is the truth, and a study continues from there.
"""

import contextlib
import logging
import math
import os
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.tune.progress_reporter import TrialProgressCallback
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from search.runners.tune_memory import forget_ended
from search.study.study import Budget
from search.text import log
from search.trial.rung import RungReport
from search.trial.trial import Outcome, TrialState
from search.worker.context import WorkerContext
from search.worker.job import Job, JobSource
from search.worker.time_limit import overtime
from snn.settings.measurement import Measurement

LOG = log.logger("ray")

# Read by Ray when it starts.
ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "86400",
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
}

OBJECT_STORE_BYTES = 100_000_000  # jobs and messages are small; Ray would take a third of RAM
ANSWER_S = 10.0  # for the head of a cluster
GRACE_S = 10.0  # behind the end of its time, for a worker to end a trial by itself
LOW_MEMORY = "ray.exceptions.OutOfMemoryError"  # of a worker that Ray ended to save its node
ATTEMPTS = 2  # how often a trial is started when its workers die


class RayError(ValueError):
    """Ray cannot be had as asked, in one line."""


def run(
    jobs: JobSource,
    context: WorkerContext,
    *,
    budget: Budget,
    workers: int,
    address: str | None = None,
) -> float:
    """Run trials on `workers` Ray workers; returns the seconds until the first one had started.

    Without `address` Ray is started on this machine and ended behind the study.
    """
    begun = time.monotonic()
    with _interrupts(jobs.interrupted) as interrupted, _session(budget, workers, address):
        if interrupted.is_set():
            raise KeyboardInterrupt
        jobs.say(f"Ray is up after {time.monotonic() - begun:.1f} s")
        driver = TrialCallback(jobs, interrupted, trial_s=context.trial_s)
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            tuner = _tuner(driver, context, budget, workers, Path(folder))
            try:
                tuner.fit()
            except Halt as halt:
                if halt.cause is not None:
                    raise halt.cause from None
    return (driver.first_start or time.monotonic()) - begun


def run_job(config: dict[str, Any], *, context: WorkerContext, log_level: int) -> None:
    """Carry one job out, on a worker; a refusal concerns every other job too."""
    job: Job = config["job"]
    with log.collecting(log_level) as records:
        try:
            # Tune ends a trial that it stops in the middle of a report.
            with contextlib.closing(context.run(job)) as messages:
                for message in messages:
                    tune.report({"message": message, "records": records()})
        except ValueError as missing_data:
            tune.report({"message": Refusal(missing_data), "records": records()})


class Refusal:
    """Why a worker cannot carry out any job: the error to be raised by the driver."""

    def __init__(self, error: ValueError) -> None:
        self.error = error


class Halt(BaseException):
    """Leaves Tune's loop at once. No Exception: those Tune takes for a trial's fault."""

    def __init__(self, cause: BaseException | None = None) -> None:
        super().__init__(cause)
        self.cause = cause


class JobSearcher(Searcher):
    """Hands the jobs's jobs to Tune."""

    def __init__(self, jobs: JobSource) -> None:
        super().__init__(metric=None, mode=None)
        self._jobs = jobs

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune pickles what it is given; the store is all that has to survive

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        """The next job, or that there will be none; nothing while it is thought about."""
        with _halting():
            if not self._jobs.is_ready():
                return None  # Tune asks again, and brings results meanwhile
            job = self._jobs.next()
        if job is None:
            return Searcher.FINISHED  # type: ignore[return-value]  # a string, as Tune wants it
        return {"job": job}

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Nothing: the outcome came as a message, a lost worker is the TrialCallback's to tell."""

    def save(self, checkpoint_path: str) -> None:
        """Nothing."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing."""


class RungScheduler(FIFOScheduler):
    """Trials in the order in which they came; at rungs the jobs says whether they go on.

    Tune asks here before it tells the TrialCallback, and the worker waits for the answer.
    Lets Tune forget the trials that are over, too; the store has them.
    """

    _supports_buffered_results = False

    def __init__(self, jobs: JobSource) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._jobs = jobs

    def __getstate__(self) -> dict[str, Any]:
        return {}  # as for JobSearcher

    def choose_trial_to_run(self, tune_controller: Any) -> Any:
        """Called between any two events."""
        forget_ended(tune_controller)
        return super().choose_trial_to_run(tune_controller)

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Whether the trial is stopped at the rung that it reports; its outcome is then kept."""
        report = result.get("message")
        if not isinstance(report, RungReport):
            return str(TrialScheduler.CONTINUE)
        with _halting():
            number = _job(trial).number
            is_stopped = self._jobs.is_running(number) and self._jobs.judge(number, report)
        return str(TrialScheduler.STOP if is_stopped else TrialScheduler.CONTINUE)


class TrialCallback(TrialProgressCallback):
    """Brings what workers report to the jobs.

    As a TrialProgressCallback it takes the place of Tune's own, which prints.
    """

    def __init__(
        self, jobs: JobSource, interrupted: threading.Event, *, trial_s: float | None = None
    ) -> None:
        super().__init__()
        self._trial_s = trial_s
        self._begun: dict[int, tuple[float, Any]] = {}  # when, and Tune's trial
        self._jobs = jobs
        self._interrupted = interrupted
        self.first_start: float | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {}  # as for JobSearcher

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A worker has taken an job."""
        now = time.monotonic()
        self.first_start = self.first_start or now
        self._begun[_job(trial).number] = (now, trial)
        LOG.debug("%s: a worker has taken it", _job(trial).title)

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """A worker has something to say."""
        message = result.pop("message")  # Tune would keep the last one of every trial
        log.replay(result.pop("records", ()))
        with _halting():
            if self._is_running(trial):
                self._hear(_job(trial), message)

    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A worker has died, and Tune gives its trial to another one."""
        with _halting():
            if self._is_running(trial):
                message = f"worker lost, runs again: {_last_line(_error(trial))}"
                self._jobs.retry(_job(trial).number, message)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Workers have died as often as they may."""
        with _halting():
            if self._is_running(trial):
                self._jobs.finish(_job(trial).number, _lost(_error(trial)))

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Nothing: the outcome has come as a message."""

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Between any two events: the place to leave, with nothing half done."""
        with _halting():
            if self._interrupted.is_set():
                raise KeyboardInterrupt
            if self._jobs.should_halt():
                raise Halt
            self._end_overdue()

    def _end_overdue(self) -> None:
        """Trials whose workers do not end them at the end of their time end with their workers."""
        now = time.monotonic()
        for number, (begun, trial) in list(self._begun.items()):
            if not self._jobs.is_running(number):
                del self._begun[number]
            elif self._trial_s is not None and now - begun > self._trial_s + GRACE_S:
                self._jobs.finish(number, overtime(self._trial_s))
                trial.max_failures = 0  # Tune is not to give it to another one
                if trial.temporary_state.ray_actor is not None:  # otherwise it was lost just now
                    ray.kill(trial.temporary_state.ray_actor)

    def _is_running(self, trial: Any) -> bool:
        """Not when its worker was lost behind its outcome: then Tune runs it again for nothing."""
        return self._jobs.is_running(_job(trial).number)

    def _hear(self, job: Job, message: object) -> None:
        if isinstance(message, Refusal):
            raise message.error
        if isinstance(message, Measurement):
            self._jobs.record(job.number, message)
        elif isinstance(message, Outcome):
            self._jobs.finish(job.number, message)
        else:  # RungScheduler has heard it
            assert isinstance(message, RungReport)


def _job(trial: Any) -> Job:
    job = trial.config["job"]
    assert isinstance(job, Job)
    return job


def _error(trial: Any) -> str:
    """What Ray wrote down about the failures of a trial so far."""
    path = trial.error_file
    return Path(path).read_text() if path and Path(path).is_file() else ""


def _lost(error: str) -> Outcome:
    """What becomes of a trial whose workers have died; of memory, it is too large for its node."""
    if LOW_MEMORY in error:
        return Outcome(
            state=TrialState.PRUNED,
            reason=f"out of memory: Ray ended {ATTEMPTS} workers of it to save their nodes",
            constraint_violation=1.0,
        )
    reason = f"{ATTEMPTS} workers were lost: {_last_line(error)}"
    return Outcome(state=TrialState.FAILED, reason=reason, error=error)


def _last_line(text: str) -> str:
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "unknown")


@contextlib.contextmanager
def _halting() -> Iterator[None]:
    """Errors of the driver's own end the study, instead of being one trial's."""
    try:
        yield
    except (Exception, KeyboardInterrupt) as error:
        raise Halt(error) from error


def _tuner(
    driver: TrialCallback, context: WorkerContext, budget: Budget, workers: int, folder: Path
) -> tune.Tuner:
    resources = {"cpu": budget.cpus_per_trial}
    if budget.gpus_per_trial:
        resources["gpu"] = budget.gpus_per_trial
    trainable = tune.with_resources(
        tune.with_parameters(run_job, context=context, log_level=log.level()), resources
    )
    return tune.Tuner(
        trainable,
        tune_config=tune.TuneConfig(
            search_alg=JobSearcher(driver._jobs),
            scheduler=RungScheduler(driver._jobs),
            num_samples=-1,  # until the jobs has no more jobs
            max_concurrent_trials=workers,
            reuse_actors=True,  # a new process for every trial would cost a second each
            trial_dirname_creator=lambda trial: trial.trial_id,
        ),
        run_config=tune.RunConfig(
            name="study",
            storage_path=str(folder),
            failure_config=tune.FailureConfig(max_failures=ATTEMPTS - 1),
            callbacks=[driver],
            verbose=0,
        ),
    )


@contextlib.contextmanager
def _session(budget: Budget, workers: int, address: str | None) -> Iterator[None]:
    """Ray, started here or joined, and left behind; it speaks only of errors."""
    _silence()
    try:
        if address is None:
            _start(budget, workers)
        else:
            _join(address)
        _check_gpus(budget)
        yield
    finally:
        ray.shutdown()


def _start(budget: Budget, workers: int) -> None:
    processors = math.ceil(workers * budget.cpus_per_trial)
    LOG.info("Ray starts on this machine, for %d workers on %d processors", workers, processors)
    try:
        ray.init(
            address="local",
            num_cpus=processors,
            num_gpus=None if budget.gpus_per_trial else 0,
            object_store_memory=OBJECT_STORE_BYTES,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise RayError(
            f"Ray does not start here: {_last_line(str(error))}; see `spikefront doctor`"
        ) from error


def probe() -> float:
    """Start Ray as a run does, let a worker answer, and end it; the seconds until the answer.

    Raises RayError.
    """
    begun = time.monotonic()
    with _session(Budget(workers=1), 1, None):
        answer = ray.remote(lambda: os.getpid())
        assert ray.get(answer.remote()) != os.getpid()
        return time.monotonic() - begun


def check_address(address: str) -> None:
    """Raises RayError when nothing answers there: Ray itself would try for a quarter of an hour."""
    allowed = f"--ray must be the address of a cluster's head, HOST:PORT or auto, got {address!r}"
    if address.startswith("ray://"):
        raise RayError(f"{allowed}; a Ray client's driver would run without the store")
    if address == "auto":
        return
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=ANSWER_S).close()
    except OSError as error:
        raise RayError(f"{allowed}, where nothing answers: {error.strerror or error}") from error
    except (ValueError, OverflowError) as error:  # no number, or none that a port can have
        raise RayError(allowed) from error


def _join(address: str) -> None:
    check_address(address)
    LOG.info("joining the Ray cluster at %s", address)
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise RayError(f"no Ray cluster at {address}: {_last_line(str(error))}") from error


def _check_gpus(budget: Budget) -> None:
    """Without a GPU anywhere Tune would wait for one for ever."""
    there = ray.cluster_resources().get("GPU", 0)
    if there < budget.gpus_per_trial:
        raise RayError(
            f"budget.gpus_per_trial must be at most the {there:g} GPUs that Ray has, "
            f"got {budget.gpus_per_trial:g}"
        )


def _silence() -> None:
    os.environ.update(ENVIRONMENT)
    logging.getLogger("ray").setLevel(logging.ERROR)
    # At the end Tune lists trials whose workers were lost; the store has them with their errors.
    logging.getLogger("ray.tune.tune").setLevel(logging.CRITICAL)


@contextlib.contextmanager
def _interrupts(interrupted: threading.Event) -> Iterator[threading.Event]:
    """Set by the first Ctrl-C, which the loop obeys between two events; the second is Python's."""
    if threading.current_thread() is not threading.main_thread():
        yield interrupted
        return
    usual = signal.getsignal(signal.SIGINT)

    def handle(number: int, frame: object) -> None:
        interrupted.set()
        signal.signal(signal.SIGINT, usual)

    signal.signal(signal.SIGINT, handle)
    try:
        yield interrupted
    finally:
        signal.signal(signal.SIGINT, usual)
