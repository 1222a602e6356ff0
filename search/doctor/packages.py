"""Python and packages: installed, in the required versions, and importable."""

import importlib
import platform
from collections.abc import Iterator, Mapping, Sequence

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from search.doctor.check import Check
from search.text.requirements import (
    NAME,
    distribution_of,
    install_command,
    install_part,
    installed_version,
    is_there,
    unmet,
)

# Raised on import by a package that does not fit the other packages or the machine.
BREAKAGES = (ImportError, OSError, RuntimeError, AttributeError, TypeError, ValueError)
ALWAYS = ("torch", "numpy", "safetensors")
OF_PARTS = ("optuna", "sqlalchemy", "alembic", "sklearn", "ray")
NOT_LOADED = ("pandas", "streamlit", "plotly")  # being there is enough; loading takes long
MANY = 4  # packages of a part whose versions are not listed
PURPOSES = {
    "search": "needed to search, and by nearly all commands; snn.load runs networks without it",
    "dashboard": "needed for web pages and figures",
    "nir": "needed for NIR files",
    "events": "needed for recordings in .h5, AEDAT 4 and .mat files",
    "postgres": "needed for stores at postgresql://",
    "peers": "needed for tests and benchmarks that compare other libraries",
}


def python(allowed: str) -> Check:
    """Check whether this version of Python is supported."""
    version = platform.python_version()
    if SpecifierSet(allowed).contains(version, prereleases=True):
        return Check(name="python", finding=version)
    return Check(
        name="python",
        status="problem",
        finding=f"{version}, must be {allowed}",
        remedy="install another Python, and create a new environment with it",
    )


def requirements(needed: Sequence[Requirement]) -> Check:
    """Check whether the installed versions are the required ones."""
    faults = list(unmet(needed))
    if faults:
        return Check(
            name="requirements",
            status="problem",
            finding="; ".join(faults),
            remedy="install the required versions: pip install spikefront; "
            "in a checkout: make setup, or pip install -e .",
        )
    return Check(name="requirements", finding=f"all {len(needed)} are met")


def imported() -> Iterator[Check]:
    """Check whether the packages can be imported; a part that lacks some says so itself."""
    for name in ALWAYS:
        yield package(name)
    for name in filter(is_there, OF_PARTS):
        yield package(name)
    for name in filter(is_there, NOT_LOADED):
        yield Check(name=name, finding=_version(name))


def package(name: str) -> Check:
    """Check whether a package can be imported; the finding is its version."""
    absent = _absent(name)
    if absent is not None:
        return absent
    try:
        importlib.import_module(name)
    except BREAKAGES as error:
        return Check(
            name=name,
            status="problem",
            finding=f"{_version(name)} cannot be imported: {_one_line(error)}",
            remedy=f"install it again: {install_command(name, again=True)}",
        )
    return Check(name=name, finding=_version(name))


def extras(groups: Mapping[str, Sequence[Requirement]]) -> Iterator[Check]:
    """Check the parts that users install as they need them; developers have their own."""
    for name, purpose in PURPOSES.items():
        if name in groups:
            yield _extra(name, purpose, groups[name])


def _extra(name: str, purpose: str, group: Sequence[Requirement]) -> Check:
    title, remedy = f"extra {name}", install_part(name)
    group = [requirement for requirement in group if requirement.name != NAME]
    faults = list(unmet(group))
    is_needed = name == "search"
    absent = [requirement for requirement in group if installed_version(requirement.name) is None]
    # some of its packages may be there for another one: torch brings Jinja2
    if 2 * len(absent) > len(group):
        return Check(
            name=title,
            status="problem" if is_needed else "missing",
            finding=f"not installed; {purpose}",
            remedy=remedy,
        )
    if faults:
        return Check(
            name=title,
            status="problem" if is_needed else "warning",
            finding="; ".join(faults),
            remedy=remedy,
        )
    if name == "postgres" and (broken := package("psycopg")).status != "ok":
        return Check(name=title, status="warning", finding=broken.finding, remedy=broken.remedy)
    if len(group) > MANY:
        return Check(name=title, finding=f"all {len(group)} packages are installed")
    versions = ", ".join(f"{r.name} {installed_version(r.name)}" for r in group)
    return Check(name=title, finding=versions)


def _absent(name: str) -> Check | None:
    """Return the finding that a package is missing; None if it is installed."""
    if is_there(name):
        return None
    remedy = install_command(name)
    return Check(name=name, status="problem", finding="not installed", remedy=remedy)


def _version(name: str) -> str:
    return installed_version(distribution_of(name)) or "version unknown"


def _one_line(error: BaseException) -> str:
    said = str(error).strip().splitlines()
    return f"{type(error).__name__}: {said[0]}" if said else type(error).__name__
