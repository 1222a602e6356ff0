"""Who holds a study: a process, named so that others of its host can see whether it lives."""

import os
import re
import socket


def this_process() -> str:
    """How this process signs a lease: `host:pid`."""
    return f"{socket.gethostname()}:{os.getpid()}"


def is_gone(holder: str) -> bool:
    """Whether `holder` was a process of this host that is no more; never for other hosts."""
    match = re.fullmatch(rf"{re.escape(socket.gethostname())}:(\d+)", holder)
    if match is None:
        return False
    try:
        os.kill(int(match[1]), 0)
    except ProcessLookupError:
        return True
    except PermissionError:  # it is there, and belongs to somebody else
        return False
    return _is_zombie(int(match[1]))


def _is_zombie(process: int) -> bool:
    """Whether it has ended, and only its parent has not looked yet; on Linux, where that shows."""
    try:
        with open(f"/proc/{process}/stat", encoding="utf-8", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[0] == "Z"
    except (OSError, IndexError):
        return False
