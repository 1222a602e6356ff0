"""What is installed is whole: a wheel works outside of the source tree."""

import os
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_every_package_is_listed() -> None:
    there = {
        ".".join(path.parent.relative_to(ROOT).parts)
        for package in ("snn", "search", "dashboard")
        for path in (ROOT / package).glob("**/*.py")
    }
    assert set(PROJECT["tool"]["setuptools"]["packages"]) == there | {"search.templates"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built of a copy: building leaves folders behind."""
    folder = tmp_path_factory.mktemp("wheel")
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
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-q"]
    subprocess.run([*command, "-w", str(folder), str(source)], check=True, timeout=200)
    (built,) = folder.glob("spikefront-*.whl")
    return built


def test_the_wheel_holds_code_and_data_of_the_project_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as file:
        names = {n for n in file.namelist() if ".dist-info/" not in n}
    assert {name.partition("/")[0] for name in names} == {"snn", "search", "dashboard"}
    assert not [name for name in names if name.endswith((".pyc", ".so"))]
    for needed in (
        "snn/py.typed",
        "snn/lif/native.c",
        "search/py.typed",
        "search/migrations/script.py.mako",
        "search/templates/digits.toml",
        "dashboard/.streamlit/config.toml",
    ):
        assert needed in names


def test_what_the_wheel_installs_works_outside_of_the_source_tree(
    wheel: Path, tmp_path: Path
) -> None:
    installed = tmp_path / "installed"
    install = [sys.executable, "-m", "pip", "install", "--no-deps", "-q", "--target"]
    subprocess.run([*install, str(installed), str(wheel)], check=True, timeout=200)
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
