"""A training of the user: the function that `run.train` names, found, checked and imported.

`mine:train` is the function `train` of the module `mine`: a file beside the study file or in
the current folder, or a module on Python's path.
"""

import ast
import hashlib
import importlib
import importlib.util
import inspect
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from snn.settings.config import SETTINGS, Fault, current_names, nearest

TRAIN = "train"
MEANINGS = ("train", "seed", "epochs")  # settings of [run] that spikefront reads itself
_FORM = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
_NAME = re.compile(r"[A-Za-z_]\w*")
_LARGEST = 2**53  # further integers are not exact in JSON


class FunctionError(ValueError):
    """A function that cannot be found, imported or used as a training; one line."""


def reference(train: object) -> tuple[str, Callable[..., Any] | None]:
    """Return `module:function` of what a study names, and the function if it has no module.

    A function of a notebook or of another function cannot be imported: it is kept itself.
    """
    if isinstance(train, str) or not callable(train):
        return str(train), None
    name = getattr(train, "__name__", type(train).__name__)
    module = getattr(train, "__module__", "__main__") or "__main__"
    found = sys.modules.get(module)
    is_found = module != "__main__" and getattr(found, name, None) is train
    return f"{module}:{name}", None if is_found else train


def read_run(table: Mapping[str, Any], searched: object, faults: list[Fault]) -> dict[str, Any]:
    """Read `[run]` of an own training: `train`, `seed`, `epochs`, and the function's own."""
    values: dict[str, Any] = {}
    for name, given in table.items():
        message = setting_fault(name, given)
        if message:
            faults.append(Fault(key=f"run.{name}", message=message))
        else:
            values[name] = given
    return values


def setting_fault(name: str, value: object) -> str | None:
    """Return why a setting cannot have this value, or None."""
    if name == TRAIN:
        if isinstance(value, str) and _FORM.fullmatch(value):
            return None
        return f"must be like 'module:function', got {value!r}"
    if name in MEANINGS:
        return SETTINGS[name].fault(value)
    if not _NAME.fullmatch(name):
        return "must be named by letters, digits and '_'"
    return json_fault(value) or renamed_fault(name, value)


def renamed_fault(name: str, value: object) -> str | None:
    """Return why a value would not stay as it is, or None.

    Stored values that earlier versions of spikefront had for its own settings are translated.
    """
    if current_names({name: value}) == {name: value}:
        return None
    return f"is a setting of spikefront, whose value {value!r} has another name now; rename yours"


def json_fault(value: object) -> str | None:
    """Return why a value cannot be written as JSON, or None."""
    if value is None or isinstance(value, str | bool):
        return None
    if isinstance(value, int):
        return None if abs(value) <= _LARGEST else f"must be at most 2**53, got {value}"
    if isinstance(value, float):
        return None if value - value == 0 else f"must be finite, got {value}"
    if isinstance(value, Mapping):
        items = value.values()
        if not all(isinstance(key, str) for key in value):
            return "must have text as keys"
    elif isinstance(value, list | tuple):
        items = value  # type: ignore[assignment]
    else:
        return (
            "must be text, a number, true or false, a list or a table, because it is stored as "
            f"JSON, got {type(value).__name__}"
        )
    return next((message for item in items if (message := json_fault(item))), None)


def find(train: str, folder: Path | None) -> Path | None:
    """Return the Python file of the module; None if it is no file. Raises FunctionError."""
    module = train.partition(":")[0]
    if module.partition(".")[0] in sys.stdlib_module_names:
        raise FunctionError(f"names {module!r}, a module of Python itself; rename your file")
    parts = Path(*module.split("."))
    for place in _places(folder):
        for path in (place / f"{parts}.py", place / parts / "__init__.py"):
            if path.is_file():
                return path
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError, AttributeError):
        spec = None
    if spec is None:
        where = " or ".join(str(place) for place in _places(folder))
        raise FunctionError(f"has no module {module!r}: neither in {where} nor on Python's path")
    is_source = spec.origin is not None and spec.origin.endswith(".py")
    return Path(str(spec.origin)) if is_source else None


def _places(folder: Path | None) -> list[Path]:
    places = [Path.cwd()] if folder is None else [folder, Path.cwd()]
    return list(dict.fromkeys(place.resolve() for place in places))


