"""`spikefront completion`: a script with which a shell completes commands, options and files."""

import argparse

from search.commands.options import command, option

SHELLS = ("bash", "zsh", "fish", "tcsh")


@command(
    option("shell", "bash, zsh, fish or tcsh", metavar="SHELL", choices=SHELLS),
    examples=(
        "source <(spikefront completion bash)",
        "spikefront completion fish > ~/.config/fish/completions/spikefront.fish",
    ),
)
def completion(arguments: argparse.Namespace) -> int:
    """Print a script with which a shell completes commands, options and files."""
    import shtab

    from search.commands.cli import build_parser

    parser = build_parser()
    (commands,) = (a for a in parser._actions if isinstance(a, argparse._SubParsersAction))
    for sub in commands.choices.values():
        for action in sub._actions:
            if any(word in str(action.metavar) for word in ("DIR", "FILE", ".toml")):
                action.complete = shtab.FILE
    print(shtab.complete(parser, shell=arguments.shell))
    return 0
