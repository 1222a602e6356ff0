"""Folders of the user."""

import os
from pathlib import Path


def cache_folder() -> Path:
    """Return the folder for cached files; it may not exist.

    Raises OSError for a user without a home folder, as in containers with an arbitrary user.
    """
    try:
        cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    except RuntimeError as error:
        raise OSError(f"no home folder; set HOME or XDG_CACHE_HOME ({error})") from error
    return Path(cache) / "spikefront"
