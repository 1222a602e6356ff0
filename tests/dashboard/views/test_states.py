"""Studies that are odd: each page says what is so, and none shows a traceback."""

import dataclasses
import math
from pathlib import Path

import pytest

from search.store.store import Store
from search.study.study import study_from_toml
from search.trial.trial import Outcome, TrialState
from snn.settings.config import RunConfig
from snn.settings.measurement import METRICS, Evaluation
from tests.dashboard.example_store import TOML, example_trials
from tests.dashboard.views.test_views import shown, words

FIVE = '["accuracy", "synaptic_ops", "training_memory_bytes", "model_bytes", "latency_steps"]'
LOOKS = ("slices", "pairs", "parallel", "partitions", "time")


def store_with(
    path: Path, *, objectives: str = FIVE, odd: bool = False, one_block: bool = False
) -> str:
    """A study of a dozen trials; `odd` values are infinite, missing or 0 here and there."""
    url = f"sqlite:///{path}"
    text = TOML.format(name="odd", trials=12)
    text = text.replace('["accuracy", "synaptic_ops", "training_memory_bytes"]', objectives)
    with Store(url) as store:
        store.create_study(study_from_toml(text))
        for each in example_trials(14):
            outcome = each.outcome
            if outcome is None or outcome.evaluation is None:
                continue
            trial, number = each.trial, each.trial.number
            evaluation = outcome.evaluation
            if one_block:
                trial = dataclasses.replace(trial, config=RunConfig(backbone="mlp", partition=""))
                points = [p for p in evaluation.points if p.is_sampled]
                points = [dataclasses.replace(p, exit_thresholds=(), blocks=1) for p in points]
                evaluation = dataclasses.replace(evaluation, points=tuple(points), exits=())
            if odd:
                evaluation = _spoiled(evaluation, number)
            store.add_trial("odd", trial)
            outcome = dataclasses.replace(outcome, evaluation=evaluation)
            store.finish_trial("odd", number, outcome)
    return url


def _spoiled(evaluation: Evaluation, number: int) -> Evaluation:
    values = (math.inf, math.nan, 0.0, -math.inf)
    points = tuple(
        dataclasses.replace(
            point,
            metrics={
                name: values[(place + number) % 4] if (place + number) % 3 else point.metrics[name]
                for place, name in enumerate(METRICS)
            },
        )
        for point in evaluation.points
    )
    return dataclasses.replace(evaluation, points=points)


@pytest.mark.parametrize("odd", [False, True])
def test_five_objectives_and_values_that_are_no_numbers(
    odd: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = store_with(tmp_path / "store.db", odd=odd)
    for look in LOOKS if odd else LOOKS[:1]:
        shown(
            monkeypatch,
            url,
            "views/importance.py",
            study="odd",
            **{"view": look},
            metric="model_bytes",
        )
    for against in ("synaptic_ops", "training_s"):
        shown(monkeypatch, url, "views/network.py", study="odd", trial="1", against=against)


def test_a_network_of_one_block_has_no_early_exit_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = store_with(tmp_path / "store.db", one_block=True)
    app = shown(monkeypatch, url, "views/network.py", study="odd", trial="0")
    assert "A single exit" in words(app)
    assert "a single exit" in words(app)


def test_one_objective_and_one_measured_trial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"sqlite:///{tmp_path / 'store.db'}"
    text = TOML.format(name="one", trials=2)
    text = text.replace('["accuracy", "synaptic_ops", "training_memory_bytes"]', '["accuracy"]')
    with Store(url) as store:
        store.create_study(study_from_toml(text))
        each = next(example_trials(3))
        assert each.outcome is not None
        store.add_trial("one", each.trial)
        store.finish_trial("one", 0, each.outcome)
    app = shown(monkeypatch, url, "views/importance.py", study="one")
    assert "All measured trials have the same parameter values" in words(app)
    for look in LOOKS:
        shown(monkeypatch, url, "views/importance.py", study="one", **{"view": look})


def test_a_study_of_failed_trials_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"sqlite:///{tmp_path / 'store.db'}"
    with Store(url) as store:
        store.create_study(study_from_toml(TOML.format(name="failed", trials=2)))
        each = next(example_trials(3))
        store.add_trial("failed", each.trial)
        outcome = Outcome(state=TrialState.FAILED, reason="ValueError: x", error="Traceback: y")
        store.finish_trial("failed", 0, outcome)
    app = shown(monkeypatch, url, "views/network.py", study="failed")
    assert "It failed" in words(app)
    assert "ended without a measurement" in words(shown(monkeypatch, url, "views/importance.py"))
