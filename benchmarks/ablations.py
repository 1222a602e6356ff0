"""What parts of a network for recordings are worth, one change at a time.

For each data set a network chosen by hand is trained as it is, and with one thing changed each:
its neurons, delays, recurrence, how time is cut, the learning rule. Controls take the order of
events away, in training and in test: with the bins of each recording shuffled, what had events
together stays together; with those of each input shuffled by themselves only counts are left.
Logistic regressions say what counts tell without a network. With `--resume FILE` every finished
training is a line of that file, and the same command goes on behind it. `--markdown` writes the
sections of this data set and of the given fronts, and keeps all others of the page.

    python -m benchmarks.ablations --dataset spoken-digits --seeds 3 --resume runs/ablations.jsonl
"""

import hashlib
import statistics
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, RidgeClassifier

from benchmarks.ablated import AS_IT_IS, NETWORKS, changes, described
from benchmarks.finished import Finished
from benchmarks.recordings_page import ablated, percent, read_front, updated
from benchmarks.report import Figure, Report, arguments, data_dir, machine
from snn.data import dataset
from snn.data.events.clips import Clips
from snn.evaluation.evaluate import evaluate
from snn.network.trained import Images
from snn.settings.config import RunConfig
from snn.training.environment import engine
from snn.training.train import Training

SHUFFLED = ("bins shuffled", "bins of each input shuffled")
RULES_SHUFFLED = ("rule saf-f", "rule dsr")  # which learn from sums and rates
COUNTS = "counts over the recording"
BY_RIDGE = "the same counts, as a ridge regression"
TOGETHER = "which inputs had events together"
MOST_INPUTS = 100  # of which pairs are counted


class Shuffled(Clips):
    """Recordings whose bins are in a random order, another one for each recording."""

    is_each_input = False  # whether each input of a recording has an order of its own

    def _made(self, places: npt.NDArray[np.int64]) -> Any:
        made = super()._made(places)
        for frames, number in zip(made, self.index[places], strict=True):
            # training and test recordings have the same numbers
            is_test = self.part.label is self.store.test.label
            draws = np.random.default_rng((int(is_test), int(number)))
            inputs = frames.reshape(len(frames), -1)
            if self.is_each_input:
                inputs[:] = draws.permuted(inputs, axis=0)
            else:
                inputs[:] = inputs[draws.permutation(len(frames))]
        return made

    def whole_test(self) -> "Shuffled":
        """See Clips."""
        return self.of(super().whole_test())

    @classmethod
    def of(cls, clips: Clips) -> "Shuffled":
        """Return the same recordings with shuffled bins."""
        return cls(**{field.name: getattr(clips, field.name) for field in fields(clips)})


class ShuffledInputs(Shuffled):
    """Recordings whose inputs have their bins in random orders, each its own."""

    is_each_input = True


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One training: a config, and how its recordings are shuffled."""

    name: str
    config: RunConfig
    shuffle: type[Shuffled] | None = None

    @property
    def fingerprint(self) -> str:
        """16 hex digits."""
        kind = "" if self.shuffle is None else self.shuffle.__name__
        return hashlib.sha256(f"{kind} {self.config.fingerprint}".encode()).hexdigest()[:16]


def variants(base: RunConfig) -> list[Variant]:
    """Return every change of the network, and the controls."""
    known = changes(base)
    own = [Variant(name=name, config=base.replace(**some)) for name, some in known.items()]
    for name, kind in zip(SHUFFLED, (Shuffled, ShuffledInputs), strict=True):
        own.append(Variant(name=name, config=base, shuffle=kind))
    for name in RULES_SHUFFLED:
        config = base.replace(**known[name])
        own.append(Variant(name=f"{name}, {SHUFFLED[0]}", config=config, shuffle=Shuffled))
    return own


def clips_of(config: RunConfig, shuffle: type[Shuffled] | None) -> tuple[dataset.Split, Clips]:
    """Return the split of a config, and its test recordings, both shuffled alike."""
    split = dataset.split_for(config, data_dir(), "cpu")
    train, validation = split.train_images, split.validation_images
    assert isinstance(train, Clips)
    assert isinstance(validation, Clips)
    if shuffle is not None:
        train, validation = shuffle.of(train), shuffle.of(validation)
        split = replace(split, train_images=train, validation_images=validation)
    return split, train.whole_test()


def trained(variant: Variant) -> dict[str, float]:
    """Return metrics on the test recordings after a training, and its processor time."""
    begun = time.process_time()
    split, test = clips_of(variant.config, variant.shuffle)
    training = Training(variant.config, split)
    list(training)
    took = time.process_time() - begun
    labels = dataset.recorded(variant.config.dataset, data_dir()).test_labels
    images = Images(images=test, labels=labels, mean=split.mean, std=split.std)
    metrics = evaluate(training.trained, images).sampled.metrics
    return {name: metrics[name] for name in ("accuracy", "synaptic_ops")} | {"cpu_s": took}


@dataclass(frozen=True, kw_only=True)
class Row:
    """One variant: values by seed, and those of the network as it is."""

    name: str
    values: Sequence[Mapping[str, float]]
    base: Sequence[Mapping[str, float]]

    def of(self, name: str) -> list[float]:
        """Return one value by seed."""
        return [value[name] for value in self.values]

    def ratio(self, name: str) -> float:
        """Return the mean of a value over that of the network as it is."""
        mine = statistics.mean(self.of(name))
        return mine / statistics.mean(value[name] for value in self.base)

    def cells(self) -> list[str]:
        """Of a table."""
        accuracy = self.of("accuracy")
        return [
            self.name,
            percent(statistics.mean(accuracy)),
            f"{100 * min(accuracy):.1f} to {100 * max(accuracy):.1f}",
            f"{self.ratio('accuracy'):.2f}",
            f"{statistics.mean(self.of('synaptic_ops')) / 1e3:,.0f} k",
            f"{self.ratio('synaptic_ops'):.2f}",
            f"{self.ratio('cpu_s'):.1f}",
        ]

    def figures(self) -> Iterator[Figure]:
        """Accuracy, and operations over those of the network as it is."""
        name = "".join(c if c.isalnum() else "_" for c in self.name.lower())
        yield Figure(
            name=f"accuracy_{name}", value=statistics.mean(self.of("accuracy")), unit="",
            better="higher",
        )  # fmt: skip
        yield Figure(
            name=f"ops_{name}", value=self.ratio("synaptic_ops"), unit="of its operations",
            better="lower",
        )  # fmt: skip


def pairs(bins: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return in how many bins each pair of inputs had events, (recordings, pairs)."""
    is_active = (bins > 0).astype(np.float64)
    first, second = np.triu_indices(bins.shape[2])
    together: npt.NDArray[np.float64] = np.einsum("nti,ntj->nij", is_active, is_active)
    return together[:, first, second]


