"""The result of one check of a set-up."""

from dataclasses import dataclass
from typing import Literal

# missing: optional; warning: works with a restriction; problem: prevents a search
Status = Literal["ok", "missing", "warning", "problem"]


@dataclass(frozen=True, kw_only=True)
class Check:
    """A part of the set-up, its state, and the remedy where it needs one."""

    name: str
    status: Status = "ok"
    finding: str
    remedy: str = ""
