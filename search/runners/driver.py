"""The driver of a study: creates its jobs, and stores their results.

Everything that a run writes to the store goes through it.
"""

import dataclasses
import logging
import shutil
import time
from collections import deque
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from search.pruners.pruner import RECORDS, pruner_of
from search.runners import trial_files
from search.runners.budget_spent import BudgetSpent
from search.runners.front_history import FrontHistory
from search.runners.leased_run import MAX_FAILURES, LeasedRun
from search.runners.progress import Progress, StudyProgress, trial_line
from search.runners.warm_start import check_warm_start, take_over
from search.samplers.background import BackgroundSampler
from search.samplers.proposals import Proposal, Proposals
from search.store.database import AlreadyError
from search.store.store import Store, StoreError, StoreGoneError
from search.study.study import Study, StudyError
from search.text import log
from search.text.artifacts import (
    inside,
    is_remote,
    local_path,
    located,
)
from search.trial.function_config import FunctionConfig
from search.trial.rung import RungReport
from search.trial.trial import RULED_OUT, Outcome, Trial, TrialState
from search.worker.function_run import WORK
from search.worker.job import Continuation, Job
from snn.settings.config import Fault, RunConfig
from snn.settings.measurement import Measurement, OperatingPoint
from snn.settings.setting import counted

LOG = log.logger("driver")


