"""Run configs: defaults that follow, faults, fingerprints."""

import dataclasses
from typing import Any
from unittest import mock

import pytest

from snn.settings.config import PER_BLOCK, SETTINGS, ConfigError, RunConfig, nearest
from snn.settings.measurement import METRICS
from snn.settings.partition import format_partition, parse_partition, partitions
from snn.settings.setting import all_of, counted


def test_every_fault_is_reported_at_once_with_value_and_range() -> None:
    with pytest.raises(ConfigError, match=r"dropout must be below 1, got 1\.5") as caught:
        RunConfig(dropout=1.5, target_sparsity=1.2, backbone="resnet8", epochs=0)
    assert [fault.key for fault in caught.value.faults] == [
        "backbone",
        "dropout",
        "target_sparsity",
        "epochs",
    ]


def test_an_unknown_setting_names_the_nearest_one() -> None:
    with pytest.raises(ConfigError, match="did you mean 'timesteps'"):
        RunConfig.from_mapping({"timestep": 3})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"partition": "2+2"}, "at most the 3 units of resnet7"),
        ({"partition": "2+"}, "joined by"),
        ({"partition": "1+1", "exit_threshold": [0.5, 0.6]}, "one value, or 1"),
        ({"timesteps": 2, "inference_timesteps": 3}, "at most timesteps"),
        ({"rewiring": "open-loop", "target_sparsity": 0.3}, "closed-loop"),
        (
            {"rewiring": "deep-r-soft", "target_sparsity": 0.3, "prior_strength": 0},
            "prior_strength must be above 0 with rewiring 'deep-r-soft'.*use rewiring 'deep-r'",
        ),
        (
            {"rewiring": "deep-r-soft", "target_sparsity": 0.3, "rewiring_temperature": 0},
            "rewiring_temperature must be above 0",
        ),
        (
            {"block_classes": "hard", "space_rule": "end-to-end", "partition": "1+2"},
            "set space_rule",
        ),
        ({"class_rule": "median"}, "one of value, mean, worst-fraction"),
        ({"class_score": "f1"}, "one of recall, precision"),
        ({"hard_fraction": 1.5}, "at most 1"),
        ({"detector": "confidence"}, "one of none, mass, head, predicted"),
        ({"exit_combination": "max"}, "nested, last, maximum, mean, got 'max'"),
        ({"readout": "spiking", "readout_leak": 0.9}, "use readout 'integrator'"),
        ({"width": 2.5}, "must be an integer"),
        ({"learning_rate": float("nan")}, "must be finite, got nan"),
        ({"learning_rate": 1e300}, r"learning_rate must be at most 1000, got 1e\+300"),
        ({"threshold": 1e300}, r"threshold must be at most 1e\+30, got 1e\+300"),
        ({"width": 10**6}, "width must be at most 65536, got 1000000"),
        ({"epochs": 2**40}, "epochs must be at most 2147483647, got 1099511627776"),
        ({"timesteps": 10**12}, "timesteps must be at most 1000000, got 1000000000000"),
        ({"width": 10**5000}, "at most 65536, got an integer of about 5,001 digits"),
        ({"leak": 10**5000}, "at most 1, got an integer of about 5,001 digits"),
        ({"seed": -(10**400)}, "at least 0, got an integer of about 401 digits"),
        ({"dataset": 10**5000}, "must be a string, got an integer of about 5,001 digits"),
        (
            {"partition": "1+1+1", "exit_threshold": [10**400, True]},
            "exit_threshold must be at most 1, got an integer of about 401 digits",
        ),
        ({"partition": "1+1", "exit_threshold": True}, "must be a number, got True"),
        ({"width": True}, "must be an integer"),
        ({"dataset": 3}, "must be a string"),
    ],
)
def test_invalid_settings_are_refused(values: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        RunConfig.from_mapping(values)


def test_settings_left_out_are_completed() -> None:
    config = RunConfig(partition="1+1+1", exit_threshold=(0.7,), surrogate="sigmoid")
    assert config.exit_threshold == (0.7, 0.7)
    assert config.surrogate_slope == 4.0
    assert config.inference_timesteps == config.timesteps
    assert RunConfig().partition == "3"


def test_one_block_is_trained_end_to_end_with_every_space_rule() -> None:
    local = RunConfig(partition="3", space_rule="block-local")
    assert local == RunConfig(partition="3", space_rule="end-to-end")
    assert local.fingerprint == RunConfig(partition="3", space_rule="end-to-end").fingerprint


def test_a_config_survives_its_own_mapping() -> None:
    config = RunConfig(partition="2+1", target_sparsity=0.9, exit_threshold=(0.66,))
    assert RunConfig.from_mapping(config.to_mapping()) == config


def test_the_operating_point_changes_the_run_and_not_the_training() -> None:
    config = RunConfig(partition="1+2")
    other = config.replace(
        exit_threshold=(0.5,),
        detector_threshold=0.1,
        exit_combination="mean",
        inference_timesteps=2,
    )
    assert other.training_fingerprint == config.training_fingerprint
    assert other.fingerprint != config.fingerprint
    assert config.replace(seed=1).training_fingerprint != config.training_fingerprint


def test_a_renamed_choice_is_read_and_changes_no_fingerprint() -> None:
    """`chunked` is the former name of `checkpointed`; stored runs are found by fingerprint."""
    config = RunConfig(memory_mode="chunked")
    assert config == RunConfig(memory_mode="checkpointed")
    assert config.to_mapping()["memory_mode"] == "checkpointed"
    assert config.fingerprint == "86c5462866a681ec"
    assert "chunked" not in SETTINGS["memory_mode"].choices


def test_a_setting_that_does_not_apply_is_in_no_mapping_and_no_fingerprint() -> None:
    """So that a setting can be added without new names for stored runs."""
    plain = RunConfig()
    known = dataclasses.replace(SETTINGS["votes"], without=1)
    without = {n: v for n, v in plain.to_mapping().items() if n != "votes"}
    with mock.patch.dict(SETTINGS):  # puts the order back too, which pages are written in
        SETTINGS["votes"] = known
        assert plain.to_mapping() == without
        assert RunConfig.from_mapping(without) == plain
        del SETTINGS["votes"]
        assert (before := plain.fingerprint) != ""
        SETTINGS["votes"] = known
        assert plain.fingerprint == before
        assert "votes" in plain.replace(votes=2).to_mapping()


def test_replacing_timesteps_replaces_inference_timesteps() -> None:
    assert RunConfig(timesteps=8).replace(timesteps=3).inference_timesteps == 3


def test_replacing_a_setting_replaces_the_defaults_that_follow_from_it() -> None:
    config = RunConfig(partition="1+1+1", exit_threshold=(0.7,))
    assert config.replace(block_classes="hard").detector == "head"
    assert config.replace(surrogate="sigmoid").surrogate_slope == 4.0
    assert config.replace(partition="1+2").exit_threshold == (0.7,)
    assert RunConfig().replace(partition="1+1+1") == RunConfig(partition="1+1+1")
    assert RunConfig().replace(backbone="resnet9") == RunConfig(backbone="resnet9")
    assert config.replace(time_rule="saf-e").loss == "instantaneous"
    assert config.replace(readout="spiking").loss == "squared-error"
    assert config.replace(readout="spiking", time_rule="ottt-a").loss == "instantaneous"
    assert config.replace(partition="3").replace(partition="1+2").exit_threshold == (0.9,)


def test_every_setting_has_a_meaning() -> None:
    assert all(setting.meaning for setting in SETTINGS.values())


@pytest.mark.parametrize("units", [1, 2, 3, 4, 5, 7])
def test_there_are_two_to_the_cuts_partitions(units: int) -> None:
    found = list(partitions(units, max_blocks=units))
    assert len(set(found)) == len(found) == 2 ** (units - 1)
    assert all(sum(parse_partition(text)) == units for text in found)
    assert all(format_partition(parse_partition(text)) == text for text in found)


def test_a_count_has_its_noun() -> None:
    assert counted(1, "trial") == "1 trial"
    assert counted(1200, "trial") == "1,200 trials"
    assert [counted(each, "hour") for each in (0.5, 1.0, 2.0)] == ["0.5 hours", "1 hour", "2 hours"]
    assert [counted(each, "study", "studies") for each in (1, 0)] == ["1 study", "0 studies"]
    assert (all_of(1, "trial"), all_of(2, "trial")) == ("the only trial", "all 2 trials")


def test_what_others_call_a_setting_or_metric_is_known() -> None:
    for given, meant in (("lr", "learning_rate"), ("T", "timesteps"), ("opt", "optimizer")):
        with pytest.raises(ConfigError, match=rf"did you mean '{meant}'\?"):
            RunConfig.from_mapping({given: 1})
    assert nearest("acc", METRICS) == "; did you mean 'accuracy'?"
    assert nearest("memory", SETTINGS) == "; did you mean 'memory_mode'?"  # a metric, not here


def test_nearest_is_empty_when_no_name_is_similar() -> None:
    assert nearest("zzz", ["accuracy"]) == ""


def test_equal_values_of_blocks_are_one_number() -> None:
    plain = RunConfig(partition="1+1+1", dropout=0.1)
    assert RunConfig(partition="1+1+1", dropout=(0.1, 0.1, 0.1)) == plain  # type: ignore[arg-type]
    own = RunConfig.from_mapping({"partition": "1+1+1", "dropout": [0, 0.1, 0.1]})
    assert own.dropout == (0.0, 0.1, 0.1)
    assert [own.of_block(k).dropout for k in range(3)] == [0.0, 0.1, 0.1]
    assert RunConfig.from_mapping(own.to_mapping()) == own
    assert own.prefix(1) == plain.prefix(1).replace(dropout=0.0)
    assert own.fingerprint != plain.fingerprint
    assert plain.of_block(2) is plain
    assert own.of_block(1) == own.replace(dropout=0.1)
    # of_block checks and completes nothing, which is right as long as no setting needs one of these
    assert not [n for n, s in SETTINGS.items() if set(s.only_with) & set(PER_BLOCK)]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"dropout": [0.1, 0.2]}, "dropout must have one value, or 3 for partition 1[+]1[+]1"),
        ({"dropout": [0.1, 0.2, 1.0]}, r"dropout must be below 1, got 1\.0"),
        ({"leak": [0.5, 0.6, "x"]}, "leak must be a number"),
        ({"width": [4, 5, 6]}, "width must be an integer"),
        ({"leak": [0.3, 0.9, 0.9], "time_rule": "spike-bp", "reset": "hard"}, "must be above 1/e"),
        ({"head_hidden": [1, 2, 3], "space_rule": "end-to-end"}, "one after another; set"),
    ],
)  # fmt: skip
def test_values_of_blocks_are_checked(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        RunConfig.from_mapping({"partition": "1+1+1", **values})
