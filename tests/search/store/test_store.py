"""One contract for the store, run on SQLite and, where a server answers, on PostgreSQL."""

import contextlib
import dataclasses
import datetime
import math
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import sqlalchemy

from search.store.schema import REVISION, Base
from search.store.store import LeaseHeldError, LeaseLostError, Store, StoreError
from search.study.study import Study, study_from_toml
from search.trial.confirmation import Confirmed, SeedRun
from search.trial.rung import RungPoint, RungReport
from search.trial.trial import (
    Artifact,
    HypervolumeRecord,
    Outcome,
    Params,
    Timings,
    Trial,
    TrialState,
)
from snn.settings.config import RunConfig
from snn.settings.measurement import (
    METRICS,
    Evaluation,
    ExitReport,
    LayerConnectivity,
    LayerReport,
    Measurement,
    OperatingPoint,
)
from tests.search.postgres import any_server


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="session")
def postgres(backend: str) -> Iterator[sqlalchemy.Engine | None]:
    """The server, when it is its turn."""
    if backend == "sqlite":
        yield None
        return
    with any_server() as server:
        url = sqlalchemy.make_url(server).set(drivername="postgresql+psycopg")
        engine = sqlalchemy.create_engine(
            url, isolation_level="AUTOCOMMIT", connect_args={"connect_timeout": 2}
        )
        yield engine
        engine.dispose()


@contextlib.contextmanager
def a_fresh_url(postgres: sqlalchemy.Engine | None, folder: Path) -> Iterator[str]:
    """A database where nothing is yet; on PostgreSQL a schema, thrown away afterwards."""
    if postgres is None:
        yield f"sqlite:///{folder / 'new' / 'folder' / 'store.db'}"
        return
    schema = f"spikefront_test_{uuid.uuid4().hex}"
    with postgres.connect() as connection:
        connection.exec_driver_sql(f"CREATE SCHEMA {schema}")
    options = {"options": f"-csearch_path={schema}"}
    yield postgres.url.update_query_dict(options).render_as_string(False)
    with postgres.connect() as connection:
        connection.exec_driver_sql(f"DROP SCHEMA {schema} CASCADE")


@pytest.fixture
def fresh_url(postgres: sqlalchemy.Engine | None, tmp_path: Path) -> Iterator[str]:
    with a_fresh_url(postgres, tmp_path) as url:
        yield url


