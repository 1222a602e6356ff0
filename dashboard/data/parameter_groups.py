"""Parameters that are one question asked several times: of each unit, each block, each exit."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from dashboard.data import formats
from search.study.space import EXIT_THRESHOLD, LISTED
from search.study.units import place_of

_NUMBERED = re.compile(r"([a-z_]+)_([0-9]+)")


@dataclass(frozen=True, kw_only=True)
class ParameterGroup:
    """Parameters of one kind, or a single parameter."""

    name: str  # of the parameter, if it is a single one
    label: str
    members: tuple[str, ...]

    @property
    def is_single(self) -> bool:
        """Whether there is nothing to open."""
        return len(self.members) == 1

    @property
    def count(self) -> str:
        """The number of members in words: `5 blocks`."""
        return f"{len(self.members)} {_parts(self.members[0])[1]}s"


def parameter_groups(names: Sequence[str]) -> list[ParameterGroup]:
    """Return the groups in the order of their first member; a lone member is no group."""
    found: dict[str, list[str]] = {}
    for name in names:
        group, part, _ = _parts(name)
        found.setdefault(f"{group} of {part}" if part else name, []).append(name)
    return [
        ParameterGroup(
            name=members[0],
            label=formats.label(_parts(members[0])[0] if len(members) > 1 else members[0]),
            members=tuple(members),
        )
        for members in found.values()
    ]


def member_label(name: str) -> str:
    """Return what a member is called within its group: `Block 2`; the label of any other name."""
    _, part, place = _parts(name)
    return f"{part.capitalize()} {place}" if part else formats.label(name)


def _parts(name: str) -> tuple[str, str, int]:
    """Return what is asked, of what, and of which one; the name alone where it is asked once."""
    unit = place_of(name)
    if unit is not None:
        return f"unit_{unit[1]}", "unit", unit[0]
    listed = _NUMBERED.fullmatch(name)
    if listed is None or listed[1] not in LISTED:
        return name, "", 0
    return listed[1], "exit" if listed[1] == EXIT_THRESHOLD else "block", int(listed[2])
