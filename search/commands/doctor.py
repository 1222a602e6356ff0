"""`spikefront doctor`: what is there, what is missing, what to do."""

import argparse

from rich.text import Text

from search.commands.output import Output
from search.doctor import Check, examine

STYLES = {"ok": "green", "missing": "dim", "warning": "yellow", "problem": "bold red"}


def doctor(arguments: argparse.Namespace) -> int:
    """Print a line per check; 1 when something required is broken."""
    output = Output(as_json=arguments.as_json)
    checks: list[Check] = []
    found = examine(
        store=arguments.store,
        artifacts=arguments.artifacts,
        data_dir=arguments.data,
        start_ray=arguments.start_ray,
    )
    for check in found:
        checks.append(check)
        output.say(_line(check))
    problems = [check.name for check in checks if check.status == "problem"]
    output.say()
    output.say(f"to mend: {', '.join(problems)}" if problems else "ready to search")
    output.document({"ok": not problems, "checks": checks})
    return 1 if problems else 0


def _line(check: Check) -> Text:
    line = Text.assemble(
        (f"{check.status:8}", STYLES[check.status]), f"{check.name:20} {check.finding}"
    )
    if check.mend:
        line.append(f"\n{'':28} -> {check.mend}", style="dim")
    return line
