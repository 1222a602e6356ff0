"""CONTRIBUTING names files that exist, and a new part is one file and at most one line.

Each kind is added to a copy of the packages as somebody from outside would add it, and used there.
Kinds that other files add from outside: commands in `tests/search/commands/test_registry.py`,
time rules, rewiring and surrogates in `tests/snn/rules/test_own_methods.py`, samplers and
pruners in `tests/search/samplers/test_added_methods.py`.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests import quick

ROOT = Path(__file__).parent.parent
TABLE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").partition("| new | file |")[2]
ROWS = [row.split("|")[1:-1] for row in TABLE.partition("\n\n")[0].splitlines()[2:]]
METRIC_PAGE = ROOT / "docs" / "dev" / "add-a-metric.md"

STUDY = """
name = "tiny"
objectives = ["accuracy", "{objective}"]
[budget]
trials = 1
workers = 0
[run]
dataset = "{dataset}"
{architecture}
width = 4
head_hidden = 0
train_images = 60
epochs = 1
timesteps = 2
{settings}
[space]
learning_rate = [0.01]
"""


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the packages, which each test copies again."""
    folder = tmp_path_factory.mktemp("packages")
    for name in ("snn", "search", "dashboard", "studies"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


@pytest.fixture
def tree(packages: Path, tmp_path: Path) -> Path:
    """A copy of the packages that a test may change."""
    return shutil.copytree(packages, tmp_path / "tree")


def insert_after(file: Path, line: str, new: str) -> None:
    """Add text after the only line of a file that begins with `line`, spaces aside."""
    lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
    (place,) = [k for k, text in enumerate(lines) if text.strip().startswith(line)]
    lines.insert(place + 1, new.rstrip("\n") + "\n")
    file.write_text("".join(lines), encoding="utf-8")


def replace_once(file: Path, old: str, new: str) -> None:
    """Replace a text that a file has exactly once."""
    text = file.read_text(encoding="utf-8")
    assert text.count(old) == 1, f"{old!r} in {file.name}"
    file.write_text(text.replace(old, new), encoding="utf-8")


def search(
    tree: Path,
    *,
    objective: str = "parameters",
    settings: str = "",
    dataset: str = "digits",
    backbone: str = "mlp",
    architecture: str = "",
    extension: Path | None = None,
) -> str:
    """Run a study of one tiny trial, and return its front with every metric."""
    named = f'architecture = "{architecture}"' if architecture else f'backbone = "{backbone}"'
    study = STUDY.format(
        objective=objective, settings=settings, dataset=dataset, architecture=named
    )
    (tree / "tiny.toml").write_text(study, encoding="utf-8")
    variables = {} if extension is None else {"SPIKEFRONT_EXTENSIONS": str(extension)}

    def spikefront(*words: str) -> str:
        command = quick.Module("search.commands.cli", *words, folder=tree, environment=variables)
        return command.output()

    spikefront("run", "tiny.toml")
    return spikefront("front", "tiny", "--all-metrics", "--json")


def test_the_table_has_a_row_for_each_kind() -> None:
    kinds = {row[0].strip() for row in ROWS}
    assert kinds >= {
        "time rule", "rewiring", "unit", "surrogate", "data set", "encoding",
        "sampler", "pruner", "metric", "command", "page of the dashboard",
    }  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0].strip())
def test_the_table_names_files_and_names_that_exist(row: list[str]) -> None:
    """NAME stands for a new file; its folder has to exist, and what is listed in it."""
    cells = re.findall(r"`([^`]+)`", " ".join(row[1:]))
    paths = [ROOT / cell for cell in cells if "/" in cell]
    assert paths
    for path in paths:
        assert (path.parent if "NAME" in path.name else path).exists(), path
    sources = [path for path in paths if path.suffix == ".py" and path.exists()]
    text = "\n".join(path.read_text(encoding="utf-8") for path in sources)
    for name in (cell for cell in cells if re.fullmatch(r"[A-Z_]+|[a-z_]+", cell)):
        assert re.search(rf"\b{name}\b", text), f"{name} is in none of {sources}"


def test_a_metric_is_added_as_its_page_says(tree: Path) -> None:
    """The page's five changes, applied at the places that it names."""
    diffs = re.findall(r"```diff\n(.*?)```", METRIC_PAGE.read_text(encoding="utf-8"), re.DOTALL)
    declaration, value, migration = (re.sub(r"(?m)^ *\+", "", diff) for diff in diffs)
    measurement = tree / "snn" / "settings" / "measurement.py"
    insert_after(measurement, "_ALL = (", declaration)
    points = tree / "snn" / "evaluation" / "operating_points.py"
    insert_after(points, '"est_energy_nj":', value)
    schema = tree / "search" / "store" / "schema.py"
    text = schema.read_text(encoding="utf-8")
    older = re.findall(r'REVISION = "(\d+)"', text)[0]
    newer = f"{int(older) + 1:04}"
    assert f'revision = "{newer}"\ndown_revision = "{older}"' in migration, "the page's number"
    schema.write_text(text.replace(f'REVISION = "{older}"', f'REVISION = "{newer}"'))
    versions = tree / "search" / "store" / "migrations" / "versions"
    (versions / f"{newer}_energy_times_delay.py").write_text(migration.lstrip("\n"))
    assert '"energy_delay"' in search(tree, objective="energy_delay")


