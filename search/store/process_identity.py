"""The identity of a lease holder: unique for all time, and readable for people.

A holder is stored as `host:pid#boot.namespace.start.token`: the boot id of the kernel, the inode
of the PID namespace, the start time of the process and a random token. A host name with a process
number is not unique: containers share host names, and each has a process 1.
"""

import contextlib
import os
import re
import secrets
import socket
from pathlib import Path
from typing import NamedTuple

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_HOLDER = re.compile(r"(.*):(\d+)#([0-9a-f]+)\.(\d+)\.(\d+)\.[0-9a-f]+", re.DOTALL)


class _Process(NamedTuple):
    """A process as this one sees it."""

    start: int  # clock ticks from boot to the start of the process
    is_zombie: bool


def new_holder() -> str:
    """Return a new identity of this process; no two calls return the same."""
    name = f"{socket.gethostname()}:{os.getpid()}"
    token = secrets.token_hex(8)
    seen, space = _process(os.getpid()), _namespace()
    if seen is None or space is None:  # no Linux
        return f"{name}#{token}"
    return f"{name}#{space}.{seen.start}.{token}"


def holder_name(holder: str) -> str:
    """Return the part for people: `host:pid`."""
    return holder.partition("#")[0]


def is_gone(holder: str) -> bool:
    """Return whether `holder` was a process that ended.

    False if this cannot be seen from here: another machine or boot, another PID namespace, or a
    holder of an earlier version, which stored `host:pid` only.
    """
    match = _HOLDER.fullmatch(holder)
    if match is None or f"{match[3]}.{match[4]}" != _namespace():
        return False
    pid, start = int(match[2]), int(match[5])
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except (PermissionError, OverflowError):  # a process of another user
        pass
    seen = _process(pid)
    return seen is not None and (seen.is_zombie or seen.start != start)


def _namespace() -> str | None:
    """Return boot id and inode of the PID namespace; None if unknown."""
    with contextlib.suppress(OSError):
        boot = BOOT_ID.read_text(encoding="ascii").strip().replace("-", "")
        return f"{boot}.{os.stat('/proc/self/ns/pid').st_ino}"
    return None


def _process(pid: int) -> _Process | None:
    """Return what /proc says of a process; None if nothing."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        fields = text.rpartition(")")[2].split()  # from the third field on
        return _Process(start=int(fields[19]), is_zombie=fields[0] == "Z")
    except (OSError, IndexError, ValueError):
        return None
