"""Where a result was made: version of the project, its commit, the machine."""

import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
GIT_TIMEOUT_S = 10


def project_version() -> str:
    """The version of spikefront, also where it runs from a checkout that is not installed."""
    try:
        return importlib.metadata.version("spikefront")
    except importlib.metadata.PackageNotFoundError:
        return _version_of_checkout()


def _version_of_checkout() -> str:
    import tomllib

    try:
        with (PROJECT / "pyproject.toml").open("rb") as file:
            return str(tomllib.load(file)["project"]["version"])
    except (OSError, KeyError, tomllib.TOMLDecodeError):
        return "unknown"


def project_commit() -> str | None:
    """The commit of the checkout that runs, `-dirty` behind it when files differ from it.

    None where spikefront is installed without its history.
    """
    if _git("rev-parse", "--show-prefix") != "":  # the project is no repository of its own
        return None
    commit = _git("rev-parse", "HEAD")
    if not commit:
        return None
    changes = _git("status", "--porcelain", "--untracked-files=no")
    return f"{commit}-dirty" if changes else commit


def _git(*words: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(PROJECT), *words],
            capture_output=True,
            text=True,
            timeout=GIT_TIMEOUT_S,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def machine() -> dict[str, object]:
    """Kind of machine and system; nothing that names this one."""
    return {
        "system": platform.system(),
        "architecture": platform.machine(),
        "processors": os.cpu_count(),
    }
