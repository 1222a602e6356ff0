from pathlib import Path

import pytest

from search.store.store import Store
from tools import browser, screenshots


def test_without_chromium_one_line_says_how_to_install_or_name_it(
    example_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(browser, "executable", lambda: None)
    assert screenshots.main([example_url, str(tmp_path)]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "no Chromium found" in line
    assert "set SPIKEFRONT_CHROMIUM" in line


def test_without_a_study_one_line_says_so(
    empty_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert screenshots.main([empty_url, str(tmp_path)]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "no study yet" in line


def test_the_network_shown_is_the_one_that_uses_its_exits_most(example_url: str) -> None:
    addresses = screenshots.pages(example_url, "digits")
    assert list(addresses) == ["studies", "front", "network", "importance", "export", "compare"]
    assert addresses["compare"] == "/compare?with=digits&with=finished"
    assert addresses["network"].startswith("/network?study=digits&trial=")
    point = int(addresses["network"].partition("point=")[2].partition("&")[0])
    with Store(example_url, read_only=True) as store:
        front = store.operating_points("digits", front_only=True)
    exits = {each.id: each.point.metrics["mean_blocks"] for each in front}
    assert exits[point] == max(exits.values()) > 1