@pytest.fixture(scope="session")
def url(
    postgres: sqlalchemy.Engine | None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """The database that most tests share, since to make one takes longer than to empty it."""
    with a_fresh_url(postgres, tmp_path_factory.mktemp("store")) as url:
        yield url


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    with Store(url) as opened:
        raw(opened, "DELETE FROM studies")
        opened.create_study(a_study())
        yield opened


def raw(store: Store, sql: str, values: dict[str, Any] | None = None) -> list[Any]:
    """What SQL written by a person answers."""
    with store._database.writing() as connection:
        result = connection.execute(sqlalchemy.text(sql), values or {})
        return list(result.all()) if result.returns_rows else []


def a_study(name: str = "digits", *, trials: int | None = 24, fingerprint: str = "f00d") -> Study:
    stand_in = SimpleNamespace(
        name=name,
        question="Which front?",
        text=f'name = "{name}" # {trials} trials',
        objectives=("accuracy", "synaptic_ops"),
        question_fingerprint=fingerprint,
        asks=fingerprint.__eq__,
        budget=SimpleNamespace(trials=trials),
        own_metrics={},
        folder=None,
    )
    return cast(Study, stand_in)


def a_config(**settings: Any) -> RunConfig:
    return RunConfig.from_mapping({"partition": "2+1", **settings})


def a_trial(number: int, *, state: TrialState = TrialState.RUNNING, **fields: Any) -> Trial:
    params: Params = {"dropout": 0.1 + 0.2, "width": 8 + number, "partition": "2+1"}
    fields = {"config": a_config(width=8 + number), **fields}
    return Trial(number=number, params=params, state=state, **fields)


def a_measurement(*, block: int = 1, epoch: int = 1, loss: float = 1.5) -> Measurement:
    return Measurement(
        block=block,
        epoch=epoch,
        epochs_done=10 * (block - 1) + epoch,
        epochs_total=20,
        loss=loss,
        train_accuracy=0.5,
        accuracy=0.25,
        connectivity=1.0,
        spike_rate=0.125,
        regrown=3,
        training_memory_bytes=6_000_000_000,
        wall_s=0.75,
    )


def a_point(*, is_sampled: bool = False, **metrics: float) -> OperatingPoint:
    figures = {name: 1.5 + position for position, name in enumerate(METRICS)}
    return OperatingPoint(
        timesteps=4,
        exit_thresholds=(0.9, 0.1 + 0.2),
        detector_threshold=0.5,
        blocks=2,
        metrics=figures | metrics,
        is_sampled=is_sampled,
    )


def a_rung_report(rung: int = 1, *, accuracy: float = 0.5, epochs_done: int = 2) -> RungReport:
    sampled = {"accuracy": accuracy, "synaptic_ops": 3e9}
    return RungReport(
        rung=rung,
        epochs_done=epochs_done,
        epochs_total=20,
        points=(
            RungPoint(metrics=sampled),
            RungPoint(metrics={**sampled, "synaptic_ops": 1.0}, is_sampled=False),
        ),
    )


def an_outcome(*points: OperatingPoint, **fields: Any) -> Outcome:
    layer = LayerReport(
        block=1,
        name="stem",
        neurons=512,
        weights=5_000_000_000,
        connections=72,
        spikes_per_inference=12.5,
        spike_rate=0.01,
        synaptic_ops=900.0,
        macs=math.inf,
    )
    evaluation = Evaluation(
        points=points or (a_point(), a_point(is_sampled=True, accuracy=0.75)),
        layers=(layer, dataclasses.replace(layer, name="residual", spike_rate=math.nan)),
        exits=(ExitReport(exit=1, label=7, images=30, correct=28, is_hard=True),),
        points_evaluated=400,
        wall_s=0.25,
        images=359,
    )
    fields = {
        "evaluation": evaluation,
        "timings": Timings(training_s=2.5, evaluation_s=0.5),
        "artifact": Artifact(uri="runs/a.safetensors", sha256="ab" * 32, size_bytes=5_000_000_000),
        **fields,
    }
    return Outcome(state=TrialState.COMPLETE, **fields)


def a_seed_run(seed: int, **metrics: float) -> SeedRun:
    return SeedRun(
        seed=seed,
        state=TrialState.COMPLETE,
        training_fingerprint="abcd",
        metrics=a_point(**metrics).metrics,
        images=359,
    )


def finished(store: Store, number: int, *points: OperatingPoint, **fields: Any) -> None:
    """A trial that ran to its end."""
    store.add_trial("digits", a_trial(number))
    store.finish_trial("digits", number, an_outcome(*points, **fields))


class TestStudies:
    def test_a_study_comes_back_as_it_was_given(self, store: Store) -> None:
        study = store.stored_study("digits")
        assert study.name == "digits"
        assert study.toml == a_study().text
        assert study.objectives == ("accuracy", "synaptic_ops")
        assert study.question_fingerprint == "f00d"
        assert study.reference is None
        assert not study.is_running
        assert not study.stop_requested
        age = datetime.datetime.now(datetime.UTC) - study.created_at
        assert datetime.timedelta(0) <= age < datetime.timedelta(minutes=5)

    def test_a_study_that_was_read_from_toml_can_be_read_again(self, store: Store) -> None:
        text = (
            '# Which front?\nname = "read"\nobjectives = ["accuracy", "macs"]\n'
            "[space]\ndropout = { low = 0.0, high = 0.3 }\n[budget]\ntrials = 3\n"
        )
        study = study_from_toml(text, "read.toml")
        store.create_study(study)
        kept = store.stored_study("read")
        assert study_from_toml(kept.toml, "store") == study
        assert kept.question_fingerprint == study.question_fingerprint
        summary = next(one for one in store.study_summaries() if one.name == "read")
        assert (summary.question, summary.trials_asked) == ("Which front?", 3)

    def test_the_same_question_takes_the_new_budget(self, store: Store) -> None:
        store.create_study(a_study(trials=48))
        assert "48 trials" in store.stored_study("digits").toml
        [summary] = store.study_summaries()
        assert summary.trials_asked == 48

    def test_another_question_under_the_same_name_is_refused(self, store: Store) -> None:
        with pytest.raises(StoreError, match=r"study 'digits' in .* created with other settings"):
            store.create_study(a_study(fingerprint="beef"))

    def test_an_unknown_study_is_reported_with_the_nearest_name(self, store: Store) -> None:
        message = r"^no study 'digit' in .*; known: digits; did you mean 'digits'\?$"
        with pytest.raises(StoreError, match=message):
            store.stored_study("digit")
        with pytest.raises(StoreError, match=message):
            store.add_event("digit", "note", "nothing")
        with pytest.raises(StoreError, match=message):
            store.version("digit")
        with pytest.raises(StoreError, match=message):
            store.acquire_lease("digit", "me", 10)

    def test_an_empty_store_says_that_it_has_no_studies(self, store: Store) -> None:
        store.delete_study("digits")
        with pytest.raises(StoreError, match=r"no study 'x' in .*; it has none yet"):
            store.trials("x")

    def test_a_deleted_study_leaves_no_row(self, store: Store) -> None:
        finished(store, 0)
        store.add_trial("digits", a_trial(1))
        store.record_measurement("digits", 1, a_measurement())
        store.add_event("digits", "note", "hello")
        store.update_front("digits", [], hypervolume=[a_record(0)])
        store.delete_study("digits")
        for table in Base.metadata.tables:
            assert raw(store, f"SELECT count(*) FROM {table}") == [(0,)], table

    def test_a_study_that_runs_is_not_deleted(self, store: Store) -> None:
        store.acquire_lease("digits", "other", 60)
        with pytest.raises(LeaseHeldError, match="is being run by other"):
            store.delete_study("digits")

    @pytest.mark.parametrize(
        "name",
        ["'; DROP TABLE studies; --", '"quoted"', "100%s %(x)s :name ?", "µ-学习-🧠", "a\\b\nc"],
    )
    def test_a_hostile_name_is_only_a_name(self, store: Store, name: str) -> None:
        store.create_study(a_study(name))
        store.add_trial(name, a_trial(0, reason=name))
        store.add_event(name, name, name)
        store.acquire_lease(name, name, 60)
        assert store.trial(name, 0).reason == name
        assert store.events(name)[0].kind == name
        assert store.stored_study(name).lease_holder == name
        assert {summary.name for summary in store.study_summaries()} == {name, "digits"}
        store.release_lease(name, name)
        store.delete_study(name)
        assert [summary.name for summary in store.study_summaries()] == ["digits"]


def a_record(trial: int, value: float = 0.5) -> HypervolumeRecord:
    return HypervolumeRecord(trial=trial, epochs=20 * (trial + 1), value=value)


class TestTrials:
    def test_a_trial_comes_back_as_it_was_given(self, store: Store) -> None:
        given = a_trial(0, state=TrialState.WAITING, sampler_state={"generation": 3, "of": [1, 2]})
        store.add_trial("digits", given)
        kept = store.trial("digits", 0)
        assert kept.created_at is not None
        assert kept.created_at.tzinfo is datetime.UTC
        assert dataclasses.replace(kept, created_at=None) == given

    def test_a_trial_without_a_config_is_kept(self, store: Store) -> None:
        store.add_trial("digits", a_trial(0, config=None))
        assert store.trial("digits", 0).config is None

    def test_a_moment_of_another_time_zone_is_read_in_utc(self, store: Store) -> None:
        zone = datetime.timezone(datetime.timedelta(hours=5))
        moment = datetime.datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=zone)
        store.add_trial("digits", a_trial(0, created_at=moment))
        kept = store.trial("digits", 0).created_at
        assert kept == moment
        assert kept.tzinfo is datetime.UTC

    def test_a_used_number_is_refused(self, store: Store) -> None:
        store.add_trial("digits", a_trial(0))
        with pytest.raises(StoreError, match="study 'digits' already has a trial 0"):
            store.add_trial("digits", a_trial(0))

    def test_a_trial_that_is_absent_is_reported_with_the_range(self, store: Store) -> None:
        with pytest.raises(StoreError, match="study 'digits' has no trial 7; it has none yet"):
            store.trial("digits", 7)
        store.add_trial("digits", a_trial(0))
        store.add_trial("digits", a_trial(1))
        with pytest.raises(StoreError, match="has no trial 7; its trials are 0 to 1"):
            store.measurements("digits", 7)

    def test_outcomes_are_read_as_stored(self, store: Store) -> None:
        outcome = an_outcome(reused_trial=4, constraint_violation=2.5)
        store.add_trial("digits", a_trial(0))
        store.finish_trial("digits", 0, outcome)
        trial = store.trial("digits", 0)
        assert trial.state is TrialState.COMPLETE
        assert trial.artifact == outcome.artifact
        assert trial.timings == outcome.timings
        assert trial.reused_trial == 4
        assert trial.constraint_violation == 2.5
        assert outcome.evaluation is not None
        assert trial.sampled == outcome.evaluation.sampled
        assert trial.started_at is not None
        assert trial.finished_at is not None
        assert trial.started_at <= trial.finished_at
        assert [trial] == store.trials("digits")

    def test_an_evaluation_comes_back_as_it_was(self, store: Store) -> None:
        finished(store, 0)
        kept = store.evaluation("digits", 0)
        assert kept is not None
        assert math.isnan(kept.layers[1].spike_rate)
        # repr, since NaN differs from itself
        assert repr(kept) == repr(an_outcome().evaluation)

    def test_a_trial_that_failed_has_its_traceback_and_no_evaluation(self, store: Store) -> None:
        store.add_trial("digits", a_trial(0))
        failed = Outcome(state=TrialState.FAILED, reason="it broke", error="Traceback\n  ...")
        store.finish_trial("digits", 0, failed)
        trial = store.trial("digits", 0)
        assert (trial.state, trial.reason) == (TrialState.FAILED, "it broke")
        assert trial.error == "Traceback\n  ..."
        assert trial.sampled is None
        assert trial.artifact is None
        assert store.evaluation("digits", 0) is None

    def test_characters_that_no_database_stores_are_replaced(self, store: Store) -> None:
        store.add_trial("digits", a_trial(0))
        failed = Outcome(state=TrialState.FAILED, error="nul \0 surrogate \ud800 snow ☃")
        store.finish_trial("digits", 0, failed)
        assert store.trial("digits", 0).error == "nul � surrogate ? snow ☃"

    def test_a_finished_trial_is_not_finished_again(self, store: Store) -> None:
        finished(store, 0)
        message = "trial 0 must be running or waiting, but is complete already"
        with pytest.raises(StoreError, match=message):
            store.finish_trial("digits", 0, an_outcome())
        assert len(store.operating_points("digits")) == 2

    def test_a_transaction_is_stored_completely_or_not_at_all(self, store: Store) -> None:
        store.add_trial("digits", a_trial(0))
        before = store.version("digits")
        twice_sampled = an_outcome(a_point(is_sampled=True), a_point(is_sampled=True))
        with pytest.raises(StoreError):
            store.finish_trial("digits", 0, twice_sampled)
        assert store.trial("digits", 0).state is TrialState.RUNNING
        assert store.operating_points("digits") == []
        assert store.version("digits") == before

    def test_a_waiting_trial_starts_once(self, store: Store) -> None:
        store.add_trial("digits", a_trial(0, state=TrialState.WAITING))
        assert store.trial("digits", 0).started_at is None
        store.start_trial("digits", 0)
        trial = store.trial("digits", 0)
        assert trial.state is TrialState.RUNNING
        assert trial.started_at is not None
        with pytest.raises(StoreError, match="trial 0 must be waiting, but is running already"):
            store.start_trial("digits", 0)

    def test_trials_of_a_lost_driver_wait_again(self, store: Store) -> None:
        finished(store, 0)
        for number in (1, 2):
            store.add_trial("digits", a_trial(number))
        store.record_measurement("digits", 1, a_measurement())
        assert store.requeue_running("digits", "its driver was lost") == [1, 2]
        states = [trial.state for trial in store.trials("digits")]
        assert states == [TrialState.COMPLETE, TrialState.WAITING, TrialState.WAITING]
        assert store.measurements("digits", 1) == []
        assert store.trial("digits", 1).epochs_done == 0
        assert store.trial("digits", 1).started_at is None
        assert [(e.kind, e.trial, e.message) for e in store.events("digits")] == [
            ("requeued", 1, "its driver was lost"),
            ("requeued", 2, "its driver was lost"),
        ]
        assert store.requeue_running("digits", "its driver was lost") == []

    def test_rung_reports_are_read_in_the_order_in_which_they_came(self, store: Store) -> None:
        for number in (0, 1, 2):
            store.add_trial("digits", a_trial(number))
        store.record_rung("digits", 1, a_rung_report())
        store.record_rung("digits", 0, a_rung_report(accuracy=math.nan))
        store.record_rung("digits", 1, a_rung_report(2, epochs_done=7))
        store.record_rung("digits", 2, a_rung_report())
        [unknown] = store.rungs("digits", 0)
        assert math.isnan(unknown.sampled.metrics["accuracy"])
        assert store.rungs("digits", 1) == [a_rung_report(), a_rung_report(2, epochs_done=7)]
        newest = [(n, report.rung) for n, report in store.newest_rungs("digits", 9)]
        assert newest == [(1, 1), (0, 1), (1, 2), (2, 1)]
        newest = [(n, report.rung) for n, report in store.newest_rungs("digits", 1)]
        assert newest == [(1, 2), (2, 1)]

    def test_a_second_report_of_a_rung_replaces_the_first(self, store: Store) -> None:
        for number in (0, 1):
            store.add_trial("digits", a_trial(number))
            store.record_rung("digits", number, a_rung_report())
        store.record_rung("digits", 0, a_rung_report(accuracy=0.75))
        newest = store.newest_rungs("digits", 9)
        assert newest == [(1, a_rung_report()), (0, a_rung_report(accuracy=0.75))]

    def test_reports_of_a_rung_before_that_of_a_trial_are_read(self, store: Store) -> None:
        for number in (0, 1, 2):
            store.add_trial("digits", a_trial(number))
        for number in (2, 0, 1):
            store.record_rung("digits", number, a_rung_report())
        store.record_rung("digits", 1, a_rung_report(2))
        assert [n for n, _ in store.rung_until("digits", 0, 1, count=9)] == [2, 0]
        assert [n for n, _ in store.rung_until("digits", 1, 1, count=2)] == [0, 1]
        assert store.rung_until("digits", 1, 2, count=9) == [(1, a_rung_report(2))]
        assert store.rung_until("digits", 0, 2, count=9) == []

    def test_rung_reports_of_a_requeued_trial_stay(self, store: Store) -> None:
        store.add_trial("digits", a_trial(0))
        store.record_rung("digits", 0, a_rung_report())
        store.requeue_running("digits", "its driver was lost")
        assert store.newest_rungs("digits", 9) == [(0, a_rung_report())]

    def test_where_a_trial_was_stopped_early_comes_back_and_is_counted(self, store: Store) -> None:
        for number, rung in enumerate((2, 1, None, 1)):
            store.add_trial("digits", a_trial(number))
            outcome = Outcome(state=TrialState.PRUNED, reason="why", stopped_rung=rung)
            store.finish_trial("digits", number, outcome)
        assert [trial.stopped_rung for trial in store.trials("digits")] == [2, 1, None, 1]
        [summary] = store.study_summaries()
        assert list(summary.stopped_at.items()) == [(1, 2), (2, 1)]

    def test_measurements_are_read_in_order_and_one_per_epoch(self, store: Store) -> None:
        store.add_trial("digits", a_trial(0))
        second, again = a_measurement(block=2), a_measurement(loss=0.5)
        for measurement in (a_measurement(), second, again):
            store.record_measurement("digits", 0, measurement)
        assert store.measurements("digits", 0) == [again, second]
        store.record_measurement("digits", 0, second)
        assert store.trial("digits", 0).epochs_done == 11

    def test_the_layers_of_an_epoch_come_back(self, store: Store) -> None:
        store.add_trial("digits", a_trial(0))
        layers = (
            LayerConnectivity(name="unit1", weights=2**40, connections=2**39, regrown=3, removed=5),
            LayerConnectivity(
                name="exit1.readout", weights=10, connections=4, regrown=0, removed=2
            ),
        )
        measurement = dataclasses.replace(a_measurement(), layers=layers)
        store.record_measurement("digits", 0, measurement)
        assert store.measurements("digits", 0) == [measurement]
        assert measurement.removed == 7

    @pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf])
    def test_a_figure_that_is_not_finite_survives(self, store: Store, loss: float) -> None:
        store.add_trial("digits", a_trial(0))
        store.record_measurement("digits", 0, a_measurement(loss=loss))
        assert repr(store.measurements("digits", 0)[0].loss) == repr(loss)
        point = a_point(is_sampled=True, training_s=loss)
        store.finish_trial("digits", 0, an_outcome(point))
        sampled = store.trial("digits", 0).sampled
        assert sampled is not None
        assert repr(sampled.metrics["training_s"]) == repr(loss)

    def test_a_finished_trial_measures_nothing_more(self, store: Store) -> None:
        finished(store, 0)
        with pytest.raises(StoreError, match="trial 0 must be running, but is complete already"):
            store.record_measurement("digits", 0, a_measurement())

    def test_scalars_of_numpy_are_kept_as_numbers(self, store: Store) -> None:
        numpy = pytest.importorskip("numpy")
        trial = a_trial(0, sampler_state={"x": numpy.float32(0.5)})
        params: Any = {"width": numpy.int64(8), "dropout": numpy.float64(0.25)}
        store.add_trial("digits", dataclasses.replace(trial, params=params))
        store.record_measurement("digits", 0, a_measurement(epoch=numpy.int64(3)))
        point = a_point(is_sampled=True, accuracy=numpy.float32(0.5), macs=numpy.int64(7))
        store.finish_trial("digits", 0, an_outcome(point))
        assert store.trial("digits", 0).params == {"width": 8, "dropout": 0.25}
        assert store.measurements("digits", 0)[0].epoch == 3
        assert raw(store, "SELECT accuracy, macs FROM operating_points") == [(0.5, 7)]

    def test_a_run_is_found_by_its_config_within_its_study(self, store: Store) -> None:
        fingerprint = a_config(width=8).fingerprint
        assert store.find_run("digits", fingerprint) is None
        store.add_trial("digits", a_trial(0, config=a_config(width=8)))
        assert store.find_run("digits", fingerprint) is None, "it still runs"
        store.finish_trial("digits", 0, Outcome(state=TrialState.PRUNED, reason="diverged"))
        store.add_trial("digits", a_trial(1, config=a_config(width=8)))
        found = store.find_run("digits", fingerprint)
        assert found is not None
        assert found.number == 0
        store.finish_trial("digits", 1, an_outcome())
        found = store.find_run("digits", fingerprint)
        assert found is not None
        assert found.number == 1, "a complete one before any other"
        store.create_study(a_study("other"))
        assert store.find_run("other", fingerprint) is None

    def test_a_training_is_found_in_any_study_if_its_weights_were_kept(self, store: Store) -> None:
        fingerprint = a_config(width=8).training_fingerprint
        for number, artifact in ((0, None), (1, an_outcome().artifact)):
            config = a_config(width=8, exit_threshold=[0.5 + number / 10])
            store.add_trial("digits", a_trial(number, config=config))
            assert store.find_training(fingerprint) is None
            store.finish_trial("digits", number, an_outcome(artifact=artifact))
        assert store.find_training(fingerprint) == ("digits", store.trial("digits", 1))


