"""The driver: what a driver writes, what it hands out, and what survives it."""

import dataclasses
import datetime
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from search.front.front import front_of
from search.pruners.rungs import rule_of
from search.runners import front_history, leased_run, local
from search.runners.budget_spent import BudgetSpent
from search.runners.driver import StudyDriver
from search.runners.progress import Silent, StudyProgress
from search.store.process_identity import holder_name, is_gone, new_holder
from search.store.store import LeaseHeldError, LeaseLostError, Store
from search.study.feedback import FeedbackBuilder
from search.study.study import Budget, Study, StudyError, study_from_toml
from search.trial.trial import Outcome, Timings, Trial, TrialState
from search.worker.context import WorkerContext
from search.worker.job import Continuation, Job
from snn.data.image_files import DataError
from snn.settings.config import RunConfig
from snn.settings.measurement import Measurement
from tests.search.fake_engine import FakeEngine, FakeRun, evaluation

ANOTHER = "another-host:1"
NOON = datetime.datetime(2026, 1, 1, 12, tzinfo=datetime.UTC)


def make_study(
    *,
    space: str = "width = { low = 1, high = 200 }",
    budget: str = "trials = 4",
    run: str = "epochs = 2",
    objectives: str = '["accuracy", "synaptic_ops"]',
    seed: int = 0,
    sampler: str = "random",
    stopping: str = "none",
) -> Study:
    return study_from_toml(
        f"""
name = "small"
objectives = {objectives}
[budget]
{budget}
[run]
{run}
[space]
{space}
[search]
sampler = "{sampler}"
seed = {seed}
stopping = "{stopping}"
"""
    )


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Drivers without a place for artifacts write into the working folder."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(f"sqlite:///{tmp_path}/store.db") as opened:
        yield opened


@pytest.fixture
def context(tmp_path: Path) -> WorkerContext:
    return WorkerContext(data_dir=tmp_path, trainable=FakeEngine())


def drive(study: Study, store: Store, context: WorkerContext) -> StudyDriver:
    """Run a study to its end, in this process."""
    with StudyDriver(study, store=store, artifacts=context.data_dir) as opened:
        local.run(opened, context)
    return opened


def complete(job: Job) -> Outcome:
    return Outcome(state=TrialState.COMPLETE, evaluation=evaluation(job.config))


def states(store: Store) -> list[TrialState]:
    return [trial.state for trial in store.trials("small")]


def test_a_job_is_stored_as_running_before_it_is_returned(store: Store, tmp_path: Path) -> None:
    with StudyDriver(make_study(), store=store, artifacts=tmp_path) as opened:
        job = opened.next()
        assert job is not None
        kept = store.trial("small", job.number)
        assert (kept.number, kept.state, kept.config) == (0, TrialState.RUNNING, job.config)


def test_exactly_the_trials_of_the_budget_are_run(store: Store, context: WorkerContext) -> None:
    done = drive(make_study(), store, context)
    assert states(store) == [TrialState.COMPLETE] * 4
    assert done.stopped == "all 4 trials of the budget were run"
    assert done.finished_here == {TrialState.COMPLETE: 4}
    assert [m.epoch for m in store.measurements("small", 3)] == [1, 2]


def test_a_study_continues_when_its_budget_has_grown(store: Store, context: WorkerContext) -> None:
    drive(make_study(), store, context)
    drive(make_study(budget="trials = 6"), store, context)
    assert [trial.number for trial in store.trials("small")] == list(range(6))
    assert study_from_toml(store.stored_study("small").toml).budget.trials == 6


def test_another_question_under_the_same_name_is_refused_with_the_keys_that_differ(
    store: Store, context: WorkerContext
) -> None:
    drive(make_study(), store, context)
    other = make_study(space="width = { low = 1, high = 9 }", seed=3)
    with pytest.raises(StudyError, match=r"space\.width, search\.seed must stay as they are"):
        drive(other, store, context)


