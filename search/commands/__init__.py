"""The commands of `spikefront`, one file per noun, listed in `search.commands.registry`."""


class InputError(ValueError):
    """Wrong input of a user; the message says what to type instead."""


class RunError(RuntimeError):
    """A failure while running that no other input would have avoided."""
