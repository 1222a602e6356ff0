"""A study as one HTML file that opens without a server and without a network connection.

The file contains plotly's script. All text from a store is escaped.
"""

import datetime
import html
import importlib.metadata
from collections.abc import Mapping, Sequence

import plotly.graph_objects as go  # type: ignore[import-untyped]
import plotly.io  # type: ignore[import-untyped]
from plotly.offline import get_plotlyjs  # type: ignore[import-untyped]

from dashboard.data import formats
from dashboard.data.point_filter import ViewOptions, VisiblePoints
from dashboard.data.points import PointTable
from dashboard.data.study_view import StudyView
from dashboard.data.targets import Target
from dashboard.figures.front import front
from dashboard.figures.history import hypervolume
from dashboard.figures.theme import FONT, PALETTES
from search.trial.confirmation import Confirmed

MOST_ROWS = 500

_PALETTE = PALETTES["light"]
STYLE = f"""
body {{ font-family: {FONT}; color: {_PALETTE.text}; background: {_PALETTE.background};
  max-width: 1100px; margin: 2.5rem auto; padding: 0 1.25rem; line-height: 1.5;
  font-variant-numeric: tabular-nums; }}
h1 {{ font-size: 1.9rem; margin-bottom: 0.2rem; }} h2 {{ font-size: 1.3rem; margin-top: 2.4rem; }}
p.muted, td.muted {{ color: {_PALETTE.muted}; }}
dl {{ display: flex; flex-wrap: wrap; gap: 1.2rem 2.4rem; }} dt {{ color: {_PALETTE.muted}; }}
dd {{ margin: 0; font-size: 1.4rem; font-weight: 600; }}
.wide {{ overflow-x: auto; }}
table {{ border-collapse: collapse; width: 100%; font-size: 0.92rem; }}
th, td {{ padding: 0.35rem 0.7rem; border-bottom: 1px solid {_PALETTE.border}; text-align: right;
  white-space: nowrap; }}
th {{ color: {_PALETTE.muted}; font-weight: 600; }}
td.text, th.text {{ text-align: left; white-space: normal; }}
tr.knee td {{ color: {_PALETTE.accent}; font-weight: 600; }}
pre {{ background: {_PALETTE.surface}; padding: 1rem; border-radius: 8px; overflow-x: auto; }}
"""


def report(
    view: StudyView,
    visible: VisiblePoints,
    options: ViewOptions,
    *,
    targets: Sequence[Target] = (),
    chosen: Sequence[int] = (),
    confirmed: Mapping[int, Confirmed] | None = None,
) -> str:
    """Return the report: question, front as figure and table, hypervolume, study file.

    `chosen` are the selected rows; without any the table shows the front.
    """
    rows = list(chosen) or visible.front.tolist()
    ids = [int(view.table.ids[row]) for row in chosen]
    flat = ViewOptions(**{**vars(options), "z": None, "log_z": False})
    figure = front(view.table, visible, flat, selected=ids, targets=targets, mode="light")
    parts = [
        f"<h1>{html.escape(view.stored.name)}</h1>",
        f'<p class="muted">{_made()}</p>',
        f"<p>{html.escape(formats.question(view.study.question))}</p>" if view.study else "",
        _headline(view, visible),
        "<h2>Front</h2>",
        _targets(targets),
        _figure(figure),
        f"<h2>{'Selected points' if chosen else 'Points of the front'}</h2>",
        _table(view.table, rows[:MOST_ROWS], visible.knee, confirmed or {}),
        f"<p class='muted'>The first {MOST_ROWS} of {len(rows):,}.</p>"
        if len(rows) > MOST_ROWS
        else "",
        _history(view),
        "<h2>Study file</h2>",
        f"<pre>{html.escape(view.stored.toml)}</pre>",
        _meanings(view.table),
    ]
    return _page(view.stored.name, "\n".join(part for part in parts if part))


def _page(title: str, body: str) -> str:
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(title)} · spikefront</title>\n<style>{STYLE}</style>\n"
        f"<script>{get_plotlyjs()}</script>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def _made() -> str:
    version = importlib.metadata.version("spikefront")
    moment = datetime.datetime.now(datetime.UTC)
    return html.escape(f"spikefront {version} · {moment:%Y-%m-%d %H:%M} UTC")


def _headline(view: StudyView, visible: VisiblePoints) -> str:
    _, known = view.known_hypervolumes
    facts = [
        ("On the front", f"{visible.front.size:,}"),
        ("Operating points", f"{len(view.table):,}"),
        ("Trials", f"{len(view.trials):,}"),
        ("Epochs trained", f"{view.epochs_trained:,}"),
        ("Hypervolume", f"{known[-1]:.3f}" if known else formats.NOTHING),
    ]
    return (
        "<dl>"
        + "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in facts)
        + "</dl>"
    )


def _targets(targets: Sequence[Target]) -> str:
    if not targets:
        return ""
    words = ", ".join(html.escape(target.shown) for target in targets)
    return f"<p>Targets: {words}.</p>"


def _figure(figure: go.Figure) -> str:
    figure.update_layout(paper_bgcolor=_PALETTE.background, plot_bgcolor=_PALETTE.background)
    text: str = plotly.io.to_html(
        figure,
        include_plotlyjs=False,
        full_html=False,
        config={"displaylogo": False, "responsive": True},
    )
    return text


def _table(
    table: PointTable, rows: Sequence[int], knee: int | None, confirmed: Mapping[int, Confirmed]
) -> str:
    names = tuple(dict.fromkeys((*table.objectives, "accuracy", "model_bytes", "latency_steps")))
    is_confirmed = any(int(table.ids[row]) in confirmed for row in rows)
    head = ["Trial", "Partition", "T", "Exit thresholds", *(formats.label(n) for n in names)]
    head += ["Accuracy on test images"] if is_confirmed else []
    lines = []
    exits = table.exit_thresholds(rows)
    for row, thresholds in zip(rows, exits, strict=True):
        cells = [
            table.trial_words(row).partition(" ")[2],
            table.partition(row) or formats.NOTHING,
            f"{table.timesteps[row]}",
            formats.thresholds(thresholds),
            *(formats.quantity(name, table.figure(name, row), table.metrics) for name in names),
        ]
        if is_confirmed:
            cells.append(formats.confirmed(confirmed.get(int(table.ids[row])), "accuracy"))
        kind = ' class="knee"' if row == knee else ""
        lines.append(f"<tr{kind}>{''.join(f'<td>{html.escape(cell)}</td>' for cell in cells)}</tr>")
    heads = "".join(f"<th>{html.escape(name)}</th>" for name in head)
    body = "\n".join(lines)
    return (
        f'<div class="wide"><table><thead><tr>{heads}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _history(view: StudyView) -> str:
    trials, values = view.known_hypervolumes
    if len(values) < 2:
        return ""
    figure = hypervolume(trials, values, "light")
    return f"<h2>Hypervolume after each finished trial</h2>\n{_figure(figure)}"


def _meanings(table: PointTable) -> str:
    rows = "".join(
        f'<tr><td class="text">{html.escape(formats.label(name))}</td>'
        f'<td class="text muted">{html.escape(formats.meaning(name, table.metrics))}</td></tr>'
        for name in table.objectives
    )
    return f"<h2>Metrics</h2><table>{rows}</table>"
