"""Folders of the user."""

import os
from pathlib import Path


def expanded(path: str) -> Path:
    """Return an absolute path with the home folder for ~.

    Raises OSError for a user without a home folder, or an unknown user after ~, and in a working
    folder that was deleted.
    """
    try:
        return Path(path).expanduser().absolute()
    except RuntimeError as error:
        raise OSError(f"no home folder for {path}; use an absolute path") from error


def cache_folder() -> Path:
    """Return the folder for cached files; it may not exist.

    Raises OSError for a user without a home folder, as in containers with an arbitrary user.
    """
    try:
        cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    except RuntimeError as error:
        raise OSError(f"no home folder; set HOME or XDG_CACHE_HOME ({error})") from error
    return Path(cache) / "spikefront"
