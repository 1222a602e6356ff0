"""The distributions are complete: a wheel works outside of the source tree."""

import email
import json
import os
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.test_parts import run as run_alone

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_every_package_is_listed() -> None:
    there = {
        ".".join(path.parent.relative_to(ROOT).parts)
        for package in ("snn", "search", "dashboard")
        for path in (ROOT / package).glob("**/*.py")
    }
    assert set(PROJECT["tool"]["setuptools"]["packages"]) == there | {"search.templates"}


class Built(NamedTuple):
    """The distributions of this tree."""

    sdist: Path
    wheel: Path  # of the sdist, as an index's users who build for themselves have it
    direct: Path  # of the tree


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Built of a copy: building leaves folders behind."""
    pytest.importorskip("build")
    folder = tmp_path_factory.mktemp("built")
    source = folder / "source"
    tracked = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    if tracked.returncode:
        pytest.skip("not a git checkout: which files belong to the project is not known")
    for name in filter(None, tracked.stdout.split("\0")):
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    build = [sys.executable, "-m", "build", "--no-isolation", str(source), "--outdir"]
    # an sdist, and a wheel of it; then a wheel of the tree
    for options in ([str(folder / "of-sdist")], [str(folder / "direct"), "--wheel"]):
        done = subprocess.run([*build, *options], capture_output=True, text=True, timeout=200)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "Warning" not in done.stdout + done.stderr
    (sdist,) = folder.glob("of-sdist/spikefront-*.tar.gz")
    (wheel,) = folder.glob("of-sdist/spikefront-*.whl")
    (direct,) = folder.glob("direct/spikefront-*.whl")
    return Built(sdist, wheel, direct)


def files(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as file:
        return {name: file.read(name) for name in file.namelist()}


def test_an_index_would_take_both_and_show_the_readme(built: Built) -> None:
    pytest.importorskip("twine")
    check = [sys.executable, "-m", "twine", "check", "--strict", str(built.sdist)]
    done = subprocess.run([*check, str(built.wheel)], capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("PASSED") == 2


def test_a_wheel_of_the_source_distribution_is_the_one_of_the_tree(built: Built) -> None:
    assert files(built.wheel) == files(built.direct)


def test_the_source_distribution_has_all_that_is_needed_to_test_it(built: Built) -> None:
    with tarfile.open(built.sdist) as file:
        names = {member.name.partition("/")[2] for member in file if member.isfile()}
    for needed in (
        "CHANGELOG.md",
        "LICENSE",
        "Makefile",
        "README.md",
        "benchmarks/search/digits.record",
        "docs/architecture.md",
        "docs/images/front.png",
        "requirements-peers.txt",
        "snn/data/events/frames.c",
        "snn/data/events/prophesee.c",
        "snn/data/events/saccades.c",
        "snn/lif/native.c",
        "studies/references/mnist.toml",
        "tests/search/fake_engine.py",
    ):
        assert needed in names
    ours = {path for path in names if path.startswith(("snn/", "search/", "dashboard/"))}
    assert {n for n in files(built.wheel) if n.startswith(("snn/", "search/", "dashboard/"))} - {
        f"search/templates/{path.name}" for path in (ROOT / "studies").glob("*.toml")
    } == ours


def test_the_metadata_have_licence_python_and_extras(built: Built) -> None:
    about = email.message_from_bytes(
        next(data for name, data in files(built.wheel).items() if name.endswith("/METADATA"))
    )
    assert about["License-Expression"] == "Apache-2.0"
    assert about["License-File"] == "LICENSE"
    assert about["Requires-Python"] == PROJECT["project"]["requires-python"]
    assert about["Description-Content-Type"] == "text/markdown"
    assert about.get_all("Provides-Extra") == list(PROJECT["project"]["optional-dependencies"])
    assert not [line for line in about.get_all("Requires-Dist") or () if " @ " in line]


def test_the_wheel_holds_code_and_data_of_the_project_and_nothing_else(built: Built) -> None:
    every = set(files(built.wheel))
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in every)
    names = {n for n in every if ".dist-info/" not in n}
    assert {name.partition("/")[0] for name in names} == {"snn", "search", "dashboard"}
    assert not [name for name in names if name.endswith((".pyc", ".so"))]
    templates = {name for name in names if name.startswith("search/templates/")}
    assert templates == {f"search/templates/{p.name}" for p in (ROOT / "studies").glob("*.toml")}
    for needed in (
        "snn/py.typed",
        "snn/data/events/frames.c",
        "snn/data/events/prophesee.c",
        "snn/data/events/saccades.c",
        "snn/lif/native.c",
        "search/py.typed",
        "search/export/model_card.md.jinja",
        "search/store/migrations/script.py.mako",
        "search/store/migrations/versions/0001_the_first_tables.py",
        "search/templates/digits.toml",
        "dashboard/.streamlit/config.toml",
    ):
        assert needed in names


def test_what_the_wheel_installs_works_outside_of_the_source_tree(
    built: Built, tmp_path: Path
) -> None:
    installed = tmp_path / "installed"
    install = [sys.executable, "-m", "pip", "install", "--no-deps", "-q", "--target"]
    subprocess.run([*install, str(installed), str(built.wheel)], check=True, timeout=200)
    environment = {**os.environ, "PYTHONPATH": str(installed), "PYTHONSAFEPATH": "1"}

    def run(*words: str) -> str:
        ran = subprocess.run(
            [str(installed / "bin" / "spikefront"), *words],
            cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=200,
        )  # fmt: skip
        assert ran.returncode == 0, ran.stderr
        return ran.stdout

    where = [sys.executable, "-c", "import search; print(search.__file__)"]
    found = subprocess.run(where, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert found.stdout.startswith(str(installed))
    run("init", "mine", "--template", "smoke")
    run("run", "mine.toml", "--workers", "0", "--trials", "1", "--set", "epochs=1")
    assert "mine" in run("studies")
    run("export", "mine", "--out", "best")
    assert (tmp_path / "best" / "weights.safetensors").is_file()
    # and its network with the packages alone that the wheel asks for
    program = (
        "import search, snn, torch\n"
        "print(snn.load('best')(torch.zeros(2, 1, 8, 8, dtype=torch.uint8)).labels.tolist())\n"
        "try: search.open_store()\n"
        "except ImportError as error: print(error)\n"
    )
    labels, said = run_alone((), program, tmp_path, code=installed).splitlines()
    assert len(json.loads(labels)) == 2
    assert said.startswith("search.open_store needs ")
    assert said.endswith(", which is not installed: pip install 'spikefront[search]'")


@pytest.mark.parametrize("code", [0, 1])
def test_setup_shows_the_output_of_pip_only_if_pip_fails(tmp_path: Path, code: int) -> None:
    """Dozens of pip's warnings hid the progress lines."""
    for name in ("Makefile", "pyproject.toml", "requirements-peers.txt"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    python = tmp_path / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(
        "#!/bin/sh\necho '  Downloading torch-2.whl (100.0 MB)'\n"
        f"echo 'WARNING: Location is ignored' >&2\nexit {code}\n"
    )
    python.chmod(0o755)
    make = ["make", f"PYTHON={sys.executable}", "setup"]
    done = subprocess.run(make, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert (done.returncode == 0) == (code == 0)
    assert "  torch-2.whl, 100.0 MB\n" in done.stdout
    assert "WARNING" not in done.stdout
    assert ("WARNING: Location is ignored" in done.stderr) == (code == 1)
    assert "WARNING" in (tmp_path / ".venv" / "setup.log").read_text()
