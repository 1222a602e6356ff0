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
from pathlib import Path

from benchmarks.finished import Finished
from benchmarks.report import Figure, Report, arguments, commit
from search.store.store import Store
from search.study.study import study_from_toml

EPOCHS, QUICK_EPOCHS = 240, 12  # trained by each study
SEEDS, QUICK_SEEDS, FIRST_SEED = 10, 1, 5
AIM = 1 / 3
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


def main() -> None:
    """Run the benchmark."""
    options = _options()
    epochs = QUICK_EPOCHS if options.quick else EPOCHS
    networks = study_from_toml(study_text("grow", 1, 0)).space.size()
    seeds = range(options.first, options.first + options.seeds)
    setting = {"networks": networks, "epochs": epochs, "dataset": "digits"}
    report = Report(
        "grow", against=("optuna",), setting={**setting, "seeds": f"{seeds[0]} to {seeds[-1]}"}
    )
    finished = Finished(options.resume, {"commit": commit()})
    shares = []
    for seed in seeds:
        courses = {}
        for sampler in ("tpe", "grow"):
            key = f"{sampler} {seed} {epochs}"
            known = finished.get(key)
            if known is None:
                known = {"course": course(sampler, epochs, seed)}
                finished.put(key, known)
            courses[sampler] = known["course"]
        spent, goal = courses["tpe"][-1]
        grown = courses["grow"]
        reached = next((epochs for epochs, value in grown if value >= goal), None)
        shares.append(1.0 if reached is None else reached / spent)
        found = "never" if reached is None else f"after {reached}"
        report.line(
            f"seed {seed}: tpe {goal:.4f} after {spent} epochs; grow has it {found}, "
            f"and {grown[-1][1]:.4f} after {grown[-1][0]}"
        )
        _add(report, f"grow_epochs_vs_tpe_seed_{seed}", shares[-1])
    _add(report, "grow_epochs_vs_tpe", statistics.median(shares), AIM)
    report.show(as_json=options.json)


def _options() -> argparse.Namespace:
    parser = arguments(__doc__ or "")
    parser.add_argument("--first", type=int, default=FIRST_SEED, help="the first seed")
    parser.add_argument("--seeds", type=int, help="how many")
    parser.add_argument("--resume", type=Path, help="a file that keeps what is finished")
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
