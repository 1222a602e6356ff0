"""A record: every epoch of every training of a grid, in one file."""

import functools
import io
import itertools
import json
import lzma
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.search.grid import PARTITION, Grid, prefixes_of
from benchmarks.search.recorder import MEASURED
from search.study.study import Study, study_from_toml
from search.trial.trial import Params
from snn.settings.measurement import OperatingPoint

Array = NDArray[Any]

FORMAT = 1
_COLUMNS: Mapping[str, type] = {
    "right": np.uint16,  # images
    "synaptic_ops": np.float32,
    "latency_steps": np.float32,
}


class Record:
    """The measurements of all trainings of a study's grid. Chains and settings as in `Grid`.

    Epochs count from 1 within the last block of a chain. Points have the metrics
    that the record has: accuracy, synaptic_ops, latency_steps, model_bytes,
    training_memory_bytes.
    """

    def __init__(self, header: Mapping[str, Any], arrays: Mapping[str, Array]) -> None:
        self.header = header
        self.study: Study = study_from_toml(header["study"], "record")
        self.grid = Grid.of(self.study)
        self.images = int(header["images"])
        self.epochs = int(self.study.run["epochs"])
        self._arrays = arrays
        depths = [chain.count("+") + 1 for chain in self.grid.chains]
        sizes = [len(self.grid.thresholds) ** (depth - 1) for depth in depths]
        self._first = dict(zip(self.grid.chains, [0, *itertools.accumulate(sizes)], strict=False))
        self._ends = np.cumsum(arrays["family_counts"].reshape(-1), dtype=np.int64)
        self.family = functools.cache(self._family)

    @classmethod
    def load(cls, path: Path) -> "Record":
        """Read the record in a file. Raises ValueError for a file of another format."""
        with np.load(io.BytesIO(lzma.decompress(path.read_bytes()))) as file:
            arrays = {name: file[name] for name in file.files}
        header = json.loads(arrays.pop("header").tobytes())
        if header["format"] != FORMAT:
            raise ValueError(f"{path}: format {header['format']}, this version reads {FORMAT}")
        return cls(header, arrays)

    def save(self, path: Path) -> None:
        """Write the record; the same record gives the same bytes."""
        buffer = io.BytesIO()
        text = json.dumps(self.header, sort_keys=True).encode()
        header = np.frombuffer(text, dtype=np.uint8)
        np.savez(buffer, header=header, **self._arrays)  # type: ignore[arg-type]
        path.write_bytes(lzma.compress(buffer.getvalue(), preset=9 | lzma.PRESET_EXTREME))

    @classmethod
    def of(
        cls,
        study: Study,
        settings: Iterable[Mapping[str, Any]],
        *,
        images: int,
        made_by: Mapping[str, str],
    ) -> "Record":
        """Return the record of the recorder's results for every setting, in grid order."""
        header = {"format": FORMAT, "study": study.text, "images": images, "made_by": made_by}
        return cls(header, _arrays(Grid.of(study), list(settings), int(study.run["epochs"])))

    @property
    def about(self) -> str:
        """See Problem."""
        count = self.settings * len(self.grid.partitions)
        return f"{count} run configs of up to {self.longest} epochs"

    @property
    def made_by(self) -> Mapping[str, str]:
        """See Problem."""
        made: Mapping[str, str] = self.header["made_by"]
        return made

    @property
    def thresholds(self) -> tuple[float, ...]:
        """See Problem."""
        return self.grid.thresholds

    @property
    def longest(self) -> int:
        """See Problem."""
        return self.epochs * max(_blocks(self.grid))

    @property
    def mean_epochs(self) -> float:
        """See Problem."""
        blocks = _blocks(self.grid)
        return self.epochs * sum(blocks) / len(blocks)

    def reference(self, kind: str) -> dict[str, float]:
        """Return the worst of all trainings (`default`), or the median, run to the last exit."""
        if kind == "typical":
            return {name: _median(self._finished(name)) for name in self.study.objectives}
        return {
            name: 0.0 if name == "accuracy" else max(self._finished(name))
            for name in self.study.objectives
        }

    def _finished(self, metric: str) -> list[float]:
        """Return a metric of every partition after training, at the highest thresholds."""
        highest = self.grid.thresholds[-1]
        values = []
        for setting in range(self.settings):
            for partition in self.grid.partitions:
                if self.length(setting, partition) == self.epochs:
                    thresholds = (highest,) * partition.count("+")
                    point = self.sampled(setting, partition, self.epochs, thresholds)
                    values.append(point.metrics[metric])
        return [value for value in values if math.isfinite(value)]

    def place(self, params: Params) -> tuple[int, str]:
        """See Problem."""
        return self.grid.setting_index(params), str(params[PARTITION])

    @property
    def settings(self) -> int:
        """Number of trainings."""
        return len(self._arrays["length"])

    def length(self, setting: int, chain: str) -> int:
        """Return the epochs of the chain's last block until it diverged, or all."""
        return int(self._arrays["length"][setting, self._chain(chain)])

    def accuracy(self, setting: int, chain: str, epoch: int) -> float:
        """Return the validation accuracy of an epoch."""
        measured = self._arrays["measured"][setting, self._chain(chain), epoch - 1]
        return float(measured[MEASURED.index("accuracy")])

    def sampled(
        self, setting: int, chain: str, epoch: int, thresholds: tuple[float, ...]
    ) -> OperatingPoint:
        """Return the network at exit thresholds of the grid, all timesteps."""
        place = self._first[chain] + self.grid.threshold_index(thresholds)
        row = {n: self._arrays[f"sampled_{n}"][setting, epoch - 1, place] for n in _COLUMNS}
        timesteps = int(self.grid.settings()[setting].get("timesteps", 0))
        return self._point(setting, chain, epoch, chain.count("+") + 1, timesteps, row, thresholds)

    def _family(self, setting: int, chain: str, epoch: int) -> tuple[OperatingPoint, ...]:
        """Return the non-dominated operating points of the network, over all its depths."""
        shape = self._arrays["family_counts"].shape
        cell = np.ravel_multi_index((setting, self._chain(chain), epoch - 1), shape)
        end = int(self._ends[cell])
        points = []
        for at in range(end - int(self._arrays["family_counts"].reshape(-1)[cell]), end):
            blocks, timesteps = (int(self._arrays[f"family_{n}"][at]) for n in ("blocks", "steps"))
            row = {name: self._arrays[f"family_{name}"][at] for name in _COLUMNS}
            points.append(self._point(setting, chain, epoch, blocks, timesteps, row, None))
        return tuple(points)

    def _point(
        self,
        setting: int,
        chain: str,
        epoch: int,
        blocks: int,
        timesteps: int,
        row: Mapping[str, Any],
        thresholds: tuple[float, ...] | None,
    ) -> OperatingPoint:
        own = prefixes_of(chain)[blocks - 1]
        of_epoch = epoch if own == chain else self.epochs  # blocks before the last are finished
        index = self._chain(own)
        return OperatingPoint(
            timesteps=timesteps,
            exit_thresholds=thresholds or (),
            detector_threshold=0.5,
            blocks=blocks,
            metrics={
                "accuracy": int(row["right"]) / self.images,
                "synaptic_ops": float(row["synaptic_ops"]),
                "latency_steps": float(row["latency_steps"]),
                "model_bytes": float(self._arrays["model_bytes"][setting, index, of_epoch - 1]),
                "training_memory_bytes": float(self._arrays["memory_bytes"][setting, index]),
            },
            is_sampled=thresholds is not None,
        )

    def _chain(self, chain: str) -> int:
        return self.grid.chains.index(chain)


