"""Confirming a front: fresh seeds, the test images, and nothing of it comes back to the search."""

import dataclasses
import json
import math
import signal
import statistics
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from search.commands.cli import main
from search.export.export import at_point, export_point
from search.front.picks import PickError
from search.runners.confirm import ConfirmReport, confirm_study
from search.runners.confirmation_runs import FIRST_SEED, confirmation_runs_of, fresh_seeds
from search.runners.lease import Lease
from search.runners.run import run_study
from search.store.store import LeaseHeldError, Store, StoredPoint
from search.study.study import study_from_toml
from search.trial.confirmation import Confirmed, SeedRun
from search.trial.trial import TrialState
from search.worker import engine, trial_run
from snn.settings.config import RunConfig
from snn.settings.measurement import METRICS, OperatingPoint
from tests import quick
from tests.search import command
from tests.search.fake_engine import FakeEngine
from tests.snn.training.test_stage_checkpoint import Lost, lose_at

STUDY = """
name = "digits"
objectives = ["accuracy", "synaptic_ops", "model_bytes"]
[budget]
trials = {trials}
[run]
dataset = "digits"
train_images = 200
backbone = "resnet5"
width = 4
epochs = 2
timesteps = 2
[space]
partition = {{ max_blocks = 2 }}
learning_rate = {{ low = 1e-3, high = 3e-2, log = true }}
exit_threshold = {{ low = 0.5, high = 0.99 }}
[search]
sampler = "tpe"
seed = 3
"""
TEST_IMAGES = 359  # of the digits
HERE = Path("no-data-sets-here")  # the digits come with scikit-learn


def search(folder: Path, *, trials: int = 3) -> Store:
    """A store with that study, searched; the caller closes it."""
    store = Store(f"sqlite:///{folder}/store.db")
    run_study(
        study_from_toml(STUDY.format(trials=trials)),
        store=store,
        artifacts=folder,
        data_dir=HERE,
        workers=0,
    )
    return store


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Store, Path]]:
    folder = tmp_path_factory.mktemp("searched")
    with search(folder) as store:
        yield store, folder


def confirm(
    store: Store, folder: Path, *picks: str, seeds: int = 2, workers: int = 0
) -> ConfirmReport:
    return confirm_study(
        "digits",
        store=store,
        artifacts=folder,
        data_dir=HERE,
        seeds=seeds,
        picks=picks,
        workers=workers,
    )


def test_every_member_of_the_front_is_trained_with_fresh_seeds_and_run_on_the_test_images(
    searched: tuple[Store, Path],
) -> None:
    store, folder = searched
    front = store.operating_points("digits", front_only=True)
    assert {member.point.blocks for member in front} == {1, 2}  # prefixes are among them
    report = confirm(store, folder)
    assert {member.id for member in report.points} == {member.id for member in front}
    assert report.seeds == (FIRST_SEED, FIRST_SEED + 1)
    assert store.confirmed("digits") == report.confirmed
    for member in front:
        confirmed = report.confirmed[member.id]
        assert [run.seed for run in confirmed.runs] == list(report.seeds)
        assert confirmed.images == TEST_IMAGES
        accuracies = [run.metrics["accuracy"] for run in confirmed.runs]
        spread = confirmed.spread("accuracy")
        assert spread.mean == pytest.approx(statistics.fmean(accuracies))
        assert spread.std == pytest.approx(statistics.stdev(accuracies))
    again = confirm(store, folder)
    assert sum(again.trainings.values()) == 0
    assert again.confirmed == report.confirmed
    with pytest.raises(PickError, match="no point has synaptic_ops<=0"):
        confirm(store, folder, "synaptic_ops<=0")


def test_a_prefix_is_confirmed_as_the_training_of_its_own_blocks(
    searched: tuple[Store, Path], tmp_path: Path
) -> None:
    store, folder = searched
    confirmed = confirm(store, folder).confirmed
    front = store.operating_points("digits", front_only=True)
    member = next(m for m in front if m.point.blocks == 1 and _exits(store, m) == 2)
    config = store.trial("digits", member.trial).config
    assert config is not None
    own = at_point(config.prefix(1), member.point).replace(seed=FIRST_SEED)
    weights = tmp_path / "own.safetensors"
    running = trial_run.TrialRun(own, data_dir=HERE, weights_path=weights)
    list(running)
    test = engine.evaluate_weights(own, weights, data_dir=HERE, test=True).sampled
    [run] = [run for run in confirmed[member.id].runs if run.seed == FIRST_SEED]
    assert _counts(run.metrics) == _counts(test.metrics)


