"""The page docs/results-search.md, written from the replays."""

import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.plot import picture
from benchmarks.results import table
from benchmarks.search.comparison import OURS, Result
from benchmarks.search.curves import LEVEL, Reached, best_of, reached
from benchmarks.search.record import Record
from benchmarks.search.strategies import GAIN, STRATEGIES

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
                title = f"{result.name}: hypervolume by trained epochs, {result.seeds} seeds"
                files[f"search-{result.name}-{group}.svg"] = picture(
                    title, bundles, bold=[OURS, GAIN]
                )
    return files


def page(head: Mapping[str, Any], results: Sequence[Result]) -> str:
    """Return the page; `head` is the document of the benchmark."""
    parts = [_introduction(results), _headline(results)]
    parts.extend(_section(result) for result in results)
    parts.append(_provenance(head, results))
    return "\n\n".join(parts) + "\n"


def _introduction(results: Sequence[Result]) -> str:
    recorded = [result for result in results if isinstance(result.record, Record)]
    computed = [result for result in results if not isinstance(result.record, Record)]
    said = []
    if recorded:
        said.append(f"""Every configuration of a grid was trained once, and each epoch was recorded
        with all its operating points ({_configs(recorded)}).""")
    if computed:
        said.append(f"""{", ".join(result.name for result in computed)}: computed problems
        ({_configs(computed)}), which no search exhausts; `benchmarks/search/synthetic.py` has the
        formulas and their limits. They show how searches differ, not how real networks behave.""")
    fewer = any(len(c) < r.seeds for r in results for c in r.curves.values())
    except_for = " (fewer where a row says so, because these replays take long)" if fewer else ""
    said.append(f"""A strategy is replayed: it proposes a point, receives its epochs one by one, may
    stop early, and is charged one epoch for each epoch that it would have trained. Where a strategy
    reuses blocks, a block that it has trained before costs nothing. All strategies have one worker,
    the same budget and {results[0].seeds} seeds{except_for}. Bands in the figures are
    {LEVEL:.0%} intervals of the mean. Hypervolume is the share of the box between the ideal point
    and one reference point, which is the same for all strategies ({_reference(results)}).""")
    fair = """The front of a peer consists of the operating points that it sampled. Separate rows
    show its front with all operating points of each trained network counted at no cost, which
    separates the effect of the operating points from that of the search. *Sampling* is the
    processor time of all proposals and reports of a replay."""
    title = "what the search is worth" if recorded else "searches on computed problems"
    return f"""# Results: {title}

How many epochs a search must train until its front is good. `{MADE_BY} --markdown` writes this
page; do not edit it. Conclusions: [decision 0045](decisions/0045-strategies-are-replayed.md).

{_filled(" ".join(said))}

{_filled(fair)}"""


def _filled(text: str) -> str:
    return textwrap.fill(" ".join(text.split()), 100, break_long_words=False)


def _configs(results: Sequence[Result]) -> str:
    return "; ".join(f"{result.name}: {result.record.about}" for result in results)


def _reference(results: Sequence[Result]) -> str:
    return "; ".join(
        f"{result.name}: " + ", ".join(f"{n} {v:,.4g}" for n, v in result.reference.items())
        for result in results
    )


def _headline(results: Sequence[Result]) -> str:
    rows = []
    pairs = [(r, name) for r in results for name in (OURS, GAIN) if name in r.curves]
    for result, name in pairs:
        ours = result.bundles[name]
        for kind, meaning in (("peer", "sampled"), ("beside", "all, at no cost")):
            peers = result.of_kind(kind)
            if not peers:
                continue
            best = best_of(peers)
            rows.append(
                [
                    result.name,
                    meaning,
                    f"{result.called(best)} {_value(peers[best].mean[-1], peers[best].error[-1])}",
                    f"{name} {_value(ours.mean[-1], ours.error[-1])}",
                    str(result.budget),
                    _share(reached(ours, peers)),
                ]
            )
    header = (
        "Problem",
        "Operating points of peers",
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
                "Sampling, s",
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
        result.called(name, "`"),
        *(_value(bundle.mean[epoch], bundle.error[epoch]) for epoch in at),
        _percent(result.reached(name).fraction),
        f"{sum(curve.trials for curve in curves) / count:.0f}",
        f"{sum(curve.complete for curve in curves) / count:.0f}",
        f"{sum(curve.reused for curve in curves) / count:.0f}",
        f"{sum(curve.seconds for curve in curves) / count:.1f}",
    ]


def _provenance(head: Mapping[str, Any], results: Sequence[Result]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in head["against"].items())
    setting = ", ".join(f"{name} {value}" for name, value in head["setting"].items())
    made = "; ".join(
        f"{r.name} by " + ", ".join(f"{n} {v}" for n, v in r.record.made_by.items())
        for r in results
    )
    recorded = any(isinstance(result.record, Record) for result in results)
    name = "results-search" if recorded else "results-search-computed"
    problems = " ".join(result.name for result in results)
    ran = [name for name in STRATEGIES if any(name in result.curves for result in results)]
    ran.sort(key=OURS.__eq__)  # not before another word, with which it would be a command
    chosen = "" if len(ran) == len(STRATEGIES) else f"    --strategies {' '.join(ran)} \\\n"
    seeds = f"--first {head['setting']['first']} --seeds {results[0].seeds}"
    if "slow_seeds" in head["setting"]:
        seeds += f" --slow-seeds {head['setting']['slow_seeds']}"
    again = f"\n{MADE_BY} --record  # new records: real trainings, an hour or two on one core"
    return f"""## Where and when

- Commit `{head["commit"]}`, {versions}
- Setting: {setting}
- Problems: {made}

```
{MADE_BY} --problems {problems} {seeds} \\
{chosen}    --markdown docs/{name}.md --images docs/images{again if recorded else ""}
```"""
