"""Pictures of the pages: `python -m dashboard.serving.screenshots STORE OUT_DIR [--study NAME]`.

Starts the app on a free port, opens each page in a headless Chromium, and writes a PNG for each
page that has something to show; `compare.png` where there are two studies.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlencode

from dashboard.serving.chromium import ChromiumError, Tab, chromium
from dashboard.serving.serve import ServeError, serving
from search.store.store import Store, StoreError

WIDTH, HEIGHT = 1440, 900
TALLEST = 2700  # of one picture; what lies below is left out


def main(arguments: Sequence[str] | None = None) -> int:
    """Take the pictures. Returns 0, or 1 with one line of why not."""
    parser = argparse.ArgumentParser(prog="dashboard.serving.screenshots", description=__doc__)
    parser.add_argument("store", help="URL of the store, like sqlite:///runs/spikefront.db")
    parser.add_argument("out", type=Path, help="folder for the pictures, made if need be")
    parser.add_argument("--study", help="study to show; the one changed last when left out")
    parser.add_argument("--mode", choices=("light", "dark"), default="light")
    given = parser.parse_args(arguments)
    try:
        addresses = pages(given.store, given.study)
        given.out.mkdir(parents=True, exist_ok=True)
        with chromium() as tab, serving(given.store) as app:
            tab.prefer(given.mode)
            for name, address in addresses.items():
                path = given.out / f"{name}.png"
                path.write_bytes(picture(tab, app + address))
                print(path)
    except (ChromiumError, ServeError, StoreError, OSError) as error:
        print(f"dashboard.serving.screenshots: {error}", file=sys.stderr)
        return 1
    return 0


def pages(url: str, study: str | None) -> dict[str, str]:
    """Address of each picture: the pages, on one study, and on a network of its front.

    It is the one of several exits that sends most images on: there is most to see. Raises
    StoreError where there is nothing to show.
    """
    with Store(url, read_only=True) as store:
        summaries = sorted(store.study_summaries(), key=lambda s: s.last_change_at)
        if not summaries:
            raise StoreError(f"{store.url} holds no study yet: run one first")
        name = study or summaries[-1].name
        front = store.operating_points(name, front_only=True)
    if not front:
        raise StoreError(f"study {name!r} has no front yet: let a trial finish first")
    with_exits = [point for point in front if point.point.exit_thresholds]
    best = max(with_exits or front, key=lambda point: point.point.metrics["mean_blocks"])
    shown = {"study": name, "trial": best.trial, "point": best.id, "replay": "on"}
    addresses = {
        "studies": "/",
        "front": f"/front?{urlencode({'study': name})}",
        "network": f"/network?{urlencode(shown)}",
        "matters": f"/matters?{urlencode({'study': name})}",
        "export": f"/export?{urlencode({'study': name})}",
    }
    others = [summary.name for summary in reversed(summaries) if summary.name != name]
    if others:
        compared = [("with", each) for each in (name, *others[:3])]
        addresses["compare"] = f"/compare?{urlencode(compared)}"
    return addresses


def picture(tab: Tab, address: str) -> bytes:
    """The page at that address, as tall as it is."""
    tab.size(WIDTH, HEIGHT)
    tab.open(address)
    tab.wait_for("document.querySelector('[data-testid=stMain]')")
    tab.wait_for_page()
    height = tab.evaluate("document.querySelector('[data-testid=stMain]').scrollHeight")
    tab.size(WIDTH, min(TALLEST, max(HEIGHT, int(height))))
    tab.wait_for_page()
    return tab.screenshot()


if __name__ == "__main__":
    sys.exit(main())
