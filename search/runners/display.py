"""The choice of a progress display: lines, or a redrawn display."""

import importlib
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from search.runners.progress import (
    Lines,
    Progress,
    Silent,
    StudyProgress,
    progress_line,
    trial_line,
)
from search.text.terminal import can_redraw
from search.trial.trial import Outcome


class NotebookProgress:
    """Shows progress in the output of a notebook's cell: one line, written anew."""

    def __init__(self, display: Callable[..., Any]) -> None:
        """`display` is that of IPython."""
        self._handle = display(self._text("starting"), raw=True, display_id=True)
        self._written = 0.0

    def update(self, progress: StudyProgress) -> None:
        """Write the line anew, at most four times a second."""
        now = time.monotonic()
        if now - self._written >= 0.25:
            self._write(progress_line(progress))
            self._written = now

    def finished(self, number: int, outcome: Outcome, progress: StudyProgress) -> None:
        """Write the line anew, with the trial."""
        line = trial_line(number, outcome, progress.objectives, progress.metrics)
        self._write(f"{progress_line(progress)}  |  {line}")

    def say(self, text: str) -> None:
        """Do nothing: the line is for progress."""

    def _write(self, text: str) -> None:
        self._handle.update(self._text(text), raw=True)

    def _text(self, text: str) -> dict[str, str]:
        return {"text/plain": text}


def _notebook() -> Callable[..., Any] | None:
    """Return IPython's `display` if this runs in a notebook's kernel."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    if shell is None or not hasattr(shell, "kernel"):
        return None
    found: Callable[..., Any] = importlib.import_module("IPython.display").display
    return found


@contextmanager
def watch(*, quiet: bool = False, stream: TextIO | None = None) -> Iterator[Progress]:
    """Yield no progress if `quiet`, live progress on a terminal, otherwise lines."""
    stream = stream or sys.stderr
    if quiet:
        yield Silent()
        return
    if (display := _notebook()) is not None:
        yield NotebookProgress(display)
        return
    if not can_redraw(stream):
        yield Lines(stream)
        return
    from search.runners.live import LiveProgress

    with LiveProgress(stream) as live:
        yield live
