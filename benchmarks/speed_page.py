"""The page of speed and memory, made of what the benchmarks printed and of nothing else.

`python -m benchmarks.speed_page engine.json memory.json ... --markdown docs/results-speed.md`
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.results import section_of
from benchmarks.seeds import read_document

PER_STEP = ("time_vs_fastest_eager_peer", "time_vs_convolutions")


def page(documents: Sequence[Mapping[str, Any]]) -> str:
    """The whole page."""
    sections = [part for document in documents for part in (section_of(document), floor(document))]
    names = [document["benchmark"] for document in documents]
    files = [f"{name}-{names[:n].count(name) + 1}.json" for n, name in enumerate(names)]
    commands = "\n".join(
        f"python -m benchmarks.{document['benchmark']}{_options(document)} --json > {file}"
        for document, file in zip(documents, files, strict=True)
    )
    return "\n\n".join(
        (
            "# Speed and memory\n\n`python -m benchmarks.speed_page` writes this page; do not edit "
            "it. Each section is what one benchmark printed on a machine with nothing else to do. "
            "Ratios are of one run; *aim* is what we want to reach, and what is missed says so.",
            *(part for part in sections if part),
            f"## To make this page again\n\n```\n{commands}\npython -m benchmarks.speed_page "
            f"{' '.join(files)} --markdown docs/results-speed.md\n```\n",
        )
    )


def _options(document: Mapping[str, Any]) -> str:
    setting = document["setting"]
    given = [f" --{name} {setting[name]}" for name in ("parts", "engines") if name in setting]
    return "".join(given)


def floor(document: Mapping[str, Any]) -> str:
    """What the convolutions alone take of the fastest eager peer's step, which bounds ours."""
    found = {figure["name"]: figure["value"] for figure in document["figures"]}
    said = [
        f"{found[f'{PER_STEP[0]}_T{steps}'] / found[f'{PER_STEP[1]}_T{steps}']:.2f} at T = {steps}"
        for steps in (8, 32)
        if all(f"{name}_T{steps}" in found for name in PER_STEP)
    ]
    if not said:
        return ""
    return (
        "The convolutions alone, by the same library as the peers', take of the fastest eager "
        f"peer's step {' and '.join(said)}: no neuron, however fast, brings ours below that."
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Write the page. 2 where a file is no document of a benchmark."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("documents", nargs="+", type=Path, metavar="JSON")
    parser.add_argument("--markdown", type=Path, required=True, metavar="FILE")
    options = parser.parse_args(argv)
    try:
        documents = [read_document(path) for path in options.documents]
    except ValueError as error:
        parser.error(str(error))
    options.markdown.write_text(page(documents), encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
