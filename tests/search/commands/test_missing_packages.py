"""A missing package is named in one line, with the command that installs it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import search
from search.commands import cli
from search.runners import run as study_run
from search.text.requirements import declared, install_command, needs
from tests.search.fake_engine import FakeEngine
from tests.search.text.test_log import STUDY

ROOT = Path(__file__).parents[3]
# As if packages were not installed: nobody finds them, by import or otherwise.
SITE = """
import importlib.machinery, os
find = importlib.machinery.PathFinder.find_spec
gone = os.environ["GONE"].split()
def find_spec(cls, name, path=None, target=None):
    return None if name.partition(".")[0] in gone else find(name, path, target)
importlib.machinery.PathFinder.find_spec = classmethod(find_spec)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With a store of a study that was run, and what hides packages."""
    folder = tmp_path_factory.mktemp("missing")
    (folder / "study.toml").write_text(STUDY)
    (folder / "theirs.nir").write_bytes(b"")
    (folder / "site").mkdir()
    (folder / "site" / "sitecustomize.py").write_text(SITE)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(study_run, "TrialRun", FakeEngine())
        assert cli.main(["run", "study.toml", "--quiet"]) == 0
    return folder


def there(folder: Path) -> set[Path]:
    """All files, but for what SQLite puts beside a database that is read."""
    return {p for p in folder.rglob("*") if not p.name.endswith(("-shm", "-wal"))}


RUN = "run study.toml --store sqlite:///new/store.db"


@pytest.mark.parametrize(
    ("words", "gone", "said"),
    [
        (f"{RUN} --workers 1", "ray", "a search needs ray, which is not installed: pip install 's"),
        (RUN, "optuna", "a search needs optuna, which is not installed: pip install 'spikefr"),
        (RUN, "torch", "a search needs torch, which is not installed: pip install 'torch=="),
        (RUN, "rich", "needs rich, which is not installed: pip install 'spikefront[search]'"),
        ("front logged", "sqlalchemy", "needs sqlalchemy, which is not installed: pip install 's"),
        (
            "run study.toml --store postgresql://h/x",
            "psycopg",
            "pip install 'spikefront[postgres]'",
        ),
        ("front logged --store postgresql://h/x", "psycopg", "pip install 'spikefront[postgres]'"),
        ("evaluate theirs.nir --dataset digits", "nir", "pip install 'spikefront[nir]'"),
        ("export logged --out new --nir", "nir", "pip install 'spikefront[nir]'"),
        (
            "export logged --optuna postgresql://me:secret@h/x",
            "psycopg",
            "postgresql://me:***@h/x: needs psycopg, which is not installed: pip install 'spikef",
        ),
        (
            "export logged --optuna mysql://h/x",
            "MySQLdb",
            "needs mysqlclient, which is not installed: pip install mysqlclient",
        ),
        ("export logged --optuna sqlite:///new.db", "optuna", "needs optuna, which is not ins"),
        (f"{RUN} --artifacts s3://bucket/new", "pyarrow", "needs pyarrow, which is not installed"),
        (f"{RUN} --artifacts fsspec+s3://b/new", "fsspec", "needs fsspec, which is not installed"),
        (f"{RUN} --artifacts fsspec+s3://b/new", "s3fs", "needs s3fs, which is not installed: p"),
        ("dashboard", "streamlit", "the dashboard needs streamlit, which is not installed: pip i"),
        ("dashboard", "plotly", "the dashboard needs plotly, which is not installed: pip install"),
        ("completion bash", "shtab", "needs shtab, which is not installed: pip install 'spikefr"),
    ],
)
def test_a_missing_package_is_named_with_its_remedy(
    words: str, gone: str, said: str, folder: Path
) -> None:
    before = there(folder)
    path = os.pathsep.join([str(folder / "site"), str(ROOT)])
    done = subprocess.run(
        [sys.executable, "-m", "search.commands.cli", *words.split()],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1", "GONE": gone},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("spikefront: ")
    assert said in line
    assert there(folder) == before


def test_a_command_installs_the_version_that_is_asked_for() -> None:
    (torch,) = (r for r in declared().needed if r.name == "torch")
    assert install_command("torch") == f"pip install 'torch{torch.specifier}'"
    assert install_command("sklearn.datasets") == "pip install 'spikefront[search]'"
    assert install_command("pandas") == "pip install 'spikefront[search]'"
    assert install_command("plotly.io") == "pip install 'spikefront[dashboard]'"
    assert install_command("h5py") == "pip install 'spikefront[nir]'"
    (ray,) = (r for r in declared().extras["search"] if r.name == "ray")
    again = "pip install --force-reinstall --no-deps"
    assert install_command("ray.tune", again=True) == f"{again} 'ray{ray.specifier}'"
    assert install_command("s3fs", again=True) == f"{again} s3fs"
    assert needs("s3fs") == "needs s3fs, which is not installed: pip install s3fs"


def test_a_module_of_our_own_that_is_missing_is_a_fault_and_not_a_package(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "search.commands.studies", None)
    monkeypatch.setitem(sys.modules, "search.results", None)
    with pytest.raises(ModuleNotFoundError, match=r"search\.commands\.studies"):
        cli.main(["studies"])
    with pytest.raises(ModuleNotFoundError, match=r"import of search\.results halted"):
        _ = search.Front
