"""Files of NIR graphs."""

import importlib
import os
import uuid
from pathlib import Path
from typing import Any

from snn.interchange.description import InterchangeError

INSTALL = "pip install 'spikefront[nir]'"


def nir_library() -> Any:
    """Return the package `nir`. Raises InterchangeError with the command that installs it."""
    try:
        return importlib.import_module("nir")
    except ImportError as error:
        raise InterchangeError(
            f"NIR files need the package nir, which cannot be imported ({error}): {INSTALL}"
        ) from None


def write(graph: Any, path: Path) -> None:
    """Write a graph to `path` atomically."""
    nir = nir_library()
    draft = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        nir.write(draft, graph)
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def read(path: Path) -> Any:
    """Return the graph in `path`. Raises InterchangeError for any other file."""
    nir = nir_library()
    if not path.is_file():
        raise InterchangeError(f"{path}: no such NIR file")
    try:
        graph = nir.read(path)
    except Exception as error:  # nir checks little, so that a wrong file raises anything
        graph = _grouped(nir, path)
        if graph is None:
            reason = (str(error).splitlines() or [""])[0]
            raise InterchangeError(
                f"{path}: must be a NIR graph, got a file that cannot be read as one "
                f"({type(error).__name__}: {reason})"
            ) from None
    if not isinstance(graph, nir.NIRGraph):
        raise InterchangeError(f"{path}: must be a NIR graph, got a single {type(graph).__name__}")
    return graph


def _grouped(nir: Any, path: Path) -> Any:
    """Return a graph with grouped convolutions, whose shapes nir's type check takes for wrong."""
    try:
        graph = nir.read(path, type_check=False)
        graph.validate_structure()
    except Exception:  # then the first error of `read` counts
        return None
    groups = (getattr(node, "groups", 1) for node in graph.nodes.values())
    return graph if any(int(count) > 1 for count in groups) else None