def test_an_interrupted_study_runs_what_an_undisturbed_one_would_have_run(
    store: Store, context: WorkerContext, tmp_path: Path
) -> None:
    drive(make_study(budget="trials = 5"), store, context)
    with Store(f"sqlite:///{tmp_path}/other.db") as other:
        drive(make_study(budget="trials = 2"), other, context)
        with StudyDriver(
            make_study(budget="trials = 5"), store=other, artifacts=tmp_path
        ) as opened:
            assert opened.next() is not None  # and is interrupted in the middle of it
        assert other.trial("small", 2).state is TrialState.WAITING
        drive(make_study(budget="trials = 5"), other, context)
        runs = [[trial.config for trial in s.trials("small")] for s in (store, other)]
        assert runs[0] == runs[1]
        assert other.hypervolume("small") == store.hypervolume("small")


def stopping_study(trials: int = 20, sampler: str = "random") -> Study:
    budget = f"trials = {trials}"
    return make_study(budget=budget, run="epochs = 9", stopping="moasha", sampler=sampler)


def outcomes(store: Store) -> list[object]:
    return [
        (t.params, t.state, t.reason, t.stopped_rung, t.epochs_done, store.rungs("small", t.number))
        for t in store.trials("small")
    ]


def test_trials_that_are_stopped_early_cost_what_they_trained_and_give_no_point(
    store: Store, context: WorkerContext
) -> None:
    study = stopping_study()
    done = drive(study, store, dataclasses.replace(context, stopping=rule_of(study)))
    trials = store.trials("small")
    stopped = [trial for trial in trials if trial.state is TrialState.PRUNED]
    assert 5 <= len(stopped) < 20
    assert done.finished_here == {
        TrialState.PRUNED: len(stopped),
        TrialState.COMPLETE: 20 - len(stopped),
    }
    for trial in stopped:
        epochs = {1: 1, 2: 3}[trial.stopped_rung or 0]
        assert trial.epochs_done == epochs
        assert [m.epochs_done for m in store.measurements("small", trial.number)] == list(
            range(1, epochs + 1)
        )
        assert trial.reason.startswith(
            f"stopped early at rung {trial.stopped_rung} of 2, after {epochs} of 9"
        )
        assert trial.timings == Timings(training_s=0.125, evaluation_s=0.0625)
        assert store.operating_points("small", trial.number) == []
        assert trial.constraint_violation == 0
        assert [report.rung for report in store.rungs("small", trial.number)][
            -1
        ] == trial.stopped_rung
    assert store.hypervolume("small")[-1].epochs == sum(trial.epochs_done for trial in trials)
    [summary] = store.study_summaries()
    assert sum(summary.stopped_at.values()) == len(stopped)
    assert set(summary.stopped_at) == {1, 2}


@pytest.mark.parametrize("sampler", ["random", "gain"])
def test_a_study_with_early_stopping_continues_after_a_lost_driver_as_an_undisturbed_one(
    store: Store, context: WorkerContext, tmp_path: Path, sampler: str
) -> None:
    study = stopping_study(sampler=sampler)
    place = dataclasses.replace(context, stopping=rule_of(study))
    drive(study, store, place)
    with Store(f"sqlite:///{tmp_path}/other.db") as other:
        for messages in (3, 9, 40, 2, 31):
            with StudyDriver(study, store=other, artifacts=tmp_path) as opened:
                disturb(opened, place, messages)
        drive(study, other, place)
        assert outcomes(other) == outcomes(store)
        assert other.hypervolume("small") == store.hypervolume("small")


def disturb(opened: StudyDriver, place: WorkerContext, messages: int) -> None:
    """The local loop, left behind that many messages."""
    while (job := opened.next()) is not None:
        for message in place.run(job):
            if isinstance(message, Outcome):
                opened.finish(job.number, message)
            elif isinstance(message, Measurement):
                opened.record(job.number, message)
            elif opened.judge(job.number, message):
                break
            messages -= 1
            if messages == 0:
                return


