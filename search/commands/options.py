"""What a command declares: its examples and its arguments, those that several commands share."""

import argparse
import inspect
import math
import os
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from search.text.urls import masked

DEFAULT_STORE = "sqlite:///runs/spikefront.db"
DEFAULT_ARTIFACTS = "runs/artifacts"
DEFAULT_DATA = "data"
DEVICES = ("auto", "cpu", "cuda")
PICKS = 'knee, best:METRIC, or bounds such as "accuracy>=0.95 model_bytes<=1e5 best:synaptic_ops"'

Option = Callable[[argparse.ArgumentParser], Any]
Body = Callable[[argparse.Namespace], int]


class UsageError(ValueError):
    """A command line that cannot be read."""


@dataclass(frozen=True, kw_only=True)
class Command:
    """The code of a command, with its examples and its arguments."""

    body: Body
    examples: tuple[str, ...]
    options: tuple[Option, ...]  # in the order of the help

    def __call__(self, arguments: argparse.Namespace) -> int:
        """Run the command; returns its exit code."""
        return self.body(arguments)

    @property
    def purpose(self) -> str:
        """The docstring of the function, in one line."""
        return " ".join((inspect.getdoc(self.body) or "").split())

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        """Declare the arguments of this command in `parser`."""
        for option in self.options:
            option(parser)


def command(*options: Option, examples: tuple[str, ...]) -> Callable[[Body], Command]:
    """Make a function a command. Its docstring is shown in `spikefront COMMAND --help`."""
    return lambda body: Command(body=body, examples=examples, options=options)


def option(flag: str, help_text: str, **settings: Any) -> Option:
    """Return an argument, with the settings of `ArgumentParser.add_argument`."""
    return lambda parser: parser.add_argument(flag, help=help_text, **settings)


def usual_store() -> str:
    """Return the URL of the store that commands use without --store."""
    return from_environment("SPIKEFRONT_STORE", DEFAULT_STORE)


def usual_data() -> str:
    """Return the folder of data sets that commands use without --data."""
    return from_environment("SPIKEFRONT_DATA", DEFAULT_DATA)


def fill_in(arguments: argparse.Namespace, *, must_fit: bool = True) -> None:
    """Set a store and a data folder that were not given to those of the environment.

    Raises UsageError for a file where the data folder must be, if it `must_fit`.
    """
    if getattr(arguments, "store", "") is None:
        arguments.store = usual_store()
    place = "--data"
    if getattr(arguments, "data", "") is None:
        arguments.data, place = Path(usual_data()), "SPIKEFRONT_DATA"
    data = getattr(arguments, "data", None)
    if must_fit and isinstance(data, Path) and data.is_file():
        raise UsageError(f"{place}: must be a folder of data sets, got the file {data}")


def same_places(arguments: argparse.Namespace, *names: str) -> str:
    """Return the options that a suggested command needs to use the same store and folders.

    `names` are those of store, artifacts and data that the suggested command has. Empty
    where all of them are the usual ones. A password in a URL is masked.
    """
    usual = {"store": usual_store(), "artifacts": DEFAULT_ARTIFACTS, "data": usual_data()}
    text = ""
    for name in names:
        value = str(getattr(arguments, name))
        if value != usual[name]:
            text += f" --{name} {shlex.quote(masked(value) if '://' in value else value)}"
    return text


def positive_integer(text: str) -> int:
    """Read a count from 1."""
    return int(_number(text, int, "a whole number from 1", lambda value: value >= 1))


def natural(text: str) -> int:
    """Read a count from 0."""
    return int(_number(text, int, "a whole number from 0", lambda value: value >= 0))


def positive_real(text: str) -> float:
    """Read a finite amount above 0."""
    return _number(text, float, "a number above 0", lambda v: v > 0 and math.isfinite(v))


def port_number(text: str) -> int:
    """Read a TCP port."""
    return int(_number(text, int, "a port from 1 to 65535", lambda value: 1 <= value <= 65535))


def _number(
    text: str, kind: Callable[[str], float], allowed: str, is_right: Callable[[float], bool]
) -> float:
    try:
        value = kind(text)
    except ValueError:
        value = math.nan  # meets no condition
    if not is_right(value):
        raise argparse.ArgumentTypeError(f"must be {allowed}, got {text!r}")
    return value


def path(text: str) -> Path:
    """Read a path; an empty one is refused, since Path("") is the current folder."""
    if not text:
        raise argparse.ArgumentTypeError("must be a path, got ''")
    return Path(text)


def from_environment(name: str, default: str) -> str:
    """Return an environment variable; an empty one counts as unset."""
    return os.environ.get(name) or default


def _add_logs(parser: argparse.ArgumentParser) -> None:
    amount = parser.add_mutually_exclusive_group()
    amount.add_argument(
        "-v",
        "--verbose",
        help="log progress to stderr; -vv logs every step (default: $SPIKEFRONT_LOG, otherwise "
        "warnings only)",
        action="count",
        default=0,
    )
    amount.add_argument(
        "-q", "--quiet", help="show warnings and the result only", action="store_true"
    )
    parser.add_argument(
        "--log", help="append the log to a file, at level info or finer", metavar="FILE", type=path
    )


STUDY_FILE = option("study_file", "study file", metavar="STUDY.toml", type=path)
STUDY = option("study", "name of a study in the store", metavar="STUDY")
STORE = option(
    "--store",
    "store of the results: sqlite:///FILE or postgresql://... "
    f"(default: $SPIKEFRONT_STORE, otherwise {DEFAULT_STORE})",
    metavar="URL",
)
ARTIFACTS = option(
    "--artifacts",
    "place of the trained weights: a folder, or a URI that pyarrow opens, such as "
    "s3://bucket/folder (default: %(default)s)",
    metavar="DIR|URI",
    default=DEFAULT_ARTIFACTS,
)
DATA = option(
    "--data",
    f"folder of the data sets (default: $SPIKEFRONT_DATA, otherwise {DEFAULT_DATA}/)",
    metavar="DIR",
    type=path,
)
WORKERS = option(
    "--workers",
    "trials at a time, each on a Ray worker; 0 runs the trials one after another in this "
    "process, without Ray (default: the study's)",
    metavar="N",
    type=natural,
)
RAY = option("--ray", "address of a Ray cluster (default: one on this machine)", metavar="ADDRESS")
DEVICE_OF_STUDY = option(
    "--device",
    "device of the trainings (default: auto if the study gives trials a GPU, otherwise cpu)",
    choices=DEVICES,
)
JSON = option(
    "--json",
    "print one JSON document to stdout; text for people goes to stderr",
    dest="as_json",
    action="store_true",
)
LOGS: Option = _add_logs
