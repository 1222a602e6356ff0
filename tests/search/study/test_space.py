"""Spaces: what can be drawn, what is a point, how many there are."""

import math
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search.study.axes import Value
from search.study.dimension import middle
from search.study.space import (
    Choice,
    ExitAxis,
    Fixed,
    Integer,
    PartitionAxis,
    RandomSuggest,
    Real,
    Space,
    Suggest,
    conflict,
    run_values,
)
from search.study.space_table import read_space
from search.trial.trial import Params
from snn.settings.config import ConfigError, RunConfig

CONDITIONAL = {
    "partition": {"max_blocks": 3},
    "exit_threshold": {"low": 0.5, "high": 0.9, "step": 0.1},
    "space_rule": ["block-local", "end-to-end"],
    "block_classes": {"values": ["all", "hard"], "when": {"space_rule": "block-local"}},
    "class_threshold": {"low": 0.5, "high": 0.9, "when": {"block_classes": ["hard"]}},
}


def a_space(table: dict[str, Any], **run: Any) -> Space:
    space, faults = read_space(table, run)
    assert faults == []
    assert space is not None
    return space


def faults_of(table: object, **run: Any) -> list[str]:
    space, faults = read_space(table, run)
    assert (space is None) == bool(faults)
    return [str(fault) for fault in faults]


