"""The required packages of the project, and which of them are installed."""

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
NOT_FOR_USERS = ("dev", "all")  # extras that no missing package is asked for by
# distributions whose module has another name
DISTRIBUTIONS = {
    "sklearn": "scikit-learn",
    "PIL": "pillow",
    "tomli_w": "tomli-w",
    "psycopg2": "psycopg2-binary",
    "MySQLdb": "mysqlclient",
}


@dataclass(frozen=True, kw_only=True)
class Requirements:
    """The requirements that a release declares."""

    python: str = ""  # version specifier, like >=3.11
    needed: tuple[Requirement, ...] = ()
    extras: Mapping[str, tuple[Requirement, ...]] = field(default_factory=dict)


def declared() -> Requirements:
    """Return the requirements of the checkout, otherwise of the installed package.

    A checkout may be newer than its installation. Empty if neither can be read.
    """
    # An installed package has no pyproject.toml; a parent folder may have that of another project.
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
        except InvalidRequirement:  # syntax newer than the installed `packaging`
            continue
    return tuple(found)


def unmet(requirements: Sequence[Requirement]) -> Iterator[str]:
    """Yield a clause for each requirement that is missing or has another version."""
    for requirement in requirements:
        if canonicalize_name(requirement.name) == NAME or not _applies(requirement):
            continue
        version = installed_version(requirement.name)
        if version is None:
            yield f"{requirement.name} is not installed"
        elif not requirement.specifier.contains(version, prereleases=True):
            yield f"{requirement.name} is {version}, not {requirement.specifier}"


def _applies(requirement: Requirement) -> bool:
    """Return whether a requirement applies to this machine."""
    return (
        requirement.marker is None
        or "extra" in str(requirement.marker)
        or (requirement.marker.evaluate())
    )


def installed_version(distribution: str) -> str | None:
    """Return the version of a distribution; None if it is not installed."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def is_there(module: str) -> bool:
    """Return whether a top-level module can be found; it is not imported."""
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):  # blocked or partly imported
        return False


def missing(error: BaseException) -> str | None:
    """Return a message if the error is a missing third-party package, otherwise None."""
    found: BaseException | None = error
    while found is not None and not isinstance(found, ModuleNotFoundError):
        found = found.__cause__ or found.__context__
    name = (found.name or "").partition(".")[0] if isinstance(found, ModuleNotFoundError) else ""
    if not name or name in ("search", "snn", "dashboard"):
        return None
    return needs(name)


def needs(module: str) -> str:
    """Return the message that a package is not installed, with the command that installs it."""
    name = distribution_of(module)
    return f"needs {name}, which is not installed: {install_command(module)}"


def distribution_of(module: str) -> str:
    """Return the distribution of a module."""
    top = module.partition(".")[0]
    return DISTRIBUTIONS.get(top, top)


def install_command(module: str, *, again: bool = False) -> str:
    """Return the command that installs the package of `module` in the required version.

    Of a part, the command installs the whole part; `again` replaces the package alone.
    """
    name = canonicalize_name(distribution_of(module))
    known = declared()
    for part, group in {"": known.needed, **known.extras}.items():
        if part in NOT_FOR_USERS:
            continue
        for requirement in group:
            if canonicalize_name(requirement.name) != name:
                continue
            exact = f"'{requirement.name}{requirement.specifier}'"
            if again:
                return f"pip install --force-reinstall --no-deps {exact}"
            return f"pip install {exact}" if not part else install_part(part)
    return f"pip install {'--force-reinstall --no-deps ' if again else ''}{distribution_of(module)}"


def install_part(part: str) -> str:
    """Return the command that installs a part: the packages of an extra."""
    return f"pip install '{NAME}[{part}]'"
