"""The page of results on recordings, made of what was run and of nothing else."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.report import Report
from benchmarks.results import table

HEAD = ("changed", "test accuracy", "lowest to highest", "ratio", "operations", "ratio", "training")
FRONT = (
    "accuracy, validation",
    "accuracy, test",
    "milliseconds",
    "operations",
    "stored",
    "answers",
)
MADE_BY = "python -m benchmarks.ablations"
PARTS = "What each part is worth"


def percent(share: float) -> str:
    """Return a share for people."""
    return f"{100 * share:.1f} %"


def read_front(path: Path) -> Mapping[str, Any]:
    """Return what `spikefront confirm --json` printed. Raises ValueError where it is none."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError) as error:
        raise ValueError(f"{path}: {error}; give what spikefront confirm --json printed") from error
    points = document.get("points", []) if isinstance(document, dict) else []
    if not points or any(not point.get("confirmed") for point in points):
        raise ValueError(f"{path}: has no confirmed points; give that of spikefront confirm --json")
    result: Mapping[str, Any] = document
    return result


def updated(
    text: str,
    ablations: Mapping[str, str],
    fronts: Sequence[Mapping[str, Any]],
    report: Report,
) -> str:
    """Return the page with new sections in place of those of the same title.

    `ablations` are sections by data set, see `ablated`; all others of `text` stay.
    """
    sections = dict(_sections(text))
    sections |= {front["study"]: _front(front, report) for front in fronts}
    sections |= {f"{PARTS}: {name}": section for name, section in ablations.items()}
    titles = sorted(sections, key=lambda title: (title.startswith(PARTS), title))
    head = f"""# Results on recordings

This page is written by `{MADE_BY}`, section by section; nobody edits it."""
    return "\n\n".join([head, *(f"## {title}\n\n{sections[title]}" for title in titles)]) + "\n"


def _sections(text: str) -> Iterator[tuple[str, str]]:
    """Yield title and content of each section of a page."""
    for part in text.split("\n## ")[1:]:
        title, _, content = part.partition("\n")
        yield title, content.strip()


def ablated(rows: Sequence[Sequence[str]], read: Mapping[str, float], *, report: Report) -> str:
    """Return a section: the cells of each change, and what `read` says of plain readers."""
    setting: Mapping[str, Any] = report.setting
    options = f"--dataset {setting['dataset']} --seeds {setting['seeds']}"
    if setting["only"]:
        names = " ".join(f'"{name}"' for name in setting["only"])
        options += f' --section "{setting["section"]}" --only {names}'
    head: Sequence[str] = HEAD
    time = "; *training* is the ratio of processor time"
    if report.is_busy:  # timings would say nothing
        head, rows, time = HEAD[:-1], [row[:-1] for row in rows], ""
    parts = [
        f"""A network that was chosen by hand:
{setting["network"]};
{setting["epochs"]} epochs, seeds: {setting["seeds"]}. In each row one thing differs, and
nothing is tuned again: a row says what the change does to *this* network in so many epochs, not
what another one could reach with it. Accuracies are of the {setting["recordings"]} test recordings,
once after each training; ratios are to the first row{time}.

{table(head, rows)}""",
        f"""{_made(report)} Written by:

```
{MADE_BY} {options} --epochs {setting["epochs"]} --markdown docs/results-recordings.md
```""",
    ]
    if read:
        linear = [(name, percent(value)) for name, value in read.items()]
        text = f"""\
Where bins are shuffled, what counts tell is left. What can be read without the network:

{table(("a logistic regression is shown", "test accuracy"), linear)}

Shuffled whole bins also keep which inputs had events together."""
        parts.insert(1, text)
    return "\n\n".join(parts)


def _made(report: Report) -> str:
    document = report.document()
    return f"Commit `{document['commit']}`, torch {torch.__version__}, {document['machine']}."


def _front(front: Mapping[str, Any], report: Report) -> str:
    """Return the section of one study: members of its front, the most accurate first."""
    points = sorted(front["points"], key=lambda point: -float(point["metrics"]["accuracy"]))
    recordings = points[0]["confirmed"]["images"]
    return f"""\
Members of the front of `studies/{front["study"]}.toml`, whose head has the commands and the size of
the search. Networks were trained again with {len(front["seeds"])} fresh seeds and judged on
{recordings} test recordings: mean and standard deviation over seeds; milliseconds and operations
are of these.

{table(FRONT, [_cells(point) for point in points])}

{_made(report)}"""


def _cells(point: Mapping[str, Any]) -> list[str]:
    tested = point["confirmed"]["metrics"]
    accuracy = tested["accuracy"]
    over_time = point["time_threshold"]
    answers = f"after {point['timesteps']} timesteps"
    if over_time < 1:
        answers = f"at a confidence of {over_time:.3g}"
    return [
        percent(point["metrics"]["accuracy"]),
        f"{100 * accuracy['mean']:.1f} ± {100 * accuracy['std']:.1f} %",
        f"{tested['latency_ms']['mean']:,.0f}",
        f"{tested['synaptic_ops']['mean'] / 1e3:,.1f} k",
        f"{tested['model_bytes']['mean'] / 1e3:,.1f} kB",
        f"trial {point['trial']}, {answers}",
    ]
