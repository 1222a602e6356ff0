"""The notebooks run as they stand, and hold the figures that they show."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tools.notebooks import FOLDER, PLOTLY, run

NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))


def shown(notebook: Mapping[str, Any]) -> list[list[str]]:
    """The kinds of output of each code cell."""
    return [
        [kind for output in cell["outputs"] for kind in output.get("data", {"stream": ""})]
        for cell in notebook["cells"]
        if cell["cell_type"] == "code"
    ]


def test_there_are_notebooks() -> None:
    assert [path.stem for path in NOTEBOOKS] == ["first-steps", "own-training"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_and_shows_what_it_holds(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SPIKEFRONT_STORE", "SPIKEFRONT_DATA"):
        monkeypatch.delenv(name, raising=False)
    held = json.loads(path.read_text(encoding="utf-8"))
    assert held["nbformat"] == 4
    assert any(PLOTLY in kinds for kinds in shown(held)), "run: python -m tools.notebooks"
    assert shown(run(path)) == shown(held)
