"""The engine's door: trials become outcomes, whatever happens in them."""

import gc
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from search.pruners.rungs import StoppingRule
from search.study.study import Bound
from search.trial.rung import RungReport
from search.trial.trial import Timings, TrialState
from search.worker import trial_run
from search.worker.engine import cut_weights, evaluate_weights, plan
from search.worker.job import BlockFolder
from search.worker.trial_run import ConfirmationTrialRun, TrialRun, missed_target
from snn.data.dataset import DataError
from snn.settings.config import ConfigError, RunConfig
from snn.settings.measurement import Evaluation, Measurement, OperatingPoint

TINY = RunConfig(
    width=4, epochs=1, train_images=200, partition="1+1+1", head_hidden=16, timesteps=2
)


def test_a_trial_ends_complete_with_its_weights(tmp_path: Path) -> None:
    run = TrialRun(TINY, data_dir=tmp_path, weights_path=tmp_path / "w.safetensors")
    assert [m.block for m in run] == [1, 2, 3]
    outcome = run.outcome
    assert outcome.state is TrialState.COMPLETE
    assert outcome.evaluation is not None
    assert outcome.artifact is not None
    assert Path(outcome.artifact.uri).stat().st_size == outcome.artifact.size_bytes
    again = evaluate_weights(TINY, tmp_path / "w.safetensors", data_dir=tmp_path)
    assert again.points == outcome.evaluation.points


def test_weights_of_the_same_training_are_evaluated_and_not_trained(tmp_path: Path) -> None:
    first = TrialRun(TINY, data_dir=tmp_path, weights_path=tmp_path / "w")
    list(first)
    other = TINY.replace(exit_threshold=(0.1, 0.2))
    second = TrialRun(other, data_dir=tmp_path, reuse=tmp_path / "w")
    assert list(second) == []
    assert second.outcome.evaluation is not None
    assert second.outcome.evaluation.sampled.exit_thresholds == (0.1, 0.2)


