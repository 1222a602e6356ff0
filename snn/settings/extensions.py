"""Architectures and data sets of one's own, from modules outside of spikefront.

A module says what it brings when it is imported:

    from snn.settings.backbones import ConvUnit, ResidualUnit
    from snn.settings.extensions import add_backbone, add_dataset

    add_backbone("mynet", [ConvUnit(channels=1, pool=True), ResidualUnit(channels=2)])
    add_dataset("mine", image_shape=(1, 16, 16), classes=4, read=read)

It is found by the environment variable SPIKEFRONT_EXTENSIONS, a list of files or
modules separated as in PATH, or, where it is installed, by an entry point of the
group `spikefront.extensions`. It must import neither snn.settings.config nor what imports
that: names are known before settings are.
"""

import functools
import hashlib
import importlib
import importlib.metadata
import importlib.util
import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from snn.settings.backbones import BACKBONES, Backbone, Unit
from snn.settings.datasets import DATASETS

VARIABLE = "SPIKEFRONT_EXTENSIONS"
GROUP = "spikefront.extensions"
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")

Read = Callable[[Path], tuple[tuple[Any, Any], tuple[Any, Any]]]

READERS: dict[str, Read] = {}  # of data sets that extensions brought
faults: list[str] = []  # of extensions that could not be loaded, a line each
_sources: dict[str, str] = {}  # digest of each extension's text, by its name
_is_loaded = False


class ExtensionError(ValueError):
    """What an extension brings cannot be; one line."""


def add_backbone(name: str, units: Sequence[Unit], meaning: str = "") -> None:
    """Make an architecture known. Raises ExtensionError."""
    _check_name("backbone", name, BACKBONES)
    if not units or not all(isinstance(unit, Unit) for unit in units):
        message = "must be a list of ConvUnit, ResidualUnit and DenseUnit"
        raise ExtensionError(f"backbone {name!r}: units {message}, got {units!r}")
    said = meaning or f"{len(units)} units, of an extension"
    BACKBONES[name] = Backbone(name=name, units=tuple(units), meaning=said)


def add_dataset(name: str, *, image_shape: tuple[int, int, int], classes: int, read: Read) -> None:
    """Make a data set known.

    `image_shape` is channels, height and width, with height = width. `read` gets the
    data folder and gives `(images, labels), (images, labels)`, training and test:
    numpy arrays, images uint8 of shape `images channels height width`, labels whole
    numbers from 0 to `classes` - 1. It raises FileNotFoundError or ValueError with
    what is missing or wrong. Raises ExtensionError.
    """
    _check_name("data set", name, DATASETS)
    is_shape = len(image_shape) == 3 and all(isinstance(n, int) and n > 0 for n in image_shape)
    if not is_shape or image_shape[1] != image_shape[2]:
        message = "must be (channels, side, side), whole numbers above 0"
        raise ExtensionError(f"data set {name!r}: image_shape {message}, got {image_shape!r}")
    if not isinstance(classes, int) or classes < 2:
        raise ExtensionError(f"data set {name!r}: classes must be at least 2, got {classes!r}")
    DATASETS[name] = (image_shape, classes)
    READERS[name] = read


def _check_name(what: str, name: str, known: dict[str, Any]) -> None:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        message = "must be lower-case letters, digits, '.', '_' or '-'"
        raise ExtensionError(f"the name of a {what} {message}, got {name!r}")
    if name in known:
        raise ExtensionError(f"{what} {name!r} is known already; give yours another name")


def load() -> None:
    """Import every extension, once; what is wrong with one is kept in `faults`."""
    global _is_loaded
    if _is_loaded:
        return
    _is_loaded = True
    named = [part.strip() for part in os.environ.get(VARIABLE, "").split(os.pathsep)]
    words = [_absolute(word) for word in named if word]
    if words:  # workers begin in other folders
        os.environ[VARIABLE] = os.pathsep.join(words)
    for word in words:
        _load(f"{VARIABLE}: {word}", functools.partial(_import, word))
    for point in importlib.metadata.entry_points(group=GROUP):
        _load(f"{GROUP}: {point.name}", point.load)


def fingerprint() -> str:
    """Names the text of all extensions; empty where there is none."""
    text = "\n".join(f"{name} {digest}" for name, digest in sorted(_sources.items()))
    return hashlib.sha256(text.encode()).hexdigest()[:16] if text else ""


def _absolute(word: str) -> str:
    is_file = word.endswith(".py") or os.sep in word
    return str(Path(word).expanduser().absolute()) if is_file else word


def _load(name: str, bring: Callable[[], Any]) -> None:
    try:
        module = bring()
    except Exception as error:  # whatever a module of somebody else's throws
        said = str(error).splitlines()[0] if str(error) else "no message"
        faults.append(f"{name}: cannot be loaded: {type(error).__name__}: {said}")
        return
    path = getattr(module, "__file__", None)
    if path:
        _sources[Path(path).name] = hashlib.sha256(Path(path).read_bytes()).hexdigest()


def _import(word: str) -> Any:
    if not word.endswith(".py"):
        return importlib.import_module(word)
    name = f"spikefront_extension_{hashlib.sha256(word.encode()).hexdigest()[:8]}"
    spec = importlib.util.spec_from_file_location(name, word)
    if spec is None or spec.loader is None:
        raise ImportError("is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module
