"""dashboard -> search -> snn, never back; each heavy library has one home."""

import ast
import functools
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parent.parent
BELOW = {"snn": {"snn"}, "search": {"search", "snn"}, "dashboard": {"dashboard", "search", "snn"}}
SQL = (
    "search/store*.py",
    "search/schema.py",
    "search/rows.py",
    "search/database.py",
    "search/migrations/**/*.py",
)
HOMES = {
    "optuna": (
        "search/sampler.py",
        "search/sampler_memory.py",
        "search/importance.py",
        "search/optuna_files.py",
    ),
    "ray": ("search/ray_tune.py",),
    "pyarrow": ("search/artifacts.py",),
    "sqlalchemy": SQL,
    "alembic": SQL,
    "streamlit": ("dashboard/**/*.py",),
    "plotly": ("dashboard/**/*.py",),
    # doctor reports on torch itself, so it has to load it
    "torch": ("snn/**/*.py", "search/configure.py", "search/doctor/*.py"),
    "safetensors": ("snn/**/*.py",),
    "sklearn": ("snn/image_files.py",),
    "triton": ("snn/lif/kernels.py",),
    "nir": ("snn/interchange/*.py",),
}
ENGINE_NEEDS = {"torch", "numpy", "safetensors", "sklearn"}
# of snn, what loads no torch
LIGHT = {
    f"snn.{name}"
    for name in (
        "config",
        "backbones",
        "datasets",
        "extensions",
        "partition",
        "prefix",
        "measurement",
        "interchange.description",
    )
}
LIGHT_WITH_NUMPY = LIGHT | {"snn.image_files", "snn.raster"}
HEAVY = {"torch", "ray", "optuna", "pyarrow"}
LOADS_HEAVY = {
    "search.sampler",
    "search.sampler_memory",
    "search.importance",
    "search.ray_tune",
    "search.optuna_files",
}


class Import(NamedTuple):
    """A module that a file imports, and whether it does so when it is itself imported."""

    file: PurePosixPath
    line: int
    module: str
    is_eager: bool

    def __str__(self) -> str:
        return f"{self.file}:{self.line} imports {self.module}"

    @property
    def top(self) -> str:
        return self.module.partition(".")[0]


