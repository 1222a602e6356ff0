"""The identity of a lease holder: unique for all time, and readable for people.

A holder is stored as `host:pid#boot.namespace.start.token.machine`: the boot id of the kernel, the
inode of the PID namespace, the start time of the process, a random token and, where the system has
one, a digest of the machine id. A host name with a process number is not unique: containers share
host names, and each has a process 1. Neither is a machine id: images of machines are copied.
"""

import contextlib
import hashlib
import os
import re
import secrets
import socket
from pathlib import Path
from typing import NamedTuple

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
MACHINE_ID = Path("/etc/machine-id")
MOUNTS = Path("/proc/self/mountinfo")
# File systems that one running system at a time has mounted.
LOCAL_DISKS = ("ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "f2fs", "bcachefs")
_HOLDER = re.compile(
    r"(?P<host>.*):(?P<pid>\d+)#(?P<boot>[0-9a-f]+)\.(?P<space>\d+)\.(?P<start>\d+)"
    r"\.[0-9a-f]+(?:\.(?P<machine>[0-9a-f]+))?",
    re.DOTALL,
)


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
    machine = _machine()
    return f"{name}#{space}.{seen.start}.{token}" + (f".{machine}" if machine else "")


def holder_name(holder: str) -> str:
    """Return the part for people: `host:pid`."""
    return holder.partition("#")[0]


def is_gone(holder: str, store: Path | None = None) -> bool:
    """Return whether `holder` was a process that ended.

    False if this cannot be seen from here: another machine, another PID namespace, or a
    holder of an earlier version, which stored `host:pid` only. No process survives a boot; that
    an earlier boot was one of this machine is told by host name, machine id and a `store` that is
    a file on a disk of this machine: each of the first two may be met twice.
    """
    match, here = _HOLDER.fullmatch(holder), _namespace()
    if match is None or here is None:
        return False
    if match["boot"] != here.partition(".")[0]:
        is_here = (match["host"], match["machine"]) == (socket.gethostname(), _machine() or "none")
        return is_here and store is not None and is_on_local_disk(store)
    if f"{match['boot']}.{match['space']}" != here:
        return False
    pid, start = int(match["pid"]), int(match["start"])
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


def _machine() -> str:
    """Return 16 hex digits of the machine's id; an empty string where it has none."""
    with contextlib.suppress(OSError, ValueError):
        name = MACHINE_ID.read_text(encoding="ascii").strip()
        if re.fullmatch(r"[0-9a-f]{32}", name):  # otherwise "uninitialized", or of an image
            return hashlib.sha256(f"spikefront {name}".encode()).hexdigest()[:16]
    return ""


def is_on_local_disk(path: Path) -> bool:
    """Return whether no other running system can have mounted the file system of a file.

    False for network file systems, for those that a virtual machine shares with its host, and
    where the kind cannot be found.
    """
    kinds: dict[str, str] = {}  # of the file system, by where it is mounted; the last one counts
    with contextlib.suppress(OSError):
        for line in MOUNTS.read_text(encoding="utf-8", errors="surrogateescape").splitlines():
            place, _, kind = line.partition(" - ")
            fields = place.split()
            if len(fields) > 4 and kind:  # octal escapes: blanks in paths
                mounted = re.sub(r"\\([0-7]{3})", lambda m: chr(int(m[1], 8)), fields[4])
                kinds[mounted] = kind.split()[0]
    real = path.resolve()
    nearest = next((str(p) for p in (real, *real.parents) if str(p) in kinds), None)
    return nearest is not None and kinds[nearest] in LOCAL_DISKS


def _process(pid: int) -> _Process | None:
    """Return what /proc says of a process; None if nothing."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        fields = text.rpartition(")")[2].split()  # from the third field on
        return _Process(start=int(fields[19]), is_zombie=fields[0] == "Z")
    except (OSError, IndexError, ValueError):
        return None
