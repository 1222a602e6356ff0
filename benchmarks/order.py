"""Whether order in time is used: Braille letters with their bins in order and shuffled.

A network is trained on recordings as they are, and another one on recordings of which each has its
bins in an order of its own, in training and in test. What reads letters by the order of events
must collapse. `--rules` adds learning rules over time, some of which learn from rates or sums.

    python -m benchmarks.order --epochs 60 --timesteps 38
"""

import argparse
from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.report import Figure, Report, arguments, data_dir
from snn.data import dataset
from snn.data.events.clips import Clips
from snn.evaluation.evaluate import evaluate
from snn.network.trained import Images
from snn.settings.config import RunConfig
from snn.training.train import Training

LETTERS = RunConfig(
    dataset="braille", backbone="mlp2", width=128, timesteps=38, leak_ms=300.0, dropout=0.1,
    delta_threshold=0.144, event_value="counts", epochs=60, learning_rate=5e-3,
)  # fmt: skip
RULES = ("bptt", "ottt-a", "saf-e", "saf-f", "dsr")
MOST_SHUFFLED = 0.45


class Shuffled(Clips):
    """Recordings whose bins are in a random order, another one for each recording."""

    def _made(self, places: npt.NDArray[np.int64]) -> Any:
        made = super()._made(places)
        for frames, number in zip(made, self.index[places], strict=True):
            # training and test recordings have the same numbers
            is_test = self.part.label is self.store.test.label
            order = np.random.default_rng((int(is_test), int(number))).permutation(len(frames))
            frames[:] = frames[order]
        return made

    def whole_test(self) -> "Shuffled":
        """See Clips."""
        return shuffled(super().whole_test())


def shuffled(clips: Clips) -> Shuffled:
    """Return the same recordings with shuffled bins."""
    return Shuffled(**{field.name: getattr(clips, field.name) for field in fields(clips)})


def accuracy(config: RunConfig, *, in_order: bool) -> tuple[float, float]:
    """Return the accuracy on validation and on test recordings after a training."""
    split = dataset.split_for(config, data_dir(), "cpu")
    train, validation = split.train_images, split.validation_images
    assert isinstance(train, Clips)
    assert isinstance(validation, Clips)
    if not in_order:
        train, validation = shuffled(train), shuffled(validation)
        split = replace(split, train_images=train, validation_images=validation)
    training = Training(config, split)
    list(training)
    test = train.whole_test()
    labels = dataset.recorded(config.dataset, data_dir()).test_labels
    found = []
    for clips, wanted in ((validation, split.validation_labels), (test, labels)):
        images = Images(images=clips, labels=wanted, mean=split.mean, std=split.std)
        found.append(evaluate(training.trained, images).sampled.metrics["accuracy"])
    return found[0], found[1]


def main(argv: Sequence[str] | None = None) -> int:
    """Train, and print."""
    parser: argparse.ArgumentParser = arguments(__doc__.splitlines()[0])
    parser.add_argument("--rules", action="store_true", help="all learning rules over time")
    parser.add_argument("--epochs", type=int, default=LETTERS.epochs, help="of each training")
    parser.add_argument("--timesteps", type=int, default=LETTERS.timesteps, help="bins")
    options = parser.parse_args(argv)
    epochs = 1 if options.quick else options.epochs
    config = LETTERS.replace(epochs=epochs, timesteps=options.timesteps)
    setting = {"epochs": epochs, "T": options.timesteps, "dataset": config.dataset}
    report = Report("order", setting=setting)
    for rule in RULES if options.rules else RULES[:1]:
        for in_order in (True, False):
            own = config.replace(time_rule=rule)
            validation, test = accuracy(own, in_order=in_order)
            word = "in_order" if in_order else "shuffled"
            report.line(f"{rule}, {word}: validation {validation:.1%}, test {test:.1%}")
            aim = 0.95 if in_order else MOST_SHUFFLED
            report.add(
                Figure(
                    name=f"accuracy_{rule.replace('-', '_')}_{word}",
                    value=test,
                    unit="",
                    better="higher" if in_order else "lower",
                    aim=aim if rule == "bptt" else None,
                )
            )
    report.show(as_json=options.json)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
