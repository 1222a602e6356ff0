"""The command line: `spikefront COMMAND ...`, see `spikefront --help`.

Exit codes: 0 done, 1 something failed while running, 2 the input was wrong,
130 interrupted. What is wrong with an input is said in a line on stderr.
"""

import argparse
import contextlib
import functools
import importlib
import os
import signal
import sys
import textwrap
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from search.commands import InputError, RunError
from search.commands.options import COMMANDS, Command, UsageError, add_options, fill_in
from snn import extensions
from snn.config import nearest

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
SPIKEFRONT_DATA stand in for --store and --data.
exit codes: 0 done, 1 something failed while running, 2 the input was wrong, 130 interrupted"""

# The classes whose messages are written for people, by their homes: an error
# of a module that was never imported cannot have been raised.
ERRORS_OF_INPUT = (
    ("search.study", "StudyError"),
    ("search.template", "TemplateError"),
    ("search.front", "PickError"),
    ("search.database", "StoreError"),
    ("search.artifacts", "ArtifactError"),
    ("search.folder", "ExportError"),
    ("search.ray_tune", "RayError"),
    ("snn.config", "ConfigError"),
    ("snn.image_files", "DataError"),
    ("snn.checkpoint", "CheckpointError"),
    ("snn.interchange.description", "InterchangeError"),
    ("search.lessons", "LessonError"),
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
    """Prints the version of spikefront."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        """Print it and stop."""
        from search.provenance import project_version

        print(f"spikefront {project_version()}")
        parser.exit()


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
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
        return _run(words)
    except KeyboardInterrupt:
        if is_process:  # it ends now; a further Ctrl-C would tear into its tidying
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        _complain("interrupted")
        return INTERRUPTED
    except BrokenPipeError:  # the reader of our output, say `head`, has left
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except (RunError, OSError) as error:
        _complain(str(error))
        return FAILED
    except ValueError as error:
        if not _is_for_people(error):
            raise
        _complain(str(error))
        return WRONG_INPUT


def _run(words: list[str]) -> int:
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
    if extensions.faults:  # whoever names one wants it
        raise UsageError("\n".join(extensions.faults))
    fill_in(arguments)
    command: Command = arguments.of
    module = importlib.import_module(f"search.commands.{command.module}")
    code: int = getattr(module, command.function or command.name)(arguments)
    return code


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
