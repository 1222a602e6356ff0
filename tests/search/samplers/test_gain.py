"""The sampler gain: chains, the model of their units, and what it makes of rungs."""

import dataclasses
import math
import random

import numpy as np
import pytest

from search.front.indicators import box_share
from search.samplers import chain_regression, gain
from search.samplers.chain_model import ChainModel, Example, Volume
from search.samplers.chain_regression import ChainRegression, Rows, fitted
from search.samplers.chains import Chains
from search.samplers.gain import FIRST, Varied
from search.samplers.sampler import Listener, make_sampler
from search.study.space import RandomSuggest
from search.study.study import Study, study_from_toml
from search.trial.rung import RungPoint, RungReport
from search.trial.trial import Params, Trial, TrialState
from search.worker.job import run_config
from snn.settings.prefix import shared_blocks
from tests.search.samplers.test_sampler import TOML, UNITS, a_study, finished, run

CUT = """
name = "cut"
objectives = ["accuracy", "synaptic_ops"]
[run]
backbone = "resnet9"
[space]
partition = { max_blocks = 4 }
learning_rate = [0.01, 0.003]
dropout = { values = [0.0, 0.1], per = "block" }
exit_threshold = { low = 0.5, high = 0.99 }
"""
TWO_UNITS = """
name = "units"
objectives = ["accuracy", "synaptic_ops"]
[run]
dataset = "digits"
[space]
learning_rate = [0.01, 0.003]
""" + UNITS.replace("per_block = 1", "per_block = 2").replace('"c", "r", "s"', '"c", "r"')


def drawn_of(study: Study) -> list[Params]:
    suggest = RandomSuggest(0)
    return [study.space.sample(suggest) for _ in range(20)]


@pytest.mark.parametrize("text", [CUT, TWO_UNITS])
def test_chains_have_the_blocks_in_common_that_one_training_can_reuse_of_another(
    text: str,
) -> None:
    study = study_from_toml(text)
    chains, suggest, draws = Chains(study), RandomSuggest(1), random.Random(1)
    shared = []
    for _ in range(300):
        params = study.space.sample(suggest)
        other = study.space.sample(Varied(params, draws))
        first, second = chains.of(params), chains.of(other)
        config = run_config(study, params)
        assert len(first.keys) == len(first.ends) == config.exits
        assert first.ends[-1] == len(first.units)
        pairs = zip(first.keys, second.keys, strict=False)
        shared.append(sum(one == another for one, another in pairs))
        # a larger layer later on can change how sums are grouped: fewer blocks are reused then
        assert shared[-1] >= shared_blocks(config, run_config(study, other))
    assert {0, 1, 2} <= set(shared)


def test_networks_of_which_units_are_left_out_are_not_taken_for_each_other() -> None:
    """Values of the last units were no part of what a network depends on."""
    text = TWO_UNITS.replace('["c", "r"]', '["c", "none"]').replace(
        "per_block = 2", "per_block = 1"
    )
    study = study_from_toml(text)
    chains, suggest = Chains(study), RandomSuggest(2)
    known: dict[object, object] = {}
    for _ in range(300):
        params = study.space.sample(suggest)
        chain = chains.of(params)
        assert chain.is_whole == ("none" not in params.values())
        assert known.setdefault(chain.keys[-1], dict(params)) == dict(params)
    assert len(known) > 100


def test_a_training_whose_blocks_are_trained_together_is_a_chain_of_one() -> None:
    text = CUT.replace("exit_threshold = { low = 0.5, high = 0.99 }\n", "").replace(
        'dropout = { values = [0.0, 0.1], per = "block" }', 'space_rule = ["end-to-end"]'
    )
    study = study_from_toml(text)
    chains, suggest = Chains(study), RandomSuggest(0)
    networks = {chains.of(study.space.sample(suggest)).keys for _ in range(200)}
    assert len(networks) == study.space.size()
    assert {len(keys) for keys in networks} == {1}


