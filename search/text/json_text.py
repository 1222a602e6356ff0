"""JSON documents from dataclasses, enums and paths."""

import dataclasses
import datetime
import enum
import json
import math
from collections.abc import Mapping
from pathlib import Path


def json_text(document: Mapping[str, object]) -> str:
    """Return a document as standard JSON; NaN and infinities become null."""
    return json.dumps(plain(document), indent=2, allow_nan=False) + "\n"


def plain(value: object) -> object:
    """Return `value` in JSON types; NaN and infinities become null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, enum.Enum):
        return plain(value.value)
    if isinstance(value, str):
        return str(value)
    if isinstance(value, datetime.datetime):
        return value.isoformat()
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return {str(plain(key)): plain(entry) for key, entry in value.items()}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(entry) for entry in value]
    raise TypeError(f"no JSON for {type(value).__name__}")
