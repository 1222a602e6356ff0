"""Random use of the pages: `python -m tests.dashboard.random_walk [SECONDS] [SEED]`.

Two tabs click, choose, type and go back while studies are added, replaced and deleted. After each
step the tab must show no exception, and the study of its box must be the one of its address.
"""

import random
import sys
import tempfile
import time
from pathlib import Path

from playwright.sync_api import BrowserContext, Error, Page

from search.store.store import Store
from tests.dashboard.example_store import fill
from tools.browser import chromium, wait_until_drawn
from tools.serving import serving

NAMES = ("digits", "finished", "second", "third")
PAGES = ("", "front", "network", "importance", "compare", "export", "launch")
# Nothing that starts a process or a download.
CLICKABLE = (
    "[data-testid=stSidebarNav] a, [data-testid=stTopNavLink], [data-testid=stPageLink] a,"
    " [data-testid=stMain] label:has(input), [data-testid=stMain] [role=radio],"
    " [data-testid=stMain] button[kind^=segmented], .js-plotly-plot .nsewdrag"
)
# JavaScript: the box of studies shows the study of the address, or the page says why not.
AGREES = """
(() => {
    const named = new URLSearchParams(location.search).get('study');
    const box = document.querySelector('.st-key-choose-study');
    if (!box || !named || document.body.innerText.includes('There is no study')) return true;
    return [box.innerText, ...[...box.querySelectorAll('input')].map(each => each.value)]
        .some(text => text.includes(named));
})()
"""


class Walk:
    """A seeded sequence of acts on two tabs and the store, and the faults that they found."""

    def __init__(self, browser: BrowserContext, app: str, url: str, seed: int) -> None:
        self.faults: list[str] = []
        self._draw = random.Random(seed)
        self._app, self._url = app, url
        self._trail: list[str] = []
        browser.set_default_timeout(5_000)
        self._pages = [browser.new_page() for _ in range(2)]
        for page in self._pages:
            page.goto(app, timeout=200_000)  # the first one, with all that it compiles

    def step(self) -> None:
        """Act once, and check the tab."""
        page = self._draw.choice(self._pages)
        acts = (self._click, self._choose_study, self._open, self._go_back, self._change_store)
        (act,) = self._draw.choices(acts, weights=(8, 4, 2, 3, 1))
        self._trail.append(act.__name__)
        try:
            act(page)
            wait_until_drawn(page)
        except Error as error:
            # an element that a rerun replaced is no fault; a page that never ends is one
            if "wait_for_function" in str(error):
                self._fault(page, str(error).splitlines()[0])
            return
        self._check(page)

    def _check(self, page: Page) -> None:
        for text in page.get_by_test_id("stException").all_inner_texts():
            self._fault(page, text[:400])
        try:  # a choice is in the box before it is in the address
            page.wait_for_function(AGREES, timeout=200_000)
        except Error:
            self._fault(page, "the box of studies shows another study than the address")

    def _fault(self, page: Page, text: str) -> None:
        self.faults.append(f"{page.url} after {', '.join(self._trail[-6:])}: {text}")

    def _click(self, page: Page) -> None:
        found = page.locator(CLICKABLE).filter(visible=True)
        if count := found.count():
            found.nth(self._draw.randrange(count)).click(timeout=3_000)

    def _choose_study(self, page: Page) -> None:
        box = page.locator(".st-key-choose-study input")
        if box.count():
            for key in ("ArrowDown",) * self._draw.randint(1, 3) + ("Enter",):
                box.press(key)

    def _open(self, page: Page) -> None:
        path, name = self._draw.choice(PAGES), self._draw.choice(NAMES)
        page.goto(f"{self._app}/{path}?study={name}&trial={self._draw.randrange(9)}")

    def _go_back(self, page: Page) -> None:
        page.go_back()
        if page.url == "about:blank":
            page.go_forward()

    def _change_store(self, page: Page) -> None:
        """Delete a study, and now and then write one of that name with other trials."""
        name = self._draw.choice(NAMES[1:])
        with Store(self._url) as store:
            if name in {summary.name for summary in store.study_summaries()}:
                store.delete_study(name)
        if self._draw.random() < 0.7:
            fill(self._url, name=name, count=self._draw.randint(1, 9), is_running=False)


def server_memory(app: str) -> int:
    """Return the resident memory of the dashboard's process, a child of this one, in bytes."""
    port = app.rpartition(":")[2]
    for children in Path("/proc/self/task").glob("*/children"):
        for child in children.read_text().split():
            if port.encode() in Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0"):
                pages = int(Path(f"/proc/{child}/statm").read_text().split()[1])
                return pages * 4096
    raise AssertionError(f"no process serves port {port}")


def main() -> int:
    """Walk for a time; print the faults and the memory of the server every minute."""
    seconds, seed = (int(word) for word in [*sys.argv[1:], "600", "0"][:2])
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/store.db"
        for name in NAMES[:2]:
            fill(url, name=name, count=12, is_running=False)
        with chromium() as browser, serving(url, folder=Path(folder)) as app:
            walk = Walk(browser, app, url, seed)
            begin, steps, told = time.monotonic(), 0, -60.0
            while (now := time.monotonic() - begin) < seconds:
                walk.step()
                steps += 1
                if now - told >= 60:
                    told = now
                    memory = server_memory(app) / 1e6
                    print(f"{now:.0f} s, {steps} steps, {memory:.0f} MB", flush=True)
    print(*walk.faults, sep="\n")
    return int(bool(walk.faults))


if __name__ == "__main__":
    sys.exit(main())
