"""What the environment says: variables that do not work, extensions, and the terminal's letters."""

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from search.doctor.check import Check
from search.store import retry
from search.text import log, terminal
from snn.settings import extensions
from snn.settings.config import nearest

KNOWN = (
    "SPIKEFRONT_CHROMIUM",
    "SPIKEFRONT_DATA",
    "SPIKEFRONT_EXTENSIONS",
    "SPIKEFRONT_FUSED",
    "SPIKEFRONT_LOG",
    "SPIKEFRONT_NATIVE",
    "SPIKEFRONT_REFERENCES",
    "SPIKEFRONT_STORE",
    "SPIKEFRONT_STORE_WAIT_S",
)


def examine() -> Iterator[Check]:
    """Nothing is said of a variable that is not set, or works."""
    checks = [check for look in LOOKS for check in look(os.environ)]
    yield from checks
    if not checks:
        yield Check(name="environment", finding="no variable that does not work")
    yield from _extensions()
    yield _letters()


def _unknown(environment: Mapping[str, str]) -> Iterator[Check]:
    for name in sorted(environment):
        if name.startswith("SPIKEFRONT_") and name not in KNOWN:
            yield Check(
                name=name,
                status="warning",
                finding=f"nothing reads it{nearest(name, KNOWN)}",
                mend=f"unset {name}, or correct its name",
            )


def _data(environment: Mapping[str, str]) -> Iterator[Check]:
    folder = environment.get("SPIKEFRONT_DATA")
    if folder and not Path(folder).is_dir():
        yield Check(
            name="SPIKEFRONT_DATA",
            status="problem",
            finding=f"names {folder}, which is no folder",
            mend="name the folder that holds mnist/ and the others, or unset it",
        )


def _wait(environment: Mapping[str, str]) -> Iterator[Check]:
    try:
        retry.usual_seconds()
    except ValueError as error:
        yield Check(
            name=retry.VARIABLE,
            status="problem",
            finding=str(error).partition(": ")[2],
            mend=f"{retry.VARIABLE}=300, or unset it",
        )


def _log(environment: Mapping[str, str]) -> Iterator[Check]:
    try:
        log.level_of_environment()
    except log.LogError as error:
        yield Check(
            name=log.VARIABLE,
            status="problem",
            finding=str(error).partition(": ")[2],
            mend=f"{log.VARIABLE}=info, or unset it",
        )


def _threads(environment: Mapping[str, str]) -> Iterator[Check]:
    name = "OMP_NUM_THREADS"
    value = environment.get(name)
    processors = os.cpu_count() or 1
    mend = f"{name}={processors}, or unset it"
    if value is None or (value.isdecimal() and 1 <= int(value) <= processors):
        return
    if value.isdecimal() and int(value) > processors:
        finding = f"{value} threads on {processors} processors, which wait for each other"
        yield Check(name=name, status="warning", finding=finding, mend=mend)
        return
    finding = f"must be a whole number from 1, got {value!r}; it is ignored"
    yield Check(name=name, status="problem", finding=finding, mend=mend)


def _slower(environment: Mapping[str, str]) -> Iterator[Check]:
    if environment.get("SPIKEFRONT_FUSED") == "0":
        yield Check(
            name="SPIKEFRONT_FUSED",
            status="warning",
            finding="is 0: neurons do not run as one kernel on a GPU",
            mend="unset SPIKEFRONT_FUSED",
        )


LOOKS: tuple[Callable[[Mapping[str, str]], Iterator[Check]], ...] = (
    _unknown,
    _data,
    _wait,
    _log,
    _threads,
    _slower,
)


def _extensions() -> Iterator[Check]:
    extensions.load()
    for fault in extensions.faults:
        yield Check(
            name="extensions",
            status="problem",
            finding=fault,
            mend=f"mend that module, or take it out of {extensions.VARIABLE}: until then no other "
            "command runs",
        )
    if os.environ.get(extensions.VARIABLE) and not extensions.faults:
        yield Check(name="extensions", finding=os.environ[extensions.VARIABLE])


def _letters() -> Check:
    """Whether what is printed can be shown as it is."""
    encoding = getattr(sys.stdout, "encoding", None) or "none"
    if terminal.shows_all(sys.stdout):
        return Check(name="letters", finding=encoding)
    return Check(
        name="letters",
        status="warning",
        finding=f"output is {encoding}: signs like the plus-minus are written as +/-",
        mend="export LC_ALL=C.UTF-8, or PYTHONIOENCODING=utf-8",
    )
