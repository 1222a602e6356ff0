"""What this machine has for a search: each part there, missing or broken, and what to do."""

from collections.abc import Iterator
from pathlib import Path

from search.doctor import environment, machine, packages, places, training
from search.doctor.check import Check
from search.text.requirements import declared

__all__ = ["Check", "examine"]


def examine(
    *, store: str, artifacts: str, data_dir: Path, start_ray: bool = False
) -> Iterator[Check]:
    """All checks, one after another; importing torch takes seconds, and so does starting Ray."""
    requirements = declared()
    yield packages.python(requirements.python)
    yield packages.requirements(requirements.needed)
    yield from packages.imported()
    yield from packages.extras(requirements.extras)
    yield from training.examine()
    yield machine.processors()
    yield from machine.memory()
    yield machine.open_files()
    yield from machine.ray_needs()
    if start_ray:
        yield machine.ray_start()
    yield from environment.examine()
    yield places.store(store)
    yield from places.studies(store)
    yield places.artifacts(artifacts)
    yield from places.datasets(data_dir)
    yield from places.disks()
