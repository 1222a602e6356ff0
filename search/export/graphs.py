"""NIR graphs: a network's as files, and any graph's figures.

With `search.worker.engine` the only file of `search` that runs the engine; torch is loaded
when something runs.
"""

import contextlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from search.worker.engine import dataset_fingerprint, images_of
from snn.interchange.description import DT_S, Description, InterchangeError, Measured
from snn.settings.config import DATASETS, RunConfig, nearest

FORMS = ("plain", "norse")


@dataclass(frozen=True, kw_only=True)
class GraphRun:
    """What somebody asks of a graph; None leaves it to the graph, or to what is usual."""

    dataset: str | None = None
    timesteps: int | None = None
    encoding: str | None = None
    dt_s: float | None = None

    def completed(self, about: Description | None) -> Description:
        """How the graph is run. Raises InterchangeError."""
        if self.dataset is not None and self.dataset not in DATASETS:
            hint = nearest(self.dataset, DATASETS) or f"; known: {', '.join(DATASETS)}"
            raise InterchangeError(f"--dataset: {self.dataset!r} is not a data set{hint}")
        if about is None:
            about = self._elsewhere()
        elif self.dataset not in (None, about.dataset):
            about = replace(about, dataset=str(self.dataset), mean=None, std=None)
        steps = self.timesteps or about.timesteps
        return replace(
            about,
            timesteps=steps,
            trained_timesteps=max(steps, about.trained_timesteps),
            encoding=self.encoding or about.encoding,
            dt_s=self.dt_s or about.dt_s,
        )

    def _elsewhere(self) -> Description:
        """Of a graph that says nothing of itself: the usual settings of a run."""
        if self.dataset is None:
            raise InterchangeError(
                f"does not say what it classifies; name its data set with --dataset "
                f"({', '.join(DATASETS)})"
            )
        usual = RunConfig(dataset=self.dataset)
        return Description(
            dataset=self.dataset,
            encoding=usual.encoding,
            mean=None,
            std=None,
            timesteps=usual.timesteps,
            trained_timesteps=usual.timesteps,
            readout="",
            readout_leak=1.0,
            classes=tuple(range(DATASETS[self.dataset][1])),
            votes=1,
            exit=1,
            seed=usual.seed,
            validation_fraction=usual.validation_fraction,
            train_images=usual.train_images,
            dt_s=DT_S,
        )


@dataclass(frozen=True, kw_only=True)
class GraphMeasured:
    """What a graph did, and on what."""

    about: Description
    measured: Measured
    is_ours: bool  # whether it said itself how it is run
    data_fingerprint: str


def write_graphs(
    config: RunConfig, weights: Path, folder: Path, *, data_dir: Path, form: str
) -> list[str]:
    """Write stored weights as NIR graphs into a folder; returns the files' names.

    Raises InterchangeError naming what cannot be expressed.
    """
    from snn.data import dataset as data
    from snn.interchange.bundle import write_all
    from snn.training import checkpoint

    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    # they are of use to whoever makes the input; the network does without them
    with contextlib.suppress(data.DataError):
        dataset = data.load(config.dataset, data_dir)
        mean, std = dataset.mean, dataset.std
    network = checkpoint.load(weights, config=config).network
    chosen: Literal["plain", "norse"] = "norse" if form == "norse" else "plain"
    return write_all(network, folder, mean=mean, std=std, form=chosen)


def measure_graph(path: Path, asked: GraphRun, *, data_dir: Path, test: bool) -> GraphMeasured:
    """Run a NIR graph, of ours or from elsewhere, on validation or test images.

    Raises InterchangeError and DataError.
    """
    from snn.interchange import files
    from snn.interchange.measure import description_of, measure, run_settings

    try:
        graph = files.read(path)
        own = description_of(graph)
        about = asked.completed(own)
        config = run_settings(about)
        images = images_of(config, data_dir=data_dir, test=test)
        measured = measure(graph, images, about)
    except InterchangeError as error:
        raise InterchangeError("\n".join(_placed(path, error))) from None
    return GraphMeasured(
        about=about,
        measured=measured,
        is_ours=own is not None,
        data_fingerprint=dataset_fingerprint(config, data_dir),
    )


def _placed(path: Path, error: ValueError) -> list[str]:
    """The lines of an error, each with the file in front."""
    return [
        line if line.startswith((str(path), "--")) else f"{path}: {line}"
        for line in str(error).splitlines()
    ]
