"""The server of the pages: `python -m dashboard.serving.server --port 8501`.

It is Streamlit's server with the modules of the pages imported at its start, so that the first page
does not wait for them. It serves this machine only and sends no statistics. All Streamlit settings
are ours (`OPTIONS` and `dashboard/.streamlit/config.toml`): files `.streamlit/config.toml` of the
working folder and the home folder are not read, because they can move or break the pages.
"""

import argparse
import contextlib
import gc
import importlib
import os
import sys
from pathlib import Path

APP = Path(__file__).parents[1] / "app.py"
HOST = "127.0.0.1"  # the pages ask for no password, so they are for this machine only
OPTIONS = {
    "server.headless": True,
    "browser.gatherUsageStats": False,
    "server.address": HOST,
    "server.fileWatcherType": "none",
    "logger.level": "warning",  # without a line about the start
}
NEEDED = (
    "dashboard.data.frames",  # and pandas
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
    """Serve until the process is ended."""
    parser = argparse.ArgumentParser(prog="dashboard.serving.server", description=__doc__)
    parser.add_argument("--port", type=int, default=8501)
    parser.add_argument("--base-path", default="")
    arguments = parser.parse_args()
    try:
        use_own_settings()
        for module in NEEDED:
            importlib.import_module(module)
        warm_up()
    except KeyboardInterrupt:  # ended during the imports
        sys.exit(130)
    from starlette.middleware import Middleware
    from streamlit.starlette import App

    from dashboard.serving import preload

    gc.collect()
    gc.freeze()  # Streamlit looks for garbage after each run of a page: not among all of the above
    sys.argv = [str(APP)]  # Streamlit reads the settings beside it
    base = arguments.base_path
    app = App(APP, routes=preload.routes(base), middleware=[Middleware(preload.Code, base=base)])
    # The command that starts this process prints the address; Streamlit would print it again.
    with (
        Path(os.devnull).open("w") as nowhere,
        contextlib.redirect_stdout(nowhere),
        contextlib.suppress(KeyboardInterrupt),  # the regular end
    ):
        app.run(config=options(arguments.port, base))


def warm_up() -> None:
    """Do what Streamlit would do in the first page: look through all modules for its caller."""
    from streamlit import env_util

    env_util.is_repl()


def options(port: int, base: str = "") -> dict[str, object]:
    """Return our Streamlit settings by their names."""
    return {**OPTIONS, "server.port": port, "server.baseUrlPath": base}


def use_own_settings() -> None:
    """Make Streamlit read the settings beside the app, and no other files."""
    from streamlit import config
    from streamlit.logger import get_logger

    # it would tell the user to restart what is only starting
    get_logger(config.__name__).addFilter(lambda record: "option section" not in str(record.msg))
    config.get_config_files = lambda file_name: [str(APP.parent / ".streamlit" / file_name)]
    config.get_config_options(force_reparse=True)  # importing it has read the other files


if __name__ == "__main__":
    main()
