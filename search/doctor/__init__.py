"""Checks of a set-up: each part ok, missing or broken, and the remedy."""

from collections.abc import Callable, Iterator
from pathlib import Path

from search.doctor import environment, machine, packages, places, training
from search.doctor.check import Check
from search.text.requirements import declared, missing

__all__ = ["Check", "examine"]


def examine(
    *, store: str, artifacts: str, data_dir: Path, start_ray: bool = False
) -> Iterator[Check]:
    """Yield all checks one after another. Importing torch takes seconds, starting Ray too."""
    requirements = declared()
    yield from _guarded(
        "packages",
        lambda: [packages.python(requirements.python), packages.requirements(requirements.needed)],
        lambda: packages.extras(requirements.extras),
        packages.imported,
    )
    yield from _guarded("training", training.examine)
    yield from _guarded(
        "machine",
        lambda: [machine.processors()],
        machine.memory,
        lambda: [machine.open_files()],
        machine.ray_needs,
        *([lambda: [machine.ray_start()]] if start_ray else []),
    )
    yield from _guarded("environment", environment.examine)
    yield from _guarded("store", lambda: [places.store(store)], lambda: places.studies(store))
    yield from _guarded("artifacts", lambda: [places.artifacts(artifacts)])
    yield from _guarded("data sets", lambda: places.datasets(data_dir))
    yield from _guarded("disk", places.disks)


def _guarded(name: str, *looks: "Callable[[], Iterator[Check] | list[Check]]") -> Iterator[Check]:
    """Yield the checks of each function; an exception in one of them is a problem of its own.

    A check that needs a package which is not installed says so.
    """
    for look in looks:
        try:
            yield from look()
        except Exception as error:
            if (message := missing(error)) is not None:
                finding, _, remedy = message.partition(": ")
                yield Check(
                    name=name, status="missing", finding=f"not checked: {finding}", remedy=remedy
                )
                return  # what this one lacks, the others of the same name lack too
            lines = str(error).strip().splitlines() or ["no message"]
            yield Check(
                name=name,
                status="problem",
                finding=f"this check failed: {type(error).__name__}: {lines[0]}",
                remedy="correct the cause; if it is not clear, report this line as an error of "
                "spikefront",
            )
