"""The size of the gradient in each layer of a deep random network, for three slopes.

Twenty layers of 128 neurons with batch norm on their currents, leak 0.9, ten timesteps, one batch
of handwritten digits; Ledinauskas et al. (2020) are about such networks. `--picture FILE` draws
what is printed.
"""

import math
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from benchmarks.plot import lines
from benchmarks.report import Figure, Report, arguments, data_dir
from snn.data import dataset
from snn.network.network import Network, Task
from snn.settings.config import RunConfig
from snn.training.growth import IMAGES, gradient_sizes, growth
from snn.training.stage import Stage

SLOPES = (0.5, 2.0, 10.0)
LAYERS, NEURONS = 20, 128


def sizes(slope: float) -> list[float]:
    """Return root mean squares of the gradients of the currents by layer, first to last."""
    config = RunConfig(
        architecture=" ".join([f"d{NEURONS}"] * LAYERS),
        head_hidden=0,
        norm="batch-over-time",
        surrogate="fast-sigmoid",
        surrogate_slope=slope,
        leak=0.9,
        timesteps=10,
    )
    split = dataset.split_for(config, data_dir(), "cpu")
    task = Task(image_shape=split.image_shape, classes=split.classes)
    stage = Stage(Network(config, task), split, range(split.classes), device="cpu")
    batch = stage.examples.batch(torch.arange(IMAGES), torch.Generator())
    found = gradient_sizes(stage.runner, batch)
    return list(found.values())


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, draw."""
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument("--picture", type=Path, metavar="FILE", help="draw an SVG there")
    options = parser.parse_args(argv)
    report = Report("gradients", setting={"layers": LAYERS, "neurons": NEURONS})
    series = {}
    for slope in SLOPES:
        found = sizes(slope)
        series[f"slope {slope:g}"] = [math.log10(size / found[-1]) for size in found]
        report.line(f"slope {slope:g}: " + " ".join(f"{size:.2e}" for size in found))
        factor = growth({str(place): size for place, size in enumerate(found)})
        report.add(Figure(name=f"growth_slope_{slope:g}", value=factor, unit="", better="lower"))
    if options.picture:
        title = "Gradient of the currents by layer, over that of the last layer"
        drawn = lines(title, series, across="layer", up="power of ten")
        options.picture.write_text(drawn, encoding="utf-8")
    report.show(as_json=options.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
