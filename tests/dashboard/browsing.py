"""Steps that tests take on a page in a browser."""

from typing import NamedTuple

from playwright.sync_api import ConsoleMessage, Locator, Page, expect

from tools.browser import wait_until_drawn

TIMEOUT_MS = 200_000
expect.set_options(timeout=TIMEOUT_MS)


class Recording(NamedTuple):
    """The errors that a page logged, and the addresses that it requested."""

    errors: list[str]
    requests: list[str]


def recorded(page: Page) -> Recording:
    """Record the page's errors and requests from now on."""
    seen = Recording([], [])
    page.on("pageerror", lambda error: seen.errors.append(str(error)))
    page.on("request", lambda request: seen.requests.append(request.url))

    def note(message: ConsoleMessage) -> None:
        # Streamlit probes for its own address below that of a page, which is answered with 404.
        if message.type == "error" and "404" not in message.text:
            seen.errors.append(message.text)

    page.on("console", note)
    return seen


def shows(scope: Page | Locator, text: str) -> None:
    """Wait until the text is visible on the page; any white space counts as one space."""
    place = scope.locator("body") if isinstance(scope, Page) else scope
    expect(place).to_contain_text(text, use_inner_text=True)


def opened(page: Page, address: str, *, text: str) -> None:
    """Open an address and wait until the page shows `text` and is complete."""
    page.goto(address)
    shows(page, text)
    wait_until_drawn(page)


def press(scope: Page | Locator, label: str) -> None:
    """Click the first button or link with that label."""
    scope.locator("button:enabled, a").filter(has_text=label).first.click()
