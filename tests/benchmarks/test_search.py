"""The benchmark of strategies: what is recorded, what a replay costs, and who wins."""

import functools
import itertools
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from benchmarks.finished import Finished
from benchmarks.search import __main__ as command
from benchmarks.search import comparison
from benchmarks.search.curves import Bundle, fraction_to_reach, reached
from benchmarks.search.grid import STUDIES, Grid, study_of
from benchmarks.search.ours import Ours
from benchmarks.search.peers import OptunaSearch, RayAsha, SyneMoasha
from benchmarks.search.record import Record
from benchmarks.search.recorder import images_of, record_study, stamp
from benchmarks.search.replay import Curve, Ended, Epoch, epochs_of, replay
from benchmarks.search.strategies import OURS, STRATEGIES
from dashboard.data.references import load_references
from search.front.indicators import normalised_hypervolume
from search.samplers.shared_points import shared_points
from search.study.study import Study, study_from_toml
from search.trial.trial import Params, Trial, TrialState
from search.worker.job import run_config
from search.worker.trial_run import TrialRun
from snn.settings.measurement import OperatingPoint

STUDY = """
name = "tiny"
objectives = ["accuracy", "synaptic_ops", "training_memory_bytes"]
[run]
dataset = "digits"
train_images = 60
backbone = "resnet5"
width = 2
head_hidden = 8
epochs = {epochs}
loss = "each-step"
seed = 0
[space]
partition = {{ max_blocks = 2 }}
exit_threshold = {{ low = 0.5, high = 0.9, step = 0.2 }}
dropout = {{ low = 0.0, high = 0.2, step = 0.2 }}
timesteps = {{ low = 2, high = {timesteps} }}
learning_rate = [{rates}]
"""
TINY = study_from_toml(STUDY.format(epochs=2, timesteps=2, rates="0.01"))
WIDE = study_from_toml(STUDY.format(epochs=9, timesteps=5, rates="0.001, 0.003, 0.01, 0.03, 0.1"))
IMAGES = 200
OBJECTIVES = WIDE.objectives


def recorded(study: Study, tmp_path: Path, said: list[str] | None = None) -> Record:
    """A record of real trainings."""
    finished = Finished(tmp_path / "unfinished", stamp())
    say = (said if said is not None else []).append
    settings = list(record_study(study, data_dir=tmp_path, finished=finished, say=say))
    return Record.of(study, settings, images=images_of(study, tmp_path), made_by=stamp())


def invented(study: Study, accuracy: Callable[[Mapping[str, Any], str, int], float]) -> Record:
    """A record in which setting, chain and epoch decide the accuracy, and depth the costs."""
    grid = Grid.of(study)
    settings = []
    for setting in grid.settings():
        chains = {}
        for chain in grid.chains:
            depth = chain.count("+") + 1
            units = sum(int(part) for part in chain.split("+"))
            entries = []
            for epoch in range(1, int(study.run["epochs"]) + 1):
                right = round(IMAGES * accuracy(setting, chain, epoch))
                ops, latency = 100.0 * units * int(setting["timesteps"]), 4.0 * units
                count = len(grid.thresholds) ** (depth - 1)
                full = [right, ops, latency]
                entries.append(
                    {
                        "measured": [1.0, 0.5, right / IMAGES, 1.0, 0.1],
                        "model_bytes": 1000 * units,
                        "memory_bytes": 5000 * int(setting["timesteps"]) + 100 * units,
                        "sampled": [full] * count,
                        "family": [[depth, 1, right - 10, ops / 2, latency], [depth, 2, *full]],
                    }
                )
            chains[chain] = entries
        settings.append({"chains": chains})
    return Record.of(study, settings, images=IMAGES, made_by={})


def rising(setting: Mapping[str, Any], chain: str, epoch: int) -> float:
    """Who is good at the end is good from the start: the learning rate decides."""
    best = {0.001: 0.3, 0.003: 0.5, 0.01: 0.9, 0.03: 0.6, 0.1: 0.2}[float(setting["learning_rate"])]
    return best * (0.6 + 0.04 * epoch) + 0.01 * chain.count("+")


@functools.cache
def clear() -> Record:
    """A record in which stopping early is right."""
    return invented(WIDE, rising)