def test_weights_of_another_origin_are_trained_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They used to be taken over, whatever data, torch and machine they came from."""
    with monkeypatch.context() as patch:
        patch.setattr("snn.training.environment.engine", lambda: "an older one")
        list(TrialRun(TINY, data_dir=tmp_path, weights_path=tmp_path / "w"))
    other = TINY.replace(exit_threshold=(0.1, 0.2))
    again = TrialRun(other, data_dir=tmp_path, weights_path=tmp_path / "v", reuse=tmp_path / "w")
    assert len(list(again)) == 3
    assert again.outcome.artifact is not None
    assert again.outcome.artifact.uri == str(tmp_path / "v")
    (note,) = again.outcome.notes
    assert "another version" in note


def test_weights_that_are_damaged_are_trained_again(tmp_path: Path) -> None:
    list(TrialRun(TINY, data_dir=tmp_path, weights_path=tmp_path / "w"))
    (tmp_path / "w").write_bytes(b"no weights")
    again = TrialRun(TINY, data_dir=tmp_path, weights_path=tmp_path / "v", reuse=tmp_path / "w")
    assert len(list(again)) == 3
    assert again.outcome.state is TrialState.COMPLETE
    assert "not a spikefront weights file" in again.outcome.notes[0]


def test_a_trial_takes_the_blocks_that_another_one_trained(tmp_path: Path) -> None:
    """Weights file and evaluation are those of training all of it."""
    blocks = BlockFolder(path=tmp_path / "blocks", limit_bytes=10_000_000)
    place = {"data_dir": tmp_path, "blocks": blocks}
    list(TrialRun(TINY.replace(partition="1+1"), **place))  # type: ignore[arg-type]
    run = TrialRun(TINY, weights_path=tmp_path / "w", **place)  # type: ignore[arg-type]
    plain = TrialRun(TINY, weights_path=tmp_path / "v", data_dir=tmp_path)
    assert [(m.epochs_done, m.epochs_reused) for m in run] == [(1, 1), (2, 2), (3, 2)]
    assert [m.epochs_reused for m in plain] == [0, 0, 0]
    assert (tmp_path / "w").read_bytes() == (tmp_path / "v").read_bytes()
    assert run.outcome.evaluation is not None
    assert plain.outcome.evaluation is not None
    assert run.outcome.evaluation.sampled.metrics["accuracy"] == pytest.approx(
        plain.outcome.evaluation.sampled.metrics["accuracy"], abs=0
    )


def test_errors_of_the_block_cache_are_notes_of_the_outcome(tmp_path: Path) -> None:
    blocks = BlockFolder(path=tmp_path / "blocks", limit_bytes=10_000_000)
    list(TrialRun(TINY, data_dir=tmp_path, blocks=blocks))
    for path in blocks.path.iterdir():
        path.write_bytes(path.read_bytes()[:-1])
    run = TrialRun(TINY, data_dir=tmp_path, blocks=blocks)
    assert not any(m.is_reused for m in run)
    assert run.outcome.state is TrialState.COMPLETE
    assert len(run.outcome.notes) == 3
    assert all("removed, trained again" in note for note in run.outcome.notes)


def test_a_diverged_trial_is_pruned(tmp_path: Path) -> None:
    steep = {"learning_rate": 1000.0, "weight_decay": 1000.0, "epochs": 4}
    config = TINY.replace(norm="none", optimizer="sgd", **steep)
    run = TrialRun(config, data_dir=tmp_path)
    list(run)
    assert run.outcome.state is TrialState.PRUNED
    assert "diverged" in run.outcome.reason


RULE = StoppingRule(objectives=("accuracy", "synaptic_ops"))


def rungs_and_epochs(run: TrialRun) -> list[tuple[int, int]]:
    """Where each report comes: its rung, and the epochs that were told before."""
    found, epochs = [], 0
    for message in run:
        if isinstance(message, RungReport):
            assert message.epochs_done == epochs
            found.append((message.rung, epochs))
        else:
            epochs = message.epochs_done
    return found


def test_at_a_rung_the_network_is_measured_as_it_is_then(tmp_path: Path) -> None:
    """A training of another length that ends there has the same network."""
    config = TINY.replace(partition="1+1", epochs=2)
    run = TrialRun(config, data_dir=tmp_path, stopping=RULE)
    reports = [message for message in run if isinstance(message, RungReport)]
    assert [(r.rung, r.epochs_done, r.epochs_total) for r in reports] == [(1, 1, 4), (2, 2, 4)]
    short = TrialRun(config.replace(partition="1"), data_dir=tmp_path)
    list(short)
    assert short.outcome.evaluation is not None
    ended = short.outcome.evaluation.sampled.metrics
    at_rung = reports[1].sampled.metrics
    assert at_rung == {name: ended[name] for name in at_rung}
    assert at_rung.keys() == {"accuracy", "synaptic_ops"}
    plain = TrialRun(config, data_dir=tmp_path)
    list(plain)
    evaluations = [run.outcome.evaluation, plain.outcome.evaluation]
    figures = [
        [{**p.metrics, "training_s": 0} for p in evaluation.points]
        for evaluation in evaluations
        if evaluation is not None
    ]
    assert figures[0] == figures[1], "being measured changes nothing"


def test_the_time_of_evaluations_at_rungs_is_no_training_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A clock that only evaluations move on."""
    now = [0.0]
    evaluate = trial_run.evaluated

    def slow(*arguments: Any) -> Evaluation:
        now[0] += 1.0
        return evaluate(*arguments)

    monkeypatch.setattr(trial_run, "evaluated", slow)
    monkeypatch.setattr(trial_run.time, "perf_counter", lambda: now[0])
    run = TrialRun(TINY.replace(epochs=4), data_dir=tmp_path, stopping=RULE)
    reports = [message for message in run if isinstance(message, RungReport)]
    assert [r.timings for r in reports] == [
        Timings(training_s=0.0, evaluation_s=1.0),
        Timings(training_s=0.0, evaluation_s=2.0),
    ]
    assert run.outcome.timings == Timings(training_s=0.0, evaluation_s=3.0)


