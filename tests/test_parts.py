"""Installed in parts: each works with its own packages alone, and names the part it lacks.

Everything else that is installed here is hidden: neither imported nor found in the metadata.
"""

import functools
import importlib.metadata
import itertools
import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from search.text.requirements import NAME, distribution_of
from tests.test_layering import PACKAGES, all_imports

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]
FOR_USERS = ("search", "dashboard", "nir", "events", "postgres")
# triton comes with CUDA builds of torch, starlette and uvicorn with Streamlit; of the others the
# absence is no fault, or is named
UNDECLARED = {"triton", "starlette", "uvicorn", "neurobench", "IPython"}

HIDE = """
import importlib.machinery, importlib.metadata, os

hidden, kept = os.environ["HIDDEN"].split(), os.environ["KEPT"].split()
find_module = importlib.machinery.PathFinder.find_spec
find_metadata = importlib.metadata.MetadataPathFinder.find_distributions

def find_spec(cls, name, path=None, target=None):
    return None if name.partition(".")[0] in hidden else find_module(name, path, target)

def find_distributions(context=importlib.metadata.DistributionFinder.Context()):
    for found in find_metadata(context):
        if found.metadata["Name"].lower().replace("_", "-").replace(".", "-") in kept:
            yield found

importlib.machinery.PathFinder.find_spec = classmethod(find_spec)
importlib.metadata.MetadataPathFinder.find_distributions = staticmethod(find_distributions)
"""


# ---- what is declared


def test_all_is_every_part_for_users() -> None:
    (all_of_them,) = (Requirement(word) for word in EXTRAS["all"])
    included = {"search"} | all_of_them.extras  # which the dashboard includes
    assert (all_of_them.name, included) == (NAME, set(FOR_USERS))
    assert f"{NAME}[search]" in EXTRAS["dashboard"]


def test_a_package_of_several_parts_has_one_version() -> None:
    words = [*PROJECT["dependencies"], *(word for group in EXTRAS.values() for word in group)]
    pins: dict[str, set[str]] = {}
    for requirement in map(Requirement, words):
        if requirement.name != NAME:
            pins.setdefault(requirement.name, set()).add(str(requirement.specifier))
    assert {name: found for name, found in pins.items() if len(found) > 1} == {}


def test_every_package_that_is_imported_is_of_a_part() -> None:
    words = [*PROJECT["dependencies"], *(word for part in FOR_USERS for word in EXTRAS[part])]
    declared = {canonicalize_name(Requirement(word).name) for word in words}
    strays = [
        str(i)
        for i in all_imports()
        if i.file.parts[0] in PACKAGES
        and i.top not in {*PACKAGES, *UNDECLARED, *sys.stdlib_module_names}
        and canonicalize_name(distribution_of(i.top)) not in declared
    ]
    assert strays == []


# ---- what each part does alone


def needed(words: list[str]) -> set[str]:
    """The distributions that these requirements bring, with all that they need themselves."""
    found: set[str] = set()
    left = [Requirement(word) for word in words]
    while left:
        requirement = left.pop()
        name = canonicalize_name(requirement.name)
        if name == NAME:
            left += [Requirement(word) for extra in requirement.extras for word in EXTRAS[extra]]
            continue
        if name in found and not requirement.extras:
            continue
        found.add(name)
        try:
            theirs = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            pytest.skip(f"{name} is not installed: make setup")
        left += [r for word in theirs if applies(r := Requirement(word), requirement.extras)]
    return found


def applies(requirement: Requirement, extras: set[str]) -> bool:
    marker = requirement.marker
    return marker is None or any(marker.evaluate({"extra": extra}) for extra in extras or {""})


@functools.cache
def _owners() -> dict[str, list[str]]:
    """The distributions of each module: what Ray brings along for itself counts only if loaded."""
    program = "import importlib.metadata, json; print(json.dumps(importlib.metadata.{}()))"
    done = subprocess.run(
        [sys.executable, "-c", program.format("packages_distributions")],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    owners: dict[str, list[str]] = json.loads(done.stdout)
    return owners


def run(parts: tuple[str, ...], program: str, folder: Path, *, code: Path = ROOT) -> str:
    """Run a program where only the base and some parts are installed; return what it printed."""
    kept = needed([*PROJECT["dependencies"], *(w for part in parts for w in EXTRAS[part])])
    kept |= {NAME}
    hidden = [
        module
        for module, names in _owners().items()
        if not kept & {canonicalize_name(name) for name in names}
    ]
    assert "pytest" in hidden
    site = folder / "site"
    site.mkdir(exist_ok=True)
    (site / "sitecustomize.py").write_text(HIDE)
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(site), str(code)]),
        "PYTHONDONTWRITEBYTECODE": "1",
        "HIDDEN": " ".join(hidden),
        "KEPT": " ".join(kept),
    }
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=folder, env=environment, capture_output=True, text=True, timeout=250,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