@dataclass
class Scripted:
    """A strategy that does what it is told."""

    points: Sequence[Params]
    stop_after: Mapping[int, int] = field(default_factory=dict)  # by trial: epochs
    reuses_blocks: bool = False
    told: list[Ended] = field(default_factory=list)

    def ask(self, number: int) -> Params | None:
        return self.points[number] if number < len(self.points) else None

    def stops(self, number: int, epoch: Epoch) -> bool:
        return epoch.done == self.stop_after.get(number)

    def tell(self, number: int, ended: Ended) -> None:
        self.told.append(ended)


def point(partition: str = "1+1", rate: float = 0.01, timesteps: int = 2, **more: Any) -> Params:
    exits = {f"exit_threshold_{k}": 0.7 for k in range(1, partition.count("+") + 1)}
    return {
        "partition": partition,
        "dropout": 0.0,
        "timesteps": timesteps,
        "learning_rate": rate,
        **exits,
        **more,
    }


def play(strategy: Any, record: Record, budget: int = 1_000) -> Curve:
    reference = record.reference("default")
    return replay(strategy, record, budget=budget, objectives=OBJECTIVES, reference=reference)


def test_a_record_holds_what_training_and_evaluating_give(tmp_path: Path) -> None:
    """Against trials as a study runs them: the sampled point, and the family's front."""
    record = recorded(TINY, tmp_path)
    for partition, dropout in (("2", 0.2), ("1+1", 0.0)):
        params = point(partition, dropout=dropout)
        trial = TrialRun(run_config(TINY, params), data_dir=tmp_path)
        measured = [m for m in trial if hasattr(m, "epochs_done")]
        setting = record.grid.setting_index(params)
        evaluation = trial.outcome.evaluation
        assert evaluation is not None
        thresholds = (0.7,) * partition.count("+")
        sampled = record.sampled(setting, partition, 2, thresholds)
        for name, value in sampled.metrics.items():
            assert value == pytest.approx(evaluation.sampled.metrics[name], abs=1e-2, rel=1e-6)
        assert record.accuracy(setting, partition, 2) == pytest.approx(measured[-1].accuracy)
        reference = {"accuracy": 0.0, "synaptic_ops": 1e4, "training_memory_bytes": 1e7}
        front, kept = (
            [Member(trial=0, point=p) for p in points]
            for points in (record.family(setting, partition, 2), evaluation.points)
        )
        # the sampled point is one of the network's own
        ours = normalised_hypervolume(
            [*front, Member(trial=0, point=sampled)], OBJECTIVES, reference
        )
        assert ours == pytest.approx(normalised_hypervolume(kept, OBJECTIVES, reference), rel=1e-4)


@dataclass(frozen=True)
class Member:
    """See search.front.front.HasPoint."""

    trial: int
    point: OperatingPoint


def test_recording_goes_on_where_it_was_interrupted(tmp_path: Path) -> None:
    said: list[str] = []
    first = recorded(TINY, tmp_path, said)
    assert len(said) == first.settings == 2
    again = recorded(TINY, tmp_path, said)
    assert len(said) == 2
    first.save(tmp_path / "first")
    again.save(tmp_path / "again")
    assert (tmp_path / "first").read_bytes() == (tmp_path / "again").read_bytes()


