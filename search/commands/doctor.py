"""`spikefront doctor`: the parts of this set-up that are missing or broken, and the remedies."""

import argparse

from rich.text import Text

from search.commands.options import ARTIFACTS, DATA, JSON, STORE, command, option
from search.commands.output import Output
from search.doctor import Check, examine

STYLES = {"ok": "green", "missing": "dim", "warning": "yellow", "problem": "bold red"}


@command(
    STORE,
    ARTIFACTS,
    DATA,
    option(
        "--start-ray",
        "also start Ray as a run does, which takes some seconds",
        action="store_true",
    ),
    JSON,
    examples=("spikefront doctor", "spikefront doctor --start-ray --data /data/images --json"),
)
def doctor(arguments: argparse.Namespace) -> int:
    """Check this machine: packages, GPU, Ray, store, data sets, environment variables.

    Prints each part with its state and, where something is missing or broken, the remedy.
    """
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
    if problems:
        output.say(f"must be fixed before a search can run: {', '.join(problems)}")
    else:
        output.say("ready to search")
    output.document({"ok": not problems, "checks": checks})
    return 1 if problems else 0


def _line(check: Check) -> Text:
    line = Text.assemble(
        (f"{check.status:8}", STYLES[check.status]), f"{check.name:20} {check.finding}"
    )
    if check.remedy:
        line.append(f"\n{'':28} -> {check.remedy}", style="dim")
    return line
