"""The command line: `spikefront COMMAND ...`, see `spikefront --help`.

Exit codes: 0 done, 1 something failed while running, 2 the input was wrong,
130 interrupted. What is wrong with an input is said in a line on stderr.
"""

import argparse
import contextlib
import functools
import importlib
import importlib.metadata
import logging
import signal
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NoReturn

from search.commands import InputError, RunError
from search.commands.options import COMMANDS, Command, UsageError, add_options, fill_in
from search.text import log, terminal
from snn.settings import extensions
from snn.settings.config import nearest

DONE, FAILED, WRONG_INPUT, INTERRUPTED = 0, 1, 2, 130

DESCRIPTION = """\
Searches hyperparameters and architectures of spiking neural networks, and keeps
the front of what is possible: accuracy against memory, operations, energy and
latency."""

EPILOG = """\
a first session:
  spikefront init my-study                   a study file with everything explained
  spikefront validate studies/digits.toml    what would be searched, and what a run costs
  spikefront run studies/digits.toml         search; Ctrl-C stops, the same command continues
  spikefront front digits                    the best trade-offs that were found
  spikefront export digits --out runs/best   the front's knee as a folder that runs elsewhere
  spikefront dashboard                       the same results as pictures

`spikefront COMMAND --help` explains a command. SPIKEFRONT_STORE and
SPIKEFRONT_DATA stand in for --store and --data, SPIKEFRONT_LOG=info for -v.
exit codes: 0 done, 1 something failed while running, 2 the input was wrong, 130 interrupted"""

# The classes whose messages are written for people, by their homes: an error
# of a module that was never imported cannot have been raised.
ERRORS_OF_INPUT = (
    ("search.study.study", "StudyError"),
    ("search.study.template", "TemplateError"),
    ("search.front.picks", "PickError"),
    ("search.store.database", "StoreError"),
    ("search.text.artifacts", "ArtifactError"),
    ("search.export.folder", "ExportError"),
    ("search.runners.ray_tune", "RayError"),
    ("snn.settings.config", "ConfigError"),
    ("snn.data.image_files", "DataError"),
    ("snn.training.checkpoint", "CheckpointError"),
    ("snn.interchange.description", "InterchangeError"),
    ("search.study.prior_trials", "PriorTrialError"),
    ("search.text.log", "LogError"),
)


class Parser(argparse.ArgumentParser):
    """Says what is wrong in a line, and raises instead of leaving the process."""

    def error(self, message: str) -> NoReturn:
        """Raise UsageError with the command that explains more."""
        raise UsageError(f"{message}; see `{self.prog} --help`")


