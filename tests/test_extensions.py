"""Extensions: architectures and data sets of users are searched like the built-in ones."""

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from snn.data.image_files import DataError, OwnSource, Part, suspicions
from snn.extensions import (
    ConvUnit,
    DenseUnit,
    ExtensionError,
    ResidualUnit,
    Unit,
    add_backbone,
    add_dataset,
    add_unit,
    size,
)
from snn.settings import extensions
from snn.settings.units import KINDS
from tests import quick

DOOR = "from snn.extensions import ConvUnit, ResidualUnit, add_backbone, add_dataset"
FORMER_DOOR = """
from snn.backbones import ConvUnit, ResidualUnit
from snn.extensions import add_backbone, add_dataset
"""
MINE = """
import numpy as np

add_backbone("tiny", [ConvUnit(channels=1, pool=True), ResidualUnit(channels=1)], "two units")


def read(root):
    with np.load(root / "bars.npz") as file:
        return (file["train"], file["train_labels"]), (file["test"], file["test_labels"])


add_dataset("bars", image_shape=(1, 8, 8), classes=2, read=read)
"""
REAL = Path(sys.executable).with_name("spikefront")
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


def run(folder: Path, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """A command in a folder where `mine.py` is named by a relative path."""
    environment = {**os.environ, "SPIKEFRONT_EXTENSIONS": "mine.py"}
    command = str(REAL) if "PYTHONWARNINGS" in variables else quick.command()  # read at the start
    return subprocess.run(
        [command, *words],
        cwd=folder, env=environment | variables, capture_output=True, text=True, timeout=200,
    )  # fmt: skip


def bars(generator: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Grey noise with a white bar, upright (class 1) or lying (class 0)."""
    labels = generator.integers(0, 2, count)
    images = generator.integers(0, 60, (count, 1, 8, 8)).astype(np.uint8)
    for image, label, place in zip(images, labels, generator.integers(0, 8, count), strict=True):
        bar = image[0].T if label else image[0]
        bar[place] = 255
    return images, labels


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with an extension, its data and a study of them."""
    generator = np.random.default_rng(0)
    (train, train_labels), (test, test_labels) = bars(generator, 200), bars(generator, 50)
    (tmp_path / "data").mkdir()
    np.savez(
        tmp_path / "data" / "bars.npz",
        train=train, train_labels=train_labels, test=test, test_labels=test_labels,
    )  # fmt: skip
    (tmp_path / "mine.py").write_text(DOOR + MINE)
    (tmp_path / "bars.toml").write_text(STUDY)
    return tmp_path


def refused(folder: Path, *words: str) -> str:
    """What a command writes to stderr that ends with exit code 2: one line."""
    ran = run(folder, *words)
    assert (ran.returncode, ran.stderr.count("\n")) == (2, 1), ran.stderr
    return ran.stderr


def test_a_study_searches_them_on_workers_and_exports_a_network(folder: Path) -> None:
    ran = run(folder, "run", "bars.toml", "--workers", "1", "--json")
    assert ran.returncode == 0, ran.stderr
    trial = json.loads(run(folder, "show", "bars", "0", "--json").stdout)
    assert trial["state"] == "complete"
    best = json.loads(run(folder, "front", "bars", "--pick", "best:accuracy", "--json").stdout)
    assert best["points"][0]["metrics"]["accuracy"] > 0.9
    ran = run(folder, "export", "bars", "--out", "best", "--test")
    assert ran.returncode == 0, ran.stderr
    assert run(folder, "evaluate", "best").returncode == 0
    missing = run(folder, "status", "bars", SPIKEFRONT_EXTENSIONS="")
    assert missing.returncode == 2
    hint = "got 'bars'; if an extension defines it, name the extension in SPIKEFRONT_EXTENSIONS"
    assert hint in missing.stderr


@pytest.mark.parametrize(("door", "warns"), [(DOOR, False), (FORMER_DOOR, True)])
def test_the_former_imports_still_load_with_a_deprecation_warning(
    folder: Path, door: str, warns: bool
) -> None:
    (folder / "mine.py").write_text(door + MINE)
    ran = run(folder, "backbones", PYTHONWARNINGS="always::DeprecationWarning")
    assert ran.returncode == 0, ran.stderr
    assert "tiny" in ran.stdout
    message = "mine.py:2: DeprecationWarning: snn.backbones has moved: import ConvUnit"
    assert (message in ran.stderr) == warns
    assert ("snn." in ran.stderr) == warns
    assert run(folder, "validate", "bars.toml").stderr == ""


def test_a_missing_file_is_reported_in_one_line_and_nothing_is_written(folder: Path) -> None:
    (folder / "data" / "bars.npz").unlink()
    said = refused(folder, "run", "bars.toml", "--workers", "0")
    assert "bars: cannot be read from" in said
    assert "bars.npz" in said
    assert not (folder / "runs").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import no_such_module", "cannot be loaded: ModuleNotFoundError"),
        ("raise SystemExit(3)", "cannot be loaded: SystemExit: 3"),
        ("raise RuntimeError('\\n first \\n second')", "cannot be loaded: RuntimeError: first"),
    ],
)
def test_an_extension_that_cannot_be_loaded_is_reported_in_one_line(
    folder: Path, text: str, message: str
) -> None:
    (folder / "mine.py").write_text(text)
    assert f"mine.py: {message}" in refused(folder, "validate", "bars.toml")