COMMAND = """
import contextlib, io
from search.commands import cli

def spikefront(*words, ends=0):
    said = io.StringIO()
    with contextlib.redirect_stderr(said):
        assert cli.main(list(words)) == ends, said.getvalue()
    return said.getvalue()
"""
IMPORT_ALL = f"""
import importlib, pathlib

def import_all(folder):
    for path in sorted(pathlib.Path(folder).rglob("*.py")):
        parts = path.relative_to({str(ROOT)!r}).with_suffix("").parts
        if "migrations" not in parts and parts[-2:] != ("lif", "kernels"):  # Alembic, Triton
            importlib.import_module(".".join(parts).removesuffix(".__init__"))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With a study that was run by the part `search` alone, its store and an export."""
    folder = tmp_path_factory.mktemp("parts")
    run(
        ("search",),
        f"""{COMMAND}
spikefront("init", "mine", "--template", "smoke")
spikefront("run", "mine.toml", "--workers", "0", "--trials", "1", "--set", "epochs=1", "--quiet")
spikefront("export", "mine", "--out", "best")
""",
        folder,
    )
    return folder


def test_without_a_part_an_exported_network_runs_and_all_of_the_engine_can_be_imported(
    folder: Path,
) -> None:
    """The network as its card says."""
    (code,) = re.findall(r"```python\n(.*?)```", (folder / "best" / "README.md").read_text(), re.S)
    program = (
        "import os, torch\nos.chdir('best')\n"
        "images = torch.arange(3 * 64, dtype=torch.uint8).reshape(3, 1, 8, 8)\n"
        f"{code}assert answer.labels.shape == (3,)\n"
        f"{IMPORT_ALL}\nimport_all({str(ROOT / 'snn')!r})"
    )
    assert run((), program, folder).startswith("tensor([")


def test_without_a_part_what_is_missing_is_named_with_its_command_and_by_doctor(
    folder: Path,
) -> None:
    program = f"""{COMMAND}
import re
from pathlib import Path
import search
from search.commands.registry import COMMANDS
from snn.data.events.formats import read
from snn.data.image_files import SOURCES

for entry in COMMANDS:
    if entry.name != "doctor":
        part = "dashboard" if entry.name == "dashboard" else "search"
        words = ("bash",) if entry.name == "completion" else ()
        (line,) = spikefront(entry.name, *words, ends=2).splitlines()
        assert re.fullmatch(
            rf"spikefront: .*needs [a-z-]+, which is not installed: "
            rf"pip install 'spikefront\\[{{part}}\\]'", line), line

lacking = set()
for name in search.__all__:
    try:
        getattr(search, name)
    except ImportError as error:
        assert str(error).startswith(f"search.{{name}} needs "), error
        assert str(error).endswith(": pip install 'spikefront[search]'"), error
        lacking.add(name)
assert {{"Study", "load_study", "open_store", "run"}} <= lacking

for name, part, look in [
    ("digits", "search", lambda path: SOURCES["digits"].check(path)),
    ("a.h5", "events", read), ("a.mat", "events", read), ("a.aedat4", "events", read),
]:
    path = Path(name)
    path.write_bytes(b"#!AER-DAT4.0")
    try:
        look(path)
    except ValueError as error:
        assert str(error).endswith(f"pip install 'spikefront[{{part}}]'"), error
    else:
        raise AssertionError(name)
assert spikefront(ends=2).startswith("usage: spikefront")
spikefront("--version")
spikefront("doctor", "--artifacts", "runs/artifacts", ends=1)
"""
    version, *lines = run((), program, folder).splitlines()
    assert version.startswith("spikefront ")
    after = dict(itertools.pairwise(lines))
    for part in FOR_USERS:
        (line,) = (line for line in lines if f" extra {part} " in line)
        assert line.startswith("problem" if part == "search" else "missing")
        assert "not installed" in line
        assert after[line].endswith(f"-> pip install 'spikefront[{part}]'")
    assert not [line for line in lines if "this check failed" in line]
    assert lines[-1] == "must be fixed before a search can run: extra search"