class StudyDriver(LeasedRun):
    """Drives one study as a context manager; used from one thread.

    Entering creates or continues the study (StudyError if the stored one has another question),
    takes its lease (LeaseHeldError), and requeues trials that a lost driver left running.
    Leaving requeues the trials that run here and releases the lease. A new study whose first
    trials fail on their input (ValueError) before any epoch is deleted again. With `ask_ahead`
    a background thread computes the next proposal.

    Complete trials whose weights could not be saved (a full disk) are trained again for their
    weights; their metrics stay as they are.
    """

    log = LOG

    def __init__(
        self,
        study: Study,
        *,
        store: Store,
        artifacts: Path | str,
        progress: Progress | None = None,
        holder: str | None = None,
        ask_ahead: bool = False,
    ) -> None:
        super().__init__(study, store, progress=progress, holder=holder, run_s=self._run_s)
        self.store_s = 0.0
        self._artifacts = located(artifacts)
        self._ask_ahead = ask_ahead
        self._budget: BudgetSpent | None = None
        self._running: dict[int, tuple[Job, Trial]] = {}
        self._unsaved: deque[Trial] = deque()  # complete trials to be trained for their weights
        self._retraining: set[int] = set()  # those of them that run
        self.without_weights = 0  # complete trials whose weights were not saved in this run
        self._is_new = self._has_begun = False

    def __enter__(self) -> Self:
        self._is_new = check_question(self._store, self._study)
        if self._is_new:
            check_warm_start(self._store, self._study)
            self._store.create_study(self._study)
        with ExitStack() as stack:
            self._take_lease(stack)
            stack.push(self._leave)
            reason = "its driver was lost; it will run again"
            self._store.requeue_running(self._study.name, reason, holder=self._lease.holder)
            self._store.create_study(self._study)  # the budget may have changed
            trials = self._store.trials(self._study.name, configs=False)
            if not trials:  # also if an earlier driver was lost during the warm start
                check_warm_start(self._store, self._study)
                for line in take_over(self._store, self._study):
                    self._store.add_event(self._study.name, "warm start", line)
                    self.say(f"warm start: {line}")
            self._resume(trials)
            stack.callback(self._sampler.close)
            self._exit = stack.pop_all()
        self._warn_of_codes(trials)
        if not self._is_new:
            finished = self.progress().finished
            self.say(f"continuing {self._study.name}: {counted(finished, 'finished trial')}")
            if self._unsaved:
                self.say(
                    f"training again for missing weights: {counted(len(self._unsaved), 'trial')}"
                )
        return self

    def _warn_of_codes(self, trials: Sequence[Trial]) -> None:
        """Say that the code of an own training is not that of earlier trials."""
        code = self._study.code
        if not code:
            return
        stored = self._store.trials(self._study.name) if trials else []
        others = [
            t.number
            for t in stored
            if isinstance(t.config, FunctionConfig) and t.config.code not in ("", code)
        ]
        if others:
            message = (
                f"the code of {self._study.train} is not that of {counted(len(others), 'trial')} "
                f"(the last one is trial {others[-1]}): the results are from different codes"
            )
            self._store.add_event(self._study.name, "code", message)
            self.warn(message)

    @property
    def sampler_s(self) -> float:
        """Return the seconds spent on proposals."""
        return self._proposals.seconds

    @property
    def sampler_waited_s(self) -> float:
        """Return the seconds in which this process waited for proposals."""
        return self._sampler.waited_s

    @property
    def epochs_reused(self) -> int:
        """Return the epochs of reused blocks in trials finished here."""
        return self._spent.reused_here

    def next(self) -> Job | None:
        """Return the next job, its trial stored as running.

        None if there are no more jobs (`stopped` says why), and while the running trials may use
        up the budget. Missing weights come first, then waiting trials by number, then new ones.
        """
        if self._unsaved and not self.should_halt():
            return self._start_retraining(self._unsaved.popleft())
        while not (self.is_spent() or self.should_halt() or self._is_promised()):
            if self._waiting:
                return self._start_job(self._waiting.popleft())
            suggestion = self._sampler.take(self._number)
            if suggestion.proposal is None:
                self._record_rejected(suggestion.rejected, None)
                self.stopped = suggestion.exhausted
            else:
                job = self._start_job(self._new_trial(suggestion.proposal))
                self._record_rejected(suggestion.rejected, job.number)
                if self._ask_ahead and not self.is_spent():
                    self._sampler.begin(self._number)
                return job
        return None

    def _start_retraining(self, trial: Trial) -> Job:
        job = self._new_job(self._store.trial(self._study.name, trial.number))
        self._retraining.add(trial.number)
        LOG.info("trial %d: trained again for its weights", trial.number)
        return job

    def is_ready(self) -> bool:
        """Return whether `next` returns at once; if not, trials are running."""
        if not self._running or self._unsaved or self.is_spent():
            return True
        if self._is_promised():
            return False
        if self._waiting:
            return True
        return self._sampler.is_ready(self._number)

    def _is_promised(self) -> bool:
        return bool(self._running) and self._spent.is_promised

    def is_running(self, number: int) -> bool:
        """Return whether a trial was started here and has no outcome yet."""
        return number in self._running

    def resume(self, number: int, continuation: Continuation) -> None:
        """Store that a running trial continues: what its earlier attempt trained is not lost.

        A trial that begins anew is said.
        """
        self._lease.check()
        self._has_begun = True
        self._say_continued(f"trial {number}", number, continuation)
        if number in self._retraining or not continuation.measurements:
            return
        self._spent.regain(number, continuation.measurements[-1])
        begun = time.perf_counter()
        self._store.record_continuation(self._study.name, number, continuation.measurements)
        self.store_s += time.perf_counter() - begun
        self._display.update(self.progress())

    def record(self, number: int, measurement: Measurement) -> None:
        """Store the measurement of an epoch of a running trial."""
        self._lease.check()
        self._has_begun = True
        if number in self._retraining:
            return
        self._spent.measure(number, measurement)
        done, total = measurement.epochs_done, measurement.epochs_total
        LOG.debug("trial %d: epoch %d of %d", number, done, total)
        begun = time.perf_counter()
        self._store.record_measurement(self._study.name, number, measurement)
        self.store_s += time.perf_counter() - begun
        self._display.update(self.progress())

    def judge(self, number: int, report: RungReport) -> bool:
        """Return whether early stopping ends a trial at a rung; if so, it is finished."""
        assert self._pruner is not None, "a rung report without early stopping"
        self._lease.check()
        if number in self._retraining:
            return False
        decision = self._pruner.judge(number, report)
        what = "stopped" if decision.stops else "continues"
        LOG.info("trial %d: rung %d, %s", number, report.rung, what)
        begun = time.perf_counter()
        if decision.is_recorded:
            self._store.record_rung(self._study.name, number, report)
        self.store_s += time.perf_counter() - begun
        if decision.is_recorded:  # as a driver would hear it that continues from the store
            self._sampler.hear(number, report)
        if decision.stops:
            self.finish(
                number,
                Outcome(
                    state=TrialState.PRUNED,
                    reason=decision.reason,
                    timings=report.timings,
                    stopped_rung=report.rung,
                    notes=report.notes,
                ),
            )
        return decision.stops

    def retry(self, number: int, message: str) -> None:
        """Record that the worker of a trial was lost; another one starts the trial again."""
        if number not in self._retraining:
            self._spent.lose(number)
            self._store.lose_attempt(self._study.name, number)
        self._store.add_event(self._study.name, "retry", message, trial=number)
        self.warn(f"trial {number}  {message}")

    def finish(self, number: int, outcome: Outcome) -> None:
        """Store the outcome of a trial, update the front, and tell the sampler."""
        self._lease.check()
        self._has_begun = True
        job, trial = self._running[number]
        self.without_weights += _lacks_weights(outcome)  # an own training may keep no files
        if number in self._retraining:
            self._finish_retraining(number, outcome)
            self._remove_checkpoint(job)
            return
        if job.reuse is not None and not self._spent.has_trained(number):
            outcome = dataclasses.replace(outcome, reused_trial=job.reused_trial)
        unseen = () if outcome.artifact is None else trial_files.unseen(outcome.artifact.uri)
        for note in self._new_notes((*outcome.notes, *unseen)):
            self._store.add_event(self._study.name, "note", note, trial=number)
            self.warn(f"trial {number}  {note}")
        self._close(trial, outcome)
        self._remove_checkpoint(job)
        if self._study.train is not None and job.weights and not is_remote(job.weights):
            shutil.rmtree(f"{local_path(job.weights)}{WORK}", ignore_errors=True)

    def _finish_retraining(self, number: int, outcome: Outcome) -> None:
        self._retraining.remove(number)
        del self._running[number]
        if outcome.artifact is None:
            self.warn(f"trial {number}  still has no weights: {outcome.reason}")
            return
        self._store.add_weights(self._study.name, number, outcome.artifact)
        self.say(f"trial {number}  trained again, its weights are saved")

    @property
    def has_given_up(self) -> bool:
        """Return whether MAX_FAILURES trials in a row have failed."""
        return self._failures >= MAX_FAILURES

    def is_spent(self) -> bool:
        """Return whether no more trials start; `stopped` then says why."""
        if not self.stopped and self.has_given_up:
            self.stopped = f"{self._failures} trials in a row have failed"
        self.stopped = self.stopped or self._spent.spent()
        return bool(self.stopped)

    @property
    def has_jobs(self) -> bool:
        """Return whether there is anything to run."""
        return bool(self._unsaved) or not self.is_spent()

    def progress(self) -> StudyProgress:
        """Return the progress of the study."""
        return self._spent.progress(
            self._study.name,
            front_size=self._front.front_size,
            hypervolume=self._front.hypervolume,
            best_accuracy=self._front.best_accuracy,
            metrics=self._study.metrics,
            objectives=self._study.objectives,
        )

    def _resume(self, trials: list[Trial]) -> None:
        begun = time.perf_counter()
        stored = self._store.stored_study(self._study.name)
        self._folder = inside(self._artifacts, stored.folder)
        self._budget = BudgetSpent(
            self._study.budget, trials, run_s=stored.run_s, lost_epochs=stored.lost_epochs
        )
        self._unsaved = deque(trial for trial in trials if _lacks_weights(trial))
        self._front = FrontHistory(self._study, self._store)
        self._front.restore(trials)
        trial_files.remove_checkpoints(self._folder, trials)
        self._waiting = deque(t for t in trials if t.state is TrialState.WAITING)
        self._number = max((trial.number for trial in trials), default=-1) + 1
        self._pruner = pruner_of(self._study)
        reports = self._store.newest_rungs(self._study.name, RECORDS) if self._pruner else []
        if self._pruner is not None:
            for number, report in reports:
                self._pruner.restore(number, report)
        self.store_s += time.perf_counter() - begun
        is_over = bool(self._spent.spent())  # then no proposals are needed
        self._proposals = Proposals(
            self._study,
            () if is_over else self._store.trials(self._study.name),
            prior=() if is_over else self._store.prior_trials(self._study.name),
            shared={} if is_over else self._families(),
        )
        for number, report in () if is_over else reports:
            self._proposals.hear(number, report)
        self._sampler = BackgroundSampler(self._proposals, ahead=self._ask_ahead)

    @property
    def _spent(self) -> BudgetSpent:
        assert self._budget is not None, "the driver was not entered"
        return self._budget

    def _run_s(self) -> float | None:
        return None if self._budget is None else self._budget.run_s

    def _families(self) -> dict[int, list[OperatingPoint]]:
        """Return the operating points by trial, if they are reported to the sampler."""
        found: dict[int, list[OperatingPoint]] = {}
        if self._study.tells_families:
            for stored in self._store.operating_points(self._study.name):
                found.setdefault(stored.trial, []).append(stored.point)
        return found

    def _new_trial(self, proposal: Proposal) -> Trial:
        """Return a trial that is not yet in the store."""
        trial = Trial(
            number=self._number,
            params=proposal.params,
            state=TrialState.RUNNING,
            config=proposal.config,
            sampler_state=proposal.sampler_state,
        )
        self._number += 1
        return trial

    def _record_rejected(self, passed: Sequence[str], number: int | None) -> None:
        """Store the candidates rejected before trial `number`, or before finding none."""
        begun = time.perf_counter()
        for message in passed:
            LOG.debug("rejected: %s", message)
            self._store.add_event(self._study.name, RULED_OUT, message, trial=number)
        self.store_s += time.perf_counter() - begun

    def _start_job(self, trial: Trial) -> Job:
        job = self._new_job(trial)
        _log_job(job, trial)
        assert trial.config is not None
        self._start(trial, 0 if job.reuse else trial.config.total_epochs)
        self._display.update(self.progress())
        return job

    def _new_job(self, trial: Trial) -> Job:
        config = trial.config
        assert config is not None
        known = self._store.weights_of(self._study.name, config.training_fingerprint)
        number, weights = known or (None, None)
        if weights is not None and not (is_remote(weights) or local_path(weights).is_file()):
            number, weights = None, None
        kind = "safetensors" if self._study.train is None else "zip"
        job = Job(
            number=trial.number,
            config=config,
            weights=trial_files.free_file(self._folder, trial.number, kind=kind),
            checkpoint=trial_files.checkpoint_file(self._folder, trial.number, config)
            if isinstance(config, RunConfig)  # an own training has its folder
            else None,
            reuse=weights,
            reused_trial=number,
        )
        self._running[trial.number] = (job, trial)
        return job

    def _start(self, trial: Trial, epochs_total: int) -> None:
        begun = time.perf_counter()
        if trial.state is TrialState.WAITING:
            self._store.start_trial(self._study.name, trial.number)
        else:
            try:
                self._store.add_trial(self._study.name, trial)
            except AlreadyError:  # perhaps by a driver that took the study
                self._lease.renew()
                self._lease.check()
                raise
        self.store_s += time.perf_counter() - begun
        self._spent.start(trial.number, epochs_total)

    def _close(self, trial: Trial, outcome: Outcome) -> None:
        """Finish a trial in the store, then update the front, then tell the sampler."""
        begun = time.perf_counter()
        self._store.finish_trial(self._study.name, trial.number, outcome)
        del self._running[trial.number]  # until here it is requeued if this driver stops
        self._spent.finish(trial.number, outcome.state)
        self._front.add(trial.number, outcome.state, self._spent.epochs_done)
        self.store_s += time.perf_counter() - begun
        points = outcome.evaluation.points if outcome.evaluation else ()
        self._sampler.tell(_finished(trial, outcome), points)
        level = self._add_result(outcome)
        self._display.finished(trial.number, outcome, self.progress())
        line = trial_line(trial.number, outcome, self._study.objectives, self._study.metrics)
        LOG.log(level, line, extra=log.SHOWN)

    def _leave(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Requeue the trials that run here, or delete a study that failed before its first epoch.

        A driver without its lease leaves both to the driver that has it.
        """
        if not self._lease.is_held:
            return
        name, holder = self._study.name, self._lease.holder
        with suppress(StoreGoneError):  # then the next driver requeues
            if self._is_new and not self._has_begun and isinstance(error, ValueError):
                self._store.delete_own_study(name, holder)
                return
            reason = "its driver stopped; it will run again"
            numbers = self._running.keys() - self._retraining
            self._store.requeue_running(name, reason, numbers=numbers, holder=holder)


def _lacks_weights(result: Trial | Outcome) -> bool:
    """Return whether a complete trial has no weights because they could not be saved."""
    is_unsaved = result.reason.startswith(("weights were not saved", "weights were not kept"))
    return result.state is TrialState.COMPLETE and result.artifact is None and is_unsaved


def _log_job(job: Job, trial: Trial) -> None:
    """Log a job, and the trial whose weights it reuses."""
    if not LOG.isEnabledFor(logging.INFO):
        return
    values = ", ".join(f"{name}={value}" for name, value in trial.params.items())
    LOG.info("trial %d: started, %s", trial.number, values)
    if job.reuse is not None:
        LOG.info("trial %d: equal to the training of trial %s", trial.number, job.reused_trial)


def _finished(trial: Trial, outcome: Outcome) -> Trial:
    """Return the finished trial for the sampler."""
    return dataclasses.replace(
        trial,
        state=outcome.state,
        sampled=outcome.evaluation.sampled if outcome.evaluation else None,
        constraint_violation=outcome.constraint_violation,
        stopped_rung=outcome.stopped_rung,
    )


def check_question(store: Store, study: Study) -> bool:
    """Return whether the study is new. Raises StudyError if the stored one has other settings."""
    try:
        stored = store.stored_study(study.name)
    except StoreError:  # a store that cannot be read fails again at creation
        return True
    if study.asks(stored.question_fingerprint):
        return False
    keys = study.differences(stored.study(store.url))
    message = (
        f"must stay as they are in the study {study.name!r} of {store.url}; "
        "restore them, or give the changed study a new `name`"
    )
    raise StudyError(study.source, [Fault(key=", ".join(keys) or "keys", message=message)])


__all__ = ["StudyDriver", "check_question"]