def test_a_driver_lost_between_judging_a_trial_and_ending_it_judges_the_same_again(
    store: Store, context: WorkerContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = stopping_study()
    place = dataclasses.replace(context, stopping=rule_of(study))
    drive(study, store, place)
    with Store(f"sqlite:///{tmp_path}/other.db") as other:

        def lost(study: str, number: int, outcome: Outcome) -> None:
            if outcome.stopped_rung is None:
                finish(study, number, outcome)
            else:
                raise KeyboardInterrupt

        finish = other.finish_trial
        with monkeypatch.context() as patch:
            patch.setattr(other, "finish_trial", lost)
            with pytest.raises(KeyboardInterrupt):
                drive(study, other, place)
        [waiting] = [t for t in other.trials("small") if t.state is TrialState.WAITING]
        assert other.rungs("small", waiting.number)
        drive(study, other, place)
        assert outcomes(other) == outcomes(store)


def test_a_trial_stopped_early_is_reported_to_the_sampler_without_values(
    store: Store, context: WorkerContext
) -> None:
    study = make_study(budget="trials = 40", run="epochs = 9", stopping="moasha", sampler="tpe")
    drive(study, store, dataclasses.replace(context, stopping=rule_of(study)))
    trials = store.trials("small")
    judge = FeedbackBuilder(study=study, reads_pruned=True, penalties=())
    stopped = [judge.feedback(trial) for trial in trials if trial.stopped_rung]
    assert {(v.state, v.values, bool(v.constraints)) for v in stopped} == {
        (TrialState.PRUNED, None, False)
    }


def test_waiting_trials_come_first(store: Store, tmp_path: Path) -> None:
    study = make_study()
    with StudyDriver(study, store=store, artifacts=tmp_path) as opened:
        assert [job.number for _ in range(3) if (job := opened.next())] == [0, 1, 2]
        opened.finish(1, complete(_job(opened, 1)))
    with StudyDriver(study, store=store, artifacts=tmp_path) as opened:
        assert [job.number for _ in range(3) if (job := opened.next())] == [0, 2, 3]
        assert opened.next() is None


def _job(opened: StudyDriver, number: int) -> Job:
    return opened._running[number][0]


def test_trials_of_a_lost_driver_wait_again_and_the_event_is_kept(
    store: Store, context: WorkerContext
) -> None:
    study = make_study()
    lost = abandoned(study, store, dead_process())
    job = lost.next()
    assert job is not None
    lost.record(job.number, first_epoch(context, job))
    drive(study, store, context)
    assert states(store) == [TrialState.COMPLETE] * 4
    kinds = [(event.kind, event.trial) for event in store.events("small")]
    assert ("requeued", 0) in kinds


def test_epochs_of_interrupted_attempts_count_against_the_budget(
    store: Store, context: WorkerContext
) -> None:
    study = make_study(
        budget="epochs = 7"
    )  # of trials of two epochs: four, or three and a lost one
    lost = abandoned(study, store, dead_process())
    job = lost.next()
    assert job is not None
    lost.record(job.number, first_epoch(context, job))
    drive(study, store, context)
    assert states(store) == [TrialState.COMPLETE] * 3
    assert store.stored_study("small").lost_epochs == 1
    assert store.study_summaries()[0].epochs_trained == 7


def test_epochs_of_a_lost_worker_count_against_the_budget(
    store: Store, context: WorkerContext
) -> None:
    with StudyDriver(make_study(), store=store, artifacts=context.data_dir) as opened:
        job = opened.next()
        assert job is not None
        opened.record(job.number, first_epoch(context, job))
        opened.retry(job.number, "worker lost")
        opened.record(job.number, first_epoch(context, job))
        assert opened._spent._epochs == 1
    assert store.stored_study("small").lost_epochs == 2  # the second attempt was requeued


@pytest.mark.parametrize("loses", ["driver", "worker"])
def test_what_a_trial_trained_before_its_checkpoint_is_counted_and_kept_once(
    loses: str, store: Store, context: WorkerContext
) -> None:
    study, artifacts = make_study(run="epochs = 5"), context.data_dir
    opened = StudyDriver(study, store=store, artifacts=artifacts)
    with opened:
        job = opened.next()
        assert job is not None
        epochs = [m for m in context.run(job) if isinstance(m, Measurement)]
        for measurement in epochs[:4]:
            opened.record(job.number, measurement)
        if loses == "worker":
            opened.retry(job.number, "worker lost")
            opened.resume(job.number, Continuation(measurements=tuple(epochs[:3])))
    if loses == "driver":
        assert store.stored_study("small").lost_epochs == 4
    opened = StudyDriver(study, store=store, artifacts=artifacts)
    with opened:
        job = opened.next()
        assert job is not None
        before = store.stored_study("small").lost_epochs  # of the worker: one, then three more
        opened.resume(job.number, Continuation(measurements=tuple(epochs[:3])))
        assert store.measurements("small", 0) == epochs[:3]
        assert store.stored_study("small").lost_epochs == before - 3 == 1
        assert opened._spent._epochs == 1
        for measurement in epochs[3:]:
            opened.record(job.number, measurement)
        opened.finish(
            job.number, Outcome(state=TrialState.COMPLETE, evaluation=evaluation(job.config))
        )
        assert opened._spent._epochs == 6
    assert store.measurements("small", 0) == epochs
    assert store.trial("small", 0).epochs_done == 5
    assert store.study_summaries()[0].epochs_trained == 6
    assert ("continued", "continues after epoch 3 of 5") in [
        (event.kind, event.message) for event in store.events("small")
    ]


def test_a_repeated_transaction_regains_no_epoch_twice(
    store: Store, context: WorkerContext
) -> None:
    with StudyDriver(make_study(run="epochs = 5"), store=store, artifacts=Path()) as opened:
        job = opened.next()
        assert job is not None
        epochs = [m for m in context.run(job) if isinstance(m, Measurement)]
        opened.record(job.number, epochs[0])
        opened.record(job.number, epochs[1])
        for _ in range(2):  # the answer to the first was lost
            store.lose_attempt("small", job.number)
        assert store.stored_study("small").lost_epochs == 2
        for _ in range(2):
            store.record_continuation("small", job.number, epochs[:1])
        assert store.stored_study("small").lost_epochs == 1


@pytest.mark.parametrize("end", ["complete", "pruned", "failed", "requeued", "left behind"])
def test_a_checkpoint_is_there_as_long_as_its_trial_may_need_it(
    end: str, store: Store, tmp_path: Path
) -> None:
    study = make_study()
    with StudyDriver(study, store=store, artifacts=tmp_path) as opened:
        job = opened.next()
        assert job is not None
        assert job.checkpoint is not None
        path = Path(job.checkpoint)
        path.parent.mkdir(exist_ok=True)
        for file in (path, path.with_name(f"{path.name}.part"), path.with_name("00007.checkpoint")):
            file.write_text("state")
        if end != "requeued":
            state = TrialState.COMPLETE if end == "left behind" else TrialState(end)
            found = evaluation(job.config) if state is TrialState.COMPLETE else None
            opened.finish(job.number, Outcome(state=state, evaluation=found))
            if end == "left behind":
                path.write_text("of a worker that was slower than its driver")
    assert path.exists() == (end in ("requeued", "left behind"))
    with StudyDriver(study, store=store, artifacts=tmp_path):
        assert path.exists() == (end == "requeued")
        assert path.with_name("00007.checkpoint").exists()  # none of ours


def abandoned(study: Study, store: Store, holder: str) -> StudyDriver:
    """A driver that is never left, and whose lease is not renewed."""
    opened = StudyDriver(study, store=store, artifacts=Path(), holder=holder).__enter__()
    opened._lease._ended.set()
    return opened


def first_epoch(context: WorkerContext, job: Job) -> Measurement:
    message = next(iter(context.run(job)))
    assert isinstance(message, Measurement)
    return message


def dead_process() -> str:
    """The identity of a process of this machine that has ended."""
    program = "from search.store.process_identity import new_holder; print(new_holder())"
    words = [sys.executable, "-c", program]
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout.strip()


def test_a_second_driver_is_refused_with_its_holder(store: Store, tmp_path: Path) -> None:
    study = make_study()
    with (
        StudyDriver(study, store=store, artifacts=tmp_path, holder=ANOTHER),
        pytest.raises(LeaseHeldError, match=r"run by another-host:1, whose lease lasts until 2"),
        StudyDriver(study, store=store, artifacts=tmp_path),
    ):
        pass
    with StudyDriver(study, store=store, artifacts=tmp_path):
        assert store.stored_study("small").lease_holder == holder_name(new_holder())
    assert store.stored_study("small").lease_holder is None


def test_the_lease_of_a_dead_process_of_this_host_is_taken_over_at_once(
    store: Store, context: WorkerContext
) -> None:
    study = make_study()
    holder = dead_process()
    abandoned(study, store, holder)
    drive(study, store, context)
    assert [e.message for e in store.events("small") if e.kind == "lease"] == [
        f"{holder_name(holder)} has died; its lease was taken over by {holder_name(new_holder())}"
    ]


def test_a_driver_that_has_lost_its_study_stops_instead_of_writing(
    store: Store, tmp_path: Path
) -> None:
    with StudyDriver(make_study(), store=store, artifacts=tmp_path) as opened:
        job = opened.next()
        assert job is not None
        store.release_lease("small", opened._lease.holder)  # as if it had slept through its lease
        store.acquire_lease("small", ANOTHER, 60)
        opened._lease.renew()
        with pytest.raises(LeaseLostError, match=f"lost the study 'small' to {ANOTHER}"):
            opened.finish(job.number, complete(job))
    assert states(store) == [TrialState.RUNNING]  # it is the other driver's to deal with
    assert store.stored_study("small").lease_holder == ANOTHER


def test_a_run_is_never_run_twice_and_an_exhausted_space_ends_the_study(
    store: Store, context: WorkerContext
) -> None:
    space = 'width = [3, 4, 5]\nreset = ["soft", "hard"]'
    done = drive(make_study(space=space, budget="trials = 50"), store, context)
    configs = [trial.config for trial in store.trials("small")]
    assert len(configs) == len(set(configs)) == 6
    assert done.stopped.startswith("the space is exhausted: 6 different runs were tried")


def test_a_space_is_tried_to_its_last_point_also_by_a_sampler_with_favourites(
    store: Store, context: WorkerContext
) -> None:
    space = "width = { low = 1, high = 40 }"
    study = make_study(space=space, budget="trials = 99", sampler="tpe")
    drive(study, store, context)
    assert sorted(trial.params["width"] for trial in store.trials("small")) == list(range(1, 41))


def test_a_point_that_is_no_run_costs_no_trial_and_is_an_event(
    store: Store, context: WorkerContext
) -> None:
    space = "width = { low = 1, high = 200 }\ninference_timesteps = { low = 1, high = 8 }"
    drive(make_study(space=space, budget="trials = 12"), store, context)
    assert states(store) == [TrialState.COMPLETE] * 12
    events = [event for event in store.events("small") if event.kind == "ruled out"]
    assert events
    assert events[0].message.startswith("the run is invalid: inference_timesteps must be at most")
    of_trials = [
        trial.number
        for trial in store.trials("small")
        for _ in trial.sampler_state.get("ruled_out", [])  # type: ignore[attr-defined]
    ]
    assert of_trials == [event.trial for event in events]


def test_twenty_failed_trials_in_a_row_end_the_study(store: Store, tmp_path: Path) -> None:
    context = WorkerContext(data_dir=tmp_path, trainable=FakeEngine(crash_at_width=7))
    space = "width = 7\nlearning_rate = { low = 1e-3, high = 1e-1 }"
    done = drive(make_study(space=space, budget="trials = 99"), store, context)
    assert done.stopped == "20 trials in a row have failed"
    assert done.has_given_up
    assert states(store) == [TrialState.FAILED] * 20


def test_an_equal_training_is_evaluated_instead_of_repeated(
    store: Store, context: WorkerContext
) -> None:
    space = "width = [3, 4]\ninference_timesteps = { low = 1, high = 4 }"
    drive(make_study(space=space, budget="trials = 6"), store, context)
    trials = store.trials("small")
    trained = [trial for trial in trials if trial.reused_trial is None]
    assert {trial.epochs_done for trial in trained} == {2}
    assert len(trained) == 2
    for trial in trials:
        if trial.reused_trial is not None:
            original = trials[trial.reused_trial].config
            assert trial.config is not None
            assert original is not None
            assert trial.epochs_done == 0
            assert trial.config.training_fingerprint == original.training_fingerprint


def test_weights_that_are_gone_are_trained_again(store: Store, context: WorkerContext) -> None:
    space = "width = [3]\ninference_timesteps = { low = 1, high = 4 }"
    drive(make_study(space=space, budget="trials = 1"), store, context)
    [weights] = context.data_dir.glob("small-*/00000.safetensors")
    weights.unlink()
    drive(make_study(space=space, budget="trials = 2"), store, context)
    assert store.trial("small", 1).epochs_done == 2


def test_the_front_and_the_hypervolume_grow_with_every_trial(
    store: Store, context: WorkerContext
) -> None:
    drive(make_study(budget="trials = 14"), store, context)
    points = store.operating_points("small")
    front = [point for point in points if point.on_front]
    assert front
    assert {point.id for point in front} == {
        point.id for point in front_of(points, ("accuracy", "synaptic_ops"), {})
    }
    records = store.hypervolume("small")
    assert [record.trial for record in records] == list(range(14))
    assert [record.epochs for record in records] == [2 * (n + 1) for n in range(14)]
    settled = [record.value for record in records[front_history.SETTLING - 1 :]]
    assert settled == sorted(settled)


def test_a_driver_killed_between_a_trial_and_its_front_leaves_no_gap(
    store: Store, context: WorkerContext, tmp_path: Path
) -> None:
    study = make_study(budget="trials = 12")
    with Store(f"sqlite:///{tmp_path}/undisturbed.db") as undisturbed:
        drive(study, undisturbed, context)
        with StudyDriver(study, store=store, artifacts=tmp_path) as opened:
            for _ in range(12):
                job = opened.next()
                assert job is not None
                for message in context.run(job):
                    if isinstance(message, Measurement):
                        opened.record(job.number, message)
                    elif job.number == 11:
                        store.finish_trial("small", 11, message)  # and then the driver dies
                    else:
                        opened.finish(job.number, message)
        assert len(store.hypervolume("small")) == 11
        drive(study, store, context)
        for answer in (Store.hypervolume, _front):
            assert answer(store, "small") == answer(undisturbed, "small")


def _front(store: Store, study: str) -> list[tuple[int, int]]:
    points = store.operating_points(study, front_only=True)
    return [(point.trial, point.point.timesteps) for point in points]


def test_a_stop_request_requeues_the_running_trial(
    store: Store, context: WorkerContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leased_run, "POLL_S", 0.0)
    study = make_study()
    with StudyDriver(study, store=store, artifacts=context.data_dir) as opened:
        local_order = opened.next()
        assert local_order is not None
        opened.finish(local_order.number, complete(local_order))
        store.request_stop("small")
        local.run(opened, context)
        assert opened.stopped == "a stop was requested"
    assert TrialState.RUNNING not in states(store)
    drive(study, store, context)  # a new driver is not stopped by an old request
    assert states(store) == [TrialState.COMPLETE] * 4


def test_trained_epochs_end_a_study_whose_budget_they_are(
    store: Store, context: WorkerContext
) -> None:
    done = drive(make_study(budget="epochs = 5"), store, context)
    assert len(states(store)) == 3
    assert done.stopped == "all 5 epochs of the budget were trained"


def test_epochs_that_a_trial_gives_back_when_it_is_stopped_early_are_spent_on_others(
    store: Store, context: WorkerContext, tmp_path: Path
) -> None:
    study = make_study(budget="epochs = 12", run="epochs = 9", stopping="moasha")
    place = dataclasses.replace(context, stopping=rule_of(study))
    with StudyDriver(study, store=store, artifacts=tmp_path) as opened:
        first, second = opened.next(), opened.next()
        assert first is not None
        assert second is not None
        assert not opened.is_ready()
        assert opened.next() is None
        assert opened.stopped == "", "two trials may train 18 epochs, or fewer"
        opened.record(1, next(m for m in place.run(second) if isinstance(m, Measurement)))
        opened.finish(1, Outcome(state=TrialState.PRUNED, stopped_rung=1))
        assert opened.is_ready()
        third = opened.next()
        assert third is not None
        for message in place.run(first):
            if isinstance(message, Measurement):
                opened.record(0, message)
        assert opened.stopped == ""
        opened.finish(0, complete(first))
        assert opened.next() is None
        assert not opened.is_ready(), "10 epochs are trained, and the third is to train 9"
        for message in place.run(third):
            if isinstance(message, Measurement):
                opened.record(2, message)
        opened.finish(2, complete(third))
        assert opened.next() is None
        assert opened.stopped == "all 12 epochs of the budget were trained"


def test_epochs_of_blocks_trained_before_cost_nothing(store: Store, tmp_path: Path) -> None:
    """Also for the driver that comes after: three epochs each, of which two are trained."""
    context = WorkerContext(data_dir=tmp_path, trainable=FakeEngine(reused_epochs=1))
    done = drive(make_study(budget="epochs = 4", run="epochs = 3"), store, context)
    assert len(states(store)) == 2
    assert (done.epochs_reused, done.progress().epochs_done) == (2, 4)
    done = drive(make_study(budget="epochs = 6", run="epochs = 3"), store, context)
    assert [(t.epochs_done, t.epochs_reused) for t in store.trials("small")] == [(2, 1)] * 3
    assert (done.epochs_reused, done.progress().epochs_done) == (1, 6)
    assert [m.is_reused for m in store.measurements("small", 0)] == [True, False, False]
    (summary,) = store.study_summaries()
    assert (summary.epochs_trained, summary.epochs_reused) == (6, 3)


def test_notes_of_trials_are_stored_and_shown_once(store: Store, tmp_path: Path) -> None:
    context = WorkerContext(data_dir=tmp_path, trainable=FakeEngine(notes=("the disk is full",)))
    said: list[str] = []
    watcher = Silent()
    watcher.say = said.append  # type: ignore[method-assign]
    with StudyDriver(make_study(), store=store, artifacts=tmp_path, progress=watcher) as opened:
        local.run(opened, context)
    assert said == ["trial 0  the disk is full"]
    events = [(e.kind, e.trial, e.message) for e in store.events("small")]
    assert events == [("note", 0, "the disk is full")]


def test_a_training_that_could_not_be_reused_is_not_called_reused(
    store: Store, tmp_path: Path
) -> None:
    class Anew(FakeEngine):
        def __call__(self, config: RunConfig, **place: Any) -> FakeRun:
            return super().__call__(config, **{**place, "reuse": None})

    space = "width = [3]\ninference_timesteps = { low = 1, high = 4 }"
    study = make_study(space=space, budget="trials = 2")
    drive(study, store, WorkerContext(data_dir=tmp_path, trainable=Anew()))
    assert [(t.epochs_done, t.reused_trial) for t in store.trials("small")] == [(2, None)] * 2


def test_hours_are_those_of_all_drivers() -> None:
    def hours(*spans: tuple[int, int]) -> BudgetSpent:
        trials = [
            Trial(
                number=number,
                params={},
                state=TrialState.COMPLETE,
                started_at=NOON + datetime.timedelta(minutes=start),
                finished_at=NOON + datetime.timedelta(minutes=end),
            )
            for number, (start, end) in enumerate(spans)
        ]
        return BudgetSpent(Budget(hours=1), trials)

    assert hours((0, 25), (10, 30), (600, 629)).spent() == ""
    assert hours((0, 25), (10, 30), (600, 631)).spent() == "the time of the budget is over: 1 hour"
    left = hours((0, 30)).left_s()
    assert left is not None
    assert 1799 < left <= 1800


def test_a_crash_is_stored_with_its_traceback_and_the_study_continues(
    store: Store, tmp_path: Path
) -> None:
    context = WorkerContext(data_dir=tmp_path, trainable=FakeEngine(crash_at_width=4))
    drive(make_study(space="width = [3, 4, 5, 6]"), store, context)
    assert sorted(states(store)) == [TrialState.COMPLETE] * 3 + [TrialState.FAILED]
    failed = next(t for t in store.trials("small") if t.state is TrialState.FAILED)
    assert failed.reason == "ZeroDivisionError: no such width"
    assert "raise ZeroDivisionError" in failed.error
    assert "fake_engine.py" in failed.error


def test_a_missing_data_set_ends_the_study_instead_of_failing_every_trial(
    store: Store, tmp_path: Path
) -> None:
    def engine(*_: object, **__: object) -> FakeRun:
        raise DataError("no data set here")

    context = WorkerContext(data_dir=tmp_path, trainable=engine)
    with pytest.raises(DataError, match="no data set here"):
        drive(make_study(), store, context)
    assert store.study_summaries() == []  # a study that failed at once is not left behind


def test_a_missing_data_set_does_not_delete_a_study_that_has_trained(
    store: Store, context: WorkerContext
) -> None:
    drive(make_study(budget="trials = 1"), store, context)

    def engine(*_: object, **__: object) -> FakeRun:
        raise DataError("no data set here")

    broken = WorkerContext(data_dir=context.data_dir, trainable=engine)
    with pytest.raises(DataError, match="no data set here"):
        drive(make_study(budget="trials = 2"), store, broken)
    assert states(store) == [TrialState.COMPLETE, TrialState.WAITING]


def test_a_holder_is_gone_only_if_its_end_can_be_seen_from_here() -> None:
    alive, dead = new_holder(), dead_process()
    assert not is_gone(alive)
    assert is_gone(dead)
    name, _, identity = dead.partition("#")
    boot, space, start, token, *_ = identity.split(".")
    for unseen in (
        name,  # as earlier versions stored it
        f"{name}#{'0' * 32}.{space}.{start}.{token}",  # another machine, or before a reboot
        f"{name}#{boot}.1.{start}.{token}",  # another PID namespace
        f"{name}#{token}",  # not on Linux
        "a holder that is no process",
    ):
        assert not is_gone(unseen), unseen
    name, _, identity = alive.partition("#")
    boot, space, start, token, *_ = identity.split(".")
    reused = f"{name}#{boot}.{space}.{int(start) - 1}.{token}"
    assert is_gone(reused)  # the process number belongs to a later process


@pytest.fixture
def earlier_boot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A holder of this machine before its power was lost; its disk is mounted at tmp_path."""
    machine = tmp_path / "machine-id"
    machine.write_text("0123456789abcdef" * 2 + "\n")
    monkeypatch.setattr("search.store.process_identity.MACHINE_ID", machine)
    mounted_as(tmp_path, monkeypatch, "ext4")
    name, _, identity = new_holder().partition("#")
    boot, rest = identity.split(".", 1)
    assert len(rest.split(".")) == 4
    return f"{name}#{'0' * len(boot)}.{rest}"


def mounted_as(folder: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    mounts = folder / "mountinfo"
    place = str(folder.resolve()).replace(" ", "\\040")
    mounts.write_text(
        f"1 0 8:1 / / rw - tmpfs none rw\n2 1 8:2 / {place} rw shared:1 - {kind} x rw\n"
    )
    monkeypatch.setattr("search.store.process_identity.MOUNTS", mounts)


def test_no_process_survives_a_boot_of_its_machine(
    earlier_boot: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "store.db"
    assert is_gone(earlier_boot, file)
    assert not is_gone(earlier_boot)  # a server: two machines may share name and image
    assert not is_gone(earlier_boot, Path("/store.db"))
    name, _, identity = earlier_boot.partition("#")
    assert not is_gone(f"elsewhere:1#{identity}", file)
    assert not is_gone(f"{name}#{identity.rpartition('.')[0]}", file)  # without a machine id
    for kind in ("nfs4", "9p", "virtiofs", "fuse.sshfs", "overlay"):
        mounted_as(tmp_path, monkeypatch, kind)
        assert not is_gone(earlier_boot, file), kind
    (tmp_path / "machine-id").write_text("")
    mounted_as(tmp_path, monkeypatch, "ext4")
    assert not is_gone(earlier_boot.rpartition(".")[0], file)


def test_a_study_continues_at_once_after_the_power_of_its_machine_was_lost(
    store: Store, tmp_path: Path, earlier_boot: str
) -> None:
    study = make_study()
    store.create_study(study)
    store.acquire_lease(study.name, earlier_boot, 3600)  # also where the clock went back
    assert not store.stored_study(study.name).is_running
    with StudyDriver(study, store=store, artifacts=tmp_path):
        assert store.stored_study(study.name).is_running
    assert "has died" in store.events(study.name)[0].message


def test_no_two_holders_are_the_same() -> None:
    assert len({new_holder() for _ in range(100)}) == 100


class Watcher(Silent):
    """Keeps what it was shown."""

    def __init__(self) -> None:
        self.seen: list[StudyProgress] = []

    def update(self, progress: StudyProgress) -> None:
        self.seen.append(progress)

    def finished(self, number: int, outcome: Outcome, progress: StudyProgress) -> None:
        self.seen.append(progress)


def test_progress_shows_trials_counts_and_front(store: Store, context: WorkerContext) -> None:
    watcher = Watcher()
    study = make_study()
    with StudyDriver(study, store=store, artifacts=context.data_dir, progress=watcher) as opened:
        local.run(opened, context)
    middle, last = watcher.seen[1], watcher.seen[-1]
    assert [(t.number, t.epochs_done, t.epochs_total) for t in middle.running] == [(0, 1, 2)]
    assert last.counts[TrialState.COMPLETE] == last.finished == last.trials_asked == 4
    assert (last.running, last.epochs_done, last.left_s) == ((), 8, 0.0)
    points = store.operating_points("small")
    assert last.best_accuracy == max(point.point.metrics["accuracy"] for point in points)
    assert last.front_size == sum(point.on_front for point in points)
    assert last.hypervolume == store.hypervolume("small")[-1].value
