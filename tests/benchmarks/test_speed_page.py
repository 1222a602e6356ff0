"""The page of speed says what was run, and how to run it again."""

import json
from pathlib import Path

import pytest

from benchmarks.speed_page import main

FOUND = {"time_vs_fastest_eager_peer_T8": 0.6, "time_vs_convolutions_T8": 1.2}
DOCUMENT = {
    "benchmark": "engine", "commit": "abc", "machine": "a machine", "foreign_load": 0.0,
    "setting": {"parts": "steady", "engines": "ours norse"}, "against": {"norse": "1"},
    "figures": [
        {"name": name, "value": value, "unit": "", "better": "lower", "aim": 0.55}
        for name, value in FOUND.items()
    ],
}  # fmt: skip


def test_it_tells_what_the_convolutions_alone_leave_and_how_it_was_made(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_text(json.dumps(DOCUMENT))
    page = tmp_path / "page.md"
    assert main([str(tmp_path / "a"), str(tmp_path / "b"), "--markdown", str(page)]) == 0
    text = page.read_text()
    assert "step 0.50 at T = 8:" in text
    assert "| `time_vs_fastest_eager_peer_T8` | 0.6 | lower | 0.55 | no |" in text
    assert "engine --parts steady --engines ours norse --json > engine-2.json" in text


def test_what_is_no_document_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main([str(tmp_path / "none.json"), "--markdown", str(tmp_path / "page.md")])
    assert "give what a benchmark printed with --json" in capsys.readouterr().err
    assert not (tmp_path / "page.md").exists()
