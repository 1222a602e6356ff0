"""The machine: processors, memory, limits of the system, and the requirements of Ray."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from search.doctor.check import Check
from search.doctor.places import unwritable
from search.worker.limits import allowed_processors, control_groups, text

# Driver, Ray's own processes and two workers with torch, without any network.
NEEDED_BYTES = 2e9
OPEN_FILES = 1024  # of the processes of Ray and a worker
SHARED_BYTES = 100e6  # object store of a run
RAY_START_S = 120.0
# The longest path of Ray's session below its temporary folder
SESSION = "ray/session_2026-01-01_00-00-00_000000_9999999/sockets/plasma_store"
SOCKET_PATH = 103 if sys.platform == "darwin" else 107  # bytes that the system allows for a socket


def processors(root: Path = Path("/")) -> Check:
    """Check how many of the processors this process may use."""
    there = os.cpu_count() or 1
    usable = allowed_processors(root)
    if usable >= there:
        return Check(name="processors", finding=f"{there}")
    return Check(
        name="processors",
        status="warning",
        finding=f"{there}, of which this process may use {usable:g}",
        remedy=f"keep workers times cpus_per_trial at {max(1, int(usable))} or less; "
        f"for other commands set OMP_NUM_THREADS={max(1, int(usable))}",
    )


def memory(root: Path = Path("/")) -> Iterator[Check]:
    """Check the available memory, also within the limit of a container."""
    left = [value for value in (_free(root), *_left_of_groups(root)) if value is not None]
    if not left:
        return
    available = min(left)
    limited = " within the limit of this container" if available != left[0] else ""
    finding = f"{available / 1e9:.1f} GB available{limited}"
    if available >= NEEDED_BYTES:
        yield Check(name="memory", finding=finding)
        return
    yield Check(
        name="memory",
        status="warning",
        finding=f"{finding}; a driver, Ray and two workers need {NEEDED_BYTES / 1e9:.0f} GB",
        remedy="end other programs, raise the limit of the container, or search with --workers 0",
    )


def _free(root: Path) -> int | None:
    for line in text(root / "proc/meminfo").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return None


def _left_of_groups(root: Path) -> Iterator[int]:
    """Yield the memory that each control group of this process may still take."""
    for folder in control_groups(root):
        limit, used = text(folder / "memory.max"), text(folder / "memory.current")
        if limit.isdigit() and used.isdigit():
            yield int(limit) - int(used) + _reclaimable(folder / "memory.stat")


def _reclaimable(statistics: Path) -> int:
    """Return the used memory that the system can free: cached files."""
    for line in text(statistics).splitlines():
        if line.startswith("inactive_file "):
            return int(line.split()[1])
    return 0


def open_files() -> Check:
    """Check the limit of open files; Ray raises its own up to the hard limit."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = "without limit" if hard == resource.RLIM_INFINITY else f"{hard:,}"
    if hard != resource.RLIM_INFINITY and hard < OPEN_FILES:
        return Check(
            name="open files",
            status="problem",
            finding=f"at most {most}; Ray's processes need {OPEN_FILES:,}",
            remedy=f"raise it to {OPEN_FILES * 4}: ulimit -Hn, /etc/security/limits.conf, "
            "or docker run --ulimit nofile",
        )
    return Check(name="open files", finding=f"{soft:,}, at most {most}")


def ray_needs(shared: Path = Path("/dev/shm")) -> Iterator[Check]:
    """Check the folders that Ray needs to start, without starting it."""
    root = ray_folder()
    path = str(root / SESSION)
    if len(os.fsencode(path)) > SOCKET_PATH:
        too_long = len(os.fsencode(path)) - SOCKET_PATH
        yield Check(
            name="ray's folder",
            status="problem",
            finding=f"the path {root} is {too_long} characters too long for the sockets of Ray",
            remedy="use a folder with a shorter path: export RAY_TMPDIR=/tmp",
        )
    elif fault := unwritable(root):
        yield Check(
            name="ray's folder",
            status="problem",
            finding=f"Ray cannot write in it: {fault}",
            remedy="use another folder: export RAY_TMPDIR=/some/folder",
        )
    else:
        yield Check(name="ray's folder", finding=f"{root}")
    if sys.platform.startswith("linux"):
        yield _shared_memory(shared)


def ray_folder() -> Path:
    """Return the folder in which Ray keeps its session."""
    usual = os.environ.get("TMPDIR") if sys.platform.startswith("linux") else None
    return Path(os.environ.get("RAY_TMPDIR") or usual or "/tmp")


def _shared_memory(folder: Path) -> Check:
    name = "shared memory"
    try:
        room = os.statvfs(folder)
    except OSError as error:
        return Check(
            name=name,
            status="problem",
            finding=f"{folder}: {error.strerror}; Ray does not start without it",
            remedy="mount it: mount -t tmpfs shm /dev/shm; or search with --workers 0",
        )
    free = room.f_bavail * room.f_frsize
    if free < SHARED_BYTES:
        return Check(
            name=name,
            status="warning",
            finding=f"{free / 1e6:.0f} MB in {folder}; Ray uses the disk instead, which is slower",
            remedy="docker run --shm-size=256m, or remove old files from it",
        )
    return Check(name=name, finding=f"{free / 1e9:.1f} GB in {folder}")


def ray_start() -> Check:
    """Start Ray as a run does, in a process of its own, until a worker answers."""
    program = "from search.runners import ray_tune; print(f'{ray_tune.probe():.1f}')"
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        seconds, said = process.communicate(timeout=RAY_START_S)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        said, seconds = f"no answer within {RAY_START_S:.0f} s", ""
    if process.returncode == 0:
        return Check(name="ray's start", finding=f"a worker answered after {seconds.strip()} s")
    last = next((line for line in reversed(said.splitlines()) if line.strip()), "no message")
    return Check(
        name="ray's start",
        status="problem",
        finding=last.strip(),
        remedy=f"see {ray_folder()}/ray/session_latest/logs; or search with --workers 0",
    )
