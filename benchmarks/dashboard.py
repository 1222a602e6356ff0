"""Time of the dashboard's pages with a thousand studies, one of them with 10,000 trials.

`python -m benchmarks.dashboard [--quick] [--json]` writes such a store, serves it, and opens it
in a headless Chromium with an empty cache. A page is timed from the request to its complete
content, a change of axis from the choice in the select box to the figure with the new axis. The
server reads the large study anew each time.
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from playwright.sync_api import Page

from benchmarks.big_store import LARGE, Size, described, fill
from benchmarks.report import Figure, Report, arguments
from tools.browser import BrowserError, chromium, wait_until_drawn
from tools.serving import ServeError, serving

QUICK = Size(studies=100, trials=1_000, points=20_000)
FIGURE = "document.querySelector('.st-key-front-chart .js-plotly-plot')"
IDLE = "document.querySelector('[data-testid=stApp]')?.dataset.testScriptState === 'notRunning'"
STUDIES = f"document.body?.innerText.includes('Open the front') && {IDLE}"
FRONT = f"{FIGURE}?._fullData?.some(trace => trace.name === 'front') && {IDLE}"
AXES = ("Energy (estimate)", "Model size", "Latency", "Synaptic operations")
AIM_VIEW_S, AIM_AXIS_S = 2.0, 0.5


def main(argv: Sequence[str] | None = None) -> int:
    """Write the store, time, and print. Returns 1 where no Chromium is found."""
    options = arguments(str(__doc__).splitlines()[0]).parse_args(argv)
    size, runs = (QUICK, 2) if options.quick else (Size(), 5)
    setting = {"quick": options.quick, "runs": runs, "size": described(size)}
    report = Report("dashboard", against=("streamlit", "plotly"), setting=setting)
    try:
        with tempfile.TemporaryDirectory() as folder:
            url = f"sqlite:///{Path(folder) / 'store.db'}"
            report.line("  writing the store")
            fill(url, size)
            _time(report, url, runs)
    except (BrowserError, ServeError) as error:
        print(f"benchmarks.dashboard: {error}", file=sys.stderr)
        return 1
    report.show(as_json=options.json)
    return 0


def _time(report: Report, url: str, runs: int) -> None:
    first, front, axis = [], [], []
    for _ in range(runs):  # each with a new server and a new browser
        with chromium() as browser, serving(url) as app:
            first.append(_opened(browser.new_page(), app, STUDIES))
        with chromium() as browser, serving(url) as app:
            page = browser.new_page()
            front.append(_opened(page, f"{app}/front?study={LARGE}", FRONT))
            wait_until_drawn(page)
            axis += [_change_axis(page, label) for label in (*AXES, *AXES)]
        report.line(f"  studies {first[-1]:.2f} s, front {front[-1]:.2f} s, axis {axis[-1]:.2f} s")
    for name, seen, aim in (
        ("first_view_s", first, AIM_VIEW_S),
        ("front_view_s", front, AIM_VIEW_S),
        ("axis_change_s", axis, AIM_AXIS_S),
    ):
        report.line(f"  {name}: {min(seen):.2f} to {max(seen):.2f}")
        value = statistics.median(seen)
        report.add(Figure(name=name, value=value, unit="s", better="lower", aim=aim))


def _opened(page: Page, address: str, condition: str) -> float:
    return _seconds(page, lambda: page.goto(address, wait_until="commit"), condition)


def _seconds(page: Page, act: Callable[[], object], condition: str) -> float:
    begin = time.perf_counter()
    act()
    page.wait_for_function(condition)
    return time.perf_counter() - begin


def _change_axis(page: Page, label: str) -> float:
    """Choose the horizontal axis with the keyboard."""
    box = page.locator(".st-key-choose-x input")
    box.press("ArrowDown")
    box.press_sequentially(label)
    page.wait_for_function("document.querySelectorAll('[role=option]').length === 1")
    shown = f"{FIGURE}?._fullLayout.xaxis.title.text.includes({label!r}) && {IDLE}"
    return _seconds(page, lambda: box.press("Enter"), shown)


if __name__ == "__main__":
    raise SystemExit(main())
