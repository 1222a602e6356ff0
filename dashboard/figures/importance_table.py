"""Importances as an HTML table of bars, with parameters as rows and metrics as columns.

A table and not a figure, because it works at any width and with a screen reader.
"""

import html
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from dashboard.data import formats
from dashboard.figures.theme import PALETTES, Mode
from snn.settings.measurement import METRICS, Metrics

if TYPE_CHECKING:  # it loads Optuna
    from search.samplers.importance import Importance

STYLE = """<style>
.importance-frame { overflow-x: auto; }
.importance { width: 100%; border-collapse: collapse; font-size: 0.875rem; table-layout: fixed;
  min-width: 26rem; }
.importance thead th:first-child { width: 10rem; }
.importance th { font-weight: 600; text-align: left; padding: 0.3rem 0.75rem 0.3rem 0; }
.importance th small { font-weight: 400; opacity: 0.65; display: block; }
.importance td { padding: 0.15rem 0.75rem 0.15rem 0; vertical-align: middle; }
.importance tbody th { font-weight: 400; }
.importance .bar { display: flex; align-items: center; gap: 0.4rem; }
.importance .bar i { display: block; height: 0.8rem; border-radius: 3px; min-width: 2px; }
.importance .bar span { opacity: 0.8; font-size: 0.8rem; }
@media (max-width: 640px) {
  .importance { min-width: 0; }
  .importance thead th:first-child { width: 7.5rem; }
  .importance td, .importance th { padding-right: 0.35rem; overflow-wrap: anywhere; }
  .importance .bar { gap: 0.25rem; }
}
</style>"""


def order(found: Sequence["Importance"]) -> list[str]:
    """Return the parameters by their mean share over the metrics, most important first."""
    names = dict.fromkeys(name for each in found for name in each.shares)
    mean = {n: sum(each.shares.get(n, 0.0) for each in found) for n in names}
    return sorted(names, key=lambda name: -mean[name])


def table(
    found: Sequence["Importance"],
    in_share: Mapping[str, float],
    mode: Mode,
    *,
    metrics: Metrics = METRICS,
    most: int = 16,
) -> str:
    """Return the table; a bar is the importance of a parameter for one of the study's metrics.

    `in_share`: share of the trials in which each parameter is active.
    """
    palette = PALETTES[mode]
    heads = "".join(
        f'<th scope="col" title="{html.escape(formats.meaning(each.metric, metrics))}">'
        f"{html.escape(formats.label(each.metric))}</th>"
        for each in found
    )
    top = max((share for each in found for share in each.shares.values()), default=0.0) or 1.0
    rows = []
    for name in order(found)[:most]:
        cells = "".join(
            _cell(each.shares.get(name), top, palette.categories[place % len(palette.categories)])
            for place, each in enumerate(found)
        )
        rows.append(f'<tr><th scope="row"{_title(name)}>{_name(name, in_share)}</th>{cells}</tr>')
    return (
        f'{STYLE}<div class="importance-frame"><table class="importance"><thead><tr>'
        f'<th scope="col">Parameter</th>{heads}</tr>'
        f"</thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def _title(name: str) -> str:
    meaning = formats.meaning(name)
    return f' title="{html.escape(meaning)}"' if meaning else ""


def _name(name: str, in_share: Mapping[str, float]) -> str:
    share = in_share.get(name, 1.0)
    note = f"<small>in {100 * share:.0f}\u202f% of the trials</small>" if share < 0.995 else ""
    return html.escape(formats.label(name)) + note


def _cell(share: float | None, top: float, colour: str) -> str:
    if share is None:
        return "<td>–</td>"
    width = 70 * share / top
    return (
        f'<td><div class="bar"><i style="width:{width:.1f}%;background:{colour}"></i>'
        f"<span>{100 * share:.0f}\u202f%</span></div></td>"
    )
