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
    installed_version,
    is_there,
    unmet,
)

# Raised on import by a package that does not fit the other packages or the machine.
BREAKAGES = (ImportError, OSError, RuntimeError, AttributeError, TypeError, ValueError)
IMPORTED = ("torch", "numpy", "optuna", "sqlalchemy", "alembic", "sklearn", "safetensors", "ray")
OF_THE_DASHBOARD = ("streamlit", "plotly", "pandas")  # being there is enough; loading takes long
PURPOSES = {
    "nir": "needed for NIR files",
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
    """Check whether the required packages can be imported."""
    for name in IMPORTED:
        yield package(name)
    for name in OF_THE_DASHBOARD:
        yield _absent(name) or Check(name=name, finding=_version(name))


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
    """Check the optional groups of packages of users; developers have their own."""
    for name, purpose in PURPOSES.items():
        if name in groups:
            yield _extra(name, purpose, groups[name])


def _extra(name: str, purpose: str, group: Sequence[Requirement]) -> Check:
    title, remedy = f"extra {name}", f"pip install 'spikefront[{name}]'"
    faults = list(unmet(group))
    if not any(installed_version(requirement.name) for requirement in group):
        return Check(
            name=title, status="missing", finding=f"not installed; {purpose}", remedy=remedy
        )
    if faults:
        return Check(name=title, status="warning", finding="; ".join(faults), remedy=remedy)
    if name == "postgres" and (broken := package("psycopg")).status != "ok":
        return Check(name=title, status="warning", finding=broken.finding, remedy=broken.remedy)
    versions = ", ".join(f"{r.name} {installed_version(r.name)}" for r in group if r.name != NAME)
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
