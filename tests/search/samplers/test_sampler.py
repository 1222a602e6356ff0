"""Samplers: reproducible from history, told the truth, and useful."""

import dataclasses
import json
import math
from typing import Any

import optuna
import pytest

from search.samplers import nsga
from search.samplers.optuna_sampler import AUTO_SWITCH, OptunaSampler
from search.samplers.sampler import Sampler, make_sampler
from search.study.feedback import FeedbackBuilder, fixed_penalties
from search.study.methods import SAMPLERS
from search.study.study import Study, study_from_toml
from search.trial.trial import Params, Trial, TrialState
from snn.settings.measurement import METRICS, OperatingPoint

TOML = """
name = "toy"
objectives = ["accuracy", "synaptic_ops"]

[constraints]
model_bytes = { max = 100 }

[run]
backbone = "resnet7"

[space]
partition = { max_blocks = 3 }
exit_threshold = { low = 0.5, high = 0.99 }
dropout = { low = 0.0, high = 0.3, step = 0.05 }
width = { low = 8, high = 64, log = true }
optimizer = ["adam", "sgd"]
weight_decay = { low = 1e-6, high = 1e-2, log = true, when = { optimizer = "sgd" } }

[search]
sampler = "SAMPLER"
seed = 3
"""


UNITS = """
[space.units]
count = { low = 1, high = 3 }
per_block = 1
kind = ["c", "r", "s"]
channels = { low = 4, high = 32, step = 4 }
kernel = [3, 5]
"""


def a_study(sampler: str = "tpe", objectives: tuple[str, ...] = (), seed: int = 3) -> Study:
    text = TOML.replace("SAMPLER", sampler).replace("seed = 3", f"seed = {seed}")
    if sampler == "grow":
        text = text.replace('backbone = "resnet7"', "").replace(
            "partition = { max_blocks = 3 }", ""
        )
        text += UNITS
    if sampler == "gp":  # a model for each objective and constraint takes it long
        objectives = objectives or ("accuracy",)
        text = text.replace("model_bytes = { max = 100 }", "")
    if objectives:
        text = text.replace('["accuracy", "synaptic_ops"]', json.dumps(list(objectives)))
    return study_from_toml(text)


@pytest.fixture(autouse=True)
def _a_gaussian_process_that_looks_around_less(monkeypatch: pytest.MonkeyPatch) -> None:
    """As it comes, one ask is seconds of looking for the best of a model."""

    class Hasty(optuna.samplers.GPSampler):
        def __init__(self, **settings: Any) -> None:
            super().__init__(**settings)
            self._n_preliminary_samples = 64
            self._n_local_search = 2

    monkeypatch.setattr("search.samplers.optuna_sampler.GPSampler", Hasty)
    for name, count in {"RANDOM": 6, "NEAR": 6, "PARENTS": 3, "CHILDREN": 2}.items():
        monkeypatch.setattr(f"search.samplers.gain.{name}", count)


def metrics_of(params: Params) -> dict[str, float]:
    width, dropout = float(params["width"]), float(params["dropout"])
    exits = [float(v) for name, v in params.items() if name.startswith("exit_threshold_")]
    accuracy = 1 - 4 / width - (dropout - 0.1) ** 2 - 0.01 * sum(1 - e for e in exits)
    metrics = dict.fromkeys(METRICS, 1.0)
    ops = width**2 * (1 + sum(exits)) + float(params.get("weight_decay", 0))
    return metrics | {"accuracy": accuracy, "synaptic_ops": ops, "model_bytes": 2.5 * width}


def finished(number: int, params: Params, state_of_sampler: dict[str, object]) -> Trial:
    """What came of a point, through JSON as a store has it; some are pruned or failed."""
    assert json.loads(json.dumps(state_of_sampler)) == state_of_sampler
    point = OperatingPoint(
        timesteps=4,
        exit_thresholds=(),
        detector_threshold=0.5,
        blocks=1,
        metrics=metrics_of(params),
        is_sampled=True,
    )
    trial = Trial(
        number=number,
        params=json.loads(json.dumps(dict(params))),
        state=TrialState.COMPLETE,
        sampled=point,
        sampler_state=json.loads(json.dumps(dict(state_of_sampler))),
    )
    ending = {1: TrialState.PRUNED, 5: TrialState.FAILED, 8: TrialState.PRUNED}.get(number % 10)
    if ending is None:
        return trial
    violation = 2.0 if number % 10 == 1 else 0.0
    return dataclasses.replace(trial, state=ending, sampled=None, constraint_violation=violation)


