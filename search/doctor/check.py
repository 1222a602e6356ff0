"""What was found of one part of a set-up."""

from dataclasses import dataclass
from typing import Literal

# missing: can be done without; warning: works, but not as it could; problem: has to be mended
Status = Literal["ok", "missing", "warning", "problem"]


@dataclass(frozen=True, kw_only=True)
class Check:
    """A part, how it is, and what to do about it."""

    name: str
    status: Status = "ok"
    finding: str
    mend: str = ""  # what to do, when there is something to do
