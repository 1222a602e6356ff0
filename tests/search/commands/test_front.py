"""The front as commands print it: merged rows, and the reason where there is none."""

import json
from pathlib import Path

import pytest

from search.commands import cli
from search.store.store import Store
from search.study.study import study_from_toml
from search.trial.trial import Outcome, Trial, TrialState
from snn.settings.config import RunConfig
from tests.search.fake_engine import evaluation

STUDY = """name = "tiny"
objectives = ["accuracy", "synaptic_ops"]
{constraints}
[space]
width = [4, 8]
"""


def store_of(folder: Path, *widths: int, constraints: str = "") -> str:
    """A store whose study `tiny` has a complete trial of each width."""
    configs = [RunConfig(width=width, timesteps=1) for width in widths]
    return store_of_runs(folder, *configs, constraints=constraints)


def store_of_runs(folder: Path, *configs: RunConfig, constraints: str = "") -> str:
    url = f"sqlite:///{folder / 'store.db'}"
    study = study_from_toml(STUDY.format(constraints=constraints))
    with Store(url) as store:
        store.create_study(study)
        for number, config in enumerate(configs):
            trial = Trial(
                number=number,
                params={"width": config.width},
                state=TrialState.RUNNING,
                config=config,
            )
            store.add_trial("tiny", trial)
            outcome = Outcome(state=TrialState.COMPLETE, evaluation=evaluation(config))
            store.finish_trial("tiny", number, outcome)
        if not constraints:
            store.update_front("tiny", {point.id for point in store.operating_points("tiny")})
    return url


def test_equal_points_of_equal_trainings_are_one_row_with_all_trial_numbers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two trials that were trained alike were two rows of the front."""
    url = store_of(tmp_path, 8, 4, 8)
    assert cli.main(["front", "tiny", "--store", url, "--json"]) == 0
    points = json.loads(capsys.readouterr().out)["points"]
    assert sorted((point["trial"], point["trials"]) for point in points) == [(0, [0, 2]), (1, [1])]
    assert cli.main(["front", "tiny", "--store", url]) == 0
    assert " 0, 2 " in capsys.readouterr().out
    assert cli.main(["status", "tiny", "--store", url]) == 0
    assert "3, 2 on the front" in capsys.readouterr().out


def test_networks_with_equal_first_blocks_are_one_row_where_only_those_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Blocks trained one after another: the first does not depend on how the rest is cut."""
    shared = {"width": 8, "timesteps": 1, "space_rule": "block-local"}
    runs = [RunConfig(partition=cut, **shared) for cut in ("1+1+1", "1+2", "2+1")]
    url = store_of_runs(tmp_path, *runs)
    assert cli.main(["front", "tiny", "--store", url, "--json"]) == 0
    points = json.loads(capsys.readouterr().out)["points"]
    assert sorted(point["trials"] for point in points) == [[0, 1], [2]]


def test_a_constraint_that_no_point_meets_is_named_with_the_closest_value(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`no trial is complete` was printed next to `3 complete`."""
    url = store_of(tmp_path, 8, 4, constraints="[constraints]\nsynaptic_ops = { max = 10 }")
    reason = (
        "tiny has no front: none of its 2 operating points meets [constraints]: "
        "synaptic_ops <= 10 (closest: 4 k ops). Loosen the constraint, or widen [space]"
    )
    for words in (["front", "tiny"], ["status", "tiny"]):
        assert cli.main([*words, "--store", url]) == 0
        assert reason in " ".join(capsys.readouterr().out.split())
    assert cli.main(["export", "tiny", "--out", "x", "--store", url]) == 2
    assert reason in capsys.readouterr().err


def test_a_study_without_a_complete_trial_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["front", "tiny", "--store", store_of(tmp_path)]) == 0
    assert "tiny has no front yet: no trial is complete" in capsys.readouterr().out


def test_an_objective_that_is_the_same_in_all_trials_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its study had a hypervolume of 0 for ever, without a word."""
    url = store_of(tmp_path, 8, 8)
    for words in (["front", "tiny"], ["status", "tiny"]):
        assert cli.main([*words, "--store", url]) == 0
        said = " ".join(capsys.readouterr().out.split())
        assert (
            "objective synaptic_ops is 8 k ops in every trial, so that it decides nothing" in said
        )