def test_a_trial_whose_blocks_were_trained_before_is_judged_where_they_end(tmp_path: Path) -> None:
    config = TINY.replace(partition="1+1", epochs=4)
    blocks = BlockFolder(path=tmp_path / "blocks", limit_bytes=10**9)
    list(TrialRun(config.replace(partition="1"), data_dir=tmp_path, blocks=blocks))
    anew = TrialRun(config, data_dir=tmp_path, stopping=RULE)
    assert rungs_and_epochs(anew) == [(1, 1), (2, 3)]
    reusing = TrialRun(config, data_dir=tmp_path, blocks=blocks, stopping=RULE)
    assert rungs_and_epochs(reusing) == [(2, 4)]


def test_memory_of_a_trial_stopped_at_a_rung_is_freed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from snn.network.network import Network

    alive: list[int] = []

    def networks() -> set[int]:
        return {id(found) for found in gc.get_objects() if type(found) is Network}

    gc.collect()
    earlier = networks()  # of other tests

    def free_memory() -> None:
        alive.append(len(networks() - earlier))

    monkeypatch.setattr(trial_run, "_free_memory", free_memory)
    run = TrialRun(TINY.replace(epochs=4), data_dir=tmp_path, stopping=RULE)
    messages = iter(run)
    while not isinstance(next(messages), RungReport):
        pass
    messages.close()  # type: ignore[attr-defined]  # a generator
    assert alive == [0]


@pytest.mark.parametrize("partition", ["3", "1+2"])
def test_a_network_without_spikes_is_stopped_after_its_first_epoch_as_infeasible(
    tmp_path: Path, partition: str
) -> None:
    config = TINY.replace(partition=partition, threshold=1e6, epochs=3)
    run = TrialRun(config, data_dir=tmp_path)
    assert [m.epochs_done for m in run if isinstance(m, Measurement)] == [1]
    block = " of block 1" if "+" in partition else ""
    assert run.outcome.reason == (
        f"silent: no spikes on validation images after epoch 1{block}; "
        "lower threshold or target_sparsity"
    )
    assert run.outcome.state is TrialState.PRUNED
    assert run.outcome.constraint_violation > 0


def test_a_block_without_spikes_after_one_with_spikes_is_named(tmp_path: Path) -> None:
    config = TINY.replace(partition="1+1", threshold=3.0, learning_rate=1e-3)
    run = TrialRun(config, data_dir=tmp_path)
    rates = [m.spike_rate for m in run if isinstance(m, Measurement)]
    assert rates[0] > 0 == rates[-1]
    assert "silent: no spikes on validation images after epoch 1 of block 2" in run.outcome.reason


@pytest.mark.parametrize(
    ("error", "state"),
    [(MemoryError(), TrialState.PRUNED), (RuntimeError("broken"), TrialState.FAILED)],
)
def test_an_exception_is_an_outcome(
    error: Exception, state: TrialState, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: object) -> Iterator[object]:
        raise error
        yield

    monkeypatch.setattr("snn.training.train.Training.__iter__", broken)
    run = TrialRun(TINY, data_dir=tmp_path)
    list(run)
    assert run.outcome.state is state
    assert ("broken" in run.outcome.error) == (state is TrialState.FAILED)
    assert (run.outcome.constraint_violation > 0) == (state is TrialState.PRUNED)


def test_memory_that_the_processor_does_not_have_is_no_crash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    def hungry(self: object) -> Iterator[object]:
        torch.empty(10**15)
        yield

    monkeypatch.setattr("snn.training.train.Training.__iter__", hungry)
    run = TrialRun(TINY, data_dir=tmp_path)
    list(run)
    assert run.outcome.state is TrialState.PRUNED
    assert "out of memory" in run.outcome.reason


