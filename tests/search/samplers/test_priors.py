"""Priors of axes: drawn around, whatever the sampler; a wrong one is outlived."""

import itertools
import json
import math
import statistics

import pytest

from search.samplers.priors import SPAN, Priors
from search.samplers.proposals import Proposal, Proposals
from search.study.methods import SAMPLERS
from search.study.study import Study, StudyError, study_from_toml
from search.trial.trial import Params, Trial, TrialState
from snn.settings.measurement import METRICS, OperatingPoint

TOML = """
name = "believed"
objectives = ["accuracy"]
[run]
epochs = 2
[space]
{space}
[search]
sampler = "{sampler}"
seed = {seed}
"""
FLAT = """
learning_rate = {{ low = 1e-5, high = 1.0, log = true{prior} }}
leak = {{ low = 0.1, high = 0.9 }}
dropout = {{ low = 0.0, high = 0.8 }}
"""
ALL_KINDS = """
partition = { max_blocks = 3, prior = "2+1" }
dropout = { low = 0.0, high = 0.3, step = 0.05, per = "block", prior = 0.1 }
exit_threshold = { low = 0.5, high = 0.99, prior = 0.9 }
width = { low = 4, high = 64, log = true, prior = 16 }
optimizer = { values = ["adam", "sgd"], prior = "sgd" }
weight_decay = { low = 1e-6, high = 1e-2, log = true, prior = 1e-4, when = { optimizer = "sgd" } }
timesteps = { low = 2, high = 20, step = 3, prior = 8 }
"""
UNITS = """
[space.units]
count = { low = 1, high = 3, prior = 2 }
per_block = 1
kind = { values = ["c", "r"], prior = "r" }
channels = { low = 4, high = 32, step = 4, prior = 8 }
kernel = [3, 5]
"""


def a_study(space: str, sampler: str = "random", seed: int = 0) -> Study:
    backbone = "" if "units" in space else 'backbone = "resnet7"\n'
    text = TOML.format(space=space, sampler=sampler, seed=seed)
    return study_from_toml(text.replace("epochs = 2\n", f"epochs = 2\n{backbone}"))


def ended(number: int, proposal: Proposal, accuracy: float) -> Trial:
    point = OperatingPoint(
        timesteps=4,
        exit_thresholds=(),
        detector_threshold=0.5,
        blocks=1,
        metrics=dict.fromkeys(METRICS, 1.0) | {"accuracy": accuracy},
        is_sampled=True,
    )
    return Trial(
        number=number,
        params=proposal.params,
        state=TrialState.COMPLETE,
        config=proposal.config,
        sampled=point,
        sampler_state=json.loads(json.dumps(dict(proposal.sampler_state))),
    )


def run(proposals: Proposals, start: int, trials: int) -> list[Trial]:
    history = []
    for number in range(start, start + trials):
        proposal = proposals.propose(number)
        assert proposal is not None
        history.append(ended(number, proposal, 1 - regret(proposal.params) / 3))
        proposals.tell(history[-1])
    return history


def regret(params: Params) -> float:
    """The distance to the best learning rate, 3e-4, and to the best of two others."""
    decades = abs(math.log10(float(params.get("learning_rate", 1)) / 3e-4))
    leak, dropout = float(params.get("leak", 0.7)), float(params.get("dropout", 0.15))
    return decades / 5 + abs(leak - 0.7) / 2 + abs(dropout - 0.15) / 2


def test_a_right_prior_helps_at_the_beginning_and_a_wrong_one_is_outlived() -> None:
    seeds = 16

    def least(prior: str, trials: int) -> list[list[float]]:
        """The least regret so far after each trial, per seed."""
        found = []
        for seed in range(seeds):
            study = a_study(FLAT.format(prior=prior), "tpe", seed)
            ends = run(Proposals(study, []), 0, trials)
            found.append(list(itertools.accumulate((regret(t.params) for t in ends), min)))
        return found

    def excess(curves: list[list[float]], others: list[list[float]], trials: int) -> float:
        """The difference of the means after so many trials, in standard errors."""
        ours, theirs = ([curve[trials - 1] for curve in of] for of in (curves, others))
        error = math.sqrt((statistics.variance(ours) + statistics.variance(theirs)) / seeds)
        return (statistics.mean(ours) - statistics.mean(theirs)) / error

    none, right, wrong = least("", 40), least(", prior = 3e-4", 8), least(", prior = 0.3", 40)
    assert excess(right, none, 8) < -2
    assert excess(wrong, none, 8) > 2  # it is heeded
    assert abs(excess(wrong, none, 40)) < 1.5


def test_priors_cost_a_number_of_trials_that_has_a_bound() -> None:
    expected = [1 / (1 + (index / SPAN) ** 2) for index in range(500)]
    assert sum(expected) < SPAN * math.pi / 2 + 1
    studies = [Priors(a_study(FLAT.format(prior=", prior = 3e-4"), seed=s)) for s in range(200)]
    drawn = [sum(priors.decide(index) for index in range(500)) for priors in studies]
    deviation = math.sqrt(sum(p * (1 - p) for p in expected) / len(studies))
    assert abs(statistics.mean(drawn) - sum(expected)) < 6 * deviation
    assert not any(Priors(a_study(FLAT.format(prior=""))).decide(index) for index in range(20))