def run(sampler: Sampler, start: int, trials: int) -> list[Trial]:
    """One trial after another."""
    history = []
    for number in range(start, start + trials):
        params, state = sampler.ask(number)
        history.append(finished(number, params, dict(state)))
        sampler.tell(history[-1])
    return history


def trials_before_resuming(name: str) -> int:
    # Two generations of NSGA; past the random start of the models, whose asks take longest.
    return {"nsga2": 53, "nsga3": 53, "grow": 16}.get(name, 12)


def further_trials(name: str) -> int:
    # The next generation of NSGA; of models whose asks take long, few.
    return {"gp": 1, "grow": 3}.get(name, 12)


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_rebuilt_sampler_asks_for_the_same_points_of_the_space(name: str) -> None:
    study = a_study(name)
    undisturbed = make_sampler(study, [])
    count = trials_before_resuming(name)
    history = run(undisturbed, 0, count)
    rebuilt = make_sampler(study, list(reversed(history)))
    more = further_trials(name)
    further = run(undisturbed, count, more)
    assert run(rebuilt, count, more) == further
    for trial in (*history, *further):
        study.space.validate(trial.params)


def test_a_gaussian_process_sees_the_front_and_the_newest_of_many_trials(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("search.samplers.optuna_sampler.MOST_MODELLED", 12)
    study = a_study("gp")
    chance = make_sampler(study_from_toml(study.text.replace('"gp"', '"random"')), [])
    history = run(chance, 0, 40)
    point = history[2].sampled
    assert point is not None
    point = dataclasses.replace(point, metrics={**point.metrics, "accuracy": 1.0})
    best = history[2] = dataclasses.replace(history[2], sampled=point)
    waiting = dataclasses.replace(history[3], state=TrialState.RUNNING, sampled=None)
    history[3] = waiting
    sampler = make_sampler(study, history)
    assert isinstance(sampler, OptunaSampler)
    kept = {best.number, waiting.number}
    newest = [number for number in reversed(range(40)) if number not in kept]
    assert set(sampler._mirror.places) == {*kept, *newest[: 12 - len(kept)]}
    params, _ = sampler.ask(40)
    study.space.validate(params)


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_point_that_was_taken_back_leaves_no_trace_behind_a_restart(name: str) -> None:
    def insisting(sampler: Sampler, start: int, trials: int) -> list[Trial]:
        history = []
        for number in range(start, start + trials):
            first, state = sampler.ask(number)
            if number % 10 in (0, 3):  # 20 and 40 begin generations of NSGA
                params, state = sampler.ask(number, 1)
                params, state = sampler.ask(number, 2)
                assert params != first
            else:
                params = first
            history.append(finished(number, params, dict(state)))
            sampler.tell(history[-1])
        return history

    study = a_study(name)
    undisturbed = make_sampler(study, [])
    count = trials_before_resuming(name)
    history = insisting(undisturbed, 0, count)
    rebuilt = make_sampler(study, history)
    more = further_trials(name)
    assert insisting(rebuilt, count, more) == insisting(undisturbed, count, more)


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_point_put_in_the_place_of_one_that_was_asked_is_as_good_as_asked(name: str) -> None:
    study = a_study(name)
    chance = make_sampler(study_from_toml(study.text.replace(f'"{name}"', '"random"')), [])
    undisturbed = make_sampler(study, [])
    count = trials_before_resuming(name)
    history = run(undisturbed, 0, count - 3)
    running = []
    for number in range(count - 3, count):
        _, state = undisturbed.ask(number)
        _, state = undisturbed.ask(number, 1)
        params, _ = chance.ask(number)
        kept = undisturbed.replace(number, params, state)
        trial = finished(2, params, dict(kept))
        running.append(dataclasses.replace(trial, number=number, state=TrialState.RUNNING))
    rebuilt = make_sampler(study, [*history, *running])
    assert undisturbed.ask(count) == rebuilt.ask(count)
    for trial in running:
        for sampler in (undisturbed, rebuilt):
            sampler.tell(dataclasses.replace(trial, state=TrialState.COMPLETE))
    assert undisturbed.ask(count + 1) == rebuilt.ask(count + 1)


@pytest.mark.parametrize("name", SAMPLERS)
def test_points_that_were_ruled_out_are_remembered_behind_a_restart(name: str) -> None:
    def choosy(sampler: Sampler, start: int, trials: int) -> list[Trial]:
        history = []
        for number in range(start, start + trials):
            params, state = sampler.ask(number)
            for attempt in range(number % 3):
                sampler.reject(number, 0.5 + attempt)
                params, state = sampler.ask(number, attempt + 1)
            if number % 5 == 4:
                params, state = sampler.ask(number, 7)  # takes the one before back
            history.append(finished(number, params, dict(state)))
            sampler.tell(history[-1])
        return history

    study = a_study(name)
    undisturbed = make_sampler(study, [])
    count = trials_before_resuming(name) // 2
    history = choosy(undisturbed, 0, count)
    for trial in history:
        assert len(trial.sampler_state.get("ruled_out", [])) == trial.number % 3  # type: ignore[arg-type]
    rebuilt = make_sampler(study, history)
    more = further_trials(name)
    assert choosy(rebuilt, count, more) == choosy(undisturbed, count, more)


@pytest.mark.parametrize("name", ["tpe", "nsga2"])
def test_points_that_were_ruled_out_are_avoided(name: str) -> None:
    sampler = make_sampler(a_study(name), [])
    passed = []
    for number in range(60):
        attempt = 0
        params, state = sampler.ask(number)
        while int(params["width"]) > 20:
            sampler.reject(number, (int(params["width"]) - 20) / 20)
            attempt += 1
            params, state = sampler.ask(number, attempt)
        passed.append(attempt)
        sampler.tell(dataclasses.replace(finished(2, params, dict(state)), number=number))
    assert sum(passed[-20:]) < 0.6 * sum(passed[:20])


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_sampler_rebuilt_while_trials_run_goes_on_alike_in_whatever_order_they_end(
    name: str,
) -> None:
    study = a_study(name)
    undisturbed = make_sampler(study, [])
    count = trials_before_resuming(name)
    history = run(undisturbed, 0, count)
    states = (TrialState.RUNNING, TrialState.WAITING, TrialState.RUNNING)
    running = 1 if name == "gp" else 3
    asked = [undisturbed.ask(count + k) for k in range(running)]
    ended = [finished(count + k, asked[k][0], dict(asked[k][1])) for k in range(running)]
    under_way = [
        dataclasses.replace(trial, state=state, sampled=None, constraint_violation=0.0)
        for trial, state in zip(ended, states, strict=False)
    ]
    rebuilt = make_sampler(study, [*history, *under_way])
    first = rebuilt.ask(count + 3)
    assert first == undisturbed.ask(count + 3)
    for trial in ended:
        undisturbed.tell(trial)
    for trial in reversed(ended):
        rebuilt.tell(trial)
    assert rebuilt.ask(count + 4) == undisturbed.ask(count + 4)


@pytest.mark.parametrize("name", SAMPLERS)
def test_another_seed_asks_for_other_points(name: str) -> None:
    ours = run(make_sampler(a_study(name, seed=1), []), 0, 4)
    theirs = run(make_sampler(a_study(name, seed=2), []), 0, 4)
    assert [t.params for t in ours] != [t.params for t in theirs]


@pytest.mark.parametrize("objectives", [1, 3, 5])
@pytest.mark.parametrize("name", ["tpe", "nsga2", "nsga3", "random"])
def test_one_to_five_objectives_are_searched(name: str, objectives: int) -> None:
    names = ("accuracy", "synaptic_ops", "model_bytes", "macs", "parameters")[:objectives]
    count = trials_before_resuming(name)
    assert len(run(make_sampler(a_study(name, names), []), 0, count)) == count


def test_one_objective_is_searched_by_a_gaussian_process() -> None:
    assert len(run(make_sampler(a_study("gp", ("accuracy",)), []), 0, 13)) == 13


def test_tpe_finds_more_accurate_points_than_chance() -> None:
    found = {}
    for name in ("tpe", "random"):
        trials = run(make_sampler(a_study(name, ("accuracy",)), []), 0, 60)[30:]
        accuracies = [t.sampled.metrics["accuracy"] for t in trials if t.sampled]
        found[name] = sum(accuracies) / len(accuracies)
    assert found["tpe"] > found["random"] + 0.02


@pytest.mark.parametrize("name", ["tpe", "nsga2"])
def test_points_that_ran_out_of_memory_are_avoided(name: str) -> None:
    study = a_study(name)
    sampler = make_sampler(study, [])
    wide = []
    for number in range(120):
        params, _ = sampler.ask(number)
        trial = finished(2, params, {})
        wide.append(int(params["width"]) > 20)
        if wide[-1]:
            trial = dataclasses.replace(
                trial, state=TrialState.PRUNED, sampled=None, constraint_violation=1.0
            )
        sampler.tell(dataclasses.replace(trial, number=number))
    assert sum(wide[80:]) / 40 < 0.6 * sum(wide[:20]) / 20


def test_running_trials_keep_others_away() -> None:
    study = a_study("tpe")
    history = run(make_sampler(study, []), 0, 30)
    params, state = make_sampler(study, history).ask(30)
    running = Trial(number=30, params=params, state=TrialState.RUNNING, sampler_state=state)
    second, _ = make_sampler(study, [*history, running]).ask(31)
    assert second != params
    # Without the running trial, and with its seed, the same point would be asked for again.
    assert make_sampler(study, history).ask(30)[0] == params


def test_auto_turns_from_tpe_to_nsga2_and_starts_from_the_best_so_far() -> None:
    study = a_study("auto")
    donor = run(make_sampler(a_study("random"), []), 0, 100)
    early = [dataclasses.replace(t, number=AUTO_SWITCH - 100 + k) for k, t in enumerate(donor)]
    sampler = make_sampler(study, early)
    asked = run(sampler, AUTO_SWITCH, 3)
    assert asked[0].sampler_state["trial"] == {"_Nsga2:generation": 1}
    (parents,) = (v for v in dict(asked[0].sampler_state["study"]).values())  # type: ignore[call-overload]
    assert len(parents) == 50
    assert run(make_sampler(study, early + asked), AUTO_SWITCH + 3, 3) == run(
        sampler, AUTO_SWITCH + 3, 3
    )


@pytest.mark.parametrize("switch", [20, 60])
def test_auto_crosses_a_switch_live_as_it_does_rebuilt(
    switch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("search.samplers.optuna_sampler.GAIN_TRIALS", 20)
    monkeypatch.setattr("search.samplers.optuna_sampler.AUTO_SWITCH", 60)
    study = a_study("auto")
    live = make_sampler(study, [])
    history = run(live, 0, switch - 2)
    history += run(live, switch - 2, 2)
    asked = run(live, switch, 5)
    assert run(make_sampler(study, history), switch, 5) == asked
    assert run(make_sampler(study, history[:-2]), switch - 2, 2) == history[-2:]
    assert run(make_sampler(study, [*history, *asked]), switch + 5, 2) == run(live, switch + 5, 2)


def test_auto_is_gain_first_and_then_tpe_of_the_same_trials(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("search.samplers.optuna_sampler.GAIN_TRIALS", 12)
    auto = make_sampler(a_study("auto"))
    history = run(auto, 0, 12)
    assert history == run(make_sampler(a_study("gain")), 0, 12)
    assert run(auto, 12, 3) == run(make_sampler(a_study("tpe"), history), 12, 3)


@pytest.mark.parametrize("name", ["nsga2", "nsga3", "auto"])
def test_generations_are_found_as_optuna_finds_them(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where four trials run at a time and end in any order."""
    monkeypatch.setattr("search.samplers.optuna_sampler.GAIN_TRIALS", 8)
    monkeypatch.setattr("search.samplers.optuna_sampler.AUTO_SWITCH", 30)

    def asked() -> list[Params]:
        sampler, running, points = make_sampler(a_study(name)), [], []
        for number in range(130):
            params, state = sampler.ask(number)
            points.append(params)
            running.append(finished(number, params, dict(state)))
            if len(running) == 4:
                sampler.tell(running.pop((0, 2, 1, 3, 3, 0, 1)[number % 7]))
        return points

    quickly = asked()
    monkeypatch.delattr(nsga._Generations, "get_trial_generation")
    monkeypatch.delattr(nsga._Generations, "get_parent_population")
    assert asked() == quickly


def test_auto_counts_what_it_learned_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("search.samplers.optuna_sampler.GAIN_TRIALS", 5)
    monkeypatch.setattr("search.samplers.optuna_sampler.AUTO_SWITCH", 60)
    study = a_study("auto")
    prior = run(make_sampler(a_study("random"), []), 0, 50)
    sampler = make_sampler(study, [], prior=prior)
    history = run(sampler, 0, 12)
    is_genetic = ["trial" in trial.sampler_state for trial in history]
    assert is_genetic == [False] * 10 + [True] * 2
    assert run(make_sampler(study, history, prior=prior), 12, 3) == run(sampler, 12, 3)


def test_a_number_is_asked_and_told_once() -> None:
    sampler = make_sampler(a_study("random"), [])
    (trial,) = run(sampler, 0, 1)
    with pytest.raises(ValueError, match="trial 0 was asked before"):
        sampler.ask(0)
    with pytest.raises(ValueError, match="trial 0 was told before"):
        sampler.tell(trial)
    with pytest.raises(ValueError, match="trial 7 is running, not finished"):
        sampler.tell(dataclasses.replace(trial, number=7, state=TrialState.RUNNING))


def test_trials_from_elsewhere_are_learned_from_and_must_be_points_of_the_space() -> None:
    study = a_study("tpe")
    sampler = make_sampler(study, [])
    before = make_sampler(study, []).ask(40)
    for trial in run(make_sampler(a_study("random"), []), 0, 40):
        sampler.tell(dataclasses.replace(trial, sampler_state={}))
    assert sampler.ask(40)[0] != before[0]
    stray = Trial(number=99, params={"width": 4}, state=TrialState.FAILED)
    with pytest.raises(ValueError, match=r"trial 99 is not in the space: .*width must be 8 to"):
        make_sampler(study, [stray])


def test_optuna_says_nothing_and_its_log_is_left_as_it_was(
    capfd: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder
) -> None:
    level = optuna.logging.get_verbosity()
    for name in SAMPLERS:
        run(make_sampler(a_study(name), []), 0, 12)
    assert optuna.logging.get_verbosity() == level
    assert capfd.readouterr() == ("", "")
    assert [str(w.message) for w in recwarn] == []


def test_a_stepped_real_is_written_as_people_would() -> None:
    for trial in run(make_sampler(a_study("tpe"), []), 0, 40):
        assert trial.params["dropout"] in (0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3)


def a_judge(*, reads_pruned: bool = True) -> FeedbackBuilder:
    study = a_study()
    return FeedbackBuilder(study=study, reads_pruned=reads_pruned, penalties=fixed_penalties(study))


def test_a_complete_trial_is_told_with_every_constraint() -> None:
    params: Params = {"width": 60, "dropout": 0.1, "partition": "3", "optimizer": "adam"}
    outside = a_judge().feedback(finished(0, params, {}))
    assert outside.constraints == {"model_bytes": 0.5, "run": 0.0}
    inside = a_judge().feedback(finished(0, {**params, "width": 20}, {}))
    assert inside.constraints == {"model_bytes": -0.5, "run": 0.0}


def test_a_complete_trial_without_a_finite_figure_counts_as_pruned() -> None:
    trial = finished(0, {"width": 60, "dropout": 0.1, "partition": "3", "optimizer": "adam"}, {})
    assert trial.sampled is not None
    metrics = dict(trial.sampled.metrics) | {"accuracy": math.nan}
    broken = dataclasses.replace(trial, sampled=dataclasses.replace(trial.sampled, metrics=metrics))
    assert a_judge().feedback(broken).state == TrialState.PRUNED


def test_an_infeasible_trial_is_pruned_or_for_those_who_ignore_that_complete_and_worst() -> None:
    trial = Trial(number=0, params={}, state=TrialState.PRUNED, constraint_violation=math.inf)
    told = a_judge().feedback(trial)
    assert (told.state, told.values) == (TrialState.PRUNED, None)
    assert told.constraints == {"run": 1e6}
    worst = a_judge(reads_pruned=False).feedback(trial)
    assert (worst.state, worst.values) == (TrialState.COMPLETE, (0.0, 1e15))
    assert worst.constraints == {"model_bytes": 0.0, "run": 1e6}
