"""A run of a user's function: what it reports, and each fault told as what it is."""

import math
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from search.pruners.rungs import StoppingRule
from search.study.study import Study
from search.study.tables import Bound
from search.trial.function_config import FunctionConfig
from search.trial.rung import RungReport
from search.trial.trial import Outcome, TrialState
from search.worker.context import WorkerContext
from search.worker.function_run import FunctionTrainable, TrainingContext
from search.worker.job import Job
from snn.settings.measurement import METRICS, Measurement, Metric

OWN = Metric(name="energy_uj", unit="uJ", better="lower", meaning="on the board")
GOOD = {"accuracy": 0.9, "energy_uj": 2.0}
Reports = Iterator[Any]


def run(
    function: Callable[..., Any],
    *,
    target: Path | None = None,
    epochs: int = 0,
    stopping: StoppingRule | None = None,
    trial_s: float | None = None,
    constraints: dict[str, Bound] | None = None,
    **changes: Any,
) -> tuple[list[Any], Outcome]:
    """What a function of two objectives reports, and its outcome."""
    trainable = FunctionTrainable(
        train="mine:train",
        folder=None,
        objectives=("accuracy", "energy_uj"),
        metrics={**METRICS, "energy_uj": OWN},
        function=function,
        **changes,
    )
    context = WorkerContext(
        data_dir=Path("data"),
        trainable=trainable,
        stopping=stopping,
        trial_s=trial_s,
        constraints=constraints or {},
    )
    params = {"width": 3, **({"epochs": epochs} if epochs else {})}
    config = FunctionConfig(train="mine:train", params=params, seed=5)
    weights = None if target is None else str(target)
    *messages, outcome = context.run(Job(number=0, config=config, weights=weights))
    assert isinstance(outcome, Outcome)
    return messages, outcome


def good(params: Any, context: Any) -> Reports:
    yield {"accuracy": 0.5, "energy_uj": 3.0, "loss": 1.5}
    yield {"accuracy": np.float32(0.75), "energy_uj": np.array(2.5)}
    return {"accuracy": 0.9, "energy_uj": 2.0, "macs": 7}


def test_epochs_are_measurements_and_the_result_is_an_operating_point() -> None:
    messages, outcome = run(good)
    assert outcome.state is TrialState.COMPLETE, outcome.error
    assert [m.epoch for m in messages] == [1, 2]
    assert all(isinstance(m, Measurement) for m in messages)
    assert (messages[0].loss, messages[0].accuracy) == (1.5, 0.5)
    assert messages[1].metrics == {"accuracy": 0.75, "energy_uj": 2.5}
    assert outcome.evaluation is not None
    (point,) = outcome.evaluation.points
    assert point.is_sampled
    assert list(point.metrics)[:2] == ["accuracy", "energy_uj"]
    assert point.metrics["macs"] == 7
    assert point.metrics["training_s"] > 0


def test_without_a_result_the_last_epoch_is_it() -> None:
    def train(params: Any, context: Any) -> Reports:
        yield {**GOOD, "accuracy": 0.1}
        yield {**GOOD, "loss": 0.5}

    _, outcome = run(train)
    assert outcome.evaluation is not None
    assert outcome.evaluation.sampled.metrics["accuracy"] == 0.9


def test_several_operating_points_have_names() -> None:
    def train(params: Any, context: Any) -> Reports:
        yield GOOD
        return [GOOD, {**GOOD, "energy_uj": 1.0}, {**GOOD, "point": "T=2"}]

    _, outcome = run(train)
    assert outcome.evaluation is not None
    assert [p.label for p in outcome.evaluation.points] == ["1", "2", "T=2"]
    assert [p.is_sampled for p in outcome.evaluation.points] == [True, False, False]
    _, tested = run(train, part="test", labels=("T=2", "1"))
    assert tested.evaluation is not None
    assert [p.label for p in tested.evaluation.points] == ["T=2", "1"]
    _, lost = run(train, part="test", labels=("T=9",))
    assert lost.reason == "result: has no operating point 'T=9' on the test data"


