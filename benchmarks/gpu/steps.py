"""What is run on a GPU, in order of worth, and the same at toy size on a processor."""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent.parent
CIFAR10 = ROOT / "benchmarks" / "cifar10" / "resnet9-base.toml"
PUBLISHED = 0.8831  # BlocTrain, ResNet-9 in three blocks, all classes
PEERS = ("spikingjelly-s", "spikingjelly-m", "spikingjelly-m-compiled")
TOY = """dataset = "digits"
backbone = "resnet5"
width = 4
head_hidden = 16
partition = "1+1"
timesteps = 2
epochs = 2
train_images = 200
precision = "auto"
"""
STUDY = """# Question: do two trials share one card?
name = "gpu"
objectives = ["accuracy", "synaptic_ops"]
[budget]
trials = {trials}
workers = 2
gpus_per_trial = {gpus}
[run]
dataset = "{dataset}"
backbone = "resnet5"
precision = "auto"
width = {width}
epochs = {epochs}
train_images = {images}
timesteps = 4
[space]
partition = {{ max_blocks = 2 }}
learning_rate = {{ low = 1e-3, high = 1e-2, log = true }}
exit_threshold = {{ low = 0.5, high = 0.99 }}
"""


@dataclass(frozen=True, kw_only=True)
class Where:
    """The place of a run: its device, data, and folder of results."""

    folder: Path
    data: Path
    is_dry: bool = False

    @property
    def device(self) -> str:
        """The torch device."""
        return "cpu" if self.is_dry else "cuda"


@dataclass(frozen=True, kw_only=True)
class Step:
    """A command with a limit of its own; its standard output is one JSON document, if any."""

    name: str
    title: str
    seconds: float
    command: Callable[[Where, float], list[str]]  # of the place and the seconds it gets
    figures: Callable[[Mapping[str, Any]], list[Mapping[str, Any]]] = lambda document: list(
        document.get("figures", ())
    )


def _python(*words: object) -> list[str]:
    return [sys.executable, "-m", *map(str, words)]


def _kernels(where: Where, seconds: float) -> list[str]:
    del where, seconds
    return _python("pytest", "-q", "-n0", "-p", "no:cacheprovider", "tests/snn/lif")


def _engine(where: Where, seconds: float) -> list[str]:
    del seconds
    words = ["benchmarks.engine", "--json", "--device", where.device]
    if where.is_dry:
        small = ["--quick", "--timesteps", 2, "--engines", "ours", PEERS[0]]
        return _python(*words, *small, "--parts", "gradients", "steady")
    engines = ["ours", "convolutions", "convolutions-at-once", *PEERS]
    return _python(
        *words, "--engines", *engines, "--parts", "gradients", "steady", "half", "memory"
    )


def _peak(where: Where, seconds: float) -> list[str]:
    del seconds
    return _python("benchmarks.peak", "--json", *(["--dry-run"] if where.is_dry else []))


def _cifar10(where: Where, seconds: float) -> list[str]:
    path = CIFAR10
    if where.is_dry:
        path = where.folder / "toy.toml"
        path.write_text(TOY, encoding="utf-8")
    words = ["--seconds", seconds, "--device", where.device, "--data", where.data]
    aim = [] if where.is_dry else ["--aim", PUBLISHED]
    return _python("benchmarks.gpu.timed", path, "--json", *words, *aim)


def _study(where: Where, seconds: float) -> list[str]:
    path = where.folder / "study.toml"
    values: dict[str, object] = {
        "trials": 8, "gpus": 0.5, "dataset": "cifar10", "width": 16, "epochs": 4, "images": 10_000,
    }  # fmt: skip
    if where.is_dry:
        values |= {
            "trials": 2, "gpus": 0, "dataset": "digits", "width": 4, "epochs": 1, "images": 100,
        }  # fmt: skip
    path.write_text(STUDY.format(**values), encoding="utf-8")
    places = ["--store", f"sqlite:///{where.folder / 'store.db'}", "--data", where.data]
    places += ["--artifacts", where.folder / "artifacts", "--hours", f"{0.9 * seconds / 3600:.4f}"]
    # the digits are part of scikit-learn; Ray takes seconds to start
    workers = ["--workers", 0] if where.is_dry else ["--workers", 2]
    return _python("search.commands.cli", "run", path, "--json", "--quiet", *places, *workers)


def _of_study(document: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    seconds = document["seconds"]
    busy = (seconds["training"] + seconds["evaluation"]) / seconds["total"]
    values = {
        "complete_trials": document["trials"].get("complete", 0),
        "points_on_the_front": len(document["front"]),
        "trials_at_work_at_once": busy,  # mean; 2 where two share the card all the time
        "ray_start_s": seconds["ray_start"],
        "total_s": seconds["total"],
    }
    return [
        {"name": name, "value": value, "unit": "", "aim": None} for name, value in values.items()
    ]


STEPS = (
    Step(
        name="kernels",
        title="Kernels against the reference",
        seconds=120,
        command=_kernels,
    ),
    Step(
        name="engine",
        title="A training step against SpikingJelly",
        seconds=360,
        command=_engine,
    ),
    Step(
        name="peak",
        title="Planned against allocated peak",
        seconds=120,
        command=_peak,
    ),
    Step(
        name="cifar10",
        title="CIFAR-10, ResNet-9 in three blocks",
        seconds=600,
        command=_cifar10,
    ),
    Step(
        name="study",
        title="A study with two trials on one card",
        seconds=240,
        command=_study,
        figures=_of_study,
    ),
)
