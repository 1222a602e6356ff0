"""Architectures as texts: one canonical form, names that are texts, faults with their place."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snn.settings.architecture import (
    ArchitectureError,
    format_architecture,
    parse_architecture,
    resolved,
)
from snn.settings.backbones import BACKBONES
from snn.settings.config import ConfigError, RunConfig
from snn.settings.units import KINDS, Unit


def units_of(kind: type[Unit]) -> st.SearchStrategy[Unit]:
    """Units of a kind with any options."""
    options: dict[str, st.SearchStrategy[Any]] = {"in_widths": st.booleans()}
    for field in kind.fields():
        signs = field.metadata.get("signs")
        flags = st.booleans() if field.default is False else st.integers(1, 300)
        options[field.name] = st.sampled_from(list(signs)) if signs else flags
    return st.builds(kind, **options)


UNITS = st.lists(st.one_of([units_of(kind) for kind in KINDS.values()]), min_size=1, max_size=8)


@given(UNITS)
def test_a_text_is_the_units_that_it_was_written_from(units: list[Unit]) -> None:
    text = format_architecture(units)
    assert parse_architecture(text) == tuple(units)
    assert parse_architecture(f"  {text.replace(' ', '   ')} ") == tuple(units)


@given(UNITS, st.randoms(use_true_random=False))
def test_units_have_one_canonical_form(units: list[Unit], chance: Any) -> None:
    """Whatever the order of the options, and with those at their defaults written or not."""
    words = []
    for unit in units:
        parts = []
        for field in unit.fields()[1:]:
            value, signs = getattr(unit, field.name), field.metadata.get("signs")
            letter = signs[value] if signs else field.metadata["letter"]
            is_flag = isinstance(field.default, bool)
            parts.append(
                letter if signs or (is_flag and value) else "" if is_flag else f"{letter}{value}"
            )
        chance.shuffle(parts)
        words.append(f"{unit.letter}{unit.size:03}{'w' * unit.in_widths}{''.join(parts)}")
    text = format_architecture(parse_architecture(" ".join(words)))
    assert text == format_architecture(units)
    assert format_architecture(parse_architecture(text)) == text


@pytest.mark.parametrize("name", BACKBONES)
def test_a_named_backbone_and_its_text_are_one_network(name: str) -> None:
    named, text = RunConfig(backbone=name), BACKBONES[name].text
    for config in (
        RunConfig(architecture=text),
        RunConfig(architecture=f" {text} "),
        RunConfig(backbone=name, architecture=text),
        RunConfig.from_mapping(named.to_mapping()),
        RunConfig(backbone="mlp2").replace(architecture=text),
        RunConfig(architecture="c8").replace(backbone=name),
    ):
        assert config == named
        assert config.fingerprint == named.fingerprint
    assert "architecture" not in named.to_mapping()


def test_a_text_without_widths_does_not_depend_on_the_width() -> None:
    config = RunConfig(architecture="c8 r16k5/2n", width=7, partition="1+1")
    assert config.fingerprint == RunConfig(architecture="c8 r16/2k5n", partition="1+1").fingerprint
    assert config.fingerprint != RunConfig(architecture="c8 r16k5/2", partition="1+1").fingerprint
    assert RunConfig.from_mapping(config.to_mapping()) == config
    assert (config.title, config.backbone, config.exits) == ("c8 r16k5/2n", "", 2)
    in_widths = RunConfig(architecture="c1w r2wk5/2n", width=8)
    assert resolved(in_widths.units, 8) == config.units
    assert in_widths.fingerprint != in_widths.replace(width=9).fingerprint


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("c16 c32p q64", ': unit 3 "q64": unknown kind q; kinds are c, r, b, s, d'),
        ("c16 C32", ': unit 2 "C32": unknown kind C; kinds are c, r, b, s, d'),
        ("c0", ': unit 1 "c0": channels must be 1 to 65536, got 0'),
        ("d" + "9" * 40, ': unit 1 "d9999999999999999...": neurons must be 1 to 65536, got 999'),
        ("c16 c", ': unit 2 "c": must be a kind (c, r, b, s, d), a size and options, like c16k5p'),
        ("c16-2", ': unit 1 "c16-2": must be a kind'),
        ("c16\N{SUPERSCRIPT TWO}", "must be a kind"),
        ("c16k", ': unit 1 "c16k": option k must be a number, like k2'),
        ("c16k0", "kernel must be 1 to 65536, got 0"),
        ("c16p2", ': unit 1 "c16p2": option p takes no number'),
        ("d8k3", ': unit 1 "d8k3": d has no option k; its options are none'),
        ("r8q", ': unit 1 "r8q": r has no option q; its options are k, /, p, i, n'),
        ("r8in", ': unit 1 "r8in": has skip twice; give it once'),
        ("c8 " * 200, "must have at most 64 units, got 200"),
        ("   ", 'must be units like "c16 c32p d128", got an empty text'),
        ("c8 d9 c8", ': unit 3 "c8": needs maps, but all-to-all neurons come before'),
        ("c8 r8/30", ': unit 2 "r8/30": a stride of 30 leaves no map of 8x8 pixels'),
        ("c8 r16i", ': unit 2 "r16i": a skip without weights needs 16 channels before it, got 8'),
        (16, "must be a string, got 16"),
    ],
)  # fmt: skip
def test_a_fault_is_told_with_its_place(text: Any, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        RunConfig(architecture=text)
    (fault,) = caught.value.faults
    assert fault.key == "architecture"
    assert message in fault.message
    assert f"architecture{'' if fault.message.startswith(':') else ' '}" in str(fault)


def test_a_name_and_another_text_contradict_each_other() -> None:
    with pytest.raises(ConfigError, match="architecture is given beside backbone 'vgg5'; remove"):
        RunConfig(backbone="vgg5", architecture="c8")


def test_a_partition_cuts_a_text() -> None:
    with pytest.raises(ConfigError, match=r"at most the 2 units of c8 d9, got '2.1' with 3"):
        RunConfig(architecture="c8 d9", partition="2+1")


def test_errors_are_values_of_their_own() -> None:
    with pytest.raises(ArchitectureError, match=r'^: unit 1 "x8": unknown kind'):
        parse_architecture("x8")
