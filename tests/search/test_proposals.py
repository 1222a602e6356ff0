"""Proposals: what is tried, in which order, and what is passed over without costing a trial."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from search import configure, local
from search.first_points import first_points
from search.ledger import Ledger
from search.order import Workplace
from search.proposals import Proposal, Proposals
from search.store import Store
from search.study import Study, StudyError, study_from_toml
from search.trial import Outcome, Trial, TrialState
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


def drive(study: Study, store: Store, folder: Path) -> Ledger:
    with Ledger(study, store=store, artifacts=folder) as opened:
        local.run(opened, Workplace(data_dir=folder, engine=FakeEngine()))
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
        assert configure.least(trial.config, images=1000, memory=False).parameters <= 30_000
    assert any("ruled_out" in trial.sampler_state for trial in undisturbed)
    restarted = trials(study, tmp_path, 3, 9)
    assert [t.params for t in restarted] == [t.params for t in undisturbed]
    assert [t.sampler_state for t in restarted] == [t.sampler_state for t in undisturbed]


def test_a_space_with_nothing_feasible_ends_with_the_reason(store: Store, tmp_path: Path) -> None:
    space = "width = { low = 1, high = 4 }\ndropout = { low = 0.0, high = 0.5 }"
    study = a_study(space=space, constraints="training_memory_bytes = { max = 10 }")
    done = drive(study, store, tmp_path)
    assert store.trials("small") == []
    assert done.stopped.startswith("no point is left that can run within the constraints: ")
    assert "training_memory_bytes would be " in done.stopped
    assert "the constraint allows 10" in done.stopped
    assert {event.kind for event in store.events("small")} == {"ruled out"}


def test_a_dense_network_is_held_against_the_bytes_that_it_will_have(
    store: Store, tmp_path: Path
) -> None:
    space = "width = 16\ntarget_sparsity = [0.0, 0.5]"
    done = drive(a_study(space=space, constraints="model_bytes = { max = 10 }"), store, tmp_path)
    assert [trial.params["target_sparsity"] for trial in store.trials("small")] == [0.5]
    assert "model_bytes would be" in done.stopped


# asks beside running trials


class _Slow:
    """Makes the sampler of a ledger wait before each proposal until it is let go on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.go, self.threads = threading.Semaphore(0), set[str]()
        usual = Proposals.propose

        def slowly(proposals: Proposals, number: int) -> Proposal | None:
            self.threads.add(threading.current_thread().name)
            assert self.go.acquire(timeout=60), "nobody let the sampler go on"
            return usual(proposals, number)

        monkeypatch.setattr(Proposals, "propose", slowly)


def test_a_sampler_that_thinks_holds_up_no_result(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = _Slow(monkeypatch)
    work = Workplace(data_dir=tmp_path, engine=FakeEngine())
    with Ledger(a_study(), store=store, artifacts=tmp_path, ask_ahead=True) as opened:
        slow.go.release(1)
        first = opened.next()  # and from here it thinks about the second one
        assert first is not None
        assert not opened.is_ready()
        for message in work.carry_out(first):
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
    def broken(proposals: Proposals, trial: Trial) -> None:
        raise ZeroDivisionError("cannot learn")

    monkeypatch.setattr(Proposals, "tell", broken)
    with (
        pytest.raises(ZeroDivisionError, match="cannot learn"),
        Ledger(a_study(), store=store, artifacts=tmp_path, ask_ahead=True) as opened,
    ):
        local.run(opened, Workplace(data_dir=tmp_path, engine=FakeEngine()))


# points to try first


def test_points_are_tried_first_in_their_order_and_not_again(tmp_path: Path) -> None:
    search = "points = [{ width = 7, timesteps = 2 }, { timesteps = 3 }, { width = 9 }]"
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
    search = "points = [{ width = 60 }, { width = 3 }, { width = 3 }, { width = 61 }]"
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
        "points = [{ weight_decay = 1e-3 }, { exit_threshold = [0.6, 0.7] }, "
        "{ exit_threshold = 0.8, partition = '2+1' }, { inference_timesteps = 8 }, "
        "{ exit_threshold_2 = 0.9 }]"
    )
    study = a_study(space=space, search=search)
    points = first_points(study.run, study.space, study.search.points, study.search.seed)
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
        "points = [{ width = 99, timstep = 2 }, { width = 4 }, "
        "{ optimizer = 'adam', weight_decay = 1e-3 }]"
    )
    with pytest.raises(StudyError) as caught:
        a_study(space=space, search=search)
    assert [fault.key for fault in caught.value.faults] == [
        "search.points[0].width",
        "search.points[0].timstep",
        "search.points[2].weight_decay",
    ]
    text = str(caught.value)
    assert "must be 1 to 64, got 99" in text
    assert "did you mean 'timesteps'" in text
    assert "does not exist at this point of the space" in text


def test_points_are_part_of_the_question_only_where_there_are_any() -> None:
    plain, empty = a_study(), a_study(search="points = []")
    assert plain.question_fingerprint == empty.question_fingerprint
    assert plain.differences(a_study(search="points = [{ width = 3 }]")) == ["search.points"]
