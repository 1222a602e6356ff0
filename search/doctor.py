"""What this machine has for a search: each part there, missing or broken, and what to do."""

import importlib
import importlib.metadata
import importlib.util
import os
import platform
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Literal

LOW_SPACE_BYTES = 1e9  # a store and weights of hundreds of small trials

# What importing an installed package raises when it does not fit the others, or the machine.
BREAKAGES = (ImportError, OSError, RuntimeError, AttributeError, TypeError, ValueError)

Status = Literal["ok", "missing", "problem"]


@dataclass(frozen=True, kw_only=True)
class Check:
    """What was found of one part; `missing` is something that one can do without."""

    name: str
    status: Status
    finding: str
    mend: str = ""  # what to do, when there is something to do


def examine(*, store: str, data_dir: Path) -> Iterator[Check]:
    """All checks, one after another; importing torch takes seconds."""
    yield _python()
    yield _package("torch", _torch)
    yield _gpu()
    for name in ("numpy", "optuna", "sqlalchemy", "alembic", "sklearn", "safetensors"):
        yield _package(name)
    yield _package("ray")
    for name in ("streamlit", "plotly", "pandas"):
        yield _package(name, needed_by="the dashboard")
    yield _postgres()
    yield _store(store)
    yield from _datasets(data_dir)
    yield _disk(Path.cwd())


def _python() -> Check:
    version = platform.python_version()
    return Check(name="python", status="ok", finding=f"{version}, {os.cpu_count()} processors")


def _package(
    name: str, more: Callable[[ModuleType], str] | None = None, *, needed_by: str = ""
) -> Check:
    """Whether a package of the requirements can be imported, with its version."""
    if importlib.util.find_spec(name) is None:
        purpose = f" (needed by {needed_by})" if needed_by else ""
        return Check(
            name=name,
            status="problem",
            finding=f"not installed{purpose}",
            mend="install spikefront with all that it requires: pip install spikefront",
        )
    if needed_by:  # being there is enough; loading takes long
        return Check(name=name, status="ok", finding=_version(name))
    try:
        module = importlib.import_module(name)
    except BREAKAGES as error:
        return Check(
            name=name,
            status="problem",
            finding=f"{_version(name)} cannot be imported: {type(error).__name__}: {error}",
            mend=f"install it again: pip install --force-reinstall {_distribution(name)}",
        )
    finding = _version(name) + (f", {more(module)}" if more else "")
    return Check(name=name, status="ok", finding=finding)


def _distribution(name: str) -> str:
    return {"sklearn": "scikit-learn"}.get(name, name)


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(_distribution(name))
    except importlib.metadata.PackageNotFoundError:
        return "version unknown"


def _torch(torch: ModuleType) -> str:
    return f"{torch.get_num_threads()} threads"


def _gpu() -> Check:
    if importlib.util.find_spec("torch") is None:
        return Check(name="gpu", status="missing", finding="no torch to ask")
    try:
        import torch
    except BREAKAGES as error:  # the line on torch says what to do
        return Check(name="gpu", status="missing", finding=f"torch does not answer: {error}")
    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        return Check(name="gpu", status="ok", finding=", ".join(names))
    if torch.version.cuda is None:
        return Check(
            name="gpu",
            status="missing",
            finding="this torch is a build for processors only; everything runs on them",
            mend="for a GPU install a CUDA build of torch, see https://pytorch.org/get-started",
        )
    return Check(
        name="gpu",
        status="missing",
        finding=f"torch is built for CUDA {torch.version.cuda} but sees no GPU; "
        "everything runs on the processor",
        mend="if there is one, check its driver with nvidia-smi",
    )


def _postgres() -> Check:
    if importlib.util.find_spec("psycopg") is None:
        return Check(
            name="psycopg",
            status="missing",
            finding="not installed; only stores at postgresql:// need it",
            mend="pip install 'spikefront[postgres]'",
        )
    return Check(name="psycopg", status="ok", finding=_version("psycopg"))


def _store(url: str) -> Check:
    from search.store import Store, StoreError

    try:
        with Store(url, read_only=True) as store:
            name, studies = store.url, len(store.study_summaries())
    except StoreError as error:
        if str(error).startswith("no store at"):
            return Check(
                name="store",
                status="missing",
                finding=f"{error}",
                mend="spikefront run STUDY.toml",
            )
        return Check(
            name="store",
            status="problem",
            finding=str(error),
            mend="name another one with --store or SPIKEFRONT_STORE",
        )
    return Check(name="store", status="ok", finding=f"{name}, {studies} studies")


def _datasets(root: Path) -> Iterator[Check]:
    from snn.image_files import SOURCES, DataError

    for name, source in SOURCES.items():
        try:
            source.check(root)
        except DataError as error:
            finding, _, mend = str(error).partition("; ")
            yield Check(name=f"data: {name}", status="missing", finding=finding, mend=mend)
        else:
            where = "shipped with scikit-learn" if name == "digits" else f"in {root}"
            yield Check(name=f"data: {name}", status="ok", finding=where)


def _disk(folder: Path) -> Check:
    free = shutil.disk_usage(folder).free
    finding = f"{free / 1e9:.1f} GB free in {folder}"
    if free < LOW_SPACE_BYTES:
        mend = "make room, or work in another folder: trained weights need some"
        return Check(name="disk", status="problem", finding=finding, mend=mend)
    return Check(name="disk", status="ok", finding=finding)
