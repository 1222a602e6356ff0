"""Architectures and data sets of one's own are searched like those that are there."""

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from snn.data.image_files import DataError, OwnSource
from snn.settings import extensions
from snn.settings.backbones import ConvUnit
from snn.settings.extensions import ExtensionError, add_backbone, add_dataset

ROOT = Path(__file__).parent.parent
MINE = """
import numpy as np
from snn.settings.backbones import ConvUnit, ResidualUnit
from snn.settings.extensions import add_backbone, add_dataset

add_backbone("tiny", [ConvUnit(channels=1, pool=True), ResidualUnit(channels=1)], "two units")


def read(root):
    with np.load(root / "bars.npz") as file:
        return (file["train"], file["train_labels"]), (file["test"], file["test_labels"])


add_dataset("bars", image_shape=(1, 8, 8), classes=2, read=read)
"""
STUDY = """
name = "bars"
objectives = ["accuracy", "synaptic_ops"]

[budget]
trials = 2

[run]
dataset = "bars"
backbone = "tiny"
width = 4
head_hidden = 0
epochs = 3

[space]
partition = { max_blocks = 2 }
timesteps = { low = 2, high = 3 }
"""


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """A command in a folder where `mine.py` is named by a relative path."""
    environment = {**os.environ, "SPIKEFRONT_EXTENSIONS": "mine.py", "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-m", "search.commands.cli", *words],
        cwd=folder, env=environment, capture_output=True, text=True, timeout=200,
    )  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With an extension, its data (upright and lying bars) and a study of them."""
    make = """
        import numpy as np
        draws = np.random.default_rng(0)
        def part(count):
            labels = draws.integers(0, 2, count)
            images = draws.integers(0, 60, (count, 1, 8, 8)).astype(np.uint8)
            for image, label, place in zip(images, labels, draws.integers(0, 8, count)):
                image[0, :, place] = 255 if label else image[0, :, place]
                image[0, place] = image[0, place] if label else 255
            return images, labels
        (a, b), (c, d) = part(200), part(50)
        np.savez("data/bars.npz", train=a, train_labels=b, test=c, test_labels=d)
    """
    (tmp_path / "data").mkdir()
    subprocess.run([sys.executable, "-c", textwrap.dedent(make)], cwd=tmp_path, check=True)
    (tmp_path / "mine.py").write_text(MINE)
    (tmp_path / "bars.toml").write_text(STUDY)
    return tmp_path


def test_a_study_searches_them_on_workers_and_exports_what_it_found(folder: Path) -> None:
    ran = run(folder, "run", "bars.toml", "--workers", "1", "--json")
    assert ran.returncode == 0, ran.stderr
    trial = json.loads(run(folder, "show", "bars", "0", "--json").stdout)
    assert trial["state"] == "complete"
    best = json.loads(run(folder, "front", "bars", "--pick", "best:accuracy", "--json").stdout)
    assert best["points"][0]["metrics"]["accuracy"] > 0.9
    ran = run(folder, "export", "bars", "--out", "best", "--test")
    assert ran.returncode == 0, ran.stderr
    assert run(folder, "evaluate", "best").returncode == 0


def test_data_that_is_not_there_is_said_in_a_line(folder: Path) -> None:
    (folder / "data" / "bars.npz").unlink()
    ran = run(folder, "run", "bars.toml", "--workers", "0")
    assert ran.returncode == 2
    assert ran.stderr.count("\n") == 1
    assert "bars: cannot be read from" in ran.stderr
    assert "bars.npz" in ran.stderr
    assert not (folder / "runs").exists()


def test_an_extension_that_cannot_be_loaded_is_said_in_a_line(folder: Path) -> None:
    (folder / "mine.py").write_text("import no_such_module")
    ran = run(folder, "validate", "bars.toml")
    assert ran.returncode == 2
    assert ran.stderr.count("\n") == 1
    assert "mine.py: cannot be loaded: ModuleNotFoundError" in ran.stderr


@pytest.mark.parametrize(
    ("name", "units", "message"),
    [
        ("resnet7", [ConvUnit(channels=1)], "'resnet7' exists already"),
        ("Mine!", [ConvUnit(channels=1)], "must be lower-case letters"),
        ("mine", [], "units must be a list of ConvUnit"),
        ("mine", ["conv"], "units must be a list of ConvUnit"),
    ],
)
def test_architectures_that_cannot_be_are_refused(
    name: str, units: list[ConvUnit], message: str
) -> None:
    with pytest.raises(ExtensionError, match=message):
        add_backbone(name, units)


@pytest.mark.parametrize(
    ("name", "shape", "classes", "message"),
    [
        ("mnist", (1, 8, 8), 2, "'mnist' exists already"),
        ("mine", (1, 8, 9), 2, "image_shape must be"),
        ("mine", (1, 8, 8), 1, "classes must be at least 2"),
    ],
)
def test_data_sets_that_cannot_be_are_refused(
    name: str, shape: tuple[int, int, int], classes: int, message: str
) -> None:
    with pytest.raises(ExtensionError, match=message):
        add_dataset(name, image_shape=shape, classes=classes, read=lambda root: NotImplemented)
    assert "mine" not in extensions.READERS


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        ([[[[0.5]]]], [0], "images must be uint8"),
        ("uint8", [0, 1], "labels must be 1 whole numbers"),
        ("uint8", [2], "labels must be from 0 to 1, got 2 to 2"),
    ],
)
def test_what_an_extension_reads_is_checked(
    images: object, labels: list[int], message: str
) -> None:
    import numpy as np

    given = np.zeros((1, 1, 8, 8), np.uint8) if images == "uint8" else images
    source = OwnSource(name="mine", shape=(1, 8, 8), classes=2, reader=lambda root: NotImplemented)
    with pytest.raises(DataError, match=message):
        source.part(given, labels, "training")
