"""Our document of every page, which loads code and data before the page asks for them.

Streamlit's browser side fetches the code of a chart or a table when the first one arrives, and a
page reads its study when its script runs. Both begin with the first request here: the document
fetches the code, and a thread reads the study of the address.
"""

import contextlib
import json
import re
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

# Large parts of Streamlit's browser side, by the beginnings of their files' names. Small parts are
# not preloaded: dozens of requests would delay those of the page.
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
# All pages are in one folder of the address, the base of the app, with or without a proxy's path.
# Parts are loaded after the code of the page, which would wait for megabytes otherwise. A page
# writes parts of its address by itself: on one page only the first change after an act of the user
# becomes an entry of the history, so that Back returns to the previous page. Another page is always
# an entry: a late part of the page before may come between the click and the new page. After Back
# no page takes the address: it would be one that was left, whose answer is late.
SCRIPT = """<script>
(() => {
  const base = new URL(".", location.href);
  window.__streamlit = {BACKEND_BASE_URL: base.href};
  addEventListener("load", () => %s.forEach(name => import(new URL("static/js/" + name, base))));
  const push = history.pushState.bind(history);
  const replace = history.replaceState.bind(history);
  let isActed = false, isLeaving = false, isBack = false;
  for (const kind of ["pointerdown", "keydown", "click"])
    addEventListener(kind, ({target}) => {
      const link = target?.closest?.("a[href]");
      isLeaving = Boolean(link) && link.pathname !== location.pathname;
      isActed = true;
      isBack = false;
    }, true);
  addEventListener("popstate", () => { isActed = false; isBack = true; }, true);
  history.pushState = (state, title, url) => {
    const next = new URL(url ?? "", location.href);
    if (next.href === location.href) return replace(state, title, url);
    const isPage = next.pathname !== location.pathname;
    if (isPage && isBack) return;
    (isPage || isActed && !isLeaving ? push : replace)(state, title, url);
    if (isPage || !isLeaving) isActed = isLeaving = false;
  };
})();
</script>"""
_is_reading = threading.Lock()


class Code:
    """Middleware that answers requests for Streamlit's scripts and styles from their files.

    A page asks for dozens of them; Streamlit would compress each one in another thread.
    """

    def __init__(self, app: ASGIApp, base: str = "") -> None:
        """`base` is the path of the pages on this server, like `/results`."""
        self._app = app
        folder = STATIC / "static"
        self._files = {
            f"{base}/static/{path.relative_to(folder).as_posix()}": path
            for kind in ("js", "css")
            for path in (folder / kind).glob(f"*.{kind}")
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = self._files.get(scope.get("path", ""))
        if path is None or scope["type"] != "http" or scope["method"] != "GET":
            await self._app(scope, receive, send)
            return
        kind = "text/javascript" if path.suffix == ".js" else "text/css"
        # their names contain a hash of the content
        headers = {"Cache-Control": "public, immutable, max-age=31536000"}
        await Response(path.read_bytes(), media_type=kind, headers=headers)(scope, receive, send)


def routes(base: str = "") -> list[Route]:
    """Return the routes of our documents, which replace Streamlit's, below the path `base`."""
    earlier = [Route(f"{base}/{old}", _moved(new)) for old, new in MOVED.items()]
    return [*earlier, *(Route(f"{base}/{page}", _answer(page)) for page in PARTS)]


def _moved(page: str) -> Callable[[Request], Awaitable[RedirectResponse]]:
    async def answer(request: Request) -> RedirectResponse:
        # Relative, because a proxy may serve the pages below a path. `look` is the earlier `view`.
        query = re.sub(r"(^|&)look=", r"\1view=", request.url.query)
        return RedirectResponse(f"{page}?{query}", status_code=308)

    return answer


def _answer(page: str) -> Callable[[Request], Awaitable[HTMLResponse]]:
    text = document(page)

    async def answer(request: Request) -> HTMLResponse:
        study = request.query_params.get("study")
        threading.Thread(target=read, args=(page, study), daemon=True).start()
        return HTMLResponse(text, headers={"Cache-Control": "no-cache"})

    return answer


def document(page: str) -> str:
    """Return Streamlit's document of one page with our script in its head."""
    text = (STATIC / "index.html").read_text(encoding="utf-8")
    script = SCRIPT % json.dumps(files(PARTS[page]))
    return text.replace("<title>Streamlit</title>", "<title>spikefront</title>").replace(
        "<head>", f"<head>{script}", 1
    )


def files(parts: Iterable[str]) -> list[str]:
    """Return the names of these parts' files; a missing part has none."""
    return [path.name for part in parts for path in sorted(CODE.glob(f"{part}.*.js"))]


def read(page: str, study: str | None) -> None:
    """Read what the page will ask for into the pages' cache, unless another thread is reading."""
    if not _is_reading.acquire(blocking=False):
        return
    try:
        # the page itself shows what is wrong with the store
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
