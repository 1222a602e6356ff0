"""The app in this process: `python -m dashboard.serving.server --port 8501` is how it is started.

Streamlit's own server, with what pages need imported before the first of them is
asked for; who opens one would wait for that otherwise. On this machine only, reporting to nobody.
"""

import argparse
import contextlib
import importlib
import os
import sys
from pathlib import Path

APP = Path(__file__).parents[1] / "app.py"
HOST = "127.0.0.1"  # nothing is asked of who looks, so only this machine may
OPTIONS = {
    "server.headless": True,
    "browser.gatherUsageStats": False,
    "server.address": HOST,
    "server.fileWatcherType": "none",
    "logger.level": "warning",  # without a line about its start
}
NEEDED = (
    "dashboard.figures.comparison",
    "dashboard.parts.store_cache",
    "dashboard.parts.front_controls",
    "dashboard.figures.front_space",
    "dashboard.parts.launching",
    "dashboard.figures.importance",
    "dashboard.parts.frame",
    "dashboard.figures.report",
    "pyarrow",
    "plotly.graph_objects",
    "plotly.graph_objs.layout",
    "plotly.graph_objs.scatter",
    *(f"PIL.{kind}ImagePlugin" for kind in ("Bmp", "Gif", "Jpeg", "Png", "Ppm")),
    "sqlalchemy.dialects.sqlite",
    "streamlit.dataframe_util",
    "streamlit.elements.plotly_chart",
)


def main() -> None:
    """Serve until it is ended; does not return."""
    parser = argparse.ArgumentParser(prog="dashboard.serving.server", description=__doc__)
    parser.add_argument("--port", type=int, default=8501)
    port = parser.parse_args().port
    try:
        for module in NEEDED:
            importlib.import_module(module)
    except KeyboardInterrupt:  # ended before it began
        sys.exit(130)
    from starlette.middleware import Middleware
    from streamlit.starlette import App

    from dashboard.serving import preload

    sys.argv = [str(APP)]  # its folder is where Streamlit looks for more options
    app = App(APP, routes=preload.routes(), middleware=[Middleware(preload.Code)])
    # Its address is said by whoever started this, and Streamlit would say it once more.
    with (
        Path(os.devnull).open("w") as nowhere,
        contextlib.redirect_stdout(nowhere),
        contextlib.suppress(KeyboardInterrupt),  # how it is ended
    ):
        app.run(config=options(port))


def options(port: int) -> dict[str, object]:
    """What Streamlit is told, by the names of its configuration."""
    return {**OPTIONS, "server.port": port}


if __name__ == "__main__":
    main()
