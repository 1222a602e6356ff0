"""Importances: planted causes are found, and what cannot be known is not said."""

import math
import random
from collections.abc import Callable

import pytest

from search.samplers import importance
from search.samplers.importance import LEAST_TRIALS, METHODS, Method, importances
from search.study.study import study_from_toml
from search.trial.trial import Params, Trial, TrialState
from snn.settings.measurement import METRICS, OperatingPoint

TOML = """name = "x"
objectives = ["accuracy", "synaptic_ops"]
[space]
width = { low = 4, high = 32 }
learning_rate = { low = 1e-3, high = 1e-1, log = true }
space_rule = ["end-to-end", "block-local"]
block_classes = { values = ["all", "hard"], when = { space_rule = "block-local" } }
partition = ["1+1+1"]
"""


def trials(count: int, accuracy: Callable[[Params, random.Random], float]) -> list[Trial]:
    draw = random.Random(0)
    found = []
    for number in range(count):
        params: dict[str, int | float | str] = {
            "width": draw.randint(4, 32),
            "learning_rate": 10 ** draw.uniform(-3, -1),
            "space_rule": draw.choice(["end-to-end", "block-local"]),
        }
        if params["space_rule"] == "block-local":
            params["block_classes"] = draw.choice(["all", "hard"])
        metrics = dict.fromkeys(METRICS, 1.0)
        metrics["accuracy"] = accuracy(params, draw)
        metrics["synaptic_ops"] = float(params["width"]) ** 2
        point = OperatingPoint(
            timesteps=2, exit_thresholds=(), detector_threshold=0.5, blocks=1, metrics=metrics
        )
        found.append(Trial(number=number, params=params, state=TrialState.COMPLETE, sampled=point))
    return found


def by_width(params: Params, draw: random.Random) -> float:
    return float(params["width"]) / 32 + draw.gauss(0, 0.01)


@pytest.mark.parametrize("method", METHODS)
def test_the_parameter_that_decides_has_most_of_the_share(method: Method) -> None:
    space = study_from_toml(TOML).space
    accuracy, ops = importances(
        trials(120, by_width), ["accuracy", "synaptic_ops"], space, method=method
    )
    assert next(iter(accuracy.shares)) == "width"
    assert accuracy.shares["width"] > 0.7
    assert ops.shares["width"] > 0.7
    assert sum(accuracy.shares.values()) == pytest.approx(1.0)


def test_a_parameter_that_only_some_trials_have_gets_its_share() -> None:
    def by_hard_classes(params: Params, draw: random.Random) -> float:
        return (params.get("block_classes") == "hard") + draw.gauss(0, 0.01)

    (found,) = importances(trials(200, by_hard_classes), ["accuracy"])
    assert found.shares["block_classes"] > 5 * found.shares["width"]


def test_fanova_speaks_only_of_what_every_trial_has() -> None:
    (found,) = importances(trials(60, by_width), ["accuracy"], method="fanova")
    assert set(found.shares) == {"width", "learning_rate", "space_rule"}


def test_too_few_measurements_say_nothing() -> None:
    assert importances(trials(LEAST_TRIALS - 1, by_width), ["accuracy"]) == []


def test_values_that_are_not_finite_are_left_out() -> None:
    def sometimes(params: Params, draw: random.Random) -> float:
        return draw.choice([math.nan, math.inf, by_width(params, draw)])

    (found,) = importances(trials(120, sometimes), ["accuracy"])
    assert 10 < found.trials < 80
    assert next(iter(found.shares)) == "width"


def test_where_nothing_differs_nothing_matters() -> None:
    (found,) = importances(trials(30, lambda params, draw: 0.5), ["accuracy"])
    assert set(found.shares.values()) == {0.0}


def test_values_of_another_space_are_no_error() -> None:
    space = study_from_toml(TOML.replace("high = 32 }", "high = 6 }")).space
    (found,) = importances(trials(60, by_width), ["accuracy"], space)
    assert next(iter(found.shares)) == "width"


def test_a_long_study_is_thinned_over_its_whole_length(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importance, "MOST_TRIALS", {"ped-anova": 50})
    (found,) = importances(trials(500, by_width), ["accuracy"])
    assert found.trials == 50
