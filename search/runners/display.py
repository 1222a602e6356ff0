"""The choice of a progress display: lines, or a redrawn display."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from search.runners.progress import Lines, Progress, Silent
from search.text.terminal import can_redraw


@contextmanager
def watch(*, quiet: bool = False, stream: TextIO | None = None) -> Iterator[Progress]:
    """Yield no progress if `quiet`, live progress on a terminal, otherwise lines."""
    stream = stream or sys.stderr
    if quiet:
        yield Silent()
        return
    if not can_redraw(stream):
        yield Lines(stream)
        return
    from search.runners.live import LiveProgress

    with LiveProgress(stream) as live:
        yield live