def sources(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def imports_of(path: Path) -> Iterator[Import]:
    file = PurePosixPath(path.relative_to(ROOT).as_posix())
    return imports_in(path.read_text(encoding="utf-8"), file)


def imports_in(text: str, file: PurePosixPath) -> Iterator[Import]:
    """Every import statement and every `import_module("...")` with a literal name."""
    tree = ast.parse(text, str(file))
    eager = {id(node) for node in eager_nodes(tree)}
    for node in ast.walk(tree):
        for module in named_by(node):
            yield Import(file, getattr(node, "lineno", 0), module, id(node) in eager)


def eager_nodes(node: ast.AST) -> Iterator[ast.AST]:
    """What runs when the module is imported: nothing in functions or under TYPE_CHECKING."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        yield child
        yield from eager_nodes(child)


def named_by(node: ast.AST) -> list[str]:
    match node:
        case ast.Import():
            return [alias.name for alias in node.names]
        case ast.ImportFrom(level=0, module=str(module)):
            # `from snn import data` imports snn.data
            inner = (ROOT / module.replace(".", "/")).is_dir()
            return [f"{module}.{alias.name}" if inner else module for alias in node.names]
        case ast.ImportFrom():
            return ["a relative module"]
        case ast.Call(func=ast.Attribute(attr="import_module"), args=[ast.Constant(str(name)), *_]):
            return [name]
    return []


@functools.cache
def all_imports() -> tuple[Import, ...]:
    packages = (*BELOW, "benchmarks")
    return tuple(i for package in packages for path in sources(package) for i in imports_of(path))


def test_every_form_of_import_is_seen_and_when_it_takes_place() -> None:
    text = """
import ray.tune as tune
from snn import data
try:
    from torch import nn
except ImportError:
    from .other import nn
if TYPE_CHECKING:
    import optuna
def later():
    import sklearn
    return importlib.import_module("streamlit.web")
"""
    seen = {i.module: i.is_eager for i in imports_in(text, PurePosixPath("snn/example.py"))}
    eager = ["ray.tune", "snn.data", "torch", "a relative module"]
    late = ["optuna", "sklearn", "streamlit.web"]
    assert seen == dict.fromkeys(eager, True) | dict.fromkeys(late, False)


def test_there_are_imports_to_judge() -> None:
    assert {i.file.parts[0] for i in all_imports()} >= BELOW.keys()


@pytest.mark.parametrize("package", BELOW)
def test_a_package_imports_nothing_from_above_itself(package: str) -> None:
    others = {"snn", "search", "dashboard", "benchmarks", "tests"} - BELOW[package]
    upward = [str(i) for i in all_imports() if i.file.parts[0] == package and i.top in others]
    assert upward == []


def test_every_import_says_its_full_name() -> None:
    assert [str(i) for i in all_imports() if i.module == "a relative module"] == []


@pytest.mark.parametrize("library", HOMES)
def test_a_heavy_library_is_imported_only_at_its_home(library: str) -> None:
    strays = [
        str(i)
        for i in all_imports()
        if i.top == library
        and i.file.parts[0] != "benchmarks"
        and not any(matches(i.file, home) for home in HOMES[library])
    ]
    assert strays == []


def matches(file: PurePosixPath, home: str) -> bool:
    folder, deep, _ = home.partition("/**/")
    return file.is_relative_to(folder) if deep else file.match(home)


def test_the_engine_needs_torch_numpy_safetensors_and_for_the_digits_scikit_learn() -> None:
    engine = [i for i in all_imports() if i.file.parts[0] == "snn"]
    allowed = ENGINE_NEEDS | {"triton", "nir"} | sys.stdlib_module_names | {"snn"}
    assert [str(i) for i in engine if i.top not in allowed] == []
    assert [str(i) for i in engine if i.top == "sklearn" and i.is_eager] == []


def test_what_only_some_builds_of_torch_bring_is_loaded_when_it_is_used() -> None:
    kernels = [i for i in all_imports() if i.module.startswith("snn.lif.kernels")]
    assert [i.is_eager for i in kernels] == [False]


RUNS_THE_ENGINE = (PurePosixPath("search/configure.py"), PurePosixPath("search/graphs.py"))


def test_only_two_files_use_the_parts_of_the_engine_that_load_torch() -> None:
    strays = [
        str(i)
        for i in all_imports()
        if i.file.parts[0] in ("search", "dashboard")
        and i.top == "snn"
        and not any(f"{i.module}.".startswith(f"{light}.") for light in LIGHT_WITH_NUMPY)
        and i.file not in RUNS_THE_ENGINE
    ]
    assert strays == []


def loaded_by(modules: list[str], heavy: set[str]) -> list[str]:
    """`module: library` for each of `heavy` that a fresh Python holds after importing modules."""
    program = (
        "import importlib, sys\n"
        f"for module in {modules!r}:\n"
        "    importlib.import_module(module)\n"
        f"    loaded = {heavy!r} & sys.modules.keys()\n"
        "    if loaded:\n"
        "        print(module, *sorted(loaded))\n"
        "        break\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_importing_search_loads_neither_torch_nor_ray_nor_optuna() -> None:
    paths = [p.relative_to(ROOT).with_suffix("") for p in sources("search")]
    modules = [
        ".".join(p.parts).removesuffix(".__init__") for p in paths if "migrations" not in p.parts
    ]
    assert "search.trial" in modules
    assert loaded_by([m for m in modules if m not in LOADS_HEAVY], HEAVY) == []


def test_what_a_study_file_is_checked_against_loads_neither_torch_nor_numpy() -> None:
    assert loaded_by(sorted(LIGHT), {"torch", "numpy"}) == []