def checked_code(train: str, folder: Path | None) -> str:
    """Return the fingerprint of the function's file, which is read and not run.

    Raises FunctionError: there is no such module or function, or it is no generator.
    """
    path = find(train, folder)
    if path is None:
        return ""
    data = path.read_bytes()
    try:
        tree = ast.parse(data, str(path))
    except (SyntaxError, ValueError) as error:
        line = f", line {error.lineno}" if isinstance(error, SyntaxError) else ""
        said = error.msg if isinstance(error, SyntaxError) else error
        raise FunctionError(f"{path}{line}: is not Python: {said}") from None
    _check(tree, train.partition(":")[2], path)
    return _digest(data)


def _check(tree: ast.Module, name: str, path: Path) -> None:
    functions = {
        node.name: node
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node in tree.body
    }
    if name not in functions:
        if name in set(_other_names(tree)):
            return  # imported or computed: seen when it runs
        hint = nearest(name, functions) or f"; functions: {', '.join(functions) or 'none'}"
        raise FunctionError(f"{path}: has no function {name!r}{hint}")
    function = functions[name]
    if not function.decorator_list and not _yields(function):
        raise FunctionError(f"{path}: {name} {NO_GENERATOR}")


NO_GENERATOR = "is no generator: `yield` the metrics after each epoch, as {'accuracy': 0.93}"


def _yields(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Whether a function contains a yield of its own, not only of inner functions."""
    if isinstance(function, ast.AsyncFunctionDef):
        return False
    inner = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)
    nodes: list[ast.AST] = [*function.body]
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.Yield | ast.YieldFrom):
            return True
        if not isinstance(node, inner):
            nodes.extend(ast.iter_child_nodes(node))
    return False


def _other_names(tree: ast.Module) -> Iterator[str]:
    """Yield the names that a module has in other ways than by `def`; `*` of a whole module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom | ast.Import):
            yield from (alias.asname or alias.name for alias in node.names)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.ClassDef):
            yield node.name


def code_of(function: Callable[..., Any]) -> str:
    """Return the fingerprint of a function that has no module of its own."""
    try:
        data = inspect.getsource(function).encode()
    except (OSError, TypeError):
        code = getattr(function, "__code__", None)
        data = b"" if code is None else code.co_code
    return _digest(data) if data else ""


def check_function(function: object, name: str) -> None:
    """Raise FunctionError unless this is a generator function of two arguments."""
    if not callable(function):
        raise FunctionError(f"{name} must be a function, got {type(function).__name__}")
    if not inspect.isgeneratorfunction(inspect.unwrap(function)):
        raise FunctionError(f"{name} {NO_GENERATOR}")
    try:
        inspect.signature(function).bind({}, None)
    except TypeError:
        message = "must take two arguments, as def train(params, context)"
        raise FunctionError(f"{name} {message}") from None
    except ValueError:  # without a signature
        return


def load(train: str, folder: Path | None) -> tuple[Callable[..., Any], str]:
    """Import the function; returns it with the fingerprint of its file. Raises FunctionError.

    A module that was imported from another file, or from this one before it changed, is
    imported again.
    """
    module, _, name = train.partition(":")
    path = find(train, folder)
    code = "" if path is None else _digest(path.read_bytes())
    for place in map(str, reversed(_places(folder))):
        if place in sys.path:
            sys.path.remove(place)
        sys.path.insert(0, place)
    known = sys.modules.get(module)
    if path is not None and known is not None and _imported.get(module) != (path, code):
        is_elsewhere = Path(getattr(known, "__file__", None) or "").resolve() != path.resolve()
        if is_elsewhere or module in _imported:
            del sys.modules[module]
    importlib.invalidate_caches()
    try:
        found = getattr(importlib.import_module(module), name, None)
    except Exception as error:
        lines = str(error).strip().splitlines() or [""]
        raise FunctionError(
            f"{path or module}: cannot be imported: {type(error).__name__}: {lines[0]}"
        ) from error
    if path is not None:
        _imported[module] = (path, code)
    if found is None:
        raise FunctionError(f"{path or module}: has no function {name!r}")
    check_function(found, train)
    function: Callable[..., Any] = found
    return function, code


_imported: dict[str, tuple[Path, str]] = {}  # file and fingerprint of each imported module


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]
