"""Pictures of the pages: `python -m tools.screenshots STORE OUT_DIR [--study NAME]`.

Serves the dashboard on a free port, opens each page in a headless Chromium, and writes a PNG of
each page that has data to show; `compare.png` where the store has two studies.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlencode

from playwright.sync_api import Error, Page

from search.store.store import Store, StoreError
from tools.browser import BrowserError, chromium, wait_until_drawn
from tools.serving import ServeError, serving

WIDTH, HEIGHT = 1440, 900
MAX_HEIGHT = 2700  # of one picture; the rest of a longer page is cut off


def main(arguments: Sequence[str] | None = None) -> int:
    """Take the pictures. Returns 0, or 1 after one line with the reason of the failure."""
    parser = argparse.ArgumentParser(prog="tools.screenshots", description=__doc__)
    parser.add_argument("store", help="URL of the store, like sqlite:///runs/spikefront.db")
    parser.add_argument("out", type=Path, help="folder for the pictures; created if missing")
    parser.add_argument("--study", help="study to show; default: the one changed last")
    parser.add_argument("--mode", choices=("light", "dark"), default="light")
    given = parser.parse_args(arguments)
    try:
        addresses = pages(given.store, given.study)
        given.out.mkdir(parents=True, exist_ok=True)
        with chromium() as browser, serving(given.store) as app:
            page = browser.new_page()
            page.emulate_media(color_scheme=given.mode)
            for name, address in addresses.items():
                path = given.out / f"{name}.png"
                path.write_bytes(picture(page, app + address))
                print(path)
    except (BrowserError, ServeError, StoreError, OSError, Error) as error:
        print(f"tools.screenshots: {str(error).splitlines()[0]}", file=sys.stderr)
        return 1
    return 0


def pages(url: str, study: str | None) -> dict[str, str]:
    """Return the address of each picture by its name: the pages of one study.

    The network shown is the front's operating point with exits that runs the most blocks per
    image. Raises StoreError for a store without a study, or a study without a front.
    """
    with Store(url, read_only=True) as store:
        summaries = sorted(store.study_summaries(), key=lambda s: s.last_change_at)
        if not summaries:
            raise StoreError(f"{store.url} has no study yet; run one first")
        name = study or summaries[-1].name
        front = store.operating_points(name, front_only=True)
    if not front:
        raise StoreError(f"study {name!r} has no front yet; wait until a trial is complete")
    with_exits = [point for point in front if point.point.exit_thresholds]
    best = max(with_exits or front, key=lambda point: point.point.metrics["mean_blocks"])
    shown = {"study": name, "trial": best.trial, "point": best.id, "replay": "on"}
    addresses = {
        "studies": "/",
        "front": f"/front?{urlencode({'study': name})}",
        "network": f"/network?{urlencode(shown)}",
        "importance": f"/importance?{urlencode({'study': name})}",
        "export": f"/export?{urlencode({'study': name})}",
    }
    others = [summary.name for summary in reversed(summaries) if summary.name != name]
    if others:
        compared = [("with", each) for each in (name, *others[:3])]
        addresses["compare"] = f"/compare?{urlencode(compared)}"
    return addresses


def picture(page: Page, address: str) -> bytes:
    """Return a PNG of the page at that address, in its full height up to MAX_HEIGHT."""
    page.set_viewport_size({"width": WIDTH, "height": HEIGHT})
    page.goto(address)
    wait_until_drawn(page)
    height = int(page.get_by_test_id("stMain").evaluate("main => main.scrollHeight"))
    page.set_viewport_size({"width": WIDTH, "height": min(MAX_HEIGHT, max(HEIGHT, height))})
    wait_until_drawn(page)
    before, after = b"", page.screenshot()
    while before != after:  # figures follow the size of the window a little later
        page.wait_for_timeout(250)
        before, after = after, page.screenshot()
    return after


if __name__ == "__main__":
    sys.exit(main())
