"""Axes of units and blocks: every value that is asked for makes a network that can be."""

import itertools
from collections.abc import Sequence
from typing import Any

import pytest

from search.study.axes import Value
from search.study.initial_points import initial_points
from search.study.presets import PRESETS
from search.study.space import RandomSuggest, run_values
from search.study.study import Study, StudyError, study_from_toml
from search.study.units import composed
from snn.settings.config import RunConfig

UNITS = """
count = { low = 1, high = 3 }
per_block = 1
kind = ["c", "r", "d", "none"]
channels = [8, "1w"]
neurons = 9
stride = [1, 2]
pool = [false, true]
skip = ["conv", "identity"]
"""


def study(units: str = UNITS, *, space: str = "", run: str = "", search: str = "") -> Study:
    return study_from_toml(
        f'name = "x"\nobjectives = ["accuracy"]\n[run]\nwidth = 4\n{run}\n[space]\n{space}\n'
        f"{'[space.units]' if units else ''}\n{units}\n[search]\n{search}\n",
        "x.toml",
    )


class Every:
    """Suggests each configuration once: an odometer over the questions that are asked."""

    def __init__(self) -> None:
        self.places: list[int] = []
        self._sizes: list[int] = []

    def again(self) -> bool:
        """Turn to the next configuration; False after the last."""
        self.places = self.places[: len(self._sizes)]
        while self.places and self.places[-1] + 1 == self._sizes[len(self.places) - 1]:
            self.places.pop()
        if not self.places:
            return False
        self.places[-1] += 1
        self._sizes = []
        return True

    def _taken(self, size: int) -> int:
        self._sizes.append(size)
        if len(self._sizes) > len(self.places):
            self.places.append(0)
        return self.places[len(self._sizes) - 1]

    def integer(self, name: str, low: int, high: int, step: int, log: bool) -> int:
        return low + step * self._taken((high - low) // step + 1)

    def real(self, name: str, low: float, high: float, step: float | None, log: bool) -> float:
        raise AssertionError(name)

    def choice(self, name: str, values: Sequence[Value]) -> Value:
        return values[self._taken(len(values))]


def every(of: Study) -> list[dict[str, Any]]:
    suggest, found = Every(), []
    for _ in itertools.count():
        found.append(dict(of.space.sample(suggest)))
        if not suggest.again():
            return found
    raise AssertionError


@pytest.mark.parametrize(
    ("units", "space"),
    [
        (UNITS, ""),
        (
            UNITS.replace("per_block = 1", "per_block = 2"),
            "dropout = { values = [0.0, 0.1], per = 'block' }",
        ),
        (UNITS.replace('["c", "r", "d", "none"]', '["s", "b"]'), "votes = [1, 2]"),
        ("count = 2\nkind = ['c', 'd']\nchannels = [3, 4]\nneurons = [5, 6]\nkernel = [3, 5]", ""),
    ],
)  # fmt: skip
def test_the_size_is_the_number_of_configurations_and_each_is_a_run(units: str, space: str) -> None:
    asked = study(units, space=space)
    found = every(asked)
    assert len({str(params) for params in found}) == len(found) == asked.space.size()
    for params in found[:: max(1, len(found) // 60)]:
        asked.space.validate(params)
        config = RunConfig.from_mapping(run_values(asked.run, params))
        if "units_per_block" in params:
            assert config.exits == -(-len(config.units) // params["units_per_block"])


def test_what_cannot_be_is_not_asked_for() -> None:
    asked = study(run='dataset = "digits"')
    whole = [params for params in every(asked) if "none" not in params.values()]
    texts = {composed(params)["architecture"]: params for params in whole}
    assert "d9 d9" in texts
    assert not any("d9 c" in text or "d9 r" in text for text in texts)
    assert "unit_2_kind" not in texts["d9 d9"]
    assert "unit_2_skip" in texts["c8 r8i"]
    assert "unit_2_skip" not in texts["c8 r1w"]
    assert "c8/2p c8/2" in texts  # of 8x8 pixels two are left
    assert "unit_3_stride" not in texts["c8/2p c8/2 c8"]
    assert "unit_3_pool" not in texts["c8/2p c8/2 c8"]


def test_a_unit_may_have_axes_of_its_own() -> None:
    units = f"{UNITS}\n1 = {{ kind = 'c', channels = 5, stride = 1 }}"
    firsts = {composed(params)["architecture"].split()[0] for params in every(study(units))}  # type: ignore[union-attr]
    assert firsts == {"c5", "c5p"}


@pytest.mark.parametrize(("name", "size"), [("autosnn", 1600), ("snasnet", 5 * 5 * 4 * 125)])
def test_presets_are_spaces_with_a_source(name: str, size: int) -> None:
    """AutoSNN: 5 blocks, of which those in front of a pool have 4 choices and the others 5."""
    preset = PRESETS[name]
    assert "arXiv" in preset.source
    assert preset.left_out
    asked = study(f"preset = '{name}'", run="dataset = 'cifar10'")
    assert asked.space.size() == size
    for seed in range(40):
        RunConfig.from_mapping(run_values(asked.run, asked.space.sample(RandomSuggest(seed))))


def test_an_architecture_is_a_first_point() -> None:
    asked = study(run='dataset = "digits"')
    given = [{"architecture": "c8p r8i"}, {"architecture": "mlp2"}]
    faults: list[Any] = []
    (first,) = initial_points(asked.run, asked.space, given, 0, faults)
    assert composed(first)["architecture"] == "c8p r8i"
    assert "unit_1_neurons must be 9, got '1w'" in str(faults[0])


def test_a_block_has_values_of_its_own() -> None:
    space = """
        partition = ["1+1+1", "1+2", "3"]
        dropout = { low = 0.0, high = 0.3, per = "block" }
        head_hidden = { low = 0, high = 64, step = 32, per = "block" }
        leak = { values = [0.5, 0.9], per = "block", when = { partition = ["1+2"] } }
    """
    asked = study("", space=space)
    for seed in range(30):
        params = asked.space.sample(RandomSuggest(seed))
        asked.space.validate(params)
        config = RunConfig.from_mapping(run_values(asked.run, params))
        numbers = [params[f"dropout_{k + 1}"] for k in range(config.exits)]
        assert [config.of_block(k).dropout for k in range(config.exits)] == numbers
        assert ("leak_2" in params) == (config.partition == "1+2")
    assert "for each block" in asked.space.axes["dropout"].describe()
    assert study_from_toml(asked.text).question_fingerprint == asked.question_fingerprint


@pytest.mark.parametrize(
    ("units", "space", "message"),
    [
        ("", "dropout = { low = 0.0, high = 0.3, per = 'block' }",
         "space.dropout.per needs blocks: set partition"),
        ("", "votes = { low = 4, high = 8, per = 'block' }", "space.votes.per is possible for"),
        ("", "dropout = { low = 0.0, high = 0.3, per = 'unit' }", "must be 'block', got 'unit'"),
        ("preset = 'autosnn'\nkind = ['c']", "", "space.units.kind is set by preset 'autosnn' too"),
        ("preset = 'autosn'", "", "did you mean 'autosnn'"),
        (UNITS, "backbone = ['vgg5', 'mlp']", "units and backbone in [space] contradict"),
        (UNITS, "partition = ['1', '1+1']", "per_block and partition in [space] contradict"),
        (UNITS.replace('"c"', '"q"'), "", "space.units.kind must be one of c, r, b, s, d, none"),
        (UNITS.replace("channels", "chanels"), "", "did you mean 'channels'?"),
        (UNITS.replace("neurons = 9", ""), "", "space.units.neurons must be given: the size of d"),
        (UNITS.replace("low = 1", "low = 0"), "", "space.units.count.low must be at least 1"),
        (UNITS.replace("high = 3", "high = 200"), "", "space.units.count.high must be at most 64"),
        (UNITS.replace('[8, "1w"]', "[0]"), "", "space.units.channels must be at least 1"),
        (UNITS.replace('"1w"', '"2x"'), "", "multiples of the width like '2w', got '2x'"),
        (f"{UNITS}\n9 = {{ kind = 'c' }}", "", "space.units.9 must be a unit from 1 to 3"),
        ("count = 1\nkind = ['none']", "", "must have a kind for the first unit"),
        ("kind = ['c']\nchannels = 4", "", "space.units.count must be given"),
        ("count = 2\nchannels = 4", "", "space.units.kind must be given"),
    ],
)  # fmt: skip
def test_a_fault_names_its_key(units: str, space: str, message: str) -> None:
    with pytest.raises(StudyError) as caught:
        study(units, space=space or ("seed = [1, 2]" if not units else ""))
    assert message in str(caught.value)
    assert str(caught.value).startswith("x.toml: space.")
