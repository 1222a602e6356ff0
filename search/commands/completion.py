"""`spikefront completion`: what makes a shell complete commands, options and files."""

import argparse

from search.commands import InputError


def completion(arguments: argparse.Namespace) -> int:
    """Print the script for a shell."""
    try:
        import shtab
    except ModuleNotFoundError:
        raise InputError("completion needs shtab: pip install shtab") from None
    from search.cli import build_parser

    parser = build_parser()
    for action in _actions(parser):
        if action.metavar and any(word in str(action.metavar) for word in ("DIR", "FILE", ".toml")):
            action.complete = shtab.FILE  # type: ignore[attr-defined]
    print(shtab.complete(parser, shell=arguments.shell))
    return 0


def _actions(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    """Those of the commands."""
    (commands,) = (a for a in parser._actions if isinstance(a, argparse._SubParsersAction))
    return [action for sub in commands.choices.values() for action in sub._actions]