def test_a_network_without_room_in_memory_is_refused_in_a_plan(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def hungry(*_: object) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr("snn.training.plan.plan", hungry)
    message = "width must be lower: this machine has no memory for a width of 60000"
    with pytest.raises(ConfigError, match=message):
        plan(TINY.replace(width=60_000))


@pytest.mark.parametrize(
    ("rewiring", "target", "connectivity", "advice"),
    [
        ("open-loop", 0.9, 0.65, "train for more epochs, or use rewiring 'closed-loop'"),
        ("closed-loop", 0.9, 0.16, "rewiring 'closed-loop' missed .* train for more epochs$"),
        ("deep-r", 0.5, 0.4, "rewiring 'deep-r' missed target_sparsity by more than 0.05"),
        ("open-loop", 0.9, 0.06, None),
        ("open-loop", 0.0, 1.0, None),
    ],
)
def test_a_training_that_missed_its_target_sparsity_is_noted(
    rewiring: str, target: float, connectivity: float, advice: str | None
) -> None:
    note = missed_target(TINY.replace(rewiring=rewiring, target_sparsity=target), connectivity)
    assert (note is None) == (advice is None)
    assert advice is None or re.search(advice, str(note))


def test_the_note_of_a_missed_target_is_part_of_the_outcome(tmp_path: Path) -> None:
    config = TINY.replace(rewiring="open-loop", target_sparsity=0.95, partition="3")
    run = TrialRun(config, data_dir=tmp_path)
    list(run)
    assert run.outcome.state is TrialState.COMPLETE
    assert any("missed target_sparsity" in note for note in run.outcome.notes)


def test_a_run_with_a_lower_bound_over_a_constraint_is_not_trained(tmp_path: Path) -> None:
    smallest = plan(TINY).stage_memory_bytes[0]
    bound = {"training_memory_bytes": Bound(min=None, max=smallest / 2)}
    run = TrialRun(TINY, data_dir=tmp_path, constraints=bound)
    assert list(run) == []
    assert run.outcome.state is TrialState.PRUNED
    assert run.outcome.constraint_violation == pytest.approx(1.0)
    assert "not trained" in run.outcome.reason


def test_a_missing_data_set_is_raised_at_once(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="mnist"):
        TrialRun(TINY.replace(dataset="mnist"), data_dir=tmp_path)


def test_cut_weights_are_those_of_the_prefix(tmp_path: Path) -> None:
    whole = TrialRun(TINY, data_dir=tmp_path, weights_path=tmp_path / "w")
    list(whole)
    config = cut_weights(TINY, tmp_path / "w", 1, tmp_path / "cut")
    assert config.partition == "1"
    evaluation = evaluate_weights(config, tmp_path / "cut", data_dir=tmp_path)
    assert whole.outcome.evaluation is not None
    for point in (p for p in whole.outcome.evaluation.points if p.blocks == 1):
        assert point.metrics in [p.metrics for p in evaluation.points]


def test_a_training_that_confirms_points_has_no_sampled_one(tmp_path: Path) -> None:
    """A note on its target looked for the sampled point, and every confirmation failed."""
    point = OperatingPoint(
        timesteps=1, exit_thresholds=(), detector_threshold=0.5, blocks=1, metrics={}
    )
    run = ConfirmationTrialRun(TINY, points=[point], data_dir=tmp_path)
    list(run)
    assert run.outcome.state is TrialState.COMPLETE, run.outcome.error
    assert run.outcome.evaluation is not None
    assert [p.is_sampled for p in run.outcome.evaluation.points] == [False]


def test_a_network_with_a_silent_layer_is_not_trained_with_screen(tmp_path: Path) -> None:
    config = TINY.replace(threshold=1e6, screen=0.9)
    run = TrialRun(config, data_dir=tmp_path)
    assert list(run) == []
    assert run.outcome.state is TrialState.PRUNED
    assert run.outcome.constraint_violation > 0
    assert "before training 100% of the neurons of a layer are silent" in run.outcome.reason
    usual = TrialRun(TINY.replace(screen=0.9), data_dir=tmp_path)
    assert len(list(usual)) == TINY.total_epochs
