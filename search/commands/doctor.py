"""`spikefront doctor`: the parts of this set-up that are missing or broken, and the remedies."""

import argparse
import sys
from typing import TextIO

from search.commands.options import ARTIFACTS, DATA, JSON, STORE, command, option
from search.doctor import Check, examine
from search.text import terminal
from search.text.json_text import json_text

# Written without rich: this command also says that it is missing.
STYLES = {"ok": "32", "missing": "2", "warning": "33", "problem": "1;31"}


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
    stream = sys.stderr if arguments.as_json else sys.stdout
    checks: list[Check] = []
    found = examine(
        store=arguments.store,
        artifacts=arguments.artifacts,
        data_dir=arguments.data,
        start_ray=arguments.start_ray,
    )
    for check in found:
        checks.append(check)
        print(_line(check, stream), file=stream, flush=True)
    problems = [check.name for check in checks if check.status == "problem"]
    print(file=stream)
    if problems:
        print(f"must be fixed before a search can run: {', '.join(problems)}", file=stream)
    else:
        print("ready to search", file=stream)
    if arguments.as_json:
        print(json_text({"ok": not problems, "checks": checks}), end="", flush=True)
    return 1 if problems else 0


def _line(check: Check, stream: TextIO) -> str:
    status = terminal.styled(f"{check.status:8}", STYLES[check.status], stream)
    line = f"{status}{check.name:20} {check.finding}"
    if check.remedy:
        line += "\n" + terminal.styled(f"{'':28} -> {check.remedy}", STYLES["missing"], stream)
    return line
