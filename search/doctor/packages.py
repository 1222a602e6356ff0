"""Python and packages: whether they are there, fit what is required, and can be imported."""

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

# What importing an installed package raises when it does not fit the others, or the machine.
BREAKAGES = (ImportError, OSError, RuntimeError, AttributeError, TypeError, ValueError)
IMPORTED = ("torch", "numpy", "optuna", "sqlalchemy", "alembic", "sklearn", "safetensors", "ray")
OF_THE_DASHBOARD = ("streamlit", "plotly", "pandas")  # being there is enough; loading takes long
PURPOSES = {
    "nir": "only NIR files need it",
    "postgres": "only stores at postgresql:// need it",
    "peers": "only tests and benchmarks compare with other libraries",
}


def python(allowed: str) -> Check:
    """Whether Python's version is one of those that are supported."""
    version = platform.python_version()
    if SpecifierSet(allowed).contains(version, prereleases=True):
        return Check(name="python", finding=version)
    return Check(
        name="python",
        status="problem",
        finding=f"{version}, must be {allowed}",
        mend="install another Python and make the environment anew with it",
    )


def requirements(needed: Sequence[Requirement]) -> Check:
    """Whether what is installed is what the release, or the checkout, was tested with."""
    faults = list(unmet(needed))
    if faults:
        return Check(
            name="requirements",
            status="problem",
            finding="; ".join(faults),
            mend="install again what is required: pip install spikefront; "
            "in a checkout: make setup, or pip install -e .",
        )
    return Check(name="requirements", finding=f"all {len(needed)} are met")


def imported() -> Iterator[Check]:
    """Whether packages that are required can be imported."""
    for name in IMPORTED:
        yield package(name)
    for name in OF_THE_DASHBOARD:
        yield _absent(name) or Check(name=name, finding=_version(name))


def package(name: str) -> Check:
    """Whether a package can be imported, with its version."""
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
            mend=f"install it again: {install_command(name, again=True)}",
        )
    return Check(name=name, finding=_version(name))


def extras(groups: Mapping[str, Sequence[Requirement]]) -> Iterator[Check]:
    """What is optional for those who use spikefront, each with the command that installs it."""
    for name, purpose in PURPOSES.items():
        if name in groups:
            yield _extra(name, purpose, groups[name])


def _extra(name: str, purpose: str, group: Sequence[Requirement]) -> Check:
    title, mend = f"extra {name}", f"pip install 'spikefront[{name}]'"
    faults = list(unmet(group))
    if not any(installed_version(requirement.name) for requirement in group):
        return Check(name=title, status="missing", finding=f"not installed; {purpose}", mend=mend)
    if faults:
        return Check(name=title, status="warning", finding="; ".join(faults), mend=mend)
    if name == "postgres" and (broken := package("psycopg")).status != "ok":
        return Check(name=title, status="warning", finding=broken.finding, mend=broken.mend)
    versions = ", ".join(f"{r.name} {installed_version(r.name)}" for r in group if r.name != NAME)
    return Check(name=title, finding=versions)


def _absent(name: str) -> Check | None:
    """That a package is missing; None where it is there."""
    if is_there(name):
        return None
    mend = install_command(name)
    return Check(name=name, status="problem", finding="not installed", mend=mend)


def _version(name: str) -> str:
    return installed_version(distribution_of(name)) or "version unknown"


def _one_line(error: BaseException) -> str:
    said = str(error).strip().splitlines()
    return f"{type(error).__name__}: {said[0]}" if said else type(error).__name__