class TestFront:
    def test_points_come_back_by_trial_with_their_params(self, store: Store) -> None:
        finished(store, 1)
        finished(store, 0)
        points = store.operating_points("digits")
        assert [point.trial for point in points] == [0, 0, 1, 1]
        assert points[2].params == a_trial(1).params
        assert points[2].point == a_point()
        assert not any(point.on_front for point in points)
        assert store.operating_points("digits", 1) == points[2:]

    def test_the_front_is_the_last_one_stored(self, store: Store) -> None:
        finished(store, 0)
        finished(store, 1)
        ids = [point.id for point in store.operating_points("digits")]
        store.update_front("digits", ids[:2])
        store.update_front("digits", ids[1:3])
        front = store.operating_points("digits", front_only=True)
        assert [point.id for point in front] == ids[1:3]
        assert all(point.on_front for point in front)
        assert [p.id for p in store.operating_points("digits", 1, front_only=True)] == ids[2:3]

    def test_the_front_of_another_study_is_left_alone(self, store: Store) -> None:
        finished(store, 0)
        ids = [point.id for point in store.operating_points("digits")]
        store.create_study(a_study("other"))
        store.update_front("other", ids)
        assert store.operating_points("digits", front_only=True) == []

    def test_the_view_answers_people(self, store: Store) -> None:
        finished(store, 0, a_point(), a_point(is_sampled=True, accuracy=0.875))
        ids = [point.id for point in store.operating_points("digits")]
        store.update_front("digits", ids[1:])
        columns = ("study", "trial", "timesteps", *METRICS)
        sql = f"SELECT {', '.join(columns)} FROM pareto_front WHERE study = 'digits'"
        expected = a_point(accuracy=0.875).metrics
        assert raw(store, sql) == [("digits", 0, 4, *expected.values())]
        [everything] = raw(store, "SELECT * FROM pareto_front WHERE study = 'digits'")
        assert set(columns) | {"exit_thresholds"} <= set(everything._fields)
        assert raw(store, "SELECT * FROM pareto_front WHERE study = 'other'") == []

    def test_trials_that_have_finished_can_be_read_without_their_configs(
        self, store: Store
    ) -> None:
        finished(store, 0)
        store.add_trial("digits", a_trial(1))
        done, running = store.trials("digits")
        light = [dataclasses.replace(done, config=None), running]
        assert store.trials("digits", configs=False) == light

    def test_the_weights_of_a_training_are_those_of_its_first_complete_trial(
        self, store: Store
    ) -> None:
        config = a_config(width=8)
        for number in (0, 1, 2):
            store.add_trial("digits", a_trial(number, config=config))
        fingerprint = config.training_fingerprint
        assert store.weights_of("digits", fingerprint) is None
        store.finish_trial("digits", 0, Outcome(state=TrialState.PRUNED))
        store.finish_trial("digits", 2, an_outcome(artifact=None))
        assert store.weights_of("digits", fingerprint) is None
        store.finish_trial("digits", 1, an_outcome())
        assert store.weights_of("digits", fingerprint) == (1, "runs/a.safetensors")
        store.create_study(a_study("other"))
        assert store.weights_of("other", fingerprint) is None

    def test_test_runs_come_back_with_their_means_and_those_stand_in_the_view(
        self, store: Store
    ) -> None:
        finished(store, 0, a_point(), a_point(is_sampled=True))
        one, two = (point.id for point in store.operating_points("digits"))
        store.update_front("digits", [one, two])
        assert store.confirmed("digits") == {}
        for seed, accuracy in ((7, 0.75), (5, 0.25), (7, 0.5)):  # the last one replaces the first
            store.record_test_runs("digits", {one: a_seed_run(seed, accuracy=accuracy)})
        lost = SeedRun(
            seed=8, state=TrialState.PRUNED, training_fingerprint="abcd", reason="diverged"
        )
        store.record_test_runs("digits", {one: lost, two: lost})
        confirmed = store.confirmed("digits")
        expected = (a_seed_run(5, accuracy=0.25), a_seed_run(7, accuracy=0.5), lost)
        assert confirmed == {one: Confirmed(runs=expected), two: Confirmed(runs=(lost,))}
        assert confirmed[one].spread("accuracy").mean == 0.375
        sql = "SELECT test_accuracy, test_accuracy_std, test_seeds FROM pareto_front ORDER BY 3"
        std = pytest.approx(0.125 * math.sqrt(2))
        assert raw(store, sql) == [(None, None, 0), (0.375, std, 2)]
        store.delete_study("digits")
        assert raw(store, "SELECT * FROM test_runs") == raw(store, "SELECT * FROM confirmed") == []

    def test_the_hypervolume_keeps_one_record_per_trial(self, store: Store) -> None:
        reference = {"accuracy": 0.0, "synaptic_ops": 1e6}
        store.update_front("digits", [], reference=reference, hypervolume=[a_record(0, 0.25)])
        store.update_front("digits", [], hypervolume=[a_record(2), a_record(1)])
        assert store.hypervolume("digits") == [a_record(0, 0.25), a_record(2), a_record(1)]
        again = [a_record(trial, 0.75) for trial in (0, 2, 1)]
        store.update_front("digits", [], hypervolume=again)
        assert store.hypervolume("digits") == again
        assert store.stored_study("digits").reference == reference