def build_parser() -> argparse.ArgumentParser:
    """The parser of every command; reading a line with it imports nothing heavy."""
    parser = Parser(
        prog="spikefront",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action=ShowVersion, nargs=0, help="print the version and stop")
    commands = parser.add_subparsers(
        dest="command", metavar="COMMAND", title="commands", parser_class=Parser
    )
    for command in COMMANDS:
        purpose = command.purpose
        sub = commands.add_parser(
            command.name,
            help=purpose[0].lower() + purpose[1:].rstrip("."),
            description=textwrap.fill(purpose, 80),
            epilog="examples:\n" + "\n".join(f"  {line}" for line in command.examples),
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        add_options(sub, command)
    return parser


class ShowVersion(argparse.Action):
    """Prints the version of spikefront, and of what its results depend on most."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        """Print it and stop."""
        from search.text.provenance import project_version

        print(f"spikefront {project_version()} ({', '.join(_versions())})")
        parser.exit()


def _versions() -> Iterator[str]:
    """Of Python and of packages that are there, without importing them."""
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
    usual = sys.unraisablehook
    sys.unraisablehook = functools.partial(_unraisable, usual)
    try:
        return _guarded(words, is_process=argv is None)
    finally:
        if argv is not None:
            sys.unraisablehook = usual


def _unraisable(usual: Callable[[Any], object], unraisable: Any) -> None:
    """A second Ctrl-C that falls into a destructor is no news: the first one ends the command."""
    if not issubclass(unraisable.exc_type, KeyboardInterrupt):
        usual(unraisable)


def _guarded(words: list[str], *, is_process: bool) -> int:
    """Run one command, and say in a line what is wrong."""
    try:
        code = _run(words)
        terminal.flush()
        return code
    except KeyboardInterrupt:
        if is_process:  # it ends now; a further Ctrl-C would tear into its tidying
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        _complain("interrupted")
        return INTERRUPTED
    except BrokenPipeError:  # the reader of our output, say `head`, has left
        if is_process:
            terminal.drop_unwritten()
        return FAILED
    except (RunError, OSError) as error:
        _complain(str(error))
        if is_process:  # of a full disk the end would complain once more
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
        _complain(str(error))
        return WRONG_INPUT


def _unimportable(error: ImportError) -> str | None:
    """What to say of a package of others that cannot be had; None for a fault of our own."""
    from search.text.requirements import install_command, missing

    if (said := missing(error)) is not None:
        return said
    name = (error.name or "").partition(".")[0]
    if not name or name in ("search", "snn", "dashboard"):
        return None
    return f"{name} cannot be imported ({error}): {install_command(name, again=True)}"


def _run(words: list[str]) -> int:
    if words[:1] == ["help"]:
        words = [*words[1:2], "--help"]
    parser = build_parser()
    if words and words[0] not in ("-h", "--help", "--version"):
        _check_command(words[0])
    try:
        arguments, unread = parser.parse_known_args(words)
    except SystemExit as stop:  # --help and --version have printed what was asked for
        return int(stop.code or 0)
    if arguments.command is None:
        parser.print_help(sys.stderr)
        return WRONG_INPUT
    if unread:
        raise UsageError(_unread(unread[0], arguments))
    command: Command = arguments.of
    is_doctor = command.name == "doctor"  # who tells of all faults, and stops at none
    if extensions.faults and not is_doctor:  # whoever names one wants it
        raise UsageError("\n".join(extensions.faults))
    settings = log.LogSettings() if is_doctor else log_settings(arguments)
    fill_in(arguments)
    with log.logging_to(settings):
        module = importlib.import_module(f"search.commands.{command.module}")
        code: int = getattr(module, command.function or command.name)(arguments)
    return code


def log_settings(arguments: argparse.Namespace) -> log.LogSettings:
    """What is to be logged; commands without options for that follow SPIKEFRONT_LOG."""
    quiet, verbose = getattr(arguments, "quiet", False), getattr(arguments, "verbose", 0)
    level = log.level_of_environment()
    if quiet:
        level = logging.WARNING
    elif verbose:
        level = logging.INFO if verbose == 1 else logging.DEBUG
    return log.LogSettings(level=level, file=getattr(arguments, "log", None), quiet=quiet)


def _check_command(name: str) -> None:
    if name.startswith("-"):
        raise UsageError(f"no option {name!r} before the command; see `spikefront --help`")
    names = [command.name for command in COMMANDS]
    if name not in names:
        hint = nearest(name, names) or f"; the commands are {', '.join(names)}"
        raise UsageError(f"no command {name!r}{hint}")


def _unread(word: str, arguments: argparse.Namespace) -> str:
    """What to say of the first word that no argument takes."""
    flag = word.partition("=")[0]
    is_option = flag.startswith("-")
    known = [f"--{name.replace('_', '-')}" for name in vars(arguments)] + ["--json", "--set"]
    hint = (nearest(flag, known) if is_option else "") or "."
    what = "option" if is_option else "argument"
    command = arguments.command
    return f"{command} takes no {what} {flag!r}{hint} See `spikefront {command} --help`"


def _is_for_people(error: ValueError) -> bool:
    if isinstance(error, InputError | UsageError):
        return True
    classes = (getattr(sys.modules.get(home), name, None) for home, name in ERRORS_OF_INPUT)
    return isinstance(error, tuple(c for c in classes if c is not None))


def _complain(message: str) -> None:
    for line in message.splitlines() or ["failed"]:
        print(f"spikefront: {line}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
