"""The doctor: each kind of fault is produced, found and has its remedy."""

import contextlib
import dataclasses
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from packaging.requirements import Requirement

from search.commands import cli
from search.commands.options import DEFAULT_ARTIFACTS
from search.doctor import environment, machine, packages, places, training
from search.doctor.check import Check
from search.runners import run as study_run
from search.runners.driver import StudyDriver
from search.store.store import Store
from search.study.study import study_from_toml
from search.text import requirements
from snn.settings import extensions
from tests.search.fake_engine import FakeEngine
from tests.search.runners.test_driver import dead_process
from tests.search.text.test_log import STUDY

ROOT = Path(__file__).parents[3]


def one(checks: Iterable[Check], name: str) -> Check:
    (found,) = [check for check in checks if check.name == name]
    return found


def installed(folder: Path, name: str, version: str) -> None:
    """Metadata as pip leaves them."""
    about = folder / f"{name}-{version}.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.4\nName: {name}\nVersion: {version}\n")


# ---- the whole


def test_each_of_many_faults_of_a_set_up_is_named(tmp_path: Path) -> None:
    """All at once, since each run of the doctor imports torch."""
    (tmp_path / "mine.py").write_text("import nothing_of_this_name")
    long = tmp_path / ("long" * 20)
    long.mkdir()
    faults = {
        "TMPDIR": str(long),
        "PYTHONIOENCODING": "ascii",
        "SPIKEFRONT_STORE": "sqlite:///.",
        "SPIKEFRONT_DATA": str(tmp_path / "nowhere"),
        "SPIKEFRONT_STORE_WAIT_S": "long",
        "SPIKEFRONT_LOG": "loud",
        "SPIKEFRONT_ARTEFACTS": "a",
        "SPIKEFRONT_EXTENSIONS": str(tmp_path / "mine.py"),
        "OMP_NUM_THREADS": "all",
        "CC": "/bin/false",
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
    }
    command = f'ulimit -n 512; exec "{sys.executable}" -m search.commands.cli doctor --json'
    done = subprocess.run(
        ["bash", "-c", f"{command} --artifacts {tmp_path / 'mine.py'}"],
        cwd=tmp_path,
        env={**os.environ, **faults, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 1, done.stderr
    checks = {check["name"]: check for check in json.loads(done.stdout)["checks"]}
    problems = {
        "ray's folder": ("too long", "RAY_TMPDIR=/tmp"),
        "open files": ("at most 512", "ulimit -Hn"),
        "store": ("must be a file, got a folder", "--store or SPIKEFRONT_STORE"),
        "SPIKEFRONT_DATA": ("must be a folder", "unset it"),
        "SPIKEFRONT_STORE_WAIT_S": ("got 'long'", "SPIKEFRONT_STORE_WAIT_S=300"),
        "SPIKEFRONT_LOG": ("got 'loud'", "SPIKEFRONT_LOG=info"),
        "OMP_NUM_THREADS": ("got 'all'", "OMP_NUM_THREADS="),
        "extensions": ("No module named 'nothing_of_this_name'", "SPIKEFRONT_EXTENSIONS"),
        "artifacts": ("mine.py is a file", "--artifacts"),
    }
    warnings = {
        "neurons": ("/bin/false did not compile it", "CC"),
        "encoding": ("ascii", "LC_ALL=C.UTF-8"),
        "SPIKEFRONT_ARTEFACTS": ("not a variable of spikefront", "unset SPIKEFRONT_ARTEFACTS"),
    }
    for status, expected in (("problem", problems), ("warning", warnings)):
        for name, (finding, remedy) in expected.items():
            assert checks[name]["status"] == status, name
            assert finding in checks[name]["finding"], name
            assert remedy in checks[name]["remedy"], name
    unexpected = {n for n, c in checks.items() if c["status"] == "problem"} - problems.keys()
    assert unexpected == set()


def test_a_set_up_without_faults_is_ready_to_search(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in environment.KNOWN:
        monkeypatch.delenv(name, raising=False)
    assert cli.main(["doctor"]) == 0
    out = capsys.readouterr().out
    assert out.endswith("ready to search\n")
    names = ("python", "requirements", "torch", "ray", "neurons", "memory", "store", "data: digits")
    assert all(f" {name} " in out for name in names)
    assert list(tmp_path.iterdir()) == []


# ---- packages


def test_a_python_that_is_not_supported_is_a_problem() -> None:
    assert packages.python(">=3.11").status == "ok"
    check = packages.python(">=3.99")
    assert (check.status, "must be >=3.99" in check.finding) == ("problem", True)


def test_versions_other_than_the_required_ones_are_problems(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needed = requirements.declared().needed
    assert packages.requirements(needed).finding == f"all {len(needed)} are met"
    installed(tmp_path, "numpy", "1.0")
    monkeypatch.syspath_prepend(tmp_path)
    check = packages.requirements([*needed, Requirement("not-there>=2")])
    assert check.status == "problem"
    assert "numpy is 1.0, not ==" in check.finding
    assert "not-there is not installed" in check.finding
    assert "pip install" in check.remedy


def test_a_local_build_of_a_version_is_that_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed(tmp_path, "thing", "1.0+cpu")
    monkeypatch.syspath_prepend(tmp_path)
    assert list(requirements.unmet([Requirement("thing==1.0")])) == []


def test_requirements_are_read_from_installed_metadata(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Away from a checkout the metadata are all that there is."""
    about = tmp_path / "spikefront-9.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(
        "Metadata-Version: 2.4\nName: spikefront\nVersion: 9\nRequires-Python: >=3.99\n"
        'Requires-Dist: numpy==2.0\nProvides-Extra: nir\nRequires-Dist: nir==1.0; extra == "nir"\n'
        'Requires-Dist: winreg==1; sys_platform == "win32"\n'
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(requirements, "PROJECT", tmp_path)
    found = requirements.declared()
    assert found.python == ">=3.99"
    assert [r.name for r in found.needed] == ["numpy", "winreg"]
    assert [r.name for r in found.extras["nir"]] == ["nir"]
    assert not any("winreg" in fault for fault in requirements.unmet(found.needed))
    assert requirements.install_command("nir") == "pip install 'spikefront[nir]'"


def test_a_package_that_breaks_when_imported_is_a_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "alembic").mkdir()
    (tmp_path / "alembic" / "__init__.py").write_text("raise OSError('libsomething.so: missing')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "alembic", raising=False)
    check = packages.package("alembic")
    assert check.status == "problem"
    assert "cannot be imported: OSError: libsomething.so: missing" in check.finding
    assert check.remedy.startswith("install it again: pip install --force-reinstall --no-deps 'al")


def test_a_package_that_is_missing_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    check = packages.package("ray")
    assert (check.status, check.finding) == ("problem", "not installed")
    assert check.remedy == "pip install 'spikefront[search]'"


def test_optional_packages_are_named_with_the_command_that_installs_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    groups = {
        "nir": [Requirement("no-such-nir==1.0")],
        "postgres": [Requirement("thing==2.0")],
        "peers": [Requirement("spikefront[nir]"), Requirement("rich")],
    }
    installed(tmp_path, "thing", "1.0")
    monkeypatch.syspath_prepend(tmp_path)
    checks = list(packages.extras(groups))
    nir, postgres = one(checks, "extra nir"), one(checks, "extra postgres")
    assert (nir.status, nir.remedy) == ("missing", "pip install 'spikefront[nir]'")
    assert nir.finding == "not installed; needed for NIR files"
    assert (postgres.status, postgres.finding) == ("warning", "thing is 1.0, not ==2.0")
    assert one(checks, "extra peers").status == "ok"


def test_a_search_with_a_package_too_few_is_a_problem_and_a_page_without_one_a_warning() -> None:
    group = [Requirement("rich"), Requirement("optuna"), Requirement("no-such-thing==1")]
    checks = {c.name: c for c in packages.extras({"search": group, "dashboard": group})}
    for name, status in (("search", "problem"), ("dashboard", "warning")):
        check = checks[f"extra {name}"]
        assert (check.status, check.finding) == (status, "no-such-thing is not installed")
        assert check.remedy == f"pip install 'spikefront[{name}]'"


def test_a_part_is_not_there_for_what_another_one_brings() -> None:
    """torch brings Jinja2, which `search` needs too."""
    group = [Requirement("jinja2"), Requirement("no-such-a"), Requirement("no-such-b")]
    (check,) = packages.extras({"dashboard": [Requirement("spikefront[search]"), *group]})
    assert check.finding == "not installed; needed for web pages and figures"


def test_a_driver_of_postgresql_without_its_library_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    (check,) = packages.extras({"postgres": [Requirement("rich")]})
    assert (check.status, check.finding) == ("warning", "not installed")


# ---- what trains


def fake_torch(*, cuda: str | None, error: str = "", available: bool = True) -> Any:
    def ones(*_: object, **__: object) -> Any:
        if error:
            raise RuntimeError(error)
        return SimpleNamespace(sum=lambda: SimpleNamespace(item=lambda: 2.0))

    gpus = SimpleNamespace(
        is_available=lambda: available, get_device_name=lambda i: f"GPU {i}", device_count=lambda: 1
    )
    return SimpleNamespace(ones=ones, cuda=gpus, version=SimpleNamespace(cuda=cuda))


def test_a_cpu_build_on_a_machine_with_a_gpu_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch = fake_torch(cuda=None, available=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert training._gpu(torch).status == "missing"
    (tmp_path / "nvidia-smi").touch(mode=0o755)
    check = training._gpu(torch)
    assert (check.status, "install a CUDA build" in check.remedy) == ("warning", True)


def test_a_hidden_gpu_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    torch = fake_torch(cuda="13.0", available=False)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert "nvidia-smi" in training._gpu(torch).remedy
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    check = training._gpu(torch)
    assert (check.status, "unset it" in check.remedy) == ("warning", True)


def test_a_gpu_that_is_seen_and_does_not_compute_is_a_problem() -> None:
    assert training._gpu(fake_torch(cuda="13.0")).finding == "GPU 0"
    check = training._gpu(fake_torch(cuda="13.0", error="no kernel image is available\nmore"))
    assert check.status == "problem"
    assert check.finding == "GPU 0 does not compute: no kernel image is available"


def test_a_gpu_without_triton_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training.importlib.util, "find_spec", lambda name: None)
    assert training._triton().status == "warning"
    assert training._triton().remedy == "pip install triton"


@pytest.fixture
def compiles_anew(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The compiled neurons are looked for again, here and behind it."""
    from snn.lif import native

    native.forget()
    yield
    monkeypatch.undo()
    native.forget()


@pytest.mark.usefixtures("compiles_anew")
@pytest.mark.parametrize(
    ("variables", "finding", "remedy"),
    [
        ({"CC": "no-such-compiler"}, "no C compiler", "apt install gcc"),
        ({"SPIKEFRONT_NATIVE": "0"}, "SPIKEFRONT_NATIVE is 0", "unset SPIKEFRONT_NATIVE"),
        ({"CC": "false"}, "did not compile it", "set CC to another compiler"),
    ],
)
def test_neurons_without_their_compiled_body_are_a_warning(
    variables: dict[str, str], finding: str, remedy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    check = training._neurons()
    assert check.status == "warning"
    assert finding in check.finding
    assert remedy in check.remedy


@pytest.mark.usefixtures("compiles_anew")
@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
def test_a_cache_that_cannot_be_written_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    check = training._neurons()
    assert check.status == "warning"
    assert "in every process" in check.finding
    assert "XDG_CACHE_HOME" in check.remedy


# ---- the machine


def a_system(root: Path, **files: str) -> Path:
    """A `/` with such files of the kernel's; `__` in a name is a slash."""
    for name, text in files.items():
        path = root / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


MEMINFO = "MemTotal:  64000000 kB\nMemAvailable:  32000000 kB\n"


def test_memory_is_that_of_the_tightest_container(tmp_path: Path) -> None:
    files = {"proc__meminfo": MEMINFO, "proc__self__cgroup": "0::/slice/run\n"}
    (plenty,) = machine.memory(a_system(tmp_path, **files))
    assert (plenty.status, plenty.finding) == ("ok", "32.8 GB available")
    group = "sys__fs__cgroup__slice__"
    limits = {
        f"{group}memory_dot_max": "3000000000\n",
        f"{group}memory_dot_current": "2500000000\n",
    }
    (tight,) = machine.memory(a_system(tmp_path, **limits))
    assert tight.status == "warning"
    assert tight.finding.startswith("0.5 GB available within the limit of this container")
    assert "--workers 0" in tight.remedy
    cached = {f"{group}memory_dot_stat": "anon 1\ninactive_file 2000000000\n"}
    (enough,) = machine.memory(a_system(tmp_path, **cached))
    assert enough.status == "ok"


def test_unknown_memory_is_not_reported(tmp_path: Path) -> None:
    assert list(machine.memory(tmp_path)) == []


def test_a_limit_of_processors_of_a_container_is_a_warning(tmp_path: Path) -> None:
    quota = {"sys__fs__cgroup__cpu_dot_max": "50000 100000\n"}
    check = machine.processors(a_system(tmp_path, **quota))
    assert check.status == "warning"
    assert check.finding.endswith("of which this process may use 0.5")
    assert "at 1 or less" in check.remedy


def test_a_limit_of_processors_of_this_process_is_a_warning(
    tmp_path: Path, one_processor: None
) -> None:
    assert machine.processors(tmp_path).finding.endswith("may use 1")
    (check,) = environment._threads({"OMP_NUM_THREADS": "2"})
    assert check.finding == "2 threads on 1 processor slow each other down"


def test_rays_folder_is_the_one_that_ray_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    utils = pytest.importorskip("ray._common.utils")
    for name in ("RAY_TMPDIR", "TMPDIR"):
        monkeypatch.delenv(name, raising=False)
    for name in ("", "TMPDIR", "RAY_TMPDIR"):
        if name:
            monkeypatch.setenv(name, f"/of/{name}")
        assert str(machine.ray_folder()) == utils.get_default_system_temp_dir()


def test_a_folder_that_ray_finds_too_long_is_found_too_long_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One byte decides: what ray itself refuses is a problem, what it takes is not."""
    utils = pytest.importorskip("ray._private.utils")
    base = Path(tempfile.mkdtemp(dir="/tmp"))
    try:
        for length in range(30, 45):
            folder = base / ("x" * (length - len(str(base)) - 1))
            folder.mkdir(exist_ok=True)
            monkeypatch.setenv("RAY_TMPDIR", str(folder))
            status = one(machine.ray_needs(), "ray's folder").status
            with contextlib.suppress(OSError):
                utils.validate_socket_filepath(str(folder / machine.SESSION))
                assert status == "ok", length
                continue
            assert status == "problem", length
    finally:
        shutil.rmtree(base)


def test_a_folder_that_ray_cannot_write_is_a_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "f").touch()
    short = Path(tempfile.mkdtemp(dir="/tmp"))
    try:
        (short / "f").touch()
        monkeypatch.setenv("RAY_TMPDIR", str(short / "f"))
        check = one(machine.ray_needs(), "ray's folder")
    finally:
        shutil.rmtree(short)
    assert check.status == "problem"
    assert "is a file" in check.finding


@pytest.mark.skipif(sys.platform != "linux", reason="no /dev/shm")
def test_no_shared_memory_is_a_problem_and_little_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert one(machine.ray_needs(tmp_path / "shm"), "shared memory").status == "problem"
    monkeypatch.setattr(os, "statvfs", lambda path: SimpleNamespace(f_bavail=16, f_frsize=2**20))
    check = one(machine.ray_needs(tmp_path), "shared memory")
    assert (check.status, "--shm-size" in check.remedy) == ("warning", True)


def test_a_ray_that_does_not_start_says_why_and_a_run_does_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    long = tmp_path / ("long" * 20)
    long.mkdir()
    monkeypatch.setenv("RAY_TMPDIR", str(long))
    check = machine.ray_start()
    assert check.status == "problem"
    assert "AF_UNIX path length" in check.finding
    monkeypatch.chdir(tmp_path)
    (tmp_path / "study.toml").write_text(STUDY)
    assert cli.main(["run", "study.toml", "--workers", "1"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("spikefront: Ray does not start on this machine: ")
    assert line.endswith("run `spikefront doctor`")


# ---- the environment


def test_an_unknown_variable_of_our_prefix_is_a_warning_with_the_nearest_name() -> None:
    (check,) = environment._unknown({"SPIKEFRONT_STOER": "x", "SPIKEFRONT_STORE": "x", "HOME": "/"})
    assert check.finding == "not a variable of spikefront; did you mean 'SPIKEFRONT_STORE'?"


def test_every_variable_that_the_project_reads_is_known_here() -> None:
    import re

    read = set()
    for package in ("snn", "search", "dashboard"):
        for path in (ROOT / package).rglob("*.py"):
            read |= set(re.findall(r"\bSPIKEFRONT_[A-Z_]+\b", path.read_text(encoding="utf-8")))
    assert read - {"SPIKEFRONT_"} == set(environment.KNOWN)


def test_more_threads_than_processors_are_a_warning() -> None:
    (check,) = environment._threads({"OMP_NUM_THREADS": "100000"})
    assert (check.status, "slow each other down" in check.finding) == ("warning", True)
    assert list(environment._threads({"OMP_NUM_THREADS": "1"})) == []


def test_an_extension_that_loads_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(extensions.VARIABLE, "mine.py")
    monkeypatch.setattr(extensions, "faults", [])
    (check,) = environment._extensions()
    assert (check.status, check.finding) == ("ok", "mine.py")


# ---- places


@pytest.fixture
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A store with a study that was run to its end."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(study_run, "TrialRun", FakeEngine())
    (tmp_path / "study.toml").write_text(STUDY)
    url = f"sqlite:///{tmp_path}/store.db"
    assert cli.main(["run", "study.toml", "-q", "--store", url]) == 0
    return url


@contextlib.contextmanager
def as_nobody() -> Iterator[None]:
    """Without the rights of an administrator, whom no file refuses anything."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_store_that_can_only_be_read_is_a_problem() -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        folder = Path(name)
        url = f"sqlite:///{folder / 'store.db'}"
        Store(url).close()
        assert places.store(url).status == "ok"
        (folder / "store.db").chmod(0o444)
        folder.chmod(0o555)
        with as_nobody():
            check = places.store(url)
            fault = places.artifacts(str(folder / "artifacts"))
        folder.chmod(0o755)
    assert check.status == fault.status == "problem"
    assert "but not written by a run" in check.finding
    assert "Permission denied" in check.finding
    assert "Permission denied" in fault.finding


def test_a_store_of_another_version_says_which_way_to_go(url: str, tmp_path: Path) -> None:
    import sqlite3

    for revision, remedy in (
        ("9999", "update spikefront"),
        ("0001", "bring it up to date: spikefront upgrade"),
    ):
        with contextlib.closing(sqlite3.connect(tmp_path / "store.db")) as connection:
            table = "spikefront_version"
            tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            (table,) = [name for (name,) in tables if "version" in name]
            connection.execute(f"UPDATE {table} SET version_num = ?", (revision,))
            connection.commit()
        check = places.store(url)
        assert check.status == "problem"
        assert remedy in check.remedy, check


def test_a_store_that_needs_a_driver_says_how_to_have_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    check = places.store("postgresql://host/x")
    assert check.status == "problem"
    assert check.remedy == "pip install 'spikefront[postgres]'"


def test_a_study_whose_driver_ended_unexpectedly_is_a_warning(url: str, tmp_path: Path) -> None:
    assert list(places.studies(url)) == []
    study = study_from_toml(STUDY.replace("logged", "left"))
    holder = dead_process()
    with Store(url) as store:
        driver = StudyDriver(study, store=store, artifacts=tmp_path, holder=holder)
        driver.__enter__()
        driver.next()
        driver._lease._ended.set()  # killed: nobody gives anything back
        (check,) = places.studies(url)
    assert (check.name, check.status) == ("study left", "warning")
    name = holder.partition("#")[0]
    assert check.finding == f"{name} ended unexpectedly, with 1 trial running"
    assert f"spikefront run STUDY.toml --store {url}" in check.remedy


def test_missing_weights_of_a_study_are_a_warning(url: str, tmp_path: Path) -> None:
    shutil.move(tmp_path / DEFAULT_ARTIFACTS, tmp_path / "elsewhere")
    (check,) = places.studies(url)
    assert check.status == "warning"
    assert "weights of 3 of 3 trials are missing" in check.finding
    assert "restore the folder" in check.remedy


def test_a_wrong_place_for_weights_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert "is a file" in places.artifacts(str(tmp_path / "file")).finding
    assert places.artifacts("nonsense://place").status == "problem"
    assert places.artifacts(str(tmp_path / "new")).status == "ok"
    assert not (tmp_path / "new").exists()


def test_a_disk_without_room_is_a_problem(tmp_path: Path) -> None:
    assert places.disk("disk", tmp_path, needed=0).status == "ok"
    full = places.disk("disk", tmp_path, needed=1e18)
    assert (full.status, "free some space" in full.remedy) == ("problem", True)
    assert "TMPDIR" in places.disk("temporary disk", tmp_path, needed=1e18).remedy


def test_every_warning_and_problem_has_a_remedy() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPIKEFRONT_STORE_WAIT_S", "-1")
        patch.setenv("SPIKEFRONT_FUSED", "0")
        checks = list(environment.examine())
    wrong = [check for check in checks if check.status in ("warning", "problem")]
    assert {"SPIKEFRONT_STORE_WAIT_S", "SPIKEFRONT_FUSED"} <= {check.name for check in wrong}
    assert [dataclasses.asdict(check) for check in wrong if not check.remedy] == []
