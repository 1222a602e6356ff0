"""The store, trained weights, data sets, and free space on the disks."""

import os
import shlex
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from search.doctor.check import Check
from search.text import artifacts as weights
from snn.settings.setting import counted

if TYPE_CHECKING:
    from search.store.store import Store, StudySummary

LOW_SPACE_BYTES = 1e9  # a store and weights of hundreds of small trials
MOST_STUDIES = 20  # whose weights are checked, those that changed last


def unwritable(folder: Path) -> str:
    """Return why a folder cannot be written, or cannot be made; empty where it can."""
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not there.is_dir():
        return f"{there} is a file"
    try:
        tempfile.TemporaryFile(dir=there).close()
    except OSError as error:
        return f"{there}: {error.strerror or error}"
    return ""


def store(url: str) -> Check:
    """Check whether the store can be read, and written by a run."""
    from search.store.database import OtherVersionError, file_of
    from search.store.store import Store, StoreError

    try:
        with Store(url, read_only=True) as opened:
            name, studies = opened.url, len(opened.study_heads())
    except OtherVersionError as error:
        finding, _, remedy = str(error).partition("; ")
        return Check(name="store", status="problem", finding=finding, remedy=remedy)
    except StoreError as error:
        return _no_store(error)
    file = file_of(url)
    if file is not None and (fault := _unwritable_file(file)):
        return Check(
            name="store",
            status="problem",
            finding=f"{name} can be read, but not written by a run: {fault}",
            remedy="allow this user to write the file and its folder, or choose another store "
            "with --store or SPIKEFRONT_STORE",
        )
    return Check(name="store", finding=f"{name}, {counted(studies, 'study', 'studies')}")


def _no_store(error: ValueError) -> Check:
    said = str(error)
    if said.startswith("no store at"):
        return Check(
            name="store",
            status="missing",
            finding=said,
            remedy="the first `spikefront run STUDY.toml` makes it; choose an existing one with "
            "--store or SPIKEFRONT_STORE",
        )
    if "pip install" in said:
        finding, _, remedy = said.partition(": pip install")
        return Check(name="store", status="problem", finding=finding, remedy=f"pip install{remedy}")
    return Check(
        name="store",
        status="problem",
        finding=said,
        remedy="choose another store with --store or SPIKEFRONT_STORE",
    )


def _unwritable_file(file: Path) -> str:
    try:
        file.open("r+b").close()  # changes nothing
    except OSError as error:
        return f"{file}: {error.strerror or error}"
    return unwritable(file.parent)


def studies(url: str) -> Iterator[Check]:
    """Yield a check per study whose driver ended unexpectedly, or whose weights are missing."""
    from search.store.store import Store, StoreError

    try:
        with Store(url, read_only=True) as opened:
            found = sorted(opened.study_summaries(), key=lambda s: s.last_change_at, reverse=True)
            for summary in found:
                yield from _interrupted(summary, opened.url)
            for summary in found[:MOST_STUDIES]:
                yield from _weights(opened, summary.name)
    except StoreError:
        return  # reported by the check of the store


def _interrupted(summary: "StudySummary", url: str) -> Iterator[Check]:
    from search.trial.trial import TrialState

    running = summary.counts.get(TrialState.RUNNING, 0)
    if summary.is_running or (summary.lease_holder is None and not running):
        return
    holder = summary.lease_holder or "its driver"
    trials = f", with {counted(running, 'trial')} running" if running else ""
    yield Check(
        name=f"study {summary.name}",
        status="warning",
        finding=f"{holder} ended unexpectedly{trials}",
        remedy=f"continue with: spikefront run STUDY.toml --store {shlex.quote(url)}",
    )


def _weights(opened: "Store", name: str) -> Iterator[Check]:
    kept = [t.artifact.uri for t in opened.trials(name, configs=False) if t.artifact is not None]
    local = [weights.local_path(uri) for uri in kept if not weights.is_remote(uri)]
    gone = [path for path in local if not path.is_file()]
    if gone:
        yield Check(
            name=f"study {name}",
            status="warning",
            finding=f"weights of {len(gone)} of {counted(len(kept), 'trial')} are missing, "
            f"such as {gone[0]}",
            remedy="restore the folder: without weights, networks cannot be exported or run again",
        )


def artifacts(place: str) -> Check:
    """Check whether a run could write weights there."""
    try:
        located = weights.located(place)
        if weights.is_remote(located):
            weights.check(located)
            return Check(name="artifacts", finding=located)
    except weights.ArtifactError as error:
        return Check(
            name="artifacts",
            status="problem",
            finding=str(error),
            remedy="choose another place with --artifacts",
        )
    fault = unwritable(Path(located))
    if fault:
        return Check(
            name="artifacts",
            status="problem",
            finding=f"{located} cannot be written: {fault}",
            remedy="allow this user to write it, or choose another folder with --artifacts",
        )
    return Check(name="artifacts", finding=f"{located} can be written")


def datasets(root: Path) -> Iterator[Check]:
    """Yield a check per data set."""
    from snn.data.events import own
    from snn.data.image_files import SOURCES, DataError

    checks: dict[str, Callable[[Path], object]] = {n: s.check for n, s in SOURCES.items()}
    checks |= {name: source.layout for name, source in own.SOURCES.items()}
    for name, check in checks.items():
        try:
            check(root)
        except DataError as error:
            finding, _, remedy = str(error).partition("; ")
            yield Check(name=f"data: {name}", status="missing", finding=finding, remedy=remedy)
        except (Exception, SystemExit) as error:  # raised by the code of an extension
            yield Check(
                name=f"data: {name}",
                status="problem",
                finding=f"its extension failed: {type(error).__name__}: {error}",
                remedy=f"correct the `read` of {name}",
            )
        else:
            where = "shipped with scikit-learn" if name == "digits" else f"in {root}"
            yield Check(name=f"data: {name}", finding=where)


def disks() -> Iterator[Check]:
    """Check the free space of this folder, and of the temporary folder on another disk."""
    here, temporary = Path.cwd(), Path(tempfile.gettempdir())
    yield disk("disk", here)
    if os.stat(here).st_dev != os.stat(temporary).st_dev:
        yield disk("temporary disk", temporary)


def disk(name: str, folder: Path, *, needed: float = LOW_SPACE_BYTES) -> Check:
    """Check the free space of the disk that `folder` is on."""
    free = shutil.disk_usage(folder).free
    finding = f"{free / 1e9:.1f} GB free in {folder}"
    if free < needed:
        remedy = "free some space, or work in another folder: trained weights need space"
        if name != "disk":
            remedy = "free some space, or set TMPDIR to another folder: Ray keeps its session there"
        return Check(name=name, status="problem", finding=finding, remedy=remedy)
    return Check(name=name, finding=finding)