def test_a_record_comes_back_from_its_file_as_it_was(tmp_path: Path) -> None:
    record = clear()
    record.save(tmp_path / "record")
    loaded = Record.load(tmp_path / "record")
    assert loaded.study == record.study
    for setting, chain, epoch in itertools.product((0, 17), record.grid.chains, (1, 9)):
        thresholds = (0.5,) * chain.count("+")
        assert loaded.family(setting, chain, epoch) == record.family(setting, chain, epoch)
        assert loaded.sampled(setting, chain, epoch, thresholds) == record.sampled(
            setting, chain, epoch, thresholds
        )
    loaded.save(tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == (tmp_path / "record").read_bytes()


@pytest.mark.parametrize("name", STUDIES)
def test_the_questions_are_grids(name: str) -> None:
    grid = Grid.of(study_of(name))
    assert len(grid.settings()) * len(grid.partitions) >= 200
    assert [grid.setting_index(setting) for setting in grid.settings()] == list(
        range(len(grid.settings()))
    )


def test_without_reuse_every_epoch_is_paid() -> None:
    strategy = Scripted([point("1+1"), point("1+1", exit_threshold_1=0.9), point("2")])
    curve = play(strategy, clear())
    assert curve.epochs == (18, 36, 45)
    assert (curve.trials, curve.complete, curve.reused) == (3, 3, 0)


def test_with_reuse_a_block_is_paid_once_for_all_that_begin_with_it() -> None:
    """The second trial has both blocks for nothing; another setting has none."""
    points = [point("1+1"), point("1+1", exit_threshold_1=0.9), point("1+1", rate=0.03)]
    strategy = Scripted(points, reuses_blocks=True)
    curve = play(strategy, clear())
    assert curve.epochs == (18, 18, 36)
    assert curve.reused == 18
    assert [(ended.trained, ended.reused) for ended in strategy.told] == [(18, 0), (0, 18), (18, 0)]


def test_a_stopped_trial_costs_its_epochs_and_leaves_its_finished_blocks() -> None:
    """Stopped in its second block: the first is there for the next trial, the second is not."""
    strategy = Scripted([point("1+1"), point("1+1")], stop_after={0: 11}, reuses_blocks=True)
    curve = play(strategy, clear())
    assert [(ended.trained, ended.reused) for ended in strategy.told] == [(11, 0), (9, 9)]
    assert curve.epochs == (20,)
    assert curve.complete == 1


def test_a_trial_that_the_budget_cuts_off_adds_nothing() -> None:
    curve = play(Scripted([point("2"), point("1+1", rate=0.03)]), clear(), budget=26)
    assert curve.epochs == (9,)
    assert curve.complete == 1
    assert len(play(Scripted([point("2"), point("1+1")]), clear(), budget=27).epochs) == 2


@pytest.mark.parametrize("has_family", [False, True])
def test_the_hypervolume_is_that_of_all_points_so_far(has_family: bool) -> None:
    record = clear()
    points = [
        point(partition, rate, timesteps)
        for partition in ("2", "1+1")
        for rate in (0.001, 0.01)
        for timesteps in (5, 2)
    ]
    curve = play(Scripted(points), record)
    reference = record.reference("default")
    values = curve.family if has_family else curve.sampled
    every: list[Member] = []
    for number, (params, value) in enumerate(zip(points, values, strict=True)):
        setting, partition = record.grid.setting_index(params), str(params["partition"])
        thresholds = (0.7,) * partition.count("+")
        found = [record.sampled(setting, partition, 9, thresholds)]
        found += record.family(setting, partition, 9) if has_family else ()
        every += [Member(trial=number, point=p) for p in found]
        assert value == pytest.approx(
            normalised_hypervolume(every, OBJECTIVES, reference), rel=1e-12
        )


def test_a_sampler_that_hears_families_learns_of_every_threshold_of_the_grid() -> None:
    record = clear()
    (*_, last) = epochs_of(record, point("1+1"), frozenset())
    points = last.on_grid
    assert [p.exit_thresholds for p in points] == [(0.5,), (0.7,), (0.9,)]
    assert [p.is_sampled for p in points] == [False, True, False]
    trial = Trial(
        number=0,
        params=point("1+1"),
        state=TrialState.COMPLETE,
        config=run_config(WIDE, point("1+1")),
        sampled=last.sampled,
    )
    told = shared_points(WIDE, trial, points)
    assert {t.params["exit_threshold_1"] for t in told} == {0.5, 0.9}


MAKERS = {
    "ours": Ours,
    "random": functools.partial(OptunaSearch, sampler="random"),
    "tpe": functools.partial(OptunaSearch, sampler="tpe"),
    "nsga2": functools.partial(OptunaSearch, sampler="nsga2"),
    "asha": RayAsha,
    "moasha": SyneMoasha,
}


@pytest.mark.parametrize("name", MAKERS)
def test_the_same_seed_replays_the_same(name: str) -> None:
    if name == "moasha":
        pytest.importorskip("syne_tune")
    first, second, other = (play(MAKERS[name](clear(), seed), clear(), 90) for seed in (1, 1, 2))
    assert first == second
    assert first != other
    assert first.complete > 0


def test_stopping_wins_where_the_first_epoch_tells_the_last() -> None:
    """At equal epochs, over seeds; and it sees more of the space."""
    judged, never = (
        [
            play(Ours(clear(), seed, stopping=stopping, sampler="random"), clear(), 120)
            for seed in range(5)
        ]
        for stopping in ("moasha", "none")
    )
    assert min(c.trials for c in judged) > max(c.trials for c in never)
    ours, theirs = (Bundle.of(curves, 120).mean for curves in (judged, never))
    assert ours[-1] > theirs[-1]


def test_patched_moasha_lets_go_on_who_dominates_all_and_the_original_does_not() -> None:
    pytest.importorskip("syne_tune")
    record = invented(WIDE, lambda setting, chain, epoch: 0.5)
    better = invented(WIDE, lambda setting, chain, epoch: 0.9)
    kept = {}
    for is_patched in (False, True):
        kept[is_patched] = 0
        for seed in range(30):
            strategy = SyneMoasha(record, seed, is_patched=is_patched)
            for number in range(30):
                strategy.ask(number)
                strategy.stops(number, first_epoch(record, point("2", timesteps=3 + number % 3)))
            strategy.ask(30)
            kept[is_patched] += not strategy.stops(30, first_epoch(better, point("2", timesteps=2)))
    assert kept[True] == 30
    assert kept[False] < 20


def first_epoch(record: Record, params: Params) -> Epoch:
    return Epoch(
        record=record,
        setting=record.grid.setting_index(params),
        chain=str(params["partition"]),
        epoch=1,
        thresholds=(),
        done=1,
        total=9,
        is_reused=False,
    )


def test_the_share_of_the_budget_is_read_off_the_mean_curve() -> None:
    def curve(*steps: tuple[int, float]) -> Curve:
        epochs, values = zip(*steps, strict=True)
        return Curve(epochs=epochs, sampled=values, family=values, trials=1, complete=1, reused=0)

    ours = Bundle.of([curve((10, 0.4), (20, 0.8)), curve((10, 0.6), (40, 0.8))], 100)
    peer = Bundle.of([curve((50, 0.5), (100, 0.7)), curve((50, 0.5), (90, 0.7))], 100)
    assert ours.mean[8:10].tolist() == [0.0, 0.5]
    assert fraction_to_reach(ours, 0.7) == 0.2
    found = reached(ours, {"peer": peer})
    assert found.fraction == 0.2
    assert 0.2 <= found.low <= found.high <= 0.4


def test_a_page_needs_a_peer(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--strategies", OURS, "random+family", "--markdown", "page.md"]
    monkeypatch.setattr(sys, "argv", ["search", *arguments])
    with pytest.raises(SystemExit, match="2"):
        command.main()
    assert "--markdown needs a strategy of ours and a peer" in capsys.readouterr().err


def test_the_command_replays_a_record_and_writes_its_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clear().save(tmp_path / "digits.record")
    monkeypatch.setattr(comparison, "SLOW", frozenset({"optuna-gp"}))  # ax may not be there
    names = [
        name
        for name in STRATEGIES
        if name in ("random", "optuna-gp", "ray-asha", "random+family", OURS, "without-stopping")
    ]
    arguments = ["--quick", "--json", "--records", "digits", "--folder", str(tmp_path)]
    arguments += ["--markdown", str(tmp_path / "page.md"), "--images", str(tmp_path / "images")]
    arguments += ["--curves", str(tmp_path / "digits.toml"), "--slow-seeds", "1"]
    arguments += ["--resume", str(tmp_path / "finished"), "--strategies", *names]
    monkeypatch.setattr(sys, "argv", ["search", *arguments])
    documents = []
    for _ in range(2):
        assert command.main() == 0
        documents.append(json.loads(capsys.readouterr().out))
    first, second = documents
    assert first["figures"] == second["figures"]
    assert "epochs_to_best_peer_hypervolume_digits" in {f["name"] for f in first["figures"]}
    page = (tmp_path / "page.md").read_text()
    assert all(f"| `{name}` |" in page for name in names if name != "optuna-gp")
    assert "| `optuna-gp` (1 seed) |" in page
    assert "2 seeds (fewer where a row says so" in " ".join(page.split())
    ours_last = " ".join([*(name for name in names if name != OURS), OURS])
    assert f"    --strategies {ours_last} \\\n" in page
    for group in ("peers", "parts"):
        picture = (tmp_path / "images" / f"search-digits-{group}.svg").read_text()
        assert picture.startswith("<svg")
        assert picture.count("<polyline") >= 2
    found = load_references(tmp_path)  # as the dashboard does
    assert found.faults == ()
    assert {curve.name for curve in found.curves} == {
        f"{name}, mean of {1 if name == 'optuna-gp' else 2} seeds" for name in names
    }
    result = {figure["name"]: figure["value"] for figure in first["figures"]}
    curves = {curve.name.split(",")[0]: curve for curve in found.curves}
    ratio = curves["without-stopping"].values[-1] / curves[OURS].values[-1]
    assert ratio == pytest.approx(result["hypervolume_without_stopping_vs_ours"], rel=1e-3)
    assert curves[OURS].is_measured_from(clear().reference("default"))
