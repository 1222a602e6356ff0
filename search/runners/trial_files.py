"""The files of trials in the folder of their study: weights and checkpoints."""

import itertools
import re
from collections.abc import Sequence
from contextlib import suppress

from search.text.artifacts import ArtifactFile, inside, is_remote, is_there, local_path, names_in
from search.trial.trial import Trial
from snn.settings.config import RunConfig

CHECKPOINT = re.compile(r"((\d+)-[0-9a-f]{16}\.checkpoint)(\.part)?", re.ASCII)


def free_file(folder: str, number: int, *, kind: str) -> str:
    """Return a location for weights where no file exists.

    A file may be the leftover of a killed attempt, or belong to a copy of the store.
    """
    suffixes = itertools.chain([""], (f"-{n}" for n in itertools.count(2)))
    names = (f"{number:05d}{suffix}.{kind}" for suffix in suffixes)
    return next(file for name in names if not is_there(file := inside(folder, name)))


def checkpoint_file(folder: str, number: int, config: RunConfig) -> str:
    """Return a location that a trial of another training does not have in a copy of the store."""
    return inside(folder, f"{number:05d}-{config.training_fingerprint}.checkpoint")


def remove_checkpoints(folder: str, trials: Sequence[Trial]) -> None:
    """Remove what lost drivers left of trials that have ended since."""
    ended = {trial.number for trial in trials if trial.state.is_finished}
    if not ended:
        return
    with suppress(OSError):
        for name in names_in(folder):
            found = CHECKPOINT.fullmatch(name)
            if found is not None and int(found[2]) in ended:
                ArtifactFile(uri=inside(folder, found[1])).remove()


def unseen(weights: str) -> tuple[str, ...]:
    """Return a note if the weights were saved on another machine only."""
    if is_remote(weights) or local_path(weights).is_file():
        return ()
    return (
        "its weights are not visible on this machine: --artifacts must be a folder that all "
        "machines share, or a URI like s3://bucket/folder",
    )
