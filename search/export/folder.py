"""An exported folder: config, weights, metrics, model card; written whole or not at all."""

import contextlib
import json
import math
import os
import re
import shutil
import tomllib
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from snn.settings.config import SETTINGS, ConfigError, Fault, RunConfig
from snn.settings.measurement import METRICS, OperatingPoint
from snn.settings.unused import ignored

CONFIG, WEIGHTS, METRICS_FILE, CARD = (
    "config.toml",
    "weights.safetensors",
    "metrics.json",
    "README.md",
)
FILES = (CONFIG, WEIGHTS, METRICS_FILE, CARD)
OWN_FILES = "files"  # folder of what an own training kept
GRAPH_FILES = re.compile(r"network(-exit\d+)?\.nir|network\.json")  # with --nir
FORMAT = 1  # of metrics.json; a newer spikefront may write a higher one

# Wall times differ between runs; all other metrics are counts.
NOT_REPEATABLE = ("training_s",)


class ExportError(ValueError):
    """A folder that is not an export, or that cannot be written; the message is one line."""


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """The content of the metrics.json of an exported folder."""

    validation: Mapping[str, float]
    test: Mapping[str, float] | None
    weights_sha256: str
    data_fingerprint: str | None
    environment: Mapping[str, Any] = field(default_factory=dict)
    trained_as: Mapping[str, Any] | None = None  # settings of the larger network it was cut from


