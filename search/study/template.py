"""A study file to start from: a shipped study with a new name and all other settings."""

import dataclasses
import re
import textwrap
from collections.abc import Collection, Mapping
from pathlib import Path

from search.study.tables import BUDGET_SETTINGS, SEARCH_SETTINGS, Budget, SearchSettings
from snn.settings.config import SETTINGS, RunConfig, Setting, nearest

# Studies are in `search/templates` of an installation and in `studies` of a checkout.
_INSTALLED = Path(__file__).parents[1] / "templates"
FOLDER = _INSTALLED if _INSTALLED.is_dir() else Path(__file__).parents[2] / "studies"

REST_NOTE = "#\n# What else can be set, with its default:"
SPACE_NOTE = """\
#
# Any setting of [run] may vary: NAME = { low = ..., high = ... }, with step or log = true;
# NAME = [CHOICE, ...]; or only where another setting has a value:
# class_threshold = { low = 0.6, high = 0.95, when = { block_classes = "hard" } }"""


class TemplateError(ValueError):
    """An unknown template; one line."""


def templates() -> list[str]:
    """Return the names of the shipped studies."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def study_text(name: str, template: str) -> str:
    """Return the study `template` with another name and without its results.

    Settings that it does not have are added as comments with their defaults, so that
    the text is the same study. Raises TemplateError.
    """
    if template not in templates():
        known = ", ".join(templates())
        message = f"template must be one of {known}, got {template!r}"
        raise TemplateError(message + nearest(template, templates()))
    text = (FOLDER / f"{template}.toml").read_text(encoding="utf-8")
    question, _, rest = text.partition("\nname = ")
    head = f"{_without_result(question)}\nname = " + re.sub(r"^\"[^\"]*\"", f'"{name}"', rest)
    tables = _tables(head)
    searched = {key for table in tables if table.startswith("[space]") for key in _keys(table)}
    return "\n\n".join(_explained(table, searched) for table in tables) + "\n"


def _without_result(comment: str) -> str:
    """Return the question without the results of the copied study."""
    return comment.partition("\n# Result")[0]


def _tables(text: str) -> list[str]:
    """Split the text before every header of a table."""
    return [part.strip("\n") for part in re.split(r"^(?=\[)", text, flags=re.MULTILINE)]


def _explained(table: str, searched: Collection[str]) -> str:
    """Add the missing settings to a table; `searched` are those of [space]."""
    name = table[1:].partition("]")[0] if table.startswith("[") else ""
    if name == "space":
        return f"{table}\n{SPACE_NOTE}"
    known = {*_keys(table), *(searched if name == "run" else ())}
    unsaid = [line for key, line in _lines(name).items() if key not in known]
    return "\n".join([table, *([REST_NOTE] if unsaid else []), *unsaid])


def _keys(table: str) -> set[str]:
    return set(re.findall(r"^(\w+) *=", table, flags=re.MULTILINE))


def _lines(table: str) -> dict[str, str]:
    """Return every setting of a table as a comment, by name."""
    declared: dict[str, tuple[Mapping[str, Setting], type]] = {
        "run": (SETTINGS, RunConfig),
        "budget": (BUDGET_SETTINGS, Budget),
        "search": (SEARCH_SETTINGS, SearchSettings),
    }
    if table not in declared:
        return {}
    settings, kind = declared[table]
    defaults = {field.name: field.default for field in dataclasses.fields(kind)}
    return {
        name: _line(name, setting, defaults[name])
        for name, setting in settings.items()
        if defaults[name] is not dataclasses.MISSING
    }


def _line(name: str, setting: Setting, default: object) -> str:
    choices = f"   # {' | '.join(setting.choices)}" if setting.choices else ""
    value = "..." if default in (None, "") else toml_value(default)
    meaning = textwrap.wrap(
        setting.meaning, 92, initial_indent="#     ", subsequent_indent="#     "
    )
    return "\n".join([f"# {name} = {value}{choices}", *meaning])


def toml_value(value: object) -> str:
    """Return a value as TOML."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, tuple):
        return f"[{', '.join(map(toml_value, value))}]"
    return f"{value:g}" if isinstance(value, float) else str(value)