class TestSummaries:
    def test_a_summary_counts_trials_epochs_and_points(self, store: Store) -> None:
        finished(store, 0)
        store.add_trial("digits", a_trial(1))
        store.record_measurement("digits", 1, a_measurement(block=2, epoch=5))
        ids = [point.id for point in store.operating_points("digits")]
        records = [a_record(0, 0.75), a_record(1, 0.5)]
        store.update_front("digits", ids[:1], hypervolume=records)
        store.acquire_lease("digits", "me", 60)
        [summary] = store.study_summaries()
        assert summary.name == "digits"
        assert summary.question == "Which front?"
        assert summary.objectives == ("accuracy", "synaptic_ops")
        assert {state: n for state, n in summary.counts.items() if n} == {
            TrialState.COMPLETE: 1,
            TrialState.RUNNING: 1,
        }
        assert set(summary.counts) == set(TrialState)
        assert summary.trials_asked == 24
        assert summary.epochs_trained == 15
        assert (summary.front_size, summary.operating_points) == (1, 2)
        assert summary.hypervolume == 0.5, "the newest"
        assert summary.created_at <= summary.last_change_at
        assert summary.is_running
        assert summary.lease_holder == "me"

    def test_the_queries_do_not_grow_with_the_studies(self, store: Store) -> None:
        def queries() -> int:
            seen: list[str] = []
            listener = lambda *event: seen.append(event[2])  # noqa: E731
            engine = store._database._engine
            sqlalchemy.event.listen(engine, "before_cursor_execute", listener)
            store.study_summaries()
            sqlalchemy.event.remove(engine, "before_cursor_execute", listener)
            return sum(sql.lstrip().startswith("SELECT") for sql in seen)

        finished(store, 0)
        one = queries()
        for number in range(5):
            store.create_study(a_study(f"study-{number}"))
        assert queries() == one
        assert next(summary.name for summary in store.study_summaries()) == "digits"

    def test_the_version_changes_with_every_change_and_only_then(self, store: Store) -> None:
        finished(store, 0)
        store.add_trial("digits", a_trial(1, state=TrialState.WAITING))
        store.create_study(a_study("other"))
        changes = (
            lambda: store.create_study(a_study(trials=99)),
            lambda: store.start_trial("digits", 1),
            lambda: store.record_measurement("digits", 1, a_measurement()),
            lambda: store.record_rung("digits", 1, a_rung_report()),
            lambda: store.requeue_running("digits", "lost"),
            lambda: store.finish_trial("digits", 1, an_outcome()),
            lambda: store.add_trial("digits", a_trial(2)),
            lambda: store.update_front("digits", [1]),
            lambda: store.add_event("digits", "note", "hello"),
            lambda: store.acquire_lease("digits", "me", 60),
            lambda: store.request_stop("digits"),
            lambda: store.release_lease("digits", "me"),
        )
        versions = [store.version("digits")]
        for change in changes:
            change()
            versions.append(store.version("digits"))
        assert len(set(versions)) == len(changes) + 1
        store.add_event("other", "note", "hello")
        store.study_summaries()
        assert store.version("digits") == versions[-1]

    def test_a_study_made_anew_has_another_version(self, store: Store) -> None:
        before = store.version("digits")
        store.delete_study("digits")
        store.create_study(a_study())
        assert store.version("digits") != before

    def test_events_come_back_in_order(self, store: Store) -> None:
        store.add_event("digits", "lost", "a worker", trial=3)
        store.add_event("digits", "note", "done")
        first, second = store.events("digits")
        assert (first.kind, first.message, first.trial) == ("lost", "a worker", 3)
        assert (second.kind, second.trial) == ("note", None)
        assert first.at.tzinfo is datetime.UTC
        assert first.at <= second.at


