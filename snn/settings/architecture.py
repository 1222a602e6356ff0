"""Architectures as texts: `c16 c32p r64 r128/2 d128`, one word for each unit.

    word      kind size option...        options in any order, each once
    kind      c r b s d                  `snn.settings.units.KINDS`, and those of extensions
    size      16 | 2w                    channels or neurons, or a multiple of the width
    option    k5 /2 p i n                kernel, stride, pool, skip without weights, no skip

The canonical form has one space between words, options in the order of their declaration, and
no option at its default.
"""

import functools
import math
import re
from collections.abc import Sequence
from typing import Any

from snn.settings.units import INPUT, KINDS, Shape, Unit

MOST_UNITS = 64
LARGEST_SIZE = 65_536  # channels, neurons, kernels, strides
_WORD = re.compile(r"([a-z])([0-9]+)(w?)((?:[a-z/][0-9]*)*)")
_OPTION = re.compile(r"([a-z/])([0-9]*)")


class ArchitectureError(ValueError):
    """An invalid architecture; the message begins with a colon and the place in the text."""


def unit_fault(place: int, word: str, message: str) -> str:
    """Return a fault of the unit at `place`, counted from 1, as messages of settings are."""
    return f': unit {place} "{word}": {message}'


def parse_architecture(text: str) -> tuple[Unit, ...]:
    """Return the units of a text. Raises ArchitectureError with the first fault."""
    return _parsed(text, tuple(KINDS.values()))


@functools.lru_cache(maxsize=4096)  # the kinds are a key: extensions add to them
def _parsed(text: str, kinds: tuple[type[Unit], ...]) -> tuple[Unit, ...]:
    words = text.split()
    if not words:
        raise ArchitectureError('must be units like "c16 c32p d128", got an empty text')
    if len(words) > MOST_UNITS:
        raise ArchitectureError(f"must have at most {MOST_UNITS} units, got {len(words)}")
    return tuple(
        _unit(place, word, {kind.letter: kind for kind in kinds})
        for place, word in enumerate(words, 1)
    )


def _unit(place: int, word: str, kinds: dict[str, type[Unit]]) -> Unit:
    known = ", ".join(kinds)
    if word[0] not in kinds:
        message = f"unknown kind {word[0]}; kinds are {known}"
        raise ArchitectureError(unit_fault(place, _short(word), message))
    found = _WORD.fullmatch(word)
    if found is None:
        message = f"must be a kind ({known}), a size and options, like c16k5p"
        raise ArchitectureError(unit_fault(place, _short(word), message))
    letter, size, widths, options = found.groups()
    try:
        return _made(kinds[letter], size, bool(widths), _OPTION.findall(options))
    except ArchitectureError as error:
        raise ArchitectureError(unit_fault(place, _short(word), str(error))) from None


def _made(kind: type[Unit], size: str, in_widths: bool, options: Sequence[tuple[str, str]]) -> Unit:
    declared = kind.options()
    values: dict[str, Any] = {kind.size_name(): _count(kind.size_name(), size)}
    for letter, number in options:
        if letter not in declared:
            known = ", ".join(declared) or "none"
            raise ArchitectureError(
                f"{kind.letter} has no option {letter}; its options are {known}"
            )
        option = declared[letter]
        if option.name in values:
            raise ArchitectureError(f"has {option.name} twice; give it once")
        is_number = isinstance(option.default, int) and not isinstance(option.default, bool)
        if is_number != bool(number):
            wanted = f"must be a number, like {letter}2" if is_number else "takes no number"
            raise ArchitectureError(f"option {letter} {wanted}")
        signs = option.metadata.get("signs", {})
        named = next((value for value, sign in signs.items() if sign == letter), True)
        values[option.name] = _count(option.name, number) if is_number else named
    return kind(in_widths=in_widths, **values)


def _count(name: str, digits: str) -> int:
    value = int(digits[:20])
    if not 1 <= value <= LARGEST_SIZE:
        raise ArchitectureError(f"{name} must be 1 to {LARGEST_SIZE}, got {_short(digits)}")
    return value


def _short(word: str) -> str:
    return word if len(word) <= 20 else f"{word[:17]}..."


def format_architecture(units: Sequence[Unit]) -> str:
    """Return the canonical text of units."""
    return " ".join(map(format_unit, units))


def format_unit(unit: Unit) -> str:
    """Return the canonical word of a unit."""
    word = f"{unit.letter}{unit.size}{'w' if unit.in_widths else ''}"
    for option in unit.fields()[1:]:
        value = getattr(unit, option.name)
        if value == option.default:
            continue
        signs = option.metadata.get("signs")
        letter = signs[value] if signs else option.metadata["letter"]
        word += letter if signs or value is True else f"{letter}{value}"
    return word


def resolved(units: Sequence[Unit], width: int) -> tuple[Unit, ...]:
    """Return the units with sizes in channels and neurons: equal networks have equal ones."""
    return tuple(
        type(unit)(
            in_widths=False,
            **{f.name: getattr(unit, f.name) for f in unit.fields()}
            | {unit.size_name(): unit.count(width)},
        )
        for unit in units
    )


def shape_fault(units: Sequence[Unit], image: Shape, width: int) -> str | None:
    """Return the fault of the first unit that cannot follow the one before it, or None."""
    shape = image
    for place, unit in enumerate(units, 1):
        count = unit.count(width)
        if message := unit.fault(shape, count):
            return unit_fault(place, format_unit(unit), message)
        shape = unit.output(shape, count)
    return None


def largest_layer(units: Sequence[Unit], image: Shape, width: int) -> int:
    """Return the neurons of the largest layer."""
    shape, largest = image, 1
    for unit in units:
        count = unit.count(width)
        sizes = [math.prod(s) for name, s in unit.shapes(shape, count).items() if name != INPUT]
        largest, shape = max(largest, *sizes), unit.output(shape, count)
    return largest


__all__ = [
    "ArchitectureError",
    "format_architecture",
    "format_unit",
    "largest_layer",
    "parse_architecture",
    "resolved",
    "shape_fault",
    "unit_fault",
]