def test_a_damaged_file_stops_run_with_one_line_and_doctor_lists_it(folder: Path) -> None:
    """A truncated .npz raises zipfile.BadZipFile, which is no OSError."""
    path = folder / "data" / "bars.npz"
    path.write_bytes(path.read_bytes()[:-40])
    assert "bars: cannot be read from" in (said := refused(folder, "run", "bars.toml"))
    assert "BadZipFile" in said
    checks = json.loads(run(folder, "doctor", "--json").stdout)["checks"]
    (found,) = [check for check in checks if check["name"] == "data: bars"]
    assert found["status"] == "missing"
    assert "BadZipFile" in found["finding"]


@pytest.mark.parametrize(
    ("name", "units", "message"),
    [
        ("resnet7", [ConvUnit(channels=1)], "'resnet7' exists already"),
        ("Mine!", [ConvUnit(channels=1)], "must be lower-case letters"),
        ("mine", [], "units must be a list of units .ConvUnit"),
        ("mine", ["conv"], "units must be a list of units .ConvUnit"),
        ("mine", 3, "units must be a list of units .ConvUnit"),
        ("mine", [ConvUnit(channels=0)], "unit 1: channels must be an integer above 0, got 0"),
        ("mine", [ConvUnit(channels=1, kernel=2.5)], "unit 1: kernel must be an integer above 0"),
        ("mine", [DenseUnit(neurons=1), DenseUnit(neurons=True)], "unit 2: neurons must be"),
        (
            "mine",
            [ResidualUnit(channels=1, skip="no")],
            "skip must be one of conv, identity, none, got .no.",
        ),
    ],
)
def test_invalid_architectures_are_refused(name: str, units: Any, message: str) -> None:
    with pytest.raises(ExtensionError, match=message):
        add_backbone(name, units)


@dataclass(frozen=True, kw_only=True)
class Taken(Unit):
    letter: ClassVar[str] = "c"
    channels: int = size("channels")


class Sizeless(Unit):
    letter: ClassVar[str] = "x"


class Lettered(Unit):
    letter: ClassVar[str] = "xy"


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (Taken, "unit Taken: letter 'c' is that of ConvUnit; use another one"),
        (Sizeless, "unit Sizeless: must be a dataclass with a size"),
        (Lettered, "unit Lettered: letter must be a lower-case letter, got 'xy'"),
        (Unit, "unit Unit: letter must be a lower-case letter, got None"),
        ("c", "a unit must be a subclass of Unit, got 'c'"),
    ],
)
def test_invalid_units_are_refused(kind: Any, message: str) -> None:
    with pytest.raises(ExtensionError, match=message):
        add_unit(kind)
    assert "x" not in KINDS


def test_a_text_is_an_architecture_and_its_faults_have_their_place() -> None:
    with pytest.raises(ExtensionError, match="backbone 'mine': unit 2 \"q8\": unknown kind q"):
        add_backbone("mine", "c8 q8")


def reader(root: Path) -> Any:
    raise AssertionError("is not called")


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("mnist", {}, "'mnist' exists already"),
        ("mine", {"image_shape": (1, 8, 0)}, "image_shape must be"),
        ("mine", {"image_shape": (True, 8, 8)}, "image_shape must be"),
        ("mine", {"image_shape": 64}, "image_shape must be"),
        ("mine", {"classes": 1}, "classes must be at least 2"),
        ("mine", {"classes": "two"}, "classes must be at least 2"),
        ("mine", {"read": "bars.npz"}, "read must be a function of the data folder, got str"),
    ],
)
def test_invalid_data_sets_are_refused(name: str, given: dict[str, Any], message: str) -> None:
    valid: dict[str, Any] = {"image_shape": (1, 8, 8), "classes": 2, "read": reader}
    with pytest.raises(ExtensionError, match=message):
        add_dataset(name, **(valid | given))
    assert "mine" not in extensions.READERS


