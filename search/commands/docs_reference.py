"""The reference, written from what the code declares: `python -m search.commands.docs_reference`.

Commands, keys of a study file, settings of a run and metrics, each with its
meaning. docs/reference.md is what this prints; a test holds the two together.
"""

import argparse
import dataclasses
import math
from collections.abc import Iterable, Mapping

from search.commands.cli import build_parser
from search.commands.options import COMMANDS
from search.study.tables import BUDGET_SETTINGS, SEARCH_SETTINGS, Budget, SearchSettings
from search.study.template import toml_value
from search.text import log
from snn.settings.config import SETTINGS, RunConfig, Setting
from snn.settings.measurement import METRICS

HEAD = """\
# Reference

Written by `python -m search.commands.docs_reference` from what the code declares; nobody edits it.
What the words mean is in the [README](../README.md#words), how to do things in the pages under
`how-to`.
"""

SEARCH_LISTS = """\
Beside them `points = [{ width = 16 }, ...]`, tried first; `warm_start = ["STUDY", ...]`, whose
trials teach the sampler; `extend_prefixes` is 0.25 by default where `partition` is an axis and
blocks are reused; and `[search.reference]`, by objective, the point that hypervolume is measured
from.
[How to search well](how-to/search.md) says when each pays.
"""

STUDY = """\
## The study file

TOML, read whole: every fault is reported at once. The comment that it begins with is kept as the
study's question.

| key | what it is |
| --- | --- |
| `name` | the study's name in the store |
| `objectives` | one to five [metrics](#metrics), like `["accuracy", "synaptic_ops"]` |
| `[constraints]` | bounds by metric, like `model_bytes = { max = 400_000 }`; `min`, `max` or both |
| `[budget]` | [what it may spend](#budget) |
| `[run]` | [settings](#settings-of-a-run) that every trial shares |
| `[space]` | settings that vary: [axes](#axes) by the setting's name |
| `[search]` | [how points are found](#search) |
"""

AXES = (
    ("`timesteps = { low = 2, high = 8 }`",
     "a number; in steps with `step = 2`, evenly in its logarithm with `log = true`"),
    ('`time_rule = ["bptt", "saf-e"]`', "one of the choices"),
    ("`width = 16`", "nothing: fixed"),
    ("`partition = { max_blocks = 3 }`",
     "every way to cut the backbone's units into blocks; also `min_blocks`"),
    ("`exit_threshold = { low = 0.5, high = 0.99 }`",
     "a number for each exit before the last that the partition makes"),
    ('`class_threshold = { low = 0.6, high = 0.95, when = { block_classes = "hard" } }`',
     "there only where another setting has that value"),
)  # fmt: skip


def reference() -> str:
    """The whole page."""
    parts = [
        HEAD,
        _commands(),
        STUDY,
        "\n".join(["## Axes", "", *_table(("in `[space]`", "what varies"), AXES), ""]),
        _settings("## Settings of a run", SETTINGS, RunConfig),
        _settings("## Budget", BUDGET_SETTINGS, Budget),
        _settings("## Search", SEARCH_SETTINGS, SearchSettings),
        SEARCH_LISTS,
        _metrics(),
    ]
    return "\n".join(parts)


def _commands() -> str:
    parser = build_parser()
    lines = [
        "## Commands",
        "",
        "Exit codes: 0 done, 1 something failed while running, 2 the input was wrong, "
        "130 interrupted.",
        "`SPIKEFRONT_STORE` and `SPIKEFRONT_DATA` stand in for `--store` and `--data`.",
        f"`{log.VARIABLE}`, {', '.join(log.LEVELS)}, says what stderr shows of the log.",
        "",
    ]
    parsers = next(
        action.choices
        for action in parser._actions
        if isinstance(action, argparse._SubParsersAction)
    )
    for command in COMMANDS:
        lines += [f"### `spikefront {command.name}`", "", command.purpose, ""]
        actions = [a for a in parsers[command.name]._actions if a.dest != "help"]
        lines += _table(("argument", "meaning"), (_argument(action) for action in actions))
        lines += ["", "```", *command.examples, "```", ""]
    return "\n".join(lines)


def _argument(action: argparse.Action) -> tuple[str, str]:
    name = ", ".join(action.option_strings) or str(action.metavar)
    if action.option_strings and action.nargs != 0:
        of = "|".join(map(str, action.choices)) if action.choices else action.metavar
        name = f"{name} {of}"
    text = (action.help or "") % {"default": action.default}
    return f"`{_cell(name)}`", _cell(text)


def _settings(heading: str, settings: Mapping[str, Setting], kind: type) -> str:
    defaults = {field.name: field.default for field in dataclasses.fields(kind)}
    rows = (
        (f"`{name}`", _cell(_allowed(setting)), _default(defaults[name]), _cell(setting.meaning))
        for name, setting in settings.items()
    )
    return "\n".join([heading, "", *_table(("name", "allowed", "default", "meaning"), rows), ""])


def _allowed(setting: Setting) -> str:
    if setting.choices:
        return ", ".join(f"`{choice}`" for choice in setting.choices)
    if setting.kind == "flag":
        return "`true`, `false`"
    if setting.kind == "text":
        return "text"
    what = {"integer": "whole number", "real": "number", "reals": "number or list"}[setting.kind]
    sides = []
    if math.isfinite(setting.low):
        sides.append(f"{'above' if setting.open_low else 'at least'} {setting.low:g}")
    if math.isfinite(setting.high):
        sides.append(f"{'below' if setting.open_high else 'at most'} {setting.high:g}")
    return " ".join([what, " and ".join(sides)]).strip()


def _default(value: object) -> str:
    if value is dataclasses.MISSING or value in (None, ""):
        return ""
    return f"`{toml_value(value)}`"


def _metrics() -> str:
    rows = ((f"`{m.name}`", m.unit, m.better, _cell(m.meaning)) for m in METRICS.values())
    lines = [
        "## Metrics",
        "",
        "Any of them can be an objective, a constraint or part of a pick.",
        "",
    ]
    return "\n".join([*lines, *_table(("metric", "unit", "better", "meaning"), rows), ""])


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> list[str]:
    return [_row(head), _row(("---",) * len(head)), *map(_row, rows)]


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    print(reference(), end="")
