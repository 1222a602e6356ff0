"""What people take away: networks as folders."""

import io
import os
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

from dashboard.parts.store_cache import open_store
from search.export.export import at_point, export_point, weights_problem
from search.export.folder import config_text
from search.store.store import Store, StoreError
from snn.settings.config import ConfigError


def export_problem(url: str, study: str, number: int) -> str | None:
    """Why nothing of this trial can be exported, or None."""
    try:
        trial = open_store(url).trial(study, number)
    except (StoreError, ConfigError) as error:
        return str(error).splitlines()[0]
    return weights_problem(trial)


def exported_zip(url: str, study: str, number: int, point: int) -> bytes:
    """One operating point as the folder that `spikefront export` writes, zipped.

    Raises ExportError or StoreError when it cannot be made.
    """
    store = Store(url, read_only=True)
    stored = next(each for each in store.operating_points(study, number) if each.id == point)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / f"{study}-{number}-{point}"
        export_point(store, study, stored, folder, data_dir=data_dir())
        return zipped(folder)


def networks_zip(url: str, study: str, points: Sequence[tuple[int, int]], table: bytes) -> bytes:
    """Several operating points, each by its trial and id, as folders beside one `points.csv`.

    Raises ExportError or StoreError when one cannot be made.
    """
    with Store(url, read_only=True) as store, tempfile.TemporaryDirectory() as scratch:
        home = Path(scratch) / f"{study}-networks"
        home.mkdir()
        (home / "points.csv").write_bytes(table)
        for number, point in points:
            stored = next(p for p in store.operating_points(study, number) if p.id == point)
            folder = home / f"{study}-{number}-{point}"
            export_point(store, study, stored, folder, data_dir=data_dir())
        return zipped(home)


def config_toml(url: str, study: str, number: int, point: int) -> bytes:
    """The settings of one operating point, which `spikefront train` runs again.

    Raises StoreError where there are none.
    """
    store = open_store(url)
    trial = store.trial(study, number)
    stored = next(each for each in store.operating_points(study, number) if each.id == point)
    if trial.config is None:
        raise StoreError(f"trial {number} of {study} kept no settings")
    config = at_point(trial.config, stored.point)
    return config_text(config, title=f"trial {number} of the study {study}").encode()


def zipped(folder: Path) -> bytes:
    """The folder as a zip file that unpacks to a folder of the same name."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.rglob("*")):
            archive.write(path, path.relative_to(folder.parent))
    return buffer.getvalue()


def data_dir() -> Path:
    """Where data sets lie, as for every command."""
    return Path(os.environ.get("SPIKEFRONT_DATA") or "data")