def rows_of(chains: list[tuple[float, list[float]]]) -> Rows:
    """Chains of one number that all units share and one for each unit."""
    return Rows.of([((s,), [(u,) for u in units], [1.0] * len(units)) for s, units in chains])


def some_chains(count: int, length: tuple[int, int], seed: int) -> list[tuple[float, list[float]]]:
    draws = np.random.default_rng(seed)
    return [(draws.random(), draws.random(draws.integers(*length)).tolist()) for _ in range(count)]


def what_units_add(chains: list[tuple[float, list[float]]]) -> np.ndarray:
    return np.array([(1 + s) * sum(math.sin(3 * u) for u in units) for s, units in chains])


def test_the_gradient_of_the_fit_is_that_of_finite_differences() -> None:
    chains = some_chains(25, (1, 4), 0)
    rows, values = rows_of(chains), what_units_add(chains)
    values = (values - values.mean()) / values.std()
    squares = (
        (rows.shared[:, None] - rows.shared[None]) ** 2,
        (rows.units[:, None] - rows.units[None]) ** 2,
    )
    prior = chain_regression._prior(rows)

    def loss(given: np.ndarray) -> tuple[float, np.ndarray]:
        return chain_regression._loss(given, prior, rows, squares, values)

    at = prior + np.random.default_rng(1).normal(size=len(prior)) * 0.4
    _, gradient = loss(at)
    step = 1e-5
    for place, slope in enumerate(gradient):
        move = step * np.eye(len(at))[place]
        difference = (loss(at + move)[0] - loss(at - move)[0]) / (2 * step)
        assert slope == pytest.approx(difference, rel=1e-3, abs=1e-3)


def test_longer_chains_than_any_known_are_predicted_from_what_units_add() -> None:
    known, longer = some_chains(60, (1, 4), 0), some_chains(30, (4, 6), 1)
    rows, values = rows_of(known), what_units_add(known)
    model = ChainRegression(rows, values, fitted(rows, values))
    mean, deviation = model.predict(rows_of(longer))
    error = mean - what_units_add(longer)
    assert np.sqrt((error**2).mean()) < 0.1 * what_units_add(longer).std()
    assert (np.abs(error) < 5 * deviation + 0.05).all()


def test_what_is_left_over_by_a_front_is_gained_as_the_hypervolume_says() -> None:
    draws = np.random.default_rng(0)
    front = np.array([[0.2, 0.9, 0.5], [0.6, 0.3, 0.4], [0.9, 0.1, 0.8]])
    volume = Volume(front, draws)
    assert volume.share == pytest.approx(1 - box_share(front), abs=0.02)
    for points in ([[0.1, 0.2, 0.3]], [[0.5, 0.8, 0.1], [0.3, 0.6, 0.6]], [[0.7, 0.9, 0.9]]):
        gained = volume.gained(np.array(points)[None, None]).mean() * volume.share
        exact = box_share(np.concatenate([front, points])) - box_share(front)
        # 400 points: a standard deviation of at most 0.5 / 20 of what is left over
        assert gained == pytest.approx(exact, abs=4 * volume.share * 0.5 / 20)


def report(accuracy: float) -> RungReport:
    """What a network measured after the first of ten epochs."""
    point = RungPoint(metrics={"accuracy": accuracy, "synaptic_ops": 50.0, "model_bytes": 20.0})
    return RungReport(rung=1, epochs_done=1, epochs_total=10, points=(point,))


def test_what_was_measured_at_rungs_is_learned_and_is_heard_again_behind_a_restart() -> None:
    study = a_study("gain")
    sampler = make_sampler(study, [])
    history = run(sampler, 0, 8)
    running = []
    for number in (8, 9):
        params, state = sampler.ask(number)
        trial = Trial(number=number, params=params, state=TrialState.RUNNING, sampler_state=state)
        running.append(trial)
    deaf, rebuilt = (make_sampler(study, [*history, *running]) for _ in range(2))
    for listener, numbers in ((sampler, (8, 9)), (rebuilt, (9, 8, 8))):
        assert isinstance(listener, Listener)
        for number in numbers:
            listener.hear(number, report(0.9 if number == 8 else 0.1))
    asked = sampler.ask(10)
    assert rebuilt.ask(10) == asked
    assert deaf.ask(10) != asked


