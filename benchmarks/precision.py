"""Accuracy that bfloat16 costs over whole trainings: two data sets, three rules, several seeds.

Each network is trained twice from the same seed, in float32 and in bfloat16, and
measured on all test images in float32, once, after its last epoch. A training on
the same seed differs only in its roundings, so the difference of a seed is what
rounding did to it; its spread over seeds says how much of that is chance. With
`--resume FILE` every finished training is a line of that file, and the same
command goes on behind it. `--markdown FILE` writes the page.
"""

import hashlib
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from benchmarks.claims.claim import Place
from benchmarks.claims.tested import train_and_test
from benchmarks.finished import Finished
from benchmarks.report import Figure, Report, arguments, data_dir, machine
from snn.data import dataset
from snn.settings.config import RunConfig
from snn.training.environment import engine
from snn.training.precision import fastest

RULES = ("bptt", "ottt-o", "saf-e")
TYPES = ("float32", "bfloat16")
NETWORK = RunConfig(backbone="vgg5", width=8, timesteps=4, threshold=0.5, head_hidden=32)
CONFIGS = {
    "digits": NETWORK.replace(dataset="digits", epochs=10),
    "mnist": NETWORK.replace(dataset="mnist", train_images=1500, epochs=4),
}
HALVES = ("float32", "bfloat16", "points lost", "standard deviation", "lowest to highest")


@dataclass(frozen=True, kw_only=True)
class Row:
    """One data set and rule: test accuracies by seed, in both types."""

    dataset: str
    rule: str
    single: tuple[float, ...]
    half: tuple[float, ...]

    @property
    def lost(self) -> tuple[float, ...]:
        """Points of accuracy by seed that bfloat16 lost; below 0: gained."""
        return tuple(100 * (a - b) for a, b in zip(self.single, self.half, strict=True))

    @property
    def spread(self) -> float:
        """Standard deviation over seeds of the points lost."""
        return statistics.stdev(self.lost) if len(self.lost) > 1 else 0.0

    def cells(self) -> list[str]:
        """Of a table."""
        lost = self.lost
        return [
            self.dataset,
            f"`{self.rule}`",
            f"{100 * statistics.mean(self.single):.2f} %",
            f"{100 * statistics.mean(self.half):.2f} %",
            f"{statistics.mean(lost):+.2f}",
            f"{self.spread:.2f}",
            f"{min(lost):+.2f} to {max(lost):+.2f}",
        ]

    def figures(self) -> Iterator[Figure]:
        """Points lost and their spread."""
        name = f"points_lost_{self.dataset}_{self.rule}"
        unit = "points"
        yield Figure(name=name, value=statistics.mean(self.lost), unit=unit, better="lower")
        yield Figure(name=f"{name}_spread", value=self.spread, unit=unit, better="lower")


def configs(names: Sequence[str], *, quick: bool) -> dict[tuple[str, str], RunConfig]:
    """The trainings without seed and type, by data set and rule."""
    found = {}
    for name in names:
        for rule in RULES:
            config = CONFIGS[name].replace(time_rule=rule)
            found[name, rule] = config.replace(epochs=1, train_images=200) if quick else config
    return found


def measured(config: RunConfig, place: Place, finished: Finished) -> Mapping[str, float]:
    """Test metrics of a training, run once."""
    known = finished.get(config.fingerprint)
    if known is None:
        known = {"accuracy": train_and_test(config, place)["accuracy"]}
        finished.put(config.fingerprint, known)
    return known


def page(rows: Sequence[Row], *, report: Report, seeds: int) -> str:
    """Markdown."""
    document = report.document()
    head = ["data", "rule", *HALVES]
    table = [head, ["---"] * len(head), *(row.cells() for row in rows)]
    lines = "\n".join("| " + " | ".join(cells) + " |" for cells in table)
    images = ", ".join(
        f"{name} "
        + (f"{count:,}" if (count := CONFIGS[name].train_images) else "all")
        + f" in {CONFIGS[name].epochs} epochs"
        for name in dict.fromkeys(row.dataset for row in rows)
    )
    return f"""# Half precision, measured

What `precision = "bfloat16"` costs in accuracy over whole trainings. This page is written by
`python -m benchmarks.precision`; nobody edits it.

Each network (VGG-5 of width {NETWORK.width}, T = {NETWORK.timesteps}) is trained from
{seeds} seeds in float32 and in bfloat16, and measured on all test images once, in float32, after
its last epoch. Training images, less those held out for validation: {images}.
Points lost are float32 less bfloat16 of the same seed, so below zero bfloat16 was better.

{lines}

Standard deviation, lowest and highest are of the points lost, over seeds. A mean within one
standard deviation of zero is not told from no loss by {seeds} seeds.

Commit `{document["commit"]}`, torch {torch.__version__}, {document["machine"]}; `auto` is
{fastest("cpu")}. Written by:

```
python -m benchmarks.precision --seeds {seeds} --markdown docs/results-precision.md
```
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Train, print, and write the page."""
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument("--datasets", nargs="+", choices=CONFIGS, default=list(CONFIGS))
    parser.add_argument("--seeds", type=int, default=3, help="of each training (default 3)")
    parser.add_argument("--threads", type=int, default=1, help="of the processor (default 1)")
    parser.add_argument("--resume", type=Path, metavar="FILE", help="keep finished trainings there")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the page")
    options = parser.parse_args(argv)
    if options.markdown and options.quick:
        parser.error("--markdown needs trainings at full size: leave out --quick")
    there = dataset.available(data_dir())
    for name in options.datasets:
        if there[name] is not None:
            parser.error(str(there[name]))
    stamp = {
        "engine": engine(),
        "torch": torch.__version__,
        "machine": hashlib.sha256(f"{machine()}, {options.threads}".encode()).hexdigest()[:16],
    }
    place = Place(data=data_dir(), threads=options.threads)
    finished = Finished(options.resume, stamp)
    report = Report("precision", setting={"seeds": options.seeds, "quick": options.quick})
    rows = []
    for (name, rule), config in configs(options.datasets, quick=options.quick).items():
        found: dict[str, list[float]] = {kind: [] for kind in TYPES}
        for seed in range(options.seeds):
            for kind in TYPES:
                run = config.replace(seed=seed, precision=kind)
                found[kind].append(measured(run, place, finished)["accuracy"])
        row = Row(
            dataset=name, rule=rule, single=tuple(found[TYPES[0]]), half=tuple(found[TYPES[1]])
        )
        rows.append(row)
        report.line("  " + "  ".join(row.cells()))
        for figure in row.figures():
            report.add(figure)
    report.show(as_json=options.json)
    if options.markdown:
        options.markdown.write_text(
            page(rows, report=report, seeds=options.seeds), encoding="utf-8"
        )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
