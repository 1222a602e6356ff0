"""Block-local training and its parts, each against its alternatives.

ResNet-7 in three blocks 1+1+1 on 10,000 images of MNIST, or of the data set
that is asked for: `digits` (8x8, small) or `cifar10` (BlocTrain's own setting,
ResNet-9 of width 64 in blocks 2+1+1, for a GPU). Compared are end-to-end with
one exit and with three, base (every block on all classes) and conditional
(deeper blocks on hard classes); which classes are hard; what tells hard inputs;
how outputs are combined; how many blocks. Networks are shared wherever nothing
that was trained changes, and so are the blocks in front of where they part.

Accuracies are of validation images, which also decide which classes are hard.
Operations are accumulates, spikes times existing connections, with classifiers
and detectors; the multiply-accumulates of the first layer are the same
everywhere. Compute efficiency is those of the end-to-end network with one exit
over the mean of ours at an exit threshold of 0.5; `dense` counts every connection
at every timestep of the blocks that an image reaches instead. Memory overhead
is stored bytes over those of the end-to-end network, memory saving the
end-to-end network's training memory over that of the block that needs most.
"""

import copy
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from pathlib import Path

from benchmarks.report import Figure, Report, arguments, data_dir
from search.text.artifacts import ArtifactFile
from search.worker.engine import pick_device, plan
from snn.data import dataset as data
from snn.evaluation.operating_points import OperatingPointEvaluator, OperatingSetting
from snn.evaluation.recording import record_readings
from snn.network.blocks import Block
from snn.network.network import Network
from snn.network.trained import Images, Trained
from snn.settings.config import RunConfig
from snn.settings.partition import format_partition
from snn.training.block_cache import BlockCache
from snn.training.stage_checkpoint import Checkpoints
from snn.training.train import Training

EXIT_THRESHOLD = 0.5  # at every exit, where a figure names none
CACHE_BYTES = 4 * 2**30
GRID = (0.5, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0)  # exit thresholds
DETECTORS = ("none", "mass", "head", "predicted")
COMBINATIONS = ("nested", "last", "maximum", "mean")
PUBLISHED = {  # Srinivasan & Roy 2021, CIFAR-10
    "accuracy_base": 0.8831,
    "accuracy_conditional": 0.864,
    "memory_saving": 2.95,
    "compute_efficiency_conditional": 1.89,
}


@dataclass(frozen=True, kw_only=True)
class Setup:
    """What is run on a data set."""

    config: RunConfig  # base: block-local, every block on all classes
    class_threshold: float  # of the conditional form
    class_thresholds: tuple[float, ...]  # the sweep
    partitions: tuple[str, ...]  # other numbers of blocks


def setup_for(dataset: str, *, quick: bool) -> Setup:
    """The networks of a data set."""
    if dataset == "cifar10":
        return Setup(
            config=RunConfig(
                dataset="cifar10",
                backbone="resnet9",
                width=64,
                head_hidden=1024,
                partition="2+1+1",
                timesteps=4,
                epochs=1 if quick else 60,
                train_images=2_000 if quick else 0,
                augmentation="crop-flip",
                dropout=0.2,
                learning_rate=2e-3,
            ),
            class_threshold=0.8,
            class_thresholds=(0.7, 0.8, 0.9),
            partitions=("2+2", "1+1+1+1"),
        )
    if dataset == "mnist":
        return Setup(
            config=RunConfig(
                dataset="mnist",
                backbone="resnet7",
                width=8,
                partition="1+1+1",
                timesteps=4,
                epochs=1,
                train_images=2_000 if quick else 10_000,
                validation_fraction=1 / 30 if quick else 1 / 12,
            ),
            class_threshold=0.9,
            class_thresholds=(0.85, 0.9, 0.95),
            partitions=("1+2",),
        )
    return Setup(
        config=RunConfig(width=8, partition="1+1+1", epochs=2 if quick else 8, timesteps=4),
        class_threshold=0.95,
        class_thresholds=(0.9, 0.95, 0.98),
        partitions=("1+2",),
    )


