"""Extensions: architectures, units and data sets from outside of spikefront.

Extensions import `snn.extensions`. They are found by the environment variable
SPIKEFRONT_EXTENSIONS, a list of files, modules or folders of recordings (with a dataset.toml),
separated as in PATH, or, if installed,
by an entry point of the group `spikefront.extensions`. They are loaded before the settings
are declared, because their names are choices of settings.
"""

import dataclasses
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
from typing import Any, Literal

from snn.settings import own_recordings
from snn.settings.architecture import ArchitectureError, parse_architecture
from snn.settings.backbones import BACKBONES, Backbone
from snn.settings.datasets import DATASETS, RECORDINGS, RecordingSet
from snn.settings.measurement import (
    METRICS,
    Evaluation,
    Metric,
    OperatingPoint,
    name_fault,
)
from snn.settings.setting import counted
from snn.settings.units import KINDS, Unit
from snn.settings.user_folders import expanded

VARIABLE = "SPIKEFRONT_EXTENSIONS"
GROUP = "spikefront.extensions"
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")

Read = Callable[[Path], tuple[tuple[Any, Any], tuple[Any, Any]]]

ReadEvents = Callable[[Path], tuple[Sequence[Path | str], Sequence[Any], Sequence[Any]]]

Compute = Callable[[Any, Evaluation, OperatingPoint], float]

READERS: dict[str, Read] = {}  # reader of each data set of an extension
EVENT_READERS: dict[str, ReadEvents] = {}  # the same of recordings
DECLARED: dict[str, own_recordings.Declared] = {}  # folders of recordings, by name
ADDED_METRICS: dict[str, Metric] = {}  # of extensions, by name
COMPUTES: dict[str, Compute] = {}  # how each is computed
faults: list[str] = []  # one line for each extension that could not be loaded
_sources: dict[str, str] = {}  # SHA-256 of each extension's file, by file name
_is_loaded = False


class ExtensionError(ValueError):
    """An invalid architecture, data set or metric of an extension; the message is one line."""


class MetricError(ValueError):
    """A metric of an extension that could not be computed; the message is one line."""


def add_metric(
    name: str, *, unit: str = "", better: Literal["higher", "lower"], meaning: str, compute: Compute
) -> None:
    """Add a metric of networks that the engine trains. Raises ExtensionError.

    `compute(trained, evaluation, point)` returns its value at an operating point: `trained` has
    the `network` and the `config`, `evaluation` the layers, exits and number of images, `point`
    the timesteps, exit thresholds, blocks and the built-in `metrics`. It is called for the points
    that are kept: those that no other point of the network dominates in the built-in metrics.
    """
    if message := name_fault(name):
        raise ExtensionError(f"metric {name!r} {message}")
    if name in METRICS or name in ADDED_METRICS:
        raise ExtensionError(f"metric {name!r} exists already; use another name")
    if better not in ("higher", "lower"):
        raise ExtensionError(f"metric {name!r}: better must be 'higher' or 'lower', got {better!r}")
    if not isinstance(unit, str) or not isinstance(meaning, str) or not meaning:
        raise ExtensionError(
            f"metric {name!r}: unit and meaning must be text, the latter not empty"
        )
    if not callable(compute):
        message = "must be a function of trained network, evaluation and operating point"
        raise ExtensionError(f"metric {name!r}: compute {message}, got {type(compute).__name__}")
    ADDED_METRICS[name] = Metric(name=name, unit=unit, better=better, meaning=meaning)
    COMPUTES[name] = compute


def with_added_metrics(trained: Any, evaluation: Evaluation) -> Evaluation:
    """Return an evaluation whose points have the metrics of extensions. Raises MetricError."""
    if not COMPUTES:
        return evaluation
    points = (
        dataclasses.replace(
            point, metrics={**point.metrics, **_added_metrics(trained, evaluation, point)}
        )
        for point in evaluation.points
    )
    return dataclasses.replace(evaluation, points=tuple(points))


def _added_metrics(trained: Any, evaluation: Evaluation, point: OperatingPoint) -> dict[str, float]:
    found = {}
    for name, compute in COMPUTES.items():
        try:
            value = compute(trained, evaluation, point)
        except Exception as error:
            raise MetricError(f"metric {name} of an extension: {described(error)}") from error
        plain = value.item() if hasattr(value, "item") else value
        if isinstance(plain, bool) or not isinstance(plain, int | float):
            raise MetricError(
                f"metric {name} of an extension: must be a number, got {type(value).__name__}"
            )
        found[name] = float(plain)
    return found


