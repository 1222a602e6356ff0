"""Importances as an HTML table of bars, with parameters as rows and metrics as columns.

A table and not a figure, because it works at any width and with a screen reader.
"""

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dashboard.data import formats
from dashboard.data.parameter_groups import ParameterGroup, member_label, parameter_groups
from dashboard.figures.theme import PALETTES, Mode, Palette
from snn.settings.measurement import METRICS, Metrics

if TYPE_CHECKING:  # it loads Optuna
    from search.samplers.importance import Importance

STYLE = """<style>
.importance-frame { overflow-x: auto; }
.importance { width: 100%; border-collapse: collapse; font-size: 0.875rem; table-layout: fixed;
  min-width: 26rem; }
.importance thead th:first-child, .importance table th { width: 10rem; }
.importance th { font-weight: 600; text-align: left; padding: 0.3rem 0.75rem 0.3rem 0; }
.importance th small { font-weight: 400; opacity: 0.65; display: block; }
.importance td { padding: 0.15rem 0.75rem 0.15rem 0; vertical-align: middle; }
.importance tbody th { font-weight: 400; }
.importance .more { padding: 0 0 0.3rem; }
.importance summary { cursor: pointer; font-size: 0.8rem; opacity: 0.75; }
.importance table { margin: 0.2rem 0 0.4rem; min-width: 0; }
.importance table tr th { padding-left: 0.9rem; }
.importance table tr:last-child { border-bottom: none; }
.importance .bar { display: flex; align-items: center; gap: 0.4rem; }
.importance .bar i { display: block; height: 0.8rem; border-radius: 3px; min-width: 2px; }
.importance .bar span { opacity: 0.8; font-size: 0.8rem; }
@media (max-width: 640px) {
  .importance { min-width: 0; }
  .importance thead th:first-child, .importance table th { width: 7.5rem; }
  .importance td, .importance th { padding-right: 0.35rem; overflow-wrap: anywhere; }
  .importance .bar { gap: 0.25rem; }
}
</style>"""


def order(found: Sequence["Importance"]) -> list[ParameterGroup]:
    """Return the parameters in their groups by the mean share over the metrics, largest first."""
    names = dict.fromkeys(name for each in found for name in each.shares)
    mean = {n: sum(each.shares.get(n, 0.0) for each in found) for n in names}
    groups = parameter_groups(sorted(names, key=_natural))
    return sorted(groups, key=lambda group: -sum(mean[name] for name in group.members))


def _natural(name: str) -> list[tuple[int, str]]:
    """Return a key that puts unit 2 before unit 10."""
    return [(int(part), "") if part.isdigit() else (0, part) for part in name.split("_")]


def table(
    found: Sequence["Importance"],
    in_share: Mapping[str, float],
    mode: Mode,
    *,
    metrics: Metrics = METRICS,
    has_settings: bool = True,
    most: int = 16,
) -> str:
    """Return the table; a bar is the importance of a parameter for one of the study's metrics.

    Parameters of units, blocks and exits are a row each, the sum of its members, which opens.
    `in_share`: share of the trials in which each parameter is active. Without `has_settings` only
    the author of an own training knows what they mean.
    """
    heads = "".join(
        f'<th scope="col" title="{html.escape(formats.meaning(each.metric, metrics))}">'
        f"{html.escape(formats.label(each.metric))}</th>"
        for each in found
    )
    groups = order(found)[:most]
    shares = [_share(each, group) for each in found for group in groups]
    top = max((share for share in shares if share is not None), default=0.0) or 1.0
    columns = _Columns(found=found, top=top, palette=PALETTES[mode])
    titles = {group.name: _title(group.name) if has_settings else "" for group in groups}
    rows = "".join(_row(group, columns, in_share, titles[group.name]) for group in groups)
    return (
        f'{STYLE}<div class="importance-frame"><table class="importance"><thead><tr>'
        f'<th scope="col">Parameter</th>{heads}</tr>'
        f"</thead><tbody>{rows}</tbody></table></div>"
    )


@dataclass(frozen=True, kw_only=True)
class _Columns:
    """A column for each metric; `top` is the share of the longest bar."""

    found: Sequence["Importance"]
    top: float
    palette: Palette

    def cells(self, group: ParameterGroup) -> str:
        """Return the bars of a row."""
        colours = self.palette.categories
        return "".join(
            _cell(_share(each, group), self.top, colours[place % len(colours)])
            for place, each in enumerate(self.found)
        )


def _share(found: "Importance", group: ParameterGroup) -> float | None:
    """Return the sum of the members' shares; None if none of them has one."""
    known = [found.shares[name] for name in group.members if name in found.shares]
    return sum(known) if known else None


def _row(
    group: ParameterGroup, columns: _Columns, in_share: Mapping[str, float], title: str
) -> str:
    cells = columns.cells(group)
    if group.is_single:
        name = _name(formats.label(group.name), in_share.get(group.name, 1.0))
        return f'<tr><th scope="row"{title}>{name}</th>{cells}</tr>'
    inner = "".join(
        f'<tr><th scope="row">{_name(member_label(name), in_share.get(name, 1.0))}</th>'
        f"{columns.cells(ParameterGroup(name=name, label='', members=(name,)))}</tr>"
        for name in group.members
    )
    return (
        f'<tr><th scope="row"{title}>{html.escape(group.label)}</th>{cells}</tr>'
        f'<tr><td class="more" colspan="{len(columns.found) + 1}"><details>'
        f"<summary>each of the {group.count}</summary>"
        f'<table class="importance">{inner}</table></details></td></tr>'
    )


def _title(name: str) -> str:
    meaning = formats.meaning(name)
    return f' title="{html.escape(meaning)}"' if meaning else ""


def _name(label: str, share: float) -> str:
    note = f"<small>in {100 * share:.0f}\u202f% of the trials</small>" if share < 0.995 else ""
    return html.escape(label) + note


def _cell(share: float | None, top: float, colour: str) -> str:
    if share is None:
        return "<td>–</td>"
    width = 70 * share / top
    return (
        f'<td><div class="bar"><i style="width:{width:.1f}%;background:{colour}"></i>'
        f"<span>{100 * share:.0f}\u202f%</span></div></td>"
    )
