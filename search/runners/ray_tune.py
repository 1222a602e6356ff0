"""The loop of `search.runners.local` on the workers of Ray Tune.

The driver stays in this process. Tune requests jobs through a Searcher and returns messages
through a Callback; workers only run jobs. Tune's own experiment files are deleted: a study
continues from the store.
"""

import contextlib
import functools
import logging
import math
import os
import signal
import socket
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.exceptions import RayError as RayException
from ray.tune.progress_reporter import TrialProgressCallback
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from search.runners import second_try
from search.runners.tune_memory import forget_ended
from search.study.study import Budget
from search.text import log
from search.trial.rung import RungReport
from search.trial.trial import Outcome, TrialState
from search.worker.context import WorkerContext
from search.worker.job import Continuation, Job, JobSource
from search.worker.time_limit import overtime
from snn.settings.measurement import Measurement
from snn.settings.setting import counted

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

OBJECT_STORE_BYTES = 100_000_000  # enough for messages; the default is a third of the memory
ANSWER_S = 10.0  # timeout of the connection to the head of a cluster
GRACE_S = 10.0  # after the time limit of a trial, for the worker to end it
LOW_MEMORY = "ray.exceptions.OutOfMemoryError"  # raised for a worker that Ray killed for its memory
ATTEMPTS = 3  # starts of a trial whose workers die: the second may be on a node that has just died


class RayError(ValueError):
    """Ray cannot be started or joined as requested; one line."""


def run(
    jobs: JobSource,
    context: WorkerContext,
    *,
    budget: Budget,
    workers: int,
    address: str | None = None,
) -> float:
    """Run jobs on `workers` Ray workers; returns the seconds until the first one started.

    Without `address`, Ray is started on this machine and stopped after the run.
    """
    begun = time.monotonic()
    with _interrupts(jobs.interrupted) as interrupted, _session(budget, workers, address):
        if interrupted.is_set():
            raise KeyboardInterrupt
        jobs.say(f"Ray started after {time.monotonic() - begun:.1f} s")
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
    """Run one job on a worker; a refusal concerns all jobs."""
    job: Job = config["job"]
    with log.collecting(log_level) as records:
        try:
            # Tune stops a trial inside of `report`.
            with contextlib.closing(context.run(job)) as messages:
                for message in messages:
                    tune.report({"message": message, "records": records()})
        except ValueError as missing_data:
            tune.report({"message": Refusal(missing_data), "records": records()})


class Refusal:
    """An error that concerns all jobs, for the driver to raise."""

    def __init__(self, error: ValueError) -> None:
        self.error = error


class Halt(BaseException):
    """Leaves the loop of Tune. No Exception: Tune attributes those to a trial."""

    def __init__(self, cause: BaseException | None = None) -> None:
        super().__init__(cause)
        self.cause = cause


class JobSearcher(Searcher):
    """Passes jobs to Tune."""

    def __init__(self, jobs: JobSource) -> None:
        super().__init__(metric=None, mode=None)
        self._jobs = jobs

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune pickles it; a study continues from the store

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        """Return the next job, FINISHED if there are no more, or None while it is computed."""
        with _halting():
            if not self._jobs.is_ready():
                return None  # Tune asks again after the next event
            job = self._jobs.next()
        if job is None:
            return Searcher.FINISHED  # type: ignore[return-value]  # a string
        return {"job": job}

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Do nothing: TrialCallback handles outcomes and lost workers."""

    def save(self, checkpoint_path: str) -> None:
        """Do nothing."""

    def restore(self, checkpoint_path: str) -> None:
        """Do nothing."""


class RungScheduler(FIFOScheduler):
    """Starts trials in order, stops them at rungs, and removes finished ones from Tune.

    Tune calls this before TrialCallback, while the worker waits.
    """

    _supports_buffered_results = False

    def __init__(self, jobs: JobSource) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._jobs = jobs

    def __getstate__(self) -> dict[str, Any]:
        return {}  # as for JobSearcher

    def choose_trial_to_run(self, tune_controller: Any) -> Any:
        """Remove finished trials, and choose the next; called between events."""
        forget_ended(tune_controller)
        return super().choose_trial_to_run(tune_controller)

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Return STOP if early stopping ends the trial at the reported rung, else CONTINUE."""
        report = result.get("message")
        if not isinstance(report, RungReport):
            return str(TrialScheduler.CONTINUE)
        with _halting():
            number = _job(trial).number
            is_stopped = self._jobs.is_running(number) and self._jobs.judge(number, report)
        return str(TrialScheduler.STOP if is_stopped else TrialScheduler.CONTINUE)