@dataclass(frozen=True, kw_only=True)
class Reading:
    """A trained network under one way to read its exits, and what it then does."""

    trained: Trained
    counter: OperatingPointEvaluator

    def metrics(self, threshold: float, depth: int | None = None) -> Mapping[str, float]:
        """At one threshold for all exits; 1 runs every block. `depth` blocks or all."""
        return self.counter.point(self._setting(threshold, depth)).metrics

    def _setting(self, threshold: float, depth: int | None = None) -> OperatingSetting:
        config = self.trained.config
        return OperatingSetting(
            timesteps=config.timesteps,
            exit_thresholds=(threshold,) * ((depth or len(self.trained.network.blocks)) - 1),
            detector_threshold=config.detector_threshold,
        )

    def dense_ops(self, threshold: float) -> float:
        """Mean of all connections times timesteps of the blocks that an image reaches."""
        config, network, total, before = self.trained.config, self.trained.network, 0.0, 0.0
        left = self.counter.exiting(self._setting(threshold))
        reached = 1.0
        for index, gone in enumerate(left):
            prefix = format_partition(config.blocks[: index + 1])
            until = plan(config.replace(partition=prefix)).macs_per_image
            detector = network.block(index).head.detector
            weights = 0 if detector is None else detector.connections.weight.numel()
            total += reached * (until - before + config.timesteps * weights)
            before = until
            reached -= float(gone.mean())
        return total


def finish(
    config: RunConfig,
    split: data.Split,
    *,
    device: str,
    cache: BlockCache | None = None,
    folder: Path | None = None,
) -> Training:
    """Train to the end, from the checkpoint in the folder if there is one.

    The checkpoint stays, for the case that what comes behind the training is interrupted. Raises
    DivergedError.
    """
    checkpoints = None
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / f"{config.training_fingerprint}.checkpoint"
        checkpoints = Checkpoints(ArtifactFile(uri=str(file)))
    training = Training(config, split, device=device, cache=cache, checkpoints=checkpoints)
    training.resume()
    for _ in training:
        pass
    return training