def test_the_function_is_told_its_seed_part_and_folder(tmp_path: Path) -> None:
    seen: list[TrainingContext] = []

    def train(params: Any, context: TrainingContext) -> Reports:
        seen.append(context)
        assert params == {"width": 3}
        (context.folder / "model.txt").write_text("weights")
        (context.folder / "plots").mkdir()
        (context.folder / "plots" / "a.txt").write_text("plot")
        yield GOOD

    _, outcome = run(train, target=tmp_path / "0.zip", part="test")
    assert (seen[0].seed, seen[0].part, seen[0].data) == (5, "test", Path("data"))
    assert outcome.artifact is not None
    with zipfile.ZipFile(outcome.artifact.uri) as archive:
        assert sorted(archive.namelist()) == ["model.txt", "plots/a.txt"]
    assert [p.name for p in tmp_path.iterdir()] == ["0.zip"]
    _, again = run(train, target=tmp_path / "1.zip")
    assert again.artifact is not None
    assert again.artifact.sha256 == outcome.artifact.sha256


def test_without_files_there_is_no_artifact(tmp_path: Path) -> None:
    _, outcome = run(good, target=tmp_path / "0.zip")
    assert outcome.artifact is None
    assert list(tmp_path.iterdir()) == []


def test_another_attempt_finds_the_checkpoint_of_the_one_that_died(tmp_path: Path) -> None:
    found: list[str | None] = []

    def train(params: Any, context: TrainingContext) -> Reports:
        found.append(context.checkpoint and context.checkpoint.read_text())
        start = 1 if found[-1] is None else int(str(found[-1])) + 1
        for epoch in range(start, 5):
            (context.folder / "checkpoint.txt").write_text(str(epoch))
            yield {**GOOD, "epoch": epoch}
            if epoch == 2 and start == 1:
                raise KeyboardInterrupt  # as when its driver is stopped

    with pytest.raises(KeyboardInterrupt):
        run(train, target=tmp_path / "0.zip", epochs=4)
    messages, outcome = run(train, target=tmp_path / "0.zip", epochs=4)
    assert found == [None, "2"]
    assert [m.epoch for m in messages] == [3, 4]
    assert outcome.state is TrialState.COMPLETE
    assert [p.name for p in tmp_path.iterdir()] == ["0.zip"]


def test_rungs_are_reported_with_objectives_and_constraints() -> None:
    def train(params: Any, context: Any) -> Reports:
        for epoch in range(9):
            yield {**GOOD, "energy_uj": float(epoch)}

    rule = StoppingRule(objectives=("accuracy", "energy_uj"), metrics={**METRICS, OWN.name: OWN})
    messages, outcome = run(train, epochs=9, stopping=rule)
    rungs = [m for m in messages if isinstance(m, RungReport)]
    assert [(r.rung, r.epochs_done) for r in rungs] == [(1, 1), (2, 3)]
    assert rungs[1].sampled.metrics == {"accuracy": 0.9, "energy_uj": 2.0}
    assert outcome.state is TrialState.COMPLETE


def yields(*reports: Any, result: Any = None) -> Callable[..., Any]:
    def train(params: Any, context: Any) -> Reports:
        yield from reports
        return result

    return train


def raises(error: BaseException) -> Callable[..., Any]:
    def train(params: Any, context: Any) -> Reports:
        yield GOOD
        raise error

    return train


PRUNED, FAILED = TrialState.PRUNED, TrialState.FAILED