ENCODING = """

@encoding("first-spike")
def first_spike(images, mean, std, *, timesteps, generator):
    values = to_unit(images)
    times = ((1 - values) * (timesteps - 1)).round()
    steps = torch.arange(timesteps, device=images.device).view(-1, 1, 1, 1, 1)
    return (steps == times).to(values) * (values > 0)
"""


def test_an_encoding_is_a_function_and_a_name(tree: Path) -> None:
    with (tree / "snn" / "data" / "encoding.py").open("a") as file:
        file.write(ENCODING)
    replace_once(
        tree / "snn" / "settings" / "declared" / "data.py", '("direct", "poisson",',
        '("direct", "poisson", "first-spike",',
    )  # fmt: skip
    front = search(tree, settings='encoding = "first-spike"', objective="macs")
    assert re.search(r'"macs": 0\b', front), "the first layer gets spikes, no real numbers"


UNIT = """
from dataclasses import dataclass
from typing import ClassVar

from snn.settings.units.unit import LayerPlan, Links, Unit, size


@dataclass(frozen=True, kw_only=True)
class {name}(Unit):
    letter: ClassVar[str] = "{letter}"
    neurons: int = size("neurons")

    def layers(self, source, count):
        first = LayerPlan(name="wide", label="wide", size=2 * count, links=(Links(kernel=0),))
        both = (Links(source="wide", kernel=0), Links(kernel=0))
        return first, LayerPlan(name="narrow", label="narrow", size=count, links=both)
"""


def test_a_unit_is_a_file_and_a_line(tree: Path) -> None:
    units = tree / "snn" / "settings" / "units"
    (units / "twice.py").write_text(UNIT.format(name="TwiceUnit", letter="t"))
    listing = "from snn.settings.units.twice import TwiceUnit\n\n_KINDS: tuple[type[Unit], ...] = ("
    replace_once(
        units / "__init__.py", "_KINDS: tuple[type[Unit], ...] = (", f"{listing}TwiceUnit, "
    )
    front = search(tree, architecture="t6 d5", settings="target_sparsity = 0.5")
    assert '"accuracy"' in front


@pytest.mark.parametrize("given", [{"backbone": "mine"}, {"architecture": "t6 d5"}])
def test_a_unit_comes_from_an_extension(tree: Path, tmp_path: Path, given: dict[str, str]) -> None:
    extension = tmp_path / "mine.py"
    door = "from snn.extensions import LayerPlan, Links, Unit, add_backbone, add_unit, size"
    unit = UNIT.format(name="TwiceUnit", letter="t")
    unit = unit.replace("from snn.settings.units.unit import LayerPlan, Links, Unit, size", door)
    extension.write_text(f"{unit}\nadd_unit(TwiceUnit)\nadd_backbone('mine', 't6 d5')\n")
    assert '"accuracy"' in search(tree, extension=extension, **given)


def test_a_page_of_the_dashboard_is_a_file_and_a_line(tree: Path) -> None:
    view = "import streamlit as st\n\nst.title('A page from outside')\n"
    (tree / "dashboard" / "views" / "outside.py").write_text(view)
    line = 'st.Page("views/outside.py", title="Outside"),'
    insert_after(tree / "dashboard" / "app.py", 'st.Page("views/studies.py"', f"        {line}")
    shows = (
        "from streamlit.testing.v1 import AppTest\n"
        "app = AppTest.from_file('dashboard/app.py', default_timeout=120)\n"
        "app.run().switch_page('views/outside.py').run()\n"
        "assert not app.exception\n"
        "print(app.title[0].value)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", shows],
        cwd=tree, env={**os.environ, "PYTHONPATH": str(tree)},
        capture_output=True, text=True, timeout=200,
    )  # fmt: skip
    assert "A page from outside" in done.stdout, done.stderr


def test_an_architecture_and_a_data_set_are_a_file_outside_of_the_packages(
    tree: Path, tmp_path: Path
) -> None:
    extension = tmp_path / "mine.py"
    extension.write_text(
        "import numpy as np\n"
        "from snn.extensions import DenseUnit, add_backbone, add_dataset\n"
        "draws = np.random.default_rng(0)\n"
        "def part(count):\n"
        "    labels = np.arange(count) % 2\n"
        "    images = draws.integers(0, 99, (count, 1, 4, 4)) + 150 * labels[:, None, None, None]\n"
        "    return images.astype(np.uint8), labels\n"
        "add_backbone('wide', [DenseUnit(neurons=2)])\n"
        "parts = part(80), part(20)\n"
        "add_dataset('two', image_shape=(1, 4, 4), classes=2, read=lambda root: parts)\n"
    )
    assert '"accuracy"' in search(tree, dataset="two", backbone="wide", extension=extension)