class TestLease:
    def test_a_held_lease_is_refused_with_its_holder_and_end(self, store: Store) -> None:
        store.acquire_lease("digits", "driver-1", 60)
        held = r"study 'digits' is being run by driver-1, whose lease lasts until \d{4}.* UTC"
        with pytest.raises(LeaseHeldError, match=held) as refusal:
            store.acquire_lease("digits", "driver-2", 60)
        assert refusal.value.holder == "driver-1"
        assert refusal.value.until == store.stored_study("digits").lease_until
        assert store.stored_study("digits").is_running

    def test_the_holder_may_take_it_again_and_renew_it(self, store: Store) -> None:
        store.acquire_lease("digits", "me", 60)
        store.acquire_lease("digits", "me", 30)
        first = store.stored_study("digits").lease_until
        store.renew_lease("digits", "me", 3600)
        renewed = store.stored_study("digits").lease_until
        assert first is not None
        assert renewed is not None
        assert renewed > first
        assert store.events("digits") == []

    def test_a_lease_lasts_by_the_clock_of_the_database(
        self, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A machine whose clock is ahead took over leases of others, and had longer ones."""
        ahead = datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=1)
        monkeypatch.setattr("search.store.store._now", lambda: ahead)
        store.acquire_lease("digits", "me", 60)
        until = store.stored_study("digits").lease_until
        assert until is not None
        assert 0 < (until - datetime.datetime.now(datetime.UTC)).total_seconds() <= 61
        with pytest.raises(LeaseHeldError, match="run by me"):
            store.acquire_lease("digits", "other", 60)

    def test_a_released_lease_is_free(self, store: Store) -> None:
        store.acquire_lease("digits", "me", 60)
        store.release_lease("digits", "other")
        assert store.stored_study("digits").lease_holder == "me"
        store.release_lease("digits", "me")
        assert not store.stored_study("digits").is_running
        store.acquire_lease("digits", "other", 60)

    def test_an_expired_lease_is_taken_over_with_an_event(self, store: Store) -> None:
        store.acquire_lease("digits", "lost", -1)
        assert not store.stored_study("digits").is_running
        store.acquire_lease("digits", "next", 60)
        assert store.stored_study("digits").lease_holder == "next"
        [event] = store.events("digits")
        assert event.message == "next took over from lost, whose lease had expired"
        with pytest.raises(LeaseLostError, match="lost the study 'digits' to next: "):
            store.renew_lease("digits", "lost", 60)

    def test_a_lease_that_nobody_has_is_not_renewed(self, store: Store) -> None:
        with pytest.raises(LeaseLostError, match="lost the study 'digits' to another run, which"):
            store.renew_lease("digits", "me", 60)

    def test_of_drivers_that_race_one_wins(self, store: Store, url: str) -> None:
        barrier = threading.Barrier(4)
        won: list[str] = []
        lost: list[str] = []

        def drive(holder: str) -> None:
            with Store(url) as own:
                barrier.wait()
                try:
                    own.acquire_lease("digits", holder, 60)
                except LeaseHeldError as refusal:
                    lost.append(refusal.holder)
                else:
                    won.append(holder)

        in_threads(*(lambda name=f"driver-{n}": drive(name) for n in range(4)))
        assert len(won) == 1
        assert lost == won * 3

    def test_a_stop_is_for_the_driver_that_runs(self, store: Store) -> None:
        store.acquire_lease("digits", "me", 60)
        assert not store.stop_requested("digits")
        store.request_stop("digits")
        store.renew_lease("digits", "me", 60)
        assert store.stop_requested("digits")
        store.release_lease("digits", "me")
        store.acquire_lease("digits", "next", 60)
        assert not store.stop_requested("digits")


def in_threads(*tasks: Any) -> None:
    """Runs the tasks at once; raises what any of them raised."""
    errors: list[BaseException] = []

    def run(task: Any) -> None:
        try:
            task()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(task,)) for task in tasks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(200)
    assert not any(thread.is_alive() for thread in threads)
    if errors:
        raise errors[0]


class TestOpening:
    def test_opening_again_keeps_what_is_there(self, store: Store, url: str) -> None:
        finished(store, 0)
        with Store(url) as again:
            assert again.trials("digits") == store.trials("digits")

    def test_a_reader_sees_what_a_writer_keeps(self, store: Store, url: str) -> None:
        with Store(url, read_only=True) as reader:
            finished(store, 0)
            assert len(reader.trials("digits")) == 1
            with pytest.raises(StoreError, match="is open for reading only"):
                reader.add_trial("digits", a_trial(1))
            with pytest.raises(StoreError, match="is open for reading only"):
                reader.request_stop("digits")

    def test_many_that_open_a_fresh_store_at_once_all_succeed(self, fresh_url: str) -> None:
        barrier = threading.Barrier(4)

        def first() -> None:
            barrier.wait()
            with Store(fresh_url) as store:
                assert store.study_summaries() == []

        in_threads(*[first] * 4)

    def test_writers_of_several_threads_lose_nothing(self, store: Store, url: str) -> None:
        def write(first: int) -> None:
            with Store(url) as own:
                for number in range(first, first + 5):
                    own.add_trial("digits", a_trial(number))
                    own.record_measurement("digits", number, a_measurement())

        in_threads(*(lambda first=n: write(first) for n in (0, 10, 20)))
        assert len(store.trials("digits")) == 15
        assert raw(store, "SELECT revision FROM studies") == [(30,)]

    def test_the_migrations_make_the_tables_that_the_schema_declares(self, store: Store) -> None:
        from alembic.autogenerate import compare_metadata
        from alembic.migration import MigrationContext

        with store._database.reading() as connection:
            options = {"version_table": "spikefront_version", "compare_server_default": True}
            context = MigrationContext.configure(connection, opts=options)
            assert compare_metadata(context, Base.metadata) == []

    def test_the_newest_migration_is_the_revision_of_the_schema(self, store: Store) -> None:
        from alembic.script import ScriptDirectory

        with store._database.migrating() as config:
            assert ScriptDirectory.from_config(config).get_heads() == [REVISION]
        assert raw(store, "SELECT version_num FROM spikefront_version") == [(REVISION,)]

    @pytest.mark.parametrize("read_only", [True, False])
    def test_a_newer_store_is_refused(self, fresh_url: str, read_only: bool) -> None:
        with Store(fresh_url) as store:
            raw(store, "UPDATE spikefront_version SET version_num = '0099'")
        message = (
            r"^\S+ was written by a newer spikefront \(schema 0099\); "
            r"update spikefront, or name another store$"
        )
        with pytest.raises(StoreError, match=message):
            Store(fresh_url, read_only=read_only)

    def test_tables_of_another_program_are_left_alone(self, fresh_url: str) -> None:
        with Store(fresh_url) as store:
            for table in (*reversed(Base.metadata.sorted_tables), "spikefront_version"):
                for view in ("pareto_front", "own_metrics"):
                    raw(store, f"DROP VIEW IF EXISTS {view}")
                raw(store, f"DROP TABLE {table}")
            raw(store, "CREATE TABLE trials (id INTEGER)")
        with pytest.raises(StoreError, match=r"holds tables of another program \(trials\); name"):
            Store(fresh_url)

    def test_an_empty_database_is_no_store_to_read(self, fresh_url: str) -> None:
        with Store(fresh_url) as store:
            raw(store, "DELETE FROM spikefront_version")
        with pytest.raises(StoreError, match=r"no store at .*: run a study first"):
            Store(fresh_url, read_only=True)

    def test_values_that_are_not_json_are_refused_in_one_line(self, store: Store) -> None:
        odd = a_trial(0, sampler_state={"best": math.nan})
        with pytest.raises(StoreError, match=r"^\S+: Out of range float values are not JSON"):
            store.add_trial("digits", odd)
