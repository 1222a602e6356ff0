"""A new command is one file and one line."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from search.commands import cli, registry
from search.commands.docs_reference import reference

COMMAND = '''
"""`spikefront greet`: a command from outside."""

from search.commands.options import JSON, command, option
from search.commands.output import Output


@command(
    option("name", "name to greet", metavar="NAME"), JSON, examples=("spikefront greet Ada",)
)
def greet(arguments):
    """Greet somebody."""
    Output(as_json=arguments.as_json).say(f"hello {arguments.name}")
    return 0
'''


@pytest.fixture
def greet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The command as a file of `search.commands`, and its line."""
    import search.commands

    (tmp_path / "greet.py").write_text(COMMAND)
    monkeypatch.setattr(search.commands, "__path__", [*search.commands.__path__, str(tmp_path)])
    entry = registry.Entry("greet", "greet:greet", "greet somebody")
    registry.COMMANDS.append(entry)
    yield
    registry.COMMANDS.remove(entry)
    sys.modules.pop("search.commands.greet", None)


@pytest.mark.usefixtures("greet")
def test_a_command_from_outside_is_run_listed_explained_and_in_the_reference(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert cli.main(["greet", "Ada"]) == 0
    assert capsys.readouterr().out == "hello Ada\n"
    assert cli.main(["--help"]) == 0
    assert "greet somebody" in capsys.readouterr().out
    assert cli.main(["greet", "--help"]) == 0
    assert "name to greet" in capsys.readouterr().out
    assert cli.main(["gret"]) == 2
    assert "did you mean 'greet'" in capsys.readouterr().err
    assert "### `spikefront greet`\n\nGreet somebody.\n" in reference()


def test_the_list_of_commands_imports_none_of_them() -> None:
    program = (
        "import sys\nfrom search.commands import cli\ncli.main(['--help'])\n"
        "print(*(m for m in ('rich', 'numpy', 'sqlalchemy') if m in sys.modules), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stderr.strip() == ""
