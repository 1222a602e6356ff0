"""The command line: `spikefront COMMAND ...`, see `spikefront --help`.

Exit codes: 0 done, 1 something failed while running, 2 the input was wrong,
130 interrupted. Every fault of the input is reported in a line on stderr.
"""

import argparse
import contextlib
import functools
import importlib.metadata
import logging
import os
import re
import signal
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NoReturn

from search.commands import InputError, RunError
from search.commands.options import UsageError, fill_in
from search.commands.registry import COMMANDS, Entry
from search.text import log, terminal
from search.text.urls import masked_words
from snn.settings import extensions
from snn.settings.config import nearest

DONE, FAILED, WRONG_INPUT, INTERRUPTED = 0, 1, 2, 130

DESCRIPTION = """\
Searches hyperparameters and architectures of spiking neural networks, and keeps the
Pareto front: accuracy against memory, operations, energy and latency."""

EPILOG = """\
a first session:
  spikefront init my-study                   a study file with every setting explained
  spikefront validate studies/digits.toml    the search space, and the cost of a run
  spikefront run studies/digits.toml         search; Ctrl-C stops, the same command continues
  spikefront front digits                    the best trade-offs found
  spikefront export digits --out runs/best   the knee of the front as a folder to run elsewhere
  spikefront dashboard                       the same results as web pages

`spikefront COMMAND --help` explains a command. Environment variables SPIKEFRONT_STORE and
SPIKEFRONT_DATA replace --store and --data, SPIKEFRONT_LOG=info replaces -v.
exit codes: 0 done, 1 something failed while running, 2 the input was wrong, 130 interrupted"""

# Classes of errors whose messages are written for users, by module: a class of a module
# that was never imported cannot have been raised.
ERRORS_OF_INPUT = (
    ("search.study.study", "StudyError"),
    ("search.study.own_training", "FunctionError"),
    ("search.study.template", "TemplateError"),
    ("search.front.picks", "PickError"),
    ("search.store.database", "StoreError"),
    ("search.text.artifacts", "ArtifactError"),
    ("search.export.folder", "ExportError"),
    ("search.runners.ray_tune", "RayError"),
    ("snn.settings.config", "ConfigError"),
    ("snn.data.image_files", "DataError"),
    ("snn.settings.extensions", "MetricError"),
    ("snn.training.checkpoint", "CheckpointError"),
    ("snn.interchange.description", "InterchangeError"),
    ("search.study.prior_trials", "PriorTrialError"),
    ("search.text.log", "LogError"),
)


class Parser(argparse.ArgumentParser):
    """A parser that raises UsageError instead of ending the process."""

    def error(self, message: str) -> NoReturn:
        """Raise UsageError with the command that explains more."""
        raise UsageError(f"{message}; see `{self.prog} --help`")


