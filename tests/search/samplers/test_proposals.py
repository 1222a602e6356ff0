"""Proposals: what is tried, in which order, and what is passed over without costing a trial."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from search.runners import local
from search.runners.driver import StudyDriver
from search.samplers.proposals import Proposal, Proposals
from search.samplers.shared_points import MOST, shared_points
from search.store.store import Store
from search.study.initial_points import initial_points
from search.study.repeats import together
from search.study.study import PREFIX_SHARE, Study, StudyError, study_from_toml
from search.study.tables import Bound
from search.trial.trial import Outcome, Trial, TrialState
from search.worker import engine
from search.worker.context import WorkerContext
from search.worker.feasibility import Feasibility
from search.worker.job import run_config
from snn.settings.config import RunConfig
from snn.settings.measurement import OperatingPoint
from snn.settings.prefix import shared_blocks
from tests.search.fake_engine import FakeEngine

TOML = """
name = "small"
objectives = ["accuracy", "synaptic_ops"]
[constraints]
{constraints}
[budget]
trials = {trials}
[run]
epochs = 2
[space]
{space}
[search]
sampler = "{sampler}"
{search}
"""
WIDTHS = "width = { low = 1, high = 64 }"


def a_study(
    *,
    trials: int = 6,
    space: str = WIDTHS,
    sampler: str = "random",
    search: str = "",
    constraints: str = "",
) -> Study:
    parts = {"trials": trials, "space": space, "sampler": sampler, "search": search}
    return study_from_toml(TOML.format(constraints=constraints, **parts))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(f"sqlite:///{tmp_path}/store.db") as opened:
        yield opened


def drive(study: Study, store: Store, folder: Path) -> StudyDriver:
    with StudyDriver(study, store=store, artifacts=folder) as opened:
        local.run(opened, WorkerContext(data_dir=folder, trainable=FakeEngine()))
    return opened


def trials(study: Study, folder: Path, *stops: int) -> list[Trial]:
    """The study's trials, run by a driver that is restarted behind each of `stops` trials."""
    with Store(f"sqlite:///{folder}/{'-'.join(map(str, stops)) or 'undisturbed'}.db") as store:
        for stop in stops:
            drive(study.with_overrides(trials=stop), store, folder)
        drive(study, store, folder)
        return store.trials(study.name)


# infeasible points


@pytest.mark.parametrize("sampler", ["random", "tpe", "nsga2", "auto"])
def test_too_large_a_network_costs_no_trial_and_a_restart_changes_nothing(
    sampler: str, tmp_path: Path
) -> None:
    space = f"{WIDTHS}\ndropout = {{ low = 0.0, high = 0.5 }}"
    constraints = "parameters = { max = 30_000 }"
    study = a_study(trials=14, space=space, sampler=sampler, constraints=constraints)
    undisturbed = trials(study, tmp_path)
    assert len(undisturbed) == 14
    assert all(trial.sampled is not None for trial in undisturbed)
    for trial in undisturbed:
        assert trial.config is not None
        assert engine.lower_bound(trial.config, images=1000, memory=False).parameters <= 30_000
    assert any("ruled_out" in trial.sampler_state for trial in undisturbed)
    with Store(f"sqlite:///{tmp_path}/undisturbed.db", read_only=True) as store:
        told = [event.message for event in store.events("small") if event.kind == "ruled out"]
    assert len(set(told)) == len(told) > 0
    restarted = trials(study, tmp_path, 3, 9)
    assert [t.params for t in restarted] == [t.params for t in undisturbed]
    assert [t.sampler_state for t in restarted] == [t.sampler_state for t in undisturbed]


def test_a_space_with_nothing_feasible_ends_with_the_reason(store: Store, tmp_path: Path) -> None:
    space = "width = { low = 1, high = 4 }\ndropout = { low = 0.0, high = 0.5 }"
    study = a_study(space=space, constraints="training_memory_bytes = { max = 10 }")
    done = drive(study, store, tmp_path)
    assert store.trials("small") == []
    assert done.stopped.startswith("no further feasible configuration found: the last ")
    assert done.stopped.endswith("Loosen [constraints] or widen [space]")
    assert "training_memory_bytes would be " in done.stopped
    assert "the constraint allows 10" in done.stopped
    assert {event.kind for event in store.events("small")} == {"ruled out"}


