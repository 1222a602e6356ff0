"""`python -m tools.docs_python`: the reference of the names for scripts, as Markdown."""

import inspect
import re
import textwrap
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import search
import snn
from snn import extensions

MODULES = (
    (search, "Studies, stores and results. Importing it loads nothing; names load when used."),
    (snn, "Exported networks."),
    (extensions, "For extensions, which `SPIKEFRONT_EXTENSIONS` names."),
)
CONSTRUCTED = ("Study",)  # classes that scripts make; others are answers
_HIDDEN = re.compile(r"_|model_")


def python_reference() -> str:
    """Return the page."""
    parts = [
        "# Reference of the Python interface",
        "Written by `python -m tools.docs_python > docs/reference-python.md`. How to use "
        "it: [from Python](how-to/from-python.md).",
    ]
    for module, purpose in MODULES:
        parts += [f"## {module.__name__}", purpose]
        for name in module.__all__:
            parts += _entry(module, name)
    return "\n\n".join(parts) + "\n"


def _entry(module: ModuleType, name: str) -> Iterator[str]:
    found = getattr(module, name)
    yield f"### {module.__name__}.{name}"
    if not isinstance(found, type) or name in CONSTRUCTED:
        yield f"`{name}{_signature(found)}`"
    yield _text(found)
    if isinstance(found, type) and not issubclass(found, Exception):
        members = [*_members(found)]
        if members:
            yield "\n".join(members)


def _members(found: type) -> Iterator[str]:
    """Yield a line for each method and property that the class itself defines."""
    for name, member in vars(found).items():
        if _HIDDEN.match(name):
            continue
        if isinstance(member, property):
            yield f"- `{name}`: {_first(member)}"
        elif inspect.isfunction(member):
            yield f"- `{name}{_signature(member)}`: {_first(member)}"


def _signature(found: Any) -> str:
    """Return the parameters, without `self` and the names of modules."""
    try:
        signature = inspect.signature(found)
    except (TypeError, ValueError):
        return ""
    kept = [p for p in signature.parameters.values() if p.name != "self"]
    text = str(signature.replace(parameters=kept))
    text = re.sub(r"(?<=: |> )'([^']*)'", r"\1", text)  # annotations that are text
    return re.sub(r"\b(?:[a-z_]+\.)+(?=[A-Z])", "", text)


def _text(found: Any) -> str:
    """Return the docstring; indented parts become blocks of text."""
    text = inspect.getdoc(found) or ""
    parts = []
    for part in re.split(r"\n\n", text):
        if part.startswith("    "):
            parts.append(f"```text\n{textwrap.dedent(part)}\n```")
        else:
            parts.append(part)
    return "\n\n".join(parts)


def _first(found: Any) -> str:
    """Return the first sentence of a docstring."""
    return " ".join((inspect.getdoc(found) or "").split("\n\n")[0].split())


if __name__ == "__main__":
    print(python_reference(), end="")
