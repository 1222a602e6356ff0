"""Environment variables with wrong values, extensions, and the encoding of the output."""

import math
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from search.doctor.check import Check
from search.text import log, terminal
from search.worker.limits import allowed_processors
from snn.settings import extensions
from snn.settings.config import nearest
from snn.settings.setting import counted

WAIT = "SPIKEFRONT_STORE_WAIT_S"
KNOWN = (
    "SPIKEFRONT_CHROMIUM",
    "SPIKEFRONT_DATA",
    "SPIKEFRONT_EXTENSIONS",
    "SPIKEFRONT_FUSED",
    "SPIKEFRONT_LOG",
    "SPIKEFRONT_NATIVE",
    "SPIKEFRONT_REFERENCES",
    "SPIKEFRONT_STORE",
    WAIT,
)
FOLDERS = {
    "SPIKEFRONT_DATA": "that holds mnist/ and the other data sets",
    "SPIKEFRONT_REFERENCES": "with the published results of the dashboard",
}


def examine() -> Iterator[Check]:
    """Yield a check per wrong variable, one for extensions and one for the encoding."""
    checks = [check for look in LOOKS for check in look(os.environ)]
    yield from checks
    if not checks:
        yield Check(name="environment", finding="no wrong variable")
    yield from _extensions()
    yield _letters()


def _unknown(environment: Mapping[str, str]) -> Iterator[Check]:
    for name in sorted(environment):
        if name.startswith("SPIKEFRONT_") and name not in KNOWN:
            yield Check(
                name=name,
                status="warning",
                finding=f"not a variable of spikefront{nearest(name, KNOWN)}",
                remedy=f"unset {name}, or correct its name",
            )


def _folders(environment: Mapping[str, str]) -> Iterator[Check]:
    for name, content in FOLDERS.items():
        folder = environment.get(name)
        if folder and not Path(folder).is_dir():
            yield Check(
                name=name,
                status="problem",
                finding=f"must be a folder, got {folder}",
                remedy=f"set it to the folder {content}, or unset it",
            )


def _switches(environment: Mapping[str, str]) -> Iterator[Check]:
    for name in ("SPIKEFRONT_FUSED", "SPIKEFRONT_NATIVE"):
        value = environment.get(name) or "1"
        if value not in ("0", "1"):
            finding = f"must be 0 or 1, got {value!r}, which is read as 1"
            yield Check(name=name, status="warning", finding=finding, remedy=f"{name}=0, or unset")


def _wait(environment: Mapping[str, str]) -> Iterator[Check]:
    if not environment.get(WAIT):
        return
    from search.store import retry  # loads SQLAlchemy

    try:
        retry.usual_seconds()
    except ValueError as error:
        yield Check(
            name=WAIT,
            status="problem",
            finding=str(error).partition(": ")[2],
            remedy=f"{WAIT}=300, or unset it",
        )


def _log(environment: Mapping[str, str]) -> Iterator[Check]:
    try:
        log.level_of_environment()
    except log.LogError as error:
        yield Check(
            name=log.VARIABLE,
            status="problem",
            finding=str(error).partition(": ")[2],
            remedy=f"{log.VARIABLE}=info, or unset it",
        )


def _threads(environment: Mapping[str, str]) -> Iterator[Check]:
    name = "OMP_NUM_THREADS"
    value = environment.get(name)
    processors = math.ceil(allowed_processors())
    remedy = f"{name}={processors}, or unset it"
    if value is None or (value.isdecimal() and 1 <= int(value) <= processors):
        return
    if value.isdecimal() and int(value) > processors:
        finding = f"{value} threads on {counted(processors, 'processor')} slow each other down"
        yield Check(name=name, status="warning", finding=finding, remedy=remedy)
        return
    finding = f"must be a whole number from 1, got {value!r}; torch ignores it"
    yield Check(name=name, status="problem", finding=finding, remedy=remedy)


def _slower(environment: Mapping[str, str]) -> Iterator[Check]:
    if environment.get("SPIKEFRONT_FUSED") == "0":
        yield Check(
            name="SPIKEFRONT_FUSED",
            status="warning",
            finding="is 0: on a GPU, neurons run as many kernels instead of one, which is slower",
            remedy="unset SPIKEFRONT_FUSED",
        )


LOOKS: tuple[Callable[[Mapping[str, str]], Iterator[Check]], ...] = (
    _unknown,
    _folders,
    _switches,
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
            remedy=f"correct that module, or remove it from {extensions.VARIABLE}: until then, no "
            "other command runs",
        )
    if os.environ.get(extensions.VARIABLE) and not extensions.faults:
        yield Check(name="extensions", finding=os.environ[extensions.VARIABLE])


def _letters() -> Check:
    """Check whether the encoding of stdout has every character that is printed."""
    encoding = getattr(sys.stdout, "encoding", None) or "none"
    if terminal.shows_all(sys.stdout):
        return Check(name="encoding", finding=encoding)
    return Check(
        name="encoding",
        status="warning",
        finding=f"output is {encoding}: ± is printed as +/-, µ as u",
        remedy="export LC_ALL=C.UTF-8, or PYTHONIOENCODING=utf-8",
    )