def add_backbone(name: str, units: Sequence[Unit] | str, meaning: str = "") -> None:
    """Add an architecture, a list of units or a text, for `backbone = NAME`.

    Raises ExtensionError.
    """
    _check_name("backbone", name, BACKBONES)
    if isinstance(units, str):
        try:
            units = parse_architecture(units)
        except ArchitectureError as error:
            raise ExtensionError(f"backbone {name!r}{_after(str(error))}") from None
    if not isinstance(units, Sequence) or not units or not all(isinstance(u, Unit) for u in units):
        known = ", ".join(kind.__name__ for kind in KINDS.values())
        message = f"must be a list of units ({known}) or a text"
        raise ExtensionError(f"backbone {name!r}: units {message}, got {units!r}")
    listed: tuple[Unit, ...] = tuple(units)  # type: ignore[arg-type]  # checked above
    for place, unit in enumerate(listed, 1):
        for field in unit.fields():
            key, value, signs = field.name, getattr(unit, field.name), field.metadata.get("signs")
            if signs and value not in signs:
                message = f"{key} must be one of {', '.join(signs)}, got {value!r}"
                raise ExtensionError(f"backbone {name!r}: unit {place}: {message}")
            if not signs and not isinstance(field.default, bool) and not _is_count(value):
                message = f"{key} must be an integer above 0, got {value!r}"
                raise ExtensionError(f"backbone {name!r}: unit {place}: {message}")
    meaning = meaning or f"{counted(len(units), 'unit')}, of an extension"
    BACKBONES[name] = Backbone(name=name, units=listed, meaning=meaning)


def add_unit(kind: type[Unit]) -> None:
    """Add a kind of unit, for words that begin with its letter. Raises ExtensionError."""
    if not (isinstance(kind, type) and issubclass(kind, Unit)):
        raise ExtensionError(f"a unit must be a subclass of Unit, got {kind!r}")
    letter = getattr(kind, "letter", None)
    if not (isinstance(letter, str) and re.fullmatch("[a-z]", letter)):
        message = f"must be a lower-case letter, got {letter!r}"
        raise ExtensionError(f"unit {kind.__name__}: letter {message}")
    if letter in KINDS:
        message = f"letter {letter!r} is that of {KINDS[letter].__name__}; use another one"
        raise ExtensionError(f"unit {kind.__name__}: {message}")
    if not dataclasses.is_dataclass(kind) or not kind.fields():
        message = "must be a dataclass with a size, a field made by `size`"
        raise ExtensionError(f"unit {kind.__name__}: {message}")
    KINDS[letter] = kind


def _after(message: str) -> str:
    """Return a message of an architecture behind its name."""
    return message if message.startswith(":") else f": {message}"


def add_dataset(name: str, *, image_shape: tuple[int, int, int], classes: int, read: Read) -> None:
    """Add a data set, for `dataset = NAME`. Raises ExtensionError.

    `image_shape` is (channels, height, width). `read` takes the data
    folder and returns `(images, labels), (images, labels)`, training and test part, as
    numpy arrays: images uint8 (images, channels, height, width), labels integers (images,)
    from 0 to `classes` - 1. It raises an error for missing or invalid files.
    """
    _check_name("data set", name, DATASETS)
    is_shape = isinstance(image_shape, Sequence) and len(image_shape) == 3
    if not is_shape or not all(map(_is_count, image_shape)):
        message = "must be (channels, height, width), integers above 0"
        raise ExtensionError(f"data set {name!r}: image_shape {message}, got {image_shape!r}")
    if not _is_count(classes) or classes < 2:
        raise ExtensionError(f"data set {name!r}: classes must be at least 2, got {classes!r}")
    if not callable(read):
        message = "must be a function of the data folder"
        raise ExtensionError(f"data set {name!r}: read {message}, got {type(read).__name__}")
    channels, height, width = image_shape
    DATASETS[name] = ((channels, height, width), classes)
    READERS[name] = read


