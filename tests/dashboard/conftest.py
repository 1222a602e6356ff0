from collections.abc import Iterator
from pathlib import Path

import pytest
import streamlit as st
from playwright.sync_api import BrowserContext, Page
from streamlit.runtime.scriptrunner.script_cache import ScriptCache
from streamlit.testing.v1 import local_script_runner

from tests import network
from tests.dashboard import real_study
from tests.dashboard.browsing import TIMEOUT_MS
from tests.dashboard.example_store import fill
from tools.browser import chromium, executable


@pytest.fixture(scope="session")
def example_url(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A store with one finished study and one that runs; nobody writes to it."""
    url = f"sqlite:///{tmp_path_factory.mktemp('store') / 'example.db'}"
    fill(url, name="finished", count=13, is_running=False)
    fill(url, name="digits", count=16)
    return url


@pytest.fixture(scope="session")
def real_url(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A store with two small real studies, `real` and `second`, of two samplers."""
    folder = tmp_path_factory.mktemp("real")
    real_study.run(folder)
    return real_study.run(folder, "second", sampler="qmc")


@pytest.fixture
def empty_url(tmp_path: Path) -> str:
    from search.store.store import Store

    url = f"sqlite:///{tmp_path / 'empty.db'}"
    Store(url).close()
    return url


@pytest.fixture(scope="session")
def browser() -> Iterator[BrowserContext]:
    if executable() is None:
        pytest.skip("needs Chromium on the PATH, or named in SPIKEFRONT_CHROMIUM")
    with chromium(is_still=True) as browser:
        yield browser


@pytest.fixture
def page(browser: BrowserContext) -> Iterator[Page]:
    """A page without a cookie of an earlier test; scripts that one compiled are there."""
    browser.clear_cookies()
    browser.set_default_timeout(TIMEOUT_MS)
    with network.still():
        yield browser.new_page()
        for each in browser.pages[1:]:  # what the test opened; the window stays
            each.close()


@pytest.fixture(scope="session", autouse=True)
def _pages_are_compiled_once() -> Iterator[None]:
    """AppTest would compile each page each time."""
    compiled = ScriptCache()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(local_script_runner, "ScriptCache", lambda: compiled)
        yield


@pytest.fixture(autouse=True)
def _fresh_caches() -> Iterator[None]:
    """Each test reads its store anew."""
    st.cache_resource.clear()
    yield
    st.cache_resource.clear()
