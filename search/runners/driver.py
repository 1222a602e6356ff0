"""The driver: a driver's side of one study. All that a driver writes goes through here."""

import dataclasses
import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from search.pruners.moasha import RECORDS, Rungs, rule_of
from search.runners.budget_spent import BudgetSpent
from search.runners.front_history import FrontHistory
from search.runners.lease import Lease
from search.runners.progress import Progress, Silent, StudyProgress, trial_line
from search.runners.warm_start import check_warm_start, take_over
from search.samplers.background import BackgroundSampler
from search.samplers.proposals import Proposal, Proposals
from search.store.database import AlreadyError
from search.store.retry import waiting_for
from search.store.store import Store, StoreError, StoreGoneError
from search.study.study import Study, StudyError, study_from_toml
from search.text import log
from search.text.artifacts import inside, is_remote, local_path, located
from search.trial.rung import RungReport
from search.trial.trial import RULED_OUT, Outcome, Trial, TrialState
from search.worker.job import Job
from snn.settings.config import Fault
from snn.settings.measurement import Measurement, OperatingPoint

LOG = log.logger("driver")

MAX_FAILURES = 20  # in a row, before whatever they have in common ends the study
POLL_S = 1.0  # between two looks at whether somebody asked the study to stop


class StudyDriver:
    """One study while this process drives it, as a context manager, used from one thread.

    Entering makes the study in the store or continues it (StudyError where the
    stored one asks another question), takes its lease (LeaseHeldError), and puts
    trials that a lost driver left running back to waiting. Leaving puts back
    what runs then, and gives the lease back. With `ask_ahead` the sampler thinks in
    a thread of its own about the trial after the next.
    """

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
        self.stopped = ""  # why there are no more jobs, a sentence
        self.finished_here: Counter[TrialState] = Counter()
        self.training_s = self.evaluation_s = self.store_s = 0.0
        self._study = study
        self._store = store
        self._folder = inside(located(artifacts), study.name)
        self._ask_ahead = ask_ahead
        self._display = progress or Silent()
        self._lease = Lease(store, study.name, holder=holder)
        self._exit = ExitStack()
        self._running: dict[int, tuple[Job, Trial]] = {}  # being carried out
        self._noted: set[str] = set()  # what was said once
        self._failures = 0  # in a row
        self._polled = 0.0
        self._is_halted = False
        self.interrupted = threading.Event()  # by Ctrl-C, where it does not raise by itself

    def __enter__(self) -> Self:
        is_new = check_question(self._store, self._study)
        if is_new:
            check_warm_start(self._store, self._study)
            self._store.create_study(self._study)
        with ExitStack() as stack:
            stack.enter_context(
                waiting_for(self._store, say=self.warn, interrupted=self.interrupted)
            )
            stack.enter_context(self._lease)
            stack.callback(self._requeue, "its driver stopped; it will run again")
            self._requeue("its driver was lost; it will run again")
            self._store.create_study(self._study)  # the budget may be a new one
            trials = self._store.trials(self._study.name, configs=False)
            if not trials:  # also where a driver was lost before it had taken all over
                check_warm_start(self._store, self._study)
                for line in take_over(self._store, self._study):
                    self._store.add_event(self._study.name, "warm start", line)
                    self.say(f"warm start: {line}")
            self._resume(trials)
            stack.callback(self._sampler.close)
            self._exit = stack.pop_all()
        if not is_new:
            self.say(f"continuing {self._study.name}: {self.progress().finished} trials are there")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._exit.__exit__(kind, error, trace)

    @property
    def sampler_s(self) -> float:
        """Seconds spent on choosing what to try."""
        return self._proposals.seconds

    @property
    def sampler_waited_s(self) -> float:
        """Seconds of those in which this process did nothing else."""
        return self._sampler.waited_s

    @property
    def epochs_reused(self) -> int:
        """Epochs of trials finished here that came with blocks trained before."""
        return self._budget.reused_here

    def next(self) -> Job | None:
        """The next trial to run, recorded as running; None when `stopped` says why there is none.

        Also None while those that run may use up the budget: they may end early. Trials
        that wait come first, by number; then the sampler is asked.
        """
        while not (self.is_spent() or self.should_halt() or self._is_promised()):
            if self._waiting:
                return self._start_job(self._waiting.popleft())
            suggestion = self._sampler.take(self._number)
            if suggestion.proposal is None:
                self._record_rejected(suggestion.passed, None)
                self.stopped = suggestion.exhausted
            else:
                job = self._start_job(self._new_trial(suggestion.proposal))
                self._record_rejected(suggestion.passed, job.number)
                if self._ask_ahead and not self.is_spent():
                    self._sampler.begin(self._number)
                return job
        return None

    def is_ready(self) -> bool:
        """Whether `next` answers at once; if not, trials are running meanwhile."""
        if not self._running or self.is_spent():
            return True
        if self._is_promised():
            return False
        if self._waiting:
            return True
        return self._sampler.is_ready(self._number)

    def _is_promised(self) -> bool:
        return bool(self._running) and self._budget.is_promised

    def is_running(self, number: int) -> bool:
        """Whether a trial was handed out here, and its outcome is not known."""
        return number in self._running

    def record(self, number: int, measurement: Measurement) -> None:
        """An epoch of a trial that runs."""
        self._lease.check()
        self._budget.measure(number, measurement)
        done, total = measurement.epochs_done, measurement.epochs_total
        LOG.debug("trial %d: epoch %d of %d", number, done, total)
        begun = time.perf_counter()
        self._store.record_measurement(self._study.name, number, measurement)
        self.store_s += time.perf_counter() - begun
        self._display.update(self.progress())

    def judge(self, number: int, report: RungReport) -> bool:
        """Whether a trial that has come to a rung is stopped there; then it is over."""
        assert self._rungs is not None, "a report of a study that stops nothing early"
        self._lease.check()
        decision = self._rungs.judge(number, report)
        what = "stopped" if decision.stops else "goes on"
        LOG.info("trial %d: rung %d, %s", number, report.rung, what)
        begun = time.perf_counter()
        if decision.is_recorded:
            self._store.record_rung(self._study.name, number, report)
        self.store_s += time.perf_counter() - begun
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
        """The worker of a trial was lost, and another one begins it anew."""
        self._store.add_event(self._study.name, "retry", message, trial=number)
        self.warn(f"trial {number}  {message}")

    def finish(self, number: int, outcome: Outcome) -> None:
        """What came of a trial: into the store, the front, and the sampler's memory."""
        self._lease.check()
        job, trial = self._running.pop(number)
        if job.reuse is not None and not self._budget.has_trained(number):
            outcome = dataclasses.replace(outcome, reused_trial=job.reused_trial)
        self._note(number, outcome.notes)
        self._close(trial, outcome)
        self.training_s += outcome.timings.training_s
        self.evaluation_s += outcome.timings.evaluation_s
        if outcome.artifact is not None:
            self._note(number, _unseen(outcome.artifact.uri))

    def say(self, text: str) -> None:
        """Something that people should know."""
        self._say(text, logging.INFO)

    def warn(self, text: str) -> None:
        """Something that is not as it should be."""
        self._say(text, logging.WARNING)

    def _say(self, text: str, level: int) -> None:
        self._display.say(text)
        LOG.log(level, text, extra=log.SHOWN)

    @property
    def has_given_up(self) -> bool:
        """Whether so many trials in a row have failed that more would be no use."""
        return self._failures >= MAX_FAILURES

    def is_spent(self) -> bool:
        """Whether there is nothing more to begin; `stopped` then says why."""
        if not self.stopped and self.has_given_up:
            self.stopped = f"{self._failures} trials in a row have failed"
        self.stopped = self.stopped or self._budget.spent()
        return bool(self.stopped)

    def should_halt(self) -> bool:
        """Whether to leave at once, because someone asked for it. Cheap, to be called often.

        Raises LeaseHeldError when another driver has taken the study over.
        """
        self._lease.check()
        now = time.monotonic()
        if now - self._polled >= POLL_S:
            self._polled = now
            self._is_halted = self._store.stop_requested(self._study.name)
        if self._is_halted:
            self.stopped = "a stop was asked for"
        return self._is_halted

    def progress(self) -> StudyProgress:
        """Where the study stands."""
        return self._budget.progress(
            self._study.name,
            front_size=self._front.front_size,
            hypervolume=self._front.hypervolume,
            best_accuracy=self._front.best_accuracy,
        )

    def _resume(self, trials: list[Trial]) -> None:
        begun = time.perf_counter()
        self._budget = BudgetSpent(self._study.budget, trials)
        self._front = FrontHistory(self._study, self._store)
        self._front.restore(trials)
        self._waiting = deque(t for t in trials if t.state is TrialState.WAITING)
        self._number = max((trial.number for trial in trials), default=-1) + 1
        rule = rule_of(self._study)
        self._rungs = None if rule is None else Rungs(rule)
        if self._rungs is not None:
            for number, report in self._store.newest_rungs(self._study.name, RECORDS):
                self._rungs.restore(number, report)
        self.store_s += time.perf_counter() - begun
        is_over = bool(self._budget.spent())  # then nothing will be proposed
        self._proposals = Proposals(
            self._study,
            () if is_over else self._store.trials(self._study.name),
            lessons=() if is_over else self._store.prior_trials(self._study.name),
            families={} if is_over else self._families(),
        )
        self._sampler = BackgroundSampler(self._proposals, ahead=self._ask_ahead)

    def _families(self) -> dict[int, list[OperatingPoint]]:
        """The operating points of each trial, if the sampler hears them."""
        found: dict[int, list[OperatingPoint]] = {}
        if self._study.search.share_operating_points:
            for stored in self._store.operating_points(self._study.name):
                found.setdefault(stored.trial, []).append(stored.point)
        return found

    def _new_trial(self, proposal: Proposal) -> Trial:
        """A trial that is not in the store yet."""
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
        """The points that were ruled out on the way to a trial, or to finding none."""
        begun = time.perf_counter()
        for message in passed:
            LOG.debug("ruled out: %s", message)
            self._store.add_event(self._study.name, RULED_OUT, message, trial=number)
        self.store_s += time.perf_counter() - begun

    def _start_job(self, trial: Trial) -> Job:
        config = trial.config
        assert config is not None
        known = self._store.weights_of(self._study.name, config.training_fingerprint)
        number, weights = known or (None, None)
        if weights is not None and not (is_remote(weights) or local_path(weights).is_file()):
            number, weights = None, None
        job = Job(
            number=trial.number,
            config=config,
            weights=inside(self._folder, f"{trial.number:05d}.safetensors"),
            reuse=weights,
            reused_trial=number,
        )
        self._running[trial.number] = (job, trial)
        _log_job(job, trial, number)
        self._start(trial, 0 if weights else config.total_epochs)
        self._display.update(self.progress())
        return job

    def _start(self, trial: Trial, epochs_total: int) -> None:
        begun = time.perf_counter()
        if trial.state is TrialState.WAITING:
            self._store.start_trial(self._study.name, trial.number)
        else:
            try:
                self._store.add_trial(self._study.name, trial)
            except AlreadyError:  # it may be another driver's, who has the study by now
                self._lease.renew()
                self._lease.check()
                raise
        self.store_s += time.perf_counter() - begun
        self._budget.start(trial.number, epochs_total)

    def _close(self, trial: Trial, outcome: Outcome) -> None:
        """A trial is over: the store, then what is derived from it, then the sampler."""
        begun = time.perf_counter()
        self._store.finish_trial(self._study.name, trial.number, outcome)
        self._budget.finish(trial.number, outcome.state)
        self._front.add(trial.number, outcome.state, self._budget.epochs_done)
        self.store_s += time.perf_counter() - begun
        points = outcome.evaluation.points if outcome.evaluation else ()
        self._sampler.tell(_finished(trial, outcome), points)
        self.finished_here[outcome.state] += 1
        self._failures = self._failures + 1 if outcome.state is TrialState.FAILED else 0
        self._display.finished(trial.number, outcome, self.progress())
        level = logging.WARNING if outcome.state is TrialState.FAILED else logging.INFO
        LOG.log(level, trial_line(trial.number, outcome), extra=log.SHOWN)

    def _note(self, number: int, notes: tuple[str, ...]) -> None:
        """Keep and say what a trial noted, the same words once for all trials."""
        for note in notes:
            if note not in self._noted:
                self._noted.add(note)
                self._store.add_event(self._study.name, "note", note, trial=number)
                self.warn(f"trial {number}  {note}")

    def _requeue(self, reason: str) -> None:
        if self._lease.is_held:  # otherwise what runs is another driver's
            with suppress(StoreGoneError):  # then it is left to the next driver
                self._store.requeue_running(self._study.name, reason)


