"""What a page will need, on its way before it is asked for.

Streamlit's browser side fetches the code of a chart or a table when the first of them arrives,
and a page's numbers are read when its script runs. Both can begin with the first
request: the document fetches the code as soon as its own has run, and the study that the
address names is read while the browser still reads code.
"""

import contextlib
import json
import threading
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path

import streamlit
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from dashboard.data.point_filter import visible_points
from dashboard.figures.style import hover_texts
from dashboard.parts.store_cache import store_url, study_cards, study_heads, study_view
from search.store.store import StoreError
from snn.settings.config import ConfigError

STATIC = Path(streamlit.__file__).parent / "static"
CODE = STATIC / "static" / "js"

# Large parts of Streamlit's browser side, by the beginnings of their files' names. Small ones
# are left to be asked for: dozens of requests would stand in the way of the page's own.
CHART, TABLE = ("PlotlyChart",), ("DataFrame", "arrowFormatUtils")
PARTS = {
    "": (),
    "front": (*CHART, *TABLE),
    "network": (*CHART, *TABLE),
    "importance": (*CHART, *TABLE),
    "compare": (*CHART, *TABLE),
    "export": TABLE,
    "launch": (),
}
MOVED = {"matters": "importance"}  # addresses of earlier versions
# Where the app answers is known here; a browser would try the page's own path first. Parts are
# loaded when the page's own code has run, which would wait for megabytes otherwise.
SCRIPT = """<script>
window.__streamlit = {BACKEND_BASE_URL: location.origin + "/"};
addEventListener("load", () => %s.forEach(name => import("/static/js/" + name)));
</script>"""
_is_reading = threading.Lock()


class Code:
    """Streamlit's scripts and styles from the files, before all that it does for other requests.

    A page asks for dozens; each would pass through sessions, compression and another thread.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        folder = STATIC / "static"
        self._files = {
            f"/static/{path.relative_to(folder).as_posix()}": path
            for kind in ("js", "css")
            for path in (folder / kind).glob(f"*.{kind}")
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = self._files.get(scope.get("path", ""))
        if path is None or scope["type"] != "http" or scope["method"] != "GET":
            await self._app(scope, receive, send)
            return
        kind = "text/javascript" if path.suffix == ".js" else "text/css"
        # their names hold a hash of what is in them
        headers = {"Cache-Control": "public, immutable, max-age=31536000"}
        await Response(path.read_bytes(), media_type=kind, headers=headers)(scope, receive, send)


def routes() -> list[Route]:
    """The document of every page, in the place of Streamlit's own."""
    earlier = [Route(f"/{old}", _moved(new)) for old, new in MOVED.items()]
    return [*earlier, *(Route(f"/{page}", _answer(page)) for page in PARTS)]


def _moved(page: str) -> Callable[[Request], Awaitable[RedirectResponse]]:
    async def answer(request: Request) -> RedirectResponse:
        # relative: a proxy may serve the pages below a path
        return RedirectResponse(f"{page}?{request.url.query}", status_code=308)

    return answer


def _answer(page: str) -> Callable[[Request], Awaitable[HTMLResponse]]:
    text = document(page)

    async def answer(request: Request) -> HTMLResponse:
        study = request.query_params.get("study")
        threading.Thread(target=read, args=(page, study), daemon=True).start()
        return HTMLResponse(text, headers={"Cache-Control": "no-cache"})

    return answer


def document(page: str) -> str:
    """Streamlit's document of one page, with what the page needs said in its head."""
    text = (STATIC / "index.html").read_text(encoding="utf-8")
    script = SCRIPT % json.dumps(files(PARTS[page]))
    return text.replace("<title>Streamlit</title>", "<title>spikefront</title>").replace(
        "<head>", f"<head>{script}", 1
    )


def files(parts: Iterable[str]) -> list[str]:
    """The names of these parts' files; a part that is not there has none."""
    return [path.name for part in parts for path in sorted(CODE.glob(f"{part}.*.js"))]


def read(page: str, study: str | None) -> None:
    """Bring into the pages' cache what this page will ask for, unless somebody is just doing so."""
    if not _is_reading.acquire(blocking=False):
        return
    try:
        # Whatever is wrong with the store, the page itself will say it.
        with contextlib.suppress(StoreError, ConfigError):
            url = store_url()
            if page == "":
                study_cards(url)
            elif page != "launch":
                names = [head.name for head in study_heads(url)]
                if names:
                    view = study_view(url, study if study in names else names[0])
                    if page == "front":
                        hover_texts(view.table, visible_points(view.table).front.tolist())
    finally:
        _is_reading.release()
