"""What pages find in their folder: studies of seconds, results, data, an environment."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import optuna

from dashboard.data.references import load_references
from tests import pages, quick
from tests.page_tools import cut
from tests.pages import ROOT, Swaps, surroundings
from tests.snn.data.test_data import idx_images, idx_labels

DOCS = ROOT / "docs"
FROM_NOTHING = {"README.md", "CONTRIBUTING.md", "install.md", "tutorial.md"}
# Small networks are not as good as those that pages speak of, and places are elsewhere.
SWAPS: dict[str, Swaps] = {
    "tutorial.md": [("accuracy>=0.95", "accuracy>=0.05"), ("show first 2", "show first 1")],
    "results.md": [("accuracy>=0.98", "accuracy>=0.1")],
    "sql.md": [("accuracy >= 0.98", "accuracy >= 0.1")],
    "dashboard.md": [("sqlite:////srv/results/spikefront.db", "sqlite:///runs/spikefront.db")],
    "reference.md": [
        ("accuracy>=0.9 ", "accuracy>=0.1 "),
        (" tpe-1 tpe-2 tpe-3 tpe-4 random-1 random-2 random-3 random-4 ", " digits my-study "),
        ("sqlite:///elsewhere.db", "sqlite:///runs/spikefront.db"),
        ("--set time_rule=bptt", "--set time_rule=bptt --store sqlite:///fixed.db"),
        ("/data/images", "data"),
        ("digits --out runs/digits-best", "digits --out runs/digits-best --force"),
        ("doctor --start-ray", "doctor"),  # troubleshooting.md has Ray started
    ],
}

RESULTS = (
    "run studies/digits.toml",
    "run my-study.toml",
    "confirm digits --pick knee --seeds 2",
    "export digits --out runs/digits-best",
    "export digits --out nir --nir",
    "export digits --optuna sqlite:///earlier.db",
)
FAULTY = """\
name = "bad"
objectives = ["accuracy", "synops"]
[run]
dataset = "digits"
[space]
timesteps = { low = 8, high = 2 }
target_sparsty = { low = 0.5, high = 0.9 }
"""


def prepare(folder: Path) -> Path:
    """Make a folder that `new_folder` copies."""
    shutil.copytree(ROOT / "studies", folder / "studies")
    for name in ("Makefile", "pyproject.toml", "requirements-peers.txt"):
        shutil.copy(ROOT / name, folder)
    (folder / "bad.toml").write_text(FAULTY)
    digits = (folder / "studies" / "digits.toml").read_text()
    (folder / "my-study.toml").write_text(digits.replace('"digits"', '"my-study"', 1))
    write_mnist(folder / "data" / "mnist")
    (folder / "home" / ".config" / "fish" / "completions").mkdir(parents=True)
    environment(folder / ".venv")
    cut(*map(str, [*(folder / "studies").glob("*.toml"), folder / "my-study.toml"]))
    for words in RESULTS:
        command = [quick.command(), *words.split()]
        subprocess.run(command, cwd=folder, env=surroundings(folder, True), check=True)
    earlier = optuna.load_study(study_name="digits", storage=f"sqlite:///{folder}/earlier.db")
    earlier.trials_dataframe().to_csv(folder / "earlier.csv")
    (folder / "nir" / "network.nir").rename(folder / "theirs.nir")
    shutil.copy(folder / "runs" / "digits-best" / "config.toml", folder / "my-config.toml")
    for left in ("nir", "earlier.db", "my-study.toml"):
        path = folder / left
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    return folder


def write_mnist(folder: Path) -> None:
    """160 training and 40 test images, each with a bright stripe where its class says."""
    folder.mkdir(parents=True)
    draws = np.random.default_rng(0)
    for part, count in (("train", 160), ("t10k", 40)):
        labels = np.arange(count) % 10
        images = draws.integers(0, 80, (count, 28, 28), dtype=np.uint8)
        for image, label in zip(images, labels, strict=True):
            image[2 * label + 4 : 2 * label + 7] = 250
        (folder / f"{part}-images-idx3-ubyte").write_bytes(idx_images(images))
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(idx_labels(labels))


def environment(folder: Path) -> None:
    """A `.venv` that is the running one, and newer than what it is made of.

    Its `spikefront` is the quick one, also after `activate`.
    """
    binaries = folder / "bin"
    binaries.mkdir(parents=True)
    for path in (Path(sys.prefix) / "bin").iterdir():
        if path.name not in ("spikefront", "activate"):
            (binaries / path.name).symlink_to(path)
    (binaries / "spikefront").symlink_to(quick.command())
    (binaries / "activate").write_text('PATH="$PWD/.venv/bin:$PATH"\n')
    (folder / ".installed").touch()


def new_folder(prepared: Path, folder: Path, *, with_runs: bool = True) -> Path:
    """A folder for a page; without runs nothing has been searched there yet."""
    left_out = shutil.ignore_patterns("runs") if not with_runs else None
    shutil.copytree(prepared, folder, symlinks=True, ignore=left_out)
    os.utime(folder / ".venv" / ".installed")
    return folder


def run_page(page: Path, prepared: Path, folder: Path) -> None:
    """Run a page in a copy of what was prepared."""
    is_late = page.name not in FROM_NOTHING  # there are results, and `spikefront` is found
    place = new_folder(prepared, folder / "page", with_runs=is_late)
    swaps = SWAPS.get(page.name, ())
    text = page.read_text(encoding="utf-8")
    assert [typed for typed, _ in swaps if typed not in text] == []
    pages.run(page, place, swaps=swaps, is_found=is_late)
    found = load_references(place / "studies" / "references")
    assert found.references
    assert found.faults == ()
