"""`spikefront` in a separate process, for tests that send it signals; with a fake engine."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from search.commands.cli import main
from search.runners import lease
from search.runners import run as study_run
from tests import quick
from tests.search.fake_engine import FakeEngine


def start(
    *words: object,
    engine: dict[str, Any] | None = None,
    lease_s: float = 60.0,
    stdout: int = subprocess.PIPE,
    stderr: int = subprocess.PIPE,
    **environment: str,
) -> quick.Module:
    """Start the command; `engine` has the fields of a FakeEngine, None trains networks."""
    given = json.dumps({"engine": engine, "lease_s": lease_s})
    return quick.Module(
        "tests.search.command", given, *words,
        environment=environment, stdout=stdout, stderr=stderr,
    )  # fmt: skip


def run(given: str) -> int:
    settings = json.loads(given)
    lease.SECONDS, lease.RENEW_EVERY_S = settings["lease_s"], settings["lease_s"] / 6
    if settings["engine"] is not None:
        paths = {name: Path(v) for name, v in settings["engine"].items() if isinstance(v, str)}
        study_run.TrialRun = FakeEngine(**settings["engine"] | paths)  # type: ignore[misc, assignment]
    return main()


if __name__ == "__main__":
    sys.exit(run(sys.argv.pop(1)))
