"""The system's Chromium, driven with Playwright: for tests, pictures and benchmarks."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator

from playwright.sync_api import BrowserContext, Page, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
# JavaScript: Streamlit's script has ended, no element of an earlier run is left, and every figure
# has its drawing.
DRAWN = """
document.querySelector('[data-testid=stApp]')?.dataset.testScriptState === 'notRunning'
&& !document.querySelector('[data-testid=stSkeleton], [data-stale=true]')
&& [...document.querySelectorAll('[data-testid=stPlotlyChart]')]
    .every(chart => chart.querySelector('.main-svg'))
"""


class BrowserError(RuntimeError):
    """No Chromium was found; one line."""


def executable() -> str | None:
    """Return the path in SPIKEFRONT_CHROMIUM, or of the first Chromium on the PATH."""
    named = os.environ.get("SPIKEFRONT_CHROMIUM")
    return named or next((path for name in NAMES if (path := shutil.which(name))), None)


@contextlib.contextmanager
def chromium(*, is_still: bool = False) -> Iterator[BrowserContext]:
    """Start a headless Chromium with an empty profile and end it on leaving. Raises BrowserError.

    Pages share the profile: only the first one compiles the scripts of Streamlit and plotly. With
    `is_still` they ask for reduced motion: each frame of what moves while a page loads is drawn by
    the processor, half of all that a page costs.
    """
    path = executable()
    if path is None:
        raise BrowserError(
            f"no Chromium found: none of {', '.join(NAMES)} is on the PATH; "
            "install it, or set SPIKEFRONT_CHROMIUM to its path"
        )
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile,
        sync_playwright() as playwright,
    ):
        context = playwright.chromium.launch_persistent_context(
            profile,
            executable_path=path,
            args=["--disable-gpu"],  # there is none; to imitate one takes time
            timeout=200_000,  # ms, to start; 30 s by itself
            viewport={"width": 1440, "height": 900},
            reduced_motion="reduce" if is_still else None,
        )
        yield context
        context.close()


def wait_until_drawn(page: Page, *, seconds: float = 200.0) -> None:
    """Wait until Streamlit and its figures are complete. Raises playwright's TimeoutError."""
    page.wait_for_function(DRAWN, timeout=1000 * seconds, polling=50)  # ms; by itself each frame
