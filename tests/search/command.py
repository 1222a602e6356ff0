"""`spikefront` in a separate process, for tests that send it signals; with a fake engine."""

import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, TextIO, cast

from search.commands.cli import main
from search.runners import lease
from search.runners import run as study_run
from tests import quick
from tests.search.fake_engine import FakeEngine


def start(
    *words: object,
    engine: dict[str, Any] | None = None,
    lease_s: float = 60.0,
    halts_at: str = "",
    stdout: int = subprocess.PIPE,
    stderr: int = subprocess.PIPE,
    **environment: str,
) -> quick.Module:
    """Start the command; `engine` has the fields of a FakeEngine, None trains networks.

    With `halts_at` it waits for a signal at the end of the first such line on standard error.
    """
    given = json.dumps({"engine": engine, "lease_s": lease_s, "halts_at": halts_at})
    return quick.Module(
        "tests.search.command", given, *words,
        environment=environment, stdout=stdout, stderr=stderr,
    )  # fmt: skip


class Halting:
    """A stream that waits for a signal behind the first line with certain words."""

    def __init__(self, stream: TextIO, words: str) -> None:
        self._stream, self._words, self._is_said, self._has_halted = stream, words, False, False

    def write(self, text: str) -> int:
        self._is_said |= self._words in text
        halts = self._is_said and text.endswith("\n") and not self._has_halted
        self._has_halted |= halts  # the signal may come as soon as the line is there
        written = self._stream.write(text)
        if halts:
            self._stream.flush()
            threading.Event().wait()
        return written

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def run(given: str) -> int:
    settings = json.loads(given)
    if settings["halts_at"]:
        sys.stderr = cast(TextIO, Halting(sys.stderr, settings["halts_at"]))
    lease.SECONDS, lease.RENEW_EVERY_S = settings["lease_s"], settings["lease_s"] / 6
    if settings["engine"] is not None:
        paths = {name: Path(v) for name, v in settings["engine"].items() if isinstance(v, str)}
        study_run.TrialRun = FakeEngine(**settings["engine"] | paths)  # type: ignore[misc, assignment]
    return main()


if __name__ == "__main__":
    sys.exit(run(sys.argv.pop(1)))
