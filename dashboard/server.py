"""The app in this process: `python -m dashboard.server --port 8501` is how it is started.

Streamlit by its own command, with what pages need imported before the first of them is
asked for; who opens one would wait for that otherwise. On this machine only, reporting to nobody.
"""

import argparse
import contextlib
import importlib
import os
import sys
from pathlib import Path

APP = Path(__file__).with_name("app.py")
HOST = "127.0.0.1"  # nothing is asked of who looks, so only this machine may
OPTIONS = {
    "server.headless": "true",
    "browser.gatherUsageStats": "false",
    "server.address": HOST,
    "server.fileWatcherType": "none",
    "logger.level": "warning",  # without a line about its start
}
NEEDED = (
    "dashboard.comparison_figures",
    "dashboard.data",
    "dashboard.front_controls",
    "dashboard.front_space",
    "dashboard.launching",
    "dashboard.matters_figures",
    "dashboard.page",
    "dashboard.report",
    "pyarrow",
    "plotly.graph_objects",
    "sqlalchemy.dialects.sqlite",
    "streamlit.dataframe_util",
    "streamlit.elements.plotly_chart",
)


def main() -> None:
    """Serve until it is ended; does not return."""
    parser = argparse.ArgumentParser(prog="dashboard.server", description=__doc__)
    parser.add_argument("--port", type=int, default=8501)
    port = parser.parse_args().port
    try:
        for module in NEEDED:
            importlib.import_module(module)
    except KeyboardInterrupt:  # ended before it began
        sys.exit(130)
    from streamlit.web import cli

    sys.argv = words(port)
    # Its address is said by whoever started this, and Streamlit would say it once more.
    with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stdout(nowhere):
        cli.main()


def words(port: int) -> list[str]:
    """What Streamlit's command line is given."""
    options = [f"--{name}={value}" for name, value in OPTIONS.items()]
    return ["streamlit", "run", str(APP), *options, f"--server.port={port}"]


if __name__ == "__main__":
    main()
