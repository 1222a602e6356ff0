"""Where things are kept: the store, trained weights, data sets, and the room on the disks."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from search.doctor.check import Check
from search.text import artifacts as weights

if TYPE_CHECKING:
    from search.store.store import Store, StudySummary

LOW_SPACE_BYTES = 1e9  # a store and weights of hundreds of small trials
LOOKED_AT = 20  # studies whose weights are looked for, those that changed last


def unwritable(folder: Path) -> str:
    """Why nothing can be written in a folder, or in the one that it would be made in; or empty."""
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not there.is_dir():
        return f"{there} is a file"
    try:
        tempfile.TemporaryFile(dir=there).close()
    except OSError as error:
        return f"{there}: {error.strerror or error}"
    return ""


def store(url: str) -> Check:
    """Whether the store can be read, and written by a run."""
    from search.store.database import OtherVersionError, file_of
    from search.store.store import Store, StoreError

    try:
        with Store(url, read_only=True) as opened:
            name, studies = opened.url, len(opened.study_heads())
    except OtherVersionError as error:
        finding, _, mend = str(error).partition("; ")
        return Check(name="store", status="problem", finding=finding, mend=mend)
    except StoreError as error:
        return _no_store(error)
    file = file_of(url)
    if file is not None and (fault := _unwritable_file(file)):
        return Check(
            name="store",
            status="problem",
            finding=f"{name} can be read, but no run can write it: {fault}",
            mend="give yourself the right to write the file and its folder, or name another "
            "with --store or SPIKEFRONT_STORE",
        )
    return Check(name="store", finding=f"{name}, {studies} studies")


def _no_store(error: ValueError) -> Check:
    said = str(error)
    if said.startswith("no store at"):
        return Check(
            name="store",
            status="missing",
            finding=said,
            mend="spikefront run STUDY.toml makes one; one that is elsewhere is named with "
            "--store or SPIKEFRONT_STORE",
        )
    if "pip install" in said:
        finding, _, mend = said.partition(": pip install")
        return Check(name="store", status="problem", finding=finding, mend=f"pip install{mend}")
    return Check(
        name="store",
        status="problem",
        finding=said,
        mend="name another one with --store or SPIKEFRONT_STORE",
    )


def _unwritable_file(file: Path) -> str:
    try:
        file.open("r+b").close()  # opens it, and changes nothing
    except OSError as error:
        return f"{file}: {error.strerror or error}"
    return unwritable(file.parent)


def studies(url: str) -> Iterator[Check]:
    """Studies that were left in the middle, or whose weights are gone."""
    from search.store.store import Store, StoreError

    try:
        with Store(url, read_only=True) as opened:
            found = sorted(opened.study_summaries(), key=lambda s: s.last_change_at, reverse=True)
            for summary in found:
                yield from _left(summary)
            for summary in found[:LOOKED_AT]:
                yield from _weights(opened, summary.name)
    except StoreError:
        return  # said of the store


def _left(summary: "StudySummary") -> Iterator[Check]:
    from search.trial.trial import TrialState

    running = summary.counts.get(TrialState.RUNNING, 0)
    if summary.is_running or (summary.lease_holder is None and not running):
        return
    holder = summary.lease_holder or "its driver"
    trials = f", {running} trials were running" if running else ""
    yield Check(
        name=f"study {summary.name}",
        status="warning",
        finding=f"{holder} is gone without an end{trials}",
        mend="the command that ran it goes on from there: spikefront run STUDY.toml",
    )


def _weights(opened: "Store", name: str) -> Iterator[Check]:
    kept = [t.artifact.uri for t in opened.trials(name, configs=False) if t.artifact is not None]
    local = [weights.local_path(uri) for uri in kept if not weights.is_remote(uri)]
    gone = [path for path in local if not path.is_file()]
    if gone:
        yield Check(
            name=f"study {name}",
            status="warning",
            finding=f"weights of {len(gone)} of {len(kept)} trials are not where they were "
            f"written, like {gone[0]}",
            mend="put the folder back: those networks can be neither exported nor run again",
        )


def artifacts(place: str) -> Check:
    """Whether a run could leave weights there."""
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
            mend="name another place with --artifacts",
        )
    fault = unwritable(Path(located))
    if fault:
        return Check(
            name="artifacts",
            status="problem",
            finding=f"{located} cannot be written: {fault}",
            mend="give yourself the right to, or name another folder with --artifacts",
        )
    return Check(name="artifacts", finding=f"{located} can be written")


def datasets(root: Path) -> Iterator[Check]:
    """Which data sets are there."""
    from snn.data.image_files import SOURCES, DataError

    for name, source in SOURCES.items():
        try:
            source.check(root)
        except DataError as error:
            finding, _, mend = str(error).partition("; ")
            yield Check(name=f"data: {name}", status="missing", finding=finding, mend=mend)
        else:
            where = "shipped with scikit-learn" if name == "digits" else f"in {root}"
            yield Check(name=f"data: {name}", finding=where)


def disks() -> Iterator[Check]:
    """Room where results go, and where temporary files go if that is another disk."""
    here, temporary = Path.cwd(), Path(tempfile.gettempdir())
    yield disk("disk", here)
    if os.stat(here).st_dev != os.stat(temporary).st_dev:
        yield disk("temporary disk", temporary)


def disk(name: str, folder: Path, *, needed: float = LOW_SPACE_BYTES) -> Check:
    """The room that is left beside a folder."""
    free = shutil.disk_usage(folder).free
    finding = f"{free / 1e9:.1f} GB free in {folder}"
    if free < needed:
        mend = "make room, or work in another folder: trained weights need some"
        if name != "disk":
            mend = "make room, or name another folder in TMPDIR: Ray keeps its session there"
        return Check(name=name, status="problem", finding=finding, mend=mend)
    return Check(name=name, finding=finding)