IMAGES, LABELS = np.arange(128, dtype=np.uint8).reshape(2, 1, 8, 8), np.array([0, 1])
PART = (IMAGES, LABELS)


def source(result: Any) -> OwnSource:
    """A data set whose reader returns `result`, or raises it if it is an error."""

    def read(root: Path) -> Any:
        if isinstance(result, BaseException):
            raise result
        return result

    return OwnSource(name="mine", shape=(1, 8, 8), classes=2, reader=read)


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (
            IndexError("list index\nout of range"),
            "cannot be read from data: IndexError: list index",
        ),
        (RuntimeError(), "cannot be read from data: RuntimeError: no message"),
        (MemoryError(), "cannot be read from data: MemoryError: no message"),
        (SystemExit(1), "cannot be read from data: SystemExit: 1"),
        (KeyError("train"), "cannot be read from data: KeyError: 'train'"),
        (None, "`read` must return .*, got None"),
        ((IMAGES[[0, 1, 0]], 0), r"`read` must return .*, got tuple of 2 \(ndarray, int\)"),
        ((PART,), r"`read` must return .*, got tuple of 1 \(tuple of 2 \(ndarray, ndarray\)\)"),
        (((*PART, 0), (*PART, 0)), r"`read` must return .*, got tuple of 2 \(tuple of 3 \("),
        ((([IMAGES[0], [1]], LABELS), PART), "training images must be a numpy array, got Value"),
        ((PART, (IMAGES, [[0], [0, 1]])), "test labels must be a numpy array, got ValueError"),
        ((([[[[0.5]]]], [0]), PART), "training images must be uint8"),
        (((None, LABELS), PART), "training images must be uint8 .*, got object of shape"),
        ((PART, (IMAGES, [0])), "test labels must be 2 integers"),
        ((PART, (IMAGES, [0, 2])), "test labels must be from 0 to 1, got 0 to 2; correct `read`"),
    ],
)
def test_every_error_and_result_of_a_reader_is_one_line_with_the_data_set_s_name(
    result: object, message: str
) -> None:
    with pytest.raises(DataError, match=f"^mine: {message}") as caught:
        source(result).check(Path("data"))
    assert "\n" not in str(caught.value)
    assert source((PART, PART)).read(Path("data"))[0].labels.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("images", "labels", "found"),
    [
        (IMAGES, [0, 1], []),
        (IMAGES, [1, 1], ["no training image has class 0 of 2", "100.0 % .* have class 1; "]),
        (IMAGES % 2, [0, 1], ["only pixels 0 and 1 of 0 to 255; multiply them by 255"]),
        (IMAGES * 0, [0, 1], ["every pixel of the training images is 0"]),
    ],
)
def test_suspicious_data_is_reported(
    images: np.ndarray, labels: list[int], found: list[str]
) -> None:
    train, test = Part(images, np.array(labels)), Part(IMAGES, LABELS)
    lines = suspicions("mine", train, test, 2)
    assert len(lines) == len(found)
    assert all(re.search(f"^mine: .*{part}", line) for line, part in zip(lines, found, strict=True))


def test_classes_without_a_test_image_are_listed_up_to_ten() -> None:
    (line,) = suspicions("mine", Part(IMAGES, np.arange(2)), Part(IMAGES, np.zeros(2, int)), 2)
    assert line == "mine: no test image has class 1 of 2"
    for classes, more in ((12, ""), (13, ", ...")):
        lines = suspicions("mine", Part(IMAGES, LABELS), Part(IMAGES, LABELS), classes)
        assert lines[0] == (
            f"mine: no training image has classes 2, 3, 4, 5, 6, 7, 8, 9, 10, 11{more} of {classes}"
        )


def test_validate_and_run_print_suspicious_data_and_go_on(folder: Path) -> None:
    path = folder / "data" / "bars.npz"
    with np.load(path) as file:
        arrays = dict(file)
    np.savez(path, **(arrays | {"train": arrays["train"] // 255}))
    for words in (["validate"], ["run", "--workers", "0", "--trials", "1"]):
        ran = run(folder, words[0], "bars.toml", *words[1:])
        assert ran.returncode == 0, ran.stderr
        assert "spikefront: bars: the training images have only pixels 0 and 1" in ran.stderr
    path.unlink()
    ran = run(folder, "validate", "bars.toml")  # the study may run elsewhere
    assert ran.returncode == 0, ran.stderr
    assert "spikefront: not checked: bars: cannot be read from data: " in ran.stderr
    path.write_bytes(b"damaged")
    assert "spikefront: bars: cannot be read from data: " in refused(
        folder, "validate", "bars.toml"
    )