def test_values_are_drawn_around_the_priors_and_all_others_are_the_samplers() -> None:
    study = a_study(ALL_KINDS + "leak = { low = 0.1, high = 0.9 }")
    priors = Priors(study)
    kept: Params = {
        "partition": "3",
        "dropout_1": 0.3,
        "width": 4,
        "optimizer": "adam",
        "timesteps": 2,
        "leak": 0.123,
    }
    drawn = [priors.proposal(number, kept) for number in range(400)]
    for params in drawn:
        study.space.validate(params)
        assert params["leak"] == 0.123
    for name, middle, spread in (("timesteps", 8, 3), ("dropout_1", 0.1, 0.05)):
        values = [float(params[name]) for params in drawn]
        assert abs(statistics.median(values) - middle) <= spread
        assert len(set(values)) > 2
    widths = [math.log(float(params["width"])) for params in drawn]
    assert abs(statistics.mean(widths) - math.log(16)) < 0.1
    for name, value, others in (("optimizer", "sgd", 2), ("partition", "2+1", 4)):
        share = statistics.mean(params[name] == value for params in drawn)
        assert abs(share - (0.5 + 0.5 / others)) < 6 * math.sqrt(0.25 / len(drawn))
    assert any("weight_decay" in params for params in drawn)
    assert any("dropout_2" in params for params in drawn)
    assert any("exit_threshold_1" in params for params in drawn)


@pytest.mark.parametrize("name", [name for name in SAMPLERS if name not in ("gp", "grow")])
def test_every_sampler_takes_priors_and_a_restart_changes_nothing(name: str) -> None:
    study = a_study(ALL_KINDS, name)
    undisturbed = Proposals(study, [])
    history = run(undisturbed, 0, 9)
    rebuilt = Proposals(study, history)
    assert run(rebuilt, 9, 6) == run(undisturbed, 9, 6)
    widths = [math.log(float(trial.params["width"])) for trial in history]
    assert abs(statistics.mean(widths) - math.log(16)) < 0.5


def test_units_have_priors_too_and_grown_networks_take_them() -> None:
    study = a_study(UNITS, "grow")
    undisturbed = Proposals(study, [])
    history = run(undisturbed, 0, 9)
    assert run(Proposals(study, history), 9, 4) == run(undisturbed, 9, 4)
    kinds = [trial.params["unit_1_kind"] for trial in history]
    assert kinds.count("r") > len(kinds) / 2


def test_a_prior_is_part_of_the_question_and_shown_with_the_space() -> None:
    without, right = a_study(FLAT.format(prior="")), a_study(FLAT.format(prior=", prior = 3e-4"))
    assert right.differences(without) == ["space.learning_rate"]
    assert "1e-05 to 1, log, prior 0.0003" in "\n".join(right.space.describe())


@pytest.mark.parametrize(
    ("axis", "message"),
    [
        ("learning_rate = { low = 1e-4, high = 0.1, log = true, prior = 0.5 }",
         r"space.learning_rate.prior must be 0.0001 to 0.1, log, got 0.5"),
        ("learning_rate = { low = 1e-4, high = 0.1, prior = 'small' }",
         r"space.learning_rate.prior must be a number"),
        ("optimizer = { values = ['adam', 'sgd'], prior = 'lion' }",
         r"space.optimizer.prior must be one of adam, sgd, got 'lion'"),
        ("timesteps = { values = [2, 4, 8], prior = 3 }",
         r"space.timesteps.prior must be one of 2, 4, 8, got 3"),
        ("timesteps = { low = 2, high = 8, step = 3, prior = 4 }",
         r"space.timesteps.prior must be 2 to 8 in steps of 3, got 4"),
        ("timesteps = { values = [4], prior = 4 }",
         r"space.timesteps.prior must be left out: the axis has one value"),
        ("timesteps = { low = 4, high = 4, prior = 4 }",
         r"space.timesteps.prior must be left out: the axis has one value"),
        ("partition = { max_blocks = 2, prior = '1+1+1' }",
         r"space.partition.prior must be one of"),
        ("partition = { max_blocks = 2 }\n"
         "dropout = { low = 0.0, high = 0.3, per = 'block', prior = 0.4 }",
         r"space.dropout.prior must be 0 to 0.3, got 0.4"),
        ("leak = { low = 0.0, high = 0.3, priors = 0.4 }",
         r"space.leak.priors is not a key of this axis; did you mean 'prior'"),
        ("[space.units]\ncount = 2\nkind = { values = ['c', 'r'], prior = 's' }\nchannels = 4",
         r"space.units.kind.prior must be one of c, r, got 's'"),
        ("[space.units]\ncount = { low = 1, high = 2, prior = 3 }\nkind = ['c']\nchannels = 4",
         r"space.units.count.prior must be 1 to 2, got 3"),
        ("[space.units]\ncount = 2\nkind = ['c']\nchannels = { low = 4, high = 8, per = 'block' }",
         r"space.units.channels.per is not a key of this axis"),
    ],
)  # fmt: skip
def test_a_prior_that_is_no_value_of_its_axis_is_one_fault(axis: str, message: str) -> None:
    with pytest.raises(StudyError, match=message) as caught:
        a_study(axis)
    assert len(caught.value.faults) == 1
