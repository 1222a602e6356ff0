"""`spikefront completion`: what makes a shell complete commands, options and files."""

import argparse


def completion(arguments: argparse.Namespace) -> int:
    """Print the script for a shell."""
    import shtab

    from search.commands.cli import build_parser

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