@pytest.mark.parametrize("most", [None, 1e12])
def test_a_lower_bound_is_held_against_no_least_value(most: float | None) -> None:
    bound = Bound(min=1e9, max=most)
    assert Feasibility({"parameters": bound}).check(RunConfig()) is None


def test_a_dense_network_is_held_against_the_bytes_that_it_will_have(
    store: Store, tmp_path: Path
) -> None:
    space = "width = 16\ntarget_sparsity = [0.0, 0.5]"
    done = drive(a_study(space=space, constraints="model_bytes = { max = 10 }"), store, tmp_path)
    assert [trial.params["target_sparsity"] for trial in store.trials("small")] == [0.5]
    assert "model_bytes would be" in done.stopped


# asks beside running trials


class _Slow:
    """Makes the sampler of a driver wait before each proposal until it is let go on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.go, self.threads = threading.Semaphore(0), set[str]()
        usual = Proposals.propose

        def slowly(proposals: Proposals, number: int) -> Proposal | None:
            self.threads.add(threading.current_thread().name)
            assert self.go.acquire(timeout=120), "nobody let the sampler go on"
            return usual(proposals, number)

        monkeypatch.setattr(Proposals, "propose", slowly)


def test_a_sampler_that_thinks_holds_up_no_result(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = _Slow(monkeypatch)
    work = WorkerContext(data_dir=tmp_path, trainable=FakeEngine())
    with StudyDriver(a_study(), store=store, artifacts=tmp_path, ask_ahead=True) as opened:
        slow.go.release(1)
        first = opened.next()  # and from here it thinks about the second one
        assert first is not None
        assert not opened.is_ready()
        for message in work.run(first):
            if isinstance(message, Outcome):
                opened.finish(first.number, message)
            else:
                opened.record(first.number, message)
        assert store.trial("small", 0).state is TrialState.COMPLETE  # while it still thinks
        slow.go.release(1)
        second = opened.next()
        assert second is not None
        assert second.number == 1
        slow.go.release(9)
    assert slow.threads == {"sampler"}


def test_one_worker_asks_when_it_needs_to_in_the_thread_that_it_has(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = _Slow(monkeypatch)
    slow.go.release(6)
    done = drive(a_study(), store, tmp_path)
    assert slow.threads == {threading.current_thread().name}
    assert done.sampler_waited_s > 0


def test_what_goes_wrong_in_a_sampler_ends_the_study_and_not_in_silence(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(proposals: Proposals, trial: Trial, points: object) -> None:
        raise ZeroDivisionError("cannot learn")

    monkeypatch.setattr(Proposals, "tell", broken)
    with (
        pytest.raises(ZeroDivisionError, match="cannot learn"),
        StudyDriver(a_study(), store=store, artifacts=tmp_path, ask_ahead=True) as opened,
    ):
        local.run(opened, WorkerContext(data_dir=tmp_path, trainable=FakeEngine()))


# points to try first


def test_points_are_tried_first_in_their_order_and_not_again(tmp_path: Path) -> None:
    search = "initial_points = [{ width = 7, timesteps = 2 }, { timesteps = 3 }, { width = 9 }]"
    space = f"{WIDTHS}\ntimesteps = {{ low = 1, high = 6 }}"
    study = a_study(trials=8, space=space, search=search, sampler="tpe")
    undisturbed = trials(study, tmp_path)
    assert undisturbed[0].params == {"width": 7, "timesteps": 2}
    assert undisturbed[1].params["timesteps"] == 3
    assert undisturbed[2].params["width"] == 9
    for stops in [(1, 2), (4,)]:
        restarted = trials(study, tmp_path, *stops)
        assert [t.params for t in restarted] == [t.params for t in undisturbed]


def test_points_of_the_same_run_and_infeasible_ones_are_passed_over(tmp_path: Path) -> None:
    search = "initial_points = [{ width = 60 }, { width = 3 }, { width = 3 }, { width = 61 }]"
    study = a_study(trials=4, search=search, constraints="parameters = { max = 30_000 }")
    undisturbed = trials(study, tmp_path)
    assert undisturbed[0].params == {"width": 3}
    passed = [
        point["params"]["width"]
        for trial in undisturbed
        for point in trial.sampler_state.get("ruled_out", [])  # type: ignore[attr-defined]
    ]
    assert passed[:2] == [60, 61]
    restarted = trials(study, tmp_path, 1, 2)
    assert [t.sampler_state for t in restarted] == [t.sampler_state for t in undisturbed]


def test_what_a_point_leaves_open_never_contradicts_what_it_says() -> None:
    space = """
