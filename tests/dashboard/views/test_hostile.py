"""Nothing from a study file, a trial or the address is ever more than text."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest
from playwright.sync_api import Page
from streamlit.testing.v1 import AppTest

from tests.dashboard import hostile_store
from tests.dashboard.browsing import recorded
from tests.dashboard.hostile_store import ALL, ATTACKS, HOST, PARAM
from tests.dashboard.views.test_views import shown
from tools.browser import wait_until_drawn
from tools.serving import serving

VIEWS = ("studies", "front", "network", "importance", "compare", "export", "launch")
NAMES = ("study", "trial", "point", "at", "x", "y", "z", "colour", "shape", "scale_x", "targets")
NAMES += ("selected", "marked", "metric", "look", "by", "across", "up", "file", "from", "watch")
NAMES += ("replay", "image", "images", "against", "with", "points", "along", "statistic")


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    return hostile_store.fill(tmp_path_factory.mktemp("hostile") / "store.db")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder with a study file and a log."""
    folder = tmp_path_factory.mktemp("work")
    (folder / "studies").mkdir()
    (folder / "studies" / "<img src=x onerror=window.attacked=1>.toml").write_text(
        "".join(f"# {attack}\n" for attack in ATTACKS) + 'name = "<b>x</b>"\n'
    )
    (folder / "runs" / "logs").mkdir(parents=True)
    (folder / "runs" / "logs" / "hostile-20260101T000000-1.log").write_text(ALL)
    return folder


def run_view(monkeypatch: pytest.MonkeyPatch, url: str, name: str, **query: str) -> AppTest:
    view = "" if name == "studies" else f"views/{name}.py"
    return shown(monkeypatch, url, view, **query)


@pytest.mark.parametrize("name", VIEWS)
def test_markdown_never_holds_what_somebody_wrote_as_it_is(
    name: str, url: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    app = run_view(monkeypatch, url, name, study="hostile", trial="0", watch=ALL)
    for kind in (app.markdown, app.caption, app.subheader, app.title, app.error, app.warning):
        for element in kind:
            text = str(element.value)
            if "<style>" in text:
                continue
            for mark in ("<img", "<script", "<a ", f"](https://{HOST}", "<svg onload", "$$"):
                assert mark not in text, (name, text[:300])


@pytest.mark.parametrize("name", VIEWS)
def test_an_address_is_never_more_than_a_value(
    name: str, url: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    for attack in (ALL, "-1e999\x00٣"):
        app = run_view(monkeypatch, url, name, **dict.fromkeys(NAMES, attack))
        assert not app.exception
    with sqlite3.connect(url.removeprefix("sqlite:///")) as raw:
        assert raw.execute("SELECT count(*) FROM studies").fetchone() == (2,)


# --- in the browser ----------------------------------------------------------------------

PAGES = (
    ("/", {}),
    ("/front", {"study": "hostile", "colour": "surrogate", "x": "surrogate", "shape": "surrogate"}),
    ("/front", {"study": ALL, "targets": ALL, "selected": ALL}),
    ("/network", {"study": "hostile", "trial": "0"}),
    ("/network", {"study": ALL, "trial": "6"}),
    ("/importance", {"study": "hostile", "view": "slices"}),
    ("/importance", {"study": "hostile", "view": "pairs", "across": PARAM, "up": "surrogate"}),
    ("/importance", {"study": "hostile", "view": "parallel"}),
    ("/compare", {"with": ALL}),
    ("/export", {"study": ALL}),
    ("/launch", {"watch": ALL, "file": "../../etc/passwd"}),
)


@pytest.fixture(scope="module")
def app(url: str, folder: Path) -> Iterator[str]:
    with serving(url, folder=folder) as address:
        yield address


def test_a_browser_runs_fetches_and_links_nothing_of_these_texts(page: Page, app: str) -> None:
    page.set_viewport_size({"width": 1440, "height": 2000})
    seen = recorded(page)
    found: list[tuple[str, object]] = []
    for path, query in PAGES:
        seen.requests.clear()
        page.goto(f"{app}{path}?{urlencode(query)}")
        wait_until_drawn(page)
        links = page.locator("a, img").evaluate_all(
            "all => all.map(each => each.src ?? each.href?.baseVal ?? each.href)"
        )
        bad = [to for to in links if to.startswith((f"https://{HOST}", "javascript:"))]
        bad += [to for to in seen.requests if to.startswith(f"https://{HOST}")]
        text = page.locator("body").inner_text()
        bad += [word for word in ("Traceback (most", "root:x:") if word in text]
        if bad or page.evaluate("Boolean(window.attacked)"):
            found.append((f"{path}?{urlencode(query)}"[:90], bad))
    assert found == []