def _blocks(grid: Grid) -> list[int]:
    return [1 + partition.count("+") for partition in grid.partitions]


def _median(values: Sequence[float]) -> float:
    ordered = sorted(values)
    return ordered[len(ordered) // 2]


def _arrays(grid: Grid, settings: list[Mapping[str, Any]], epochs: int) -> dict[str, Array]:
    shape = (len(settings), len(grid.chains), epochs)
    combinations = sum(len(grid.thresholds) ** chain.count("+") for chain in grid.chains)
    arrays: dict[str, Array] = {
        "length": np.zeros(shape[:2], np.uint8),
        "memory_bytes": np.zeros(shape[:2], np.uint32),
        "model_bytes": np.zeros(shape, np.uint32),
        "measured": np.full((*shape, len(MEASURED)), np.nan, np.float32),
        "family_counts": np.zeros(shape, np.uint8),
    }
    for name, kind in _COLUMNS.items():
        arrays[f"sampled_{name}"] = np.zeros((shape[0], epochs, combinations), kind)
    families: list[list[float]] = []
    for setting, found in enumerate(settings):
        first = 0
        for index, chain in enumerate(grid.chains):
            entries = found["chains"].get(chain, [])
            count = len(grid.thresholds) ** chain.count("+")
            arrays["length"][setting, index] = len(entries)
            for epoch, entry in enumerate(entries):
                arrays["memory_bytes"][setting, index] = entry["memory_bytes"]
                arrays["model_bytes"][setting, index, epoch] = entry["model_bytes"]
                arrays["measured"][setting, index, epoch] = entry["measured"]
                arrays["family_counts"][setting, index, epoch] = len(entry["family"])
                families.extend(entry["family"])
                columns = zip(_COLUMNS, np.array(entry["sampled"]).T, strict=True)
                for name, values in columns:
                    arrays[f"sampled_{name}"][setting, epoch, first : first + count] = values
            first += count
    table = np.array(families).reshape(len(families), 2 + len(_COLUMNS))
    arrays["family_blocks"] = table[:, 0].astype(np.uint8)
    arrays["family_steps"] = table[:, 1].astype(np.uint8)
    for column, (name, kind) in enumerate(_COLUMNS.items(), start=2):
        arrays[f"family_{name}"] = table[:, column].astype(kind)
    return arrays