def test_the_trials_after_the_first_ones_are_better_than_chance() -> None:
    found = {}
    for name in ("gain", "random"):
        trials = run(make_sampler(a_study(name, ("accuracy",)), []), 0, 30)[FIRST + 5 :]
        accuracies = [t.sampled.metrics["accuracy"] for t in trials if t.sampled]
        found[name] = sum(accuracies) / len(accuracies)
    assert found["gain"] > found["random"] + 0.02


OWN = """
name = "own"
objectives = ["score"]
[metrics]
score = { better = "higher", meaning = "of the user" }
[run]
train = "a_module:train"
[space]
width = { low = 4, high = 64 }
exit_threshold_1 = { low = 0.0, high = 1.0 }
norm_kind = ["none", "batch"]
units_per_block = [1, 2, 4]
[search]
sampler = "gain"
"""


def test_every_value_of_a_function_of_the_user_means_something() -> None:
    """Names like those of operating points were ignored, and a kind that is none went unheard."""
    study = study_from_toml(OWN)
    chains, suggest = Chains(study), RandomSuggest(0)
    drawn = [study.space.sample(suggest) for _ in range(200)]
    found = [chains.of(params) for params in drawn]
    different = {tuple(params.items()) for params in drawn}
    assert len({chain.keys for chain in found}) == len(different)
    assert len({chain.shared for chain in found}) == len(different)
    assert all(chain.is_whole and len(chain.keys) == 1 for chain in found)


def own_trial(number: int, params: Params) -> Trial:
    """What came of a width, of which half are infeasible."""
    trial = finished(3, {**params, "dropout": 0.0}, {})
    if params["width"] > 34:
        return dataclasses.replace(
            trial,
            number=number,
            params=params,
            sampled=None,
            state=TrialState.PRUNED,
            constraint_violation=1.0,
        )
    assert trial.sampled is not None
    point = dataclasses.replace(trial.sampled, metrics={"score": params["width"] / 64 - 1})
    return dataclasses.replace(trial, number=number, params=params, sampled=point)


def test_what_could_not_be_trained_is_avoided_without_an_accuracy_too() -> None:
    sampler = make_sampler(study_from_toml(OWN), [])
    widths = []
    for number in range(30):
        params, _ = sampler.ask(number)
        widths.append(params["width"])
        sampler.tell(own_trial(number, params))
    assert sum(width > 34 for width in widths[15:]) <= 7  # 15 before, 0 to 6 with other seeds
    assert max(width for width in widths if width <= 34) >= 31


def test_a_search_goes_on_while_nothing_is_within_the_constraints() -> None:
    """Changes of the networks of the front were drawn, of which there were none."""
    text = TOML.replace("SAMPLER", "gain").replace("max = 100", "max = 1")
    asked = run(make_sampler(study_from_toml(text)), 0, 12)
    assert sum(trial.sampled is not None for trial in asked) > FIRST
    assert len({str(trial.params) for trial in asked}) == 12


def test_a_single_objective_near_its_best_value_leaves_something_to_gain() -> None:
    """No point was left over: gains were the means of nothing."""
    near = Volume(np.array([[1e-6], [0.5]]), np.random.default_rng(0))
    assert near.share == pytest.approx(1e-6)
    assert near.gained(np.array([[[[5e-7]]]])).mean() == pytest.approx(0.5, abs=0.1)
    best = Volume(np.array([[0.0]]), np.random.default_rng(0))
    assert best.share == 0
    assert not best.gained(np.array([[[[0.0]]]])).any()


