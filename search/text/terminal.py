"""What a terminal, a pipe or a file can take: characters, and lines that are redrawn."""

import codecs
import contextlib
import io
import os
import sys
from pathlib import Path
from typing import TextIO

# what stands for a character that the stream's encoding has not
STAND_INS = {
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
    """From now on stdout and stderr take every text: what they cannot show gets a stand-in.

    One that is closed leads nowhere: Python would print what is for stderr on stdout.
    """
    sys.stdout = sys.stdout or _nowhere()
    sys.stderr = sys.stderr or _nowhere()
    codecs.register_error(HANDLER, _stand_in)
    for stream in _streams():
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=HANDLER)


def _nowhere() -> TextIO:
    return Path(os.devnull).open("w")


def _stand_in(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lost = error.object[error.start : error.end]
    return "".join(STAND_INS.get(character, "?") for character in lost), error.end


def flush() -> None:
    """What was printed goes out now, where what is wrong with that can be told. Raises OSError."""
    for stream in _streams():
        stream.flush()


def drop_unwritten() -> None:
    """What cannot be written, because nobody reads or a disk is full, is not tried once more."""
    for stream in _streams():
        try:
            stream.flush()
        except OSError:
            with contextlib.suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _streams() -> list[TextIO]:
    """stdout and stderr, as far as they are open."""
    return [stream for stream in (sys.stdout, sys.stderr) if stream and not stream.closed]


def can_redraw(stream: TextIO) -> bool:
    """Whether lines can be drawn over: on a terminal that moves its cursor."""
    return stream.isatty() and os.environ.get("TERM", "").lower() not in ("dumb", "unknown")


def shows_all(stream: TextIO | None) -> bool:
    """Whether its encoding has every character."""
    name = getattr(stream, "encoding", None) or "utf-8"
    try:
        return "".join(STAND_INS).encode(name).decode(name) == "".join(STAND_INS)
    except (UnicodeError, LookupError):
        return False