class Lowest:
    """Takes the lowest and the first of everything, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[object, ...]] = []

    def integer(self, name: str, low: int, high: int, step: int, log: bool) -> int:
        self.asked.append((name, low, high, step, log))
        return low

    def real(self, name: str, low: float, high: float, step: float | None, log: bool) -> float:
        self.asked.append((name, low, high, step, log))
        return low

    def choice(self, name: str, values: Sequence[Value]) -> Value:
        self.asked.append((name, *values))
        return values[0]


def test_a_list_is_a_choice_a_pair_of_bounds_a_range_and_a_value_fixed() -> None:
    space = a_space(
        {
            "optimizer": ["adam", "sgd"],
            "width": {"low": 8, "high": 64, "log": True},
            "dropout": {"low": 0, "high": 0.3, "step": 0.1},
            "timesteps": 4,
            "partition": {"max_blocks": 2},
        }
    )
    assert space.axes == {
        "width": Integer(low=8, high=64, log=True),
        "partition": PartitionAxis(max_blocks=2, units=3),
        "dropout": Real(low=0.0, high=0.3, step=0.1),
        "timesteps": Fixed(value=4),
        "optimizer": Choice(values=("adam", "sgd")),
    }


def test_whoever_suggests_is_told_the_range_with_an_end_that_steps_reach() -> None:
    lowest = Lowest()
    assert isinstance(lowest, Suggest)
    table = {
        "width": {"low": 8, "high": 20, "step": 8},
        "dropout": {"low": 0.1, "high": 0.35, "step": 0.1},
        "timesteps": 4,
    }
    assert a_space(table).sample(lowest) == {"width": 8, "dropout": 0.1, "timesteps": 4}
    assert lowest.asked == [("width", 8, 16, 8, False), ("dropout", 0.1, 0.3, 0.1, False)]


def test_the_order_of_a_file_changes_nothing_that_is_drawn() -> None:
    forth = a_space(CONDITIONAL)
    back = a_space(dict(reversed(CONDITIONAL.items())))
    assert forth == back
    assert forth.order == back.order


def test_there_is_a_threshold_for_each_exit_that_the_partition_makes() -> None:
    space = a_space({"partition": ["3", "1+2", "1+1+1"], "exit_threshold": [0.5, 0.9]})
    suggest = RandomSuggest(1)
    for _ in range(50):
        params = space.sample(suggest)
        thresholds = [name for name in params if name.startswith("exit_threshold_")]
        assert len(thresholds) == str(params["partition"]).count("+")
    assert space.param_names() == ("partition", "exit_threshold_1", "exit_threshold_2")


def test_a_fixed_partition_says_how_many_exits_there_are() -> None:
    space = a_space({"exit_threshold": {"low": 0.5, "high": 0.9}}, partition="1+1+1")
    assert set(space.sample(Lowest())) == {"exit_threshold_1", "exit_threshold_2"}
    assert space.axes["exit_threshold"] == ExitAxis(each=Real(low=0.5, high=0.9), exits=2)


def test_one_value_for_every_exit_can_be_fixed() -> None:
    space = a_space({"exit_threshold": 0.8, "partition": ["1+1+1"]})
    params = space.sample(Lowest())
    assert params["exit_threshold"] == 0.8
    assert RunConfig.from_mapping(run_values({}, params)).exit_threshold == (0.8, 0.8)


def test_an_axis_whose_condition_does_not_hold_is_absent() -> None:
    space = a_space(CONDITIONAL)
    suggest = RandomSuggest(0)
    seen = set()
    for _ in range(200):
        params = space.sample(suggest)
        is_local = params["space_rule"] == "block-local"
        assert ("block_classes" in params) == is_local
        assert ("class_threshold" in params) == (params.get("block_classes") == "hard")
        seen.add((is_local, params.get("block_classes")))
    assert seen == {(True, "all"), (True, "hard"), (False, None)}


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 10_000))
def test_every_point_that_is_drawn_is_a_point_and_runs(seed: int) -> None:
    space = a_space(CONDITIONAL, backbone="resnet7")
    params = space.sample(RandomSuggest(seed))
    space.validate(params)
    config = RunConfig.from_mapping(run_values({"backbone": "resnet7"}, params))
    assert config.partition == params["partition"]
    assert len(config.exit_threshold) == config.exits - 1


def test_a_point_survives_the_rounding_of_its_steps() -> None:
    space = a_space({"dropout": {"low": 0.0, "high": 0.3, "step": 0.05}})
    assert tuple(space.axes["dropout"].values) == (0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3)  # type: ignore[union-attr]
    space.validate({"dropout": 3 * 0.05})  # which is 0.15000000000000002


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"space_rule": "end-to-end"}, r"^partition must be given: 3 \| 2\+1"),
        (
            {"partition": "4", "space_rule": "end-to-end"},
            r"^partition must be one of 3, 2\+1, 1\+2, 1\+1\+1, got '4'",
        ),
        (
            {"partition": "2+1", "space_rule": "end-to-end", "exit_threshold_1": 0.55},
            r"^exit_threshold_1 must be 0.5 to 0.9 in steps of 0.1, got 0.55$",
        ),
        (
            {"partition": "2+1", "space_rule": "end-to-end"},
            r"^exit_threshold_1 must be given: 0.5 to 0.9 in steps of 0.1$",
        ),
        (
            {"partition": "3", "space_rule": "end-to-end", "exit_threshold_1": 0.5},
            r"^exit_threshold_1 is not active in this configuration$",
        ),
        (
            {"partition": "3", "space_rule": "end-to-end", "class_threshold": 0.5},
            r"^class_threshold is not active in this configuration",
        ),
        (
            {"partition": "3", "space_rule": "end-to-end", "block_class": "all"},
            r"^block_class is not an axis of the space; did you mean 'block_classes'\?$",
        ),
        ({"partition": "3", "space_rule": True}, r"^space_rule must be one of .*, got True$"),
    ],
)
def test_what_is_no_point_says_why(params: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        a_space(CONDITIONAL).validate(params)


@pytest.mark.parametrize(
    ("table", "size"),
    [
        ({"width": [8, 16], "timesteps": {"low": 2, "high": 8, "step": 3}}, 6),
        ({"width": 8}, 1),
        ({"dropout": {"low": 0.0, "high": 0.3, "step": 0.05}}, 7),
        ({"dropout": {"low": 0.0, "high": 0.3}, "width": [8, 16]}, math.inf),
        ({"leak": {"low": 0.5, "high": 0.5}}, 1),
        # 3, then two cuts with one exit, then one with two.
        ({"partition": {"max_blocks": 3}, "exit_threshold": [0.5, 0.7, 0.9]}, 1 + 2 * 3 + 9),
        # End-to-end is one, block-local is all or hard.
        (
            {
                "space_rule": ["block-local", "end-to-end"],
                "block_classes": {"values": ["all", "hard"], "when": {"space_rule": "block-local"}},
            },
            3,
        ),
        # 999,999 timesteps with one reset, one with two.
        (
            {
                "timesteps": {"low": 1, "high": 1_000_000},
                "reset": {"values": ["soft", "hard"], "when": {"timesteps": 4}},
            },
            1_000_001,
        ),
    ],
)
def test_the_size_counts_different_points(table: dict[str, Any], size: float) -> None:
    assert a_space(table).size() == size


def test_the_size_of_a_discrete_space_is_what_drawing_finds() -> None:
    table = {k: v for k, v in CONDITIONAL.items() if k != "class_threshold"}
    space = a_space(table | {"exit_threshold": [0.5, 0.9]})
    suggest = RandomSuggest(0)
    points = {tuple(sorted(space.sample(suggest).items())) for _ in range(3_000)}
    assert len(points) == space.size() == 27


def test_the_space_describes_itself_to_people() -> None:
    assert a_space(CONDITIONAL).describe() == [
        "partition        3 | 2+1 | 1+2 | 1+1+1",
        "space_rule       block-local | end-to-end",
        "block_classes    all | hard  when space_rule is block-local",
        "class_threshold  0.5 to 0.9  when block_classes is hard",
        "exit_threshold   0.5 to 0.9 in steps of 0.1, for each exit before the last",
    ]


def test_drawing_in_logarithms_reaches_every_whole_number_and_stays_inside() -> None:
    space = a_space({"width": {"low": 1, "high": 8, "log": True}})
    suggest = RandomSuggest(0)
    assert {space.sample(suggest)["width"] for _ in range(500)} == set(range(1, 9))


def test_run_values_collects_the_thresholds_in_order_and_takes_the_rest_as_it_is() -> None:
    params: Params = {"exit_threshold_2": 0.6, "exit_threshold_1": 0.9, "partition": "1+1+1"}
    assert run_values({"width": 8}, params) == {
        "width": 8,
        "partition": "1+1+1",
        "exit_threshold": (0.9, 0.6),
    }
    assert run_values({"detector_threshold": 0.4}, {"class_threshold": 0.3}) == {
        "detector_threshold": 0.4,
        "class_threshold": 0.3,
    }


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({}, "space must be a table with at least one axis"),
        (None, "space must be a table with at least one axis"),
        ({"tau_m": [1]}, "space.tau_m is not a setting of a run; known: dataset"),
        ({"widht": [1]}, "space.widht is not a setting of a run; did you mean 'width'?"),
        ({"exit_threshold_1": [0.5]}, "use exit_threshold, one range for all exits"),
        ({"width": {"low": 8}}, "space.width.high must be given"),
        ({"width": {"low": 8, "high": 4}}, "space.width.low must be at most high (4), got 8"),
        ({"width": {"low": 8, "high": 9.5}}, "space.width.high must be an integer, got 9.5"),
        ({"width": {"low": True, "high": 9}}, "space.width.low must be an integer, got True"),
        ({"width": {"low": 0, "high": 9}}, "space.width.low must be at least 1, got 0"),
        ({"width": {"low": 1, "high": 9, "step": 0}}, "space.width.step must be above 0, got 0"),
        ({"width": {"low": 1, "high": 9, "step": 9}}, "space.width.step must be at most high - lo"),
        (
            {"width": {"low": 1, "high": 9, "step": 1.5}},
            "space.width.step must be an integer, got 1.5",
        ),
        (
            {"width": {"low": 1, "high": 9, "lgo": 1}},
            "space.width.lgo is not a key of this axis; d",
        ),
        (
            {"width": {"low": 1, "high": 9, "log": 1}},
            "space.width.log must be true or false, got 1",
        ),
        ({"width": []}, "space.width must have a list of at least one value, got []"),
        ({"width": {"values": 3}}, "space.width must have a list of at least one value, got 3"),
        ({"width": [8, 8]}, "space.width must name each value once, got 8 repeatedly"),
        ({"width": [8, "x"]}, "space.width must be an integer, got 'x'"),
        ({"dropout": {"low": 0, "high": 1.5}}, "space.dropout.high must be below 1, got 1.5"),
        ({"target_sparsity": 1.2}, "space.target_sparsity must be below 1, got 1.2"),
        (
            {"weight_decay": {"low": 0, "high": 0.1, "log": True}},
            "space.weight_decay.low must be above 0 with log = true, got 0",
        ),
        (
            {"leak": {"low": 0.1, "high": 0.9, "log": True, "step": 0.1}},
            "space.leak.step must be left out with log = true",
        ),
        ({"leak": {"low": math.nan, "high": 1}}, "space.leak.low must be finite, got nan"),
        ({"leak": {"low": 0, "high": 1, "step": -0.1}}, "space.leak.step must be above 0, got -0"),
        ({"time_rule": ["bppt"]}, "got 'bppt'; did you mean 'bptt'?"),
        (
            {"optimizer": {"low": 1, "high": 2}},
            "space.optimizer must be a list of choices from adam, sgd, got { low = 1, high = 2 }",
        ),
        (
            {"partition": {"max_blocks": 4}},
            "space.partition.max_blocks must be at most the 3 units",
        ),
        ({"partition": {"max_blocks": 0}}, "space.partition.max_blocks must be at least 1, got 0"),
        ({"partition": {"min_blocks": 2}}, "space.partition.max_blocks must be given"),
        (
            {"partition": {"max_blocks": 2, "min_blocks": 3}},
            "space.partition.min_blocks must be at most max_blocks (2), got 3",
        ),
        (
            {"partition": {"max_blocks": 2, "min_block": 2}},
            "space.partition.min_block is not a key of this axis; did",
        ),
        ({"partition": ["2+2"]}, "space.partition must cover at most the 3 units of resnet7"),
        ({"partition": ["2-1"]}, "space.partition must be positive unit counts joined by '+'"),
        (
            {"backbone": ["resnet7", "vgg9"], "partition": {"max_blocks": 2}},
            "space.partition must be a list of partitions where the architectures differ in units",
        ),
        (
            {"backbone": ["resnet5", "vgg9"], "partition": ["2+1"]},
            "space.partition must cover at most the 2 units of resnet5, got '2+1' with 3",
        ),
        ({"exit_threshold": [0.5]}, "space.exit_threshold has no effect: with one block"),
        (
            {"leak": {"low": 0.1, "high": 0.2, "when": 3}},
            "space.leak.when must be like { space_rule = 'block-local' }, got 3",
        ),
        (
            {"leak": {"values": [0.1], "when": {"rest": "soft"}}, "reset": ["soft"]},
            "space.leak.when.rest must name an axis of [space], 'rest' is none; did you mean",
        ),
        (
            {"leak": {"values": [0.1], "when": {"reset": "sfot"}}, "reset": ["soft", "hard"]},
            "space.leak.when.reset must be one of soft, hard, got 'sfot'; did you mean 'soft'?",
        ),
        (
            {"leak": {"values": [0.1], "when": {"width": 7}}, "width": {"low": 8, "high": 9}},
            "space.leak.when.width must be 8 to 9, got 7",
        ),
        (
            {"leak": {"values": [0.1], "when": {"dropout": 0}}, "dropout": {"low": 0, "high": 0.9}},
            "space.leak.when.dropout must name an axis with separate values",
        ),
        (
            {
                "leak": {"values": [0.1], "when": {"reset": "soft"}},
                "reset": {"values": ["soft"], "when": {"leak": 0.1}},
            },
            "must not form a cycle: ",
        ),
        (
            {"leak": {"values": [0.1], "when": {"leak": 0.1}}},
            "space.leak.when must not form a cycle: leak -> leak",
        ),
    ],
)
def test_what_cannot_be_an_axis_is_one_fault_that_says_what_can(
    table: object, message: str
) -> None:
    (fault,) = faults_of(table)
    assert message in fault


def test_an_axis_is_shared_or_searched_and_a_condition_is_about_what_is_searched() -> None:
    table = {"leak": {"values": [0.1, 0.2], "when": {"reset": "soft"}}, "width": [8, 16]}
    assert faults_of(table, width=8, reset="soft") == [
        "space.width is in [run] too; remove it from [run] or from [space]",
        "space.leak.when.reset must name an axis of [space], 'reset' is none; it is fixed in [run]",
    ]


def test_every_fault_of_a_space_is_named_at_once() -> None:
    table = {
        "width": {"low": 9, "high": 8, "step": 0},
        "dropout": {"low": -1, "high": 2},
        "tau": [1],
    }
    assert [fault.split(" ")[0] for fault in faults_of(table)] == [
        "space.width.step",
        "space.width.low",
        "space.dropout.low",
        "space.dropout.high",
        "space.tau",
    ]


def test_a_space_in_which_nothing_can_run_is_a_conflict_that_names_the_settings() -> None:
    run = {"block_classes": "hard", "space_rule": "end-to-end"}
    space = a_space({"partition": ["2+1", "1+1+1"]}, **run)
    found = str(conflict(run, space))
    assert found.startswith(
        "space has no valid configuration: run.block_classes 'hard' needs block"
    )


def test_a_choice_that_can_never_run_is_a_conflict_that_names_it() -> None:
    """`spike-bp` needs a hard reset, and the reset is fixed at soft."""
    space = a_space({"time_rule": ["bptt", "spike-bp"], "leak": {"low": 0.5, "high": 0.9}})
    found = str(conflict({}, space))
    assert found.startswith("space.time_rule has 'spike-bp', with which no configuration is valid:")
    assert "use 'hard'" in found
    both = a_space({"time_rule": ["bptt", "spike-bp"], "reset": ["soft", "hard"]})
    assert conflict({}, both) is None


@pytest.mark.parametrize("axis", [[2, 9, 4], {"low": 2, "high": 9, "log": True}])
def test_a_limit_between_two_settings_is_named_at_the_end_of_the_range(axis: object) -> None:
    run = {"inference_timesteps": 32}
    assert str(conflict(run, a_space({"timesteps": axis}, **run))) == (
        "space has no valid configuration: run.inference_timesteps must be at most timesteps (9), "
        "got 32"
    )


def test_a_space_that_is_valid_only_at_an_end_is_no_conflict() -> None:
    """Random draws would miss the few valid ones among so many."""
    axis = {"low": 1, "high": 10**6}
    at_the_top, at_the_bottom = {"inference_timesteps": 10**6}, {"timesteps": 1}
    assert conflict(at_the_top, a_space({"timesteps": axis}, **at_the_top)) is None
    space = a_space({"inference_timesteps": axis}, **at_the_bottom)
    assert conflict(at_the_bottom, space) is None


def test_a_space_in_which_something_can_run_is_no_conflict() -> None:
    run = {"inference_timesteps": 6}
    assert conflict(run, a_space({"timesteps": {"low": 2, "high": 8}}, **run)) is None
    assert "space.inference_timesteps" in str(
        conflict({"timesteps": 4}, a_space({"inference_timesteps": [5, 6]}, timesteps=4))
    )


@pytest.mark.parametrize(
    ("axis", "size", "text"),
    [
        (
            {"dropout": {"low": 0.0, "high": 0.3, "step": 0.07}},
            5,
            "dropout  0 to 0.28 in steps of 0.07; 0.3 is not reached",
        ),
        (
            {"timesteps": {"low": 2, "high": 9, "step": 3}},
            3,
            "timesteps  2 to 8 in steps of 3; 9 is not reached",
        ),
        (
            {"learning_rate": {"low": 0.001, "high": 0.5, "step": 1e-9}},
            499_000_001,
            "learning_rate  0.001 to 0.5 in steps of 1e-09",
        ),
        (
            {"weight_decay": {"low": 1e-13, "high": 1e-11, "step": 1e-13}},
            100,
            "weight_decay  1e-13 to 1e-11 in steps of 1e-13",
        ),
    ],
)
def test_steps_of_any_size_are_counted_and_their_last_value_is_said(
    axis: dict[str, object], size: int, text: str
) -> None:
    """Grids used to be made whole, and their values rounded to 12 decimals."""
    space, faults = read_space(axis, {})
    assert space is not None, faults
    assert space.size() == pytest.approx(size, abs=1)
    assert space.describe() == [text]
    drawn = {value for k in range(50) for value in space.sample(RandomSuggest(k)).values()}
    assert len(drawn) == min(size, len(drawn)) > 2
    for value in drawn:
        space.validate({next(iter(axis)): value})


@pytest.mark.parametrize(
    ("axis", "fault"),
    [
        (
            {"learning_rate": {"low": 0.001, "high": 0.5, "step": 5e-324}},
            "space.learning_rate.step must be at least 1.1e-16 here, got 5e-324",
        ),
        (
            {"seed": {"low": 0, "high": 2**63 - 1}},
            "space.seed.high must leave at most 9007199254740992 values",
        ),
    ],
)
def test_ranges_that_nobody_can_count_are_refused(axis: dict[str, object], fault: str) -> None:
    assert [str(found) for found in read_space(axis, {})[1]] == [fault]


@pytest.mark.parametrize(
    ("axis", "value"),
    [
        (Real(low=0.01, high=1.0, log=True), 0.1),
        (Real(low=0.0, high=1.0), 0.5),
        (Real(low=0.0, high=0.4, step=0.1), 0.2),
    ],
)
def test_an_inactive_value_lies_in_the_middle_of_its_scale(axis: Real, value: float) -> None:
    assert middle(axis) == pytest.approx(value)
