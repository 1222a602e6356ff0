"""Sampler grow against TPE: trained epochs to the hypervolume that TPE has in the end.

Real trainings on digits: networks of up to six blocks, one unit in each, in a space of more than
10^6 networks. Each study has a block cache of its own. `grow_epochs_vs_tpe` is the share of TPE's
epochs after which grow has TPE's final hypervolume, the median over seeds; a seed in which it
never has it counts with the ratio 1 and is named in the lines.
"""

import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.report import Figure, Report, arguments
from search.store.store import Store
from search.study.study import study_from_toml

EPOCHS, QUICK_EPOCHS = 240, 12  # trained by each study
SEEDS, QUICK_SEEDS = 5, 1
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
[space.units]
count = {{ low = 1, high = 6 }}
per_block = 1
kind = ["c", "r", "s"]
channels = [4, 8, 16]
kernel = [3, 5]
"""


def main() -> None:
    """Run the benchmark."""
    options = arguments(__doc__ or "").parse_args()
    epochs = QUICK_EPOCHS if options.quick else EPOCHS
    seeds = QUICK_SEEDS if options.quick else SEEDS
    networks = study_from_toml(STUDY.format(sampler="grow", epochs=1, seed=0)).space.size()
    setting = {"networks": networks, "epochs": epochs, "seeds": seeds, "dataset": "digits"}
    report = Report("grow", against=("optuna",), setting=setting)
    shares = []
    for seed in range(seeds):
        goal = course("tpe", epochs, seed)[-1]
        grown = course("grow", epochs, seed)
        reached = next((spent for spent, value in grown if value >= goal[1]), None)
        shares.append(1.0 if reached is None else reached / goal[0])
        found = "never" if reached is None else f"after {reached}"
        report.line(
            f"seed {seed}: tpe {goal[1]:.4f} after {goal[0]} epochs; grow has it {found}, "
            f"and {grown[-1][1]:.4f} after {grown[-1][0]}"
        )
    median = statistics.median(shares)
    report.add(
        Figure(name="grow_epochs_vs_tpe", value=median, unit="ratio", better="lower", aim=1 / 3)
    )
    report.show(as_json=options.json)


def course(sampler: str, epochs: int, seed: int) -> list[tuple[int, float]]:
    """Return the epochs trained and the hypervolume after each trial of a new study."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "study.toml"
        path.write_text(STUDY.format(sampler=sampler, epochs=epochs, seed=seed), encoding="utf-8")
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