def test_a_report_at_the_end_of_a_block_counts_alike_before_and_behind_a_restart() -> None:
    study = a_study("gain")
    sampler = make_sampler(study, [])
    history = run(sampler, 0, 7)
    params, state = sampler.ask(7)
    point = RungPoint(metrics={"accuracy": 0.2, "synaptic_ops": 50.0, "model_bytes": 20.0})
    at_the_end = RungReport(rung=3, epochs_done=10, epochs_total=10, points=(point,))
    assert isinstance(sampler, Listener)
    sampler.hear(7, at_the_end)
    history.append(finished(7, params, dict(state)))
    sampler.tell(history[-1])
    rebuilt = make_sampler(study, history)
    assert isinstance(rebuilt, Listener)
    rebuilt.hear(7, at_the_end)
    known = [
        {example.key: example.metrics for example in each._known()}
        for each in (sampler, rebuilt)
        if isinstance(each, gain.GainSampler)
    ]
    assert known[0] == known[1]
    assert {"accuracy": 0.2, "synaptic_ops": 50.0, "model_bytes": 20.0} in known[0].values()


def test_trials_that_run_count_with_what_is_expected_of_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What several workers were given took no account of what runs."""
    sizes = []

    class Counted(Volume):
        def __init__(self, front: np.ndarray, draws: np.random.Generator) -> None:
            sizes.append(len(front))
            super().__init__(front, draws)

    monkeypatch.setattr(gain, "Volume", Counted)
    sampler = make_sampler(a_study("gain"), [])
    run(sampler, 0, 10)
    sizes.clear()
    asked = [sampler.ask(number) for number in (10, 11, 12)]
    assert sizes[0] < sizes[1] < sizes[2]
    for number, (params, state) in enumerate(asked, 10):
        sampler.tell(dataclasses.replace(finished(3, params, dict(state)), number=number))
    sampler.ask(13)
    assert sizes[3] < sizes[2]


def test_a_unit_is_described_with_the_one_before_it() -> None:
    study = study_from_toml(TWO_UNITS)
    chains = Chains(study)
    params = next(p for p in drawn_of(study) if len(chains.of(p).units) > 1)
    other = {**params, "unit_1_kind": "r" if params["unit_1_kind"] == "c" else "c"}
    assert params["unit_2_kind"] == other["unit_2_kind"]
    assert chains.of(params).units[1] != chains.of(other).units[1]


def test_an_exit_that_was_measured_has_its_values_and_one_trained_in_part_a_deviation() -> None:
    study = a_study("gain")
    chains = [Chains(study).of(params) for params in drawn_of(study)[:2]]
    metrics = [
        {"accuracy": accuracy, "synaptic_ops": 50.0, "model_bytes": 20.0}
        for accuracy in (0.9, 0.5, 0.1)
    ]
    parts = ((chains[0], 1.0), (chains[0], 0.5), (chains[1], 0.5))
    examples = [
        Example(chain=chain, depth=1, part=part, metrics=measured)
        for (chain, part), measured in zip(parts, metrics, strict=True)
    ]
    model = ChainModel(study, examples, {})
    firsts = [dataclasses.replace(c, ends=c.ends[:1], keys=c.keys[:1]) for c in chains]
    means, deviations = model._exits(firsts)
    assert means[0, 0] == model._scales.forward("accuracy", np.array([0.9]))[0]
    assert (deviations[0] == 0).all()
    assert (deviations[1] > 0).all()


def test_blocks_of_another_study_are_learned_from_and_still_have_to_be_trained() -> None:
    study = a_study("gain")
    history = [t for t in run(make_sampler(study, []), 0, 4) if t.sampled]
    here, there = make_sampler(study, history), make_sampler(study, [], prior=history)
    assert isinstance(here, gain.GainSampler)
    assert isinstance(there, gain.GainSampler)
    assert here._examples.keys() == there._examples.keys()
    for trial in history:
        chain = Chains(study).of(trial.params)
        assert here._epochs(chain) < there._epochs(chain) == len(chain.keys) * chain.epochs