def build_parser(only: str | None = None) -> argparse.ArgumentParser:
    """Return a parser of all commands, or one that knows the arguments of `only` alone.

    Arguments are declared in the code of a command: reading them imports it.
    """
    parser = Parser(
        prog="spikefront",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action=ShowVersion, nargs=0, help="print the version and exit")
    commands = parser.add_subparsers(
        dest="command", metavar="COMMAND", title="commands", parser_class=Parser
    )
    for entry in COMMANDS:
        sub = commands.add_parser(
            entry.name,
            help=entry.summary,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        if only in (None, entry.name):
            _declare(sub, entry)
    return parser


def _declare(parser: argparse.ArgumentParser, entry: Entry) -> None:
    command = entry.load()
    parser.description = textwrap.fill(command.purpose, 80)
    parser.epilog = "examples:\n" + "\n".join(f"  {line}" for line in command.examples)
    command.add_options(parser)
    parser.set_defaults(of=command)


class ShowVersion(argparse.Action):
    """Prints the versions of spikefront and of the packages that affect results most."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        """Print the versions and exit."""
        from search.text.provenance import project_version

        print(f"spikefront {project_version()} ({', '.join(_versions())})")
        parser.exit()


def _versions() -> Iterator[str]:
    import platform

    yield f"Python {platform.python_version()}"
    for name in ("torch", "ray", "optuna"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            yield f"{name} {importlib.metadata.version(name)}"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    if argv is None:
        terminal.write_anything()
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, _interrupt)
    usual = sys.unraisablehook
    sys.unraisablehook = functools.partial(_unraisable, usual)
    try:
        return _guarded(words, is_process=argv is None)
    finally:
        if argv is not None:
            sys.unraisablehook = usual


def _interrupt(number: int, frame: object) -> NoReturn:
    """End the command in order at the first Ctrl-C, and at a second one at once.

    As an exception a second one may leave a transaction open, for whose end the first one waits.
    """
    signal.signal(signal.SIGINT, lambda *_: os._exit(INTERRUPTED))
    raise KeyboardInterrupt


def _unraisable(usual: Callable[[Any], object], unraisable: Any) -> None:
    """Show no trace of a Ctrl-C that arrives in a destructor, where it ends nothing."""
    if not issubclass(unraisable.exc_type, KeyboardInterrupt):
        usual(unraisable)


def _guarded(words: list[str], *, is_process: bool) -> int:
    """Run one command, and report a fault in a line."""
    try:
        code = _run(words)
        terminal.flush()
        return code
    except KeyboardInterrupt:
        _complain("interrupted")
        return INTERRUPTED
    except BrokenPipeError:  # the program that reads our output, such as `head`, has ended
        if is_process:
            terminal.drop_unwritten()
        return FAILED
    except (RunError, OSError) as error:
        _complain(str(error))
        if is_process:  # a full disk would be reported once more at exit
            terminal.drop_unwritten()
        return FAILED
    except ImportError as error:
        message = _unimportable(error)
        if message is None:
            raise
        _complain(message)
        return WRONG_INPUT
    except ValueError as error:
        if not _is_for_people(error):
            raise
        _complain(str(error) + _extension_hint(str(error)))
        return WRONG_INPUT


def _unimportable(error: ImportError) -> str | None:
    """Return a message about a package that cannot be imported; None for a module of ours."""
    from search.text.requirements import install_command, missing

    if (message := missing(error)) is not None:
        return message
    name = (error.name or "").partition(".")[0]
    if not name or name in ("search", "snn", "dashboard"):
        return None
    return f"{name} cannot be imported ({error}): {install_command(name, again=True)}"


def _run(words: list[str]) -> int:
    _check_encoding(words)
    if words[:1] == ["help"]:
        words = [*words[1:2], "--help"]
    name = words[0] if words else ""
    if name not in ("", "-h", "--help", "--version"):
        _check_command(name)
    parser = build_parser(only=name)
    try:
        arguments, unread = parser.parse_known_args(words)
    except SystemExit as stop:  # --help and --version have printed their text
        return int(stop.code or 0)
    if arguments.command is None:
        parser.print_help(sys.stderr)
        return WRONG_INPUT
    if unread:
        raise UsageError(_unread(unread[0], arguments))
    is_doctor = name == "doctor"  # reports all faults, and stops at none
    if extensions.faults and not is_doctor:
        raise UsageError("\n".join(extensions.faults))
    settings = log.LogSettings() if is_doctor else log_settings(arguments)
    fill_in(arguments, must_fit=not is_doctor)
    with log.logging_to(settings):
        code: int = arguments.of(arguments)
    return code


def log_settings(arguments: argparse.Namespace) -> log.LogSettings:
    """Return the log settings of -v, -q and --log, or else those of SPIKEFRONT_LOG."""
    quiet, verbose = getattr(arguments, "quiet", False), getattr(arguments, "verbose", 0)
    level = log.level_of_environment()
    if quiet:
        level = logging.WARNING
    elif verbose:
        level = logging.INFO if verbose == 1 else logging.DEBUG
    return log.LogSettings(level=level, file=getattr(arguments, "log", None), quiet=quiet)


def _extension_hint(message: str) -> str:
    """Return a line about extensions for the name of an unknown data set or backbone."""
    unknown = re.search(r"\b(dataset|backbone) must be one of .*, got ", message)
    unknown = unknown or re.search(r"\bmust name a (metric), got ", message)
    kind = "unit" if ": unknown kind " in message else unknown and unknown[1]
    if not kind or os.environ.get(extensions.VARIABLE):
        return ""
    return (
        f"\nif an extension has this {kind}, set {extensions.VARIABLE} to the file of the extension"
    )


def _check_encoding(words: list[str]) -> None:
    """Raise UsageError for bytes that are no text: no study file, store or JSON can hold them."""
    named = {f"${n}": text for n, text in os.environ.items() if n.startswith("SPIKEFRONT_")}
    for place, word in [("an argument", word) for word in words] + list(named.items()):
        if any("\ud800" <= character <= "\udfff" for character in word):
            shown = os.fsencode(word).decode("utf-8", "backslashreplace")
            raise UsageError(
                f"{place} must be UTF-8 text, got '{shown}'; rename the file or folder"
            )


def _check_command(name: str) -> None:
    if name.startswith("-"):
        raise UsageError(f"no option {name!r} before the command; see `spikefront --help`")
    names = [entry.name for entry in COMMANDS]
    if name not in names:
        hint = nearest(name, names) or f"; the commands are {', '.join(names)}"
        raise UsageError(f"no command {name!r}{hint}")


def _unread(word: str, arguments: argparse.Namespace) -> str:
    """Return the message about a word that no argument takes."""
    flag = word.partition("=")[0]
    is_option = flag.startswith("-")
    known = [f"--{name.replace('_', '-')}" for name in vars(arguments)] + ["--json", "--set"]
    hint = (nearest(flag, known) if is_option else "") or "."
    kind = "option" if is_option else "argument"
    command = arguments.command
    return f"{command} takes no {kind} {flag!r}{hint} See `spikefront {command} --help`"


def _is_for_people(error: ValueError) -> bool:
    if isinstance(error, InputError | UsageError):
        return True
    classes = (getattr(sys.modules.get(home), name, None) for home, name in ERRORS_OF_INPUT)
    return isinstance(error, tuple(c for c in classes if c is not None))


def _complain(message: str) -> None:
    for line in masked_words(message).splitlines() or ["failed"]:
        print(f"spikefront: {line}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
