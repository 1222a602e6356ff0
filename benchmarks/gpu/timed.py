"""A training with as many epochs as a time limit allows, judged once on the test images.

The number of epochs decides the learning rate of every step, so it is chosen
before: two epochs on few images, after one that warms up, say what an epoch costs.
"""

import time
from collections.abc import Sequence
from pathlib import Path

import torch

from benchmarks.claims.claim import Place
from benchmarks.claims.tested import split_for, train_and_test
from benchmarks.report import Figure, Report, arguments
from search.export.folder import read_config
from search.worker.engine import environment, pick_device
from snn.data.image_files import DataError
from snn.settings.config import RunConfig
from snn.training.precision import settled
from snn.training.train import Training

MARGIN = 0.85
"""Share of the limit that is planned: the rest is for the unforeseen, and for the test images."""


def epoch_seconds(config: RunConfig, place: Place) -> float:
    """Estimated seconds of an epoch of all blocks on all training images, from two short ones."""
    images = len(split_for(config, place).train_labels)
    sizes = [max(config.batch_size, images // part) for part in (16, 8)]
    seconds = []
    for size in (sizes[0], *sizes):  # the first one compiles
        part = config.replace(epochs=1, train_images=size)
        split = split_for(part, place)
        started = time.perf_counter()
        for _ in Training(part, split, device=place.device):
            pass
        seconds.append(time.perf_counter() - started)
    _, short, long = seconds
    slope = (long - short) / (sizes[1] - sizes[0]) if sizes[1] > sizes[0] else 0.0
    return max(short + max(slope, 0.0) * (images - sizes[0]), long)


def within(config: RunConfig, place: Place, seconds: float) -> RunConfig:
    """Return the config with at most its epochs, and as many as `seconds` from now allow."""
    started = time.perf_counter()
    each = epoch_seconds(config, place)
    left = MARGIN * seconds - (time.perf_counter() - started)
    return config.replace(epochs=max(1, min(config.epochs, int(left / each))))


def main(argv: Sequence[str] | None = None) -> int:
    """Train, and print."""
    parser = arguments(__doc__.splitlines()[0], has_quick=False)
    parser.add_argument("config", type=Path, help="a file of run settings")
    parser.add_argument("--seconds", type=float, required=True, help="limit of the whole command")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--aim", type=float, help="accuracy to reach")
    options = parser.parse_args(argv)
    place = Place(
        data=options.data, device=pick_device(options.device), threads=torch.get_num_threads()
    )
    started = time.perf_counter()
    config, choice = settled(read_config(options.config), place.device)
    try:
        config = within(config, place, options.seconds)
        report = Report(
            "timed",
            setting={
                "config": options.config.name,
                "epochs": f"{config.epochs} for each block",
                "precision": str(choice or config.precision),
                "device": environment(options.device)["device"],
            },
        )
        report.line(f"{config.epochs} epochs for each block")
        found = train_and_test(config, place)
    except DataError as error:
        parser.error(str(error))
    accuracy = found["accuracy"]
    for figure in (
        Figure(name="test_accuracy", value=accuracy, unit="", better="higher", aim=options.aim),
        Figure(name="epochs", value=config.epochs, unit="", better="lower"),
        Figure(
            name="total_s", value=time.perf_counter() - started, unit="s", better="lower",
            aim=options.seconds,
        ),
    ):  # fmt: skip
        report.add(figure)
    report.show(as_json=options.json)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
