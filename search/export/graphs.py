"""Export of networks as NIR graphs, and evaluation of NIR graphs of any origin."""

import contextlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from search.worker.engine import dataset_fingerprint, images_of
from snn.data.image_files import DataError
from snn.interchange.description import (
    DT_S,
    Description,
    InterchangeError,
    Measured,
    stated_dt,
)
from snn.settings.config import DATASETS, ConfigError, RunConfig, nearest

FORMS = ("plain", "norse")


@dataclass(frozen=True, kw_only=True)
class GraphRun:
    """Settings of a run of a graph; None: those in its metadata, or else the defaults."""

    dataset: str | None = None
    timesteps: int | None = None
    encoding: str | None = None
    dt_s: float | None = None

    def completed(self, about: Description | None, *, dt_s: float = DT_S) -> Description:
        """Return all settings of the run; `dt_s` is the graph's own. Raises InterchangeError."""
        if self.dataset is not None and self.dataset not in DATASETS:
            hint = nearest(self.dataset, DATASETS) or f"; known: {', '.join(DATASETS)}"
            raise InterchangeError(f"--dataset: {self.dataset!r} is not a data set{hint}")
        if about is None:
            about = replace(self._elsewhere(), dt_s=dt_s)
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
        """Return the default settings, for a graph without metadata."""
        if self.dataset is None:
            raise InterchangeError(
                f"has no metadata about its data set; give the data set with --dataset "
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
        )


@dataclass(frozen=True, kw_only=True)
class GraphMeasured:
    """The result of a run of a graph."""

    about: Description
    measured: Measured
    is_ours: bool  # whether its metadata have the settings of the run
    data_fingerprint: str


def write_graphs(
    config: RunConfig, weights: Path, folder: Path, *, data_dir: Path, form: str
) -> list[str]:
    """Write weights as NIR graphs into a folder; returns the names of the files.

    Raises InterchangeError with the part of the network that NIR cannot express.
    """
    from snn.data import dataset as data
    from snn.interchange.bundle import write_all
    from snn.training import checkpoint

    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    # for programs that prepare the input; the network does not need them
    with contextlib.suppress(data.DataError):
        dataset = data.named(config.dataset, data_dir)
        mean, std = dataset.mean, dataset.std
    network = checkpoint.load(weights, config=config).network
    chosen: Literal["plain", "norse"] = "norse" if form == "norse" else "plain"
    return write_all(network, folder, mean=mean, std=std, form=chosen)


def measure_graph(path: Path, asked: GraphRun, *, data_dir: Path, test: bool) -> GraphMeasured:
    """Run a NIR graph of any origin on validation or test images.

    Raises InterchangeError and DataError.
    """
    from snn.interchange import files
    from snn.interchange.measure import description_of, measure, run_settings

    try:
        graph = files.read(path)
        own = description_of(graph)
        about = asked.completed(own, dt_s=stated_dt(graph) or DT_S)
        config = run_settings(about)
        images = images_of(config, data_dir=data_dir, test=test)
        measured = measure(graph, images, about)
    except InterchangeError as error:
        raise InterchangeError("\n".join(_placed(path, error))) from None
    except (DataError, ConfigError):
        raise
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        lines = str(error).splitlines() or [""]
        raise InterchangeError(
            f"{path}: has values that cannot be run ({type(error).__name__}: {lines[0]})"
        ) from error
    return GraphMeasured(
        about=about,
        measured=measured,
        is_ours=own is not None,
        data_fingerprint=dataset_fingerprint(config, data_dir),
    )


def _placed(path: Path, error: ValueError) -> list[str]:
    """Return the lines of an error, each with the path of the file in front."""
    return [
        line if line.startswith((str(path), "--")) else f"{path}: {line}"
        for line in str(error).splitlines()
    ]
