"""The output of a command: tables for people, or one JSON document for programs."""

import sys
from collections.abc import Mapping

from rich.console import Console, RenderableType
from rich.text import Text

from search.text.json_text import json_text

WIDTH_WITHOUT_TERMINAL = 200  # columns, in a pipe or a file


class Output:
    """Prints results to stdout. With `as_json`, stdout has JSON alone and the rest is on stderr."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        stream = sys.stderr if as_json else sys.stdout
        self.console = Console(file=stream, highlight=False, markup=False, emoji=False)
        if not self.console.is_terminal:
            self.console.width = WIDTH_WITHOUT_TERMINAL

    def say(self, content: RenderableType = "") -> None:
        """Print a line or a table for people."""
        # Lines are not wrapped, so that a path can be copied; tables are.
        self.console.print(content, soft_wrap=isinstance(content, str | Text))

    def note(self, line: str) -> None:
        """Print a remark that is not part of the result."""
        print(f"spikefront: {line}", file=sys.stderr)

    def document(self, document: Mapping[str, object]) -> None:
        """Print the JSON document of this command, if JSON was asked for."""
        if self.as_json:
            print(json_text(document), end="", flush=True)
