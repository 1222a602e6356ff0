"""Sampler grow against TPE: trained epochs to the hypervolume that TPE has in the end.

Real trainings on digits: networks of up to six blocks, one unit in each, in a space of more than
10^6 networks. Each study has a block cache of its own. `grow_epochs_vs_tpe` is the share of TPE's
epochs after which grow has TPE's final hypervolume, the median over seeds; a seed in which it
never has it counts with the ratio 1 and is named in the lines. The model of blocks was made with
seeds 0 to 4, which are therefore not among those that are run.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.finished import Finished
from benchmarks.report import Figure, Report, arguments, commit
from benchmarks.results import table
from search.store.store import Store
from search.study.study import study_from_toml

EPOCHS, QUICK_EPOCHS = 240, 12  # trained by each study
SEEDS, QUICK_SEEDS, FIRST_SEED = 10, 1, 5
AIM = 1 / 3
MADE_BY = "python -m benchmarks.grow"
UNITS = """
[space.units]
count = { low = 1, high = 6 }
per_block = 1
kind = ["c", "r", "s"]
channels = [4, 8, 16]
kernel = [3, 5]
"""
STUDY = """
name = "{sampler}"
objectives = ["accuracy", "synaptic_ops"]
[budget]
trials = 10_000
epochs = {epochs}
workers = 0
[run]
dataset = "digits"
width = 8
train_images = 400
epochs = 2
timesteps = 3
head_hidden = 0
learning_rate = 0.02
[search]
sampler = "{sampler}"
seed = {seed}
[search.reference]
synaptic_ops = 50_000
"""


@dataclass(frozen=True, kw_only=True)
class Pair:
    """The courses of TPE and grow with one seed: epochs trained and hypervolume, by trial."""

    seed: int
    tpe: Sequence[tuple[int, float]]
    grow: Sequence[tuple[int, float]]
    commits: tuple[str, ...]

    @property
    def reached(self) -> int | None:
        """Epochs after which grow has the final hypervolume of TPE; None: never."""
        return next((spent for spent, value in self.grow if value >= self.tpe[-1][1]), None)

    @property
    def share(self) -> float:
        """Of the epochs of TPE."""
        return 1.0 if self.reached is None else self.reached / self.tpe[-1][0]


def main() -> None:
    """Run the benchmark."""
    options = _options()
    epochs = QUICK_EPOCHS if options.quick else EPOCHS
    networks = study_from_toml(study_text("grow", 1, 0)).space.size()
    seeds = range(options.first, options.first + options.seeds)
    setting = {"networks": networks, "epochs": epochs, "dataset": "digits"}
    setting["seeds"] = f"{seeds[0]} to {seeds[-1]}"
    report = Report("grow", against=("optuna",), setting=setting)
    finished = Finished(options.resume, {})
    pairs = []
    for seed in seeds:
        pairs.append(pair := _pair(seed, epochs, finished))
        (spent, goal), (grown, value) = pair.tpe[-1], pair.grow[-1]
        found = "never" if pair.reached is None else f"after {pair.reached}"
        report.line(
            f"seed {seed}: tpe {goal:.4f} after {spent} epochs; grow has it {found}, "
            f"and {value:.4f} after {grown}"
        )
        _add(report, f"grow_epochs_vs_tpe_seed_{seed}", pair.share)
    _add(report, "grow_epochs_vs_tpe", statistics.median(pair.share for pair in pairs), AIM)
    if options.markdown:
        options.markdown.write_text(page(report.document(), pairs), encoding="utf-8")
    report.show(as_json=options.json)


def _pair(seed: int, epochs: int, finished: Finished) -> Pair:
    courses, commits = {}, set()
    for sampler in ("tpe", "grow"):
        key = f"{sampler} {seed} {epochs}"
        known = finished.get(key)
        if known is None:
            known = {"course": course(sampler, epochs, seed), "commit": commit()}
            finished.put(key, known)
        courses[sampler] = [(spent, value) for spent, value in known["course"]]
        commits.add(known["commit"])
    return Pair(seed=seed, commits=tuple(sorted(commits)), **courses)


def page(head: Mapping[str, Any], pairs: Sequence[Pair]) -> str:
    """Return the page docs/results-growing.md; `head` is the document of the benchmark."""
    rows = [
        (
            str(pair.seed),
            f"{pair.tpe[-1][1]:.4f}",
            str(pair.tpe[-1][0]),
            "never" if pair.reached is None else str(pair.reached),
            f"{pair.grow[-1][1]:.4f}",
            f"{pair.share:.2f}",
        )
        for pair in pairs
    ]
    header = (
        "Seed",
        "TPE's hypervolume at the end",
        "its epochs",
        "grow has it after epochs",
        "grow's at the end",
        "Share",
    )
    median = statistics.median(pair.share for pair in pairs)
    aim = "reached" if median <= AIM else "missed"
    setting = head["setting"]
    commits = ", ".join(sorted({made for pair in pairs for made in pair.commits}))
    return f"""# Results: growing

Trained epochs after which the [sampler `grow`](how-to/sampler.md#grow-block-by-block) has the final
hypervolume of TPE. `{MADE_BY} --markdown` writes this page; do not edit it. Conclusions:
[decision 0064](decisions/0064-grow-by-a-model-of-blocks.md).

Real trainings on the digits: a space of {setting["networks"]:,} networks of one to six blocks,
accuracy against synaptic operations, {setting["epochs"]} epochs for each study, one worker, a
block cache of its own. The model of `grow` was made with seeds 0 to {FIRST_SEED - 1}, which are
not shown.

{table(header, rows)}

Median share **{median:.2f}** over the seeds shown; the aim of one third is {aim}. A seed in
which grow never has TPE's hypervolume counts with the share 1.

- Trained with commit {commits}, optuna {head["against"]["optuna"]}

```
{MADE_BY} --first {pairs[0].seed} --seeds {len(pairs)} --markdown docs/results-growing.md
```
"""


def _options() -> argparse.Namespace:
    parser = arguments(__doc__ or "")
    parser.add_argument("--first", type=int, default=FIRST_SEED, help="the first seed")
    parser.add_argument("--seeds", type=int, help="how many")
    parser.add_argument("--resume", type=Path, help="a file that keeps what is finished")
    parser.add_argument("--markdown", type=Path, help="write the page of results there")
    options = parser.parse_args()
    options.seeds = options.seeds or (QUICK_SEEDS if options.quick else SEEDS)
    return options


def _add(report: Report, name: str, value: float, aim: float | None = None) -> None:
    report.add(Figure(name=name, value=value, unit="ratio", better="lower", aim=aim))


def study_text(sampler: str, epochs: int, seed: int) -> str:
    """Return the study file of a sampler and a seed."""
    return STUDY.format(sampler=sampler, epochs=epochs, seed=seed) + UNITS


def course(sampler: str, epochs: int, seed: int) -> list[tuple[int, float]]:
    """Return the epochs trained and the hypervolume after each trial of a new study."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "study.toml"
        path.write_text(study_text(sampler, epochs, seed), encoding="utf-8")
        store = f"sqlite:///{folder}/store.db"
        words = ["run", str(path), "--store", store, "--artifacts", f"{folder}/weights"]
        subprocess.run(
            [sys.executable, "-m", "search.commands.cli", *words],
            env={**os.environ, "XDG_CACHE_HOME": folder},
            stdout=subprocess.DEVNULL,
            check=True,
        )
        with Store(store, read_only=True) as opened:
            return [(record.epochs, record.value) for record in opened.hypervolume(sampler)]


if __name__ == "__main__":
    main()
