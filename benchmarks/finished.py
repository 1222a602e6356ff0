"""Results of finished runs, a line each, so that an interrupted benchmark goes on."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

FINGERPRINT = "fingerprint"


class Finished:
    """A file of JSON lines, or nothing but memory where there is no path.

    `stamp` is what a line must have been made by to count (a commit, an engine);
    other lines are passed over, and so is one that was cut off in the middle.
    """

    def __init__(self, path: Path | None, stamp: Mapping[str, str]) -> None:
        self._path, self._stamp = path, dict(stamp)
        self._known: dict[str, dict[str, Any]] = {}
        text = path.read_text(encoding="utf-8") if path is not None and path.exists() else ""
        self._is_cut = text != "" and not text.endswith("\n")
        for line in text.splitlines():
            try:
                entry = json.loads(line)
            except json.JSONDecodeError:
                continue
            made_by = {name: entry.pop(name, None) for name in self._stamp}
            if made_by == self._stamp:
                self._known[entry.pop(FINGERPRINT)] = entry

    def get(self, fingerprint: str) -> Mapping[str, Any] | None:
        """What was kept under that fingerprint."""
        return self._known.get(fingerprint)

    def put(self, fingerprint: str, result: Mapping[str, Any]) -> None:
        """Keep a result, on disk before this returns."""
        self._known[fingerprint] = dict(result)
        if self._path is None:
            return
        entry = {**self._stamp, FINGERPRINT: fingerprint, **result}
        with self._path.open("a", encoding="utf-8") as file:
            file.write(("\n" if self._is_cut else "") + json.dumps(entry) + "\n")
        self._is_cut = False
