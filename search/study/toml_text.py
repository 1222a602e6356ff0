"""Study files written by a program."""

from collections.abc import Mapping
from typing import Any

import tomli_w


def toml_text(question: str, document: Mapping[str, Any]) -> str:
    """A study file of these tables; the question is the comment that it begins with."""
    lines = (" ".join(line.split()) for line in question.splitlines())
    comment = "".join(f"# {line}".rstrip() + "\n" for line in lines)
    return comment + tomli_w.dumps(document)
