"""What pages have on its way before they ask for it, and that nothing else is handed out."""

import asyncio
import socket
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import pytest
import uvicorn
from starlette.applications import Starlette

from dashboard.parts import store_cache
from dashboard.parts.frame import VIEWS
from dashboard.parts.store_cache import STORE_VARIABLE, study_view
from dashboard.serving import preload
from tests.dashboard.example_store import fill

PAGES = {"" if path.stem == "studies" else path.stem for path in VIEWS.glob("*.py")}


async def nothing(scope: Any, receive: Any, send: Any) -> None:
    """Answer every request with 404."""
    await send({"type": "http.response.start", "status": 404, "headers": []})
    await send({"type": "http.response.body", "body": b""})


CODE = preload.Code(nothing)
Found = TypeVar("Found")


def run_apart(
    steps: Coroutine[Any, Any, Found], loop: Callable[[], asyncio.AbstractEventLoop] | None = None
) -> Found:
    """Run `steps` in a thread of its own: browser tests leave Playwright's loop in the main one."""

    def run() -> Found:
        with asyncio.Runner(loop_factory=loop) as runner:
            return runner.run(steps)

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(run).result()


def asked(path: str, app: Any = CODE, query: str = "") -> tuple[int, dict[str, str], bytes]:
    """Return status, headers and body that `app` answers a request with."""

    async def ask() -> tuple[int, dict[str, str], bytes]:
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        async def receive() -> Any:
            return {"type": "http.request", "body": b"", "more_body": False}

        scope = {"type": "http", "method": "GET", "path": path, "headers": []}
        await app({**scope, "query_string": query.encode()}, receive, send)
        headers = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
        return sent[0]["status"], headers, b"".join(each.get("body", b"") for each in sent[1:])

    return run_apart(ask())


def test_every_page_has_a_document_of_its_own() -> None:
    assert set(preload.PARTS) == PAGES


@pytest.mark.parametrize("page", sorted(PAGES))
def test_a_document_is_streamlits_with_our_name_and_the_parts_that_are_there(page: str) -> None:
    text = preload.document(page)
    assert "<title>spikefront</title>" in text
    assert text.index("BACKEND_BASE_URL") < text.index('<script type="module"')
    for part in preload.PARTS[page]:  # another Streamlit may call them otherwise
        (name,) = preload.files([part])
        assert f'"{name}"' in text
        assert (preload.CODE / name).is_file()


def test_code_is_handed_out_as_it_lies_there_to_be_kept() -> None:
    (name,) = preload.files(preload.CHART)
    status, headers, body = asked(f"/static/js/{name}")
    assert status == 200
    assert headers["content-type"].startswith("text/javascript")
    assert "immutable" in headers["cache-control"]
    assert body == (preload.CODE / name).read_bytes()


@pytest.mark.parametrize(
    "path",
    [
        "/static/js/../../index.html",
        "/static/js/%2e%2e/index.html",
        "/static//js/nothing.js",
        "/static/js/",
        "/front",
        "",
    ],
)
def test_nothing_else_is_handed_out(path: str) -> None:
    assert asked(path)[0] == 404


def test_reading_ahead_is_what_the_page_finds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"sqlite:///{tmp_path / 'store.db'}"
    fill(url, name="one", count=4, is_running=False)
    monkeypatch.setenv(STORE_VARIABLE, url)
    preload.read("front", "one")
    monkeypatch.setattr(store_cache, "read_study", lambda *_: pytest.fail("was read again"))
    assert len(study_view(url, "one").table)


@pytest.mark.parametrize("page", ["", "front", "launch"])
def test_a_store_that_is_not_there_is_left_to_the_page(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(STORE_VARIABLE, f"sqlite:///{tmp_path / 'none.db'}")
    preload.read(page, "x")
    assert not (tmp_path / "none.db").exists()


@pytest.mark.parametrize("old", preload.MOVED)
def test_an_address_of_an_earlier_version_leads_to_the_page_of_now(old: str) -> None:
    app = Starlette(routes=preload.routes())
    status, headers, _ = asked(f"/{old}", app, "study=a%20b")
    assert (status, headers["location"]) == (308, "importance?study=a%20b")


async def _sends_at_once() -> bool:
    """Whether a server on a plain socket, as Streamlit opens it, has Nagle's algorithm off."""
    found: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted = writer.get_extra_info("socket")
        found.set_result(accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        writer.close()

    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listening.bind(("127.0.0.1", 0))
    async with await asyncio.start_server(answer, sock=listening):
        _, writer = await asyncio.open_connection(*listening.getsockname())
        is_off = bool(await found)
        writer.close()
    return is_off


def test_small_answers_do_not_wait_for_an_acknowledgement() -> None:
    """By the loop that uvicorn chooses from what is installed; asyncio's would wait 40 ms each."""
    factory = uvicorn.Config("any").get_loop_factory()
    assert run_apart(_sends_at_once(), factory)