@pytest.mark.parametrize(
    ("train", "state", "reason"),
    [
        (raises(ZeroDivisionError("no such width")), FAILED, "ZeroDivisionError: no such width"),
        (raises(SystemExit(3)), FAILED, "SystemExit: 3"),
        (raises(MemoryError()), PRUNED, "out of memory: use a smaller batch or network"),
        (yields({**GOOD, "accuracy": math.nan}), PRUNED, "diverged: epoch 1: accuracy is nan"),
        (yields(GOOD, {"loss": math.inf}), PRUNED, "diverged: epoch 2: loss is inf"),
        (yields({**GOOD, "energy_u": 1}), FAILED, "epoch 1: reports 'energy_u', which [metrics] "
         "does not declare; did you mean 'energy_uj'?"),
        (yields({"accuracy": 0.5}), FAILED,
         "result: reports no energy_uj, which is an objective of the study"),
        (yields(GOOD, result={"accuracy": 0.5}), FAILED,
         "result: reports no energy_uj, which is an objective of the study"),
        (yields(GOOD, result=[]), FAILED,
         "result: must have at least one operating point, got an empty list"),
        (yields(GOOD, result=[GOOD, 3]), FAILED,
         "result, point 2: must report metrics like {'accuracy': 0.9}, got int"),
        (yields(GOOD, result=[{**GOOD, "point": "a"}, {**GOOD, "point": "a"}]), FAILED,
         "result, point 2: must have a name of its own, got 'a' again"),
        (yields(result=GOOD), FAILED,
         "mine:train yielded nothing: it must `yield` its metrics after each epoch"),
        (yields(0.93), FAILED, "epoch 1: must report metrics like {'accuracy': 0.9}, got float"),
        (yields({"accuracy": "high"}), FAILED, "epoch 1: accuracy must be a number, got str"),
        (yields({"accuracy": True}), FAILED, "epoch 1: accuracy must be a number, got bool"),
        (yields({"accuracy": 93.0}), FAILED,
         "epoch 1: accuracy must be a fraction from 0 to 1, got 93"),
        (yields({"macs": -1}), FAILED, "epoch 1: macs must be at least 0, got -1"),
        (yields({**GOOD, "epoch": 0}), FAILED, "epoch must be an integer above 0, got 0"),
    ],
)  # fmt: skip
def test_a_fault_is_told_as_what_it_is(
    train: Callable[..., Any], state: TrialState, reason: str
) -> None:
    _, outcome = run(train)
    assert (outcome.state, outcome.reason) == (state, reason)
    assert bool(outcome.error) == reason.startswith(("ZeroDivision", "SystemExit"))


def test_a_missing_constrained_metric_is_told() -> None:
    _, outcome = run(yields(GOOD), constraints={"model_bytes": Bound(max=1.0)})
    assert (
        outcome.reason
        == "result: reports no model_bytes, which is a constrained metric of the study"
    )


def test_a_function_that_hangs_ends_at_its_time_limit() -> None:
    def train(params: Any, context: Any) -> Reports:
        yield GOOD
        while True:
            time.sleep(0.01)

    messages, outcome = run(train, trial_s=2.0)
    assert len(messages) == 1
    assert outcome.state is TrialState.PRUNED
    assert outcome.reason.startswith("took longer than budget.trial_minutes")


def test_what_a_function_does_when_it_is_stopped_harms_nobody() -> None:
    def train(params: Any, context: Any) -> Reports:
        try:
            while True:
                yield GOOD
        finally:
            raise RuntimeError("of its end")

    trainable = FunctionTrainable(
        train="mine:train", folder=None, objectives=("accuracy",), metrics=METRICS, function=train
    )
    context = WorkerContext(data_dir=Path("data"), trainable=trainable)
    config = FunctionConfig(train="mine:train", params={})
    messages = context.run(Job(number=0, config=config, weights=None))
    next(messages)
    messages.close()


def test_remarks_are_notes() -> None:
    _, outcome = run(yields(GOOD, {**GOOD, "energy_uj": -1.0}), epochs=1)
    assert outcome.notes == (
        "reports more epochs than its 1 of `epochs`",
        "energy_uj is better than its ideal (0), which hypervolumes count as the best: give "
        "metrics.energy_uj.ideal",
    )


def test_a_function_that_is_missing_concerns_all_trials(tmp_path: Path) -> None:
    from search.study.own_training import FunctionError

    trainable = FunctionTrainable(
        train="nowhere:train", folder=tmp_path, objectives=("accuracy",), metrics=METRICS
    )
    context = WorkerContext(data_dir=Path("data"), trainable=trainable)
    config = FunctionConfig(train="nowhere:train", params={})
    with pytest.raises(FunctionError, match="has no module 'nowhere'"):
        list(context.run(Job(number=0, config=config, weights=None)))
    assert "nowhere" not in sys.modules
    assert Study
