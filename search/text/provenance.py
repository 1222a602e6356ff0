"""The origin of results: version and commit of the project, and the machine."""

import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
GIT_TIMEOUT_S = 10


def project_version() -> str:
    """Return the version of spikefront, installed or from a checkout."""
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
    """Return the commit of the checkout, with `-dirty` appended if files were changed.

    None if spikefront is installed without its Git history.
    """
    if _git("rev-parse", "--show-prefix") != "":  # the project is not the root of a repository
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
    """Return system, architecture and number of processors, without a host name."""
    return {
        "system": platform.system(),
        "architecture": platform.machine(),
        "processors": os.cpu_count(),
    }