@dataclass
class Bench:
    """One seed of everything; `values` are figures by name."""

    setup: Setup
    seed: int
    device: str
    report: Report
    cache: BlockCache
    _: KW_ONLY
    data_dir: Path = field(default_factory=data_dir)
    folder: Path | None = None  # of checkpoints
    values: dict[str, float] = field(default_factory=dict)
    kept: dict[str, Trained] = field(default_factory=dict)  # by training fingerprint

    def __post_init__(self) -> None:
        config = self.setup.config
        self.split = data.split(
            data.load(config.dataset, self.data_dir),
            validation_fraction=config.validation_fraction,
            train_images=config.train_images,
            seed=self.seed,
            device=self.device,
        )
        self.images = Images(
            images=self.split.validation_images,
            labels=self.split.validation_labels,
            mean=self.split.mean,
            std=self.split.std,
        )

    def train(self, name: str, **changes: object) -> Trained:
        """Train a network that differs from base, once."""
        started = time.perf_counter()
        config = self.setup.config.replace(seed=self.seed, **changes)
        if config.training_fingerprint in self.kept:
            return self.kept[config.training_fingerprint]
        training = finish(
            config, self.split, device=self.device, cache=self.cache, folder=self.folder
        )
        sizes = [len(block.head.classes) for block in _blocks(training.network)]
        self.report.line(
            f"{name}: classes per block {sizes}, {training.epochs_reused} epochs known, "
            f"{time.perf_counter() - started:.0f} s"
        )
        self.kept[config.training_fingerprint] = training.trained
        return training.trained

    def read(
        self,
        trained: Trained,
        ways: Sequence[Mapping[str, object]] = ({},),
        *,
        images: Images | None = None,
    ) -> list[Reading]:
        """The network under several settings that change no weight, from one run.

        On the validation images where no others are given.
        """
        changed = [_reading(trained, way) for way in ways]
        judged = self.images if images is None else images
        recordings = record_readings([each.network for each in changed], judged)
        return [
            Reading(trained=each, counter=OperatingPointEvaluator(each, recording))
            for each, recording in zip(changed, recordings, strict=True)
        ]

    def run(self) -> None:
        """Train and compare everything."""
        whole = self.setup.config.blocks
        alone = self.train("end-to-end, one exit", partition=str(sum(whole)))
        (end_to_end,) = self.read(alone)
        reference = end_to_end.metrics(1.0)
        self.values["accuracy_end_to_end"] = reference["accuracy"]
        together = self.train("end-to-end, an exit per block", space_rule="end-to-end")
        self._curve("end_to_end_exits", self.read(together)[0], reference)
        base = self.train("base")
        conditional = self.conditional()
        self._combinations("base", base)
        self._combinations("conditional", conditional)
        nested_base = self.read(base)[0]
        nested = self.read(conditional)[0]
        for name, reading in (("base", nested_base), ("conditional", nested)):
            self._curve(name, reading, reference)
            self._depths(name, reading)
            self._efficiency(name, reading, end_to_end)
        self.values |= memory_savings(
            int(reference["training_memory_bytes"]), base.history.memory_bytes
        )
        self._detectors(conditional, reference)
        self._class_rules()
        self._block_counts(nested_base)

    def conditional(self, **changes: object) -> Trained:
        """Train the form whose deeper blocks see hard classes alone."""
        settings = {
            "block_classes": "hard",
            "class_threshold": self.setup.class_threshold,
            "detector": "head",
            **changes,
        }
        name = ", ".join(f"{n} {v}" for n, v in changes.items()) or "usual"
        return self.train(f"conditional, {name}", **settings)

    def _curve(self, name: str, reading: Reading, reference: Mapping[str, float]) -> None:
        """Accuracy against mean operations, over thresholds."""
        for threshold in GRID:
            metrics = reading.metrics(threshold)
            ops = metrics["synaptic_ops"] / reference["synaptic_ops"]
            self.report.line(
                f"{name} at {threshold:g}: accuracy {metrics['accuracy']:.4f}, "
                f"{metrics['mean_blocks']:.2f} blocks, {ops:.3f} of end-to-end's operations"
            )
            self.values[f"accuracy_{name}_at_{threshold:g}"] = metrics["accuracy"]
            self.values[f"ops_{name}_at_{threshold:g}"] = ops
        self.values[f"accuracy_{name}"] = reading.metrics(1.0)["accuracy"]

    def _depths(self, name: str, reading: Reading) -> None:
        """Accuracy where every image runs so many blocks."""
        for depth in reading.counter.depths():
            accuracy = reading.metrics(1.0, depth)["accuracy"]
            self.values[f"accuracy_{name}_depth_{depth}"] = accuracy

    def _efficiency(self, name: str, reading: Reading, end_to_end: Reading) -> None:
        for kind, value in efficiency(reading, end_to_end, EXIT_THRESHOLD).items():
            self.values[f"{kind}_{name}"] = value

    def _combinations(self, name: str, trained: Trained) -> None:
        """At full depth, and with exits by confidence alone at the usual threshold."""
        ways = [{"exit_combination": way, "detector": "none"} for way in COMBINATIONS]
        for way, reading in zip(COMBINATIONS, self.read(trained, ways), strict=True):
            usual = reading.metrics(EXIT_THRESHOLD)
            self.values[f"accuracy_{name}_{way}"] = reading.metrics(1.0)["accuracy"]
            self.values[f"accuracy_{name}_{way}_with_exits"] = usual["accuracy"]

    def _detectors(self, trained: Trained, reference: Mapping[str, float]) -> None:
        ways = [{"detector": kind} for kind in DETECTORS]
        for kind, reading in zip(DETECTORS, self.read(trained, ways), strict=True):
            usual = reading.metrics(EXIT_THRESHOLD)
            ops = usual["synaptic_ops"] / reference["synaptic_ops"]
            self.values[f"accuracy_detector_{kind}"] = usual["accuracy"]
            self.values[f"ops_detector_{kind}"] = ops

    def _class_rules(self) -> None:
        rules: dict[str, dict[str, object]] = {
            f"below_{value:g}": {"class_threshold": value} for value in self.setup.class_thresholds
        }
        rules["below_mean"] = {"class_rule": "mean"}
        rules["worst_half"] = {"class_rule": "worst-fraction"}
        rules["worst_half_by_precision"] = {
            "class_rule": "worst-fraction",
            "class_score": "precision",
        }
        for name, changes in rules.items():
            (reading,) = self.read(self.conditional(**changes))
            usual = reading.metrics(EXIT_THRESHOLD)
            self.values[f"accuracy_hard_{name}"] = reading.metrics(1.0)["accuracy"]
            self.values[f"accuracy_hard_{name}_with_exits"] = usual["accuracy"]
            self.values[f"blocks_hard_{name}_with_exits"] = usual["mean_blocks"]

    def _block_counts(self, base: Reading) -> None:
        readings = {self.setup.config.partition: base}
        for partition in self.setup.partitions:
            readings[partition] = self.read(self.train(partition, partition=partition))[0]
        for partition, reading in readings.items():
            metrics = reading.metrics(1.0)
            self.values[f"accuracy_base_{partition}"] = metrics["accuracy"]
            self.values[f"training_memory_base_{partition}"] = metrics["training_memory_bytes"]


