"""What the project requires of other packages, and what of it is installed."""

import contextlib
import importlib.metadata
import importlib.util
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from search.text.provenance import PROJECT

NAME = "spikefront"
# the distributions whose modules have other names
DISTRIBUTIONS = {
    "sklearn": "scikit-learn",
    "tomli_w": "tomli-w",
    "psycopg2": "psycopg2-binary",
    "MySQLdb": "mysqlclient",
}


@dataclass(frozen=True, kw_only=True)
class Requirements:
    """What a release declares."""

    python: str = ""  # versions, like >=3.11
    needed: tuple[Requirement, ...] = ()
    extras: Mapping[str, tuple[Requirement, ...]] = field(default_factory=dict)


def declared() -> Requirements:
    """Of the checkout that runs, which may be newer than its installation; or of what is installed.

    Nothing where neither can be read.
    """
    # installed, there is no such file; a folder above may hold another project's
    with contextlib.suppress(OSError, KeyError, tomllib.TOMLDecodeError):
        with (PROJECT / "pyproject.toml").open("rb") as file:
            project = tomllib.load(file)["project"]
        if project["name"] == NAME:
            extras = project.get("optional-dependencies", {})
            return Requirements(
                python=project.get("requires-python", ""),
                needed=_parsed(project.get("dependencies", ())),
                extras={name: _parsed(words) for name, words in extras.items()},
            )
    return _installed()


def _installed() -> Requirements:
    try:
        about = importlib.metadata.metadata(NAME)
    except importlib.metadata.PackageNotFoundError:
        return Requirements()
    every = _parsed(about.get_all("Requires-Dist") or ())
    extras = {
        name: tuple(r for r in every if r.marker and r.marker.evaluate({"extra": name}))
        for name in about.get_all("Provides-Extra") or ()
    }
    optional = {requirement for group in extras.values() for requirement in group}
    needed = tuple(requirement for requirement in every if requirement not in optional)
    return Requirements(python=about["Requires-Python"] or "", needed=needed, extras=extras)


def _parsed(words: Sequence[str]) -> tuple[Requirement, ...]:
    found = []
    for word in words:
        try:
            found.append(Requirement(word))
        except InvalidRequirement:  # of a newer form than the packaging that is installed reads
            continue
    return tuple(found)


def unmet(requirements: Sequence[Requirement]) -> Iterator[str]:
    """A clause for each that is missing, or there in another version."""
    for requirement in requirements:
        if canonicalize_name(requirement.name) == NAME or not _is_meant(requirement):
            continue
        version = installed_version(requirement.name)
        if version is None:
            yield f"{requirement.name} is not installed"
        elif not requirement.specifier.contains(version, prereleases=True):
            yield f"{requirement.name} is {version}, not {requirement.specifier}"


def _is_meant(requirement: Requirement) -> bool:
    """Whether it is for this machine."""
    return (
        requirement.marker is None
        or "extra" in str(requirement.marker)
        or (requirement.marker.evaluate())
    )


def installed_version(distribution: str) -> str | None:
    """The version of a distribution; None where there is none."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def is_there(module: str) -> bool:
    """Whether a top-level module can be found; whether it works is another question."""
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):  # kept from being imported, or loaded in part
        return False


def missing(error: BaseException) -> str | None:
    """What to say of a package of others that an import has not found; None for other faults."""
    found: BaseException | None = error
    while found is not None and not isinstance(found, ModuleNotFoundError):
        found = found.__cause__ or found.__context__
    name = (found.name or "").partition(".")[0] if isinstance(found, ModuleNotFoundError) else ""
    if not name or name in ("search", "snn", "dashboard"):
        return None
    return needs(name)


def needs(module: str) -> str:
    """That a package is not installed, and what installs it."""
    name = distribution_of(module)
    return f"needs {name}, which is not installed: {install_command(module)}"


def distribution_of(module: str) -> str:
    """The distribution that brings a module."""
    top = module.partition(".")[0]
    return DISTRIBUTIONS.get(top, top)


def install_command(module: str, *, again: bool = False) -> str:
    """What installs the package that `module` belongs to, in the version that is asked for."""
    name = canonicalize_name(distribution_of(module))
    known = declared()
    words = "--force-reinstall --no-deps " if again else ""
    for requirement in known.needed:
        if canonicalize_name(requirement.name) == name:
            return f"pip install {words}'{requirement.name}{requirement.specifier}'"
    for extra, group in known.extras.items():
        if extra != "dev" and any(canonicalize_name(r.name) == name for r in group):
            return f"pip install {words.replace('--no-deps ', '')}'{NAME}[{extra}]'"
    return f"pip install {words}{distribution_of(module)}"
