"""The commands of `spikefront`, a file per noun; `search.commands.cli` reads the command line.

Each imports what is heavy only when it runs, so that `--help` stays instant.
"""


class InputError(ValueError):
    """What a person typed cannot be done; the message says what to type instead."""


class RunError(RuntimeError):
    """Something failed while running that no other input would have avoided."""