def test_the_part_search_lacks_only_what_others_bring(folder: Path) -> None:
    program = f"""{COMMAND}{IMPORT_ALL}
import_all({str(ROOT / "search")!r})
import search
assert len(search.open_store().trials("mine").to_dataframe()) == 1
try:
    search.open_store().front("mine").plot()
except ImportError as error:
    print(error)
print(spikefront("dashboard", ends=2), end="")
print(spikefront("export", "mine", "--out", "new", "--nir", ends=2), end="")
print(spikefront("front", "mine", "--store", "postgresql://h/x", ends=2), end="")
spikefront("doctor")
"""
    plot, page, nir, store, *doctor = run(("search",), program, folder).splitlines()
    assert plot.endswith(
        "needs plotly, which is not installed: pip install 'spikefront[dashboard]'"
    )
    assert page.endswith("streamlit, which is not installed: pip install 'spikefront[dashboard]'")
    assert nir.endswith("--nir: needs nir, which is not installed: pip install 'spikefront[nir]'")
    assert store.endswith("needs psycopg: pip install 'spikefront[postgres]'")
    (line,) = (line for line in doctor if " extra search " in line)
    assert line.startswith("ok ")
    assert doctor[-1] == "ready to search"


def test_the_part_dashboard_has_all_of_the_pages_and_a_figure_needs_no_streamlit(
    folder: Path,
) -> None:
    """Views and app.py are run by Streamlit, not imported; preload and server import the rest."""
    folders = [str(ROOT / "dashboard" / name) for name in ("data", "figures", "parts", "serving")]
    program = f"""
import sys
sys.modules["streamlit"] = None
import search
print(type(search.open_store().front("mine").plot()).__name__)
del sys.modules["streamlit"]
{IMPORT_ALL}
for folder in {folders!r}: import_all(folder)
"""
    assert run(("dashboard",), program, folder) == "Figure\n"


def test_the_part_nir_reads_what_it_writes(folder: Path) -> None:
    program = f"{COMMAND}\nspikefront('export', 'mine', '--out', 'graph', '--nir')"
    run(("search", "nir"), program, folder)
    program = "from pathlib import Path; from snn.interchange import read\n"
    program += "print(len(read(Path('graph/network.nir')).nodes) > 2)"
    assert run(("nir",), program, folder) == "True\n"


def test_the_part_events_reads_the_formats_that_others_define(folder: Path) -> None:
    program = """
from pathlib import Path
import aedat, h5py
import numpy as np
from scipy.io import savemat
from snn.data.events.formats import read
fields = {name: np.array([at, at + 1]) for name, at in [("t", 1), ("x", 3), ("y", 5), ("p", 0)]}
with h5py.File("e.h5", "w") as file:
    for name, values in fields.items():
        file[name] = values
savemat("e.mat", fields)
for name in ("e.h5", "e.mat"):
    print(read(Path(name)).x.tolist())
"""
    assert run(("events",), program, folder) == "[3, 4]\n[3, 4]\n"


def test_the_part_postgres_brings_its_driver(folder: Path) -> None:
    program = f"""{COMMAND}
print(spikefront("front", "mine", "--store", "postgresql://127.0.0.1:1/x", ends=2), end="")
"""
    said = run(("postgres",), program, folder)
    assert said.startswith("spikefront: postgresql://127.0.0.1:1/x: ")
    assert "refused" in said


def messages() -> Iterator[tuple[str, str]]:
    """Each part that a message or a page tells to install, and where."""
    places = [p for package in PACKAGES for p in (ROOT / package).rglob("*.*") if p.is_file()]
    pages = [*(ROOT / "docs").rglob("*.md"), ROOT / "README.md"]
    for path in places + pages:
        if path.suffix in (".py", ".jinja", ".md"):
            for extras in re.findall(
                r"pip install (?:-e )?'(?:spikefront|\.)\[([a-z,]+)\]'",
                path.read_text(encoding="utf-8"),
            ):
                yield from ((extra, path.name) for extra in extras.split(","))


def test_every_part_that_is_named_anywhere_exists() -> None:
    named = list(messages())
    assert {extra for extra, _ in named} >= {"all", "search", "nir", "events"}
    assert [place for place in named if place[0] not in EXTRAS] == []
