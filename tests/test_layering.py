"""The floors of the house: a wing imports only wings below it; heavy libraries have one home."""

import ast
import functools
import graphlib
import importlib.metadata
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parent.parent
# The wings from the ground up: each imports only those before it. Files of a package itself
# are its doors, above its wings.
WINGS = {
    "snn": "settings lif data network rules rewiring training evaluation interchange",
    "search": (
        "text trial study front pruners worker store samplers runners export doctor commands"
    ),
    "dashboard": "data figures parts serving views",
}
FLOORS = [
    floor
    for package, wings in WINGS.items()
    for floor in (*(f"{package}.{wing}" for wing in wings.split()), package)
]
# What scripts import draws figures, so it stands above these and below the pages.
FLOORS.remove("search")
FLOORS.insert(FLOORS.index("dashboard.figures") + 1, "search")
PACKAGES = tuple(WINGS)
MOST_MODULES = 20  # of one wing
HOMES = {
    "moocore": "search/front/*.py",
    "optuna": "search/samplers/*.py",
    "ray": "search/runners/ray_tune.py",
    "pyarrow": "search/text/artifacts.py",
    "sqlalchemy": "search/store/**/*.py",
    "alembic": "search/store/**/*.py",
    "streamlit": (
        "dashboard/app.py dashboard/parts/*.py dashboard/serving/*.py dashboard/views/*.py"
    ),
    "plotly": "dashboard/figures/*.py search/results.py",  # the latter for a type
    # doctor reports on torch itself, so it has to load it
    "torch": "snn/**/*.py search/worker/engine.py search/worker/trial_run.py search/doctor/*.py",
    "safetensors": "snn/**/*.py",
    "sklearn": "snn/data/image_files.py",
    "triton": "snn/lif/kernels.py",
    "nir": "snn/interchange/*.py",
}
ENGINE_NEEDS = {"torch", "numpy", "safetensors", "sklearn"}
# read where they are installed: snn/data/events loads them by name
READS_WITH = {"scipy", "h5py", "aedat"}
# of snn, what loads no torch
LIGHT = {"snn.settings", "snn.interchange.description"}
LIGHT_WITH_NUMPY = LIGHT | {
    "snn.data.image_files",
    "snn.evaluation.raster",
    *(f"snn.data.events.{name}" for name in ("binning", "own", "report", "store")),
}
HEAVY = {"torch", "ray", "optuna", "pyarrow"}
LOADS_HEAVY = {
    "search.samplers.nsga",
    "search.samplers.optuna_sampler",
    "search.samplers.optuna_mirror",
    "search.samplers.importance",
    "search.runners.ray_tune",
    "search.samplers.optuna_files",
    "search.samplers.grow",
    "search.samplers.gain",
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
            # `from snn.data import dataset` imports snn.data.dataset
            inner = [f"{module}.{alias.name}" for alias in node.names]
            return [name if file_of(name) else module for name in inner]
        case ast.ImportFrom():
            return ["a relative module"]
        case ast.Call(func=ast.Attribute(attr="import_module"), args=[ast.Constant(str(name)), *_]):
            return [name]
    return []


def file_of(module: str) -> PurePosixPath | None:
    """The file that importing `module` runs, where it is one of ours."""
    path = module.replace(".", "/")
    for file in (f"{path}.py", f"{path}/__init__.py"):
        if (ROOT / file).is_file():
            return PurePosixPath(file)
    return None


def wing_of(file: PurePosixPath) -> str:
    """`search/store/read.py` is in search.store, `search/store/migrations/env.py` too."""
    return ".".join(file.parts[:2]) if len(file.parts) > 2 else file.parts[0]


@functools.cache
def all_imports() -> tuple[Import, ...]:
    packages = (*PACKAGES, "benchmarks", "tools")
    return tuple(i for package in packages for path in sources(package) for i in imports_of(path))


def test_every_form_of_import_is_seen_and_when_it_takes_place() -> None:
    text = """
import ray.tune as tune
from snn.data import dataset
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
    eager = ["ray.tune", "snn.data.dataset", "torch", "a relative module"]
    late = ["optuna", "sklearn", "streamlit.web"]
    assert seen == dict.fromkeys(eager, True) | dict.fromkeys(late, False)


def test_there_are_imports_to_judge() -> None:
    assert {i.file.parts[0] for i in all_imports()} >= set(PACKAGES)


def test_every_wing_has_its_floor_and_every_floor_its_wing() -> None:
    folders = {
        wing_of(PurePosixPath(path.relative_to(ROOT).as_posix()))
        for package in PACKAGES
        for path in sources(package)
    }
    assert folders == set(FLOORS)


def test_a_wing_imports_only_wings_below_it() -> None:
    upward = [
        f"{i.file}:{i.line} imports {target}, which is above it"
        for i in all_imports()
        if i.file.parts[0] in PACKAGES
        and (target := file_of(i.module)) is not None
        and target.name != "__init__.py"
        and FLOORS.index(wing_of(target)) > FLOORS.index(wing_of(i.file))
    ]
    assert upward == []


def test_nothing_of_the_product_imports_benchmarks_tests_or_tools() -> None:
    outside = ("benchmarks", "tests", "tools")
    product = [i for i in all_imports() if i.file.parts[0] in PACKAGES]
    assert [str(i) for i in product if i.top in (*outside, "playwright")] == []


def test_no_files_import_each_other_in_a_circle() -> None:
    """Imports within functions and for type checkers are imports, too."""
    follows: dict[str, set[str]] = {}
    for i in all_imports():
        target = file_of(i.module)
        if target is not None and target != i.file and target.name != "__init__.py":
            follows.setdefault(str(i.file), set()).add(str(target))
    try:
        graphlib.TopologicalSorter(follows).prepare()
    except graphlib.CycleError as error:
        pytest.fail(" imports ".join(reversed(error.args[1])))


def test_no_wing_has_more_modules_than_one_can_look_over() -> None:
    sizes = Counter(path.parent for package in PACKAGES for path in sources(package))
    full = {str(folder.relative_to(ROOT)): n - 1 for folder, n in sizes.items()}
    assert {folder: n for folder, n in full.items() if n > MOST_MODULES} == {}


def test_no_folder_of_the_page_hides_a_library() -> None:
    """Streamlit puts dashboard/ first on sys.path, where its folders are found as packages."""
    own = {path.name.removesuffix(".py") for path in (ROOT / "dashboard").iterdir()}
    installed = set(importlib.metadata.packages_distributions())
    assert own & (installed | sys.stdlib_module_names) == set()


def test_every_import_says_its_full_name() -> None:
    assert [str(i) for i in all_imports() if i.module == "a relative module"] == []


@pytest.mark.parametrize("library", HOMES)
def test_a_heavy_library_is_imported_only_at_its_home(library: str) -> None:
    strays = [
        str(i)
        for i in all_imports()
        if i.top == library
        and i.file.parts[0] != "benchmarks"
        and not any(matches(i.file, home) for home in HOMES[library].split())
    ]
    assert strays == []


def matches(file: PurePosixPath, home: str) -> bool:
    folder, deep, _ = home.partition("/**/")
    return file.is_relative_to(folder) if deep else file.match(home)


def test_the_engine_needs_torch_numpy_safetensors_and_for_the_digits_scikit_learn() -> None:
    engine = [i for i in all_imports() if i.file.parts[0] == "snn"]
    allowed = ENGINE_NEEDS | READS_WITH | {"triton", "nir"} | sys.stdlib_module_names | {"snn"}
    assert [str(i) for i in engine if i.top not in allowed] == []
    late = {"sklearn"} | READS_WITH
    assert [str(i) for i in engine if i.top in late and i.is_eager] == []


def test_what_only_some_builds_of_torch_bring_is_loaded_when_it_is_used() -> None:
    kernels = [i for i in all_imports() if i.module.startswith("snn.lif.kernels")]
    assert [i.is_eager for i in kernels] == [False]


RUNS_THE_ENGINE = (
    PurePosixPath("search/worker/engine.py"),
    PurePosixPath("search/worker/trial_run.py"),
    PurePosixPath("search/export/graphs.py"),
)


def test_only_these_files_use_the_parts_of_the_engine_that_load_torch() -> None:
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
    assert "search.trial.trial" in modules
    assert loaded_by([m for m in modules if m not in LOADS_HEAVY], HEAVY) == []


def test_what_a_study_file_is_checked_against_loads_neither_torch_nor_numpy() -> None:
    paths = (path.relative_to(ROOT).with_suffix("") for path in sources("snn/settings"))
    settings = [".".join(path.parts) for path in paths]
    light = [*(name.removesuffix(".__init__") for name in settings), *sorted(LIGHT)]
    assert loaded_by(light, {"torch", "numpy"}) == []
