from pathlib import Path

from playwright.sync_api import BrowserContext

from tests import network
from tests.dashboard.example_store import fill
from tests.dashboard.random_walk import NAMES, Walk, server_memory
from tools.serving import serving

STEPS = 15
MOST_MEMORY = 1_000_000_000  # bytes; 0.2 GB at the start, 0.7 GB once a page has loaded torch


def test_random_use_shows_no_exception_and_no_other_study_than_it_names(
    browser: BrowserContext, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path / 'store.db'}"
    for name in NAMES[:2]:
        fill(url, name=name, count=8, is_running=False)
    with network.still(), serving(url, folder=tmp_path) as app:
        walk = Walk(browser, app, url, seed=3)
        for _ in range(STEPS):
            walk.step()
        assert walk.faults == []
        assert server_memory(app) < MOST_MEMORY
