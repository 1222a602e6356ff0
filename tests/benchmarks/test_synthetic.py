"""Computed problems: the same for everybody, and as a training behaves."""

import random

import pytest

from benchmarks.search.comparison import budget_of
from benchmarks.search.peers import OptunaSearch
from benchmarks.search.replay import epochs_of, replay, thresholds_of
from benchmarks.search.strategies import SEARCHES, can_grow
from benchmarks.search.synthetic import SYNTHETIC, Synthetic
from search.study.space import RandomSuggest


@pytest.mark.parametrize("name", SYNTHETIC)
def test_epochs_improve_a_network_and_its_family_holds_the_sampled_point(name: str) -> None:
    problem, suggest = Synthetic(name), RandomSuggest(1)
    for _ in range(40):
        params = problem.study.space.sample(suggest)
        epochs = list(epochs_of(problem, params, set()))
        setting, chain = problem.place(params)
        assert len(epochs) == len(chain.split("+")) * problem.epochs <= problem.longest
        errors = [1 - epoch.accuracy for epoch in epochs[-problem.epochs :]]
        assert errors == sorted(errors, reverse=errors[-1] < errors[0])
        last = epochs[-1]
        assert (
            last.sampled.metrics["accuracy"]
            <= max(point.metrics["accuracy"] for point in last.family) + 1e-9
        )
        assert {point.blocks for point in last.family} <= set(range(1, chain.count("+") + 2))
        again = Synthetic(name).sampled(setting, chain, problem.epochs, thresholds_of(params))
        assert again == last.sampled


@pytest.mark.parametrize("name", SYNTHETIC)
def test_a_lower_threshold_saves_operations_and_a_block_is_the_same_in_every_network(
    name: str,
) -> None:
    problem, draws = Synthetic(name), random.Random(0)
    suggest = RandomSuggest(2)
    depths = set()
    for _ in range(40):
        setting, chain = problem.place(problem.study.space.sample(suggest))
        exits = chain.count("+")
        depths.add(exits)
        low = tuple(draws.choice(problem.thresholds[:3]) for _ in range(exits))
        high = tuple(value + 0.32 for value in low)
        cheap, dear = (
            problem.sampled(setting, chain, problem.epochs, thresholds).metrics["synaptic_ops"]
            for thresholds in (
                low,
                tuple(min(problem.thresholds, key=lambda t, v=v: abs(t - v)) for v in high),
            )
        )
        assert cheap <= dear
        if exits:
            before = chain.rpartition("+")[0]
            shorter = {point.metrics["accuracy"] for point in problem.family(setting, before, 4)}
            assert max(shorter) <= max(
                point.metrics["accuracy"] for point in problem.family(setting, chain, 4)
            )
    assert len(depths) > 2


def test_searches_run_on_computed_problems_and_only_units_can_grow() -> None:
    assert [can_grow(Synthetic(name).study) for name in SYNTHETIC] == [True, False]
    for name in SYNTHETIC:
        problem = Synthetic(name)
        names = ["optuna-tpe", "spikefront", *(["spikefront-grow"] if name == "units" else [])]
        for search in names:
            curve = replay(
                SEARCHES[search](problem, 0),
                problem,
                budget=budget_of(problem, 3),
                objectives=problem.study.objectives,
                reference=problem.reference("default"),
            )
            assert 0 < curve.family[-1] < 1
            assert curve.seconds > 0
    assert isinstance(SEARCHES["random"](problem, 0), OptunaSearch)


@pytest.mark.parametrize(("search", "package"), [("ax", "ax"), ("smac", "smac")])
def test_models_of_other_libraries_propose_points_of_the_space(search: str, package: str) -> None:
    pytest.importorskip(package)
    problem = Synthetic("tuning")
    strategy = SEARCHES[search](problem, 0)
    curve = replay(
        strategy,
        problem,
        budget=2 * problem.longest,
        objectives=problem.study.objectives,
        reference=problem.reference("default"),
    )
    assert curve.trials >= 2