def _exits(store: Store, member: StoredPoint) -> int:
    config = store.trial("digits", member.trial).config
    assert config is not None
    return config.exits


def _counts(metrics: Mapping[str, float]) -> dict[str, float]:
    return {name: value for name, value in metrics.items() if name != "training_s"}


def test_confirming_on_ray_equals_confirming_locally(
    searched: tuple[Store, Path], tmp_path: Path
) -> None:
    store, folder = searched
    report = confirm(store, folder, "knee", seeds=3, workers=1)
    [knee] = report.points
    [on_ray] = [run for run in report.confirmed[knee.id].runs if run.seed == FIRST_SEED + 2]
    config = store.trial("digits", knee.trial).config
    assert config is not None
    here = trial_run.ConfirmationTrainable(points=[knee.point])(
        config.prefix(knee.point.blocks).replace(seed=on_ray.seed),
        data_dir=HERE,
        weights_path=tmp_path / "weights",
    )
    list(here)
    assert here.outcome.evaluation is not None
    assert _counts(on_ray.metrics) == _counts(here.outcome.evaluation.points[0].metrics)


def test_a_crashed_seed_runs_again_and_a_diverged_one_does_not(
    searched: tuple[Store, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, folder = searched
    judge = trial_run.ConfirmationTrialRun._evaluate

    def broken(run: trial_run.ConfirmationTrialRun, trained: object) -> object:
        if run.config.seed == FIRST_SEED + 3:
            raise ZeroDivisionError("no luck")
        return judge(run, trained)  # type: ignore[arg-type]

    monkeypatch.setattr(trial_run.ConfirmationTrialRun, "_evaluate", broken)
    confirm(store, folder, "knee", seeds=3)
    report = confirm(store, folder, "knee", seeds=4)
    [knee] = report.points
    known = report.confirmed[knee.id]
    assert report.trainings == {TrialState.FAILED: 1}
    assert (known.seeds, known.seeds_lost, known.runs[3].metrics) == (3, 1, {})
    assert known.runs[3].reason == "ZeroDivisionError: no luck"
    assert "Traceback" in known.runs[3].error
    monkeypatch.undo()
    mended = confirm(store, folder, "knee", seeds=4)
    assert mended.trainings == {TrialState.COMPLETE: 1}
    assert mended.confirmed[knee.id].seeds == 4
    lost = dataclasses.replace(known.runs[3], state=TrialState.PRUNED, error="")
    store.record_test_runs("digits", {knee.id: lost})
    assert confirm(store, folder, "knee", seeds=4).trainings == {}


def test_the_command_says_what_it_found_and_so_do_front_show_export_and_sql(
    searched: tuple[Store, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store, folder = searched
    words = ["--store", f"sqlite:///{folder}/store.db"]
    places = ["--artifacts", str(folder), "--data", str(HERE), "--workers", "0"]
    picks = ["--pick", "knee", "--pick", "best:accuracy"]
    code = main(["confirm", "digits", "--seeds", "2", *picks, *words, *places, "--json"])
    out, err = capsys.readouterr()
    document = json.loads(out)
    assert (code, document["seeds"], document["stopped"]) == (0, [1000, 1001], "")
    assert "test accuracy: mean of the networks trained again" in err
    confirmed = document["points"][0]["confirmed"]
    accuracy = confirmed["metrics"]["accuracy"]
    assert f"{100 * accuracy['mean']:.1f} ± {100 * accuracy['std']:.1f} %" in err

    assert main(["front", "digits", *words, "--json"]) == 0
    points = json.loads(capsys.readouterr().out)["points"]
    assert all(point["confirmed"]["images"] == TEST_IMAGES for point in points)
    member = store.operating_points("digits", front_only=True)[0]
    assert main(["show", "digits", str(member.trial), *words, "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)["points"]
    assert [point["confirmed"] is not None for point in shown] == [p["on_front"] for p in shown]

    exported = export_point(store, "digits", member, tmp_path / "out", data_dir=HERE)
    known = store.confirmed("digits")[member.id]
    assert exported.content.confirmed == known
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert metrics["confirmed"]["metrics"]["accuracy"]["mean"] == known.spread("accuracy").mean
    card = (tmp_path / "out" / "README.md").read_text()
    assert f"trained again with {known.seeds} other seeds" in card

    with store._database.reading() as connection:
        sql = "SELECT test_accuracy, test_accuracy_std, test_seeds FROM pareto_front"
        rows = [tuple(row) for row in connection.exec_driver_sql(sql)]
    spreads = [(c.spread("accuracy"), c.seeds) for c in store.confirmed("digits").values()]
    assert sorted(rows) == sorted((spread.mean, spread.std, seeds) for spread, seeds in spreads)


def start(folder: Path) -> quick.Module:
    words = ["--seeds", "4", "--workers", "0", "--artifacts", str(folder), "--data", str(HERE)]
    store = ["--store", f"sqlite:///{folder}/store.db"]
    return command.start("confirm", "digits", *words, *store, halts_at=" trainings]")


def test_finished_trainings_are_not_repeated_after_a_kill_or_an_interrupt(tmp_path: Path) -> None:
    search(tmp_path, trials=2).close()
    done = 0
    for number in (signal.SIGKILL, signal.SIGINT):
        process = start(tmp_path)
        assert process.stderr is not None
        for line in process.stderr:
            if " trainings]" in line:
                break
        process.send_signal(number)
        rest = process.communicate(timeout=120)[1]
        assert process.returncode == (-number if number == signal.SIGKILL else 130), rest
        with Store(f"sqlite:///{tmp_path}/store.db") as store:
            runs = sum(len(confirmed.runs) for confirmed in store.confirmed("digits").values())
            assert (store.stored_study("digits").lease_holder is None) == (number == signal.SIGINT)
        assert runs > done
        done = runs
    with Store(f"sqlite:///{tmp_path}/store.db") as store:
        left = trainings(store, seeds=4)
        report = confirm(store, tmp_path, seeds=4)
        assert report.trainings == {TrialState.COMPLETE: left}
        assert all(confirmed.seeds == 4 for confirmed in report.confirmed.values())


def trainings(store: Store, *, seeds: int) -> int:
    """How many are left to do."""
    front = store.operating_points("digits", front_only=True)
    configs = {t.number: t.config for t in store.trials("digits") if t.config}
    fresh = fresh_seeds(seeds, {0})
    return len(confirmation_runs_of(front, configs, fresh, store.confirmed("digits")))


@pytest.mark.parametrize("is_anew", [False, True])
def test_a_training_that_was_lost_continues_in_the_next_call_or_says_why_not(
    is_anew: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("snn.training.stage_checkpoint.SHARE", math.inf)
    monkeypatch.setattr("snn.training.stage_checkpoint.FIRST_S", 0.0)
    with search(tmp_path, trials=1) as store:
        with monkeypatch.context() as patch:
            lose_at(5, patch)  # of four batches an epoch
            with pytest.raises(Lost):
                confirm(store, tmp_path, seeds=1)
        assert len(list(tmp_path.rglob("*.checkpoint"))) == 1
        if is_anew:
            monkeypatch.setattr("snn.training.environment.engine", lambda: "of another version")
        report = confirm(store, tmp_path, seeds=1)
        assert report.trainings == {TrialState.COMPLETE: 1}
        kinds = ("anew", "continued")
        (said,) = [event.message for event in store.events("digits") if event.kind in kinds]
        assert said.startswith("begins at epoch 1: " if is_anew else "continues after epoch 1 of ")
    assert not list(tmp_path.rglob("*.checkpoint"))


def test_a_study_that_is_being_searched_is_not_confirmed(searched: tuple[Store, Path]) -> None:
    store, folder = searched
    refused = pytest.raises(LeaseHeldError, match="is being run by elsewhere:1")
    with Lease(store, "digits", holder="elsewhere:1"), refused:
        confirm(store, folder)


def test_seeds_that_the_study_has_trained_with_are_not_fresh() -> None:
    assert fresh_seeds(3, {0, FIRST_SEED, FIRST_SEED + 2}) == (1001, 1003, 1004)


def member(identity: int, trial: int, blocks: int) -> StoredPoint:
    point = OperatingPoint(
        timesteps=2,
        exit_thresholds=(0.5,) * (blocks - 1),
        detector_threshold=0.5,
        blocks=blocks,
        metrics=dict.fromkeys(METRICS, 1.0),
    )
    return StoredPoint(id=identity, trial=trial, params={}, point=point, on_front=True)


def test_a_training_confirms_all_its_points_and_trains_no_unused_block() -> None:
    whole = RunConfig(partition="1+1+1", exit_threshold=(0.5, 0.6))
    later = whole.replace(exit_threshold=(0.7, 0.8))  # another point of the same training
    joint = whole.replace(space_rule="end-to-end")
    members = [member(1, 0, 1), member(2, 0, 2), member(3, 1, 2), member(4, 2, 3)]
    found = confirmation_runs_of(members, {0: whole, 1: later, 2: joint}, (7, 8), {})
    told = [(t.config.seed, t.config.partition, [m.id for m in t.points]) for t in found]
    of_a_seed = [("1+1+1", [4]), ("1+1", [1, 2, 3])]
    assert told == [(seed, *training) for seed in (7, 8) for training in of_a_seed]
    crashed = SeedRun(seed=7, state=TrialState.FAILED, training_fingerprint="")
    diverged = dataclasses.replace(crashed, state=TrialState.PRUNED)
    done = {1: Confirmed(runs=(diverged,)), 2: Confirmed(runs=(crashed,))}
    left = confirmation_runs_of(members[:2], {0: whole}, (7,), done)
    assert [(t.config.partition, [m.id for m in t.points]) for t in left] == [("1+1", [2])]


FAKE = """
name = "digits"
objectives = ["accuracy", "synaptic_ops"]
[budget]
trials = {trials}
[space]
width = {{ low = 1, high = 200 }}
timesteps = {{ low = 1, high = 16 }}
[search]
sampler = "tpe"
"""


def fake_search(folder: Path, *, trials: int) -> Store:
    store = Store(f"sqlite:///{folder}/store.db")
    study = study_from_toml(FAKE.format(trials=trials))
    run_study(study, store=store, artifacts=folder, data_dir=HERE, workers=0, engine=FakeEngine())
    return store


def test_nothing_that_chooses_or_stops_trials_knows_of_test_figures() -> None:
    search = Path(engine.__file__).parents[1]
    wings = ("samplers", "pruners", "front", "runners", "trial")
    files = [file for wing in wings for file in (search / wing).glob("*.py")]
    assert len(files) > 30
    knowing = {f.name for f in files if "test_run" in f.read_text() or "confirmed" in f.read_text()}
    assert knowing <= {"confirm.py", "confirmation_runs.py", "confirmation.py"}


def test_test_figures_change_nothing_that_a_search_does_next(tmp_path: Path) -> None:
    """A sampler is told of changed validation figures, never of test figures."""
    known: dict[str, list[object]] = {}
    for case in ("undisturbed", "test figures", "validation figures"):
        folder = tmp_path / case
        folder.mkdir()
        with fake_search(folder, trials=14) as store:
            front = store.operating_points("digits", front_only=True)
            if case == "test figures":
                absurd = dict.fromkeys(METRICS, 1e9)
                run = SeedRun(
                    seed=1, state=TrialState.COMPLETE, training_fingerprint="", metrics=absurd
                )
                store.record_test_runs("digits", {point.id: run for point in front})
            if case == "validation figures":
                with store._database.writing() as connection:
                    connection.exec_driver_sql("UPDATE operating_points SET accuracy = trial_id")
        with fake_search(folder, trials=24) as store:
            known[case] = [trial.params for trial in store.trials("digits")]
    assert known["test figures"] == known["undisturbed"]
    assert known["validation figures"] != known["undisturbed"]
