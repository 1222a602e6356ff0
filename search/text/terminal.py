"""Capabilities of terminals, pipes and files: characters and redrawn lines."""

import codecs
import contextlib
import io
import os
import sys
from pathlib import Path
from typing import TextIO

# replacements for characters that the encoding of a stream lacks
REPLACEMENTS = {
    "±": "+/-",
    "×": "x",
    "→": "->",
    "…": "...",
    "µ": "u",
    **dict.fromkeys("–—─━╴╶╸╺", "-"),
    **dict.fromkeys("‘’", "'"),
    **dict.fromkeys("“”", '"'),
}
HANDLER = "spikefront"


def write_anything() -> None:
    """Let stdout and stderr accept any text; characters they cannot encode are replaced.

    A closed stream becomes the null device, because Python would print the text of a closed
    stderr on stdout.
    """
    sys.stdout = sys.stdout or _null_device()
    sys.stderr = sys.stderr or _null_device()
    codecs.register_error(HANDLER, _replacement)
    for stream in _streams():
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=HANDLER)


def _null_device() -> TextIO:
    return Path(os.devnull).open("w")


def _replacement(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lost = error.object[error.start : error.end]
    return "".join(REPLACEMENTS.get(character, "?") for character in lost), error.end


def flush() -> None:
    """Write buffered output now, while an error can still be reported. Raises OSError."""
    for stream in _streams():
        stream.flush()


def drop_unwritten() -> None:
    """Discard output that cannot be written (closed pipe, full disk), so Python does not retry."""
    for stream in _streams():
        try:
            stream.flush()
        except OSError:
            with contextlib.suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _streams() -> list[TextIO]:
    """Return stdout and stderr if they are open."""
    return [stream for stream in (sys.stdout, sys.stderr) if stream and not stream.closed]


def can_redraw(stream: TextIO) -> bool:
    """Return whether a stream is a terminal that can redraw lines."""
    return stream.isatty() and os.environ.get("TERM", "").lower() not in ("dumb", "unknown")


def styled(text: str, style: str, stream: TextIO) -> str:
    """Return the text in an ANSI style, like `1;31`, where the stream is a terminal with colours.

    Read as rich does, which prints the tables: https://no-color.org.
    """
    if not can_redraw(stream) or os.environ.get("NO_COLOR"):
        return text
    return f"\x1b[{style}m{text}\x1b[0m"


def shows_all(stream: TextIO | None) -> bool:
    """Return whether the encoding of a stream has every character of the output."""
    name = getattr(stream, "encoding", None) or "utf-8"
    try:
        return "".join(REPLACEMENTS).encode(name).decode(name) == "".join(REPLACEMENTS)
    except (UnicodeError, LookupError):
        return False
