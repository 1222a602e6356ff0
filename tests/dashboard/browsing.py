"""What tests do with a page in a browser: find by words, press, type, download."""

import json
import time
from pathlib import Path

from dashboard.serving.chromium import Tab


def opened(tab: Tab, address: str, *, text: str, seconds: float = 90.0) -> None:
    """Open a page and wait until it shows `text` and stands still."""
    tab.open(address)
    shows(tab, text, seconds=seconds)
    tab.wait_for_page(seconds=seconds)


def shows(tab: Tab, text: str, *, seconds: float = 90.0) -> None:
    """Wait until the page shows `text`; spaces that do not break count as plain ones."""
    words = json.dumps(text)
    plain = r"document.body.innerText.replace(/\s/g, ' ')"
    tab.wait_for(f"{plain}.includes({words})", seconds=seconds)


def press(tab: Tab, label: str, *, within: str = "document") -> None:
    """Click the first button or link that shows `label`, as soon as it is there and enabled."""
    found = (
        f"[...{within}.querySelectorAll('button, a')]"
        f".find(each => each.innerText.includes({json.dumps(label)}) && !each.disabled)"
    )
    tab.wait_for(found)
    tab.evaluate(f"{found}.click()")


def type_into(tab: Tab, label: str, text: str) -> None:
    """Replace what stands in the text input with that label, and press Enter."""
    field = f"document.querySelector('input[aria-label={json.dumps(label)}]')"
    tab.wait_for(field)
    tab.evaluate(f"{field}.focus(); {field}.select()")
    tab.call("Input.insertText", text=text)
    key(tab, "Enter", 13)


def key(tab: Tab, name: str, code: int) -> None:
    """Press and release a key."""
    for kind in ("keyDown", "keyUp"):
        extra = {"text": "\r"} if name == "Enter" and kind == "keyDown" else {}
        tab.call("Input.dispatchKeyEvent", type=kind, key=name, windowsVirtualKeyCode=code, **extra)


def download(
    tab: Tab, label: str, folder: Path, *, within: str = "document", seconds: float = 90.0
) -> Path:
    """Press a button that downloads; the file, once it is whole."""
    folder.mkdir(exist_ok=True)
    tab.call("Page.setDownloadBehavior", behavior="allow", downloadPath=str(folder))
    before = set(folder.iterdir())
    press(tab, label, within=within)
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        new = [p for p in set(folder.iterdir()) - before if p.suffix != ".crdownload"]
        if new:
            return new[0]
        time.sleep(0.05)
    raise AssertionError(f"nothing was downloaded within {seconds:.0f} s")
