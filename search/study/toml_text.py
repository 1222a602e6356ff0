"""Writes study files."""

from collections.abc import Mapping
from typing import Any

import tomli_w


def toml_text(question: str, document: Mapping[str, Any]) -> str:
    """Return a study file of these tables; the question becomes its first comment."""
    lines = (" ".join(line.split()) for line in question.splitlines())
    comment = "".join(f"# {line}".rstrip() + "\n" for line in lines)
    return comment + tomli_w.dumps(document)
