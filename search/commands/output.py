"""Where a command writes: tables for people, or one JSON document for programs."""

import sys
from collections.abc import Mapping

from rich.console import Console, RenderableType
from rich.text import Text

from search.text.json_text import json_text

WIDTH_WITHOUT_TERMINAL = 200  # a pipe or a file: nothing is folded that a person would not fold


class Output:
    """What a command says. With `as_json`, people's output goes to stderr."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        stream = sys.stderr if as_json else sys.stdout
        self.console = Console(file=stream, highlight=False, markup=False, emoji=False)
        if not self.console.is_terminal:
            self.console.width = WIDTH_WITHOUT_TERMINAL

    def say(self, what: RenderableType = "") -> None:
        """Print a line or a table for people."""
        # Plain lines stay whole, so that a path can be copied; tables fold.
        self.console.print(what, soft_wrap=isinstance(what, str | Text))

    def note(self, line: str) -> None:
        """Print a remark that is no result."""
        print(f"spikefront: {line}", file=sys.stderr)

    def document(self, document: Mapping[str, object]) -> None:
        """Print the one JSON document of this command, when JSON was asked for."""
        if self.as_json:
            print(json_text(document), end="", flush=True)