def _log_job(job: Job, trial: Trial, trained: int | None) -> None:
    """What is handed out, and whether it has to be trained."""
    if not LOG.isEnabledFor(logging.INFO):
        return
    values = ", ".join(f"{name}={value}" for name, value in trial.params.items())
    LOG.info("trial %d: handed out, %s", trial.number, values)
    if job.reuse is not None:
        LOG.info("trial %d: an equal training is there, of trial %s", trial.number, trained)


def _finished(trial: Trial, outcome: Outcome) -> Trial:
    """The trial as the sampler has to know it."""
    return dataclasses.replace(
        trial,
        state=outcome.state,
        sampled=outcome.evaluation.sampled if outcome.evaluation else None,
        constraint_violation=outcome.constraint_violation,
        stopped_rung=outcome.stopped_rung,
    )


def _unseen(weights: str) -> tuple[str, ...]:
    """What to say of weights that another machine has kept for itself."""
    if is_remote(weights) or local_path(weights).is_file():
        return ()
    return (
        "its weights are not seen from here: --artifacts must be a folder that all machines "
        "share, or a URI like s3://bucket/folder",
    )


def check_question(store: Store, study: Study) -> bool:
    """Whether the study is new to the store; StudyError when one of its name asks otherwise."""
    try:
        stored = store.stored_study(study.name)
    except StoreError:  # there is none; one that cannot be read cannot be made either
        return True
    if stored.question_fingerprint == study.question_fingerprint:
        return False
    keys = study.differences(study_from_toml(stored.toml, store.url))
    message = (
        f"must stay as they are in the study {study.name!r} that {store.url} has; "
        "go back to them, or give this study another name"
    )
    raise StudyError(study.source, [Fault(key=", ".join(keys) or "keys", message=message)])


__all__ = ["MAX_FAILURES", "StudyDriver", "check_question"]
