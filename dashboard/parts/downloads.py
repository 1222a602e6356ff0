"""Networks as zip files of the folders that `spikefront export` writes."""

import io
import os
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

from dashboard.parts.store_cache import open_store
from search.export.export import at_point, weights_problem
from search.export.folder import config_text
from search.export.own_files import export_any_point
from search.store.store import Store, StoreError
from snn.settings.config import ConfigError


def export_problem(url: str, study: str, number: int) -> str | None:
    """Return the reason why this trial cannot be exported, or None."""
    try:
        trial = open_store(url).trial(study, number)
    except (StoreError, ConfigError) as error:
        return str(error).splitlines()[0]
    if trial.engine_config is None and trial.artifact is None:  # an own training without files
        return None
    return weights_problem(trial)


def exported_zip(url: str, study: str, number: int, point: int) -> bytes:
    """Return one operating point as a zip file. Raises ExportError or StoreError."""
    store = Store(url, read_only=True)
    stored = next(each for each in store.operating_points(study, number) if each.id == point)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / f"{study}-{number}-{point}"
        export_any_point(store, study, stored, folder, data_dir=data_dir())
        return zipped(folder)


def networks_zip(url: str, study: str, points: Sequence[tuple[int, int]], table: bytes) -> bytes:
    """Return operating points (trial, id) as folders of one zip file, with `points.csv`.

    Raises ExportError or StoreError.
    """
    with Store(url, read_only=True) as store, tempfile.TemporaryDirectory() as scratch:
        home = Path(scratch) / f"{study}-networks"
        home.mkdir()
        (home / "points.csv").write_bytes(table)
        for number, point in points:
            stored = next(p for p in store.operating_points(study, number) if p.id == point)
            folder = home / f"{study}-{number}-{point}"
            export_any_point(store, study, stored, folder, data_dir=data_dir())
        return zipped(home)


def config_toml(url: str, study: str, number: int, point: int) -> bytes:
    """Return the settings of one operating point as a file for `spikefront train`.

    Raises StoreError if the trial has no settings.
    """
    store = open_store(url)
    trial = store.trial(study, number)
    stored = next(each for each in store.operating_points(study, number) if each.id == point)
    if trial.engine_config is None:
        raise StoreError(f"trial {number} of {study} has no settings")
    config = at_point(trial.engine_config, stored.point)
    return config_text(config, title=f"trial {number} of the study {study}").encode()


def zipped(folder: Path) -> bytes:
    """Return the folder as a zip file that unpacks to a folder of the same name."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.rglob("*")):
            archive.write(path, path.relative_to(folder.parent))
    return buffer.getvalue()


def data_dir() -> Path:
    """Return the folder of data sets, as for every command."""
    return Path(os.environ.get("SPIKEFRONT_DATA") or "data")
