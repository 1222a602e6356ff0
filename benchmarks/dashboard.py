"""How long the dashboard takes with a thousand studies, one of them of 10,000 trials.

`python -m benchmarks.dashboard [--quick] [--json]` writes such a store, serves it, and opens it
in a headless Chromium with an empty cache. A view is timed from the address to
all that it shows; the large study is read anew each time, a change of axes is a choice in the
select box until the figure has the new axis.
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.big_store import LARGE, Size, described, fill
from benchmarks.report import Figure, Report, arguments
from dashboard.serving.chromium import ChromiumError, Tab, chromium
from dashboard.serving.serve import ServeError, serving

QUICK = Size(studies=100, trials=1_000, points=20_000)
FIGURE = "document.querySelector('.st-key-front-chart .js-plotly-plot')"
IDLE = "document.querySelector('[data-testid=stApp]')?.dataset.testScriptState === 'notRunning'"
STUDIES = f"document.body.innerText.includes('Open the front') && {IDLE}"
FRONT = f"{FIGURE}?._fullData?.some(trace => trace.name === 'front') && {IDLE}"
AXES = ("Energy (estimate)", "Model size", "Latency", "Synaptic operations")
AIM_VIEW_S, AIM_AXIS_S = 2.0, 0.5


def main(argv: Sequence[str] | None = None) -> int:
    """Write the store, time, and print. Returns 1 where there is no Chromium."""
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
    except (ChromiumError, ServeError) as error:
        print(f"benchmarks.dashboard: {error}", file=sys.stderr)
        return 1
    report.show(as_json=options.json)
    return 0


def _time(report: Report, url: str, runs: int) -> None:
    first, front, axis = [], [], []
    for _ in range(runs):  # a server and a browser that have seen nothing yet
        with chromium() as tab, serving(url) as app:
            tab.size(1440, 900)
            first.append(_opened(tab, app, STUDIES))
        with chromium() as tab, serving(url) as app:
            tab.size(1440, 900)
            front.append(_opened(tab, f"{app}/front?study={LARGE}", FRONT))
            tab.wait_for_page()
            axis += [_change_axis(tab, label) for label in (*AXES, *AXES)]
        report.line(f"  studies {first[-1]:.2f} s, front {front[-1]:.2f} s, axis {axis[-1]:.2f} s")
    for name, seen, aim in (
        ("first_view_s", first, AIM_VIEW_S),
        ("front_view_s", front, AIM_VIEW_S),
        ("axis_change_s", axis, AIM_AXIS_S),
    ):
        report.line(f"  {name}: {min(seen):.2f} to {max(seen):.2f}")
        value = statistics.median(seen)
        report.add(Figure(name=name, value=value, unit="s", better="lower", aim=aim))


def _opened(tab: Tab, address: str, condition: str) -> float:
    return _seconds(tab, lambda: tab.open(address), condition)


def _seconds(tab: Tab, act: Callable[[], None], condition: str) -> float:
    begin = time.perf_counter()
    act()
    tab.wait_for(condition)
    return time.perf_counter() - begin


def _change_axis(tab: Tab, label: str) -> float:
    """Choose what is drawn across, as with the keyboard."""
    box = "document.querySelector('.st-key-choose-x input')"
    tab.evaluate(f"{box}.focus()")
    tab.key("ArrowDown")
    tab.wait_for("document.querySelector('[role=listbox], [role=option]')")
    tab.call("Input.insertText", text=label)
    tab.wait_for("document.querySelectorAll('[role=option]').length === 1")
    shown = f"{FIGURE}._fullLayout.xaxis.title.text.includes({label!r}) && {IDLE}"
    return _seconds(tab, lambda: tab.key("Enter"), shown)


if __name__ == "__main__":
    raise SystemExit(main())