@dataclass(frozen=True, kw_only=True)
class Folder:
    """An exported folder with all its files."""

    path: Path
    config: RunConfig
    recorded: Recorded

    @property
    def weights(self) -> Path:
        """The file of weights."""
        return self.path / WEIGHTS


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A metric that differs from the recorded one."""

    name: str
    recorded: float | None
    measured: float | None

    def __str__(self) -> str:
        return f"{self.name}: recorded {self.recorded}, now {self.measured}"


def differences(
    recorded: Mapping[str, float], measured: Mapping[str, float]
) -> tuple[Difference, ...]:
    """Return the metrics that differ from the recorded ones in any bit; wall times are ignored.

    Metrics that are newer than the record are not compared.
    """
    return tuple(
        Difference(name=name, recorded=value, measured=measured.get(name))
        for name, value in recorded.items()
        if name in METRICS and name not in NOT_REPEATABLE and not is_same(value, measured.get(name))
    )


def is_same(one: float, other: float | None) -> bool:
    """Whether two values of a metric are equal; NaN, which stands for no value, equals NaN."""
    if other is None:
        return False
    return one == other or (math.isnan(one) and math.isnan(other))


# ---- reading


def read_folder(path: Path) -> Folder:
    """Read the exported folder `path`. Raises ExportError or ConfigError with file and fault."""
    if not path.is_dir():
        what = "is a file" if path.exists() else "does not exist"
        raise ExportError(
            f"{path}: must be an exported folder, but {what}; make one with `spikefront export`"
        )
    missing = [name for name in (CONFIG, WEIGHTS, METRICS_FILE) if not (path / name).is_file()]
    if missing == [WEIGHTS] and (train := _own_training(path)):
        raise ExportError(
            f"{path}: must be a network of the engine, but has the files of the own training "
            f"{train}; run it as that training does"
        )
    if missing:
        raise ExportError(
            f"{path}: must be an exported folder, but has no {' and no '.join(missing)}; "
            "make one with `spikefront export`"
        )
    return Folder(
        path=path,
        config=read_config(path / CONFIG),
        recorded=_recorded(path / METRICS_FILE),
    )


def read_config(path: Path) -> RunConfig:
    """Read the run config of a TOML file. Raises ExportError, or ConfigError with every fault."""
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        reason = "is a folder" if path.is_dir() else error.strerror or str(error)
        raise ExportError(f"{path}: must be a TOML file of run settings, got: {reason}") from error
    except (ValueError, RecursionError) as error:  # also a number of thousands of digits
        raise ExportError(f"{path}: must be a TOML file of run settings, got: {error}") from error
    if not values:
        raise ExportError(
            f"{path}: must have at least one setting of a run, such as 'backbone = \"mlp\"', got "
            "an empty file"
        )
    if {"space", "run"} & values.keys():
        raise ExportError(
            f"{path}: must hold the settings of one run, got a study file; "
            f"search it with `spikefront run {path}`"
        )
    try:
        return RunConfig.from_mapping(values)
    except ConfigError as error:
        placed = (Fault(key=f"{path}: {f.key}", message=f.message) for f in error.faults)
        raise ConfigError(tuple(placed)) from error


def ignored_settings(path: Path, config: RunConfig) -> list[str]:
    """Return a line per setting of a file of run settings that its config does not use."""
    values = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    return [f"{path}: {fault}" for fault in ignored(values, config)]


def _recorded(path: Path) -> Recorded:
    try:
        document = json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError, OSError) as error:
        raise ExportError(f"{path}: must be the JSON of an export, got: {error}") from error
    form = document.get("spikefront_export") if isinstance(document, dict) else None
    if not isinstance(form, int):
        raise ExportError(
            f"{path}: must be the JSON of an export, got no 'spikefront_export' in it"
        )
    if form > FORMAT:
        raise ExportError(
            f"{path}: was written by a newer spikefront (format {form}, this one reads {FORMAT}); "
            "update spikefront"
        )
    try:
        return Recorded(
            validation=_figures(document["validation"]["metrics"]),
            test=_figures(document["test"]["metrics"]) if document["test"] else None,
            weights_sha256=str(document["weights"]["sha256"]),
            data_fingerprint=document["data"]["fingerprint"],
            environment=dict(document["environment"]),
            trained_as=document["trained_as"],
        )
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise ExportError(
            f"{path}: must be the JSON of an export, got one that was changed "
            f"({type(error).__name__}: {error}); export it again"
        ) from error


def _figures(values: Mapping[str, float | None]) -> dict[str, float]:
    return {name: math.nan if v is None else float(v) for name, v in values.items()}


# ---- writing


@contextlib.contextmanager
def new_folder(out: Path, *, force: bool = False) -> Iterator[Path]:
    """Yield a temporary folder next to `out`, which is renamed to `out` on success.

    Raises ExportError if `out` exists: it is replaced only with `force`, and only if it
    is an exported folder without other files.
    """
    target = Path(os.path.abspath(out))
    check_target(target, force=force)
    mark = uuid.uuid4().hex[:8]
    part = target.with_name(f".{target.name}.{mark}.part")
    try:
        part.mkdir(parents=True)
    except OSError as error:
        raise ExportError(f"{out}: cannot be written: {error.strerror or error}") from error
    try:
        yield part
        if os.path.lexists(target):
            check_target(target, force=force)
            old = target.with_name(f".{target.name}.{mark}.old")
            target.rename(old)
            part.rename(target)
            shutil.rmtree(old)
        else:
            part.rename(target)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def check_target(out: Path, *, force: bool) -> None:
    """Raise ExportError unless `out` does not exist, or may be replaced."""
    if not os.path.lexists(out):
        return
    if not force:
        hint = " (or replace it with --force)" if _is_only_export(out) else ""
        raise ExportError(f"{out}: exists already; choose another folder{hint}")
    if not _is_only_export(out):
        raise ExportError(
            f"{out}: --force replaces only exported folders; {out} is not one, or contains other "
            "files. Choose another folder"
        )


def _is_only_export(path: Path) -> bool:
    """Whether a folder is an exported one without other files."""
    if path.is_symlink() or not path.is_dir():
        return False
    names = {entry.name for entry in path.iterdir()}
    if _own_training(path):
        return names <= {CONFIG, METRICS_FILE, CARD, OWN_FILES}
    graphs = {name for name in names if GRAPH_FILES.fullmatch(name)}
    if not {CONFIG, WEIGHTS, METRICS_FILE} <= names <= set(FILES) | graphs:
        return False
    try:
        _recorded(path / METRICS_FILE)
    except ExportError:
        return False
    return True


def _own_training(path: Path) -> str | None:
    """Return `module:function` of an exported own training; None for anything else."""
    try:
        document = json.loads((path / METRICS_FILE).read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError, OSError):
        return None
    is_export = isinstance(document, dict) and "spikefront_export" in document
    return str(document["train"]) if is_export and document.get("train") else None


def config_text(config: RunConfig, *, title: str) -> str:
    """Return a config as the text of a TOML file, with the meaning of each setting."""
    import tomli_w

    lines = [f"# {line}" for line in title.splitlines()]
    for name, value in config.to_mapping().items():
        assignment = tomli_w.dumps({name: value}, indent=0).replace("\n", " ").strip()
        assignment = assignment.replace("[ ", "[").replace(", ]", "]")
        lines += ["", f"# {SETTINGS[name].meaning}", assignment]
    return "\n".join(lines) + "\n"


def point_settings(point: OperatingPoint) -> dict[str, object]:
    """Return the settings of an operating point, for JSON."""
    return {
        "timesteps": point.timesteps,
        "exit_thresholds": list(point.exit_thresholds),
        "detector_threshold": point.detector_threshold,
        "time_threshold": point.time_threshold,
        "blocks": point.blocks,
    }