def add_events(
    name: str, *, shape: tuple[int, int, int], classes: int, clip_ms: float, read: ReadEvents
) -> None:
    """Add a data set of recordings, for `dataset = NAME`. Raises ExtensionError.

    `shape` is (polarities, height, width), `clip_ms` the part of each recording that is used,
    from its first event. `read` takes the data folder and returns `files, train, test`: the
    files that the recordings come from (when one changes, they are read again), and two
    sequences of `(events, label)`. Events are structured arrays with the fields t (microseconds),
    x, y, p in any order, as Tonic's data sets give them; labels are from 0 to `classes` - 1.
    """
    _check_name("data set", name, DATASETS)
    is_shape = isinstance(shape, Sequence) and len(shape) == 3
    if not is_shape or not all(map(_is_count, shape)) or shape[0] > 2:
        message = "must be (1 or 2 polarities, height, width), integers above 0"
        raise ExtensionError(f"data set {name!r}: shape {message}, got {shape!r}")
    if not _is_count(classes) or classes < 2:
        raise ExtensionError(f"data set {name!r}: classes must be at least 2, got {classes!r}")
    if isinstance(clip_ms, bool) or not isinstance(clip_ms, int | float) or not clip_ms > 0:
        raise ExtensionError(f"data set {name!r}: clip_ms must be above 0, got {clip_ms!r}")
    if not callable(read):
        message = "must be a function of the data folder"
        raise ExtensionError(f"data set {name!r}: read {message}, got {type(read).__name__}")
    polarities, height, width = shape
    DATASETS[name] = ((polarities, height, width), classes)
    RECORDINGS[name] = RecordingSet(clip_ms=float(clip_ms))
    EVENT_READERS[name] = read


def _declare(folder: Path) -> None:
    """Add the recordings of a folder with a dataset.toml."""
    found = own_recordings.read(folder / own_recordings.FILE)
    _check_name("data set", found.name, DATASETS)
    if len(found.classes) < 2:
        raise ExtensionError(
            f"{folder}: must have at least 2 classes (sub-folders, or in labels.csv), "
            f"got {len(found.classes)}"
        )
    DATASETS[found.name] = (found.size, len(found.classes))
    RECORDINGS[found.name] = RecordingSet(
        clip_ms=float(found.clip_ms),
        kind="series" if found.kind == "series" else "events",
        folder=folder,
        is_grouped=found.is_grouped,
    )
    DECLARED[found.name] = found


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _check_name(kind: str, name: str, known: dict[str, Any]) -> None:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        message = "must be lower-case letters, digits, '.', '_' or '-'"
        raise ExtensionError(f"the name of a {kind} {message}, got {name!r}")
    if name in known:
        raise ExtensionError(f"{kind} {name!r} exists already; use another name")


def load() -> None:
    """Import every extension, once; add a line to `faults` for each that fails."""
    global _is_loaded
    if _is_loaded:
        return
    _is_loaded = True
    named = [part.strip() for part in os.environ.get(VARIABLE, "").split(os.pathsep)]
    words = []
    for word in filter(None, named):
        try:
            words.append(_absolute(word))
        except OSError as error:
            faults.append(f"{VARIABLE}: {word}: cannot be loaded: {error.strerror or error}")
    if words:  # workers start in other folders
        os.environ[VARIABLE] = os.pathsep.join(words)
    for word in words:
        _load(f"{VARIABLE}: {word}", functools.partial(_import, word))
    for point in importlib.metadata.entry_points(group=GROUP):
        _load(f"{GROUP}: {point.name}", point.load)


def fingerprint() -> str:
    """Return 16 hex digits over the files of all extensions; an empty string without any."""
    text = "\n".join(f"{name} {digest}" for name, digest in sorted(_sources.items()))
    return hashlib.sha256(text.encode()).hexdigest()[:16] if text else ""


def described(error: BaseException) -> str:
    """Return the type and the first line of an error that foreign code raised."""
    lines = str(error).split("\n")
    return f"{type(error).__name__}: {next(filter(None, map(str.strip, lines)), 'no message')}"


def _absolute(word: str) -> str:
    is_file = word.endswith(".py") or os.sep in word or _is_folder(word)
    return str(expanded(word)) if is_file else word


def _is_folder(word: str) -> bool:
    return (Path(word).expanduser() / own_recordings.FILE).is_file()


def _load(name: str, importer: Callable[[], Any]) -> None:
    try:
        module = importer()
        path = getattr(module, "__file__", None)
        if path:
            _sources[Path(path).name] = hashlib.sha256(Path(path).read_bytes()).hexdigest()
    except (Exception, SystemExit) as error:  # foreign code may raise anything
        faults.append(f"{name}: cannot be loaded: {described(error)}")


def _import(word: str) -> Any:
    if _is_folder(word):
        path = Path(word) / own_recordings.FILE
        _declare(path.parent)
        _sources[f"{path.parent.name}/{path.name}"] = hashlib.sha256(path.read_bytes()).hexdigest()
        return None
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