class TrialCallback(TrialProgressCallback):
    """Passes messages of workers to the job source.

    A TrialProgressCallback replaces the one of Tune, which prints.
    """

    def __init__(
        self, jobs: JobSource, interrupted: threading.Event, *, trial_s: float | None = None
    ) -> None:
        super().__init__()
        self._trial_s = trial_s
        self._begun: dict[int, tuple[float, Any]] = {}  # start time and trial of Tune
        self._jobs = jobs
        self._interrupted = interrupted
        self.first_start: float | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {}  # as for JobSearcher

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Note the start of a job."""
        now = time.monotonic()
        self.first_start = self.first_start or now
        self._begun[_job(trial).number] = (now, trial)
        LOG.debug("%s: started on a worker", _job(trial).title)

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """Handle a message of a worker."""
        message = result.pop("message")  # Tune would store the last one of each trial
        log.replay(result.pop("records", ()))
        with _halting():
            if self._is_running(trial):
                self._handle(_job(trial), message)

    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Record that a worker died; Tune starts its trial again on another one."""
        with _halting():
            if self._is_running(trial):
                message = f"worker lost, trial starts again: {_last_line(_error(trial))}"
                self._jobs.retry(_job(trial).number, message)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Fail a trial whose last attempt lost its worker."""
        with _halting():
            if self._is_running(trial):
                self._jobs.finish(_job(trial).number, _lost(_error(trial)))

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Do nothing: the outcome came as a message."""

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Stop between two events if requested, and end overdue trials."""
        with _halting():
            if self._interrupted.is_set():
                raise KeyboardInterrupt
            if self._jobs.should_halt():
                raise Halt
            self._end_overdue()

    def _end_overdue(self) -> None:
        """Kill workers that did not end their trial at its time limit."""
        now = time.monotonic()
        for number, (begun, trial) in list(self._begun.items()):
            if not self._jobs.is_running(number):
                del self._begun[number]
            elif self._trial_s is not None and now - begun > self._trial_s + GRACE_S:
                self._jobs.finish(number, overtime(self._trial_s))
                trial.max_failures = 0  # no further attempt
                if trial.temporary_state.ray_actor is not None:  # None if it was lost just now
                    ray.kill(trial.temporary_state.ray_actor)

    def _is_running(self, trial: Any) -> bool:
        """Return False also if the worker was lost after the outcome: Tune then runs it again."""
        return self._jobs.is_running(_job(trial).number)

    def _handle(self, job: Job, message: object) -> None:
        if isinstance(message, Refusal):
            raise message.error
        if isinstance(message, Measurement):
            self._jobs.record(job.number, message)
        elif isinstance(message, Continuation):
            self._jobs.resume(job.number, message)
        elif isinstance(message, Outcome):
            self._jobs.finish(job.number, message)
        else:  # handled by RungScheduler
            assert isinstance(message, RungReport)


def _job(trial: Any) -> Job:
    job = trial.config["job"]
    assert isinstance(job, Job)
    return job


def _error(trial: Any) -> str:
    """Return the errors of a trial that Ray recorded."""
    path = trial.error_file
    return Path(path).read_text() if path and Path(path).is_file() else ""


def _lost(error: str) -> Outcome:
    """Return the outcome of a trial whose workers died: pruned if for lack of memory."""
    if LOW_MEMORY in error:
        return Outcome(
            state=TrialState.PRUNED,
            reason=(
                f"out of memory: Ray killed all {ATTEMPTS} workers that ran this trial; lower "
                "batch_size, width or timesteps"
            ),
            constraint_violation=1.0,
        )
    reason = f"{ATTEMPTS} workers were lost: {_last_line(error)}"
    return Outcome(state=TrialState.FAILED, reason=reason, error=error)


def _last_line(text: str) -> str:
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "unknown")


@contextlib.contextmanager
def _halting() -> Iterator[None]:
    """Let errors of the driver end the run; Tune would attribute them to a trial."""
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
            num_samples=-1,  # until there are no more jobs
            max_concurrent_trials=workers,
            reuse_actors=True,  # a new process per trial would take a second
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
    """Start or join Ray, and leave it at the end; only errors are shown."""
    _silence()
    try:
        with contextlib.ExitStack() as stack:
            if address is None:
                stack.enter_context(_own_token())
                _start(budget, workers)
            else:
                _join(address)
            stack.callback(ray.shutdown)
            _check_gpus(budget)
            yield
    finally:
        ray.shutdown()


@contextlib.contextmanager
def _own_token() -> Iterator[None]:
    """Give the local cluster an access token of its own.

    Otherwise Ray saves one in the home folder, which may be missing or read-only. A setting of
    the user (RAY_AUTH_...) stays as it is.
    """
    names = ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")
    if any(name in os.environ for name in names):
        yield
        return
    os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": uuid.uuid4().hex}
    _forget_token()
    try:
        yield
    finally:
        for name in names:
            os.environ.pop(name, None)
        _forget_token()


def _forget_token() -> None:
    """Let Ray read mode and token from the environment again; it caches both."""
    with contextlib.suppress(ImportError, AttributeError):  # private, and newer than some versions
        from ray._raylet import AuthenticationTokenLoader, Config  # type: ignore[attr-defined]

        Config.initialize("")
        AuthenticationTokenLoader.instance().reset_cache()


def _start(budget: Budget, workers: int) -> None:
    processors = math.ceil(workers * budget.cpus_per_trial)
    LOG.info("starting Ray on this machine for %d workers on %d processors", workers, processors)
    init = functools.partial(
        ray.init,
        address="local",
        num_cpus=processors,
        num_gpus=None if budget.gpus_per_trial else 0,
        object_store_memory=OBJECT_STORE_BYTES,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
    )
    try:
        second_try.started(init)
    except Exception as error:  # just that, where a node needs more than half a minute
        raise RayError(
            f"Ray does not start on this machine: {_last_line(str(error))}; run `spikefront doctor`"
        ) from error


def probe() -> float:
    """Start Ray as a run does, call a worker, and stop Ray; returns the seconds of the call.

    Raises RayError.
    """
    begun = time.monotonic()
    with _session(Budget(workers=1), 1, None):
        answer = ray.remote(lambda: os.getpid())
        assert ray.get(answer.remote()) != os.getpid()
        return time.monotonic() - begun


def check_address(address: str) -> None:
    """Raise RayError if nothing responds there; Ray itself would retry for 15 minutes."""
    allowed = f"--ray must be the address of a cluster's head, HOST:PORT or auto, got {address!r}"
    if address.startswith("ray://"):
        raise RayError(f"{allowed}; the driver of a Ray client has no access to the store")
    if address == "auto":
        return
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=ANSWER_S).close()
    except OSError as error:
        raise RayError(f"{allowed}, where nothing responds: {error.strerror or error}") from error
    except (ValueError, OverflowError) as error:  # not a port number
        raise RayError(allowed) from error


def _join(address: str) -> None:
    check_address(address)
    LOG.info("joining the Ray cluster at %s", address)
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, ValueError, RuntimeError, RayException) as error:
        raise RayError(
            f"no Ray cluster could be joined at {address}: {_last_line(str(error))}; if the "
            "cluster requires a token, set RAY_AUTH_TOKEN, or RAY_AUTH_TOKEN_PATH to a file "
            f"(on its head: `ray get-auth-token`); it must run Ray {ray.__version__}"
        ) from error


def _check_gpus(budget: Budget) -> None:
    """Raise RayError if there are too few GPUs; Tune would wait for them without end."""
    there = ray.cluster_resources().get("GPU", 0)
    if there < budget.gpus_per_trial:
        raise RayError(
            f"budget.gpus_per_trial must be at most the {counted(there, 'GPU')} that Ray has, "
            f"got {budget.gpus_per_trial:g}"
        )


def _silence() -> None:
    os.environ.update(ENVIRONMENT)
    logging.getLogger("ray").setLevel(logging.ERROR)
    # Tune would list trials with lost workers at the end; the store has them.
    logging.getLogger("ray.tune.tune").setLevel(logging.CRITICAL)


@contextlib.contextmanager
def _interrupts(interrupted: threading.Event) -> Iterator[threading.Event]:
    """Set the event at the first Ctrl-C, for the loop; restore the handler for a second one."""
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