def readers(config: RunConfig) -> dict[str, float]:
    """Return the test accuracy of logistic regressions on what of a recording they are shown."""
    split, test = clips_of(config, None)
    assert isinstance(split.train_images, Clips)
    labels = dataset.recorded(config.dataset, data_dir()).test_labels
    made = [
        clips[torch.arange(len(clips))].flatten(2).numpy().astype(np.float64)
        for clips in (split.train_images, test)
    ]
    views: dict[str, Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]]] = {
        "all bins in order": lambda bins: bins.reshape(len(bins), -1),
        COUNTS: lambda bins: bins.sum(axis=1),
        BY_RIDGE: lambda bins: bins.sum(axis=1),
    }
    if made[0].shape[2] <= MOST_INPUTS:
        views[TOGETHER] = pairs
    found = {}
    for name, view in views.items():
        reader = RidgeClassifier() if name == BY_RIDGE else LogisticRegression(max_iter=300)
        with warnings.catch_warnings():  # a reader that is stopped early is a reader
            warnings.simplefilter("ignore", ConvergenceWarning)
            reader.fit(view(made[0]), split.train_labels.numpy())
        found[name] = float(reader.score(view(made[1]), labels.numpy()))
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Train, print, and write the page."""
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument("--dataset", choices=NETWORKS, default="braille")
    parser.add_argument("--seeds", type=int, default=3, help="of each training (default 3)")
    parser.add_argument("--epochs", type=int, help="of each training (default: the network's own)")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these changes alone")
    parser.add_argument("--section", metavar="NAME", help="what --only is about, for the page")
    parser.add_argument("--resume", type=Path, metavar="FILE", help="keep finished trainings there")
    parser.add_argument(
        "--fronts", nargs="+", type=Path, default=[], metavar="FILE",
        help="what spikefront confirm --json printed, for the page",
    )  # fmt: skip
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the page")
    options = parser.parse_args(argv)
    base = NETWORKS[options.dataset]
    epochs = 1 if options.quick else options.epochs or base.epochs
    chosen = variants(base.replace(epochs=epochs))
    known = [variant.name for variant in chosen]
    if unknown := set(options.only or ()) - set(known):
        parser.error(f"--only: {sorted(unknown)[0]!r} is none of {', '.join(known)}")
    if options.markdown and (options.quick or bool(options.only) != bool(options.section)):
        parser.error(
            "--markdown needs every training at full size, or a --section for those of --only: "
            "leave out --quick, and name what --only is about with --section"
        )
    if missing := dataset.available(data_dir())[base.dataset]:
        parser.error(missing)
    try:
        fronts = [read_front(path) for path in options.fronts]
    except ValueError as error:
        parser.error(str(error))
    torch.set_num_threads(1)
    stamp = {"engine": engine(), "torch": torch.__version__, "machine": machine()}
    finished = Finished(options.resume, stamp)
    seeds = range(1 if options.quick else options.seeds)
    config = chosen[0].config
    recordings = dataset.recorded(config.dataset, data_dir()).test_labels
    setting = {
        "dataset": config.dataset, "epochs": config.epochs, "seeds": len(seeds),
        "network": described(config), "recordings": len(recordings),
        "section": options.section, "only": options.only,
    }  # fmt: skip
    report = Report("ablations", setting=setting)
    rows: list[Row] = []
    for variant in chosen:
        if options.only and variant.name not in (AS_IT_IS, *options.only):
            continue
        values = []
        for seed in seeds:
            own = replace(variant, config=variant.config.replace(seed=seed))
            result = finished.get(own.fingerprint)
            if result is None:
                result = trained(own)
                finished.put(own.fingerprint, result)
            values.append(result)
        rows.append(Row(name=variant.name, values=values, base=rows[0].values if rows else values))
        report.line(" | ".join(rows[-1].cells()))
        for figure in rows[-1].figures():
            report.add(figure)
    read = {} if options.only else readers(chosen[0].config)
    for name, value in read.items():
        report.line(f"logistic regression on {name}: {value:.1%}")
        key = f"reader_{name.replace(' ', '_')}"
        report.add(Figure(name=key, value=value, unit="", better="higher"))
    report.show(as_json=options.json)
    if options.markdown:
        section = ablated([row.cells() for row in rows], read, report=report)
        title = ", ".join(filter(None, (config.dataset, options.section)))
        path = options.markdown
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        path.write_text(updated(text, {title: section}, fronts, report), encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
