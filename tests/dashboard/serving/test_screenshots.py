from pathlib import Path

import pytest

from dashboard.serving import chromium, screenshots
from search.store.store import Store


def test_without_chromium_there_is_one_line_that_says_so(
    example_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(chromium, "executable", lambda: None)
    assert screenshots.main([example_url, str(tmp_path)]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "Chromium is needed" in line


def test_without_a_study_there_is_one_line_that_says_so(
    empty_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert screenshots.main([empty_url, str(tmp_path)]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "no study yet" in line


def test_the_trial_pictured_is_one_that_uses_its_exits(example_url: str) -> None:
    addresses = screenshots.pages(example_url, "digits")
    assert list(addresses) == ["studies", "front", "network", "matters", "export", "compare"]
    assert addresses["compare"] == "/compare?with=digits&with=finished"
    assert addresses["network"].startswith("/network?study=digits&trial=")
    point = int(addresses["network"].partition("point=")[2].partition("&")[0])
    with Store(example_url, read_only=True) as store:
        front = store.operating_points("digits", front_only=True)
    exits = {each.id: each.point.metrics["mean_blocks"] for each in front}
    assert exits[point] == max(exits.values()) > 1
