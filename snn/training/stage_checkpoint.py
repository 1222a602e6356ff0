"""Checkpoints: the state of a training after an epoch, from which it continues bit for bit.

A checkpoint is one sealed file. It belongs to one training in one environment: the same data,
engine, torch, machine and number of threads, as for the block cache. It holds the finished
blocks too, so that it is enough on a machine whose block cache does not have them.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from torch import Tensor

from snn.settings.measurement import Measurement
from snn.training.block_cache import Entry, measurement_of
from snn.training.sealed import DamagedError, seal, unseal

MAGIC = b"spikefront checkpoint 1 "  # of this format; another one gets another number
SHARE = 0.02
"""Largest share of the time that is spent on writing checkpoints, the last one aside."""
FIRST_S = 10.0
"""Seconds before the first checkpoint: what takes less is sooner trained again."""
STAGE = "stage."
NAMES = {
    "engine": "version of the engine",
    "torch": "version of torch",
    "build": "build of torch",
    "neurons": "kernel of neurons",
}
"""What parts of an environment are called where they differ, besides their own names."""


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A training after one of its epochs."""

    finished: Sequence[Entry]  # the blocks before the stage, without their measurements
    measurements: Sequence[Measurement]  # all that were yielded, those of the stage last
    tensors: Mapping[str, Tensor]  # of the stage, see `stage_state`
    values: Mapping[str, Any]  # of the stage, JSON values


class Storage(Protocol):
    """The place of one checkpoint."""

    @property
    def folder(self) -> str:
        """Return its folder, for messages."""

    @property
    def name(self) -> str:
        """Return its name in the folder, for messages."""

    def read(self) -> bytes | None:
        """Return the bytes that were written last, or None. Raises OSError."""

    def write(self, data: bytes) -> None:
        """Replace the bytes, at once or not at all. Raises OSError."""


class Checkpoints:
    """Writes and reads the checkpoint of one training, and bounds what writing costs.

    After a write that took t seconds the next one comes t / `share` seconds later at the
    earliest. No fault ends a training: of a checkpoint that is damaged or of another training
    `unused` says why, and one that cannot be written is missing, with a line in `notes`.
    """

    def __init__(
        self,
        storage: Storage,
        *,
        notes: list[str] | None = None,
        share: float | None = None,
        first_s: float | None = None,
    ) -> None:
        self.storage = storage
        self.notes = [] if notes is None else notes
        self.unused = ""  # why the checkpoint that was found is not used; empty if it is
        self.seconds = 0.0  # spent on writing
        self.written = 0
        self._share = SHARE if share is None else share
        self._first_s = FIRST_S if first_s is None else first_s
        self._due = time.monotonic() + self._first_s

    def read(self, identity: Mapping[str, str]) -> Checkpoint | None:
        """Return the checkpoint of the training with this identity, or None if there is none."""
        try:
            data = self.storage.read()
        except OSError as error:
            self._ignore(f"cannot be read: {error.strerror or error}")
            return None
        if data is None:
            return None
        try:
            values, tensors = unseal(MAGIC, data)
        except DamagedError as error:
            self._ignore(str(error))
            return None
        found = values["identity"]
        if found != identity:
            others = [name for name in identity if found.get(name) != identity[name]]
            self._ignore(f"was made with another {', '.join(NAMES.get(n, n) for n in others)}")
            return None
        return _checkpoint(values, tensors)

    def write(self, identity: Mapping[str, str], make: Callable[[], Checkpoint]) -> None:
        """Write the checkpoint that `make` returns, if one is due."""
        begun = time.monotonic()
        if begun < self._due:
            return
        try:
            self.storage.write(_encode(identity, make()))
            self.written += 1
        except OSError as error:
            # the same text each time, so that it can be shown once
            why = error.strerror or error
            self._note(f"no checkpoint is written to {self.storage.folder}: {why}")
        ended = time.monotonic()
        self.seconds += ended - begun
        self._due = ended + (ended - begun) / self._share

    def cannot(self, why: str) -> None:
        """Note why there are no checkpoints."""
        self._note(f"no checkpoint is written: {why}")

    def _ignore(self, why: str) -> None:
        self.unused = f"checkpoint {self.storage.name} {why}"

    def _note(self, line: str) -> None:
        if line not in self.notes:
            self.notes.append(line)


def _encode(identity: Mapping[str, str], checkpoint: Checkpoint) -> bytes:
    finished, tensors = [], {f"{STAGE}{name}": t for name, t in checkpoint.tensors.items()}
    for index, entry in enumerate(checkpoint.finished):
        finished.append(
            {
                "description": entry.description,
                "training_s": entry.training_s,
                "memory_bytes": entry.memory_bytes,
                "training_ops": entry.training_ops,
                "parameters": entry.parameters,
            }
        )
        tensors |= {f"{index}.{name}": tensor for name, tensor in entry.tensors.items()}
    values = {
        "identity": identity,
        "finished": finished,
        "measurements": [asdict(measurement) for measurement in checkpoint.measurements],
        "stage": checkpoint.values,
    }
    return seal(MAGIC, values, tensors)


def _checkpoint(values: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Checkpoint:
    finished = [
        Entry(**entry, tensors=_under(f"{index}.", tensors), measurements=())
        for index, entry in enumerate(values["finished"])
    ]
    return Checkpoint(
        finished=finished,
        measurements=[measurement_of(measured) for measured in values["measurements"]],
        tensors=_under(STAGE, tensors),
        values=values["stage"],
    )


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