def efficiency(reading: Reading, end_to_end: Reading, threshold: float) -> dict[str, float]:
    """Operations that exits save, spike by spike and dense, and what the exits weigh."""
    usual, reference = reading.metrics(threshold), end_to_end.metrics(1.0)
    return {
        "compute_efficiency": reference["synaptic_ops"] / usual["synaptic_ops"],
        "compute_efficiency_dense": end_to_end.dense_ops(1.0) / reading.dense_ops(threshold),
        "memory_overhead": usual["model_bytes"] / reference["model_bytes"],
    }


def memory_savings(whole: int, blocks: Sequence[int]) -> dict[str, float]:
    """Training memory end to end, over that of the block that needs most and of the mean block."""
    return {
        "memory_saving": whole / max(blocks),
        "memory_saving_mean_block": whole * len(blocks) / sum(blocks),
    }


def _blocks(network: Network) -> list[Block]:
    return [network.block(index) for index in range(len(network.blocks))]


def _reading(trained: Trained, changes: Mapping[str, object]) -> Trained:
    """What training with these settings would have given; none of them changes a weight."""
    network = Network(trained.config.replace(**changes), trained.network.task)
    network.blocks.extend(copy.deepcopy(trained.network.blocks))
    if network.config.detector != "head":
        for block in _blocks(network):
            block.head.detector = None
    return replace(trained, network=network.eval())


def figure(name: str, value: float, *, dataset: str) -> Figure:
    """A value with its unit, by the first word of its name."""
    kind = name.partition("_")[0]
    unit = {"memory": "times", "compute": "times", "ops": "of end-to-end", "blocks": "blocks"}
    if name.startswith("training_memory"):
        return Figure(name=name, value=value, unit="B", better="lower")
    lower = kind in ("ops", "blocks") or name.startswith("memory_overhead")
    return Figure(
        name=name,
        value=value,
        unit=unit.get(kind, ""),
        better="lower" if lower else "higher",
        aim=PUBLISHED.get(name) if dataset == "cifar10" else None,
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Train, compare, print."""
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=1, help="seeds to average over (default 1)")
    parser.add_argument(
        "--dataset", choices=("mnist", "digits", "cifar10"), help="default mnist, else digits"
    )
    parser.add_argument("--device", default="auto", help="cpu, cuda or auto (default)")
    options = parser.parse_args(argv)
    has_mnist = data.available(data_dir())["mnist"] is None
    dataset = options.dataset or ("mnist" if has_mnist else "digits")
    setup = setup_for(dataset, quick=options.quick)
    shown = ("backbone", "width", "partition", "timesteps", "epochs", "train_images")
    report = Report(
        "bloctrain",
        setting={
            "dataset": dataset,
            "quick": options.quick,
            "seeds": options.seeds,
            "class_threshold": setup.class_threshold,
            "exit_threshold": EXIT_THRESHOLD,
            **{name: getattr(setup.config, name) for name in shown},
        },
    )
    benches = []
    for seed in range(options.seeds):
        report.line(f"seed {seed}")
        with tempfile.TemporaryDirectory() as folder:
            cache = BlockCache(Path(folder), limit_bytes=CACHE_BYTES)
            bench = Bench(setup, seed, pick_device(options.device), report, cache)
            bench.run()
        benches.append(bench.values)
    for name in benches[0]:
        # a depth that training did not reach for every seed has no mean over seeds
        found = [values[name] for values in benches if name in values]
        if len(found) == len(benches):
            report.add(figure(name, statistics.mean(found), dataset=dataset))
    report.show(as_json=options.json)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
