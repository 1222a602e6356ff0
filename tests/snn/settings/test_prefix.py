"""Prefixes: the first blocks that two runs train identically."""

import pytest

from snn.settings.config import RunConfig
from snn.settings.prefix import prefix_keys, shared_blocks


def config(partition: str, **settings: object) -> RunConfig:
    return RunConfig.from_mapping({"backbone": "resnet9", "partition": partition, **settings})


@pytest.mark.parametrize(
    ("first", "second", "blocks"),
    [
        ("1+1+2", "1+1+1+1", 2),
        ("1+3", "1+2+1", 1),
        ("2+2", "1+3", 0),
        ("1", "1+1", 1),
        ("4", "4", 1),
    ],
)
def test_blocks_are_shared_up_to_the_first_with_other_units(
    first: str, second: str, blocks: int
) -> None:
    assert shared_blocks(config(first), config(second)) == blocks
    assert shared_blocks(config(second), config(first)) == blocks


def test_only_inference_settings_may_differ_in_shared_blocks() -> None:
    base = config("1+3")
    same = config("1+2+1", exit_threshold=[0.6, 0.7], inference_timesteps=2)
    assert shared_blocks(base, same) == 1
    for settings in ({"width": 9}, {"epochs": 3}, {"seed": 1}, {"learning_rate": 0.5}):
        assert shared_blocks(base, config("1+2+1", **settings)) == 0
    assert shared_blocks(base, config("1+2+1", space_rule="end-to-end")) == 0
    assert shared_blocks(base, config("1+2+1", block_classes="hard")) == 0


def test_a_key_says_what_the_first_blocks_depend_on() -> None:
    short, long = prefix_keys(config("1+1")), prefix_keys(config("1+1+2"))
    assert len(long) == 3
    assert short == long[:2]
    other = prefix_keys(config("1+1+2", dropout=[0.0, 0.1, 0.0]))
    assert [a == b for a, b in zip(long, other, strict=True)] == [True, False, False]
    assert prefix_keys(config("1+1", space_rule="end-to-end")) == ()
