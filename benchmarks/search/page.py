"""The page docs/results-search.md, written from the replays."""

import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.results import table
from benchmarks.search.comparison import OURS, Result
from benchmarks.search.curves import LEVEL, Reached
from benchmarks.search.plot import picture
from benchmarks.search.strategies import STRATEGIES

MADE_BY = "python -m benchmarks.search"
_SHARES = (0.1, 0.25, 0.5, 1.0)  # of the budget, at which tables show the hypervolume
_KINDS = {
    "peer": "Peers",
    "ours": "Ours",
    "ablation": "Ours without a part",
    "beside": "Peers with all operating points at no cost",
}


def pictures(results: Sequence[Result]) -> dict[str, str]:
    """Return SVG by file name: ours and the peers, ours and ours without each part."""
    files = {}
    for result in results:
        for group, kinds in (("peers", ("peer", "ours")), ("parts", ("ours", "ablation"))):
            bundles = {n: b for n, b in result.bundles.items() if STRATEGIES[n].kind in kinds}
            if bundles:
                title = f"{result.name}: hypervolume by trained epochs, {_seeds(result)} seeds"
                files[f"search-{result.name}-{group}.svg"] = picture(title, bundles, bold=[OURS])
    return files


def page(head: Mapping[str, Any], results: Sequence[Result]) -> str:
    """Return the page; `head` is the document of the benchmark."""
    parts = [_introduction(results), _headline(results)]
    parts.extend(_section(result) for result in results)
    parts.append(_provenance(head, results))
    return "\n\n".join(parts) + "\n"


def _introduction(results: Sequence[Result]) -> str:
    about = f"""Every configuration of a grid was trained once, and each epoch was recorded with all
    its operating points ({_configs(results)}). A strategy is then replayed on the record: it
    proposes a point, receives the recorded epochs one by one, may stop early, and is charged one
    epoch for each epoch that it would have trained. Where a strategy reuses blocks, a block that it
    has trained before costs nothing. All strategies have one worker, the same budget and
    {_seeds(results[0])} seeds. Bands in the figures are {LEVEL:.0%} intervals of the mean.
    Hypervolume is the share of the box between the ideal point and one reference point, which is
    the same for all strategies ({_reference(results)})."""
    fair = """The front of a peer consists of the operating points that it sampled. Separate rows
    show its front with all operating points of each trained network counted at no cost, which
    separates the effect of the operating points from that of the search."""
    return f"""# Results: what the search is worth

How many epochs a search must train until its front is good. `{MADE_BY} --markdown` writes this
page; do not edit it. Conclusions: [decision 0045](decisions/0045-strategies-are-replayed.md).

{_filled(about)}

{_filled(fair)}"""


def _filled(text: str) -> str:
    return textwrap.fill(" ".join(text.split()), 100, break_long_words=False)


def _configs(results: Sequence[Result]) -> str:
    said = []
    for result in results:
        record = result.record
        count = record.settings * len(record.grid.partitions)
        said.append(f"{result.name}: {count} run configs of up to {_longest(result)} epochs")
    return "; ".join(said)


def _longest(result: Result) -> int:
    grid = result.record.grid
    return result.record.epochs * max(1 + p.count("+") for p in grid.partitions)


def _reference(results: Sequence[Result]) -> str:
    return "; ".join(
        f"{result.name}: " + ", ".join(f"{n} {v:,.4g}" for n, v in result.reference.items())
        for result in results
    )


def _seeds(result: Result) -> int:
    return len(next(iter(result.curves.values())))


def _headline(results: Sequence[Result]) -> str:
    rows = []
    for result in results:
        best = result.best_peer
        peer = result.bundles[best]
        if OURS not in result.curves:
            continue
        ours = result.bundles[OURS]
        rows.append(
            [
                result.name,
                f"{best} {_value(peer.mean[-1], peer.error[-1])}",
                _value(ours.mean[-1], ours.error[-1]),
                str(result.budget),
                _share(result.reached(OURS)),
            ]
        )
    header = (
        "Data",
        "Best peer at the end",
        "Ours at the end",
        "Budget, epochs",
        "Ours equals it after",
    )
    return f"""## How much sooner

{table(header, rows)}

The last column is the share of the budget after which our mean hypervolume reaches the final one
of the best peer, with the {LEVEL:.0%} interval of a bootstrap over seeds in brackets."""


def _share(found: Reached) -> str:
    return f"{_percent(found.fraction)} ({_percent(found.low)} to {_percent(found.high)})"


def _percent(fraction: float) -> str:
    return "never" if math.isinf(fraction) else f"{100 * fraction:.0f} %"


def _value(mean: float, error: float) -> str:
    return f"{mean:.4f} ± {error:.4f}"


def _section(result: Result) -> str:
    tables = []
    for kind, heading in _KINDS.items():
        rows = [_row(result, name) for name in result.curves if STRATEGIES[name].kind == kind]
        if rows:
            header = (
                heading,
                *(f"{share:.0%}" for share in _SHARES),
                "Equals the best peer after",
                "Trials",
                "Complete",
                "Epochs free",
            )
            tables.append(table(header, rows))
    images = "\n".join(
        f"![{result.name}, {group}](images/search-{result.name}-{group}.svg)"
        for group in ("peers", "parts")
    )
    said = "\n".join(
        f"- `{name}`: {STRATEGIES[name].meaning}"
        for name in result.curves
        if STRATEGIES[name].kind != "beside"
    )
    return "\n\n".join(
        [
            f"## {result.name}",
            f"{result.record.study.question}",
            "Hypervolume (mean and standard error) after shares of the budget of "
            f"{result.budget} epochs:",
            *tables,
            images,
            said,
        ]
    )


def _row(result: Result, name: str) -> list[str]:
    bundle, curves = result.bundles[name], result.curves[name]
    at = [max(round(share * result.budget) - 1, 0) for share in _SHARES]
    count = len(curves)
    return [
        f"`{name}`",
        *(_value(bundle.mean[epoch], bundle.error[epoch]) for epoch in at),
        _percent(result.reached(name).fraction),
        f"{sum(curve.trials for curve in curves) / count:.0f}",
        f"{sum(curve.complete for curve in curves) / count:.0f}",
        f"{sum(curve.reused for curve in curves) / count:.0f}",
    ]


def _provenance(head: Mapping[str, Any], results: Sequence[Result]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in head["against"].items())
    setting = ", ".join(f"{name} {value}" for name, value in head["setting"].items())
    made = "; ".join(
        f"{r.name} by " + ", ".join(f"{n} {v}" for n, v in r.record.header["made_by"].items())
        for r in results
    )
    return f"""## Where and when

- Commit `{head["commit"]}`, {versions}
- Setting: {setting}
- Records: {made}

```
{MADE_BY} --markdown docs/results-search.md --images docs/images
{MADE_BY} --record            # makes the records anew: real trainings, an hour or two on one core
```"""
