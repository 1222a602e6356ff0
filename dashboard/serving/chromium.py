"""A headless Chromium, driven over its DevTools protocol: for pictures and for tests."""

import base64
import contextlib
import itertools
import json
import os
import shutil
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--enable-unsafe-swiftshader",  # WebGL without a graphics card
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    # a mouse, as a desktop has: without one pages show what otherwise waits to be pointed at
    "--blink-settings=primaryHoverType=2,availableHoverTypes=2,"
    "primaryPointerType=4,availablePointerTypes=4",
    "--remote-debugging-port=0",
)
KEYS = {"Enter": 13, "Escape": 27, "ArrowDown": 40, "ArrowUp": 38, "Tab": 9}
START_S = 30.0
ANSWER_S = 60.0


class ChromiumError(RuntimeError):
    """There is no Chromium, or a page did not become what was waited for; one line."""


def executable() -> str | None:
    """Chromium's path: the one that SPIKEFRONT_CHROMIUM names, or the first on the PATH."""
    named = os.environ.get("SPIKEFRONT_CHROMIUM")
    return named or next((path for name in NAMES if (path := shutil.which(name))), None)


@contextlib.contextmanager
def chromium() -> Iterator["Tab"]:
    """A browser of its own with one empty tab, ended on leaving. Raises ChromiumError."""
    path = executable()
    if path is None:
        raise ChromiumError(
            f"Chromium is needed, none of {', '.join(NAMES)} is on the PATH: "
            "install it, or name it in SPIKEFRONT_CHROMIUM"
        )
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        process = subprocess.Popen(
            [path, *FLAGS, f"--user-data-dir={profile}", "about:blank"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            with connect(_tab_address(Path(profile), process), max_size=None) as socket:
                yield Tab(socket)
        finally:
            process.terminate()
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _tab_address(profile: Path, process: "subprocess.Popen[bytes]") -> str:
    """The websocket of the first tab; Chromium writes the port that it took into its profile."""
    until = time.monotonic() + START_S
    while time.monotonic() < until and process.poll() is None:
        with contextlib.suppress(OSError, ValueError, StopIteration, IndexError):  # half written
            port = int((profile / "DevToolsActivePort").read_text().split()[0])
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list", timeout=5) as answer:
                tabs = json.load(answer)
            return str(next(tab["webSocketDebuggerUrl"] for tab in tabs if tab["type"] == "page"))
        time.sleep(0.05)
    raise ChromiumError(f"Chromium did not start within {START_S:.0f} s")


class Tab:
    """One tab: open a page, wait for what it shows, look at it."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self.complaints: list[str] = []  # errors of the page's own code and of its requests
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        self.requested: list[str] = []  # addresses that the page asked for

    def call(self, method: str, **params: object) -> Mapping[str, Any]:
        """One command of the DevTools protocol."""
        number = next(self._numbers)
        self._socket.send(json.dumps({"id": number, "method": method, "params": params}))
        while True:
            answer = json.loads(self._socket.recv(timeout=ANSWER_S))
            if answer.get("id") == number:
                if "error" in answer:
                    raise ChromiumError(f"{method}: {answer['error']['message']}")
                result: Mapping[str, Any] = answer["result"]
                return result
            self._note(answer)

    def _note(self, event: Mapping[str, Any]) -> None:
        params = event.get("params", {})
        match event.get("method"):
            case "Runtime.exceptionThrown":
                details = params["exceptionDetails"]
                self.complaints.append(
                    str(details.get("exception", {}).get("description", details["text"]))
                )
            case "Log.entryAdded" if params["entry"]["level"] == "error":
                self.complaints.append(str(params["entry"]["text"]))
            case "Network.requestWillBeSent":
                self.requested.append(str(params["request"]["url"]))

    def size(self, width: int, height: int, *, scale: float = 1.0) -> None:
        """How large the window is, in CSS pixels."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=scale,
            mobile=False,
        )

    def prefer(self, mode: str) -> None:
        """`light` or `dark`, as the system would say."""
        feature = {"name": "prefers-color-scheme", "value": mode}
        self.call("Emulation.setEmulatedMedia", features=[feature])

    def open(self, url: str) -> None:
        """Go to a page; returns when it is on its way."""
        self.call("Page.navigate", url=url)

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression in the page."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        if "exceptionDetails" in answer:
            raise ChromiumError(str(answer["exceptionDetails"]["text"]))
        return answer["result"].get("value")

    def wait_for(self, condition: str, *, seconds: float = 60.0) -> None:
        """Until a JavaScript expression is true. Raises ChromiumError with what was shown."""
        until = time.monotonic() + seconds
        while not self._holds(condition):
            if time.monotonic() > until:
                shown = str(self.text())[:400]
                raise ChromiumError(f"waited {seconds:.0f} s for {condition}; shown: {shown!r}")
            time.sleep(0.05)

    def _holds(self, condition: str) -> bool:
        try:
            return bool(self.evaluate(f"Boolean({condition})"))
        except ChromiumError:  # the document is just being replaced, or has nothing yet
            return False

    def wait_for_page(self, *, seconds: float = 60.0) -> None:
        """Until Streamlit has drawn everything, figures included, and the picture stands still."""
        self.wait_for(
            "document.querySelector('[data-testid=stApp]')?.dataset.testScriptState"
            " === 'notRunning' && !document.querySelector('[data-testid=stSkeleton]')",
            seconds=seconds,
        )
        self.wait_for(
            "[...document.querySelectorAll('[data-testid=stPlotlyChart]')]"
            ".every(chart => chart.querySelector('.main-svg'))",
            seconds=seconds,
        )
        before, after = None, self.screenshot()
        until = time.monotonic() + seconds
        while before != after and time.monotonic() < until:
            time.sleep(0.25)
            before, after = after, self.screenshot()

    def text(self) -> str:
        """What a person could read on the page."""
        return str(self.evaluate("document.body ? document.body.innerText : ''"))

    def click(self, x: float, y: float) -> None:
        """Press and release the mouse at a place of the window."""
        for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def key(self, name: str) -> None:
        """Press and release a key, like `Enter` or `ArrowDown`."""
        for kind in ("rawKeyDown", "char", "keyUp"):
            if kind != "char" or name == "Enter":
                self.call(
                    "Input.dispatchKeyEvent",
                    type=kind,
                    key=name,
                    code=name,
                    windowsVirtualKeyCode=KEYS[name],
                    **({"text": "\r"} if kind == "char" else {}),
                )

    def hover(self, x: float, y: float) -> None:
        """Move the mouse to a place of the window."""
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def screenshot(self, *, whole: bool = False) -> bytes:
        """The window as PNG."""
        answer = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        return base64.b64decode(answer["data"])