partition = { max_blocks = 3 }
exit_threshold = { low = 0.5, high = 0.99 }
optimizer = ["adam", "sgd"]
weight_decay = { low = 1e-6, high = 1e-2, log = true, when = { optimizer = "sgd" } }
timesteps = { low = 1, high = 8 }
inference_timesteps = { low = 1, high = 8 }
"""
    search = (
        "initial_points = [{ weight_decay = 1e-3 }, { exit_threshold = [0.6, 0.7] }, "
        "{ exit_threshold = 0.8, partition = '2+1' }, { inference_timesteps = 8 }, "
        "{ exit_threshold_2 = 0.9 }]"
    )
    study = a_study(space=space, search=search)
    points = initial_points(study.run, study.space, study.search.initial_points, study.search.seed)
    assert points[0]["optimizer"] == "sgd"
    assert (points[1]["exit_threshold_1"], points[1]["exit_threshold_2"]) == (0.6, 0.7)
    assert points[2]["exit_threshold_1"] == 0.8
    assert points[3]["timesteps"] == 8
    assert points[4]["exit_threshold_2"] == 0.9
    for point in points:
        study.space.validate(point)


def test_every_fault_of_every_point_is_told_with_its_place() -> None:
    space = (
        f'{WIDTHS}\ntimesteps = {{ low = 1, high = 4 }}\noptimizer = ["adam", "sgd"]\n'
        'weight_decay = { low = 1e-6, high = 1e-2, when = { optimizer = "sgd" } }'
    )
    search = (
        "initial_points = [{ width = 99, timstep = 2 }, { width = 4 }, "
        "{ optimizer = 'adam', weight_decay = 1e-3 }]"
    )
    with pytest.raises(StudyError) as caught:
        a_study(space=space, search=search)
    assert [fault.key for fault in caught.value.faults] == [
        "search.initial_points[0].width",
        "search.initial_points[0].timstep",
        "search.initial_points[2].weight_decay",
    ]
    text = str(caught.value)
    assert "must be 1 to 64, got 99" in text
    assert "did you mean 'timesteps'" in text
    assert "is not active in this configuration" in text


def test_points_are_part_of_the_question_only_where_there_are_any() -> None:
    plain, empty = a_study(), a_study(search="initial_points = []")
    assert plain.question_fingerprint == empty.question_fingerprint
    assert plain.differences(a_study(search="initial_points = [{ width = 3 }]")) == [
        "search.initial_points"
    ]


# first blocks of the front

CUTS = """
partition = { max_blocks = 4 }
exit_threshold = { low = 0.5, high = 0.99 }
width = { low = 4, high = 64 }
learning_rate = { low = 1e-3, high = 1e-1, log = true }
"""


def a_cut_study(search: str = "extend_prefixes = 0.5", trials: int = 24) -> Study:
    text = TOML.format(constraints="", trials=trials, space=CUTS, sampler="tpe", search=search)
    return study_from_toml(text.replace("[run]", '[run]\nbackbone = "resnet9"'))


def extended(found: list[Trial]) -> list[tuple[Trial, Trial]]:
    """Trials that let blocks of an earlier one stand, with that one; by chance there is none."""
    pairs = []
    for trial in found:
        for base in found[: trial.number]:
            assert trial.config is not None
            assert base.config is not None
            if shared_blocks(base.config, trial.config):
                pairs.append((base, trial))
                break
    return pairs


def test_a_share_of_the_trials_extends_prefixes_of_the_front_and_a_restart_changes_nothing(
    tmp_path: Path,
) -> None:
    study = a_cut_study()
    undisturbed = trials(study, tmp_path)
    pairs = extended(undisturbed)
    assert 5 <= len(pairs) <= 18
    for base, trial in pairs:
        assert trial.params["partition"] != base.params["partition"]
        assert trial.params["learning_rate"] == base.params["learning_rate"]
    configs = [trial.config.training_fingerprint for trial in undisturbed if trial.config]
    assert len(set(configs)) == len(configs)
    restarted = trials(study, tmp_path, 5, 13)
    assert [t.params for t in restarted] == [t.params for t in undisturbed]
    assert [t.sampler_state for t in restarted] == [t.sampler_state for t in undisturbed]


def test_prefixes_are_extended_only_where_blocks_are_kept_and_wanted(tmp_path: Path) -> None:
    assert a_cut_study("").prefix_share == PREFIX_SHARE
    assert a_cut_study("reuse_blocks = false").prefix_share == 0
    assert a_study().prefix_share == 0
    assert extended(trials(a_cut_study("extend_prefixes = 0.0"), tmp_path)) == []
    with pytest.raises(StudyError, match=r"search\.extend_prefixes must be 0 without reuse_blocks"):
        a_study(search="extend_prefixes = 0.5")


# repeats


def test_a_point_is_run_with_one_seed_after_another_and_heard_as_its_mean(tmp_path: Path) -> None:
    study = a_study(trials=12, search="repeats = 3", sampler="tpe")
    undisturbed = trials(study, tmp_path)
    seeds = [trial.config.seed for trial in undisturbed if trial.config]
    assert seeds == [0, 1, 2] * 4
    widths = [trial.params["width"] for trial in undisturbed]
    assert widths == [width for width in widths[::3] for _ in range(3)]
    for stops in [(4,), (2, 8)]:
        restarted = trials(study, tmp_path, *stops)
        assert [t.config for t in restarted] == [t.config for t in undisturbed]


def test_what_repeats_say_together() -> None:
    def a_trial(number: int, state: TrialState, accuracy: float, violation: float = 0.0) -> Trial:
        point = OperatingPoint(
            timesteps=4,
            exit_thresholds=(),
            detector_threshold=0.5,
            blocks=1,
            metrics={"accuracy": accuracy},
            is_sampled=True,
        )
        return Trial(
            number=number,
            params={},
            state=state,
            sampled=point if state is TrialState.COMPLETE else None,
            constraint_violation=violation,
        )

    good, better = a_trial(6, TrialState.COMPLETE, 0.5), a_trial(7, TrialState.COMPLETE, 0.7)
    crashed = a_trial(8, TrialState.FAILED, 0)
    told = together([good, better, crashed])
    assert told.number == 6
    assert told.sampled is not None
    assert told.sampled.metrics["accuracy"] == pytest.approx(0.6)
    stopped = a_trial(8, TrialState.PRUNED, 0, violation=2.0)
    told = together([good, better, stopped])
    assert (told.state, told.constraint_violation) == (TrialState.PRUNED, 2.0)
    assert together([crashed]).state is TrialState.FAILED


def test_repeats_need_the_seed_for_themselves() -> None:
    with pytest.raises(StudyError, match=r"search\.repeats must be 1 if seed is in"):
        a_study(space=f"{WIDTHS}\nseed = [0, 1]", search="repeats = 2")


# families


def test_the_family_of_a_trial_teaches_what_its_training_has_answered() -> None:
    space = (
        f"{WIDTHS}\npartition = {{ max_blocks = 2 }}\nexit_threshold = {{ low = 0.5, high = 0.9 }}"
    )
    study = a_study(space=f"{space}\ninference_timesteps = {{ low = 1, high = 4 }}")
    params = {"width": 9, "partition": "1+2", "exit_threshold_1": 0.6, "inference_timesteps": 4}
    config = run_config(study, params)
    trial = Trial(number=3, params=params, state=TrialState.COMPLETE, config=config)

    def point(
        accuracy: float, ops: float, threshold: float, steps: int, blocks: int = 2
    ) -> OperatingPoint:
        return OperatingPoint(
            timesteps=steps,
            exit_thresholds=(threshold,) * (blocks - 1),
            detector_threshold=config.detector_threshold,
            blocks=blocks,
            metrics={"accuracy": accuracy, "synaptic_ops": ops},
            is_sampled=False,
        )

    good, worse = point(0.9, 50, 0.8, 3), point(0.8, 60, 0.8, 2)
    outside, part = point(0.95, 90, 0.99, 4), point(0.5, 10, 0, 4, blocks=1)
    found = shared_points(study, trial, [good, worse, outside, part])
    assert [member.params for member in found] == [
        {"width": 9, "partition": "1+2", "exit_threshold_1": 0.8, "inference_timesteps": 3}
    ]
    assert found[0].sampled is good
    several = [point(0.5 + k / 100, 10 + k, 0.8, 3) for k in range(20)]
    told = [m.sampled for m in shared_points(study, trial, several)]
    assert len(told) == MOST
    assert told[0] in (several[0], several[-1])
    assert told[-1] in (several[0], several[-1])
    assert told[0] is not told[-1]


@pytest.mark.parametrize("sampler", ["tpe", "nsga2", "auto"])
def test_a_sampler_that_hears_families_asks_the_same_behind_a_restart(
    sampler: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("search.samplers.optuna_sampler.GAIN_TRIALS", 10)  # of auto
    space = f"{WIDTHS}\ninference_timesteps = {{ low = 1, high = 4 }}"
    studies = [
        a_study(trials=26, space=space, sampler=sampler, search=search)
        for search in ("share_operating_points = true", "")
    ]
    undisturbed = trials(studies[0], tmp_path)
    restarted = trials(studies[0], tmp_path, 7, 23)
    assert [t.params for t in restarted] == [t.params for t in undisturbed]
    assert [t.sampler_state for t in restarted] == [t.sampler_state for t in undisturbed]
    (tmp_path / "alone").mkdir()
    assert [t.params for t in trials(studies[1], tmp_path / "alone")] != [
        t.params for t in restarted
    ]


# what earlier studies teach


def test_earlier_studies_teach_the_sampler_and_are_no_trials(store: Store, tmp_path: Path) -> None:
    drive(a_study(trials=20), store, tmp_path)
    text = a_study(trials=3, sampler="tpe", search="warm_start = ['SMALL']").text
    text = text.replace('"small"', '"next"').replace("SMALL", "small")
    study = study_from_toml(text.replace("high = 64", "high = 40"))
    drive(study, store, tmp_path)
    inside = [t for t in store.trials("small") if float(t.params["width"]) <= 40]
    assert [t.params for t in store.prior_trials("next")] == [t.params for t in inside]
    assert len(store.trials("next")) == 3
    (line,) = [e.message for e in store.events("next") if e.kind == "warm start"]
    assert line.startswith(f"{len(inside)} trials of small reported to the sampler; left out")
    # from then on, nothing that becomes of the earlier study changes anything
    store.delete_study("small")
    drive(study.with_overrides(trials=5), store, tmp_path)
    with Store(f"sqlite:///{tmp_path}/whole.db") as other:
        drive(a_study(trials=20), other, tmp_path)
        drive(study.with_overrides(trials=5), other, tmp_path)
        assert [t.params for t in other.trials("next")] == [t.params for t in store.trials("next")]


def test_a_warm_start_from_a_study_that_is_not_there_is_refused_by_name(
    store: Store, tmp_path: Path
) -> None:
    drive(a_study(), store, tmp_path)
    text = a_study(search="warm_start = ['smal', 'other']").text.replace('"small"', '"next"', 1)
    with pytest.raises(StudyError) as caught:
        drive(study_from_toml(text), store, tmp_path)
    assert "search.warm_start must name studies that" in str(caught.value)
    assert "got 'smal'; did you mean 'small'?" in str(caught.value)
    assert "got 'other'; known: small" in str(caught.value)
    assert [summary.name for summary in store.study_summaries()] == ["small"]
    with pytest.raises(
        StudyError, match=r"search\.warm_start must name other studies, got 'small'"
    ):
        a_study(search="warm_start = ['small']")
