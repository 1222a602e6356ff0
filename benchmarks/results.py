"""The page of results in docs/, made of what was run and of nothing else."""

import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from benchmarks.claims.claim import LABELS, Claim, Kind, Results, Row

BUSY = 0.2  # cores; above, timings of a benchmark are not to be quoted
MADE_BY = "python -m benchmarks.seeds"
SHOWN = (  # settings of a run that stand in the table
    "backbone",
    "width",
    "partition",
    "time_rule",
    "timesteps",
    "epochs",
    "train_images",
    "batch_size",
    "optimizer",
    "learning_rate",
)

LONGER = """
[Block-local training, exits and all at once](results-cifar10.md) are one page,
[gradient rewiring](results-cifar10-grad-r.md) and [the rules in time](results-cifar10-saf.md)
are others. Single networks that trained for longer are the configs in
[benchmarks/cifar10/small](../benchmarks/cifar10/small): the first lines of each say what it
reached.
"""
TRAINING = ("time_rule", "epochs", "train_images", "optimizer", "learning_rate")


def page(
    finished: Sequence[tuple[Claim, Results]],
    *,
    head: Mapping[str, Any],
    path: str,
    others: Sequence[Mapping[str, Any]] = (),
) -> str:
    """The whole page of a path like docs/results.md.

    `head` is the document of this benchmark, `others` those of further ones.
    """
    parts = [
        _introduction(head, [claim.title for claim, _ in finished]),
        _provenance(finished, head),
        _overview(finished),
        *(_section(claim, results) for claim, results in finished),
        _elsewhere(finished),
        _cifar10(others) if head["setting"]["dataset"] == "mnist" else "",
        *(section_of(other) for other in others),
        _remake(head, others, path),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def show(value: float, kind: Kind) -> str:
    """A figure for people."""
    return {
        "fraction": f"{100 * value:.2f} %",
        "points": f"{value:.2f} points",
        "times": f"{value:.2f} times",
        "ratio": f"{value:.2f}",
        "count": f"{value:,.0f}" if abs(value) >= 100 else f"{value:.2f}",
    }[kind]


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def _introduction(head: Mapping[str, Any], claims: Sequence[str]) -> str:
    setting = head["setting"]
    dataset = {"mnist": "MNIST", "cifar10": "CIFAR-10"}[setting["dataset"]]
    if setting.get("images"):
        dataset += f" ({setting['images']})"
    is_mnist = setting["dataset"] == "mnist"
    title = "Results" if is_mnist else "Results on CIFAR-10"
    if len(claims) == 1:
        title += f": {claims[0][0].lower()}{claims[0][1:]}"
    longer = "" if is_mnist else LONGER
    labels = "\n".join(f"- *{label}*: {meaning}" for label, meaning in LABELS.items())
    return f"""# {title}

Claims of the papers that spikefront builds on, beside the results of its own engine.
`{MADE_BY} --markdown` writes this page; do not edit it. Accuracies are measured on the
10,000 test images of {dataset}, once per network after its training; thresholds and all other
choices come from validation images. *Ours* is the mean over seeds, with the lowest and the
highest.
{longer}
A published figure has a label:

{labels}

Where the published figure is of other data or another network, the two figures cannot be compared
directly; each claim lists its deviations below its table.{_left_out(head)}"""


def _left_out(head: Mapping[str, Any]) -> str:
    names = head["setting"].get("left_out", [])
    if not names:
        return ""
    return (
        "\n\n**Not run for this page**: the claims "
        + ", ".join(f"`{name}`" for name in names)
        + " of the command at the end."
    )


def _provenance(finished: Sequence[tuple[Claim, Results]], head: Mapping[str, Any]) -> str:
    done = [run for _, results in finished for run in results.runs]
    loads = [run.foreign_load for run in done if run.foreign_load is not None]
    load = f"{statistics.mean(loads):.2f} cores on average" if loads else "unknown"
    commits = ", ".join(sorted({f"`{run.commit}`" for run in done}))
    setting = head["setting"]
    distinct = {(run.name, run.seed, run.seconds): run.seconds for run in done}
    return f"""## Where and when

- Commit {commits}, torch {head["against"]["torch"]}
- Machine: {head["machine"]}; device {setting["device"]}, {setting["threads"]} threads
- Load of other programs meanwhile: {load}
- {len(distinct)} runs, {sum(distinct.values()) / 60:.0f} minutes in all"""


def _overview(finished: Sequence[tuple[Claim, Results]]) -> str:
    rows = [
        [f"[{claim.title}](#{_anchor(claim.title)})", row.what, *_published(row), _ours(row)]
        for claim, results in finished
        for row in claim.rows(results)
        if row.published is not None
    ]
    header = ("Claim", "What", "Published", "Label", "Ours")
    return f"## Published and ours\n\n{table(header, rows)}"


def _anchor(heading: str) -> str:
    """As GitHub makes it."""
    return "".join(c for c in heading.lower() if c.isalnum() or c in " -_").replace(" ", "-")


def _published(row: Row) -> tuple[str, str]:
    if row.published is None:
        return "", ""
    shown = show(row.published.value, row.kind)
    return f"{shown} ({row.published.of})", f"*{row.published.label}*"


def _ours(row: Row) -> str:
    mean = show(row.mean, row.kind)
    if len(row.values) == 1:
        return mean
    low, high = show(min(row.values), row.kind), show(max(row.values), row.kind)
    return f"{mean} ({low} to {high})"


def _section(claim: Claim, results: Results) -> str:
    rows = [
        [row.what, *_published(row), _ours(row), str(len(row.values))]
        for row in claim.rows(results)
    ]
    header = ("What", "Published", "Label", "Ours", "Seeds")
    deviations = "\n".join(f"- {deviation}" for deviation in claim.deviations)
    return f"""## {claim.title}

{claim.about}

{table(header, rows)}

Published by {claim.source}.

Deviations:

{deviations}

Runs:

{table(("Run", "Seeds", *SHOWN, "Seconds each"), _settings(claim, results))}"""


def _settings(claim: Claim, results: Results) -> Iterator[list[str]]:
    """A row per name, of what its seeds have in common."""
    for name in dict.fromkeys(run.name for run in claim.runs):
        configs = [run.config for run in claim.runs if run.name == name]
        done = [run for run in results.runs if run.name == name]
        shown = [getattr(configs[0], setting) for setting in SHOWN]
        cells = [f"{value:g}" if isinstance(value, float) else str(value) for value in shown]
        said = dict(zip(SHOWN, cells, strict=True))
        if configs[0].train_images == 0:
            said["train_images"] = "all"
        if not all(run.is_trained for run in claim.runs if run.name == name):
            said |= dict.fromkeys(TRAINING, "")
        cells = list(said.values())
        seconds = statistics.mean(run.seconds for run in done)
        yield [name, ", ".join(str(c.seed) for c in configs), *cells, f"{seconds:.0f}"]


def _elsewhere(finished: Sequence[tuple[Claim, Results]]) -> str:
    rows = []
    for claim, other in ((each, other) for each, _ in finished for other in each.elsewhere):
        figure, said = show(other.published.value, other.kind), f"*{other.published.label}*"
        rows.append([claim.title, f"{other.published.of}: {other.what}", figure, said])
    if not rows:
        return ""
    header = ("Claim", "What", "Published", "Label")
    return f"## Claims on what was not run\n\n{table(header, rows)}"


def _cifar10(others: Sequence[Mapping[str, Any]]) -> str:
    command = (
        f"```\n{MADE_BY} --dataset cifar10 --published --device cuda --resume FILE --json\n```"
    )
    is_there = any(
        other["benchmark"] == "seeds" and other["setting"]["dataset"] == "cifar10"
        for other in others
    )
    said = (
        "Run on another machine; its figures stand below."
        if is_there
        else "[Results on CIFAR-10](results-cifar10.md) has those that two processor cores train "
        "in two hours a claim. With the published settings, as far as they are known, they need a "
        "GPU and days and were not run; `--epochs` shortens every run. "
        "[Run on a GPU](how-to/gpu.md) has shorter trainings, one by one."
    )
    return f"## The same claims on CIFAR-10\n\n{said}\n\n{command}"


def section_of(document: Mapping[str, Any]) -> str:
    """A saved document of any benchmark as a section."""
    setting = ", ".join(f"{name} {value}" for name, value in document["setting"].items())
    against = ", ".join(f"{name} {version}" for name, version in document["against"].items())
    load = document["foreign_load"]
    said = "unknown" if load is None else f"{load:g} cores"
    if load is not None and load > BUSY:
        said += "; timings are not to be quoted"
    rows = [
        [
            f"`{figure['name']}`",
            f"{figure['value']:.4g} {figure['unit']}".rstrip(),
            figure["better"],
            "" if figure["aim"] is None else f"{figure['aim']:.4g}",
            _reached(figure),
        ]
        for figure in document["figures"]
    ]
    return f"""## Benchmark `{document["benchmark"]}`

- Commit `{document["commit"]}`, {against}
- Machine: {document["machine"]}; other programs kept it busy: {said}
- {setting}

{table(("Figure", "Value", "Better", "Aim", "Reached"), rows)}"""


def _reached(figure: Mapping[str, Any]) -> str:
    if figure["aim"] is None:
        return ""
    value, aim = figure["value"], figure["aim"]
    is_reached = value <= aim if figure["better"] == "lower" else value >= aim
    return "yes" if is_reached else "no"


def _remake(head: Mapping[str, Any], others: Sequence[Mapping[str, Any]], path: str) -> str:
    names = [f"{other['benchmark']}.json" for other in others]
    lines = [
        f"python -m benchmarks.{other['benchmark']} --json > {name}"
        for other, name in zip(others, names, strict=True)
        if other["benchmark"] != "seeds"
    ]
    left_out = head["setting"].get("left_out", [])
    only = f" --only {' '.join(head['setting']['claims'])}" if left_out else ""
    further = f" --with {' '.join(names)}" if names else ""
    setting = head["setting"]
    sizes = " --published" if setting.get("published") else ""
    if isinstance(setting.get("epochs"), int):
        sizes += f" --epochs {setting['epochs']}"
    images = f' --images "{setting["images"]}"' if setting.get("images") else ""
    lines.append(
        f"{MADE_BY}{only} --dataset {setting['dataset']}{sizes}{images} --seeds {setting['seeds']} "
        f"--threads {setting['threads']} --resume FILE --markdown {path}{further}"
    )
    return "## To make this page again\n\n```\n" + "\n".join(lines) + "\n```"
